//! The catch-all style: every call comes to one function.

wit_bindgen::generate!({
    path: "../../../../wit",
    world: "oprc:odgm/generic",
});

use exports::oprc::odgm::handler::{Error, Guest};
use oprc::odgm::{context, fields};

struct Handler;

impl Guest for Handler {
    fn invoke(method: String, payload: Vec<u8>) -> Result<Vec<u8>, Error> {
        match method.as_str() {
            "echo" => Ok(payload),
            "put" => {
                fields::set("value", &payload);
                Ok(Vec::new())
            }
            "name" => Ok(context::method().into_bytes()),
            "fail-text" => Err(Error::Failed("no such luck".into())),
            "fail-json" => Err(Error::Failed("{\"left\": 3}".into())),
            _ => Err(Error::UnknownMethod),
        }
    }
}

export!(Handler);

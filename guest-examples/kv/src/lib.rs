//! A key-value map per object in the catch-all style: one handler takes every method by its name, and payloads are
//! whatever the guest makes of them; here JSON.

use exports::oprc::odgm::handler::{Error, Guest};
use oprc::odgm::fields;
use serde_json::{Map, Value, json};

wit_bindgen::generate!({ path: "../../wit", world: "generic" });

/// Entries that one `list` gives.
const PAGE: u32 = 100;

struct Kv;

fn failed(reason: impl Into<String>) -> Error {
    Error::Failed(reason.into())
}

fn parse(payload: &[u8]) -> Result<Value, Error> {
    if payload.is_empty() {
        return Ok(json!({}));
    }
    serde_json::from_slice(payload).map_err(|error| failed(format!("the payload is not JSON: {error}")))
}

fn text<'a>(arguments: &'a Value, name: &str) -> Result<&'a str, Error> {
    arguments[name].as_str().ok_or_else(|| failed(format!("the payload needs \"{name}\", a string")))
}

/// `{"key": k}` gives the value; an absent key fails with `{"missing": k}`.
fn get(arguments: &Value) -> Result<Value, Error> {
    let key = text(arguments, "key")?;
    let value = fields::get(key).ok_or_else(|| failed(json!({ "missing": key }).to_string()))?;
    serde_json::from_slice(&value).map_err(|_| failed(format!("the value of {key:?} is not JSON")))
}

/// `{"key": k, "value": v}` stores any JSON value, and gives whether the key is new.
fn set(arguments: &Value) -> Result<Value, Error> {
    let key = text(arguments, "key")?;
    let value = arguments.get("value").ok_or_else(|| failed("the payload needs \"value\""))?;
    let new = fields::get(key).is_none();
    fields::set(key, value.to_string().as_bytes());
    Ok(new.into())
}

/// `{"key": k}` gives whether the key was there.
fn delete(arguments: &Value) -> Result<Value, Error> {
    Ok(fields::delete(text(arguments, "key")?).into())
}

/// `{"prefix": p, "after": k}`, both optional, gives `{"items": {k: v}, "more": bool}`.
fn list(arguments: &Value) -> Result<Value, Error> {
    let optional = |name: &str| if arguments.get(name).is_some() { text(arguments, name) } else { Ok("") };
    let page = fields::list(optional("prefix")?, optional("after")?, PAGE);
    let mut items = Map::new();
    for field in page.items {
        let value = serde_json::from_slice(&field.value)
            .map_err(|_| failed(format!("the value of {:?} is not JSON", field.key)))?;
        items.insert(field.key, value);
    }
    Ok(json!({ "items": items, "more": page.more }))
}

impl Guest for Kv {
    fn invoke(method: String, payload: Vec<u8>) -> Result<Vec<u8>, Error> {
        let run = match method.as_str() {
            "get" => get,
            "set" => set,
            "delete" => delete,
            "list" => list,
            _ => return Err(Error::UnknownMethod),
        };
        Ok(run(&parse(&payload)?)?.to_string().into_bytes())
    }
}

export!(Kv);

//! `oprc promote`: the canary of a class serves all its objects.

use reqwest::Method;
use serde::Deserialize;

use crate::args::{Format, PromoteArgs};
use crate::client::Client;
use crate::commands::classes::Methods;
use crate::failure::Failure;
use crate::output;

/// The server's answer.
#[derive(Debug, Deserialize)]
struct Promoted {
    class: String,
    version: u64,
    #[serde(flatten)]
    methods: Methods,
}

pub(crate) async fn run(args: PromoteArgs) -> Result<(), Failure> {
    let client = Client::new(&args.client)?;
    let path = ["classes", args.class.as_str(), "promote"];
    let answer = client.send(client.request(Method::POST, &path)).await?;
    if args.client.output == Format::Json {
        return output::json_text(&answer.body);
    }
    let Promoted { class, version, methods } = client.understand(&answer.body)?;
    output::line(&format!("{class} is version {version} now, for all objects\n\n{}", methods.table()))
}

//! `oprc rollback`: an earlier version of a class runs again, as a new version.

use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;

use crate::args::{Format, RollbackArgs};
use crate::client::Client;
use crate::commands::classes::Methods;
use crate::failure::Failure;
use crate::output;

/// The server's answer.
#[derive(Debug, Deserialize)]
struct RolledBack {
    class: String,
    version: u64,
    /// The version of the canary that ended.
    ended_canary: Option<u64>,
    #[serde(flatten)]
    methods: Methods,
}

pub(crate) async fn run(args: RollbackArgs) -> Result<(), Failure> {
    let client = Client::new(&args.client)?;
    let path = ["classes", args.class.as_str(), "rollback"];
    let answer = client.send(client.request(Method::POST, &path).json(&json!({ "to": args.to }))).await?;
    if args.client.output == Format::Json {
        return output::json_text(&answer.body);
    }
    let RolledBack { class, version, ended_canary, methods } = client.understand(&answer.body)?;
    let target = args.to.map_or_else(|| "the version before".to_owned(), |to| format!("version {to}"));
    let done = if answer.status == StatusCode::OK {
        format!("{class} version {version} is {target} already, unchanged")
    } else if let Some(ended) = ended_canary {
        format!(
            "ended the canary of {class}, which was version {ended}: version {version} serves all objects"
        )
    } else {
        format!("rolled {class} back to {target}, which is version {version} now")
    };
    output::line(&format!("{done}\n\n{}", methods.table()))
}

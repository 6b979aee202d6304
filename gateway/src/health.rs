//! Whether the process is up and whether it could serve a call.

use hyper::StatusCode;
use oprc_mesh::outcome::{Code, Effect};
use schemars::JsonSchema;
use serde::Serialize;

use crate::app::App;
use crate::problem::Refusal;
use crate::reply::{Reply, json};

/// How the gateway is.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Health {
    #[schemars(extend("enum" = ["ok", "ready"]))]
    status: &'static str,
}

/// `GET /healthz`: 200 for as long as the process answers at all.
pub(crate) fn health() -> Result<Reply, Refusal> {
    Ok(json(StatusCode::OK, &Health { status: "ok" })?)
}

/// `GET /readyz`: 200 when the catalog is known and a host is alive, and the gateway is not shutting down.
pub(crate) fn ready(app: &App) -> Result<Reply, Refusal> {
    let missing = if app.stopping.is_cancelled() {
        "the gateway is shutting down"
    } else if app.alive().is_empty() {
        "no host is known to be alive"
    } else if app.view().revision == 0 {
        "the catalog is not known yet"
    } else {
        return Ok(json(StatusCode::OK, &Health { status: "ready" })?);
    };
    Err(Refusal::new(Code::Unavailable, missing).effect(Effect::NotRun))
}

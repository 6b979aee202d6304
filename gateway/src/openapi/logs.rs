//! What guests print, as an operation.

use oprc_mesh::id::OBJECT_ID_PATTERN;
use oprc_mesh::limits::{LOG_TAIL_DEFAULT, LOG_TAIL_MAX};
use oprc_mesh::outcome::Code;
use serde_json::json;

use super::gateway::{ANY, ASKED, TIMEOUT};
use super::operation::{Operation, schema};
use crate::router::Verb::Get;

const ABOUT_STREAM: &str = "Server-Sent Events, to `Accept: text/event-stream`. A block without a name has a `LogLine` as its \
data; `event: gap` says that lines of a host are missing before what follows; `event: end` is the last block. Comments keep the \
line alive.";

/// All of them.
pub(super) fn operations() -> Vec<Operation> {
    let lines = json!({
        "application/json": { "schema": schema("ListOfLogLine") },
        "text/event-stream": { "schema": { "type": "string", "description": ABOUT_STREAM } },
    });
    let tail =
        json!({ "type": "integer", "minimum": 0, "maximum": LOG_TAIL_MAX, "default": LOG_TAIL_DEFAULT });
    let object = json!({ "type": "string", "pattern": OBJECT_ID_PATTERN });
    vec![
        Operation::new(Get, "/api/v1/classes/{class}/logs", "readLogs", "What the class's guests print")
            .tag("classes")
            .note("The newest lines that the hosts remember, or these and what comes after them. Needs the action `deploy` \
                 in the class: guests print what no caller is given.")
            .takes_own(json!({ "name": "tail", "in": "query", "schema": tail,
                "description": "So many of the newest lines." }))
            .takes_own(json!({ "name": "object", "in": "query", "schema": object,
                "description": "Only lines of this object's turns." }))
            .takes(TIMEOUT)
            .gives(200, "The lines.", lines, &["Cache-Control"])
            .fails(&[ANY, ASKED, &[Code::NotFound]]),
    ]
}

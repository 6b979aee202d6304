//! What classes serve by HTTP handlers of their own, of which the platform knows no more.

use oprc_mesh::outcome::Code;
use serde_json::json;

use super::gateway::{ANY, ASKED, CALL, NAMED_IF, TIMEOUT};
use super::operation::{Operation, either, in_bytes, in_json};
use crate::router::Verb::{Delete, Get, Patch, Post, Put};

const ABOUT: &str = "Any method, and any path below `http`, also none: the handler sees what follows, from the slash on, with the query. Status, \
                     headers and body are the handler's own, whatever they are; failures of the platform are problems. A \
                     class that exports no `wasi:http/incoming-handler` has nothing here.";

/// All of them.
pub(super) fn operations() -> Vec<Operation> {
    let one = |verb, id| {
        Operation::new(
            verb,
            "/api/v1/classes/{class}/http/{path}",
            id,
            "Have a class's own HTTP handler answer",
        )
        .tag("calls")
        .note(ABOUT)
        .takes(TIMEOUT)
        .gives(
            200,
            "What the handler answered.",
            either(in_json(&json!(true)), &in_bytes()),
            &["Oprc-Invocation-Id"],
        )
        .fails(&[ANY, ASKED, CALL])
        .refuses(414, Code::Invalid)
        .refuses(431, Code::Invalid)
        .failing_with(NAMED_IF)
    };
    let with_body = |operation: Operation| operation.body(false, &json!({ "*/*": {} }));
    vec![
        one(Get, "serveGet"),
        with_body(one(Put, "servePut")),
        with_body(one(Post, "servePost")),
        with_body(one(Patch, "servePatch")),
        one(Delete, "serveDelete"),
    ]
}

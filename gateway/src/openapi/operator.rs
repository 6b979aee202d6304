//! What operators ask for, one by one.

use oprc_mesh::metrics::CONTENT_TYPE;
use oprc_mesh::outcome::Code;
use serde_json::json;

use super::gateway::{ANY, ASKED, TIMEOUT, any_document, none};
use super::operation::{Operation, in_json, schema};
use crate::router::Verb::{Delete, Get, Post};

pub(super) fn dead_letters() -> Vec<Operation> {
    let change = |wish: &str, id, summary| {
        Operation::new(Post, &format!("/api/v1/classes/{{class}}/dead-letters/{wish}"), id, summary)
            .tag("classes")
            .takes(&["dead-letter"])
            .takes(TIMEOUT)
            .gives(200, "So many there were.", in_json(&schema("DeadLettersChanged")), &[])
            .fails(&[ANY, ASKED, &[Code::NotFound]])
    };
    vec![
        Operation::new(
            Get,
            "/api/v1/classes/{class}/dead-letters",
            "listDeadLetters",
            "Messages to the class that are tried no more",
        )
        .tag("classes")
        .takes(&["limit", "cursor"])
        .takes(TIMEOUT)
        .gives(200, "A page.", in_json(&schema("ListOfDeadLetter")), &[])
        .fails(&[ANY, ASKED, &[Code::NotFound]]),
        change("retry", "retryDeadLetters", "Try dead letters again"),
        change("purge", "purgeDeadLetters", "Forget dead letters"),
    ]
}

pub(super) fn cluster() -> Vec<Operation> {
    let change = |wish: &str, id, summary| {
        Operation::new(Post, &format!("/api/v1/cluster/nodes/{{node}}/{wish}"), id, summary)
            .tag("cluster")
            .takes(TIMEOUT)
            .gives(200, "So it is from now on.", in_json(&schema("HostChanged")), &[])
            .fails(&[ANY, ASKED, &[Code::NotFound, Code::Conflict]])
    };
    vec![
        Operation::new(Get, "/api/v1/cluster", "readCluster", "Hosts, grids and partitions")
            .tag("cluster")
            .takes(TIMEOUT)
            .gives(200, "The picture.", in_json(&schema("Cluster")), &[])
            .fails(&[ANY]),
        change("drain", "drainHost", "Have a host's partitions moved to others"),
        change("undrain", "undrainHost", "Take a host back"),
        change("remove", "removeHost", "Remove a host for good"),
    ]
}

pub(super) fn keys() -> Vec<Operation> {
    let key = || in_json(&schema("Key"));
    vec![
        Operation::new(Get, "/api/v1/keys", "listKeys", "The keys of those who may use the cluster")
            .tag("keys")
            .takes(TIMEOUT)
            .gives(200, "All of them, in the order of their names.", in_json(&schema("ListOfKey")), &[])
            .fails(&[ANY, ASKED]),
        Operation::new(Post, "/api/v1/keys", "createKey", "Make a key; its token is shown this once")
            .tag("keys")
            .takes(TIMEOUT)
            .body(true, &in_json(&schema("WantedKey")))
            .gives(201, "It is made.", key(), &["Location", "Cache-Control"])
            .fails(&[ANY, ASKED, &[Code::Conflict, Code::PayloadTooLarge]])
            .refuses(415, Code::Invalid),
        Operation::new(Delete, "/api/v1/keys/{name}", "revokeKey", "Revoke a key")
            .tag("keys")
            .takes(TIMEOUT)
            .gives(204, "It counts no more.", none(), &[])
            .fails(&[ANY, ASKED, &[Code::NotFound]]),
        Operation::new(
            Post,
            "/api/v1/keys/{name}/rotate",
            "rotateKey",
            "Give a key another token, shown this once",
        )
        .tag("keys")
        .takes(TIMEOUT)
        .body(false, &in_json(&schema("KeyRotation")))
        .gives(200, "The token of before counts as long as was asked for.", key(), &["Cache-Control"])
        .fails(&[ANY, ASKED, &[Code::NotFound, Code::Conflict, Code::PayloadTooLarge]])
        .refuses(415, Code::Invalid),
    ]
}

pub(super) fn about() -> Vec<Operation> {
    vec![
        Operation::new(Get, "/healthz", "health", "Whether the process answers").tag("health").open().gives(
            200,
            "It does.",
            in_json(&schema("Health")),
            &[],
        ),
        Operation::new(Get, "/readyz", "readiness", "Whether calls can be served")
            .tag("health")
            .open()
            .gives(200, "They can.", in_json(&schema("Health")), &[])
            .fails(&[&[Code::Unavailable]]),
        Operation::new(Get, "/metrics", "metrics", "What this process does, as Prometheus reads it")
            .tag("health")
            .gives(200, "The metrics.", json!({ CONTENT_TYPE: { "schema": { "type": "string" } } }), &[])
            .fails(&[&[Code::Invalid, Code::Unauthenticated, Code::Denied, Code::Internal]]),
        Operation::new(Get, "/openapi.json", "document", "This document")
            .tag("health")
            .open()
            .takes(TIMEOUT)
            .gives(200, "The document.", in_json(&any_document()), &[])
            .fails(&[ANY]),
    ]
}

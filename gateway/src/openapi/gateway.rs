//! The gateway's own operations, one by one.

use oprc_mesh::limits::{FIELD_VALUE_BYTES_MAX, SETTINGS};
use oprc_mesh::outcome::Code;
use serde_json::{Map, Value, json};

use super::operation::{Operation, either, in_bytes, in_json, schema};
use super::{operator, served};
use crate::router::Verb::{Delete, Get, Patch, Post, Put};

/// What every request may fail with that is let in.
pub(super) const ANY: &[Code] =
    &[Code::Invalid, Code::Unauthenticated, Code::Denied, Code::Overloaded, Code::Internal];
/// What a request may fail with that a host is asked for.
pub(super) const ASKED: &[Code] = &[Code::NoQuorum, Code::Unavailable, Code::Deadline];
/// What a change may fail with that is made once.
const CHANGE: &[Code] = &[
    Code::NotFound,
    Code::Conflict,
    Code::VersionMismatch,
    Code::PayloadTooLarge,
    Code::IdempotencyMismatch,
    Code::WriteLimit,
];
/// What a call may fail with, besides what any request may.
pub(super) const CALL: &[Code] = &[
    Code::NotFound,
    Code::Conflict,
    Code::ReentrantCall,
    Code::PayloadTooLarge,
    Code::FunctionError,
    Code::IdempotencyMismatch,
    Code::Trap,
    Code::CpuLimit,
    Code::MemoryLimit,
    Code::WriteLimit,
    Code::WallLimit,
    Code::CallTimeout,
    Code::CallDepth,
    Code::NondeterministicRerun,
];
/// Headers of every answer to a call or a change.
const NAMED: &[&str] = &["Oprc-Invocation-Id", "Idempotency-Replayed"];
/// Headers of the result of a call.
const CALLED: &[&str] =
    &["Oprc-Invocation-Id", "Idempotency-Replayed", "Oprc-Version", "Oprc-Class-Version", "Oprc-Stale-Ms"];
/// And of one that failed.
pub(super) const NAMED_IF: &[&str] = &["Oprc-Invocation-Id-if-named", "Idempotency-Replayed"];
/// Headers with which a call is made.
pub(super) const CALLING: &[&str] = &["Idempotency-Key", "Prefer", "traceparent"];
pub(super) const TIMEOUT: &[&str] = &["X-Request-Timeout-Ms"];

const ABOUT: &str = "Calls of methods and functions, objects and their fields, events, classes, and the cluster. \
Every GET is answered to HEAD as well, with the same head and no body. Unknown query parameters are refused, and so is one \
that is given twice. The answer to a request that is traced names its span in `traceparent`. Each class has a document of \
its own, with the types of its methods: `/api/v1/classes/{class}/openapi.json`.";

/// The document.
pub(super) fn document() -> Value {
    let info = json!({
        "title": "oprc",
        "version": env!("CARGO_PKG_VERSION"),
        "description": ABOUT,
        "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
    });
    let tags = json!([
        { "name": "calls" },
        { "name": "objects" },
        { "name": "events" },
        { "name": "classes" },
        { "name": "cluster" },
        { "name": "keys" },
        { "name": "health" },
    ]);
    // named in words alone: the data of a stream's blocks
    let mut own = Map::new();
    own.insert("schemas".into(), json!({ "Event": super::schemas::schemas()["Event"] }));
    super::document(&info, &tags, operations(), own)
}

/// All of them.
pub(super) fn operations() -> Vec<Operation> {
    let groups = [
        calls(),
        served::operations(),
        objects(),
        fields(),
        events(),
        classes(),
        operator::dead_letters(),
        operator::cluster(),
        operator::keys(),
        operator::about(),
        super::logs::operations(),
    ];
    groups.into_iter().flatten().collect()
}

/// An OpenAPI document; more about it says its own standard.
pub(super) fn any_document() -> Value {
    json!({ "type": "object", "required": ["openapi", "info", "paths"] })
}

pub(super) fn none() -> Value {
    json!({})
}

/// What any call takes, and how it may fail.
pub(super) fn call(operation: Operation) -> Operation {
    operation
        .takes(CALLING)
        .takes(TIMEOUT)
        .gives(
            202,
            "The call is durable, and will run.",
            in_json(&schema("Invocation")),
            &["Oprc-Invocation-Id", "Idempotency-Replayed", "Location", "Preference-Applied"],
        )
        .fails(&[ANY, ASKED, CALL])
        .refuses(415, Code::Invalid)
        .refuses(431, Code::Invalid)
        .failing_with(NAMED_IF)
}

/// A call has a result.
pub(super) fn gives(call: Operation, content: Value) -> Operation {
    call.gives(200, "The result, bare.", content, CALLED)
}

/// A call has none.
pub(super) fn gives_nothing(call: Operation) -> Operation {
    call.gives(204, "The method has no result.", none(), CALLED)
}

/// A call has one or none.
fn gives_any(call: Operation) -> Operation {
    gives_nothing(gives(call, either(in_json(&json!(true)), &in_bytes())))
}

fn calls() -> Vec<Operation> {
    let arguments = "The arguments: an object by their names, or an array in their order; no body is no arguments. A method whose \
                     only parameter is a `list<u8>` takes bytes as they are.";
    let any = either(in_json(&json!(true)), &in_bytes());
    let by_path = |path, id, summary| {
        Operation::new(Post, path, id, summary).tag("calls").note(arguments).body(false, &any)
    };
    vec![
        gives_any(call(
            by_path(
                "/api/v1/classes/{class}/objects/{id}/invoke/{method}",
                "invokeMethod",
                "Call a method of an object",
            )
            .takes(&["consistency"]),
        )),
        gives_any(call(by_path(
            "/api/v1/classes/{class}/functions/{function}",
            "invokeFunction",
            "Call a function, without an object",
        ))),
        gives_any(call(
            Operation::new(Post, "/api/v1/invoke", "invoke", "Call what the body names")
                .tag("calls")
                .takes(&["consistency"])
                .body(true, &in_json(&schema("AddressedCall"))),
        )),
        Operation::new(
            Get,
            "/api/v1/invocations/{invocation}",
            "readInvocation",
            "Where an asynchronous call stands",
        )
        .tag("calls")
        .takes(&["wait"])
        .takes(TIMEOUT)
        .gives(200, "So it stands.", in_json(&schema("Invocation")), &["Oprc-Invocation-Id"])
        .fails(&[ANY, ASKED, &[Code::NotFound]]),
    ]
}

/// A read of an object, or of a part of it.
fn read(path: &str, id: &str, summary: &str, content: Value) -> Operation {
    Operation::new(Get, path, id, summary)
        .tag("objects")
        .takes(&["consistency", "If-Match", "If-None-Match"])
        .takes(TIMEOUT)
        .gives(200, "It is there.", content, &["ETag", "Oprc-Stale-Ms"])
        .gives(304, "It is as you have it.", none(), &["ETag", "Oprc-Stale-Ms"])
        .fails(&[ANY, ASKED, &[Code::NotFound, Code::VersionMismatch]])
}

/// A change of an object, or of a part of it.
fn change(operation: Operation) -> Operation {
    operation
        .tag("objects")
        .takes(&["If-Match", "If-None-Match-any", "Idempotency-Key"])
        .takes(TIMEOUT)
        .fails(&[ANY, ASKED, CHANGE])
        .failing_with(NAMED_IF)
}

const OBJECT: &str = "/api/v1/classes/{class}/objects/{id}";
const FIELD: &str = "/api/v1/classes/{class}/objects/{id}/fields/{key}";
const CLASS: &str = "/api/v1/classes/{class}";

fn objects() -> Vec<Operation> {
    let tagged = [NAMED, &["ETag"]].concat();
    let write = |operation: Operation, body: &str| {
        change(operation)
            .body(true, &in_json(&schema(body)))
            .gives(200, "It is changed.", in_json(&schema("ObjectSummary")), &tagged)
            .gives(201, "It is created.", in_json(&schema("ObjectSummary")), &tagged)
            .refuses(415, Code::Invalid)
    };
    vec![
        Operation::new(
            Get,
            "/api/v1/classes/{class}/objects",
            "listObjects",
            "List objects in the order of their ids",
        )
        .tag("objects")
        .takes(&["object-prefix", "limit", "cursor", "consistency"])
        .takes(TIMEOUT)
        .gives(200, "A page.", in_json(&schema("ListOfObjectEntry")), &["Oprc-Stale-Ms"])
        .fails(&[ANY, ASKED, &[Code::NotFound]]),
        read(OBJECT, "readObject", "Read a whole object", in_json(&schema("Object")))
            .fails(&[&[Code::ObjectTooLarge]]),
        write(
            Operation::new(Put, OBJECT, "replaceObject", "Replace an object: fields that are not named go"),
            "ObjectReplacement",
        ),
        write(
            Operation::new(Patch, OBJECT, "changeObject", "Set or delete the fields that are named"),
            "ObjectChange",
        ),
        change(Operation::new(Delete, OBJECT, "deleteObject", "Delete an object")).gives(
            204,
            "It is deleted.",
            none(),
            NAMED,
        ),
    ]
}

fn fields() -> Vec<Operation> {
    let tagged = [NAMED, &["ETag-if-there"]].concat();
    let anything = json!({ "*/*": { "schema": { "maxLength": FIELD_VALUE_BYTES_MAX } } });
    vec![
        read(
            "/api/v1/classes/{class}/objects/{id}/fields",
            "listFields",
            "List fields in the order of their keys",
            in_json(&schema("ListOfField")),
        )
        .takes(&["field-prefix", "limit", "cursor"]),
        read(FIELD, "readField", "Read a field's bytes", in_bytes()),
        change(Operation::new(
            Put,
            FIELD,
            "writeField",
            "Write a field: the body is its value, whatever its type",
        ))
        .body(false, &anything)
        .gives(201, "It is written, and the object created by it.", none(), &tagged)
        .gives(204, "It is written.", none(), &tagged),
        change(Operation::new(Delete, FIELD, "deleteField", "Delete a field"))
            .gives(201, "The object is created by it.", none(), &tagged)
            .gives(204, "It is deleted.", none(), &tagged),
    ]
}

fn events() -> Vec<Operation> {
    let watch = |path, id, summary| {
        Operation::new(Get, path, id, summary)
            .tag("events")
            .takes(&["keys", "since", "Last-Event-ID"])
            .takes(TIMEOUT)
            .gives(
                200,
                "The stream; it does not end by itself.",
                json!({ "text/event-stream": { "schema": schema("EventStream") } }),
                &["Cache-Control"],
            )
            .fails(&[ANY, ASKED, &[Code::NotFound]])
    };
    vec![
        watch("/api/v1/classes/{class}/objects/{id}/events", "watchObject", "Watch an object"),
        watch("/api/v1/classes/{class}/events", "watchClass", "Watch a class's objects")
            .takes(&["object-prefix"]),
    ]
}

fn deploy() -> Operation {
    let settings = SETTINGS.map(|setting| setting.key);
    let upload = json!({
        "application/wasm": {},
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {
                    "component": { "contentMediaType": "application/wasm" },
                    "manifest": { "type": "string", "description": "The text of `oprc.toml`." },
                },
                "required": ["component"],
                "additionalProperties": false,
            },
        },
    });
    Operation::new(Put, CLASS, "deployClass", "Deploy a class")
        .tag("classes")
        .note("The component is the body, with what a manifest says in the query; or it is a part beside the manifest, \
             and the query says no more than how. With `canary` it serves a share of the class's objects, until it is promoted, or \
             ended by a rollback; meanwhile a deployment without `canary` is refused.")
        .takes(&["manifest", "readonly", "grid", "partitions", "replicas", "force", "canary"])
        .takes(&settings)
        .takes(TIMEOUT)
        .body(true, &upload)
        .gives(200, "Nothing changed.", in_json(&schema("Deployed")), &[])
        .gives(201, "It is deployed.", in_json(&schema("Deployed")), &[])
        .fails(&[ANY, ASKED, &[Code::NotFound, Code::Conflict, Code::PayloadTooLarge, Code::InvalidComponent]])
        .refuses(415, Code::Invalid)
}

fn classes() -> Vec<Operation> {
    vec![
        Operation::new(Get, "/api/v1/classes", "listClasses", "List classes in the order of their names")
            .tag("classes")
            .takes(&["class-prefix", "limit", "cursor"])
            .takes(TIMEOUT)
            .gives(200, "A page.", in_json(&schema("ListOfClassEntry")), &[])
            .fails(&[ANY, ASKED]),
        Operation::new(Get, CLASS, "describeClass", "A class with its methods")
            .tag("classes")
            .takes(TIMEOUT)
            .gives(200, "As it is deployed.", in_json(&schema("Class")), &[])
            .fails(&[ANY, ASKED, &[Code::NotFound]]),
        deploy(),
        Operation::new(Delete, CLASS, "removeClass", "Remove a class; its objects stay unless `purge`")
            .tag("classes")
            .takes(&["purge"])
            .takes(TIMEOUT)
            .gives(204, "It is removed.", none(), &[])
            .fails(&[ANY, ASKED, &[Code::NotFound, Code::Conflict]]),
        Operation::new(
            Post,
            "/api/v1/classes/{class}/rollback",
            "rollBackClass",
            "Deploy an earlier version of a class again; while it has a canary, end that",
        )
        .tag("classes")
        .takes(TIMEOUT)
        .body(false, &in_json(&schema("RollbackWish")))
        .gives(200, "Nothing changed.", in_json(&schema("Deployed")), &[])
        .gives(201, "It is deployed, as a new version.", in_json(&schema("Deployed")), &[])
        .fails(&[
            ANY,
            ASKED,
            &[Code::NotFound, Code::Conflict, Code::PayloadTooLarge, Code::InvalidComponent],
        ]),
        Operation::new(
            Post,
            "/api/v1/classes/{class}/promote",
            "promoteCanary",
            "Make the canary of a class the class",
        )
        .tag("classes")
        .takes(TIMEOUT)
        .gives(201, "It is the class now.", in_json(&schema("Deployed")), &[])
        .fails(&[
            ANY,
            ASKED,
            &[Code::NotFound, Code::Conflict, Code::PayloadTooLarge, Code::InvalidComponent],
        ]),
        Operation::new(
            Get,
            "/api/v1/classes/{class}/versions",
            "listVersions",
            "A class's deployments, oldest first",
        )
        .tag("classes")
        .takes(&["limit", "cursor"])
        .takes(TIMEOUT)
        .gives(200, "A page.", in_json(&schema("ListOfClassEntry")), &[])
        .fails(&[ANY, ASKED, &[Code::NotFound]]),
        Operation::new(
            Get,
            "/api/v1/classes/{class}/openapi.json",
            "documentClass",
            "The types of a class's methods, as OpenAPI 3.1",
        )
        .tag("classes")
        .takes(TIMEOUT)
        .gives(200, "The document.", in_json(&any_document()), &[])
        .fails(&[ANY, ASKED, &[Code::NotFound, Code::PayloadTooLarge]]),
    ]
}

//! Parameters in paths, queries and headers, and headers of responses.

use oprc_mesh::canary::SHARE_MAX;
use oprc_mesh::id::{FIELD_KEY_PATTERN, NAME_PATTERN, OBJECT_ID_PATTERN};
use oprc_mesh::limits::{
    DEADLINE_MS_DEFAULT, DEADLINE_MS_MAX, FIELD_KEY_BYTES_MAX, GRID_PARTITIONS_MAX, INVOCATION_WAIT_MS_MAX,
    PAGE_ITEMS_DEFAULT, PAGE_ITEMS_MAX, SETTINGS,
};
use serde_json::{Map, Value, json};

/// A list of entity tags, or `*` for any.
const CONDITION: &str = r#"^(\*|(W/)?"[^"]*"( *, *(W/)?"[^"]*"){0,63})$"#;

/// The id of a dead letter: three numbers, each with its digits alone.
const DEAD_LETTER: &str = "^(0|[1-9a-f][0-9a-f]{0,15})-(0|[1-9a-f][0-9a-f]{0,15})-(0|[1-9a-f][0-9a-f]{0,7})$";

/// By the name under which operations take them.
pub(super) fn parameters() -> Map<String, Value> {
    let mut all = Map::new();
    for (name, place, schema, about) in
        in_paths().into_iter().chain(in_queries()).chain(of_classes()).chain(of_events()).chain(in_headers())
    {
        let mut parameter = json!({ "name": name, "in": place, "schema": schema, "description": about });
        if place == "path" {
            parameter["required"] = true.into();
        }
        all.insert(name.to_owned(), parameter);
    }
    // several parameters of one name, each in its own places
    for (key, name, place, schema, about) in namesakes() {
        all.insert(
            key.to_owned(),
            json!({ "name": name, "in": place, "schema": schema, "description": about }),
        );
    }
    for setting in SETTINGS {
        let mut schema = json!({ "type": "integer", "minimum": 1, "maximum": setting.cap });
        // without a default there is no limit
        if setting.default > 0 {
            schema["default"] = setting.default.into();
        }
        let about = format!("The manifest's `[class.limits]` {}.", setting.key);
        all.insert(
            setting.key.to_owned(),
            json!({ "name": setting.key, "in": "query", "schema": schema, "description": about }),
        );
    }
    all
}

type Parameter = (&'static str, &'static str, Value, &'static str);

fn in_paths() -> Vec<Parameter> {
    let name = || json!({ "type": "string", "pattern": NAME_PATTERN });
    vec![
        ("class", "path", name(), "The name of the class."),
        ("id", "path", json!({ "type": "string", "pattern": OBJECT_ID_PATTERN }), "The id of the object."),
        ("method", "path", name(), "The name of the method."),
        ("function", "path", name(), "The name of the function."),
        (
            "key",
            "path",
            json!({ "type": "string", "pattern": FIELD_KEY_PATTERN }),
            "The key of the field, 256 bytes of UTF-8 at the most. A slash in it is written %2F. `.` and `..` cannot be \
             named in a URL.",
        ),
        (
            "invocation",
            "path",
            json!({ "type": "string", "pattern": "^[A-Za-z0-9_-]+$" }),
            "The id of an asynchronous call, from `Location` or member `id` of the answer to it.",
        ),
        ("path", "path", json!({ "type": "string" }), "What the class makes of it; it may hold slashes."),
        ("name", "path", name(), "The name of the key."),
        (
            "node",
            "path",
            json!({ "type": "string", "pattern": "^0{0,15}[1-9A-Fa-f][0-9A-Fa-f]{0,15}$", "maxLength": 16 }),
            "The id of the host, as the cluster's picture shows it.",
        ),
    ]
}

fn in_queries() -> Vec<Parameter> {
    let consistency = json!({ "enum": ["lease", "linearizable", "stale"], "default": "lease" });
    vec![
        (
            "limit",
            "query",
            json!({ "type": "integer", "minimum": 1, "maximum": PAGE_ITEMS_MAX, "default": PAGE_ITEMS_DEFAULT }),
            "Items of the page, at the most.",
        ),
        (
            "cursor",
            "query",
            json!({ "type": "string", "pattern": "^[A-Za-z0-9_-]+$" }),
            "`next` of the page before, as it was; without it the listing begins.",
        ),
        (
            "consistency",
            "query",
            consistency,
            "How new the answer must be: `lease` and `linearizable` miss nothing acknowledged, the latter without relying on \
             clocks; `stale` comes from any replica.",
        ),
        (
            "wait",
            "query",
            json!({ "type": "string", "pattern": "^[0-9]{1,9}(ms|s|m)$", "examples": ["30s"] }),
            "Answers once the call is decided, or when this time is over: 60 s at the most.",
        ),
    ]
}

/// What the classes' own operations take.
fn of_classes() -> Vec<Parameter> {
    vec![
        (
            "force",
            "query",
            json!({ "type": "boolean", "default": false }),
            "Even if it takes a method from its callers, or changes one.",
        ),
        (
            "canary",
            "query",
            json!({ "type": "integer", "minimum": 1, "maximum": SHARE_MAX }),
            "For so many of a hundred objects only: as the class's canary.",
        ),
        ("purge", "query", json!({ "type": "boolean", "default": false }), "The class's objects go with it."),
        (
            "manifest",
            "query",
            json!({ "type": "string" }),
            "The whole text of the manifest; then it stands alone.",
        ),
        (
            "readonly",
            "query",
            json!({ "type": "array", "items": { "type": "string", "pattern": NAME_PATTERN } }),
            "Methods that only read; also separated by commas.",
        ),
        ("grid", "query", json!({ "const": "default" }), "The shared grid."),
        (
            "partitions",
            "query",
            json!({ "type": "integer", "minimum": 1, "maximum": GRID_PARTITIONS_MAX }),
            "Of a grid of the class's own; together with `replicas`.",
        ),
        (
            "replicas",
            "query",
            json!({ "type": "integer", "minimum": 1 }),
            "Copies of each partition, as many as there are hosts at the most.",
        ),
    ]
}

// the text of `wait` says so
const _: () = assert!(INVOCATION_WAIT_MS_MAX == 60_000);

fn of_events() -> Vec<Parameter> {
    vec![
        (
            "keys",
            "query",
            json!({ "anyOf": [{ "type": "string", "pattern": FIELD_KEY_PATTERN }, { "const": "" }] }),
            "Only events that change a field whose key begins so.",
        ),
        (
            "since",
            "query",
            json!({ "anyOf": [{ "enum": ["", "oldest"] }, { "type": "string", "pattern": "^[A-Za-z0-9_-]+$" }] }),
            "Go on after the event of this id; `oldest` begins with the oldest that is kept.",
        ),
        (
            "Last-Event-ID",
            "header",
            json!({ "type": "string", "pattern": "^[A-Za-z0-9_-]*$" }),
            "Go on after the event of this id; counts more than `since`.",
        ),
    ]
}

fn in_headers() -> Vec<Parameter> {
    vec![
        (
            "X-Request-Timeout-Ms",
            "header",
            json!({ "type": "integer", "minimum": 1, "maximum": DEADLINE_MS_MAX, "default": DEADLINE_MS_DEFAULT }),
            "The request's deadline in milliseconds.",
        ),
        (
            "Idempotency-Key",
            "header",
            json!({ "type": "string", "pattern": "^[!-~]{1,256}$" }),
            "Names the call: under one key it takes effect once, and every later try gets the same answer. Made by the \
             gateway unless given.",
        ),
        (
            "Prefer",
            "header",
            json!({ "type": "string", "examples": ["respond-async"] }),
            "`respond-async`: 202 once the call is durable, before it has run (RFC 7240).",
        ),
        (
            "If-Match",
            "header",
            json!({ "type": "string", "pattern": CONDITION, "examples": ["\"12.3\""] }),
            "Only if the object is at one of these ETags; `*`: only if it exists.",
        ),
        (
            "traceparent",
            "header",
            json!({ "type": "string" }),
            "Handed on to the guest, as are `tracestate`, `baggage` and `x-*` but for credentials.",
        ),
    ]
}

fn namesakes() -> Vec<(&'static str, &'static str, &'static str, Value, &'static str)> {
    vec![
        (
            "If-None-Match",
            "If-None-Match",
            "header",
            json!({ "type": "string", "pattern": CONDITION, "examples": ["\"12.3\""] }),
            "304 if the object is at one of these ETags.",
        ),
        (
            "If-None-Match-any",
            "If-None-Match",
            "header",
            json!({ "const": "*" }),
            "Only if the object does not exist.",
        ),
        (
            "class-prefix",
            "prefix",
            "query",
            json!({ "type": "string" }),
            "Only classes whose names begin so.",
        ),
        (
            "object-prefix",
            "prefix",
            "query",
            json!({ "anyOf": [{ "type": "string", "pattern": OBJECT_ID_PATTERN }, { "const": "" }] }),
            "Only objects whose ids begin so.",
        ),
        (
            "field-prefix",
            "prefix",
            "query",
            json!({ "anyOf": [{ "type": "string", "pattern": FIELD_KEY_PATTERN, "maxLength": FIELD_KEY_BYTES_MAX }, { "const": "" }] }),
            "Only fields whose keys begin so, 256 bytes of UTF-8 at the most.",
        ),
        (
            "dead-letter",
            "id",
            "query",
            json!({ "type": "array", "items": { "type": "string", "pattern": DEAD_LETTER } }),
            "Those of these ids; without it all.",
        ),
    ]
}

/// By their own names, but for `Retry-After`, which is there always or sometimes.
pub(super) fn response_headers() -> Map<String, Value> {
    let number = || json!({ "type": "integer", "minimum": 0 });
    let headers = [
        ("Oprc-Invocation-Id", true, json!({ "type": "string" }), "Names the call, in logs too."),
        (
            "Idempotency-Replayed",
            false,
            json!({ "const": "true" }),
            "The call had taken effect before, and this is what it came to then.",
        ),
        ("Oprc-Version", false, number(), "The object's version after the call; 0 when it does not exist."),
        (
            "Oprc-Class-Version",
            false,
            number(),
            "The version of the class whose code ran: that of its canary, if the canary serves the object.",
        ),
        (
            "Oprc-Stale-Ms",
            false,
            number(),
            "How old what a `consistency=stale` request saw may be, in milliseconds; absent when unknown.",
        ),
        (
            "ETag",
            true,
            json!({ "type": "string", "pattern": "^\"[0-9]+\\.[0-9]+\"$" }),
            "Where the object is.",
        ),
        (
            "Location",
            true,
            json!({ "type": "string", "format": "uri-reference" }),
            "Where to look for the call.",
        ),
        ("Preference-Applied", true, json!({ "const": "respond-async" }), "RFC 7240."),
        ("Cache-Control", true, json!({ "const": "no-store" }), "RFC 9111."),
        ("RetryAfter", true, number(), "Try again after so many seconds."),
        ("RetryAfterIfKnown", false, number(), "Try again after so many seconds."),
        (
            "Oprc-Invocation-Id-if-named",
            false,
            json!({ "type": "string" }),
            "Names the call, if it came so far.",
        ),
        (
            "ETag-if-there",
            false,
            json!({ "type": "string", "pattern": "^\"[0-9]+\\.[0-9]+\"$" }),
            "Where the object is, if it exists.",
        ),
    ];
    let header = |(name, required, schema, about): (&str, bool, Value, &str)| {
        (name.to_owned(), json!({ "required": required, "schema": schema, "description": about }))
    };
    headers.into_iter().map(header).collect()
}

//! Shapes of bodies: those of the handlers' own types as derived, and by hand those that are written and read without one.

use oprc_mesh::id::{FIELD_KEY_PATTERN, NAME_PATTERN, OBJECT_ID_PATTERN};
use oprc_mesh::limits::OBJECT_READ_FIELDS_MAX;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::types;
use crate::{
    classes, cluster, dead, deploy, health, invocations, invoke, keys, listing, logs, nodes, objects,
    problem, rollback,
};

/// Standard, padded base64 (RFC 4648), with nothing in the bits that say nothing.
pub(super) const BASE64_PATTERN: &str =
    "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$";

/// By name.
pub(super) fn schemas() -> Map<String, Value> {
    let mut all = given();
    all.extend(taken());
    all.extend(documents());
    all.extend(event_data());
    all.extend(types::shared());
    all
}

fn settings() -> SchemaSettings {
    SchemaSettings::draft2020_12().with(|settings| settings.definitions_path = "/components/schemas".into())
}

/// What handlers answer with.
fn given() -> Map<String, Value> {
    let generator = &mut settings().for_serialize().into_generator();
    define::<health::Health>(generator);
    define::<problem::Document<'_>>(generator);
    define::<cluster::Cluster>(generator);
    define::<nodes::Changed>(generator);
    define::<invocations::Document<'_>>(generator);
    define::<classes::Description<'_>>(generator);
    define::<deploy::Answered<'_>>(generator);
    define::<objects::Summary<'_>>(generator);
    define::<dead::Changed>(generator);
    define::<logs::Lines>(generator);
    define::<listing::Listing<classes::Entry>>(generator);
    define::<listing::Listing<listing::Item>>(generator);
    define::<listing::Listing<dead::Item>>(generator);
    define::<keys::Document<'_>>(generator);
    define::<listing::Listing<keys::Document<'_>>>(generator);
    generator.take_definitions(true)
}

/// What handlers read.
fn taken() -> Map<String, Value> {
    let generator = &mut settings().for_deserialize().into_generator();
    define::<invoke::Addressed<'_>>(generator);
    define::<keys::Wanted>(generator);
    define::<keys::Rotation>(generator);
    define::<rollback::Wish>(generator);
    generator.take_definitions(true)
}

fn define<T: schemars::JsonSchema>(generator: &mut SchemaGenerator) {
    let _ = generator.subschema_for::<T>(); // its definition stays with the generator
}

/// What a field's bytes look like in a document: read, and written where one may also be deleted.
fn field_values() -> (Value, Value) {
    let form = |name: &str, schema: Value, about: &str| {
        json!({
            "type": "object",
            "properties": { name: schema },
            "required": [name],
            "additionalProperties": false,
            "description": about,
        })
    };
    let about = "UTF-8 that is no JSON text, or that is an object with one key that begins with $.";
    let text = form("$text", json!({ "type": "string" }), about);
    let base64 = json!({ "type": "string", "contentEncoding": "base64", "pattern": BASE64_PATTERN });
    let base64 = form("$base64", base64, "Bytes that are not UTF-8.");
    let delete = form("$delete", json!({ "const": true }), "Deletes the field.");
    // an object with one key that begins with $ is one of the forms, and nothing else
    let plain = json!({
        "not": { "type": "object", "minProperties": 1, "maxProperties": 1, "propertyNames": { "pattern": "^\\$" } },
        "description": "JSON text, as it is.",
    });
    let value =
        json!({ "anyOf": [plain.clone(), text.clone(), base64.clone()], "description": "A field's bytes." });
    let change =
        json!({ "anyOf": [plain, text, base64, delete], "description": "A field's bytes, or its end." });
    (value, change)
}

/// Objects and fields: `forms` writes and reads their bytes without a tree between.
fn documents() -> Map<String, Value> {
    let (value, change) = field_values();
    let reference = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });
    let field = json!({
        "type": "object",
        "properties": { "key": reference("FieldKey"), "value": reference("FieldValue") },
        "required": ["key", "value"],
        "additionalProperties": false,
    });
    let documents = json!({
        "FieldKey": { "type": "string", "pattern": FIELD_KEY_PATTERN, "description": "256 bytes of UTF-8 at the most." },
        "FieldValue": value,
        "FieldChange": change,
        "Object": {
            "type": "object",
            "properties": {
                "class": { "type": "string", "pattern": NAME_PATTERN },
                "id": { "type": "string", "pattern": OBJECT_ID_PATTERN },
                "version": { "type": "integer", "minimum": 1, "format": "uint64" },
                "fields": {
                    "type": "object",
                    "propertyNames": reference("FieldKey"),
                    "additionalProperties": reference("FieldValue"),
                    "maxProperties": OBJECT_READ_FIELDS_MAX,
                },
            },
            "required": ["class", "id", "version", "fields"],
            "additionalProperties": false,
        },
        "ObjectReplacement": object_write("FieldValue", "All fields of the object."),
        "ObjectChange": object_write("FieldChange", "The fields that change."),
        "ListOfField": {
            "type": "object",
            "properties": {
                "items": { "type": "array", "items": field },
                "next": { "type": ["string", "null"], "description": "Where the next page begins; null at the end." },
            },
            "required": ["items", "next"],
            "additionalProperties": false,
        },
    });
    members(documents)
}

fn object_write(value: &str, about: &str) -> Value {
    json!({
        "type": "object",
        "properties": {
            "class": { "type": ["string", "null"], "description": "If it is there, the path's." },
            "id": { "type": ["string", "null"], "description": "If it is there, the path's." },
            "version": {
                "type": ["integer", "null"], "minimum": 0, "maximum": u64::MAX,
                "description": "Means nothing: If-Match is what compares.",
            },
            "fields": {
                "type": "object",
                "propertyNames": { "$ref": "#/components/schemas/FieldKey" },
                "additionalProperties": { "$ref": format!("#/components/schemas/{value}") },
                "description": about,
            },
        },
        "required": ["fields"],
        "additionalProperties": false,
    })
}

/// What the blocks of a stream of events hold in `data`; `stream` and the mesh write them.
fn event_data() -> Map<String, Value> {
    let text = || json!({ "type": "string" });
    let change = json!({
        "type": "object",
        "properties": { "key": text(), "action": { "enum": ["create", "update", "delete"] } },
        "required": ["key", "action"],
    });
    let emitted = json!({
        "type": "object",
        "properties": { "topic": text(), "payload": { "$ref": "#/components/schemas/FieldValue" } },
        "required": ["topic", "payload"],
    });
    members(json!({
        "EventStream": {
            "type": "string",
            "contentMediaType": "text/event-stream",
            "description": "Server-Sent Events. A block without a name has an `Event` as its data; `event: gap` says that events \
                            are missing before what follows; `event: end` is the last block. Comments keep the line alive.",
        },
        "Event": {
            "type": "object",
            "properties": {
                "id": text(),
                "class": text(),
                "object": text(),
                "version": { "type": "integer", "minimum": 0 },
                "incarnation": { "type": "integer", "minimum": 0 },
                "action": { "enum": ["create", "update", "replace", "delete", "recreate", "none"] },
                "changes": { "type": "array", "items": change },
                "unlisted": { "type": "integer", "minimum": 1, "description": "So many more fields were written." },
                "emitted": { "type": "array", "items": emitted },
            },
            "required": ["id", "class", "object", "version", "incarnation", "action", "changes", "emitted"],
        },
    }))
}

fn members(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

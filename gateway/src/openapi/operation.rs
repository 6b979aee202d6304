//! One operation: what it takes, what it gives, how it may fail.

use std::collections::BTreeMap;

use oprc_mesh::outcome::Code;
use serde_json::{Map, Value, json};

use crate::router::Verb;

/// A reference to a schema of the pool.
pub(super) fn schema(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// A body of JSON.
pub(super) fn in_json(schema: &Value) -> Value {
    json!({ "application/json": { "schema": schema } })
}

/// A body of bytes as they are.
pub(super) fn in_bytes() -> Value {
    json!({ "application/octet-stream": {} })
}

/// Any of the forms of the two.
pub(super) fn either(mut one: Value, other: &Value) -> Value {
    if let (Some(all), Some(more)) = (one.as_object_mut(), other.as_object()) {
        all.extend(more.clone());
    }
    one
}

/// See the module. Path parameters come from the path.
pub(super) struct Operation {
    verb: Verb,
    path: String,
    members: Map<String, Value>,
    parameters: Vec<Value>,
    responses: BTreeMap<u16, Value>,
    /// By status, for a status may stand for several.
    codes: BTreeMap<u16, Vec<&'static str>>,
    /// Headers of failures, besides those that belong to their status.
    failed_with: Vec<&'static str>,
}

impl Operation {
    pub(super) fn new(verb: Verb, path: &str, id: &str, summary: &str) -> Self {
        let named = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        let mut members = Map::new();
        members.insert("operationId".into(), id.into());
        members.insert("summary".into(), summary.into());
        Self {
            verb,
            path: path.to_owned(),
            members,
            parameters: named.map(parameter).collect(),
            responses: BTreeMap::new(),
            codes: BTreeMap::new(),
            failed_with: Vec::new(),
        }
    }

    pub(super) fn tag(mut self, tag: &str) -> Self {
        self.members.insert("tags".into(), json!([tag]));
        self
    }

    /// Who asks need not say who they are.
    pub(super) fn open(mut self) -> Self {
        self.members.insert("security".into(), json!([]));
        self
    }

    pub(super) fn note(mut self, description: impl Into<String>) -> Self {
        self.members.insert("description".into(), description.into().into());
        self
    }

    /// Parameters of the pool, by name.
    pub(super) fn takes(mut self, names: &[&str]) -> Self {
        self.parameters.extend(names.iter().map(|name| parameter(name)));
        self
    }

    /// A parameter of its own.
    pub(super) fn takes_own(mut self, parameter: Value) -> Self {
        self.parameters.push(parameter);
        self
    }

    pub(super) fn body(mut self, required: bool, content: &Value) -> Self {
        self.members.insert("requestBody".into(), json!({ "required": required, "content": content }));
        self
    }

    /// A success, with headers of the pool.
    pub(super) fn gives(mut self, status: u16, what: &str, content: Value, headers: &[&str]) -> Self {
        let mut response = json!({ "description": what });
        if content.as_object().is_some_and(|content| !content.is_empty()) {
            response["content"] = content;
        }
        add_headers(&mut response, headers);
        self.responses.insert(status, response);
        self
    }

    /// Codes that it may fail with, each with its own status.
    pub(super) fn fails(mut self, codes: &[&[Code]]) -> Self {
        for code in codes.iter().copied().flatten() {
            self = self.refuses(code.http_status(), *code);
        }
        self
    }

    /// A status of HTTP's own, with the code that stands nearest.
    pub(super) fn refuses(mut self, status: u16, code: Code) -> Self {
        let codes = self.codes.entry(status).or_default();
        if !codes.contains(&code.as_str()) {
            codes.push(code.as_str());
        }
        self
    }

    /// Headers that its failures may have.
    pub(super) fn failing_with(mut self, headers: &[&'static str]) -> Self {
        self.failed_with.extend(headers);
        self
    }

    /// In place of what the codes alone would say of a failure's body.
    pub(super) fn failure(mut self, status: u16, schema: &Value) -> Self {
        self.responses
            .insert(status, json!({ "content": { "application/problem+json": { "schema": schema } } }));
        self
    }

    pub(super) fn path(&self) -> String {
        self.path.clone()
    }

    /// As OpenAPI names it.
    pub(super) const fn verb(&self) -> &'static str {
        match self.verb {
            Verb::Get => "get",
            Verb::Put => "put",
            Verb::Post => "post",
            Verb::Patch => "patch",
            Verb::Delete => "delete",
        }
    }

    pub(super) fn value(self) -> Value {
        let Self { mut members, parameters, mut responses, codes, failed_with, .. } = self;
        for (status, codes) in codes {
            let response = responses.entry(status).or_insert_with(|| {
                let one =
                    json!({ "allOf": [schema("Problem"), { "properties": { "code": { "enum": codes } } }] });
                json!({ "content": { "application/problem+json": { "schema": one } } })
            });
            response["description"] = format!("`{}`", codes.join("`, `")).into();
            add_headers(response, &failed_with);
            match status {
                429 => response["headers"]["Retry-After"] = reference("headers", "RetryAfter"),
                503 => response["headers"]["Retry-After"] = reference("headers", "RetryAfterIfKnown"),
                _ => {}
            }
        }
        if !parameters.is_empty() {
            members.insert("parameters".into(), parameters.into());
        }
        let responses: Map<String, Value> =
            responses.into_iter().map(|(status, response)| (status.to_string(), response)).collect();
        members.insert("responses".into(), responses.into());
        members.into()
    }
}

/// Adds headers of the pool to a response. `ETag-if-there` is an `ETag` that need not be there.
fn add_headers(response: &mut Value, names: &[&str]) {
    for name in names {
        let header = name.split("-if-").next().unwrap_or(name);
        response["headers"][header] = reference("headers", name);
    }
}

fn parameter(name: &str) -> Value {
    reference("parameters", name)
}

fn reference(kind: &str, name: &str) -> Value {
    json!({ "$ref": format!("#/components/{kind}/{name}") })
}

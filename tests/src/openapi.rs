//! An OpenAPI document as the server gives it, held against what the server does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use boon::{Compiler, Draft, SchemaIndex, Schemas};
use hyper::header::HeaderName;
use serde_json::Value;

use crate::{Http, Reply, root};

/// A document, and which of its operations were seen.
pub struct Document {
    /// As it came.
    pub value: Value,
    seen: Mutex<BTreeSet<String>>,
}

/// One schema of a document, ready to check values.
pub struct Schema {
    schemas: Schemas,
    index: SchemaIndex,
}

impl Schema {
    /// The schema at `pointer` in `document`.
    ///
    /// # Panics
    /// When it is none.
    pub fn at(document: &Value, pointer: &str) -> Self {
        let mut compiler = Compiler::new();
        compiler.set_default_draft(Draft::V2020_12);
        compiler.add_resource("urn:document", document.clone()).expect("a URL of its own");
        let mut schemas = Schemas::new();
        let index = compiler.compile(&format!("urn:document#{pointer}"), &mut schemas);
        let index = index.unwrap_or_else(|error| panic!("{pointer}: {error:#}"));
        Self { schemas, index }
    }

    /// Why `value` is not allowed; none when it is.
    pub fn refusal(&self, value: &Value) -> Option<String> {
        self.schemas.validate(value, self.index).err().map(|error| format!("{error:#}"))
    }
}

impl Document {
    /// Reads the document at `path`.
    ///
    /// # Panics
    /// When there is none, or when it is not valid under the official schema of OpenAPI 3.1.
    pub async fn read(http: &Http, path: &str) -> Self {
        let value = http.get(path).send().await.expect(200).json();
        let official = root().join("gateway/tests/openapi/schema-3.1.json");
        let official = std::fs::read(&official).expect("the official schema is there");
        let official: Value = serde_json::from_slice(&official).expect("it is JSON");
        if let Some(why) = Schema::at(&official, "").refusal(&value) {
            panic!("{path} is not OpenAPI 3.1: {why}");
        }
        Self { value, seen: Mutex::default() }
    }

    /// Where the operation stands that `method` and `path` address: its path and verb in the document.
    fn operation(&self, method: &str, path: &str) -> Option<(String, String)> {
        let path = path.split('?').next().unwrap_or(path);
        let verb = method.to_lowercase();
        let fits = |template: &str| {
            let (mine, theirs): (Vec<_>, Vec<_>) = (path.split('/').collect(), template.split('/').collect());
            let part = |(mine, theirs): (&&str, &&str)| theirs.starts_with('{') || mine == theirs;
            mine.len() == theirs.len() && mine.iter().zip(&theirs).all(part)
        };
        let paths = self.value["paths"].as_object().expect("paths are an object");
        let found = paths.iter().filter(|(template, item)| fits(template) && item.get(&verb).is_some());
        // a literal part says more than a name
        found
            .min_by_key(|(template, _)| template.matches('{').count())
            .map(|(template, _)| (template.clone(), verb))
    }

    /// Checks that `reply` is one that the document tells of: its status, media type, body and headers.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn expect(&self, reply: &Reply) {
        let (method, path) = reply.what.split_once(' ').expect("a reply says what it is to");
        let (template, verb) =
            self.operation(method, path).unwrap_or_else(|| panic!("not documented: {}", reply.what));
        let escaped = template.replace('~', "~0").replace('/', "~1");
        let pointer = format!("/paths/{escaped}/{verb}");
        let operation = self.value.pointer(&pointer).expect("it was found there");
        let name = operation["operationId"].as_str().expect("an operation has a name");
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
        let response = &operation["responses"][reply.status.to_string()];
        assert!(!response.is_null(), "{name} has no such status: {reply:?}");
        let at = match response["$ref"].as_str() {
            Some(reference) => reference[1..].to_owned(),
            None => format!("{pointer}/responses/{}", reply.status),
        };
        let response = self.resolved(response);
        self.expect_body(reply, response, &at);
        self.expect_headers(reply, response);
    }

    #[track_caller]
    fn expect_body(&self, reply: &Reply, response: &Value, pointer: &str) {
        let Some(content) = response["content"].as_object() else {
            assert!(reply.body.is_empty(), "a body that is not documented: {reply:?}");
            return;
        };
        let kind = reply.header("content-type").unwrap_or_default();
        let media = content.get(kind).unwrap_or_else(|| panic!("another media type: {reply:?}"));
        if kind.ends_with("json") && media.get("schema").is_some() {
            let pointer = format!("{pointer}/content/{}/schema", kind.replace('/', "~1"));
            if let Some(why) = Schema::at(&self.value, &pointer).refusal(&reply.json()) {
                panic!("{why}\n{reply:?}");
            }
        }
    }

    #[track_caller]
    fn expect_headers(&self, reply: &Reply, response: &Value) {
        let empty = serde_json::Map::new();
        let documented = response["headers"].as_object().unwrap_or(&empty);
        let documented: BTreeMap<String, &Value> =
            documented.iter().map(|(name, header)| (name.to_lowercase(), self.resolved(header))).collect();
        for (name, header) in &documented {
            let is_there = reply.header(name).is_some();
            assert!(is_there || header["required"] != true, "header {name} is missing: {reply:?}");
        }
        for name in reply.headers.keys().map(HeaderName::as_str) {
            let of_http = ["content-type", "content-length", "date", "x-accel-buffering", "connection"];
            let known = of_http.contains(&name) || documented.contains_key(name);
            assert!(known, "header {name} is not documented: {reply:?}");
        }
    }

    /// What `part` refers to, or itself.
    fn resolved<'v>(&'v self, part: &'v Value) -> &'v Value {
        match part["$ref"].as_str() {
            Some(reference) => self.value.pointer(&reference[1..]).expect("a reference leads somewhere"),
            None => part,
        }
    }

    /// The names of operations of which no reply was checked.
    pub fn unseen(&self) -> Vec<String> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let paths = self.value["paths"].as_object().expect("paths are an object");
        let operations = paths.values().flat_map(|item| item.as_object().expect("an object").values());
        let names =
            operations.map(|operation| operation["operationId"].as_str().unwrap_or_default().to_owned());
        names.filter(|name| !seen.contains(name)).collect()
    }
}

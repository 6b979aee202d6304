//! What this gateway offers, as OpenAPI 3.1 documents: `/openapi.json` for its REST interface, and one for each class, made
//! of its methods' own types.
//!
//! Shapes of bodies come from the handlers' own types (`schemas`), limits from the one file of limits, statuses from the one
//! table of codes. What a type cannot say (which parameters, headers and failures an operation has) stands in one table
//! (`gateway`). A test goes through the router and that table, and finds what is only in one of them.
//!
//! Each part of a document that is named `#/components/...` is taken from one pool, and a document holds those parts alone
//! that it refers to.

mod class;
mod example;
mod gateway;
mod logs;
mod operation;
mod operator;
mod parameters;
mod schemas;
mod served;
#[cfg(test)]
mod tests;
mod types;

use std::sync::LazyLock;

use bytes::Bytes;
use hyper::StatusCode;
use oprc_mesh::catalog::{Class, Method};
use oprc_mesh::id::ClassName;
use oprc_mesh::outcome::Code;
use serde_json::{Map, Value, json};

use self::operation::Operation;
use crate::call::Call;
use crate::problem::Refusal;
use crate::query::Query;
use crate::reply::{JSON, Reply, json as json_reply, shared};

/// Signatures of one class that a document is made of, at the most; more is `payload-too-large`.
const SIGNATURES_BYTES_MAX: usize = 256 * 1024;

/// `GET /openapi.json`. Made once.
pub(crate) fn of_gateway(call: &Call<'_>) -> Result<Reply, Refusal> {
    static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| gateway::document().to_string().into());
    Query::parse(call.query(), &[])?;
    Ok(shared(StatusCode::OK, JSON, DOCUMENT.clone()))
}

/// `GET /classes/{class}/openapi.json`: of the class as it is deployed now.
pub(crate) async fn of_class(call: &Call<'_>, name: &ClassName) -> Result<Reply, Refusal> {
    Query::parse(call.query(), &[])?;
    let (_, class) = call.app.class(name, call.deadline.at).await?;
    bounded(&class)?;
    Ok(json_reply(StatusCode::OK, &class::document(&class))?)
}

/// Refuses to describe more than anybody writes by hand: a document is some hundred times its signatures in memory.
fn bounded(class: &Class) -> Result<(), Refusal> {
    let of = |method: &Method| method.signature().len();
    let bytes: usize = class.methods.iter().map(of).sum();
    if bytes <= SIGNATURES_BYTES_MAX {
        return Ok(());
    }
    let detail =
        format!("the signatures of class {} have {bytes} bytes, of {SIGNATURES_BYTES_MAX}", class.name);
    Err(Refusal::new(Code::PayloadTooLarge, detail)
        .hint("GET the class itself: it lists its methods with their types"))
}

/// Puts a document together: `components` are its own, further ones that it refers to come from the pool.
fn document(
    info: &Value,
    tags: &Value,
    operations: Vec<Operation>,
    mut components: Map<String, Value>,
) -> Value {
    let mut paths = Map::new();
    let mut failures = Failures::default();
    for operation in operations {
        let verb = operation.verb();
        let path = paths.entry(operation.path()).or_insert_with(|| Value::Object(Map::new()));
        path[verb] = operation.value();
        failures.share(&mut path[verb]["responses"]);
    }
    let mut document = json!({
        "openapi": "3.1.0",
        "info": info,
        "servers": [{ "url": "/", "description": "the gateway that gives this document" }],
        "tags": tags,
        // none is needed where a gateway runs without identity, which this document does not know
        "security": [{}, { "token": [] }],
        "paths": paths,
    });
    components.insert("responses".into(), failures.named.into());
    components.insert(
        "securitySchemes".into(),
        json!({ "token": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "oprc_... or JWT",
            "description": "The token of a key, or a JWT of the issuer that the gateway is told of.",
        }}),
    );
    document["components"] = components.into();
    add_referred(&mut document);
    document
}

/// The ways to fail, each said once: most operations share them.
#[derive(Default)]
struct Failures {
    named: Map<String, Value>,
}

impl Failures {
    /// Puts references in the place of an operation's failures.
    fn share(&mut self, responses: &mut Value) {
        let Some(responses) = responses.as_object_mut() else { return };
        for (status, response) in responses.iter_mut().filter(|(status, _)| status.as_str() >= "400") {
            let known = self.named.iter().find(|(_, known)| *known == response).map(|(name, _)| name.clone());
            let name = known.unwrap_or_else(|| {
                let name = format!("{status}.{}", self.named.len());
                self.named.insert(name.clone(), response.clone());
                name
            });
            *response = json!({ "$ref": format!("#/components/responses/{name}") });
        }
    }
}

/// Takes over from the pool whatever is referred to, until nothing is missing.
fn add_referred(document: &mut Value) {
    let pool = pool();
    loop {
        let mut referred = Vec::new();
        references(document, &mut referred);
        let missing: Vec<_> = referred
            .into_iter()
            .filter_map(|reference| {
                let pointer = reference.trim_start_matches('#').to_owned();
                let part = pool.pointer(&pointer)?.clone();
                document.pointer(&pointer).is_none().then_some((pointer, part))
            })
            .collect();
        if missing.is_empty() {
            return;
        }
        for (pointer, part) in missing {
            let mut names = pointer.split('/').skip(2);
            if let (Some(kind), Some(name)) = (names.next(), names.next()) {
                document["components"][kind][name] = part;
            }
        }
    }
}

/// Every `$ref` in `value`.
fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(reference) if name == "$ref" => found.push(reference.clone()),
                    member => references(member, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

/// All that documents may refer to.
fn pool() -> &'static Value {
    static POOL: LazyLock<Value> = LazyLock::new(|| {
        json!({ "components": {
            "schemas": schemas::schemas(),
            "parameters": parameters::parameters(),
            "headers": parameters::response_headers(),
        }})
    });
    &POOL
}

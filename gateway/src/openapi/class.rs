//! A class's own document: a path for each method called on an object, and one for each called as a function, with the
//! types of the component.

use oprc_mesh::catalog::{Class, Method};
use oprc_mesh::outcome::Code;
use oprc_mesh::wit::Wit;
use serde_json::{Map, Value, json};

use super::gateway::{call, gives, gives_nothing};
use super::operation::{Operation, either, in_bytes, in_json, schema};
use super::types::{Types, Way, needs_body};
use super::{document as assemble, example};
use crate::router::Verb::Post;

/// The document.
pub(super) fn document(class: &Class) -> Value {
    let name = &class.name;
    let info = json!({
        "title": name,
        "version": class.version.to_string(),
        "description": format!(
            "The methods of class {name}. Integers are written without fraction and exponent. How JSON becomes WIT values \
             and back is said in the guide, under `Writing a guest`."
        ),
    });
    let tags = json!([
        { "name": "methods", "description": "Called on an object." },
        { "name": "functions", "description": "The same without an object." },
    ]);
    let mut schemas = Map::new();
    let mut operations = Vec::new();
    if class.generic {
        operations.extend(generic(name));
    }
    for method in &class.methods {
        operations.extend(both(name, method, &mut schemas));
    }
    let mut own = Map::new();
    own.insert("schemas".into(), schemas.into());
    assemble(&info, &tags, operations, own)
}

/// Any method name goes to the component's own handler.
fn generic(class: &str) -> [Operation; 2] {
    let about = "The component's own handler takes any method's name and any payload, and may give no JSON.";
    let any = || either(in_json(&json!(true)), &in_bytes());
    let made = |operation: Operation| gives(call(operation.note(about).body(false, &any())), any());
    [
        made(
            Operation::new(Post, &invoke_path(class, "{method}"), "invoke", "Call a method of an object")
                .tag("methods")
                .takes_own(consistency(true)),
        ),
        made(
            Operation::new(Post, &function_path(class, "{function}"), "call", "Call a function")
                .tag("functions"),
        ),
    ]
}

fn invoke_path(class: &str, method: &str) -> String {
    format!("/api/v1/classes/{class}/objects/{{id}}/invoke/{method}")
}

fn function_path(class: &str, function: &str) -> String {
    format!("/api/v1/classes/{class}/functions/{function}")
}

/// A method on an object, and as a function.
fn both(class: &str, method: &Method, schemas: &mut Map<String, Value>) -> [Operation; 2] {
    let name = &method.name;
    let takes = format!("{name}.arguments");
    let arguments = Types::new(takes.clone(), Way::In, schemas).arguments(&method.params);
    schemas.insert(takes.clone(), arguments);
    let answer = Answer::of(method, schemas);
    let made = |operation: Operation| {
        let operation = operation
            .note(format!("`{}`", method.signature()))
            .body(needs_body(method), &body(method, &takes));
        answer.told_by(call(operation))
    };
    let on_object = Operation::new(
        Post,
        &invoke_path(class, name),
        &format!("invoke.{name}"),
        &format!("{name} of an object"),
    )
    .tag("methods")
    .takes_own(consistency(method.readonly));
    let alone = Operation::new(
        Post,
        &function_path(class, name),
        &format!("call.{name}"),
        &format!("{name} as a function"),
    )
    .tag("functions");
    [made(on_object), made(alone)]
}

/// `stale` is for those alone that only read.
fn consistency(readonly: bool) -> Value {
    if readonly {
        return json!({ "$ref": "#/components/parameters/consistency" });
    }
    let schema = json!({ "enum": ["lease", "linearizable"], "default": "lease" });
    json!({ "name": "consistency", "in": "query", "schema": schema, "description": "How new what the method finds must be." })
}

fn body(method: &Method, takes: &str) -> Value {
    let mut json = json!({ "schema": schema(takes) });
    if let Some(example) = example::arguments(&method.params) {
        json["example"] = example;
    }
    let json = json!({ "application/json": json });
    let raw = matches!(method.params.as_slice(), [only] if only.ty == Wit::Bytes.to_string());
    if raw { either(json, &in_bytes()) } else { json }
}

/// What a call of a method comes to.
struct Answer {
    /// None for no result.
    content: Option<Value>,
    /// What a failure by the function itself looks like; none when it has no error of its own.
    failure: Option<Value>,
}

impl Answer {
    /// A result at the top decides the call: its error is a problem's.
    fn of(method: &Method, schemas: &mut Map<String, Value>) -> Self {
        let (value, error) = match Wit::parse(&method.result) {
            Ok(Wit::Result(ok, err)) => (ok.map(|ty| *ty), Some(err.map(|ty| *ty))),
            Ok(ty) => (Some(ty), None),
            Err(_) if method.result.is_empty() => (None, None),
            Err(_) => {
                return Self {
                    content: Some(in_json(&json!({ "description": method.result }))),
                    failure: None,
                };
            }
        };
        let mut define = |part: &str, ty: &Wit| {
            let stem = format!("{}.{part}", method.name);
            let made = Types::new(stem.clone(), Way::Out, schemas).of(ty);
            schemas.insert(stem.clone(), made);
            schema(&stem)
        };
        let content = value.map(|ty| {
            let json = in_json(&define("result", &ty));
            if ty == Wit::Bytes { either(json, &in_bytes()) } else { json }
        });
        let failure = error.map(|ty| match ty {
            Some(ty) => define("error", &ty),
            None => json!({ "type": "null" }),
        });
        Self { content, failure }
    }

    fn told_by(&self, operation: Operation) -> Operation {
        let operation = match &self.content {
            Some(content) => gives(operation, content.clone()),
            None => gives_nothing(operation),
        };
        let Some(error) = &self.failure else { return operation };
        let own = json!({ "allOf": [
            schema("Problem"),
            {
                "properties": { "code": { "const": Code::FunctionError.as_str() }, "error": error },
                "required": ["error"],
            },
        ]});
        let other = json!({ "allOf": [
            schema("Problem"),
            { "properties": { "code": { "const": Code::IdempotencyMismatch.as_str() } } },
        ]});
        operation.failure(Code::FunctionError.http_status(), &json!({ "anyOf": [own, other] }))
    }
}

//! Whether documents are what they say: valid OpenAPI, whole, and about the router's own paths.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use boon::{Compiler, Draft, SchemaIndex, Schemas};
use oprc_mesh::catalog::{Class, Method, Param};
use oprc_mesh::id::{ClassName, FieldKey, ObjectId};
use oprc_mesh::outcome::Code;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::types::{Types, Way};
use super::{SIGNATURES_BYTES_MAX, bounded, class, gateway, references, schemas};
use crate::access::Need;
use crate::needs::needed;
use crate::router::{Verb, find};

/// One schema among the parts of a document.
struct Check {
    schemas: Schemas,
    index: SchemaIndex,
}

impl Check {
    fn new(document: &Value, pointer: &str) -> Self {
        let mut compiler = Compiler::new();
        compiler.set_default_draft(Draft::V2020_12);
        compiler.add_resource("urn:document", document.clone()).unwrap();
        let mut schemas = Schemas::new();
        let index = compiler.compile(&format!("urn:document#{pointer}"), &mut schemas);
        let index = index.unwrap_or_else(|error| panic!("{pointer}: {error:#}"));
        Self { schemas, index }
    }

    fn of(schema: &Value) -> Self {
        let parts = json!({ "components": { "schemas": schemas::schemas() }, "it": schema });
        Self::new(&parts, "/it")
    }

    fn takes(&self, value: &Value) -> bool {
        self.schemas.validate(value, self.index).is_ok()
    }

    #[track_caller]
    fn expect(&self, value: &Value) {
        self.schemas.validate(value, self.index).unwrap_or_else(|error| panic!("{error:#}"));
    }
}

/// A class with methods of these parameter and result types.
fn class_of(types: &[&str]) -> Class {
    let method = |(at, ty): (usize, &&str)| {
        let params = vec![
            Param { name: "value".into(), ty: (*ty).into() },
            Param { name: "more".into(), ty: "option<u8>".into() },
        ];
        Method { name: format!("m{at}"), params, result: (*ty).into(), readonly: at % 2 == 0 }
    };
    Class {
        name: "Types".into(),
        version: 3,
        methods: types.iter().enumerate().map(method).collect(),
        ..Class::default()
    }
}

const TYPES: &[&str] = &[
    "bool",
    "u8",
    "s8",
    "u16",
    "s16",
    "u32",
    "s32",
    "u64",
    "s64",
    "f32",
    "f64",
    "char",
    "string",
    "list<u8>",
    "list<u64>",
    "option<string>",
    "option<option<u32>>",
    "tuple<u8, string>",
    "record { x: s32, first-name: option<u64> }",
    "variant { nothing, circle(f64) }",
    "enum { red, dark-green }",
    "flags { read, write }",
    "result<list<u8>, string>",
    "result",
    "result<_, record { x: s32 }>",
    "result<u64>",
    "a type of tomorrow",
    "",
];

fn documents() -> [Value; 3] {
    let generic = Class { name: "Kv".into(), generic: true, ..Class::default() };
    [gateway::document(), class::document(&class_of(TYPES)), class::document(&generic)]
}

#[test]
fn documents_are_valid_openapi() {
    let official: Value = serde_json::from_str(include_str!("../../tests/openapi/schema-3.1.json")).unwrap();
    let check = Check::new(&official, "");
    for document in documents() {
        check.expect(&document);
    }
    assert!(!check.takes(&json!({ "openapi": "3.1.0", "info": { "title": "x" }, "paths": {} })), "it checks");
}

/// The official schema leaves schemas to their own dialect.
#[test]
fn every_schema_is_one_and_nothing_is_missing() {
    let meta = Check::of(&json!({ "$ref": "https://json-schema.org/draft/2020-12/schema" }));
    assert!(!meta.takes(&json!({ "type": "strin" })), "it checks");
    for document in documents() {
        let mut found = Vec::new();
        schemas_in(&document, &mut found);
        assert!(found.len() > 10);
        for schema in found {
            meta.expect(schema);
        }
        let mut referred = Vec::new();
        references(&document, &mut referred);
        for reference in referred {
            assert!(document.pointer(&reference[1..]).is_some(), "{reference}");
        }
        for kind in ["schemas", "parameters", "headers", "responses"] {
            for name in document["components"][kind].as_object().unwrap().keys() {
                assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)), "{name}");
            }
        }
    }
}

fn schemas_in<'v>(value: &'v Value, found: &mut Vec<&'v Value>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match name.as_str() {
                    "schema" => found.push(member),
                    "schemas" => found.extend(member.as_object().unwrap().values()),
                    "example" => {}
                    _ => schemas_in(member, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| schemas_in(item, found)),
        _ => {}
    }
}

#[test]
fn operations_have_names_of_their_own() {
    for document in documents() {
        let mut names = BTreeSet::new();
        for path in document["paths"].as_object().unwrap().values() {
            for operation in path.as_object().unwrap().values() {
                assert!(names.insert(operation["operationId"].as_str().unwrap()), "{operation}");
            }
        }
        assert!(names.len() > 1);
    }
}

/// What stands for each name in a pattern of the router, and in a path of a document.
fn sample(name: &str) -> &'static str {
    match name {
        "c" | "class" => "A",
        "o" | "id" => "b",
        "m" | "method" | "function" => "m",
        "f" | "key" | "k" | "name" => "k",
        "n" | "node" => "ab",
        "path" => "p",
        "invocation" => "ATEyMzQ1Njc4QwBvAGs",
        other => panic!("what stands for {other}?"),
    }
}

/// Every path that the router takes, by the patterns in its own source: what is added there is found here.
fn routed() -> BTreeSet<String> {
    let source = include_str!("../router.rs");
    let arms = source.lines().filter_map(|line| line.trim().strip_prefix("[")?.split_once("] => "));
    let mut paths = BTreeSet::new();
    for (pattern, right) in arms.filter(|(pattern, _)| pattern.starts_with('"') && !pattern.contains('@')) {
        let parts = pattern.split(", ").map(|part| match part.strip_prefix('"') {
            Some(literal) => literal.trim_end_matches('"'),
            None if part == "wish" => "{wish}",
            None if right.contains("InvocationId") => sample("invocation"),
            None => sample(part),
        });
        let path = parts.collect::<Vec<_>>().join("/");
        let wishes =
            ["retry", "purge", "drain", "undrain", "remove"].map(|wish| path.replace("{wish}", wish));
        let places = wishes.iter().flat_map(|path| [format!("/{path}"), format!("/api/v1/{path}")]);
        let found: Vec<_> = places.filter(|path| find(path).is_ok()).collect();
        assert!(!found.is_empty(), "no sample fits the pattern {pattern}");
        paths.extend(found);
    }
    assert!(paths.len() > 20, "the source is read: {paths:?}");
    // no pattern of segments, for there may be any number of them
    paths.insert("/api/v1/classes/A/http/p".to_owned());
    paths
}

#[test]
fn the_document_has_every_route_of_the_router_and_no_other() {
    let mut offered = BTreeSet::new();
    for path in routed() {
        for (verb, _) in find(&path).unwrap().operations() {
            offered.insert((path.clone(), format!("{verb:?}").to_lowercase()));
        }
    }
    let mut documented = BTreeSet::new();
    for operation in gateway::operations() {
        let parts: Vec<_> = operation
            .path()
            .split('/')
            .map(|part| {
                part.strip_prefix('{')
                    .map_or(part.to_owned(), |name| sample(name.trim_end_matches('}')).to_owned())
            })
            .collect();
        documented.insert((parts.join("/"), operation.verb().to_owned()));
    }
    let missing: Vec<_> = offered.difference(&documented).collect();
    let strange: Vec<_> = documented.difference(&offered).collect();
    assert!(missing.is_empty() && strange.is_empty(), "not documented: {missing:?}; no route: {strange:?}");
}

/// What answers everybody is documented so, and nothing else is.
#[test]
fn the_document_says_what_is_open() {
    let document = gateway::document();
    let mut open = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let parts = path.split('/').map(|part| match part.strip_prefix('{') {
            Some(name) => sample(name.trim_end_matches('}')),
            None => part,
        });
        let resource = find(&parts.collect::<Vec<_>>().join("/")).unwrap();
        for (verb, _) in resource.operations() {
            let operation = &item[format!("{verb:?}").to_lowercase()];
            assert_eq!(
                needed(&resource, *verb) == Need::Nothing,
                operation["security"] == json!([]),
                "{verb:?} {path}"
            );
            if operation["security"] == json!([]) {
                open.insert(operation["operationId"].as_str().unwrap());
            }
        }
    }
    assert_eq!(Vec::from_iter(open), ["document", "health", "readiness"]);
}

/// The routes of a class's document are the router's too.
#[test]
fn a_class_is_documented_by_paths_that_are_routed() {
    let document = class::document(&class_of(&["u8", "bool"]));
    let paths: Vec<_> =
        document["paths"].as_object().unwrap().keys().map(|path| path.replace("{id}", "o")).collect();
    assert_eq!(paths.len(), 4);
    for path in paths {
        assert_eq!(find(&path).unwrap().operations()[0].0, Verb::Post, "{path}");
    }
}

#[test]
fn a_type_that_nests_as_deep_as_it_may_makes_a_document_that_can_be_read() {
    let levels = oprc_mesh::wit::DEPTH_MAX - 1;
    for (open, close) in
        [("option<", ">"), ("list<", ">"), ("variant { a(", ") }"), ("record { a: ", " }"), ("result<", ">")]
    {
        let ty = format!("{}bool{}", open.repeat(levels), close.repeat(levels));
        let text = class::document(&class_of(&[&ty])).to_string();
        let read: Value = serde_json::from_str(&text).unwrap();
        let check = Check::new(&read, "/components/schemas/m0.arguments");
        let example = &read.pointer("/paths/~1api~1v1~1classes~1Types~1functions~1m0/post/requestBody/content/application~1json/example");
        check.expect(example.unwrap());
        assert!(!check.takes(&json!({ "value": 1 })));
    }
}

#[test]
fn a_class_may_have_so_many_signatures_and_no_more() {
    let signature = "m0: func(value: , more: option<u8>) -> ".len();
    let ty = |bytes: usize| "x".repeat((bytes - signature) / 2);
    assert!(bounded(&class_of(&[&ty(SIGNATURES_BYTES_MAX)])).is_ok());
    let refusal = bounded(&class_of(&[&ty(SIGNATURES_BYTES_MAX + 2)])).unwrap_err();
    assert_eq!(refusal.problem().kind(), Code::PayloadTooLarge);
}

fn of_type(ty: &str, way: Way) -> Check {
    let mut named = serde_json::Map::new();
    Check::of(&Types::new("t".into(), way, &mut named).of_text(ty))
}

#[test]
fn what_a_type_takes_and_gives_is_what_its_schema_says() {
    let cases: &[(&str, Value, bool, bool)] = &[
        ("u64", json!(u64::MAX), true, true),
        ("u64", json!("18446744073709551615"), true, false),
        ("u64", json!("18446744073709551616"), false, false),
        ("u64", json!("20000000000000000000"), false, false),
        ("u64", json!("01"), false, false),
        ("u64", json!("0"), true, false),
        ("u64", json!(-1), false, false),
        ("s64", json!("-9223372036854775808"), true, false),
        ("s64", json!("-9223372036854775809"), false, false),
        ("s64", json!("9223372036854775808"), false, false),
        ("s64", json!("9223372036854775807"), true, false),
        ("s64", json!(i64::MIN), true, true),
        ("u8", json!(256), false, false),
        ("u8", json!("1"), false, false),
        ("s32", json!(-2_147_483_648_i64), true, true),
        ("f32", json!(3.5e38), false, false),
        ("f32", json!(f32::MAX), true, true),
        ("f32", serde_json::from_str(&f32::MAX.to_string()).unwrap(), true, true),
        ("f32", serde_json::from_str("-3.4028235e38").unwrap(), true, true),
        ("char", json!("🦀"), true, true),
        ("char", json!("ab"), false, false),
        ("list<u8>", json!("AA=="), true, true),
        ("list<u8>", json!("AB=="), false, false),
        ("list<u8>", json!("AA"), false, false),
        ("list<u8>", json!([0]), false, false),
        ("option<u8>", json!(null), true, true),
        ("option<option<u8>>", json!({ "some": null }), true, true),
        ("option<option<u8>>", json!(1), false, false),
        ("record { x: u8, y: option<u8> }", json!({ "x": 1 }), true, false),
        ("record { x: u8, y: option<u8> }", json!({ "x": 1, "y": null }), true, true),
        ("record { x: u8, y: option<u8> }", json!({ "x": 1, "z": null }), false, false),
        ("variant { a, b(u8) }", json!("a"), true, true),
        ("variant { a, b(u8) }", json!({ "a": null }), true, false),
        ("variant { a, b(u8) }", json!({ "b": 1 }), true, true),
        ("variant { a, b(u8) }", json!("b"), false, false),
        ("tuple<u8, bool>", json!([1, true]), true, true),
        ("tuple<u8, bool>", json!([1]), false, false),
        ("tuple<u8, bool>", json!([1, true, 1]), false, false),
        ("flags { r, w }", json!(["r", "r"]), true, false),
        ("flags { r, w }", json!(["x"]), false, false),
        ("tuple<result<u8>>", json!([{ "err": null }]), true, true),
        ("tuple<result<u8>>", json!([{ "ok": 1, "err": null }]), false, false),
    ];
    for (ty, value, taken, given) in cases {
        assert_eq!(of_type(ty, Way::In).takes(value), *taken, "{ty} in: {value}");
        assert_eq!(of_type(ty, Way::Out).takes(value), *given, "{ty} out: {value}");
    }
}

#[test]
fn arguments_come_by_name_or_in_their_order() {
    let param = |name: &str, ty: &str| Param { name: name.into(), ty: ty.into() };
    let params = [param("a", "option<u8>"), param("b", "u8"), param("c", "option<u8>")];
    let mut named = serde_json::Map::new();
    let check = Check::of(&Types::new("t".into(), Way::In, &mut named).arguments(&params));
    for good in [json!({ "b": 1 }), json!({ "a": null, "b": 1, "c": 2 }), json!([null, 1]), json!([1, 1, 1])]
    {
        check.expect(&good);
    }
    for bad in
        [json!({}), json!({ "b": 1, "d": 1 }), json!([null]), json!([1, 1, 1, 1]), json!(1), json!(null)]
    {
        assert!(!check.takes(&bad), "{bad}");
    }
    let none = Check::of(&Types::new("t".into(), Way::In, &mut named).arguments(&[]));
    assert!(none.takes(&json!({})) && none.takes(&json!([])) && !none.takes(&json!([1])));
}

proptest! {
    /// The patterns of identifiers say what their parsers do.
    #[test]
    fn patterns_are_the_parsers(text in "[a-zA-Z0-9._:@~+=/ \u{0}\u{7f}\u{85}\u{a0}ä🦀-]{0,8}", more in 0_usize..200) {
        let long = format!("{text}{}", "x".repeat(more));
        let parameters = super::parameters::parameters();
        for text in [text, long] {
            let value = json!(text);
            let taken = |name: &str| Check::of(&parameters[name]["schema"]).takes(&value);
            prop_assert_eq!(taken("class"), ClassName::parse(&text).is_ok());
            prop_assert_eq!(taken("id"), ObjectId::parse(&text).is_ok());
            if text.len() == text.chars().count() {
                prop_assert_eq!(taken("key"), FieldKey::parse(&text).is_ok());
            }
        }
    }
}

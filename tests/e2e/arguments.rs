//! A body that does not fit the method's signature is refused before the method runs, naming the parameter and the type
//! that was expected.

use oprc_mesh::outcome::Code;
use oprc_tests::{Class, Server, both, guests};
use serde_json::{Value, json};

both!(wrong_types, wrong_names, positions, no_body, no_json, raw_bodies, nothing_ran, by_address);

async fn wrong_types(server: Server) {
    let class = types(&server).await;
    // method, argument, the type as it must be named
    let cases: &[(&str, Value, &str)] = &[
        ("echo-bool", json!(0), "bool"),
        ("echo-bool", json!("true"), "bool"),
        ("echo-bool", json!(null), "bool"),
        ("echo-u8", json!(256), "u8"),
        ("echo-u8", json!(-1), "u8"),
        ("echo-u8", json!(1.5), "u8"),
        ("echo-u8", json!("1"), "u8"),
        ("echo-u16", json!(65_536), "u16"),
        ("echo-u32", json!(4_294_967_296u64), "u32"),
        ("echo-u32", json!([]), "u32"),
        ("echo-u64", json!(-1), "u64"),
        ("echo-u64", json!("18446744073709551616"), "u64"),
        ("echo-u64", json!("x"), "u64"),
        ("echo-u64", json!(""), "u64"),
        ("echo-u64", json!("0x10"), "u64"),
        ("echo-u64", json!(" 1"), "u64"),
        ("echo-u64", json!(true), "u64"),
        ("echo-u64", json!({}), "u64"),
        ("echo-s8", json!(128), "s8"),
        ("echo-s8", json!(-129), "s8"),
        ("echo-s16", json!(32_768), "s16"),
        ("echo-s32", json!(2_147_483_648u64), "s32"),
        ("echo-s64", json!("9223372036854775808"), "s64"),
        ("echo-s64", json!(1.0e30), "s64"),
        ("echo-f32", json!("1"), "f32"),
        ("echo-f32", json!(1.0e300), "f32"),
        ("echo-f64", json!(null), "f64"),
        ("echo-char", json!(""), "char"),
        ("echo-char", json!("ab"), "char"),
        ("echo-char", json!("e\u{301}"), "char"),
        ("echo-char", json!(97), "char"),
        ("echo-string", json!(1), "string"),
        ("echo-string", json!(null), "string"),
        ("echo-bytes", json!("not base64!"), "list<u8>"),
        ("echo-bytes", json!("AA"), "list<u8>"),
        ("echo-bytes", json!(1), "list<u8>"),
        ("echo-list", json!("x"), "list<u32>"),
        ("echo-list", json!({ "0": 1 }), "list<u32>"),
        ("echo-list", json!([1, "2"]), "u32"),
        ("echo-lists", json!([["a"], "b"]), "list<string>"),
        ("echo-option", json!("x"), "u32"),
        ("echo-option-option", json!(1), "option"),
        ("echo-tuple", json!([1, "a"]), "tuple<u8, string, bool>"),
        ("echo-tuple", json!([1, "a", true, 1]), "tuple<u8, string, bool>"),
        ("echo-tuple", json!([1, 2, true]), "string"),
        ("echo-result", json!({ "maybe": 1 }), "result<u32, string>"),
        ("echo-result", json!({ "ok": "x" }), "u32"),
        ("echo-result", json!({ "ok": 1, "err": "x" }), "result<u32, string>"),
        ("echo-point", json!({ "x": 1 }), "s32"),
        ("echo-point", json!({ "x": 1, "y": "2" }), "s32"),
        ("echo-shape", json!("circle"), "shape"),
        ("echo-shape", json!({ "square": 1 }), "shape"),
        ("echo-shape", json!({ "circle": "wide" }), "f64"),
        ("echo-colour", json!("green"), "colour"),
        ("echo-colour", json!(0), "colour"),
        ("echo-rights", json!("read"), "rights"),
        ("echo-rights", json!(["read", "fly"]), "rights"),
    ];
    for (method, value, expected) in cases {
        for body in [json!({ "value": value }), json!([value])] {
            let problem = class.function(method).json(&body).send().await.problem(Code::Invalid);
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains("value"), "{method} {body}: the parameter is named: {detail}");
            // types with a name of their own may be named or written out
            let named =
                detail.contains(expected) || written_out(expected).is_some_and(|text| detail.contains(text));
            assert!(named, "{method} {body}: the expected type {expected} is named: {detail}");
        }
    }
}

/// A part of the definition of a type that has a name in the guest's WIT.
fn written_out(name: &str) -> Option<&'static str> {
    match name {
        "shape" => Some("polygon"),
        "colour" => Some("dark-green"),
        "rights" => Some("run-as-other"),
        _ => None,
    }
}

async fn wrong_names(server: Server) {
    let class = types(&server).await;
    for (method, body, named) in [
        ("echo-u32", json!({ "valu": 1 }), "valu"),
        ("echo-u32", json!({ "value": 1, "other": 2 }), "other"),
        ("echo-u32", json!({}), "value"),
        ("nothing", json!({ "value": 1 }), "value"),
        ("join", json!({ "left": "a", "times": 1 }), "right"),
        ("join", json!({ "left": "a", "right": "b", "Times": 1 }), "Times"),
        // a record parameter has its own name, too
        ("echo-point", json!({ "x": 1, "y": 2 }), "x"),
        ("echo-point", json!({ "value": { "x": 1, "y": 2, "z": 3 } }), "z"),
        ("translate", json!({ "origin": { "x": 1, "y": 2 } }), "by"),
        ("translate", json!({ "origin": { "x": 1 }, "by": { "x": 1, "y": 2 } }), "origin.y"),
    ] {
        let problem = class.function(method).json(&body).send().await.problem(Code::Invalid);
        assert!(
            problem["detail"].as_str().unwrap().contains(named),
            "{method} {body}: {named} is named: {problem}"
        );
    }
    // the same name twice
    for body in ["{\"value\":1,\"value\":2}", "{\"value\":1,\"\\u0076alue\":2}"] {
        class.function("echo-u32").json_text(body).send().await.problem(Code::Invalid);
    }
}

async fn positions(server: Server) {
    let class = types(&server).await;
    let call = |method: &'static str, body: Value| class.function(method).json(&body).send();
    assert_eq!(call("join", json!(["a", "b", 2])).await.expect(200).json(), "abb");
    assert_eq!(call("echo-list", json!([[1, 2]])).await.expect(200).json(), json!([1, 2]));
    assert_eq!(call("echo-list", json!([[]])).await.expect(200).json(), json!([]));
    assert_eq!(call("greet", json!(["Ada", "Lady"])).await.expect(200).json(), "Lady Ada");
    call("nothing", json!([])).await.expect(204);
    for (method, body) in [
        ("join", json!(["a", "b"])),
        ("join", json!(["a", "b", 2, 3])),
        ("echo-list", json!([1, 2])),
        ("echo-list", json!([])),
        ("nothing", json!([null])),
        // a bare value is no list of arguments
        ("echo-u32", json!(1)),
        ("echo-string", json!("x")),
        ("echo-bool", json!(true)),
        ("echo-option", json!(null)),
    ] {
        call(method, body).await.problem(Code::Invalid);
    }
}

/// An empty body is no arguments; an option may be left out.
async fn no_body(server: Server) {
    let class = types(&server).await;
    class.function("nothing").send().await.expect(204);
    class.function("nothing").json_text("").send().await.expect(204);
    class.function("nothing").json(&json!({})).send().await.expect(204);
    class.object("o").method("nothing").send().await.expect(204);
    assert_eq!(class.function("echo-option").send().await.expect(200).json(), Value::Null);
    assert_eq!(
        class.function("greet").json(&json!({ "name": "Ada" })).send().await.expect(200).json(),
        "Ada"
    );
    let problem = class.function("echo-u32").send().await.problem(Code::Invalid);
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("value") && detail.contains("u32"), "what is missing is named: {detail}");
}

async fn no_json(server: Server) {
    let class = types(&server).await;
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    for body in [
        "{",
        "{\"value\":}",
        "{'value':1}",
        "{\"value\":1,}",
        "{\"value\":1}}",
        "value=1",
        "nul",
        "{\"value\":NaN}",
        "{\"value\":01}",
        "{\"value\":+1}",
        "{\"value\":1} x",
        " ",
        "\u{feff}{\"value\":1}",
        "\"\\ud800\"",
        deep.as_str(),
    ] {
        class.function("echo-u32").json_text(body).send().await.problem(Code::Invalid);
    }
    let bytes = b"{\"value\":\"\xff\"}".as_slice();
    class.function("echo-string").body("application/json", bytes).send().await.problem(Code::Invalid);
}

/// Bytes as they are go to a sole `list<u8>`, and to nothing else.
async fn raw_bodies(server: Server) {
    let class = types(&server).await;
    let every_byte: Vec<u8> = (0..=255).collect();
    for bytes in [Vec::new(), vec![0], every_byte] {
        let call = class.function("echo-bytes").octets(bytes.clone());
        let reply = call.clone().header("accept", "application/octet-stream").send().await.expect(200);
        assert_eq!(reply.header("content-type"), Some("application/octet-stream"));
        assert_eq!(reply.body, bytes);
        let text = call.send().await.expect(200).json();
        assert_eq!(text, base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &bytes));
    }
    for method in ["echo-u32", "echo-string", "pad", "nothing"] {
        class.function(method).octets(vec![1, 2]).send().await.problem(Code::Invalid);
    }
    // only a result of bytes leaves as bytes
    let reply = class
        .function("echo-u32")
        .json(&json!([7]))
        .header("accept", "application/octet-stream")
        .send()
        .await;
    assert_eq!(reply.expect(200).json(), 7);
}

/// What is refused has not run: no object comes into being, no version changes.
async fn nothing_ran(server: Server) {
    let class = Class::deploy(&server, "Counter", guests::counter(), "").await;
    let alice = class.object("alice");
    for body in ["{\"by\":\"x\"}", "{\"by\":-1}", "{\"by\":1,\"more\":1}", "[1,2]", "{", "{\"By\":1}"] {
        alice.method("increment").json_text(body).send().await.problem(Code::Invalid);
    }
    alice.get().await.problem(Code::NotFound);
    let problem = alice.invoke("increment", json!({ "by": "x" })).await.problem(Code::Invalid);
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("by") && detail.contains("u64"), "{detail}");
    assert_eq!(problem["subject"], format!("{}/alice.increment", class.name));
}

/// `POST /invoke` takes the address in its body.
async fn by_address(server: Server) {
    let http = server.http();
    let class = Class::deploy(&server, "Counter", guests::counter(), "").await;
    let invoke = |body: Value| http.post("/api/v1/invoke").json(&body).send();
    let call =
        json!({ "class": class.name, "object": "alice", "function": "increment", "payload": { "by": 5 } });
    let reply = invoke(call.clone()).await.expect(200);
    assert_eq!((reply.json(), reply.version()), (json!(5), 1));
    assert_eq!(invoke(call).await.expect(200).json(), 10);
    let types = types(&server).await;
    let call = json!({ "class": types.name, "function": "join", "payload": ["a", "b", 2] });
    let reply = invoke(call).await.expect(200);
    assert_eq!(reply.json(), "abb");
    assert_eq!(reply.header("oprc-version"), None, "a function has no object");
    invoke(json!({ "class": types.name, "function": "nothing" })).await.expect(204);

    invoke(json!({ "class": class.name, "object": "nobody", "function": "absent" }))
        .await
        .problem(Code::NotFound);
    invoke(json!({ "class": "NoSuchClass", "function": "f" })).await.problem(Code::NotFound);
    for bad in [
        json!({ "class": class.name }),
        json!({ "function": "f" }),
        json!({ "class": "1", "function": "f" }),
        json!({ "class": class.name, "object": "", "function": "increment" }),
        json!({ "class": class.name, "object": 1, "function": "increment" }),
        json!({ "class": class.name, "object": "alice", "function": "increment", "paylaod": { "by": 1 } }),
        json!([]),
        json!("x"),
    ] {
        invoke(bad).await.problem(Code::Invalid);
    }
    assert_eq!(class.object("alice").version().await, 2);
}

async fn types(server: &Server) -> Class {
    Class::deploy(server, "Types", guests::types(), "").await
}

//! Every WIT type goes in and comes out as JSON, in functions and in methods, from the world and from an exported
//! interface.

use oprc_mesh::outcome::Code;
use oprc_tests::{Class, Server, both, guests};
use serde_json::{Value, json};

both!(
    both_ways,
    given_otherwise,
    numbers_to_the_last_bit,
    several_parameters,
    results,
    unwritable_results,
    signatures
);

async fn both_ways(server: Server) {
    let class = Class::deploy(&server, "Types", guests::types(), "").await;
    let person = json!({ "first-name": "Ada", "age": 36, "home": { "x": 1, "y": -1 }, "picture": "AP8=", "tags": ["a", ""] });
    let ageless =
        json!({ "first-name": "", "age": null, "home": { "x": 0, "y": 0 }, "picture": "", "tags": [] });
    let cases: Vec<(&str, Vec<Value>)> = vec![
        ("echo-bool", vec![json!(true), json!(false)]),
        ("echo-u8", vec![json!(0), json!(u8::MAX)]),
        ("echo-u16", vec![json!(0), json!(u16::MAX)]),
        ("echo-u32", vec![json!(0), json!(u32::MAX)]),
        ("echo-u64", vec![json!(0), json!((1u64 << 53) + 1), json!(u64::MAX)]),
        ("echo-s8", vec![json!(i8::MIN), json!(0), json!(i8::MAX)]),
        ("echo-s16", vec![json!(i16::MIN), json!(i16::MAX)]),
        ("echo-s32", vec![json!(i32::MIN), json!(i32::MAX)]),
        ("echo-s64", vec![json!(i64::MIN), json!(-1), json!(i64::MAX)]),
        ("echo-f32", vec![json!(0.5), json!(-1.25), json!(0.0), json!(16_777_216.0)]),
        ("echo-f64", vec![json!(0.5), json!(-1.25), json!(0.0)]),
        (
            "echo-char",
            vec![
                json!("a"),
                json!("é"),
                json!("日"),
                json!("🦀"),
                json!("\0"),
                json!("\""),
                json!("\u{10ffff}"),
            ],
        ),
        (
            "echo-string",
            vec![
                json!(""),
                json!("größe 日本 🦀"),
                json!("\0\u{1}\n\"\\/\u{2028}"),
                json!("x".repeat(100_000)),
            ],
        ),
        ("echo-bytes", vec![json!(""), json!("AA=="), json!("/+8="), json!("AAEC")]),
        ("echo-list", vec![json!([]), json!([1]), json!((0..10_000).collect::<Vec<u32>>())]),
        ("echo-lists", vec![json!([]), json!([[]]), json!([["a", "b"], [], ["c"]])]),
        ("echo-byte-lists", vec![json!([]), json!(["", "AP8="])]),
        ("echo-option", vec![json!(null), json!(7)]),
        ("echo-option-option", vec![json!(null), json!({ "some": null }), json!({ "some": 7 })]),
        ("echo-tuple", vec![json!([1, "a", true])]),
        ("echo-results", vec![json!([]), json!([{ "ok": 1 }, { "err": "dark-green" }])]),
        ("echo-point", vec![json!({ "x": 1, "y": -2 })]),
        ("echo-person", vec![person.clone(), ageless.clone()]),
        ("echo-people", vec![json!([]), json!([person, ageless])]),
        (
            "echo-shape",
            vec![
                json!("nothing"),
                json!({ "circle": 1.5 }),
                json!({ "polygon": [{ "x": 1, "y": 2 }] }),
                json!({ "polygon": [] }),
                json!({ "label": null }),
                json!({ "label": "x" }),
            ],
        ),
        ("echo-colour", vec![json!("red"), json!("dark-green"), json!("blue")]),
        ("echo-rights", vec![json!([]), json!(["read"]), json!(["read", "write", "run-as-other"])]),
    ];
    for (method, values) in cases {
        for value in values {
            let arguments = json!({ "value": value });
            let function = class.function(method).json(&arguments).send().await.expect(200);
            assert_eq!(function.json(), value, "{method}");
            let called = class.object("o").invoke(method, arguments).await.expect(200);
            assert_eq!(called.json(), value, "{method}");
            assert_eq!(called.version(), 0, "nothing was written, so there is no object");
        }
    }
    // a nested result comes in a tuple, so that it does not decide the call
    for value in [json!({ "ok": 1 }), json!({ "err": "x" })] {
        let reply = class.function("echo-result").json(&json!([value])).send().await.expect(200);
        assert_eq!(reply.json(), json!([value]));
    }
    for value in [json!({ "ok": null }), json!({ "err": null })] {
        let reply = class.function("echo-bare-result").json(&json!([value])).send().await.expect(200);
        assert_eq!(reply.json(), json!([value]));
    }
}

/// Values that have more than one way in.
async fn given_otherwise(server: Server) {
    let class = Class::deploy(&server, "Types", guests::types(), "").await;
    let cases = [
        ("echo-u64", "\"18446744073709551615\"", json!(u64::MAX)),
        ("echo-u64", "\"0\"", json!(0)),
        ("echo-s64", "\"-9223372036854775808\"", json!(i64::MIN)),
        ("echo-shape", "{\"nothing\":null}", json!("nothing")),
        ("echo-rights", "[\"write\",\"read\"]", json!(["read", "write"])),
        ("echo-rights", "[\"read\",\"read\"]", json!(["read"])),
        ("echo-point", "{\"y\":2,\"x\":1}", json!({ "x": 1, "y": 2 })),
        ("echo-string", "\"\\u00e9\\ud83e\\udd80\"", json!("é🦀")),
        (
            "echo-person",
            "{\"first-name\":\"A\",\"home\":{\"x\":0,\"y\":0},\"picture\":\"\",\"tags\":[]}",
            json!({ "first-name": "A", "age": null, "home": { "x": 0, "y": 0 }, "picture": "", "tags": [] }),
        ),
    ];
    for (method, text, value) in cases {
        let body = format!(" {{ \"value\" : {text} }}\n");
        let reply = class.function(method).json_text(&body).send().await.expect(200);
        assert_eq!(reply.json(), value, "{method} {text}");
    }
}

/// The shortest text that means the same number comes back, whatever text went in.
async fn numbers_to_the_last_bit(server: Server) {
    let class = Class::deploy(&server, "Types", guests::types(), "").await;
    for text in [
        "1",
        "1e2",
        "0.1",
        "1E-7",
        "-0",
        "5e-324",
        "1.7976931348623157e308",
        "123456789.12345678",
        "1e23",
        "9007199254740993",
    ] {
        let reply = class.function("echo-f64").json_text(&format!("[{text}]")).send().await.expect(200);
        let (sent, back): (f64, f64) =
            (text.parse().unwrap(), std::str::from_utf8(&reply.body).unwrap().parse().unwrap());
        assert_eq!(sent.to_bits(), back.to_bits(), "{text}: {reply:?}");
    }
    for text in ["0.1", "3.4028235e38", "1e-45", "16777217"] {
        let reply = class.function("echo-f32").json_text(&format!("[{text}]")).send().await.expect(200);
        let (sent, back): (f32, f32) =
            (text.parse().unwrap(), std::str::from_utf8(&reply.body).unwrap().parse().unwrap());
        assert_eq!(sent.to_bits(), back.to_bits(), "{text}: {reply:?}");
        assert!(reply.body.len() <= 14, "no digits of a double: {reply:?}");
    }
}

async fn several_parameters(server: Server) {
    let class = Class::deploy(&server, "Types", guests::types(), "").await;
    let cases = [
        ("join", json!({ "times": 2, "right": "b", "left": "a" }), json!("abb")),
        ("greet", json!({ "name": "Ada", "title": null }), json!("Ada")),
        ("greet", json!({ "name": "Ada", "title": "Lady" }), json!("Lady Ada")),
        (
            "translate",
            json!({ "origin": { "x": 1, "y": 2 }, "by": { "x": -1, "y": 1 } }),
            json!({ "x": 0, "y": 3 }),
        ),
        ("keyword", json!({ "type": 3 }), json!(3)),
        ("pad", json!({ "data": "/w==", "count": 1 }), json!("/wA=")),
    ];
    for (method, arguments, result) in cases {
        assert_eq!(
            class.function(method).json(&arguments).send().await.expect(200).json(),
            result,
            "{method}"
        );
    }
}

/// A result at the top decides the call: ok is the value alone, an error is the problem `function-error` with it.
async fn results(server: Server) {
    let class = Class::deploy(&server, "Types", guests::types(), "").await;
    let call = |method: &'static str, body: Value| class.function(method).json(&body).send();
    assert_eq!(call("checked", json!({ "value": 7 })).await.expect(200).json(), 7);
    let problem =
        call("checked", json!({ "value": 7, "error": "as asked" })).await.problem(Code::FunctionError);
    assert_eq!(problem["error"], "as asked");
    assert_eq!(call("checked-point", json!([false])).await.expect(200).json(), "dark-green");
    let problem = call("checked-point", json!([true])).await.problem(Code::FunctionError);
    assert_eq!(problem["error"], json!({ "x": -1, "y": 1 }));
    for method in ["checked-bare", "checked-error"] {
        assert!(call(method, json!([false])).await.expect(204).body.is_empty());
    }
    let problem = call("checked-error", json!([true])).await.problem(Code::FunctionError);
    assert_eq!(problem["error"], "as asked");
    for method in ["checked-bare", "checked-value"] {
        let problem = call(method, json!([true])).await.problem(Code::FunctionError);
        assert_eq!(problem.get("error").unwrap_or(&Value::Null), &Value::Null);
    }
    assert_eq!(call("checked-value", json!([false])).await.expect(200).json(), "well");
    let bytes =
        class.function("checked-bytes").json(&json!([false])).header("accept", "application/octet-stream");
    assert_eq!(bytes.send().await.expect(200).body.as_ref(), [1, 2, 254]);
    assert_eq!(call("checked-bytes", json!([false])).await.expect(200).json(), "AQL+");
    assert_eq!(call("checked-bytes", json!([true])).await.problem(Code::FunctionError)["error"], "AP8=");
}

/// NaN and infinities have no JSON form: the caller hears so, and nothing is put in their place.
async fn unwritable_results(server: Server) {
    let class = Class::deploy(&server, "Types", guests::types(), "").await;
    for method in ["infinity", "not-a-number"] {
        let reply = class.function(method).send().await;
        assert!((400..600).contains(&reply.status), "{reply:?}");
        let document = reply.json();
        assert!(document["detail"].as_str().unwrap().contains("JSON"), "it says why: {document}");
    }
}

/// The class's description shows each signature as WIT writes it.
async fn signatures(server: Server) {
    let class = Class::deploy(&server, "Types", guests::types(), "").await;
    let described = server.http().get(class.path()).send().await.expect(200).json();
    let text = described["methods"].to_string();
    for part in [
        "list<list<string>>",
        "option<option<u32>>",
        "tuple<u8, string, bool>",
        "result<u32, string>",
        "result<_, string>",
        "char",
        "echo-point",
        "echo-u64",
        "keyword",
        "list<u8>",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let names: Vec<_> =
        described["methods"].as_array().unwrap().iter().map(|method| &method["name"]).collect();
    assert_eq!(names.len(), 43, "{names:?}");
    assert!(names.is_sorted_by_key(|name| name.as_str().unwrap().to_owned()), "in name order: {names:?}");
}

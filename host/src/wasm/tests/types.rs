//! Every WIT type through a real component, both ways, and the ways to call it.

use oprc_mesh::outcome::Code;
use oprc_mesh::wire::Form;

use super::{fails, gives, json, raw, run, types};

#[tokio::test]
async fn every_type_comes_back_as_it_went() {
    let (_fixture, module) = types().await;
    let cases = [
        ("echo-bool", "true"),
        ("echo-s8", "-128"),
        ("echo-u8", "255"),
        ("echo-s16", "-32768"),
        ("echo-u16", "65535"),
        ("echo-s32", "-2147483648"),
        ("echo-u32", "4294967295"),
        ("echo-s64", "-9223372036854775808"),
        ("echo-u64", "18446744073709551615"),
        ("echo-f32", "0.1"),
        ("echo-f64", "1.7976931348623157e+308"),
        ("echo-char", "\"日\""),
        ("echo-string", "\"grün\\n\""),
        ("echo-bytes", "\"AP8=\""),
        ("echo-list", "[1,2,3]"),
        ("echo-blobs", "[\"AP8=\",\"\"]"),
        ("echo-tuple", "[1,\"a\",true]"),
        ("echo-record", "{\"x\":-1,\"y\":2,\"label\":\"p\"}"),
        ("echo-record", "{\"x\":-1,\"y\":2,\"label\":null}"),
        ("echo-variant", "\"dot\""),
        ("echo-variant", "{\"circle\":1.5}"),
        ("echo-variant", "{\"polygon\":[{\"x\":1,\"y\":2,\"label\":null}]}"),
        ("echo-enum", "\"dark-blue\""),
        ("echo-flags", "[\"read\",\"run-it\"]"),
        ("echo-flags", "[]"),
        ("echo-option", "7"),
        ("echo-option", "null"),
        ("echo-nested-option", "null"),
        ("echo-nested-option", "{\"some\":null}"),
        ("echo-nested-option", "{\"some\":7}"),
        ("echo-nested-result", "[{\"ok\":7}]"),
        ("echo-nested-result", "[{\"err\":\"e\"}]"),
    ];
    for (method, value) in cases {
        assert_eq!(gives(&module, method, &format!("{{\"v\":{value}}}")).await, value, "{method} by name");
        assert_eq!(gives(&module, method, &format!("[{value}]")).await, value, "{method} in order");
    }
}

#[tokio::test]
async fn arguments_that_do_not_fit_are_refused_by_name_and_type() {
    let (_fixture, module) = types().await;
    let cases = [
        ("increment", "{\"by\":\"x\"}", "by: expected s64, found string \"x\""),
        ("echo-u8", "{\"v\":256}", "v: expected u8 (0 to 255), found number 256"),
        ("echo-record", "{\"v\":{\"x\":1}}", "v.y: missing, expected s32"),
        ("echo-list", "{\"v\":[1,null]}", "v[1]: expected u32, found null"),
        ("echo-two", "{}", "a: missing, expected u64"),
        ("echo-two", "", "a: missing, expected u64"),
        ("echo-u8", "{\"v\":1", "not JSON: expected a comma or the end of an array or object at byte 6"),
    ];
    for (method, body, detail) in cases {
        let problem = fails(&module, json(method, body), Code::Invalid).await;
        assert_eq!(problem.detail, detail);
        assert_eq!(
            (problem.operation.as_str(), problem.subject),
            ("invoke", format!("Bench/object.{method}"))
        );
    }
    assert_eq!(gives(&module, "echo-two", "{\"a\":\"5\"}").await, "\"5 None\"");
}

#[tokio::test]
async fn bytes_go_raw_or_as_base64() {
    let (_fixture, module) = types().await;
    for method in ["echo-bytes", "give"] {
        let call = if method == "give" { json(method, "[3]") } else { raw(method, b"xxx") };
        let output = run(&module, super::Call { accept: Form::Raw, ..call }).await.unwrap();
        assert_eq!((output.payload.as_deref(), output.form), (Some(&b"xxx"[..]), Form::Raw));
    }
    let output =
        run(&module, super::Call { accept: Form::Json, ..raw("echo-bytes", b"\0\xff") }).await.unwrap();
    assert_eq!((output.payload.as_deref(), output.form), (Some(&b"\"AP8=\""[..]), Form::Json));
    let output = run(&module, raw("top-bytes-result", b"abc")).await.unwrap();
    assert_eq!((output.payload.as_deref(), output.form), (Some(&b"abc"[..]), Form::Raw));
    fails(&module, raw("echo-u8", b"x"), Code::Invalid).await;
}

#[tokio::test]
async fn a_result_at_the_top_is_taken_apart() {
    let (_fixture, module) = types().await;
    assert_eq!(gives(&module, "top-result", "[false]").await, "7");
    let problem = fails(&module, json("top-result", "[true]"), Code::FunctionError).await;
    assert_eq!(problem.error, "{\"circle\":1.5}");
    assert_eq!(run(&module, json("top-unit-result", "[false]")).await.unwrap().payload, None);
    assert_eq!(fails(&module, json("top-unit-result", "[true]"), Code::FunctionError).await.error, "null");
    let problem = fails(&module, raw("top-bytes-result", b""), Code::FunctionError).await;
    assert_eq!(problem.error, "\"empty\"");
}

#[tokio::test]
async fn no_result_is_no_payload_and_nan_is_the_guests_fault() {
    let (_fixture, module) = types().await;
    assert_eq!(run(&module, json("nothing", "")).await.unwrap().payload, None);
    let problem = fails(&module, json("not-a-number", ""), Code::Trap).await;
    assert_eq!(problem.detail, "result: NaN has no JSON form");
}

#[tokio::test]
async fn an_unknown_method_is_told_what_there_is() {
    let fixture = super::Fixture::new();
    let module = fixture.module(&super::guest("guest_empty")).await.unwrap();
    let problem = fails(&module, json("nope", ""), Code::NotFound).await;
    assert_eq!(problem.detail, "class Bench has no method `nope`");
    assert_eq!(problem.hint, "its methods: add, echo, noop, reads");
}

#[tokio::test]
async fn a_handler_takes_every_method() {
    let fixture = super::Fixture::new();
    let module = fixture.module(&super::guest("guest_handler")).await.unwrap();
    assert!(module.is_generic());
    assert_eq!(module.methods(&["anything".into()]).unwrap(), vec![]);
    for call in [raw("echo", b"a\0b"), json("echo", "a\0b")] {
        let output = run(&module, call).await.unwrap();
        assert_eq!((output.payload.as_deref(), output.form), (Some(&b"a\0b"[..]), Form::Raw));
    }
    assert_eq!(run(&module, raw("name", b"")).await.unwrap().payload.as_deref(), Some(&b"name"[..]));
    assert_eq!(fails(&module, raw("fail-text", b""), Code::FunctionError).await.error, "\"no such luck\"");
    assert_eq!(fails(&module, raw("fail-json", b""), Code::FunctionError).await.error, "{\"left\": 3}");
    fails(&module, raw("other", b""), Code::NotFound).await;
}

#[tokio::test]
async fn signatures_read_like_wit() {
    let (_fixture, module) = types().await;
    let methods = module.methods(&["who".to_owned()]).unwrap();
    let signature = |name: &str| methods.iter().find(|method| method.name == name).unwrap().signature();
    assert_eq!(signature("increment"), "increment: func(by: s64) -> s64");
    assert_eq!(
        signature("echo-variant"),
        "echo-variant: func(v: variant { dot, circle(f64), polygon(list<record { x: s32, y: s32, label: option<string> }>) }) \
         -> variant { dot, circle(f64), polygon(list<record { x: s32, y: s32, label: option<string> }>) }"
    );
    assert_eq!(signature("nothing"), "nothing: func()");
    assert_eq!(signature("put-then-err"), "put-then-err: func(key: string) -> result<_, string>");
    let readonly: Vec<_> =
        methods.iter().filter(|method| method.readonly).map(|method| &method.name).collect();
    assert_eq!(readonly, ["who"]);
    assert!(methods.is_sorted_by_key(|method| &method.name));
}

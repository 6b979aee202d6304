//! Calls of methods and functions.

use oprc_mesh::wire::Form;
use reqwest::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE};

use crate::fake::form;
use crate::running::{problem, start, text};

#[tokio::test]
async fn payload_bytes_pass_through_untouched() {
    let server = start().await;
    let odd = "{ \"by\" :\t5.0 }\n";
    let path = "/classes/Counter/objects/alice/invoke/echo";
    let response = server.post(path, odd).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
    assert_eq!(response.headers()[CONTENT_LENGTH], odd.len().to_string());
    assert_eq!(response.headers()["oprc-version"], "7");
    assert_eq!(response.headers()["oprc-class-version"], "3");
    let id = response.headers()["oprc-invocation-id"].to_str().unwrap().to_owned();
    assert_eq!(response.text().await.unwrap(), odd);
    let invoke = &server.fake.invocations()[0];
    assert_eq!(
        (&*invoke.class, invoke.object.as_deref(), &*invoke.method),
        ("Counter", Some("alice"), "echo")
    );
    assert_eq!((invoke.form, invoke.accept), (form(Form::Json), form(Form::Json)));
    assert_eq!(invoke.invocation, id);
}

#[tokio::test]
async fn a_plain_curl_body_is_json() {
    let server = start().await;
    let request = server.post("/classes/Counter/objects/alice/invoke/echo", "{\"by\": 5}");
    assert_eq!(
        text(request.header(CONTENT_TYPE, "application/x-www-form-urlencoded"), 200).await,
        "{\"by\": 5}"
    );
    assert_eq!(server.fake.invocations()[0].form, form(Form::Json));
}

#[tokio::test]
async fn raw_in_and_raw_out() {
    let server = start().await;
    let bytes = vec![0, 255, 10, 13];
    let request = server.post("/classes/Counter/objects/alice/invoke/echo", bytes.clone());
    let request =
        request.header(CONTENT_TYPE, "application/octet-stream").header(ACCEPT, "application/octet-stream");
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()[CONTENT_TYPE], "application/octet-stream");
    assert_eq!(response.bytes().await.unwrap(), bytes);
    let invoke = &server.fake.invocations()[0];
    assert_eq!((invoke.form, invoke.accept), (form(Form::Raw), form(Form::Raw)));
}

#[tokio::test]
async fn a_method_without_a_result_has_no_content() {
    let server = start().await;
    let response = server.post("/classes/Counter/objects/alice/invoke/reset", "").send().await.unwrap();
    assert_eq!(response.status(), 204);
    assert!(response.headers().contains_key("oprc-invocation-id"));
    assert!(response.headers().get(CONTENT_TYPE).is_none());
}

#[tokio::test]
async fn a_function_has_no_object_and_no_version() {
    let server = start().await;
    let response = server.post("/classes/Counter/functions/echo", "[1]").send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.headers().get("oprc-version").is_none());
    assert_eq!(server.fake.invocations()[0].object, None);
}

#[tokio::test]
async fn a_call_can_be_addressed_in_its_body() {
    let server = start().await;
    let body = r#"{"class":"Counter","object":"alice","function":"echo","payload": {"by" : 5}}"#;
    assert_eq!(text(server.post("/invoke", body), 200).await, r#"{"by" : 5}"#);
    let body = r#"{"class":"Counter","function":"echo"}"#;
    assert_eq!(text(server.post("/invoke", body), 200).await, "");
    let invocations = server.fake.invocations();
    assert_eq!(invocations[0].object.as_deref(), Some("alice"));
    assert_eq!(invocations[1].object, None);
    assert!(invocations[1].payload.is_empty());
    for bad in
        ["", "[]", r#"{"class":"Counter"}"#, r#"{"class":"Counter","function":"1"}"#, r#"{"klass":"A"}"#]
    {
        problem(server.post("/invoke", bad), 400, "invalid").await;
    }
    let body = r#"{"class":"Counter","object":"bob","function":"refuse"}"#;
    let refused = problem(server.post("/invoke", body), 422, "function-error").await;
    assert_eq!(refused["subject"], "Counter/bob.refuse");
}

#[tokio::test]
async fn an_idempotency_key_names_the_invocation() {
    let server = start().await;
    let path = "/classes/Counter/objects/alice/invoke/echo";
    let response = server.post(path, "1").header("Idempotency-Key", "order-17").send().await.unwrap();
    assert_eq!(response.headers()["oprc-invocation-id"], "order-17");
    assert_eq!(server.fake.invocations()[0].invocation, "order-17");
    problem(server.post(path, "1").header("Idempotency-Key", "a b"), 400, "invalid").await;
    problem(server.post(path, "1").header("Idempotency-Key", "k".repeat(257)), 400, "invalid").await;
    assert_eq!(server.fake.invocations().len(), 1);
}

#[tokio::test]
async fn headers_for_the_guest_are_handed_on() {
    let server = start().await;
    let request = server.post("/classes/Counter/objects/alice/invoke/echo", "1");
    let request = request.header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    text(request.header("X-Tenant", "blue").header("Authorization", "Bearer secret"), 200).await;
    let invoke = &server.fake.invocations()[0];
    let names: Vec<_> = invoke.headers.iter().map(|header| header.name.as_str()).collect();
    assert!(names.contains(&"traceparent") && names.contains(&"x-tenant"), "{names:?}");
    assert!(!names.contains(&"authorization"), "{names:?}");
}

#[tokio::test]
async fn the_functions_own_error_is_told_as_it_is() {
    let server = start().await;
    let request = server.post("/classes/Counter/objects/alice/invoke/refuse", "");
    let refused = problem(request, 422, "function-error").await;
    assert_eq!(refused["error"], serde_json::json!({"insufficient": 5}));
    assert_eq!(
        (&refused["operation"], &refused["subject"]),
        (&"invoke".into(), &"Counter/alice.refuse".into())
    );
}

#[tokio::test]
async fn what_is_called_wrongly_is_refused() {
    let server = start().await;
    let path = "/classes/Counter/objects/alice/invoke/echo";
    let request = server.post(path, "hello").header(CONTENT_TYPE, "text/plain");
    let refused = problem(request, 415, "invalid").await;
    assert!(refused["hint"].as_str().unwrap().contains("application/json"));
    problem(server.post(&format!("{path}?typo=1"), "1"), 400, "invalid").await;
    problem(server.post("/classes/Counter/objects/-/invoke/echo", "1"), 400, "invalid").await;
    let refused =
        problem(server.post("/classes/Nobody/objects/alice/invoke/echo", "1"), 404, "not-found").await;
    assert!(refused["detail"].as_str().unwrap().contains("Nobody"));
    assert!(server.fake.invocations().is_empty());
}

#[tokio::test]
async fn a_failure_of_the_gateways_own_process_is_a_problem_too() {
    let server = start().await;
    let failed =
        problem(server.post("/classes/Counter/objects/alice/invoke/panic", ""), 500, "internal").await;
    assert_eq!(failed["outcome"], "unknown");
    text(server.post("/classes/Counter/objects/alice/invoke/echo", "still here"), 200).await;
}

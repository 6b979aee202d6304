//! The documents say what the server does: every reply is one that they tell of, and a class's document allows exactly
//! what its methods take.

use oprc_mesh::outcome::Code;
use oprc_tests::openapi::Document;
use oprc_tests::values::Values;
use oprc_tests::{Class, Server, both, guests, seed, unique};
use serde_json::{Value, json};

both!(
    replies_are_as_documented,
    refusals_are_as_documented,
    examples_work,
    values_of_the_schemas_are_taken_and_others_are_not,
    own_errors_are_documented,
    any_method_of_a_handler,
    of_the_newest_revision
);

/// Values tried for each method.
const GOOD: usize = 12;
const BAD: usize = 12;

async fn replies_are_as_documented(server: Server) {
    let http = server.http();
    let document = Document::read(&http, "/openapi.json").await;
    let class = Class::deploy(&server, "Documented", guests::counter(), "readonly = [\"value\"]").await;
    let object = class.object("o");
    let at = |rest: &str| format!("{}{rest}", class.path());
    let post = |rest: &str| http.post(at(rest));
    let by_five = json!({ "by": 5 });
    let stands =
        post("/objects/o/invoke/increment").json(&by_five).header("prefer", "respond-async").send().await;
    let location = stands.header("location").unwrap().to_owned();
    let addressed = json!({ "class": class.name, "object": "o", "function": "value" });
    let node = http.get("/api/v1/cluster").send().await.expect(200).json()["nodes"][0]["id"].clone();
    let hosts = format!("/api/v1/cluster/nodes/{}", node.as_str().unwrap());
    let key = unique("key");
    let web = Class::deploy(&server, "Documented", guests::web(), "").await;
    let by_web = |method: &str| http.call(method, format!("{}/http/plain", web.path())).octets("x").send();
    let replies = [
        by_web("GET").await.expect(200),
        by_web("PUT").await.expect(200),
        by_web("POST").await.expect(200),
        by_web("PATCH").await.expect(200),
        by_web("DELETE").await.expect(200),
        http.get(format!("{}/http/trap", web.path())).send().await.expect(500),
        http.get(at("/http/x")).send().await.expect(404),
        stands,
        http.get(format!("{location}?wait=30s")).send().await.expect(200),
        post("/objects/o/invoke/increment").json(&by_five).send().await.expect(200),
        post("/objects/o/invoke/value?consistency=stale").send().await.expect(200),
        post("/functions/increment").json(&by_five).send().await,
        http.post("/api/v1/invoke").json(&addressed).send().await.expect(200),
        object
            .put(&json!({ "a": 1, "b": { "$text": "x" }, "c": { "$base64": "/w==" } }))
            .send()
            .await
            .expect(200),
        class.object("p").put(&json!({})).send().await.expect(201),
        object.patch(&json!({ "d": null, "a": { "$delete": true } })).send().await.expect(200),
        object.get().await.expect(200),
        http.get(at("/objects/o?consistency=stale")).send().await.expect(200),
        http.get(at("/objects/o/fields?limit=1")).send().await.expect(200),
        object.field("PUT", "k").octets("v").send().await.expect(204),
        class.object("q").field("PUT", "k").octets("v").send().await.expect(201),
        object.field("GET", "k").send().await.expect(200),
        object.field("GET", "k").header("if-none-match", "*").send().await.expect(304),
        object.field("DELETE", "k").send().await.expect(204),
        class.object("p").delete().send().await.expect(204),
        http.get(at("/objects?limit=1")).send().await.expect(200),
        http.get("/api/v1/classes?limit=1").send().await.expect(200),
        http.get(at("")).send().await.expect(200),
        class.redeploy(guests::counter(), "readonly = [\"value\"]").await.expect(200),
        class.redeploy(guests::counter(), "").await.expect(201),
        class.canary(guests::account(), "", 10).await.expect(201),
        http.get(at("")).send().await.expect(200),
        http.get(at("/versions")).send().await.expect(200),
        post("/promote").send().await.expect(201),
        http.get(at("/openapi.json")).send().await.expect(200),
        http.get(at("/logs?tail=5")).send().await.expect(200),
        http.get(at("/dead-letters")).send().await.expect(200),
        post("/dead-letters/retry").send().await.expect(200),
        post("/dead-letters/purge?id=1-2-3").send().await.expect(200),
        http.get("/api/v1/cluster").send().await.expect(200),
        http.post(format!("{hosts}/drain")).send().await,
        http.post(format!("{hosts}/undrain")).send().await.expect(200),
        http.post(format!("{hosts}/remove")).send().await.expect(409),
        post("/rollback").json(&json!({ "to": 1 })).send().await.expect(201),
        http.post("/api/v1/keys").json(&json!({ "name": key, "scopes": ["read"] })).send().await.expect(201),
        http.get("/api/v1/keys").send().await.expect(200),
        http.post(format!("/api/v1/keys/{key}/rotate"))
            .json(&json!({ "grace_s": 1 }))
            .send()
            .await
            .expect(200),
        http.delete(format!("/api/v1/keys/{key}")).send().await.expect(204),
        http.get("/healthz").send().await.expect(200),
        http.get("/readyz").send().await.expect(200),
        http.get("/metrics").send().await.expect(200),
        http.get("/openapi.json").send().await.expect(200),
        http.delete(at("?purge=true")).send().await.expect(204),
    ];
    for reply in &replies {
        document.expect(reply);
    }
    // streams do not end: their replies are for the tests of events
    assert_eq!(document.unseen(), ["watchClass", "watchObject"], "every other operation was tried");
}

async fn refusals_are_as_documented(server: Server) {
    let http = server.http();
    let document = Document::read(&http, "/openapi.json").await;
    let class = Class::deploy(&server, "Documented", guests::account(), "").await;
    let object = class.object("o");
    object.put(&json!({})).send().await.expect(201);
    let keyed = |body: Value| object.method("deposit").json(&body).header("idempotency-key", "k").send();
    keyed(json!({ "amount": 1 })).await.expect(200);
    let headers = (0..70).fold(object.method("balance"), |call, at| call.header(&format!("x-{at}"), ""));
    let replies = [
        object.method("withdraw").json(&json!({ "amount": 9 })).send().await.expect(422),
        keyed(json!({ "amount": 2 })).await.expect(422),
        object.method("withdraw").json(&json!([true])).send().await.expect(400),
        object.method("withdraw").body("text/plain", "x").send().await.expect(415),
        headers.send().await.expect(431),
        object.method("absent").send().await.expect(404),
        http.get(format!("{}/objects/nobody", class.path())).send().await.expect(404),
        http.get(format!("{}/objects?limit=0", class.path())).send().await.expect(400),
        http.get(format!("{}/openapi.json?x=1", class.path())).send().await.expect(400),
        http.get("/api/v1/classes/NoSuchClass/openapi.json").send().await.expect(404),
        http.get("/api/v1/classes/NoSuchClass/objects/o/events").send().await.expect(404),
        http.post("/api/v1/cluster/nodes/1/drain").send().await.expect(404),
        http.get("/api/v1/invocations/x").send().await.expect(400),
        object.put(&json!({ "k": { "$other": 1 } })).send().await.expect(400),
        object.put(&json!({})).header("if-match", "\"1.1\"").send().await.expect(412),
        object.field("PUT", "k").octets(vec![0; (1 << 20) + 1]).send().await.expect(413),
        class.upload(bytes::Bytes::from_static(b"no component"), None).send().await.expect(422),
    ];
    for reply in &replies {
        document.expect(reply);
    }
    let own = Document::read(&http, &format!("{}/openapi.json", class.path())).await;
    for reply in &replies[..5] {
        own.expect(reply);
    }
}

/// Every example is a call that can be made as it stands.
async fn examples_work(server: Server) {
    for (component, manifest) in
        [(guests::counter(), "readonly = [\"value\"]"), (guests::account(), ""), (guests::types(), "")]
    {
        let class = Class::deploy(&server, "Examples", component, manifest).await;
        let http = server.http();
        let document = Document::read(&http, &format!("{}/openapi.json", class.path())).await;
        for (path, item) in document.value["paths"].as_object().unwrap() {
            let example = &item["post"]["requestBody"]["content"]["application/json"]["example"];
            let reply = http.post(path.replace("{id}", "o")).json(example).send().await;
            document.expect(&reply);
            // what does not fit is 400, and so is a function that needs an object; all else is the method's own affair
            let needs_object = || reply.json()["detail"].as_str().unwrap().contains("no object is bound");
            assert!(
                reply.status != 400 || path.contains("/functions/") && needs_object(),
                "{example} {reply:?}"
            );
        }
        assert_eq!(document.unseen(), Vec::<String>::new());
    }
}

/// A schema allows exactly what the method takes: values made from it at random are taken, and come back in a form that
/// the answer's schema allows; values that it does not allow are refused as `invalid`.
async fn values_of_the_schemas_are_taken_and_others_are_not(server: Server) {
    let class = Class::deploy(&server, "Values", guests::types(), "").await;
    let http = server.http();
    let document = Document::read(&http, &format!("{}/openapi.json", class.path())).await;
    let mut rng = seed::rng("values_of_the_schemas_are_taken_and_others_are_not");
    let schemas = document.value["components"]["schemas"].as_object().unwrap();
    let methods: Vec<_> = schemas.keys().filter_map(|name| name.strip_suffix(".arguments")).collect();
    assert_eq!(methods.len(), 43, "{methods:?}");
    for method in methods {
        let values = Values::of(&document.value, &format!("/components/schemas/{method}.arguments"));
        for _ in 0..GOOD {
            let arguments = values.good(&mut rng);
            // what the function makes of them is bounded: these two make much of a great number
            if ["join", "pad"].contains(&method)
                && arguments.to_string().bytes().filter(u8::is_ascii_digit).count() > 3
            {
                continue;
            }
            let reply = class.function(method).json(&arguments).send().await;
            document.expect(&reply);
            assert_ne!(reply.status, 400, "{method} takes {arguments}: {reply:?}");
            // what came out goes in again: as text, since not every reader of JSON keeps the last bit of a double
            if method.starts_with("echo-") {
                let text = String::from_utf8(reply.expect(200).body.to_vec()).unwrap();
                // these two wrap what they are given
                let nested = ["echo-result", "echo-bare-result"].contains(&method);
                let body = if nested { text.clone() } else { format!("[{text}]") };
                let again = class.function(method).json_text(&body).send().await.expect(200);
                assert_eq!(again.body, text.as_bytes(), "{method} {arguments}");
            }
        }
        for _ in 0..BAD {
            let arguments = values.bad(&mut rng);
            let reply = class.function(method).json(&arguments).send().await;
            assert_eq!(reply.status, 400, "{method} does not take {arguments}: {reply:?}");
            reply.problem(Code::Invalid);
            document.expect(&reply);
        }
    }
}

/// The function's own error stands in the document of the class with its type.
async fn own_errors_are_documented(server: Server) {
    let http = server.http();
    let types = Class::deploy(&server, "Errors", guests::types(), "").await;
    let document = Document::read(&http, &format!("{}/openapi.json", types.path())).await;
    for (method, arguments) in [
        ("checked", json!([7, "as asked"])),
        ("checked-point", json!([true])),
        ("checked-bare", json!([true])),
        ("checked-error", json!([true])),
        ("checked-value", json!([true])),
        ("checked-bytes", json!([true])),
    ] {
        document.expect(&types.function(method).json(&arguments).send().await.expect(422));
    }
    let point = &document.value["components"]["schemas"]["checked-point.error"];
    assert_eq!(point["required"], json!(["x", "y"]), "{point}");
    let raw =
        types.function("checked-bytes").json(&json!([false])).header("accept", "application/octet-stream");
    document.expect(&raw.send().await.expect(200));
    document.expect(&types.function("echo-bytes").octets(vec![0, 255]).send().await.expect(200));
}

async fn any_method_of_a_handler(server: Server) {
    let http = server.http();
    let class = Class::deploy(&server, "Generic", guests::kv(), "").await;
    let document = Document::read(&http, &format!("{}/openapi.json", class.path())).await;
    for method in ["put", "get", "no-such-method"] {
        let reply = class.object("o").method(method).json(&json!({ "key": "k", "value": "v" })).send().await;
        document.expect(&reply);
    }
}

/// The document is of the class as it is deployed now.
async fn of_the_newest_revision(server: Server) {
    let http = server.http();
    let class = Class::deploy(&server, "Changing", guests::counter(), "").await;
    let path = format!("{}/openapi.json", class.path());
    let first = http.get(path.clone()).send().await.expect(200).json();
    class.redeploy(guests::echo(), "").await.expect(201);
    let second = http.get(path).send().await.expect(200).json();
    assert_eq!((&first["info"]["version"], &second["info"]["version"]), (&json!("1"), &json!("2")));
    assert!(first["components"]["schemas"].get("increment.arguments").is_some());
    assert!(second["components"]["schemas"].get("increment.arguments").is_none());
}

//! The examples that are shown to newcomers do what their pages say.

use oprc_mesh::outcome::Code;
use oprc_tests::{Class, Server, both, eventually, guests};
use serde_json::json;

both!(account, account_under_load, kv, kv_raw, order_and_audit, echo, webhook);

/// A refused overdraft leaves the account untouched.
async fn account(server: Server) {
    let class = Class::deploy(&server, "Account", guests::account(), "readonly = [\"balance\"]").await;
    let ada = class.object("ada");
    assert_eq!(ada.invoke("deposit", json!({ "amount": 100 })).await.expect(200).json(), 100);
    assert_eq!(ada.invoke("withdraw", json!({ "amount": 30 })).await.expect(200).json(), 70);
    let before = ada.get().await.expect(200);
    let problem = ada.invoke("withdraw", json!({ "amount": 71 })).await.problem(Code::FunctionError);
    assert_eq!(problem["error"], json!({ "overdraft": { "balance": 70, "wanted": 71 } }));
    let after = ada.get().await.expect(200);
    assert_eq!((before.json(), before.etag()), (after.json(), after.etag()));
    assert_eq!(ada.invoke("balance", json!({})).await.expect(200).json(), 70);
    let problem = ada.invoke("deposit", json!({ "amount": u64::MAX })).await.problem(Code::FunctionError);
    assert_eq!(problem["error"], "too-large");
    class.object("nobody").invoke("withdraw", json!({ "amount": 1 })).await.problem(Code::FunctionError);
    class.object("nobody").get().await.problem(Code::NotFound);
}

/// An order that is paid stays so, one that is not expires after a reminder, and what it had reserved is back in stock; the
/// log has heard of all of it.
async fn order_and_audit(server: Server) {
    let audit = Class::deploy(&server, "Audit", guests::audit(), "").await;
    let trigger = format!(
        "[[class.trigger]]\non = [\"create\", \"update\"]\nfield = \"status\"\nvalues = true\n\
         call = {{ class = \"{}\", object = \"orders\", method = \"record\" }}",
        audit.name
    );
    let class =
        Class::deploy(&server, "Order", guests::order(), &format!("readonly = [\"status\"]\n{trigger}"))
            .await;
    let (paid, late, stock) = (class.object("paid"), class.object("late"), class.object("stock-tea"));
    assert_eq!(stock.invoke("restock", json!({ "count": 5 })).await.expect(200).json(), 5);
    paid.invoke("place", json!({ "item": "tea", "count": 2, "pay-within-ms": 60_000 })).await.expect(204);
    paid.invoke("pay", json!({})).await.expect(204);
    for (item, count) in [("tea", 4), ("rum", 1)] {
        let order = json!({ "item": item, "count": count, "pay-within-ms": 1 });
        class.object("refused").invoke("place", order).await.problem(Code::FunctionError);
    }
    class.object("refused").get().await.problem(Code::NotFound);
    late.invoke("place", json!({ "item": "tea", "count": 3, "pay-within-ms": 200 })).await.expect(204);
    eventually("the late one expires", || async {
        (late.invoke("status", json!({})).await.expect(200).json() == "expired").then_some(())
    })
    .await;
    late.invoke("pay", json!({})).await.problem(Code::FunctionError);
    assert_eq!(late.fields().await["reminded"]["$text"], "yes");
    eventually("what was reserved is back", || async { (stock.fields().await["left"] == 3).then_some(()) })
        .await;
    assert_eq!(paid.invoke("status", json!({})).await.expect(200).json(), "paid");
    let log = audit.object("orders");
    let fields = eventually("the log has four entries", || async {
        let reply = log.get().await;
        let fields = if reply.status == 200 { reply.json()["fields"].take() } else { return None };
        (fields["entries"] == 4).then_some(fields)
    })
    .await;
    let lines: Vec<_> = (1..=4).map(|n| fields[format!("entry/{n:08}")]["$text"].as_str().unwrap()).collect();
    let of = |object: &str| lines.iter().filter(|line| line.contains(object)).copied().collect::<Vec<_>>();
    let name = &class.name;
    assert_eq!(
        of("/paid"),
        [
            format!("{name}/paid version 1: status from nothing to placed"),
            format!("{name}/paid version 2: status from placed to paid"),
        ]
    );
    assert_eq!(
        of("/late"),
        [
            format!("{name}/late version 1: status from nothing to placed"),
            format!("{name}/late version 3: status from placed to expired"),
        ]
    );
}

/// Whatever the order of many withdrawals, no more is taken than was there.
async fn account_under_load(server: Server) {
    let class = Class::deploy(&server, "Account", guests::account(), "").await;
    let object = class.object("shared");
    object.invoke("deposit", json!({ "amount": 1000 })).await.expect(200);
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let object = object.clone();
        clients.spawn(async move {
            let mut taken = 0;
            for amount in [7, 11, 13, 17, 19, 23] {
                let reply = object.invoke("withdraw", json!({ "amount": amount })).await;
                if reply.status == 200 {
                    taken += amount;
                } else {
                    reply.problem(Code::FunctionError);
                }
            }
            taken
        });
    }
    let taken: u64 = clients.join_all().await.into_iter().sum();
    assert!(taken <= 1000 && taken > 900, "{taken} were taken of 1000");
    assert_eq!(object.invoke("balance", json!({})).await.expect(200).json(), 1000 - taken);
    let fields = object.fields().await;
    assert_eq!(
        fields["transfers"].as_u64().unwrap(),
        object.version().await,
        "only what was accepted is counted"
    );
}

async fn kv(server: Server) {
    let class = Class::deploy(&server, "Kv", guests::kv(), "").await;
    let map = class.object("map");
    assert_eq!(
        map.invoke("set", json!({ "key": "a/é", "value": [1, { "x": null }] }))
            .await
            .expect(200)
            .bytes_as_json(),
        true
    );
    assert_eq!(
        map.invoke("set", json!({ "key": "a/é", "value": 2 })).await.expect(200).bytes_as_json(),
        false
    );
    assert_eq!(map.invoke("get", json!({ "key": "a/é" })).await.expect(200).bytes_as_json(), 2);
    let problem = map.invoke("get", json!({ "key": "b" })).await.problem(Code::FunctionError);
    assert_eq!(problem["error"], json!({ "missing": "b" }));
    map.invoke("set", json!({ "key": "b", "value": 1 })).await.expect(200);
    let listed = map.invoke("list", json!({ "prefix": "a" })).await.expect(200).bytes_as_json();
    assert_eq!(listed, json!({ "items": { "a/é": 2 }, "more": false }));
    assert_eq!(map.invoke("delete", json!({ "key": "b" })).await.expect(200).bytes_as_json(), true);
    assert_eq!(map.fields().await, json!({ "a/é": 2 }));
    map.invoke("no-such-method", json!({})).await.problem(Code::NotFound);
    map.method("get").json_text("{").send().await.problem(Code::FunctionError);
    assert_eq!(map.version().await, 4);
}

/// A handler gets the body as it came, whatever its type.
async fn kv_raw(server: Server) {
    let class = Class::deploy(&server, "Kv", guests::kv(), "").await;
    let map = class.object("map");
    let set = map.method("set").octets("{\"key\":\"k\",\"value\":\"raw\"}").send().await.expect(200);
    assert_eq!(set.body, "true");
    let listed = map.method("list").send().await.expect(200);
    assert_eq!(listed.bytes_as_json()["items"], json!({ "k": "raw" }));
    class.function("list").send().await.problem(Code::Invalid);
}

/// Bytes and text come back, through both forms.
async fn echo(server: Server) {
    let class = Class::deploy(&server, "Echo", guests::echo(), "").await;
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let call = class.function("echo").octets(bytes.clone()).header("accept", "application/octet-stream");
    assert!(call.send().await.expect(200).body == bytes, "all of it comes back");
    let text = "größe 日本 🦀".repeat(1000);
    assert_eq!(
        class.function("echo-text").json(&json!({ "text": text })).send().await.expect(200).json(),
        text
    );
    class.function("nothing").send().await.expect(204);
}

/// Whatever is delivered twice counts once.
async fn webhook(server: Server) {
    // it calls its own objects by the class's name
    let class = Class { http: server.http(), name: "Webhook".to_owned() };
    class.redeploy(guests::webhook(), "readonly = [\"summary\"]").await.ok();
    let source = oprc_tests::unique("source");
    let at = |path: &str| format!("{}/http/{path}", class.path());
    let deliver = async |id: &str, text: &str| {
        let call = class.http.post(at(&source)).header("x-delivery-id", id).octets(text.to_owned());
        String::from_utf8(call.send().await.expect(202).body.to_vec()).unwrap()
    };
    for (id, text, count) in [("a", "x", "1\n"), ("b", "say \"\\\n", "2\n"), ("a", "x", "2\n")] {
        assert_eq!(deliver(id, text).await, count);
    }
    let summary = class.object(&source).invoke("summary", json!({})).await.expect(200).json();
    assert_eq!(summary, json!({ "count": 2, "last": "say \"\\\n" }));
    class.http.get(at(&source)).send().await.expect(405);
    class.http.post(at("")).send().await.expect(404);
    class.http.post(at(&source)).send().await.expect(400);
    class.http.post(at("not%20an%20id")).header("x-delivery-id", "1").send().await.expect(400);
}

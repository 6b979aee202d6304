//! A turn that sent a request and died before it was committed is run again, and sends it again under the same key: whoever
//! was asked can tell. A function of what it was told is committed once.

use std::time::Duration;

use oprc_mesh::outcome::Code;
use oprc_tests::{Asked, Class, Kind, Origin, Server, eventually, guests, run};
use serde_json::{Value, json};

use crate::nested_crashes::dies_at;

/// Between the answer and the commit.
const CRASH: &str = "after-request:1";

struct Scene {
    server: Server,
    origin: Origin,
    class: Class,
}

impl Scene {
    async fn set(kind: Kind) -> Self {
        let (server, origin) = (Server::start(kind).await, Origin::new().await);
        let manifest = format!("[class.allow]\nhttp = {:?}", [origin.url()]);
        let class = Class::deploy(&server, "Web", guests::web(), &manifest).await;
        Self { server, origin, class }
    }

    fn wish(&self) -> Value {
        let url = self.origin.url() + "/order";
        json!({ "wish": { "method": "POST", "url": url, "headers": [], "body": "" } })
    }

    /// The keys under which it was asked so far.
    fn keys(&self) -> Vec<String> {
        let key = |asked: &Asked| asked.headers["idempotency-key"].to_str().unwrap().to_owned();
        self.origin.asked("/order").iter().map(key).collect()
    }
}

async fn under_a_key(kind: Kind) {
    let scene = Scene::set(kind).await;
    let _shown = scene.server.show_logs_on_panic();
    let object = scene.class.object("o");
    let call = object.method("fetch-and-count").json(&scene.wish());
    let call = call.header("idempotency-key", "k").header("x-request-timeout-ms", 5_000);
    dies_at(&scene.server, CRASH, async || drop(call.clone().try_send().await)).await;
    assert_eq!(scene.keys().len(), 1, "it had been sent");
    object.get().await.problem(Code::NotFound);
    for _ in 0..2 {
        call.clone().send().await.expect(200);
    }
    assert_eq!(object.fields().await, json!({ "before": 1, "calls": 1 }));
    let keys = scene.keys();
    assert_eq!(keys.len(), 2, "once for each run, and none for the answer that was kept");
    assert_eq!(keys[0], keys[1]);
}

#[test]
fn under_a_key_embedded() {
    run(under_a_key(Kind::Embedded));
}

#[test]
fn under_a_key_apart() {
    run(under_a_key(Kind::Apart));
}

#[test]
fn in_a_messages_turn() {
    run(async {
        let scene = Scene::set(Kind::Embedded).await;
        let _shown = scene.server.show_logs_on_panic();
        let mail = Class::deploy(&scene.server, "Mail", guests::mailer(), "").await.object("m");
        let post = json!({
            "class": scene.class.name, "id": "o", "method": "fetch-and-count", "payload": scene.wish().to_string(),
            "delay": 0, "key": null,
        });
        dies_at(&scene.server, CRASH, async || drop(mail.method("post").json(&post).try_send().await)).await;
        let object = scene.class.object("o");
        eventually("the message has been run", || async {
            let reply = object.get().await;
            (reply.status == 200).then_some(())
        })
        .await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(object.fields().await, json!({ "before": 1, "calls": 1 }));
        let keys = scene.keys();
        assert_eq!((keys.len(), &keys[0]), (2, &keys[1]));
    });
}

//! A key that is revoked through one gateway counts no more at any other, and streams that it opened end.

use std::time::{Duration, Instant};

use oprc_tests::{Class, Cli, Events, Plan, guests};
use serde_json::json;

use crate::alone;

/// A revoked key may be used for so long.
const REVOKED: Duration = Duration::from_secs(1);

#[test]
fn a_revoked_key_stops_at_every_gateway() {
    alone(async {
        let place = tempfile::tempdir().unwrap();
        let token = Cli::run(&["key", "token"], place.path(), &[], None).await.ok();
        let file = place.path().join("root");
        std::fs::write(&file, &token).unwrap();
        let file = file.to_str().unwrap();
        let plan = Plan::of(3).gateways(2).gateway_args(&["--auth", "--root-key-file", file]);
        let cluster = plan.shown(token.trim()).start().await;
        let _shown = cluster.show_logs_on_panic();
        let [first, second] = [0, 1].map(|number| cluster.gateway(number));
        let class = Class::deploy(&cluster, "Revoked", guests::counter(), "").await;
        class.object("o").invoke("increment", json!({ "by": 1 })).await.expect(200);
        for round in 0..3 {
            let name = format!("k{round}");
            let wanted = json!({ "name": name, "scopes": ["read"] });
            let made = first.post("/api/v1/keys").json(&wanted).send().await.expect(201).json();
            let holder = second.with_key(made["token"].as_str().unwrap());
            let held = class.through(&holder).object("o");
            oprc_tests::eventually("the other gateway knows the key", || async {
                (held.get().await.status == 200).then_some(())
            })
            .await;
            let mut events = Events::watch(&holder, &format!("/classes/{}/events", class.name), None).await;
            first.delete(format!("/api/v1/keys/{name}")).send().await.expect(204);
            let begin = Instant::now();
            oprc_tests::eventually("the key counts no more", || async {
                let sent = begin.elapsed();
                let status = held.get().await.status;
                assert!(status == 401 || sent < REVOKED, "{status} for what was sent after {sent:?}");
                (status == 401).then_some(())
            })
            .await;
            println!("round {round}: it counted for {:?}", begin.elapsed());
            let last = events.next().await.expect("a stream says why it ends");
            assert_eq!(last.data["reason"], "denied", "{last:?}");
            assert!(events.next().await.is_none());
        }
    });
}

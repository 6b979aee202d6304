//! Requests that classes send stand behind the gate that calls stand behind: none leaves before it is certain that what its
//! turn saw stands.

use oprc_tests::{Asked, Class, Origin, Party, Plan, eventually, guests};
use serde_json::json;

use crate::{PAST_THE_LEASE, alone};

const DEADLINE_MS: u64 = 60_000;

/// The leader alone goes on: it runs a turn whose commit it cannot finish, and behind it one that would send.
#[test]
fn nothing_is_sent_on_what_may_not_stand() {
    alone(async {
        let cluster = Plan::of(3).start().await;
        let _shown = cluster.show_logs_on_panic();
        let origin = Origin::new().await;
        let manifest = format!("[class.allow]\nhttp = {:?}", [origin.url()]);
        let class = Class::deploy(&cluster, "Web", guests::web(), &manifest).await;
        let object = class.object("o");
        let put = object.method("put").json(&json!({ "key": "a", "value": "1" }));
        put.clone().send().await.expect(204);
        let wish = json!({ "method": "POST", "url": origin.url() + "/held", "headers": [], "body": "" });
        let fetch = object.method("fetch-and-count").json(&json!({ "wish": wish }));
        let fetch = fetch.header("idempotency-key", "k").header("x-request-timeout-ms", DEADLINE_MS);

        let leader = cluster.leader_of(&class.name, "o").await;
        let others = || (0..3).filter(|&host| host != leader).map(Party::Host);
        others().for_each(|host| cluster.signal(host, "STOP"));
        let before = tokio::spawn(put.header("x-request-timeout-ms", DEADLINE_MS).try_send());
        tokio::time::sleep(PAST_THE_LEASE / 5).await; // its turn has run, and the lease holds
        let first = tokio::spawn(fetch.clone().try_send());
        tokio::time::sleep(PAST_THE_LEASE).await;
        assert_eq!(origin.asked("/held").len(), 0, "what its turn saw may not stand");
        others().for_each(|host| cluster.signal(host, "CONT"));
        drop((before.await.unwrap(), first.await.unwrap()));

        eventually("the call is done", || async {
            let reply = fetch.clone().try_send().await.ok()?;
            (reply.status == 200).then_some(())
        })
        .await;
        assert_eq!(object.fields().await["calls"], 1);
        let key = |asked: &Asked| asked.headers["idempotency-key"].clone();
        let keys: Vec<_> = origin.asked("/held").iter().map(key).collect();
        assert!(!keys.is_empty() && keys.iter().all(|key| *key == keys[0]), "{keys:?}");
    });
}

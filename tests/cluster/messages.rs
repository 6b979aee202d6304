//! Messages between objects on hosts that are killed and come back: each takes effect once, and pairs keep their order.

use std::collections::BTreeMap;
use std::time::Duration;

use oprc_tests::{Class, Object, Party, Plan, eventually, guests};
use serde_json::json;

use crate::alone;

const OBJECTS: usize = 8;
/// Messages that one call sends.
const BATCH: u64 = 5;
/// Each host is killed twice.
const ROUNDS: usize = 6;

#[test]
fn hosts_are_killed_with_messages_under_way() {
    alone(async {
        let cluster = Plan::of(3).start().await;
        let _shown = cluster.show_logs_on_panic();
        cluster.settled(3).await;
        let class = Class::deploy(&cluster, "Mail", guests::mailer(), "").await;
        let mut acknowledged: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
        let mut next = 0;
        for round in 0..ROUNDS {
            let victim = round % 3;
            next = send(&class, next, 4, &mut acknowledged).await;
            cluster.kill(Party::Host(victim));
            next = send(&class, next, 4, &mut acknowledged).await;
            cluster.start_host(victim).await;
            cluster.settled(3).await;
        }
        assert!(
            acknowledged.values().map(Vec::len).sum::<usize>() > 100,
            "too little was sent to prove anything"
        );
        for (to, sent) in &acknowledged {
            let object = class.object(format!("o{to}"));
            let notes = eventually(&format!("all messages have come to o{to}"), || async {
                let notes = notes(&object).await?;
                sent.iter().all(|n| notes.contains(n)).then_some(notes)
            })
            .await;
            assert!(notes.windows(2).all(|pair| pair[0] < pair[1]), "o{to} has seen {notes:?}");
        }
    });
}

/// Each object sends batches to the next; only what was acknowledged must come.
async fn send(
    class: &Class,
    mut next: u64,
    rounds: usize,
    acknowledged: &mut BTreeMap<usize, Vec<u64>>,
) -> u64 {
    for _ in 0..rounds {
        for from in 0..OBJECTS {
            let to = (from + 1) % OBJECTS;
            let id = format!("o{to}");
            let arguments = json!({ "class": class.name, "ids": [id], "first": next, "count": BATCH });
            let call = class.object(format!("o{from}")).method("send-many").json(&arguments);
            if let Ok(reply) = call.header("x-request-timeout-ms", 10_000).try_send().await
                && reply.status == 204
            {
                acknowledged.entry(to).or_default().extend(next..next + BATCH);
            }
            next += BATCH;
        }
        tokio::time::sleep(Duration::from_millis(20)).await; // some are under way when a host is killed, some are not
    }
    next
}

/// The numbers that an object has noted, in the order in which they came: too many for one read of the object.
async fn notes(object: &Object) -> Option<Vec<u64>> {
    let mut notes = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("{}/fields?prefix=note/&limit=1000{cursor}", object.path());
        let reply = object.class.http.get(path).try_send().await.ok()?;
        if reply.status != 200 {
            return None;
        }
        let page = reply.json();
        notes.extend(page["items"].as_array()?.iter().map(|item| item["value"].as_u64().unwrap()));
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Some(notes),
        }
    }
}

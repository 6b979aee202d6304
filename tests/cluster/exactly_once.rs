//! Leaders are killed at random while clients call under keys of their own and try again until they are answered: every
//! call takes effect exactly once, and each later try gets the same answer.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use oprc_tests::{Class, Cluster, Object, Party, Plan, guests, seed, within};
use rand::Rng as _;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::alone;

const CLIENTS: usize = 12;
const OBJECTS: usize = 5;
const PATIENCE: Duration = Duration::from_mins(2);

/// What was answered, by object and key.
type Answers = Arc<Mutex<BTreeMap<(usize, String), Value>>>;

/// Calls under `key` until there is an answer.
async fn add(object: &Object, key: &str) -> Value {
    within(PATIENCE, "a keyed call is answered", || async {
        let call = object.method("add").json(&json!({ "by": 1 })).header("idempotency-key", key);
        let reply = call.header("x-request-timeout-ms", 2_000).try_send().await.ok()?;
        assert!([200, 429, 503, 504].contains(&reply.status), "{reply:?}");
        (reply.status == 200).then(|| reply.json())
    })
    .await
}

async fn kill_leaders_while_clients_call(name: &str, calls: usize, kills: usize) {
    let mut rng = seed::rng(name);
    let cluster = Plan::of(3).gateways(2).start().await;
    let _shown = cluster.show_logs_on_panic();
    let class = Class::deploy(&cluster, "Once", guests::prober(), "").await;
    let (answers, answered) = (Answers::default(), Arc::new(AtomicUsize::new(0)));
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let class = class.through(&cluster.gateways()[client % 2]);
        let (answers, answered) = (answers.clone(), answered.clone());
        clients.spawn(async move {
            class.known().await;
            for number in (client..calls).step_by(CLIENTS) {
                let (place, key) = (number % OBJECTS, format!("call-{number}"));
                let answer = add(&class.object(format!("o{place}")), &key).await;
                answers.lock().unwrap().insert((place, key), answer);
                answered.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
    for kill in 1..=kills {
        let due = calls * kill / (kills + 1);
        within(PATIENCE, "calls go on", || async { (answered.load(Ordering::SeqCst) >= due).then_some(()) })
            .await;
        let host = cluster.leader_of(&class.name, &format!("o{}", rng.random_range(0..OBJECTS))).await;
        cluster.kill(Party::Host(host));
        tokio::time::sleep(Duration::from_millis(rng.random_range(0..2_000))).await;
        cluster.start_host(host).await;
        cluster.settled(3).await;
    }
    clients.join_all().await;
    let answers = answers.lock().unwrap().clone();
    check(&cluster, &class, &answers).await;
}

async fn check(cluster: &Cluster, class: &Class, answers: &BTreeMap<(usize, String), Value>) {
    for place in 0..OBJECTS {
        let of_it = answers.iter().filter(|((at, _), _)| *at == place);
        let mut sums: Vec<u64> = of_it.map(|(_, answer)| answer.as_u64().unwrap()).collect();
        sums.sort_unstable();
        assert_eq!(sums, (1..=sums.len() as u64).collect::<Vec<_>>(), "o{place}: each sum is one call's");
        assert_eq!(class.object(format!("o{place}")).fields().await, json!({ "n": sums.len() }));
    }
    let class = class.through(&cluster.gateways()[1]);
    for ((place, key), answer) in answers {
        assert_eq!(add(&class.object(format!("o{place}")), key).await, *answer, "{key}, tried again");
    }
}

#[test]
fn through_leader_kills() {
    alone(kill_leaders_while_clients_call("through_leader_kills", 1_500, 3));
}

#[test]
#[ignore = "make soak runs it"]
fn ten_thousand_calls_through_leader_kills() {
    alone(kill_leaders_while_clients_call("ten_thousand_calls", 10_000, 20));
}

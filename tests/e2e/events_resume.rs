//! A stream goes on after the last event that its reader got: nothing is missed and nothing comes twice, whatever happened to
//! host and gateway meanwhile. What is not kept any more is reported as a gap.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use oprc_mesh::limits::{EMIT_BYTES_MAX, EVENT_LOG_BYTES_MAX};
use oprc_tests::{Class, Events, Kind, Server, both, brief, guests, run, run_on, seed};
use rand::Rng as _;
use serde_json::json;
use tokio::task::JoinSet;

both!(where_it_was, an_id_of_the_class_serves_for_an_object, a_gap_is_told);

fn of_class(class: &Class) -> String {
    format!("/classes/{}/events", class.name)
}

fn of_object(class: &Class, object: &str) -> String {
    format!("/classes/{}/objects/{object}/events", class.name)
}

async fn where_it_was(server: Server) {
    let class = Class::deploy(&server, "Resumed", guests::counter(), "").await;
    let write = async |id: &str, count: u64| {
        class.object(id).patch(&json!({ "n": count })).send().await.ok();
    };
    for path in [of_object(&class, "a"), of_class(&class)] {
        let mut events = Events::watch(&class.http, &path, None).await;
        let before = events.last().to_owned();
        for count in 0..5 {
            write("a", count).await;
        }
        let mut seen = Vec::new();
        for _ in 0..5 {
            let event = events.event().await;
            seen.push((event["id"].as_str().unwrap().to_owned(), event["version"].as_u64().unwrap()));
        }
        drop(events);
        // from the place before the first, and from each one
        for (at, id) in [&before].into_iter().chain(seen.iter().map(|(id, _)| id)).enumerate() {
            let mut again = Events::watch(&class.http, &path, Some(id)).await;
            for (id, version) in &seen[at..] {
                let event = again.event().await;
                assert_eq!((event["id"].as_str(), event["version"].as_u64()), (Some(&**id), Some(*version)));
            }
            again.silent(Duration::from_millis(20)).await;
            // as a parameter as well, for clients that cannot send a header
            let mut again = Events::watch(&class.http, &format!("{path}?since={id}"), None).await;
            if let Some((_, version)) = seen.get(at) {
                assert_eq!(again.event().await["version"].as_u64(), Some(*version));
            }
        }
    }
}

async fn an_id_of_the_class_serves_for_an_object(server: Server) {
    let class = Class::deploy(&server, "Resumed", guests::counter(), "").await;
    let all = Events::watch(&class.http, &of_class(&class), None).await;
    let last = all.last().to_owned();
    for id in ["a", "b", "c", "d"] {
        class.object(id).put(&json!({})).send().await.expect(201);
    }
    let mut one = Events::watch(&class.http, &of_object(&class, "c"), Some(&last)).await;
    assert_eq!(brief(&one.event().await).0, "c");
    // the other way round the class's other partitions are not in the id
    let mut all = Events::watch(&class.http, &of_class(&class), Some(one.last())).await;
    assert_eq!(all.named("gap").await["reason"], "unknown-id");
}

/// More than the log keeps: the reader is told that something is missing, and gets what is there.
async fn a_gap_is_told(server: Server) {
    let class = Class::deploy(&server, "Resumed", guests::prober(), "").await;
    let events = Events::watch(&class.http, &of_object(&class, "o"), None).await;
    let all = Events::watch(&class.http, &of_class(&class), None).await;
    let (last, last_of_all) = (events.last().to_owned(), all.last().to_owned());
    drop((events, all));
    let turns = EVENT_LOG_BYTES_MAX / EMIT_BYTES_MAX as u64 + 8;
    for _ in 0..turns {
        let emitted = json!({ "count": 1, "bytes": EMIT_BYTES_MAX - 1 });
        class.object("o").invoke("emit-many", emitted).await.expect(204);
    }
    class.object("o").invoke("add", json!([1])).await.expect(200);
    for (path, last) in [(of_object(&class, "o"), last), (of_class(&class), last_of_all)] {
        let mut events = Events::watch(&class.http, &path, Some(&last)).await;
        let gap = events.named("gap").await;
        assert_eq!((&gap["reason"], &gap["class"]), (&json!("trimmed"), &json!(class.name)), "{gap}");
        let mut count = 0;
        while events.event().await["action"] != "create" {
            count += 1;
        }
        assert!((1..turns).contains(&count), "{count} of {turns} are left");
        // and once it was told, it is not told again
        let mut again = Events::watch(&class.http, &path, Some(events.last())).await;
        again.silent(Duration::from_millis(50)).await;
    }
    let mut oldest =
        Events::watch(&class.http, &format!("{}?since=oldest", of_object(&class, "o")), None).await;
    assert_eq!(oldest.named("gap").await["reason"], "trimmed");
    assert_eq!(oldest.event().await["action"], "none");
}

/// SIGKILL under load, again and again: every version of every object is seen once and in order.
#[test]
fn across_a_hosts_death_embedded() {
    run(across_a_hosts_death(Kind::Embedded));
}

#[test]
fn across_a_hosts_death_apart() {
    run(across_a_hosts_death(Kind::Apart));
}

async fn across_a_hosts_death(kind: Kind) {
    const OBJECTS: usize = 12;
    let mut rng = seed::rng("across_a_hosts_death");
    let server = Server::start(kind).await;
    let _shown = server.show_logs_on_panic();
    let class = Class::deploy(&server, "Resumed", guests::counter(), "").await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for n in 0..OBJECTS {
        let (object, stop) = (class.object(format!("o{n}")), stop.clone());
        writers.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                // whether it took effect is what the stream tells
                if object.method("increment").json(&json!({ "by": 1 })).try_send().await.is_err() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        });
    }
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    let mut events = Events::watch(&class.http, &format!("{}?since=oldest", of_class(&class)), None).await;
    for _ in 0..5 {
        for _ in 0..rng.random_range(50..400) {
            follow(&server, &class, &mut events, &mut seen).await;
        }
        server.kill_host();
        server.launch().await;
    }
    stop.store(true, Ordering::Relaxed);
    while let Some(done) = writers.join_next().await {
        done.unwrap();
    }
    for n in 0..OBJECTS {
        let object = class.object(format!("o{n}"));
        let version = object.version().await;
        while seen.get(&object.id).copied().unwrap_or(0) < version {
            follow(&server, &class, &mut events, &mut seen).await;
        }
        assert_eq!(seen[&object.id], version);
    }
}

/// Takes one event, which must be its object's next; goes on with a new stream when this one breaks.
async fn follow(server: &Server, class: &Class, events: &mut Events, seen: &mut BTreeMap<String, u64>) {
    loop {
        let next = tokio::time::timeout(oprc_tests::PATIENCE, events.next()).await.expect("events come");
        match next {
            Some(block) if block.name.is_empty() => {
                let (object, version, ..) = brief(&block.data);
                let before = seen.insert(object.clone(), version).unwrap_or(0);
                return assert_eq!(version, before + 1, "{object}: {block:?}");
            }
            Some(block) => panic!("{block:?}"),
            None => {
                server.ready().await;
                let last = events.last().to_owned();
                *events = Events::watch(&class.http, &of_class(class), Some(&last)).await;
            }
        }
    }
}

/// Resuming does not depend on the gateway: another one goes on.
#[test]
fn through_another_gateway() {
    run_on(Kind::Apart, |server| async move {
        let (_gateway, second) = crate::apart::second_gateway(&server).await;
        let class = Class::deploy(&server, "Resumed", guests::counter(), "").await;
        let mut events = Events::watch(&class.http, &of_class(&class), None).await;
        for n in 0..20 {
            class.object(format!("o{n}")).put(&json!({})).send().await.expect(201);
            if n < 10 {
                events.event().await;
            }
        }
        let mut other = Events::watch(&second, &of_class(&class), Some(events.last())).await;
        for _ in 10..20 {
            other.event().await;
        }
        other.silent(Duration::from_millis(50)).await;
    });
}

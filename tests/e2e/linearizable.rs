//! A read that began after an acknowledgement shows at least what was acknowledged, and never what nobody has tried to
//! write; one reader never sees time run backwards. Through read-only methods, whole objects and single fields alike.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use oprc_tests::{Class, Object, Server, both, guests};
use serde_json::json;
use tokio::task::JoinSet;

both!(reads_are_never_stale);

const WRITERS: u64 = 8;
const WRITES: u64 = 60;

async fn reads_are_never_stale(server: Server) {
    let class = Class::deploy(&server, "Prober", guests::prober(), "readonly = [\"value\"]").await;
    let object = class.object("register");
    object.invoke("add", json!({ "by": 1 })).await.expect(200);
    let tried = Arc::new(AtomicU64::new(1));
    let acknowledged = Arc::new(AtomicU64::new(1));
    let over = Arc::new(AtomicBool::new(false));

    let mut reading = JoinSet::new();
    for way in [read_method, read_object, read_field, read_page] {
        let (object, tried) = (object.clone(), Arc::clone(&tried));
        let (acknowledged, over) = (Arc::clone(&acknowledged), Arc::clone(&over));
        reading.spawn(async move {
            let (mut last, mut reads) = (0, 0u64);
            while !over.load(Ordering::SeqCst) {
                let floor = acknowledged.load(Ordering::SeqCst).max(last);
                let value = way(object.clone()).await;
                let most = tried.load(Ordering::SeqCst);
                assert!(
                    (floor..=most).contains(&value),
                    "read {value}, but {floor} was there and {most} was tried"
                );
                last = value;
                reads += 1;
            }
            assert!(reads > 10, "{reads} reads");
        });
    }

    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        let (object, tried, acknowledged) = (object.clone(), Arc::clone(&tried), Arc::clone(&acknowledged));
        writers.spawn(async move {
            for _ in 0..WRITES {
                tried.fetch_add(1, Ordering::SeqCst);
                let sum = object.invoke("add", json!({ "by": 1 })).await.expect(200).json();
                acknowledged.fetch_max(sum.as_u64().unwrap(), Ordering::SeqCst);
            }
        });
    }
    writers.join_all().await;
    over.store(true, Ordering::SeqCst);
    reading.join_all().await;
}

type Read = std::pin::Pin<Box<dyn Future<Output = u64> + Send>>;

fn read_method(object: Object) -> Read {
    Box::pin(async move { object.invoke("value", json!({})).await.expect(200).json().as_u64().unwrap() })
}

fn read_object(object: Object) -> Read {
    Box::pin(async move {
        let document = object.get().await.expect(200).json();
        assert_eq!(document["fields"]["n"], document["version"], "fields and version are of one moment");
        document["fields"]["n"].as_u64().unwrap()
    })
}

fn read_field(object: Object) -> Read {
    Box::pin(async move {
        let reply = object.field("GET", "n").send().await.expect(200);
        String::from_utf8(reply.body.to_vec()).unwrap().parse().unwrap()
    })
}

fn read_page(object: Object) -> Read {
    Box::pin(async move {
        let path = format!("{}/fields", object.path());
        object.class.http.get(path).send().await.expect(200).json()["items"][0]["value"].as_u64().unwrap()
    })
}

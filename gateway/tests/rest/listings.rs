//! Listings: order, pages, cursors.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use serde_json::json as value;

use crate::running::{Running, json, problem, start};

async fn pages(server: &Running, path: &str, limit: usize, member: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = json(server.get(&format!("{path}limit={limit}{cursor}")), 200).await;
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= limit);
        all.extend(items.iter().map(|item| item[member].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => {
                assert_eq!(items.len(), limit, "a page that is not the last is full");
                cursor = format!("&cursor={next}");
            }
            None => return all,
        }
    }
}

#[tokio::test]
async fn objects_of_all_partitions_come_in_id_order_once_each() {
    let server = start().await;
    let ids: BTreeSet<String> = (0..97).map(|n| format!("o{}", n * 7919 % 1000)).collect();
    for id in &ids {
        server.fake.put_object("Counter", id, &[]);
    }
    server.fake.put_object("Other", "o1", &[]);
    let expected: Vec<_> = ids.into_iter().collect();
    for (limit, page_max) in [(1, u64::MAX), (7, 1), (10, 3), (96, 2), (97, u64::MAX), (1_000, 5)] {
        server.fake.page_max.store(page_max, Ordering::Relaxed);
        let listed = pages(&server, "/classes/Counter/objects?", limit, "id").await;
        assert_eq!(listed, expected, "limit {limit}, partitions give {page_max}");
    }
    let tens: Vec<_> = expected.iter().filter(|id| id.starts_with("o1")).cloned().collect();
    assert_eq!(pages(&server, "/classes/Counter/objects?prefix=o1&", 3, "id").await, tens);
    let page = json(server.get("/classes/Counter/objects?prefix=o1&limit=1"), 200).await;
    assert_eq!(page["items"][0], value!({"id": tens[0], "version": 1}));
}

#[tokio::test]
async fn an_empty_listing_is_a_listing() {
    let server = start().await;
    assert_eq!(json(server.get("/classes/Counter/objects"), 200).await, value!({"items": [], "next": null}));
    problem(server.get("/classes/Nobody/objects"), 404, "not-found").await;
    problem(server.get("/classes/Counter/objects/nobody/fields"), 404, "not-found").await;
}

#[tokio::test]
async fn fields_come_in_key_order_with_their_values() {
    let server = start().await;
    let keys: Vec<String> = (0..25).map(|n| format!("k{n:02}")).collect();
    let fields: Vec<(&str, &[u8])> = keys.iter().map(|key| (key.as_str(), &b"text"[..])).collect();
    server.fake.put_object("Counter", "alice", &fields);
    for limit in [1, 7, 25, 100] {
        assert_eq!(pages(&server, "/classes/Counter/objects/alice/fields?", limit, "key").await, keys);
    }
    let page = json(server.get("/classes/Counter/objects/alice/fields?prefix=k1&limit=2"), 200).await;
    let item = |key| value!({"key": key, "value": {"$text": "text"}});
    assert_eq!(page["items"], value!([item("k10"), item("k11")]));
    let response = server.get("/classes/Counter/objects/alice/fields").send().await.unwrap();
    assert!(response.headers().contains_key("etag"));
}

#[tokio::test]
async fn what_asks_for_no_page_is_refused() {
    let server = start().await;
    for query in
        ["limit=0", "limit=1001", "limit=x", "cursor=xyz", "page=2", "limit=1&limit=2", "prefix=a%2Fb"]
    {
        problem(server.get(&format!("/classes/Counter/objects?{query}")), 400, "invalid").await;
    }
    server.fake.put_object("Counter", "a", &[("k", b"1"), ("l", b"2")]);
    let page = json(server.get("/classes/Counter/objects/a/fields?limit=1"), 200).await;
    let cursor = page["next"].as_str().unwrap();
    problem(server.get(&format!("/classes/Counter/objects?cursor={cursor}")), 400, "invalid").await;
    problem(server.get("/classes/Counter/objects/a/fields?prefix=%00"), 400, "invalid").await;
}

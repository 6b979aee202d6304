//! What a turn sees of the commits before it, how far it may run ahead, and what a failed one does to the others.

#![allow(clippy::unwrap_used)]

use futures::FutureExt as _;
use oprc_mesh::wire::Tag;

use super::*;

fn key(text: &str) -> FieldKey {
    FieldKey::parse(text).unwrap()
}

fn head(version: u64) -> Head {
    Head { tag: Tag { incarnation: 7, version }, home: 7 }
}

fn set(name: &str, value: &str) -> Vec<(FieldKey, Option<Bytes>)> {
    vec![(key(name), Some(Bytes::copy_from_slice(value.as_bytes())))]
}

fn value(chain: &Chain, name: &str) -> Option<String> {
    match chain.get(&key(name)) {
        Seen::Here(value) => Some(String::from_utf8(value.unwrap_or_default().to_vec()).unwrap()),
        Seen::Below => None,
    }
}

/// Adds commits of one field each; the object was at version 1 before.
fn chain_of(count: usize, value: &str) -> (Arc<Chain>, Vec<Arc<Link>>) {
    let chain = Arc::new(Chain::default());
    let links = (0..count).map(|n| {
        let name = format!("f{}", n % 2);
        chain.push(3, Some(head(n as u64 + 2)), set(&name, &format!("{value}{n}")), &format!("call-{n}"))
    });
    let links = links.collect();
    (chain, links)
}

#[test]
fn without_commits_under_way_the_committed_state_counts() {
    let (chain, _) = chain_of(0, "");
    assert!(chain.ready().now_or_never().unwrap().is_none());
    assert_eq!(chain.get(&key("f0")), Seen::Below);
}

#[test]
fn a_turn_starts_on_what_the_ones_before_it_wrote() {
    let (chain, links) = chain_of(3, "v");
    let ahead = chain.ready().now_or_never().unwrap().unwrap();
    assert_eq!((ahead.head, ahead.term, ahead.last.number), (head(4), 3, 2));
    assert_eq!((value(&chain, "f0"), value(&chain, "f1")), (Some("v2".into()), Some("v1".into())));
    // the first is applied: the third's write of the same field still counts
    chain.settle(&links[0], true);
    assert_eq!(value(&chain, "f0"), Some("v2".into()));
    chain.settle(&links[1], true);
    assert_eq!(value(&chain, "f1"), None);
    chain.settle(&links[2], true);
    assert!(chain.ready().now_or_never().unwrap().is_none());
    assert_eq!(chain.inner.lock().bytes, 0);
}

#[test]
fn a_call_under_way_is_found_until_it_is_decided() {
    let (chain, links) = chain_of(1, "v");
    let found = chain.call("call-0").unwrap();
    assert!(found.stood().now_or_never().is_none());
    chain.settle(&links[0], true);
    assert_eq!(found.stood().now_or_never(), Some(true));
    assert!(chain.call("call-0").is_none());
}

#[test]
fn nothing_is_built_on_a_broken_chain_until_all_of_it_is_decided() {
    let (chain, links) = chain_of(3, "v");
    let dependent = chain.ready().now_or_never().unwrap().unwrap();
    chain.settle(&links[0], false);
    let mut next = Box::pin(chain.ready());
    assert!((&mut next).now_or_never().is_none());
    chain.settle(&links[1], false);
    assert!((&mut next).now_or_never().is_none());
    assert!(dependent.last.stood().now_or_never().is_none());
    chain.settle(&links[2], false);
    assert!(next.now_or_never().unwrap().is_none(), "from the committed state, as if nothing had been");
    assert_eq!(dependent.last.stood().now_or_never(), Some(false));
    // and then it begins anew
    chain.push(4, Some(head(2)), set("f0", "new"), "");
    assert_eq!(chain.ready().now_or_never().unwrap().unwrap().term, 4);
}

#[test]
fn what_was_given_up_is_not_built_on_either() {
    let (chain, links) = chain_of(1, "v");
    chain.give_up();
    assert!(chain.ready().now_or_never().is_none());
    chain.settle(&links[0], true);
    assert!(chain.ready().now_or_never().unwrap().is_none());
    chain.give_up();
    chain.push(4, Some(head(2)), set("f0", "new"), "");
    assert!(chain.ready().now_or_never().is_some(), "with nothing under way there is nothing to give up");
}

#[test]
fn one_object_runs_ahead_by_so_many_commits() {
    let (chain, links) = chain_of(AHEAD_COMMITS_MAX - 1, "v");
    assert!(chain.ready().now_or_never().is_some());
    chain.push(3, Some(head(9_999)), set("f0", "last"), "");
    let mut full = Box::pin(chain.ready());
    assert!((&mut full).now_or_never().is_none());
    chain.settle(&links[0], true);
    assert!(full.now_or_never().unwrap().is_some());
}

#[test]
fn one_object_runs_ahead_by_so_many_bytes() {
    let value = |bytes: usize| "v".repeat(bytes - "f".len());
    let chain = Arc::new(Chain::default());
    let first = chain.push(3, Some(head(2)), set("f", &value(AHEAD_BYTES_MAX - 2)), "");
    assert!(chain.ready().now_or_never().is_some());
    chain.push(3, Some(head(3)), set("g", ""), "");
    assert!(chain.ready().now_or_never().is_some(), "one byte is left");
    chain.push(3, Some(head(4)), set("h", ""), "");
    let mut full = Box::pin(chain.ready());
    assert!((&mut full).now_or_never().is_none());
    chain.settle(&first, true);
    assert!(full.now_or_never().unwrap().is_some());
    // one that alone is larger is taken, and the next waits for it
    let chain = Arc::new(Chain::default());
    chain.push(3, Some(head(2)), set("f", &value(2 * AHEAD_BYTES_MAX)), "");
    assert!(chain.ready().now_or_never().is_none());
}

#[test]
fn a_deleted_field_is_gone_ahead_too() {
    let chain = Arc::new(Chain::default());
    chain.push(3, Some(head(2)), vec![(key("f"), None)], "");
    assert_eq!(chain.get(&key("f")), Seen::Here(None));
}

#[test]
fn nobody_begins_while_a_commit_is_under_way_that_cannot_be_built_on() {
    let (chain, _) = chain_of(0, "");
    let link = chain.push(3, None, Vec::new(), "");
    assert!(chain.ready().now_or_never().is_none());
    chain.settle(&link, true);
    assert!(chain.ready().now_or_never().unwrap().is_none());
}

#[test]
fn who_began_on_a_commit_that_failed_is_lost_also_when_nothing_is_under_way_any_more() {
    let (chain, links) = chain_of(1, "");
    let ahead = chain.ready().now_or_never().unwrap().unwrap();
    assert!(!ahead.is_lost());
    chain.settle(&links[0], false);
    assert!(ahead.is_lost());
    assert!(chain.ready().now_or_never().unwrap().is_none(), "the next one begins anew");
}

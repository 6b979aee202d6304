//! What is dead goes, step by step; what is alive stays.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use oprc_mesh::wire::Tag;

use super::*;
use crate::catalog::CatalogEffect;
use crate::record::{CatalogItem, CatalogRecord, CommitRecord, Counters};
use crate::store::Reader;
use crate::testing::{Bed, applied, commit, fields, pairs};
use crate::types::Change;

fn records(group: &GroupState, class: u64) -> usize {
    group.keys(&group.space().class(class), usize::MAX).unwrap().len()
}

#[test]
fn fields_of_dead_homes_go_in_steps_and_the_rest_stays() {
    let bed = Bed::new();
    let group = bed.group(1);
    let writes: Vec<_> = ["f1", "f2", "f3", "f4", "f5"].map(|key| (key, Some("old"))).to_vec();
    let mut tag = applied(&group, 1, commit("a", Tag::default(), Change::Merge, &writes));
    tag = applied(&group, 2, commit("a", tag, Change::Replace, &[("f1", Some("new"))]));
    let gone = applied(&group, 3, commit("b", Tag::default(), Change::Merge, &writes));
    applied(&group, 4, commit("b", gone, Change::Delete, &[]));
    assert_eq!(records(&group, 1), 1 + 1 + 5 + 5);

    let mut steps = 0;
    while collect_homes(&group, 3).unwrap() {
        steps += 1;
    }
    assert!(steps >= 3, "{steps} steps for 10 fields and 2 notes, 3 at a time");
    assert_eq!(records(&group, 1), 2);
    assert_eq!(group.dead_homes(9).unwrap(), vec![]);
    let reader = Reader::newest(group);
    assert_eq!(fields(&reader, "a"), pairs(&[("f1", "new")]));
    assert_eq!(tag.version, 2);
}

#[test]
fn only_purged_classes_go() {
    let bed = Bed::new();
    let group = bed.group(1);
    for (index, class) in (1..).zip([1, 2, 3]) {
        let first = commit("a", Tag::default(), Change::Merge, &[("x", Some("1"))]);
        let tag = applied(&group, index, CommitRecord { class, ..first });
        let second = commit("a", tag, Change::Replace, &[("x", Some("2"))]);
        applied(&group, index + 10, CommitRecord { class, ..second });
    }
    // class 1 is known, class 2 was purged, class 3 is newer than what this replica knows of the catalog
    let catalog = CatalogShared::new();
    let known = crate::record::ClassRecord { name: "A".into(), id: 1, version: 1, removed: true };
    let counters = Counters { revision: 9, next_class: 3, next_group: 1 };
    let items = [CatalogItem::Counters(counters), CatalogItem::Class(known)];
    catalog.load(items.into_iter().map(|item| CatalogRecord { item: Some(item) }).collect()).unwrap();
    collect_purged(&group, &catalog).unwrap();
    assert_eq!([1, 2, 3].map(|class| records(&group, class)), [3, 0, 3]);
    assert_eq!(group.classes().unwrap(), [1, 3]);
    assert_eq!(group.dead_homes(9).unwrap().len(), 2);
    catalog.absorb(vec![CatalogEffect::Put(CatalogItem::Counters(Counters { next_class: 4, ..counters }))]);
    collect_purged(&group, &catalog).unwrap();
    assert_eq!(group.classes().unwrap(), [1]);
}

#[tokio::test]
async fn it_runs_when_it_is_told_and_stops_when_asked() {
    let bed = Bed::new();
    let group = bed.group(1);
    let (collect, stop) = (Arc::new(Notify::new()), CancellationToken::new());
    let states = {
        let group = group.clone();
        move || vec![group.clone()]
    };
    let running = tokio::spawn(run(Arc::new(CatalogShared::new()), collect.clone(), states, stop.clone()));
    let tag = applied(&group, 1, commit("a", Tag::default(), Change::Merge, &[("x", Some("1"))]));
    applied(&group, 2, commit("a", tag, Change::Delete, &[]));
    collect.notify_one();
    while records(&group, 1) > 0 {
        tokio::task::yield_now().await;
    }
    stop.cancel();
    running.await.unwrap();
}

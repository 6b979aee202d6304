//! The grid of one host as a whole, where the inside must be seen: purging, crashes at a moment, failing disks.

#![allow(clippy::unwrap_used)]

use std::io;

use oprc_mesh::outcome::{Code, Effect};
use oprc_mesh::wire::{FieldWrite, Tag};

use super::*;
use crate::testing::{copy_dir, fields, id, pairs};
use crate::types::{Change, Commit, CommitReply};

async fn open(dir: &std::path::Path, checkpoint_entries: u64) -> Arc<Odgm> {
    Odgm::open(OdgmConfig { checkpoint_entries, ..OdgmConfig::new(dir) }).await.unwrap()
}

fn set(partition: &Partition, object: &str, base: Tag, value: u64) -> Commit {
    let value = Some(value.to_string().into());
    Commit {
        term: partition.leadership().unwrap(),
        class: 1,
        revision: 1,
        object: id(object),
        base,
        change: Change::Merge,
        writes: vec![FieldWrite { key: "value".into(), value }],
        invocation: String::new(),
        outcome: None,
        emitted: Vec::new(),
        post: crate::mail::Post::default(),
    }
}

async fn count_to(partition: &Partition, object: &str, to: u64) {
    let mut base = partition.reader().head(1, &id(object)).unwrap().map(|head| head.tag).unwrap_or_default();
    while base.version < to {
        match partition.commit(set(partition, object, base, base.version + 1)).await.unwrap() {
            CommitReply::Committed(Some(tag)) => base = tag,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purged_log_and_a_crash_lose_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let odgm = open(temp.path(), 300).await;
    let groups = odgm.partitions();
    // enough to purge, then some more for the tail that is replayed
    for (round, to) in [(0, 1_400), (1, 1_410)] {
        futures::future::join_all(groups.iter().map(|partition| count_to(partition, "a", to))).await;
        let purged = |partition: &Arc<Partition>| partition.raft().purged();
        while round == 0 && groups.iter().any(|partition| purged(partition).is_none()) {
            tokio::task::yield_now().await;
        }
    }
    let image = copy_dir(temp.path());
    odgm.shutdown().await;

    let odgm = open(image.path(), 300).await;
    for partition in odgm.partitions() {
        let reader = partition.reader();
        assert_eq!(fields(&reader, "a"), pairs(&[("value", "1410")]));
        assert_eq!(reader.head(1, &id("a")).unwrap().unwrap().tag.version, 1_410);
        count_to(&partition, "a", 1_411).await;
    }
    odgm.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_write_stops_the_node_and_says_why() {
    let temp = tempfile::tempdir().unwrap();
    let odgm = open(temp.path(), u64::MAX).await;
    let partitions = odgm.partitions();
    let (first, second) = (&partitions[0], &partitions[1]);
    count_to(first, "a", 1).await;
    let next = set(first, "b", Tag::default(), 1);
    let other = set(second, "b", Tag::default(), 1);
    odgm.context.writer.fail_next(io::Error::from(io::ErrorKind::StorageFull));
    let problem = first.commit(next.clone()).await.unwrap_err();
    assert_eq!((problem.kind(), problem.effect), (Code::Unavailable, Effect::Unknown as i32));
    let reason = odgm.poisoned().wait_for(Option::is_some).await.unwrap().clone().unwrap();
    // the disk would take these again
    for (partition, commit) in [(first, next), (second, other)] {
        let problem = partition.commit(commit).await.unwrap_err();
        assert_eq!((problem.kind(), problem.effect), (Code::Unavailable, Effect::NotRun as i32));
        assert!(problem.detail.contains(&reason), "{problem}");
        assert_eq!(partition.leadership().unwrap_err().kind(), Code::Unavailable);
    }
    odgm.shutdown().await;

    // a restart reads what is really there
    drop((partitions, odgm));
    let odgm = open(temp.path(), u64::MAX).await;
    assert_eq!(fields(&odgm.partitions()[0].reader(), "a"), pairs(&[("value", "1")]));
    count_to(&odgm.partitions()[0], "b", 1).await;
    odgm.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_shutdown_nothing_is_taken_in_and_nothing_needs_replay() {
    let temp = tempfile::tempdir().unwrap();
    let odgm = open(temp.path(), u64::MAX).await;
    let partition = odgm.partitions()[0].clone();
    count_to(&partition, "a", 5).await;
    let late = set(&partition, "b", Tag::default(), 1);
    odgm.shutdown().await;
    let problem = partition.commit(late).await.unwrap_err();
    assert_eq!((problem.kind(), problem.effect), (Code::Unavailable, Effect::NotRun as i32));
    assert_eq!(partition.leadership().unwrap_err().kind(), Code::NotLeader);
    let image = copy_dir(temp.path());
    let config = OdgmConfig::new(image.path());
    let state = Store::open(&config, &Poison::new()).unwrap().state;
    let group = crate::store::GroupState::open(&state, partition.group()).unwrap();
    assert!(group.state().unwrap().applied.unwrap().index >= 5);
}

/// A change of the catalog that is still on its way to the partitions when they are stopped must not start them again.
#[tokio::test(flavor = "multi_thread")]
async fn a_catalog_change_during_the_shutdown_starts_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let odgm = open(temp.path(), u64::MAX).await;
    let view = odgm.catalog().view();
    odgm.shutdown().await;
    odgm.partitions.reconcile(&view).await.unwrap();
    assert!(odgm.partitions().is_empty());
}

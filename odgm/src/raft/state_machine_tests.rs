//! Snapshots: what one replica has applied, installed on another that held something else.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use openraft::EntryPayload;
use openraft::storage::{RaftSnapshotBuilder as _, RaftStateMachine as _};
use oprc_mesh::wire::Tag;

use super::codec::log_id;
use super::snapshot::SnapshotData;
use super::state_machine::{Machine, StateMachine};
use super::types::{Command, RaftEntry};
use crate::record::{CommitBatch, CommitRecord, LogIdRecord};
use crate::store::Reader;
use crate::testing::{Bed, commit, fields, pairs};
use crate::types::Change;

fn open(bed: &Bed, group: u64) -> StateMachine {
    StateMachine::open(&bed.group(group), Machine::Partition, &bed.poison, &Arc::default()).unwrap()
}

async fn apply(machine: &mut StateMachine, index: u64, commits: Vec<CommitRecord>) {
    let command = Command::Commits(Arc::new(CommitBatch { commits, now_ms: 0 }));
    let entry =
        RaftEntry { log_id: log_id(LogIdRecord { term: 1, index }), payload: EntryPayload::Normal(command) };
    machine.apply(futures::stream::iter([Ok((entry, None))])).await.unwrap();
}

fn create(object: &str, value: &str) -> Vec<CommitRecord> {
    vec![commit(object, Tag::default(), Change::Merge, &[("x", Some(value))])]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installed_snapshot_replaces_everything_and_survives_a_crash() {
    let (source, target) = (Bed::new(), Bed::new());
    let mut leader = open(&source, 1);
    apply(&mut leader, 1, create("a", "1")).await;
    apply(&mut leader, 2, create("b", "2")).await;
    let built = leader.get_snapshot_builder().await.build_snapshot().await.unwrap();
    // the view is of the moment it was taken
    apply(&mut leader, 3, create("later", "3")).await;

    let mut follower = open(&target, 1);
    apply(&mut follower, 1, create("stray", "1")).await;
    let neighbour = open(&target, 2);
    drop(neighbour);
    follower.install_snapshot(&built.meta, built.snapshot).await.unwrap();
    let (applied, _) = follower.applied_state().await.unwrap();
    assert_eq!(applied.map(|applied| applied.index), Some(2));

    // durable is what the installation itself made so
    drop(follower);
    let target = target.crash();
    let reader = Reader::newest(target.group(1));
    assert_eq!(fields(&reader, "a"), pairs(&[("x", "1")]));
    assert_eq!(fields(&reader, "b"), pairs(&[("x", "2")]));
    for gone in ["stray", "later"] {
        assert_eq!(fields(&reader, gone), pairs(&[]), "{gone}");
    }
    let mut follower = open(&target, 1);
    assert_eq!(follower.applied_state().await.unwrap().0.map(|applied| applied.index), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_installation_leaves_nothing() {
    let (source, target) = (Bed::new(), Bed::new());
    let mut leader = open(&source, 1);
    apply(&mut leader, 1, create("a", "1")).await;
    let built = leader.get_snapshot_builder().await.build_snapshot().await.unwrap();

    let mut follower = open(&target, 1);
    apply(&mut follower, 1, create("mine", "1")).await;
    let group = target.group(1);
    // all was copied, then the power went: everything durable, but no flip
    let SnapshotData::Here(moment) = built.snapshot else { panic!("it is of this replica") };
    let to = group.next_space().unwrap();
    moment.copy_to(&target.store.state, to).unwrap();
    target.store.state.flush_through(target.store.state.sequence()).unwrap();
    drop((follower, group));
    let target = target.crash();
    let group = target.group(1);
    assert_eq!(group.keys(&to.class(1), 10).unwrap(), Vec::<Vec<u8>>::new());
    assert_ne!(group.next_space().unwrap(), group.next_space().unwrap(), "each is handed out once");
    let reader = Reader::newest(group);
    assert_eq!(fields(&reader, "mine"), pairs(&[("x", "1")]));
    assert_eq!(fields(&reader, "a"), pairs(&[]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offered_view_is_what_the_next_snapshot_names() {
    let bed = Bed::new();
    let group = bed.group(1);
    let mut machine = StateMachine::open(&group, Machine::Partition, &bed.poison, &Arc::default()).unwrap();
    apply(&mut machine, 1, create("a", "1")).await;
    let view = Arc::new(crate::store::OwnedSnapshot::take(&bed.store.state));
    bed.store.state.flush_through(bed.store.state.sequence()).unwrap();
    apply(&mut machine, 2, create("b", "1")).await;
    group.offer_durable(&view, group.space());
    let mut indexes = Vec::new();
    for _ in 0..2 {
        let built = machine.get_snapshot_builder().await.build_snapshot().await.unwrap();
        indexes.push(built.meta.last_log_id.map(|last| last.index));
    }
    // once what the checkpoint had made durable, then what the builder flushed itself
    assert_eq!(indexes, [Some(1), Some(2)]);
}

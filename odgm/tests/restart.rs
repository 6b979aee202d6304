//! A restart keeps everything, begins new terms, and is quick.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::Instant;

use common::hosts::PATIENCE;
use common::{commit, committed, fields, open, tag, write};
use oprc_mesh::wire::Tag;
use oprc_odgm::Change;
use tokio::time::timeout;

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_there_in_a_new_term_after_a_restart() {
    let temp = tempfile::tempdir().unwrap();
    let mut before: Vec<(Tag, u64)> = Vec::new();
    for round in 0..3_u64 {
        let began = Instant::now();
        let odgm = open(temp.path()).await;
        println!("opened in {:?}", began.elapsed());
        let mut leads = odgm.leadership();
        timeout(PATIENCE, leads.wait_for(|leads| leads.len() > 16)).await.unwrap().unwrap();
        let led: Vec<u64> = odgm.leadership().borrow().iter().map(|leads| leads.group).collect();
        assert_eq!(led, (0..=16).collect::<Vec<_>>());
        let mut now = Vec::new();
        for (at, partition) in odgm.partitions().into_iter().enumerate() {
            let term = partition.leadership().unwrap();
            let reader = partition.reader();
            if let Some((base, term_before)) = before.get(at) {
                assert_eq!(tag(&reader, "a"), *base);
                assert_eq!(fields(&reader, "a"), [("round".to_owned(), (round - 1).to_string())]);
                assert!(term > *term_before);
            }
            let writes = vec![write("round", Some(&round.to_string()))];
            let base = tag(&reader, "a");
            now.push((
                committed(&partition, commit(&partition, "a", base, Change::Merge, writes)).await,
                term,
            ));
            let status = partition.status();
            assert_eq!((status.leader, status.term), (odgm.node_id().0, term));
            assert!(status.applied > 0 && status.last >= status.applied);
        }
        before = now;
        odgm.shutdown().await;
    }
}

//! Commits of all partitions share fsyncs: there are far fewer of these than of those.

#![allow(clippy::unwrap_used)]

mod common;

use common::{increment, open};

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_commits_of_many_partitions_share_fsyncs() {
    const WRITERS: usize = 64;
    const EACH: u64 = 50;
    let temp = tempfile::tempdir().unwrap();
    let odgm = open(temp.path()).await;
    let before = odgm.log_stats();
    let writers = (0..WRITERS).map(|n| {
        let partitions = odgm.partitions();
        let partition = partitions[n % partitions.len()].clone();
        tokio::spawn(async move {
            for version in 1..=EACH {
                assert_eq!(increment(&partition, &format!("object{n}")).await.version, version);
            }
        })
    });
    for writer in futures::future::join_all(writers).await {
        writer.unwrap();
    }
    let after = odgm.log_stats();
    let (commits, fsyncs) = (WRITERS as u64 * EACH, after.fsyncs - before.fsyncs);
    println!("{commits} commits in {} entries and {fsyncs} fsyncs", after.entries - before.entries);
    assert!(fsyncs * 2 < commits, "{fsyncs} fsyncs for {commits} commits");
    odgm.shutdown().await;
}

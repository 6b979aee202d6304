//! How fast durable commits are. Not a test: run it with `--ignored --nocapture`.

#![allow(clippy::unwrap_used, clippy::cast_precision_loss)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::{commit, id, write};
use oprc_odgm::{Change, CommitReply, Odgm, OdgmConfig, Partition};

/// Counts one object up until told to stop.
async fn write_on(partition: Arc<Partition>, object: String, stop: Arc<AtomicBool>, count: Arc<AtomicU64>) {
    let mut base = partition.reader().head(1, &id(&object)).unwrap().map(|head| head.tag).unwrap_or_default();
    while !stop.load(Ordering::Relaxed) {
        let writes = vec![write("value", Some(&base.version.to_string()))];
        let commit = commit(&partition, &object, base, Change::Merge, writes);
        match partition.commit(commit).await.unwrap() {
            CommitReply::Committed(tag) => base = tag.unwrap_or_default(),
            other => panic!("{other:?}"),
        }
        count.fetch_add(1, Ordering::Relaxed);
    }
}

async fn measure(odgm: &Odgm, writers: usize, partitions: usize) {
    let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let all = odgm.partitions();
    let running: Vec<_> = (0..writers)
        .map(|n| {
            let partition = all[n % partitions].clone();
            tokio::spawn(write_on(partition, format!("object{n}"), stop.clone(), count.clone()))
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (began, commits, stats) = (Instant::now(), count.load(Ordering::Relaxed), odgm.log_stats());
    tokio::time::sleep(Duration::from_secs(2)).await;
    let commits = (count.load(Ordering::Relaxed) - commits) as f64;
    let (seconds, after) = (began.elapsed().as_secs_f64(), odgm.log_stats());
    stop.store(true, Ordering::Relaxed);
    futures::future::join_all(running).await;
    let (fsyncs, entries) = ((after.fsyncs - stats.fsyncs) as f64, (after.entries - stats.entries) as f64);
    println!(
        "{writers:4} writers, {partitions:2} partitions: {:8.0} commits/s, {:6.1} commits and {:5.1} entries per fsync, {:6.0} fsyncs/s",
        commits / seconds,
        commits / fsyncs,
        entries / fsyncs,
        fsyncs / seconds,
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn durable_commits_per_second() {
    // twice each: the machine is noisy
    for entries_in_flight in [1, 2, 4, 1, 2, 4] {
        let temp = tempfile::tempdir_in(".").unwrap();
        let odgm =
            Odgm::open(OdgmConfig { entries_in_flight, ..OdgmConfig::new(temp.path()) }).await.unwrap();
        println!("{entries_in_flight} entries in flight");
        for (writers, partitions) in [(1, 1), (16, 16), (64, 16), (64, 1), (256, 16)] {
            measure(&odgm, writers, partitions).await;
        }
        odgm.shutdown().await;
    }
}

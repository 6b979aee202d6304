//! One fsync for many, and none after a failure.

#![allow(clippy::unwrap_used)]

use std::io;
use std::sync::mpsc;

use super::*;
use crate::testing::Bed;

fn append(group: u64, index: u64) -> LogOp {
    LogOp::Append { group, entries: vec![(index, b"\x01\x00\0\0\0\0\0\0\0\x01".to_vec())] }
}

#[tokio::test]
async fn what_is_written_reads_back_by_group() {
    let bed = Bed::new();
    for (group, index) in [(1, 0), (1, 1), (2, 0)] {
        bed.writer.write(append(group, index)).await.unwrap();
    }
    bed.writer.write(LogOp::Truncate { group: 1, first: 1, last: 1 }).await.unwrap();
    let read = |group| bed.store.log.read(group, 0, 9, usize::MAX).unwrap().len();
    assert_eq!((read(1), read(2)), (1, 1));
    assert_eq!(bed.store.log.groups().unwrap(), [1, 2]);
    bed.writer.write(LogOp::Drop { group: 1 }).await.unwrap();
    assert_eq!((read(1), bed.store.log.groups().unwrap()), (0, vec![2]));
    assert_eq!(bed.writer.stats().entries, 3);
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_crash() {
    let bed = Bed::new();
    bed.writer.write(append(1, 0)).await.unwrap();
    let bed = bed.crash();
    assert_eq!(bed.store.log.read(1, 0, 9, usize::MAX).unwrap().len(), 1);
}

/// The thread is held in a completion while more is queued: all of that must share the next fsync.
#[test]
fn what_gathers_during_a_write_shares_the_next_fsync() {
    let bed = Bed::new();
    let (release, held) = mpsc::channel::<()>();
    let (entered, inside) = mpsc::channel();
    let wait_inside = move |_| {
        entered.send(()).unwrap();
        held.recv().unwrap();
    };
    bed.writer.submit(append(1, 0), Box::new(wait_inside));
    inside.recv().unwrap();
    let before = bed.writer.stats().fsyncs;
    let (done, told) = mpsc::channel();
    for group in 2..66 {
        let done = done.clone();
        bed.writer.submit(append(group, 0), Box::new(move |outcome| done.send(outcome.is_ok()).unwrap()));
    }
    release.send(()).unwrap();
    assert!((2..66).all(|_| told.recv().unwrap()));
    assert_eq!(bed.writer.stats().fsyncs, before + 1);
}

/// The disk works again after the one failure, so without the latch the later writes would succeed.
#[tokio::test]
async fn after_one_failed_write_nothing_is_written_any_more() {
    let bed = Bed::new();
    bed.writer.write(append(1, 0)).await.unwrap();
    bed.writer.fail_next(io::Error::from(io::ErrorKind::StorageFull));
    assert!(bed.writer.write(append(1, 1)).await.is_err());
    let mut poisoned = bed.poison.watch();
    let reason = poisoned.wait_for(Option::is_some).await.unwrap().clone().unwrap();
    for index in 2..5 {
        let error = bed.writer.write(append(1, index)).await.unwrap_err().to_string();
        assert!(error.contains(&reason), "{error} / {reason}");
    }
    assert_eq!(bed.store.log.read(1, 0, 9, usize::MAX).unwrap().len(), 1);
    // the state is not written either
    assert!(bed.store.state.write(WriteBatch::default()).is_err());
    assert!(bed.store.state.flush_through(u64::MAX).is_err());
}

#[tokio::test]
async fn a_closed_log_refuses() {
    let bed = Bed::new();
    bed.writer.stop();
    assert!(bed.writer.write(append(1, 0)).await.unwrap_err().to_string().contains("closed"));
}

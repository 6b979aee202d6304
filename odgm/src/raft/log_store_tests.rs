//! A log and a state that do not belong together are refused.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::record::LogIdRecord;
use crate::testing::Bed;

/// A log of entries `first..end`, purged up to `purged`.
async fn log(bed: &Bed, entries: std::ops::Range<u64>, purged: Option<u64>) -> LogStore {
    let encoded = entries.map(|index| (index, b"\x01\x00\0\0\0\0\0\0\0\x01".to_vec())).collect();
    bed.writer.write(LogOp::Append { group: 1, entries: encoded }).await.unwrap();
    if let Some(index) = purged {
        let upto = LogIdRecord { term: 1, index };
        let mark = PurgedRecord { format: FORMAT, upto }.encode_to_vec();
        bed.writer.write(LogOp::Purge { group: 1, first: 0, last: index, mark }).await.unwrap();
    }
    LogStore::open(&bed.store.log, &bed.writer, &bed.poison, 1).unwrap()
}

fn state(applied: Option<u64>, installed: bool) -> StateRecord {
    let applied = applied.map(|index| LogIdRecord { term: 1, index });
    StateRecord { format: FORMAT, applied, installed, ..StateRecord::default() }
}

#[tokio::test]
async fn what_belongs_together_is_taken() {
    let cases = [
        (0..0, None, None, false),
        (0..5, None, None, false),
        (0..5, None, Some(2), false),
        (0..5, None, Some(4), false),
        (0..5, Some(2), Some(2), false),
        (0..5, Some(2), Some(4), false),
        (0..5, Some(4), Some(4), false),
        // killed between a snapshot's installation and the purge of the log before it
        (0..5, None, Some(9), true),
        (0..0, Some(9), Some(9), true),
    ];
    for (entries, purged, applied, installed) in cases {
        let bed = Bed::new();
        let log = log(&bed, entries.clone(), purged).await;
        let checked = log.check(&state(applied, installed));
        assert!(checked.is_ok(), "{entries:?} {purged:?} {applied:?} {installed}: {checked:?}");
    }
}

#[tokio::test]
async fn what_does_not_is_refused() {
    let cases = [
        (0..5, None, Some(5), " is applied, but it ends with entry"),
        (0..0, None, Some(0), "it ends with no entry"),
        (0..5, Some(2), None, "no entry is applied, but the log is purged up to"),
        (0..5, Some(4), Some(3), "the log is purged up to"),
        (3..5, None, None, "it begins with entry 3, but entry 0 is to be applied next"),
        (3..5, None, Some(1), "it begins with entry 3, but entry 2 is to be applied next"),
    ];
    for (entries, purged, applied, told) in cases {
        let bed = Bed::new();
        let log = log(&bed, entries.clone(), purged).await;
        let error = log.check(&state(applied, false)).unwrap_err().to_string();
        assert!(
            error.contains("raft group 1") && error.contains(told),
            "{entries:?} {purged:?} {applied:?}: {error}"
        );
        assert!(error.contains("restore"), "{error}");
    }
}

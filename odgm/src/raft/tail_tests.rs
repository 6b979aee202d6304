//! The tail keeps what is not durable, bounds what is, and never shows what was truncated or purged.

use openraft::EntryPayload;

use super::codec::log_id;
use super::tail::Tail;
use super::types::RaftEntry;
use crate::record::LogIdRecord;

fn entry(index: u64) -> RaftEntry {
    RaftEntry { log_id: log_id(LogIdRecord { term: 1, index }), payload: EntryPayload::Blank }
}

fn indexes(tail: &Tail, from: u64, to: u64) -> Vec<u64> {
    tail.read(from..to, usize::MAX).iter().map(|entry| entry.log_id.index).collect()
}

#[test]
fn what_is_not_durable_stays_however_much_it_is() {
    let mut tail = Tail::default();
    (0..3_000).for_each(|index| tail.push(entry(index), 1_000));
    assert_eq!(tail.first(), Some(0));
    tail.set_durable(2_999);
    assert!(tail.first().is_some_and(|first| first > 2_000), "{:?}", tail.first());
    assert_eq!(indexes(&tail, 2_990, 2_993), [2_990, 2_991, 2_992]);
}

#[test]
fn truncated_and_purged_entries_are_gone() {
    let mut tail = Tail::default();
    (5..10).for_each(|index| tail.push(entry(index), 10));
    tail.truncate_after(Some(7));
    tail.purge(5);
    assert_eq!(indexes(&tail, 0, 100), [6, 7]);
    tail.truncate_after(None);
    assert_eq!((tail.first(), indexes(&tail, 0, 100)), (None, vec![]));
}

#[test]
fn a_read_is_bounded_but_gives_at_least_one() {
    let mut tail = Tail::default();
    (0..10).for_each(|index| tail.push(entry(index), 100));
    assert_eq!(tail.read(2..9, 250).len(), 2);
    assert_eq!(tail.read(2..9, 1).len(), 1);
    assert_eq!(tail.read(9..9, 1).len(), 0);
}

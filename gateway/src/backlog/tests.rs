#![allow(clippy::unwrap_used)]
use std::sync::atomic::Ordering;

use super::*;

const KIB: usize = 1024;

fn held(backlog: &Arc<Backlog>, bytes: usize) -> Waiting {
    backlog.hold(Bytes::from(vec![7; bytes]), Memory::Own).unwrap()
}

/// Lets time pass, and little more.
fn pass(all: &Untaken, ms: usize) {
    all.forward.fetch_add(ms, Ordering::Relaxed);
}

fn rest(waiting: &mut Waiting) -> Vec<Bytes> {
    std::iter::from_fn(|| waiting.next()).collect()
}

#[test]
fn an_answer_is_counted_until_its_last_byte_is_gone() {
    let all = Untaken::new(1_000 * KIB);
    let backlog = Backlog::new(&all);
    let mut waiting = held(&backlog, 100 * KIB);
    assert_eq!((waiting.left(), all.bytes()), (100 * KIB, 100 * KIB + OVERHEAD_BYTES));
    let mut pieces = rest(&mut waiting);
    assert_eq!(pieces.iter().map(Bytes::len).collect::<Vec<_>>(), [PIECE_BYTES, 100 * KIB - PIECE_BYTES]);
    drop(waiting);
    let last = pieces.pop().unwrap().slice(10..11);
    drop(pieces);
    assert!(!backlog.is_empty());
    assert_eq!(all.bytes(), 100 * KIB + OVERHEAD_BYTES, "all of it is still there");
    drop(last);
    assert!(backlog.is_empty());
    assert_eq!(all.bytes(), 0);
    // of what is somebody else's nothing counts but the trouble
    let shared = backlog.hold(Bytes::from(vec![7; 100 * KIB]), Memory::Shared).unwrap();
    assert_eq!(all.bytes(), OVERHEAD_BYTES);
    drop(shared);
    assert_eq!(all.bytes(), 0);
}

#[test]
fn there_is_a_bound_and_a_ceiling() {
    let all = Untaken::new(100 * KIB);
    let backlogs = [Backlog::new(&all), Backlog::new(&all)];
    let first = held(&backlogs[0], 100 * KIB - OVERHEAD_BYTES - 1);
    assert!(!all.is_full());
    let _shared = backlogs[1].hold(Bytes::new(), Memory::Shared).unwrap();
    assert!(all.is_full());
    // what was let in before may still wait
    let last = held(&backlogs[1], 200 * KIB - all.bytes() - OVERHEAD_BYTES);
    assert_eq!(all.bytes(), 200 * KIB);
    assert_eq!(backlogs[0].hold(Bytes::new(), Memory::Own).err(), Some(NoMemory));
    assert_eq!(all.bytes(), 200 * KIB);
    drop((first, last));
    assert!(!all.is_full() && backlogs[0].is_empty());
}

#[tokio::test]
async fn what_is_taken_too_slowly_is_given_up_and_nothing_else() {
    let all = Untaken::new(usize::MAX);
    let backlog = Backlog::new(&all);
    let (handle, _registration) = AbortHandle::new_pair();
    let of_a_stream = STREAM.sync_scope(handle.clone(), || held(&backlog, 10));
    let mut taken = held(&backlog, 100 * KIB);
    pass(&all, 20_000);
    backlog.look(100);
    assert!(!handle.is_aborted());
    drop(taken.next());
    pass(&all, 10_000);
    backlog.look(100);
    assert!(handle.is_aborted());
    let mut cut = Box::pin(backlog.cut.notified());
    assert!(futures::poll!(&mut cut).is_pending(), "the other one is taken");
    pass(&all, 30_000);
    backlog.look(100);
    assert!(futures::poll!(&mut cut).is_ready(), "and then no more");
    drop((of_a_stream, taken));
}

/// When memory is short what will be there for the longest goes, and no more than that.
#[test]
fn the_slowest_make_room() {
    let all = Untaken::new(1_000 * KIB);
    let answer = |kib: usize| {
        let (backlog, (handle, _)) = (Backlog::new(&all), AbortHandle::new_pair());
        let waiting = STREAM.sync_scope(handle.clone(), || held(&backlog, kib * KIB));
        (handle, waiting)
    };
    let mut moves = answer(190);
    let mut slow = answer(300);
    let (small, large) = (answer(160), answer(460));
    pass(&all, 1_000);
    let gone = |answers: &[&(AbortHandle, Waiting)]| {
        assert!(all.is_full());
        answers.iter().map(|(handle, _)| handle.is_aborted()).collect::<Vec<_>>()
    };
    assert_eq!(gone(&[&moves, &slow, &small, &large]), [false; 4], "it is too early to tell");
    drop((moves.1.next(), moves.1.next(), slow.1.next()));
    pass(&all, 2_000);
    // of those that are not taken at all the largest first, until half of the bound is left
    assert_eq!(gone(&[&moves, &slow, &small, &large]), [false, false, true, true]);
    pass(&all, 1_000);
    // these are not gone yet, and nothing goes in their place
    assert_eq!(gone(&[&moves, &slow]), [false, false]);
}

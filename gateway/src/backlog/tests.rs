#![allow(clippy::unwrap_used)]
use std::sync::atomic::Ordering;

use bytes::Buf as _;
use futures::future::Aborted;

use super::*;

const KIB: usize = 1024;

fn answer(bytes: usize) -> Bytes {
    Bytes::from(vec![7; bytes])
}

fn held(backlog: &Arc<Backlog>, bytes: usize) -> Piece {
    backlog.hold(answer(bytes), Memory::Own, None).unwrap()
}

/// Lets time pass, and little more.
fn pass(all: &Untaken, ms: usize) {
    all.forward.fetch_add(ms, Ordering::Relaxed);
}

/// The task of a stream: it holds a piece and does nothing, until it is ended.
struct Task(AbortHandle, futures::future::Abortable<std::future::Pending<Piece>>);

impl Task {
    fn is_over(&mut self) -> bool {
        let polled = futures::FutureExt::now_or_never(&mut self.1);
        matches!(polled, Some(Err(Aborted)))
    }
}

fn task() -> Task {
    let (handle, registration) = AbortHandle::new_pair();
    Task(handle, futures::future::Abortable::new(std::future::pending(), registration))
}

#[test]
fn an_answer_is_counted_until_its_last_byte_is_gone() {
    let all = Untaken::new(1_000 * KIB);
    let backlog = Backlog::new(&all);
    let mut first = held(&backlog, 100 * KIB);
    assert!(first.split_last().is_none(), "there is no stream");
    drop(first);
    assert_eq!(all.bytes(), 0);
    let mut first = held(&backlog, 100 * KIB);
    let last = STREAM.sync_scope(task().0, || first.split_last()).unwrap();
    assert_eq!((first.remaining(), last.remaining()), (100 * KIB - 1, 1));
    first.advance(60 * KIB);
    assert_eq!(first.chunk().len(), 40 * KIB - 1);
    drop(first);
    assert!(!backlog.is_empty());
    assert_eq!(all.bytes(), 100 * KIB + OVERHEAD_BYTES, "all of it is still there");
    drop(last);
    assert!(backlog.is_empty());
    assert_eq!(all.bytes(), 0);
}

#[test]
fn what_is_counted_elsewhere_is_not_counted_twice() {
    let all = Untaken::new(1_000 * KIB);
    let backlog = Backlog::new(&all);
    let shared = backlog.hold(answer(10), Memory::Shared, None).unwrap();
    assert!(!backlog.is_empty(), "it is watched");
    assert_eq!(all.bytes(), 0);
    drop(shared);
    assert!(backlog.is_empty());
}

/// Pieces of a stream that wait behind each other are one answer: it is taken, though the last of them is not.
#[test]
fn what_follows_belongs_to_the_answer_as_long_as_it_waits() {
    let all = Untaken::new(1_000 * KIB);
    let backlog = Backlog::new(&all);
    let mut first = held(&backlog, 100 * KIB);
    let way = first.way().unwrap().clone();
    let second = backlog.hold(answer(10), Memory::Own, Some(&way)).unwrap();
    assert_eq!(all.bytes(), 100 * KIB + 10 + OVERHEAD_BYTES + PIECE_OVERHEAD_BYTES);
    assert_eq!((backlog.answers.lock().len(), way.left()), (1, 100 * 1024 + 10));
    for _ in 0..4 {
        first.advance(10 * KIB);
        pass(&all, 30_000);
        backlog.look(0, 100);
    }
    assert_eq!(all.stuck.get(), 0);
    drop(first);
    assert_eq!((way.taken(), way.left()), (40 * 1024, 10));
    assert_eq!(all.bytes(), 10 + PIECE_OVERHEAD_BYTES, "each piece takes what it cost along");
    pass(&all, 30_000);
    backlog.look(0, 100);
    assert_eq!(all.stuck.get(), 1);
    drop(second);
    assert_eq!((backlog.is_empty(), all.bytes()), (true, 0));
    // what comes later is an answer by itself
    let third = backlog.hold(answer(10), Memory::Own, Some(&way)).unwrap();
    assert!(!Arc::ptr_eq(third.way().unwrap(), &way));
    assert_eq!(all.bytes(), 10 + PIECE_OVERHEAD_BYTES);
}

#[test]
fn there_is_a_bound_and_a_ceiling() {
    let all = Untaken::new(100 * KIB);
    let backlogs = [Backlog::new(&all), Backlog::new(&all)];
    let first = held(&backlogs[0], 100 * KIB - OVERHEAD_BYTES - 1);
    assert!(!all.is_full());
    let _more = held(&backlogs[1], 1);
    assert!(all.is_full() && !all.is_at_ceiling());
    // what was let in before may still wait
    let last = held(&backlogs[1], 200 * KIB - all.bytes() - OVERHEAD_BYTES);
    assert!(all.is_at_ceiling());
    assert_eq!(backlogs[0].hold(answer(SMALL_BYTES + 1), Memory::Own, None).err(), Some(NoMemory));
    assert_eq!((all.bytes(), all.dropped.get()), (200 * KIB, 1));
    // and what is small in any case: a refusal has to be told
    drop(held(&backlogs[0], SMALL_BYTES));
    drop((first, last));
    assert!(!all.is_full() && backlogs[0].is_empty());
}

#[tokio::test]
async fn what_is_taken_too_slowly_is_given_up_and_nothing_else() {
    let all = Untaken::new(usize::MAX);
    let backlog = Backlog::new(&all);
    let mut stream = task();
    let of_a_stream = STREAM.sync_scope(stream.0.clone(), || held(&backlog, 10));
    let mut taken = held(&backlog, 100 * KIB);
    pass(&all, 20_000);
    backlog.look(0, 100);
    assert!(!stream.is_over());
    taken.advance(3_000 + 100);
    pass(&all, 10_000);
    backlog.look(0, 100);
    assert!(stream.is_over());
    drop(of_a_stream);
    let mut cut = Box::pin(backlog.cut.notified());
    pass(&all, QUIET_MS as usize);
    backlog.look(0, 100);
    assert!(futures::poll!(&mut cut).is_pending(), "the other one is taken");
    pass(&all, 30_000);
    backlog.look(0, 100);
    assert!(futures::poll!(&mut cut).is_ready(), "and then no more");
    assert_eq!(all.stuck.get(), 2);
}

/// Once a stream's task has handed over all it had, ending it ends nothing.
#[tokio::test]
async fn what_does_not_go_by_itself_ends_with_its_connection() {
    // whether the connection writes something else, in each second, and after how many seconds it ends
    for (moves, ends_s) in [(false, 2), (true, 10)] {
        let all = Untaken::new(usize::MAX);
        let backlog = Backlog::new(&all);
        let _stays = STREAM.sync_scope(task().0, || held(&backlog, 10));
        pass(&all, 30_000);
        backlog.look(7, 100);
        backlog.look(7, 100);
        let mut cut = Box::pin(backlog.cut.notified());
        let mut ends = 0;
        while futures::poll!(&mut cut).is_pending() {
            ends += 1;
            assert!(ends < 60, "it stays");
            pass(&all, 1_000);
            backlog.look(if moves { 7 + ends } else { 7 }, 100);
        }
        assert_eq!(ends, ends_s);
    }
}

/// When memory is short what will be there for the longest goes, and no more than that.
#[test]
fn the_slowest_make_room() {
    let all = Untaken::new(1_000 * KIB);
    let answer = |kib: usize| {
        let (backlog, task) = (Backlog::new(&all), task());
        let piece = STREAM.sync_scope(task.0.clone(), || held(&backlog, kib * KIB));
        (task, piece)
    };
    let mut answers = [answer(190), answer(300), answer(160), answer(460)];
    let over = |answers: &mut [(Task, Piece); 4]| {
        assert!(all.is_full());
        answers.each_mut().map(|(task, _)| task.is_over())
    };
    pass(&all, 1_000);
    assert_eq!(over(&mut answers), [false; 4], "it is too early to tell");
    answers[0].1.advance(130 * KIB);
    answers[1].1.advance(60 * KIB);
    pass(&all, 2_000);
    // of those that are not taken at all the largest first, until half of the bound is left
    assert_eq!(over(&mut answers), [false, false, true, true]);
    pass(&all, 1_000);
    // these are not gone yet, and nothing goes in their place
    assert_eq!(over(&mut answers), [false, false, true, true]);
    assert_eq!(all.slow.get(), 2);
}

//! Who gets what, in which order, and what becomes of those that do not take it.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use oprc_mesh::events::Cursor;
use oprc_mesh::id::{ClassName, ObjectId};
use oprc_mesh::wire::{Emitted, Event, EventPage, FieldAction, FieldChange, ObjectAction, Tag};
use proptest::prelude::*;

use super::hub::{Filter, Hub, Scope};
use super::hubs::Hubs;
use super::queue::{Budget, QUEUE_BYTES_MAX, QUEUE_CHUNKS_MAX, Queue, Stream};
use super::text::End;

const CLASS: u64 = 7;

fn hub(budget: &Arc<Budget>) -> Hub {
    let hub = Hub::new(ClassName::parse("C").unwrap(), CLASS, vec![1, 2], budget.clone());
    hub.begin(1, 0);
    hub.begin(2, 0);
    hub
}

fn many() -> Arc<Budget> {
    Budget::new(usize::MAX)
}

fn event(seq: u64, object: &str, key: &str) -> Event {
    let changes = vec![FieldChange { key: key.into(), action: FieldAction::Update as i32 }];
    Event {
        seq,
        object: object.into(),
        tag: Tag { incarnation: 1, version: seq },
        action: ObjectAction::Update as i32,
        changes,
        ..Event::default()
    }
}

fn page(items: Vec<Event>) -> EventPage {
    let upto = items.last().map_or(0, |event| event.seq);
    EventPage { items, upto, ..EventPage::default() }
}

fn large(seq: u64, bytes: usize) -> EventPage {
    let emitted = vec![Emitted { topic: "t".into(), payload: Bytes::from(vec![b'x'; bytes]) }];
    page(vec![Event { emitted, ..event(seq, "a", "k") }])
}

fn of_prefix(prefix: &str) -> Filter {
    Filter { scope: Scope::Prefix(prefix.into()), keys: String::new() }
}

fn of_object(object: &str, group: u64) -> Filter {
    Filter { scope: Scope::Object(ObjectId::parse(object).unwrap(), group), keys: String::new() }
}

fn reader(hub: &Hub, filter: &Filter) -> (Arc<Queue>, Stream) {
    let queue = hub.queue(false);
    hub.join(filter, &queue).unwrap();
    (queue.clone(), Stream::new(queue, ()))
}

/// The pieces that wait; none at the end if the stream is over.
fn pieces(stream: &Stream) -> Vec<Option<Bytes>> {
    let mut taken = Vec::new();
    let cx = Context::from_waker(Waker::noop());
    while let Poll::Ready(piece) = stream.poll_next(&cx) {
        let over = piece.is_none();
        taken.push(piece);
        if over {
            break;
        }
    }
    taken
}

/// Name (or object and number) and id of each block that waits.
fn blocks(stream: &Stream) -> Vec<(String, String)> {
    let bytes: Vec<u8> = pieces(stream).into_iter().flatten().flatten().collect();
    let text = String::from_utf8(bytes).unwrap();
    let mut found = Vec::new();
    for block in text.split("\n\n").filter(|block| !block.is_empty()) {
        let line = |name| block.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        let data: serde_json::Value = serde_json::from_str(line("data: ")).unwrap_or_default();
        let what = match line("event: ") {
            "" if data.is_null() => "beat".to_owned(),
            "" => format!("{}{}", data["object"].as_str().unwrap(), data["version"]),
            name => format!("{name} {}", data["reason"].as_str().unwrap()),
        };
        found.push((what, line("id: ").to_owned()));
    }
    found
}

fn names(stream: &Stream) -> Vec<String> {
    blocks(stream).into_iter().map(|(name, _)| name).collect()
}

#[test]
fn each_reader_gets_what_it_wants_in_order() {
    let hub = hub(&many());
    let all = reader(&hub, &of_prefix(""));
    let some = reader(&hub, &of_prefix("a"));
    let one = reader(&hub, &of_object("a", 1));
    let keyed = reader(&hub, &Filter { keys: "x".into(), ..of_prefix("") });
    hub.deliver(1, &page(vec![event(1, "a", "k"), event(2, "ab", "x/1"), event(4, "b", "k")]));
    hub.deliver(2, &page(vec![event(1, "c", "k")]));
    let deleted = Event { action: ObjectAction::Delete as i32, changes: Vec::new(), ..event(5, "a", "k") };
    hub.deliver(1, &page(vec![deleted]));
    assert_eq!(names(&all.1), ["a1", "ab2", "b4", "c1", "a5"]);
    assert_eq!(names(&some.1), ["a1", "ab2", "a5"]);
    assert_eq!(names(&one.1), ["a1", "a5"]);
    assert_eq!(names(&keyed.1), ["ab2", "a5"], "a deletion takes every key");
    assert_eq!(names(&all.1), [""; 0]);
}

#[test]
fn what_is_encoded_once_is_shared_by_all() {
    let budget = many();
    let hub = hub(&budget);
    let readers: Vec<_> = (0..100).map(|_| reader(&hub, &of_prefix(""))).collect();
    hub.deliver(1, &large(1, 100_000));
    let held = budget.held();
    assert!((100_000..110_000).contains(&held), "{held} bytes for a hundred readers");
    let first = pieces(&readers[0].1).remove(0).unwrap();
    for (_, stream) in &readers[1..] {
        assert_eq!(pieces(stream)[0].as_ref().unwrap().as_ptr(), first.as_ptr());
    }
    assert_eq!(budget.held(), held, "one is on its way");
    drop(first);
    assert_eq!(budget.held(), 0);
}

#[test]
fn one_that_takes_nothing_is_cut_off_and_nobody_else() {
    let budget = many();
    let hub = hub(&budget);
    let (slow, quick) = (reader(&hub, &of_prefix("")), reader(&hub, &of_prefix("")));
    let in_use = Arc::new(());
    slow.1.keep(in_use.clone());
    quick.1.keep(in_use.clone());
    let mut got = 0;
    for seq in 1..=QUEUE_CHUNKS_MAX as u64 {
        hub.deliver(1, &page(vec![event(seq, "a", "k")]));
        got += names(&quick.1).len();
    }
    assert_eq!(Arc::strong_count(&in_use), 3, "as many as may wait");
    hub.deliver(1, &page(vec![event(5_000, "a", "k")]));
    assert_eq!(Arc::strong_count(&in_use), 2, "one past it, and its connection counts as idle");
    assert_eq!((got, names(&quick.1)), (QUEUE_CHUNKS_MAX, vec!["a5000".to_owned()]));
    hub.deliver(1, &page(vec![event(5_001, "a", "k")]));
    assert_eq!(names(&slow.1), ["end slow-reader"]);
    assert_eq!(pieces(&slow.1), [None]);
    assert_eq!(names(&quick.1), ["a5001"]);
    assert_eq!(budget.held(), 0);
}

#[test]
fn bytes_are_bounded_too_and_one_piece_alone_may_be_larger() {
    let hub = hub(&many());
    let slow = reader(&hub, &of_prefix(""));
    hub.deliver(1, &large(1, 2 * QUEUE_BYTES_MAX));
    assert_eq!(names(&slow.1), ["a1"]);
    hub.deliver(1, &large(2, QUEUE_BYTES_MAX / 2));
    hub.deliver(1, &large(3, QUEUE_BYTES_MAX / 2 - 4_096));
    hub.deliver(1, &large(4, 8_192));
    assert_eq!(names(&slow.1), ["end slow-reader"]);
}

#[test]
fn past_the_memory_of_all_only_those_with_something_waiting_are_cut_off() {
    let budget = Budget::new(10_000);
    let hub = hub(&budget);
    let (slow, quick) = (reader(&hub, &of_object("a", 1)), reader(&hub, &of_object("a", 1)));
    hub.deliver(1, &large(1, 20_000));
    assert_eq!(names(&quick.1), ["a1"]);
    hub.deliver(1, &large(2, 100));
    assert_eq!(names(&quick.1), ["a2"]);
    assert_eq!(names(&slow.1), ["end slow-reader"]);
}

#[test]
fn what_comes_live_waits_for_a_reader_that_is_behind() {
    let hub = hub(&many());
    let queue = hub.queue(true);
    let stream = Stream::new(queue.clone(), ());
    queue.push_past(super::opening("X"));
    hub.join(&of_prefix(""), &queue).unwrap();
    hub.deliver(1, &page(vec![event(3, "a", "k")]));
    hub.beat();
    let mut past = Vec::new();
    super::event(&mut past, "Y", br#","object":"a","version":2}"#);
    queue.push_past(past);
    assert_eq!(names(&stream), ["beat", "a2"]);
    queue.go_live();
    hub.deliver(1, &page(vec![event(4, "a", "k")]));
    assert_eq!(names(&stream), ["a3", "a4"]);
}

#[test]
fn beats_move_the_place_and_do_not_pile_up() {
    let hub = hub(&many());
    let (all, one) = (reader(&hub, &of_prefix("")), reader(&hub, &of_object("a", 1)));
    hub.deliver(1, &page(vec![event(9, "b", "k")]));
    names(&all.1);
    for _ in 0..3 {
        hub.beat();
    }
    assert_eq!(blocks(&one.1), [("beat".to_owned(), Cursor::at(CLASS, 1, 9).id())]);
    let place = Cursor { class: CLASS, positions: BTreeMap::from([(1, 9), (2, 0)]) };
    assert_eq!(blocks(&all.1), [("beat".to_owned(), place.id())]);
}

#[test]
fn a_gap_is_told_to_those_whom_it_concerns() {
    let hub = hub(&many());
    let (all, one, other) =
        (reader(&hub, &of_prefix("")), reader(&hub, &of_object("a", 1)), reader(&hub, &of_object("b", 2)));
    hub.deliver(1, &EventPage { gap: Some(50), ..page(vec![event(51, "a", "k")]) });
    assert_eq!(blocks(&one.1)[0], ("gap trimmed".to_owned(), Cursor::at(CLASS, 1, 50).id()));
    assert_eq!(names(&all.1), ["gap trimmed", "a51"]);
    assert_eq!(names(&other.1), [""; 0]);
}

#[test]
fn an_end_comes_after_all_that_waits_and_nobody_joins_after_it() {
    let hub = hub(&many());
    let (queue, stream) = reader(&hub, &of_prefix(""));
    hub.deliver(1, &page(vec![event(1, "a", "k")]));
    hub.end(End::Removed);
    hub.deliver(1, &page(vec![event(2, "a", "k")]));
    hub.end(End::Stopping);
    queue.cut();
    assert_eq!(names(&stream), ["a1", "end class-removed"]);
    assert_eq!(pieces(&stream), [None]);
    assert_eq!(hub.join(&of_prefix(""), &hub.queue(false)), Err(End::Removed));
    assert!(!hub.is_of(CLASS, &[1, 2]));
}

#[test]
fn who_left_gets_nothing_and_leaves_nothing() {
    let budget = many();
    let hub = hub(&budget);
    for filter in [of_prefix(""), of_object("a", 1)] {
        let queue = hub.queue(false);
        let (number, _) = hub.join(&filter, &queue).unwrap();
        hub.leave(&filter, number);
        hub.deliver(1, &page(vec![event(1, "a", "k")]));
        assert_eq!(names(&Stream::new(queue, ())), [""; 0]);
    }
    assert_eq!(budget.held(), 0);
}

#[test]
fn hubs_live_for_as_long_as_they_are_held_and_readers_are_counted() {
    let hubs = Hubs::new(2);
    let class = ClassName::parse("C").unwrap();
    let (first, is_new) = hubs.hold(&class, 1, &[1]);
    let (second, is_new_again) = hubs.hold(&class, 1, &[1]);
    assert!(is_new && !is_new_again && Arc::ptr_eq(first.hub(), second.hub()));
    let (other, is_new) = hubs.hold(&class, 2, &[1]);
    assert!(is_new && !Arc::ptr_eq(first.hub(), other.hub()), "another class of that name");
    let hub = first.hub().clone();
    drop(first);
    assert!(!hub.stop.is_cancelled());
    drop(second);
    assert!(hub.stop.is_cancelled() && !other.hub().stop.is_cancelled());
    assert!(!hubs.hold(&class, 2, &[1]).1, "the newer one stays");
    let seats = (hubs.seat(), hubs.seat());
    assert!(seats.0.is_some() && seats.1.is_some() && hubs.seat().is_none());
    assert_eq!((hubs.readers(), hubs.readers_shed()), (2, 1));
    drop(seats.0);
    assert!(hubs.seat().is_some());
}

proptest! {
    /// Whatever comes in whichever pages: a reader of several partitions that goes on after any event it got gets just what it
    /// had not got, because the id says how far each partition was.
    #[test]
    fn every_id_is_a_place_to_go_on_from(
        told in proptest::collection::vec((1_u64..3, 1_usize..4), 1..12),
        prefix in "[ab]{0,1}",
    ) {
        let hub = hub(&many());
        let (_, stream) = reader(&hub, &of_prefix(&prefix));
        let mut next = BTreeMap::from([(1, 0), (2, 0)]);
        let mut all = Vec::new();
        for (group, count) in told {
            let items: Vec<Event> = (0..count).map(|n| {
                let seq = next.entry(group).or_default();
                *seq += 1;
                let object = format!("{}{group}", ["a", "b"][(*seq as usize + n) % 2]);
                all.push((group, *seq, object.clone()));
                event(*seq, &object, "k")
            }).collect();
            hub.deliver(group, &page(items));
        }
        let wanted: Vec<_> = all.iter().filter(|(.., object)| object.starts_with(&prefix)).collect();
        let got = blocks(&stream);
        prop_assert_eq!(got.len(), wanted.len());
        for (at, ((name, id), (_, seq, object))) in got.iter().zip(&wanted).enumerate() {
            prop_assert_eq!(name, &format!("{object}{seq}"));
            let place = Cursor::parse(id).unwrap();
            let rest: Vec<_> = wanted.iter().filter(|(group, seq, _)| *seq > place.positions[group]).collect();
            prop_assert_eq!(rest, wanted[at + 1..].iter().collect::<Vec<_>>());
        }
    }
}

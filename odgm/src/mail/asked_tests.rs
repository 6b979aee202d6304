//! Asynchronous calls, on a map in place of the database.

#![allow(clippy::unwrap_used)]

use oprc_mesh::outcome::{Code, Problem};
use prost::Message as _;

use crate::mail::tests::{Boxes, settle};
use crate::mail::{
    Ask, Asked, AskedRecord, Asking, Below, DeadAction, DeadKey, DeadStep, MailReply, MailStep, Message,
    ReadyKey, Settle, Verdict, asked,
};

const CALLS_MAX: u64 = 3;

fn call(object: &str, key: &str, payload: &'static [u8]) -> Message {
    Message {
        class: "R".into(),
        object: object.into(),
        // as the host does, so that functions run side by side
        from_object: if object.is_empty() { key.into() } else { String::new() },
        method: "m".into(),
        payload: payload.into(),
        asked: Some(Asked {
            class: 7,
            invocation: key.into(),
            fingerprint: payload.into(),
            ..Asked::default()
        }),
        ..Message::default()
    }
}

fn ask(boxes: &mut Boxes, message: Message) -> Asking {
    match boxes.step(1, MailStep::Ask(Ask { message, calls_max: CALLS_MAX, bytes_max: 4_096 })) {
        MailReply::Asked(asking) => asking,
        other => panic!("{other:?}"),
    }
}

fn lies(boxes: &Boxes, object: &str, key: &str) -> Option<AskedRecord> {
    boxes.get(&asked(7, object, key)).unwrap().map(|record| AskedRecord::decode(&*record).unwrap())
}

fn first(boxes: &Boxes) -> ReadyKey {
    boxes.ready(u64::MAX)[0].0
}

fn decide(boxes: &mut Boxes, settle: &Settle) {
    boxes.entry(2, |desk| desk.settle(settle).unwrap());
}

fn dead(key: ReadyKey) -> Settle {
    Settle { problem: Some(Problem::new(Code::Trap, "it broke")), ..settle(key, Verdict::Dead) }
}

#[test]
fn a_call_is_taken_in_once() {
    let mut boxes = Boxes::new(1);
    assert_eq!(ask(&mut boxes, call("r", "k", b"1")), Asking::Taken);
    assert_eq!(ask(&mut boxes, call("r", "k", b"1")), Asking::Same);
    assert_eq!(ask(&mut boxes, call("r", "k", b"2")), Asking::Other);
    assert_eq!(ask(&mut boxes, call("q", "k", b"2")), Asking::Taken, "an id is of one object");
    assert_eq!(boxes.ready(u64::MAX).len(), 2);
    for _ in 0..2 {
        let key = first(&boxes);
        decide(&mut boxes, &settle(key, Verdict::Consumed));
    }
    assert!(lies(&boxes, "r", "k").is_none());
    assert_eq!(boxes.left(), 0, "nothing stays of what was decided");
}

#[test]
fn calls_of_an_object_run_in_order_and_those_of_functions_side_by_side() {
    let mut boxes = Boxes::new(1);
    for key in ["a", "b"] {
        assert_eq!(ask(&mut boxes, call("r", key, b"")), Asking::Taken);
        assert_eq!(ask(&mut boxes, call("", key, b"")), Asking::Taken);
    }
    assert_eq!(boxes.ready(u64::MAX).len(), 3);
}

#[test]
fn as_many_wait_for_an_object_as_may_and_places_come_back() {
    let mut boxes = Boxes::new(1);
    for key in ["a", "b", "c"] {
        assert_eq!(ask(&mut boxes, call("r", key, b"")), Asking::Taken);
    }
    assert_eq!(ask(&mut boxes, call("r", "d", b"")), Asking::Full);
    assert_eq!(ask(&mut boxes, call("r", "a", b"")), Asking::Same, "it has its place");
    assert_eq!(ask(&mut boxes, call("q", "d", b"")), Asking::Taken, "another object's");
    let key = first(&boxes);
    // one that is tried again keeps its place
    decide(&mut boxes, &Settle { at_ms: 1, ..settle(key, Verdict::Retry) });
    assert_eq!(ask(&mut boxes, call("r", "d", b"")), Asking::Full);
    let key = boxes.ready(u64::MAX).iter().map(|(key, ..)| *key).max().unwrap();
    decide(&mut boxes, &settle(key, Verdict::Consumed));
    assert_eq!(ask(&mut boxes, call("r", "d", b"")), Asking::Taken);
}

#[test]
fn what_waits_is_bounded_by_its_size_too_but_one_always_may() {
    static LARGE: [u8; 5_000] = [0; 5_000];
    let mut boxes = Boxes::new(1);
    assert_eq!(ask(&mut boxes, call("r", "a", &LARGE)), Asking::Taken);
    assert_eq!(ask(&mut boxes, call("r", "b", b"")), Asking::Full);
    let key = first(&boxes);
    decide(&mut boxes, &settle(key, Verdict::Consumed));
    assert_eq!(ask(&mut boxes, call("r", "b", b"")), Asking::Taken);
}

#[test]
fn a_dead_call_is_found_until_it_is_forgotten() {
    let mut boxes = Boxes::new(1);
    ask(&mut boxes, call("r", "a", b"1"));
    ask(&mut boxes, call("r", "b", b"1"));
    let key = first(&boxes);
    decide(&mut boxes, &dead(key));
    let letter = lies(&boxes, "r", "a").unwrap().dead.unwrap();
    assert_eq!(ask(&mut boxes, call("r", "a", b"1")), Asking::Same, "it is no new call");
    assert!(lies(&boxes, "r", "b").unwrap().dead.is_none());
    let change = |boxes: &mut Boxes, letter: DeadKey, action: DeadAction| {
        let step = DeadStep { class: "R".into(), letters: vec![letter], action: action as i32 };
        boxes.step(3, MailStep::Dead(step))
    };
    assert_eq!(change(&mut boxes, letter, DeadAction::Retry), MailReply::Done(1));
    assert!(lies(&boxes, "r", "a").unwrap().dead.is_none(), "it waits again");
    for _ in 0..2 {
        let key = first(&boxes);
        decide(&mut boxes, &dead(key));
    }
    for key in ["a", "b"] {
        let letter = lies(&boxes, "r", key).unwrap().dead.unwrap();
        assert_eq!(change(&mut boxes, letter, DeadAction::Purge), MailReply::Done(1));
        assert!(lies(&boxes, "r", key).is_none());
    }
    assert_eq!(boxes.left(), 0);
}

#[test]
fn one_that_belongs_elsewhere_is_found_there() {
    let mut boxes = Boxes::new(1);
    ask(&mut boxes, call("r", "a", b"1"));
    let key = first(&boxes);
    decide(&mut boxes, &Settle { to_group: 2, ..settle(key, Verdict::Forward) });
    assert!(lies(&boxes, "r", "a").is_none());
    let messages = boxes.outbox(2, 1, 9);
    let mut there = Boxes::new(2);
    there.step(1, MailStep::Take(super::super::Take { from_group: 1, first: 1, messages }));
    assert!(lies(&there, "r", "a").is_some());
}

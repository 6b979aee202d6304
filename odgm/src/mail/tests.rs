//! What each step does to the boxes, on a map in place of the database.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use oprc_mesh::outcome::{Code, Problem};
use prost::Message as _;

use super::*;
use crate::error::OdgmError;

/// A partition's boxes and the entries that it has applied.
#[derive(Default, Clone)]
pub(super) struct Boxes {
    stored: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(super) group: u64,
    pub(super) index: u64,
}

impl Below for Boxes {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, OdgmError> {
        Ok(self.stored.get(key).cloned())
    }

    fn scan(&self, from: &[u8], within: &[u8], limit: usize) -> Result<Records, OdgmError> {
        let rest = self.stored.range(from.to_vec()..).take_while(|(key, _)| key.starts_with(within));
        Ok(rest.take(limit).map(|(key, value)| (key.clone(), value.clone())).collect())
    }
}

impl Boxes {
    pub(super) fn new(group: u64) -> Self {
        Self { group, ..Self::default() }
    }

    /// Applies one entry at `now_ms`.
    pub(super) fn entry<T>(&mut self, now_ms: u64, work: impl FnOnce(&mut Desk<'_>) -> T) -> T {
        self.index += 1;
        let mut desk = Desk::new(&*self, self.group, self.index, now_ms);
        let done = work(&mut desk);
        let (changes, _) = desk.finish();
        for (key, value) in changes {
            match value {
                Some(value) => self.stored.insert(key, value),
                None => self.stored.remove(&key),
            };
        }
        done
    }

    pub(super) fn send(&mut self, now_ms: u64, outgoing: &Outgoing) {
        self.entry(now_ms, |desk| desk.send(1, outgoing).unwrap());
    }

    pub(super) fn step(&mut self, now_ms: u64, step: MailStep) -> MailReply {
        let command = MailCommand { term: 1, now_ms, step: Some(step) };
        self.entry(now_ms, |desk| desk.step(&command, 1).unwrap())
    }

    pub(super) fn tick(&mut self, now_ms: u64, limit: u32) -> MailReply {
        self.step(now_ms, MailStep::Tick(Tick { from_ms: 0, limit }))
    }

    /// What may be run at `now_ms`, as (key, payload, attempts).
    pub(super) fn ready(&self, now_ms: u64) -> Vec<(ReadyKey, String, u32)> {
        let found = self.scan(&readies(), &readies(), usize::MAX).unwrap();
        let read = |(key, value): (Vec<u8>, Vec<u8>)| {
            let key = parse_ready(&key).unwrap();
            let record = ReadyRecord::decode(&*value).unwrap();
            let message = Message::decode(&*self.stored[&in_lane(&record.lane, record.number)]).unwrap();
            (key, text(&message), record.attempts)
        };
        found.into_iter().map(read).filter(|(key, ..)| key.at_ms <= now_ms).collect()
    }

    /// How often those that wait to be run were dead letters.
    fn revived(&self) -> Vec<u32> {
        let read = |(_, value): (Vec<u8>, Vec<u8>)| {
            let record = ReadyRecord::decode(&*value).unwrap();
            Message::decode(&*self.stored[&in_lane(&record.lane, record.number)]).unwrap().revived
        };
        self.scan(&readies(), &readies(), usize::MAX).unwrap().into_iter().map(read).collect()
    }

    /// Settles the first that may be run, and gives what it said.
    fn run_first(&mut self, now_ms: u64) -> Option<String> {
        let (key, said, _) = self.ready(now_ms).into_iter().next()?;
        self.entry(now_ms, |desk| desk.settle(&settle(key, Verdict::Consumed)).unwrap());
        Some(said)
    }

    fn run_all(&mut self, now_ms: u64) -> Vec<String> {
        std::iter::from_fn(|| self.run_first(now_ms)).collect()
    }

    /// The outbox for `to` from `first` on.
    pub(super) fn outbox(&self, to: u64, first: u64, limit: usize) -> Vec<Message> {
        let found = self.scan(&outbox(to, first), &outbox_for(to), limit).unwrap();
        found.into_iter().map(|(_, value)| Message::decode(&*value).unwrap()).collect()
    }

    fn dead(&self, class: &str) -> Vec<(DeadKey, DeadRecord)> {
        let within = dead_letters_of(class);
        let found = self.scan(&within, &within, usize::MAX).unwrap();
        let read = |(key, value): (Vec<u8>, Vec<u8>)| {
            (parse_dead(&key).unwrap(), DeadRecord::decode(&*value).unwrap())
        };
        found.into_iter().map(read).collect()
    }

    /// Records but for clock and counters that stay for ever.
    pub(super) fn left(&self) -> usize {
        let stays = |key: &Vec<u8>| *key == clock() || key[0] == 0x0a;
        self.stored.keys().filter(|key| !stays(key)).count()
    }
}

pub(super) fn text(message: &Message) -> String {
    String::from_utf8(message.payload.to_vec()).unwrap()
}

pub(super) fn outgoing(from: &str, to: &str, to_group: u64, said: &str) -> Outgoing {
    let message = Message {
        from_class: "S".into(),
        from_object: from.into(),
        class: "R".into(),
        object: to.into(),
        method: "m".into(),
        payload: said.to_owned().into(),
        ..Message::default()
    };
    Outgoing { message, to_group, ..Outgoing::default() }
}

fn at(due_ms: u64, outgoing: Outgoing) -> Outgoing {
    Outgoing { due_ms, ..outgoing }
}

fn named(key: &str, outgoing: Outgoing) -> Outgoing {
    Outgoing { key: Some(key.into()), ..outgoing }
}

pub(super) fn settle(ready: ReadyKey, verdict: Verdict) -> Settle {
    Settle { ready, verdict: verdict as i32, ..Settle::default() }
}

fn take(boxes: &mut Boxes, first: u64, said: &[&str]) -> MailReply {
    let messages = said.iter().map(|said| outgoing("s", "r", 1, said).message).collect();
    boxes.step(1, MailStep::Take(Take { from_group: 9, first, messages }))
}

#[test]
fn what_follows_on_the_mark_is_taken_and_nothing_else() {
    let mut boxes = Boxes::new(1);
    assert_eq!(take(&mut boxes, 2, &["b"]), MailReply::Taken(0), "the first one is missing");
    assert_eq!(take(&mut boxes, 1, &["a", "b"]), MailReply::Taken(2));
    assert_eq!(take(&mut boxes, 1, &["a", "b"]), MailReply::Taken(2), "again");
    assert_eq!(take(&mut boxes, 2, &["b", "c"]), MailReply::Taken(3), "overlapping");
    assert_eq!(take(&mut boxes, 5, &["e"]), MailReply::Taken(3), "a gap");
    assert_eq!(boxes.run_all(1), ["a", "b", "c"]);
    assert_eq!(take(&mut boxes, 1, &["a", "b", "c"]), MailReply::Taken(3), "the mark stays");
    assert_eq!((boxes.run_all(1), boxes.left()), (vec![], 0));
}

#[test]
fn a_step_of_another_term_does_nothing() {
    let mut boxes = Boxes::new(1);
    boxes.send(1, &outgoing("s", "r", 2, "a"));
    let trim = MailStep::Trim(Trim { to_group: 2, upto: 1 });
    let command = MailCommand { term: 1, now_ms: 99, step: Some(trim) };
    assert_eq!(boxes.entry(1, |desk| desk.step(&command, 2).unwrap()), MailReply::Stale);
    assert_eq!(boxes.outbox(2, 1, 9).len(), 1);
}

#[test]
fn the_outbox_counts_for_each_group_and_is_trimmed_once() {
    let mut boxes = Boxes::new(1);
    for (to, said) in [(2, "a"), (3, "x"), (2, "b"), (2, "c")] {
        boxes.send(1, &outgoing("s", "r", to, said));
    }
    let said = |boxes: &Boxes, to, first| boxes.outbox(to, first, 9).iter().map(text).collect::<Vec<_>>();
    assert_eq!(
        (said(&boxes, 2, 1), said(&boxes, 3, 1)),
        (vec!["a".into(), "b".into(), "c".into()], vec!["x".into()])
    );
    let trim = |boxes: &mut Boxes, upto| boxes.step(1, MailStep::Trim(Trim { to_group: 2, upto }));
    assert_eq!(trim(&mut boxes, 2), MailReply::Done(2));
    assert_eq!(trim(&mut boxes, 1), MailReply::Done(0), "an old one");
    assert_eq!(said(&boxes, 2, 1), ["c"]);
    assert_eq!(trim(&mut boxes, 99), MailReply::Done(1), "no further than it is filled");
    boxes.send(1, &outgoing("s", "r", 2, "d"));
    assert_eq!(said(&boxes, 2, 4), ["d"], "numbers are never used again");
}

#[test]
fn every_message_has_a_name_of_its_own() {
    let mut boxes = Boxes::new(0xa);
    boxes.entry(7, |desk| {
        desk.send(1, &outgoing("s", "r", 2, "a")).unwrap();
        desk.send(1, &outgoing("s", "r", 2, "b")).unwrap();
    });
    let ids: Vec<_> =
        boxes.outbox(2, 1, 9).into_iter().map(|message| (message.id, message.sent_ms)).collect();
    assert_eq!(ids, [("ma.1.0".into(), 7), ("ma.1.1".into(), 7)]);
}

#[test]
fn a_pair_keeps_its_order_and_holds_up_no_other() {
    let mut boxes = Boxes::new(1);
    for (from, to, said) in [("s", "r", "1"), ("s", "r", "2"), ("t", "r", "x"), ("s", "q", "y")] {
        boxes.send(1, &outgoing(from, to, 1, said));
    }
    let ready: Vec<_> = boxes.ready(1).into_iter().map(|(_, said, _)| said).collect();
    assert_eq!(ready, ["1", "x", "y"]);
    // the first of the lane fails: the others go on, and it comes back with its attempts
    let (first, ..) = boxes.ready(1)[0];
    let retry = Settle { at_ms: 50, ..settle(first, Verdict::Retry) };
    boxes.entry(2, |desk| desk.settle(&retry).unwrap());
    assert_eq!(boxes.run_all(49), ["x", "y"]);
    assert_eq!(
        boxes.ready(50).iter().map(|(_, said, n)| (said.as_str(), *n)).collect::<Vec<_>>(),
        [("1", 1)]
    );
    assert!(!boxes.entry(3, |desk| desk.is_ready(first).unwrap()), "whoever settles it first decides");
    boxes.entry(3, |desk| desk.settle(&settle(first, Verdict::Consumed)).unwrap());
    assert_eq!(boxes.run_all(50), ["1", "2"]);
    assert_eq!(boxes.left(), 0);
}

#[test]
fn what_cannot_be_tried_is_no_failure() {
    let mut boxes = Boxes::new(1);
    boxes.send(1, &outgoing("s", "r", 1, "1"));
    let (key, ..) = boxes.ready(1)[0];
    boxes.entry(1, |desk| desk.settle(&Settle { at_ms: 9, ..settle(key, Verdict::Postpone) }).unwrap());
    assert!(boxes.ready(8).is_empty());
    assert_eq!(boxes.ready(9)[0].2, 0);
}

#[test]
fn timers_go_off_in_order_and_not_before_their_time() {
    let mut boxes = Boxes::new(1);
    for (due, said) in [(30, "c"), (10, "a"), (20, "b1"), (20, "b2"), (900, "late")] {
        boxes.send(1, &at(due, outgoing("s", "r", 1, said)));
    }
    assert_eq!(boxes.tick(9, 99), MailReply::Done(0));
    assert_eq!(boxes.tick(25, 2), MailReply::Done(2), "no more than asked for");
    assert_eq!(boxes.tick(25, 99), MailReply::Done(1));
    // sent at once, and yet after what was due before and still waits
    boxes.send(40, &outgoing("s", "r", 1, "now"));
    boxes.send(40, &outgoing("s", "q", 1, "other pair"));
    assert_eq!(boxes.tick(39, 99), MailReply::Done(2), "the clock never goes back");
    assert_eq!(boxes.run_all(99), ["a", "other pair", "b1", "b2", "c", "now"]);
    assert_eq!(boxes.tick(900, 99), MailReply::Done(1));
    assert_eq!((boxes.run_all(900), boxes.left()), (vec!["late".to_owned()], 0));
}

#[test]
fn a_named_timer_is_replaced_and_cancelled_by_its_owner_only() {
    let mut boxes = Boxes::new(1);
    boxes.send(1, &named("k", at(10, outgoing("s", "r", 1, "old"))));
    boxes.send(1, &named("k", at(10, outgoing("t", "r", 1, "of another"))));
    boxes.send(2, &named("k", at(20, outgoing("s", "r", 1, "new"))));
    assert!(!boxes.entry(3, |desk| desk.cancel(2, "s", "k").unwrap()), "another class");
    assert!(!boxes.entry(3, |desk| desk.cancel(1, "s", "other").unwrap()));
    boxes.tick(99, 99);
    assert_eq!(boxes.run_all(99), ["of another", "new"]);
    assert!(!boxes.entry(99, |desk| desk.cancel(1, "s", "k").unwrap()), "it has gone off");
    boxes.send(100, &named("k", at(200, outgoing("s", "r", 1, "never"))));
    assert!(boxes.entry(101, |desk| desk.cancel(1, "s", "k").unwrap()));
    assert!(!boxes.entry(102, |desk| desk.cancel(1, "s", "k").unwrap()));
    assert_eq!((boxes.tick(999, 99), boxes.left()), (MailReply::Done(0), 0));
}

#[test]
fn dead_letters_are_kept_and_tried_again_or_forgotten() {
    let mut boxes = Boxes::new(1);
    for said in ["1", "2", "3"] {
        boxes.send(1, &outgoing("s", "r", 1, said));
    }
    for _ in 0..2 {
        let (key, ..) = boxes.ready(5)[0];
        let problem = Some(Problem::new(Code::Trap, "it broke"));
        boxes.entry(5, |desk| desk.settle(&Settle { problem, ..settle(key, Verdict::Dead) }).unwrap());
    }
    assert_eq!(boxes.run_all(5), ["3"], "the pair goes on");
    let dead = boxes.dead("R");
    let told: Vec<_> =
        dead.iter().map(|(_, dead)| (text(&dead.message), dead.attempts, dead.dead_ms)).collect();
    assert_eq!(told, [("1".into(), 1, 5), ("2".into(), 1, 5)]);
    assert_eq!(dead[0].1.problem.kind(), Code::Trap);
    let change = |boxes: &mut Boxes, key, action: DeadAction| {
        let step = DeadStep { class: "R".into(), letters: vec![key], action: action as i32 };
        boxes.step(6, MailStep::Dead(step))
    };
    assert_eq!(change(&mut boxes, dead[0].0, DeadAction::Retry), MailReply::Done(1));
    assert_eq!(change(&mut boxes, dead[0].0, DeadAction::Retry), MailReply::Done(0), "it is there no more");
    assert_eq!(change(&mut boxes, dead[1].0, DeadAction::Purge), MailReply::Done(1));
    assert_eq!(boxes.revived(), [1], "what it calls is called anew");
    assert_eq!((boxes.run_all(6), boxes.left()), (vec!["1".to_owned()], 0));
}

#[test]
fn what_belongs_elsewhere_is_sent_on() {
    let mut boxes = Boxes::new(1);
    boxes.send(1, &outgoing("s", "r", 1, "1"));
    let (key, ..) = boxes.ready(1)[0];
    boxes.entry(1, |desk| desk.settle(&Settle { to_group: 7, ..settle(key, Verdict::Forward) }).unwrap());
    assert_eq!(boxes.outbox(7, 1, 9).iter().map(text).collect::<Vec<_>>(), ["1"]);
    // and what is for a group that is gone comes back
    assert_eq!(boxes.step(1, MailStep::Return(Trim { to_group: 7, upto: 1 })), MailReply::Done(1));
    assert_eq!((boxes.run_all(1), boxes.left()), (vec!["1".to_owned()], 0));
}

#[test]
fn keys_read_back() {
    let key = ReadyKey { at_ms: 3, index: u64::MAX, nth: 7 };
    assert_eq!(parse_ready(&ready(key)), Some(key));
    assert_eq!(parse_timer(&super::keys::timer(key)), Some(key));
    let dead = DeadKey { index: 5, nth: u32::MAX };
    assert_eq!(parse_dead(&dead_after("C", dead)), Some(dead));
    assert_eq!(parse_outbox_of(&filled(77)), Some(77));
    assert_eq!(parse_ready(&super::keys::timer(key)), None);
    // assigned bytes are on disks
    assert_eq!(clock(), [4]);
    assert_eq!(outbox(1, 2), [7, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2]);
    assert_eq!(&timer_named(1, "o", "k")[..2], [8, 1]);
    assert_eq!((&timers()[..], &readies()[..], &outboxes()[..]), (&[8, 0][..], &[9, 1][..], &[10, 0][..]));
    assert_eq!(dead_letters_of("C"), [11, b'C', 0, 0]);
}

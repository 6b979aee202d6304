//! Each fence, each kind of change, and that a batch comes to the same as its commits one by one.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::keeping::{KEPT_BYTES_MAX, KEPT_MAX};
use crate::record::ExpiryRecord;
use crate::testing::{NoMail, commit};
use crate::types::{self, Outcome};

/// The state as a plain map.
#[derive(Default, Debug, Clone, PartialEq)]
struct Model {
    heads: BTreeMap<(u64, String), Head>,
    fields: BTreeMap<(u64, String, u64, String), Vec<u8>>,
    revisions: BTreeMap<u64, u64>,
    dead: Vec<u64>,
    known: BTreeMap<(u64, String, String), KnownRecord>,
    expiries: BTreeMap<(u64, u64), ExpiryRecord>,
    clock: ClockRecord,
    told: Vec<Told>,
}

impl View for Model {
    fn head(&self, class: u64, object: &str) -> Result<Option<Head>, OdgmError> {
        Ok(self.heads.get(&(class, object.to_owned())).copied())
    }

    fn revision(&self, class: u64) -> Result<u64, OdgmError> {
        Ok(self.revisions.get(&class).copied().unwrap_or(0))
    }

    fn known(&self, class: u64, object: &str, invocation: &str) -> Result<Option<KnownRecord>, OdgmError> {
        Ok(self.known.get(&(class, object.to_owned(), invocation.to_owned())).cloned())
    }

    fn has_field(&self, class: u64, object: &str, home: u64, key: &str) -> Result<bool, OdgmError> {
        Ok(self.fields.contains_key(&(class, object.to_owned(), home, key.to_owned())))
    }
}

impl Kept for Model {
    fn clock(&self) -> Result<ClockRecord, OdgmError> {
        Ok(self.clock)
    }

    fn earliest_ms(&self) -> u64 {
        self.expiries.keys().next().map_or(u64::MAX, |(at_ms, _)| *at_ms)
    }

    fn expiring(&self, limit: usize) -> Result<Vec<Expiry>, OdgmError> {
        let all = self.expiries.iter().take(limit);
        Ok(all
            .map(|((at_ms, number), record)| Expiry {
                at_ms: *at_ms,
                number: *number,
                record: record.clone(),
            })
            .collect())
    }
}

impl Model {
    fn take(&mut self, effects: Vec<Effect<'_>>) {
        for effect in effects {
            match effect {
                Effect::SetHead { class, object, head } => {
                    self.heads.insert((class, object.to_owned()), head);
                }
                Effect::DropHead { class, object } => {
                    self.heads.remove(&(class, object.to_owned()));
                }
                Effect::SetField { class, object, home, key, value } => {
                    self.fields.insert((class, object.to_owned(), home, key.to_owned()), value.to_vec());
                }
                Effect::DropField { class, object, home, key } => {
                    self.fields.remove(&(class, object.to_owned(), home, key.to_owned()));
                }
                Effect::DeadHome { home, .. } => self.dead.push(home),
                Effect::Tell(told) => self.told.push(*told),
                Effect::SetRevision { class, revision } => {
                    self.revisions.insert(class, revision);
                }
                Effect::Remember { class, object, invocation, outcome, tag, expiry } => {
                    let known = KnownRecord { outcome: outcome.clone(), tag };
                    self.known.insert((class, object.to_owned(), invocation.to_owned()), known);
                    self.expiries.insert((expiry.at_ms, expiry.number), expiry.record);
                }
                Effect::Forget(expiry) => {
                    let ExpiryRecord { class, object, invocation, .. } = expiry.record;
                    self.known.remove(&(class, object, invocation)).unwrap();
                    self.expiries.remove(&(expiry.at_ms, expiry.number)).unwrap();
                }
                Effect::SetClock(clock) => self.clock = clock,
            }
        }
    }

    fn apply(&mut self, commits: &[CommitRecord], index: u64) -> Vec<CommitReply> {
        self.apply_at(commits, index, 0)
    }

    fn apply_at(&mut self, commits: &[CommitRecord], index: u64, now_ms: u64) -> Vec<CommitReply> {
        let before = self.clone();
        let batch = CommitBatch { commits: commits.to_vec(), now_ms };
        let mut desk = Desk::new(&NoMail, 1, index, now_ms);
        let (effects, replies) = apply_batch(&before, &mut desk, &batch, 1, index).unwrap();
        self.take(effects);
        replies
    }

    /// The object's fields as a reader would see them.
    fn fields(&self, object: &str) -> Vec<(String, String)> {
        let Some(head) = self.heads.get(&(1, object.to_owned())) else { return Vec::new() };
        let seen = self.fields.iter().filter(|((_, id, home, _), _)| id == object && *home == head.home);
        seen.map(|((.., key), value)| (key.clone(), String::from_utf8(value.clone()).unwrap())).collect()
    }

    fn tag(&self, object: &str) -> Tag {
        self.heads.get(&(1, object.to_owned())).map(|head| head.tag).unwrap_or_default()
    }
}

fn committed(incarnation: u64, version: u64) -> CommitReply {
    CommitReply::Committed(Some(Tag { incarnation, version }))
}

const ABSENT: Tag = Tag { incarnation: 0, version: 0 };

fn seen(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    crate::testing::pairs(pairs)
}

#[test]
fn the_first_write_creates_and_the_next_counts_up() {
    let mut model = Model::default();
    let created = model.apply(&[commit("a", ABSENT, Change::Merge, &[("x", Some("1"))])], 5);
    assert_eq!(created, [committed(5 << 12, 1)]);
    let base = model.tag("a");
    let merged = model.apply(&[commit("a", base, Change::Merge, &[("y", Some("2")), ("x", None)])], 6);
    assert_eq!(merged, [committed(5 << 12, 2)]);
    assert_eq!(model.fields("a"), seen(&[("y", "2")]));
}

#[test]
fn another_term_is_rejected_without_effect() {
    let mut model = Model::default();
    let stale = CommitRecord { term: 7, ..commit("a", ABSENT, Change::Merge, &[("x", Some("1"))]) };
    assert_eq!(model.apply(&[stale], 5), [CommitReply::Rejected(Rejection::Term { current: 1 })]);
    assert_eq!(model, Model::default());
}

#[test]
fn an_older_revision_is_rejected_without_effect_and_a_newer_one_is_remembered() {
    let mut model = Model::default();
    let at = |revision, object| CommitRecord { revision, ..commit(object, ABSENT, Change::Merge, &[]) };
    model.apply(&[at(3, "a")], 5);
    let before = model.clone();
    assert_eq!(model.apply(&[at(2, "b")], 6), [CommitReply::Rejected(Rejection::Revision { current: 3 })]);
    assert_eq!(model, before);
    assert!(matches!(model.apply(&[at(3, "c"), at(4, "d")], 7)[..], [CommitReply::Committed(_), _]));
    assert_eq!(model.revisions[&1], 4);
}

#[test]
fn another_base_is_rejected_without_effect() {
    let mut model = Model::default();
    model.apply(&[commit("a", ABSENT, Change::Merge, &[])], 5);
    let current = model.tag("a");
    let before = model.clone();
    for base in [ABSENT, Tag { version: 2, ..current }, Tag { incarnation: 9, ..current }] {
        for change in [Change::Merge, Change::Replace, Change::Delete, Change::Recreate] {
            let reply = model.apply(&[commit("a", base, change, &[])], 6);
            assert_eq!(reply, [CommitReply::Rejected(Rejection::Base { current })]);
        }
    }
    assert_eq!(model, before);
}

#[test]
fn the_term_is_looked_at_before_the_revision_and_that_before_the_base() {
    let mut model = Model::default();
    model.apply(&[CommitRecord { revision: 3, ..commit("a", ABSENT, Change::Merge, &[]) }], 5);
    let all_wrong = CommitRecord { term: 9, ..commit("a", ABSENT, Change::Merge, &[]) };
    let two_wrong = commit("a", ABSENT, Change::Merge, &[]);
    let replies = model.apply(&[all_wrong, two_wrong], 6);
    assert_eq!(replies[0], CommitReply::Rejected(Rejection::Term { current: 1 }));
    assert_eq!(replies[1], CommitReply::Rejected(Rejection::Revision { current: 3 }));
}

#[test]
fn a_replaced_object_shows_only_its_new_fields_and_keeps_its_incarnation() {
    let mut model = Model::default();
    model.apply(&[commit("a", ABSENT, Change::Merge, &[("old", Some("1")), ("x", Some("1"))])], 5);
    let reply = model.apply(&[commit("a", model.tag("a"), Change::Replace, &[("x", Some("2"))])], 6);
    assert_eq!(reply, [committed(5 << 12, 2)]);
    assert_eq!(model.fields("a"), seen(&[("x", "2")]));
    assert_eq!(model.dead, [5 << 12]);
}

#[test]
fn a_deleted_and_recreated_object_shows_no_old_field_and_has_a_new_incarnation() {
    let mut model = Model::default();
    model.apply(&[commit("a", ABSENT, Change::Merge, &[("old", Some("1"))])], 5);
    assert_eq!(
        model.apply(&[commit("a", model.tag("a"), Change::Delete, &[])], 6),
        [CommitReply::Committed(None)]
    );
    assert_eq!(model.tag("a"), ABSENT);
    model.apply(&[commit("a", ABSENT, Change::Merge, &[("new", Some("1"))])], 7);
    assert_eq!((model.tag("a").incarnation, model.fields("a")), (7 << 12, seen(&[("new", "1")])));
    let recreated = model.apply(&[commit("a", model.tag("a"), Change::Recreate, &[("newer", Some("1"))])], 8);
    assert_eq!(recreated, [committed(8 << 12, 1)]);
    assert_eq!(model.fields("a"), seen(&[("newer", "1")]));
    assert_eq!(model.dead, [5 << 12, 7 << 12]);
}

#[test]
fn deleting_what_is_not_there_has_no_effect() {
    let mut model = Model::default();
    let commits = [CommitRecord { revision: 0, ..commit("a", ABSENT, Change::Delete, &[]) }];
    assert_eq!(model.apply(&commits, 5), [CommitReply::Committed(None)]);
    assert_eq!(model, Model::default());
}

#[test]
fn a_later_commit_of_an_entry_sees_the_earlier_ones() {
    let mut model = Model::default();
    let first = Tag { incarnation: 5 << 12, version: 1 };
    let replies = model.apply(
        &[
            commit("a", ABSENT, Change::Merge, &[("x", Some("1"))]),
            commit("a", ABSENT, Change::Merge, &[("x", Some("lost update"))]),
            commit("a", first, Change::Merge, &[("y", Some("2"))]),
            commit("a", Tag { version: 2, ..first }, Change::Delete, &[]),
            commit("a", ABSENT, Change::Merge, &[("z", Some("3"))]),
        ],
        5,
    );
    assert_eq!(replies[1], CommitReply::Rejected(Rejection::Base { current: first }));
    assert_eq!(replies[3], CommitReply::Committed(None));
    assert_eq!(replies[4], committed((5 << 12) | 4, 1));
    assert_eq!(model.fields("a"), seen(&[("z", "3")]));
}

#[test]
fn an_unknown_kind_of_change_is_an_error_and_not_skipped() {
    let unknown = CommitRecord { change: 99, ..commit("a", ABSENT, Change::Merge, &[]) };
    let batch = CommitBatch { commits: vec![unknown], now_ms: 0 };
    let mut desk = Desk::new(&NoMail, 1, 5, 0);
    assert!(apply_batch(&Model::default(), &mut desk, &batch, 1, 5).is_err());
}

fn any_commit() -> impl Strategy<Value = CommitRecord> {
    let tag = (0..3_u64, 0..4_u64)
        .prop_map(|(incarnation, version)| Tag { incarnation: incarnation << 12, version });
    let change =
        prop_oneof![Just(Change::Merge), Just(Change::Replace), Just(Change::Delete), Just(Change::Recreate)];
    let writes = proptest::collection::vec(("[xyz]", proptest::option::of("[0-9]")), 0..3);
    ("[ab]", tag, change, writes, 1..3_u64, 0..3_u64).prop_map(
        |(object, base, change, writes, term, revision)| {
            let writes: Vec<_> = writes.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
            CommitRecord { term, revision, ..commit(&object, base, change, &writes) }
        },
    )
}

fn keep(fingerprint: &'static str, keep_ms: u64) -> Outcome {
    Outcome { fingerprint: fingerprint.into(), keep_ms, told: Some(types::Told::TooLarge(7)) }
}

fn call(invocation: &str, base: Tag, change: Change) -> CommitRecord {
    CommitRecord {
        invocation: invocation.into(),
        outcome: Some(keep("f", 100)),
        ..commit("a", base, change, &[("x", Some("1"))])
    }
}

fn is_known(reply: &CommitReply, tag: Tag) -> bool {
    matches!(reply, CommitReply::Known(known) if known.tag == Some(tag) && known.outcome == keep("f", 100))
}

#[test]
fn a_call_takes_effect_once_whatever_came_after_it() {
    let mut model = Model::default();
    let first = call("one", ABSENT, Change::Merge);
    model.apply(std::slice::from_ref(&first), 5);
    let after_first = model.tag("a");
    model.apply(&[call("two", after_first, Change::Merge)], 6);
    // another base, an older revision and another term would each be rejected
    model.apply(&[CommitRecord { revision: 9, ..commit("b", ABSENT, Change::Merge, &[]) }], 7);
    let before = model.clone();
    for again in [first.clone(), CommitRecord { term: 7, ..first.clone() }] {
        let reply = model.apply(&[again], 8);
        assert!(is_known(&reply[0], after_first), "{reply:?}");
    }
    assert_eq!(model, before);
    // in the same entry, too; and under another object it is another call
    let mut model = Model::default();
    let other = CommitRecord { object: "b".into(), ..first.clone() };
    let replies = model.apply(&[first.clone(), first, other], 5);
    assert!(is_known(&replies[1], Tag { incarnation: 5 << 12, version: 1 }), "{replies:?}");
    assert!(matches!(replies[2], CommitReply::Committed(_)));
}

#[test]
fn a_rejected_call_is_not_known_and_a_deleted_object_leaves_its_calls() {
    let mut model = Model::default();
    let wrong = call("one", Tag { incarnation: 1, version: 1 }, Change::Merge);
    assert!(matches!(model.apply(&[wrong], 5)[0], CommitReply::Rejected(_)));
    assert!(model.known.is_empty());
    model.apply(&[call("one", ABSENT, Change::Merge)], 6);
    let at = model.tag("a");
    let delete = CommitRecord { writes: Vec::new(), ..call("gone", at, Change::Delete) };
    assert_eq!(model.apply(std::slice::from_ref(&delete), 7), [CommitReply::Committed(None)]);
    assert!(matches!(&model.apply(&[delete], 8)[0], CommitReply::Known(known) if known.tag.is_none()));
    assert!(is_known(&model.apply(&[call("one", ABSENT, Change::Merge)], 9)[0], at));
}

#[test]
fn an_outcome_alone_leaves_the_object_as_it_is() {
    let mut model = Model::default();
    let keep = |base, id| CommitRecord { writes: Vec::new(), ..call(id, base, Change::Keep) };
    assert_eq!(model.apply(&[keep(ABSENT, "none")], 4), [CommitReply::Committed(None)]);
    assert!(model.heads.is_empty());
    model.apply(&[commit("a", ABSENT, Change::Merge, &[("x", Some("1"))])], 5);
    let at = model.tag("a");
    assert_eq!(model.apply(&[keep(at, "one")], 6), [CommitReply::Committed(Some(at))]);
    assert_eq!(model.tag("a"), at);
    // it rests on what it was computed from like any other
    assert!(matches!(model.apply(&[keep(ABSENT, "two")], 7)[0], CommitReply::Rejected(_)));
    // unless it was computed from nothing of it; one that changes something always was
    let unbound = |commit| CommitRecord { unbound: true, ..commit };
    let two = model.apply(&[unbound(keep(ABSENT, "two"))], 8);
    assert_eq!(two, [CommitReply::Committed(Some(at))]);
    let three = model.apply(&[unbound(call("three", ABSENT, Change::Merge))], 9);
    assert!(matches!(three[0], CommitReply::Rejected(_)));
}

#[test]
fn calls_are_forgotten_by_the_logs_clock_which_never_runs_backwards() {
    let mut model = Model::default();
    let other = |object: &str| commit(object, ABSENT, Change::Merge, &[]);
    model.apply_at(&[call("one", ABSENT, Change::Merge)], 5, 1_000);
    model.apply_at(&[other("b")], 6, 1_099);
    assert_eq!(model.known.len(), 1);
    model.apply_at(&[other("c")], 7, 500);
    assert_eq!(model.clock.now_ms, 1_099);
    model.apply_at(&[other("d")], 8, 1_100);
    assert!(model.known.is_empty() && model.expiries.is_empty());
    assert_eq!((model.clock.kept, model.clock.kept_bytes), (0, 0));
}

#[test]
fn at_the_bound_all_are_kept_and_past_it_those_go_that_would_go_first() {
    for (kept, kept_bytes) in [(KEPT_MAX - 1, 0), (0, KEPT_BYTES_MAX - 1_000)] {
        let mut model = Model::default();
        let large = |object: &str, keep_ms| CommitRecord {
            outcome: Some(Outcome { fingerprint: vec![0; 700].into(), keep_ms, told: None }),
            object: object.into(),
            ..call("k", ABSENT, Change::Merge)
        };
        model.apply_at(&[large("a", 10)], 5, 0);
        model.clock = ClockRecord { kept, kept_bytes, ..model.clock };
        model.apply_at(&[large("b", 100)], 6, 0);
        assert_eq!(model.known.len(), 2, "at the bound: {:?}", model.clock);
        model.apply_at(&[large("c", 100)], 7, 0);
        let left: Vec<_> = model.known.keys().map(|(_, object, _)| object.as_str()).collect();
        assert_eq!(left, ["b", "c"], "{:?}", model.clock);
    }
}

proptest! {
    /// Whether commits share an entry makes no difference but to the numbers that new objects take.
    #[test]
    fn a_batch_comes_to_the_same_as_one_by_one(commits in proptest::collection::vec(any_commit(), 0..12)) {
        let mut whole = Model::default();
        let replies = whole.apply(&commits, 0);
        let mut single = Model::default();
        for (place, commit) in (0..).zip(&commits) {
            let mut effects = Vec::new();
            let before = single.clone();
            let mut keeper = Keeper::new(&before, 0).unwrap();
            let mut desk = Desk::new(&NoMail, 1, place, 0);
            let reply = apply(&before, (&mut desk, &mut keeper), commit, 1, place, &mut effects).unwrap();
            let (forgotten, clock) = keeper.finish(&before, 1).unwrap();
            effects.extend(forgotten.into_iter().map(Effect::Forget));
            effects.extend(clock.map(Effect::SetClock));
            single.take(effects);
            prop_assert_eq!(&reply, &replies[place as usize]);
        }
        prop_assert_eq!(whole, single);
    }

    /// A version grows by exactly one with each accepted commit of an incarnation, and a rejected one changes nothing.
    #[test]
    fn versions_count_accepted_commits(commits in proptest::collection::vec(any_commit(), 0..12)) {
        let mut model = Model::default();
        for (index, commit) in (1..).zip(&commits) {
            let before = model.clone();
            let base = model.tag(&commit.object);
            match model.apply(std::slice::from_ref(commit), index)[0] {
                CommitReply::Rejected(_) => prop_assert_eq!(&model, &before),
                CommitReply::Known(_) => prop_assert!(false, "nothing is kept of these"),
                CommitReply::Committed(None) => prop_assert_eq!(model.tag(&commit.object), ABSENT),
                CommitReply::Committed(Some(tag)) if tag.incarnation == base.incarnation && base != ABSENT => {
                    prop_assert_eq!(tag.version, base.version + 1);
                }
                CommitReply::Committed(Some(tag)) => {
                    prop_assert_eq!(tag, Tag { incarnation: index << 12, version: 1 });
                }
            }
        }
    }
}

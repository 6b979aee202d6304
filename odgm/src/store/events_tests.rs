//! What can be read of the event log: pages that follow one another, gaps that are told, classes and objects that are told
//! apart, and all of it again after a crash.

#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use oprc_mesh::wire::{Emitted, Event, FieldAction, ObjectAction, Tag};
use proptest::prelude::*;

use super::events::{EventsOf, PAGE_STEPS_MAX};
use super::group::GroupState;
use crate::record::CommitRecord;
use crate::testing::{Bed, applied, apply_at, commit};
use crate::types::Change;

const ALL: EventsOf<'static> = EventsOf { class: Some(1), prefix: "", exact: false };

fn create(object: &str) -> CommitRecord {
    commit(object, Tag::default(), Change::Merge, &[("k", Some("v"))])
}

fn emit(object: &str, bytes: usize) -> CommitRecord {
    let emitted = vec![Emitted { topic: "t".into(), payload: Bytes::from(vec![7; bytes]) }];
    CommitRecord { emitted, ..commit(object, Tag::default(), Change::Keep, &[]) }
}

/// All that is wanted after a number, page after page, and the gaps on the way.
fn read_all(group: &GroupState, wanted: EventsOf<'_>, mut after: u64) -> (Vec<Event>, Vec<u64>) {
    let (mut events, mut gaps) = (Vec::new(), Vec::new());
    loop {
        let page = group.read_events(wanted, after).unwrap();
        assert!(page.upto > after || !page.more, "each page goes on");
        gaps.extend(page.gap);
        events.extend(page.items);
        after = page.upto;
        if !page.more {
            return (events, gaps);
        }
    }
}

fn told(events: &[Event]) -> Vec<(u64, &str, ObjectAction, u64)> {
    events.iter().map(|event| (event.seq, &*event.object, event.action(), event.tag.version)).collect()
}

#[test]
fn each_commit_tells_what_it_did_and_it_survives_a_crash() {
    use ObjectAction::{Create, Delete, None, Recreate, Replace, Update};
    let bed = Bed::new();
    let group = bed.group(1);
    let first = applied(&group, 1, create("a"));
    let merge =
        commit("a", first, Change::Merge, &[("k", Some("w")), ("n", Some("1")), ("gone", Option::None)]);
    let second = applied(&group, 2, merge);
    let third = applied(&group, 3, commit("a", second, Change::Merge, &[("n", Option::None)]));
    let fourth =
        applied(&group, 4, commit("a", third, Change::Replace, &[("k", Some("x")), ("m", Some("1"))]));
    let fifth = applied(&group, 5, commit("a", fourth, Change::Recreate, &[("k", Some("y"))]));
    let emits = CommitRecord { base: fifth, ..emit("a", 1) };
    assert_eq!(applied(&group, 6, emits), fifth, "a turn that only emits moves nothing");
    applied(&group, 7, commit("a", fifth, Change::Delete, &[]));
    applied(&group, 8, emit("never", 1));
    // neither what is rejected nor what does nothing tells anything
    apply_at(&group, 9, &[commit("a", first, Change::Merge, &[("k", Some("z"))])]);
    apply_at(&group, 10, &[commit("never", Tag::default(), Change::Delete, &[])]);
    let check = |group: &GroupState| {
        let (events, gaps) = read_all(group, ALL, 0);
        assert_eq!(gaps, [0_u64; 0]);
        assert_eq!(
            told(&events),
            [
                (1, "a", Create, 1),
                (2, "a", Update, 2),
                (3, "a", Update, 3),
                (4, "a", Replace, 4),
                (5, "a", Recreate, 1),
                (6, "a", None, 1),
                (7, "a", Delete, 2),
                (8, "never", None, 0),
            ]
        );
        let fields: Vec<Vec<(&str, FieldAction)>> = events
            .iter()
            .map(|event| event.changes.iter().map(|change| (&*change.key, change.action())).collect())
            .collect();
        assert_eq!(fields[0], [("k", FieldAction::Create)]);
        assert_eq!(fields[1], [("k", FieldAction::Update), ("n", FieldAction::Create)]);
        assert_eq!(fields[2], [("n", FieldAction::Delete)]);
        assert_eq!(fields[3], [("k", FieldAction::Update), ("m", FieldAction::Create)]);
        assert_eq!(fields[4], [("k", FieldAction::Create)]);
        assert!(fields[5..].iter().all(Vec::is_empty));
        assert_eq!((events[5].emitted.len(), events[7].emitted.len()), (1, 1));
    };
    check(&group);
    bed.store.state.flush_through(bed.store.state.sequence()).unwrap();
    drop(group);
    check(&bed.crash().group(1));
}

#[test]
fn commits_of_one_entry_see_each_other() {
    use FieldAction::{Create, Delete, Update};
    let bed = Bed::new();
    let group = bed.group(1);
    let incarnation = 1 << crate::types::INCARNATION_PLACE_BITS;
    let at = |version| Tag { incarnation, version };
    apply_at(
        &group,
        1,
        &[
            create("a"),
            commit("a", at(1), Change::Merge, &[("k", None), ("n", Some("1"))]),
            commit("a", at(2), Change::Merge, &[("k", Some("1")), ("n", Some("2"))]),
        ],
    );
    let (events, _) = read_all(&group, ALL, 0);
    let fields: Vec<_> = events[1..]
        .iter()
        .flat_map(|event| event.changes.iter().map(|change| (&*change.key, change.action())))
        .collect();
    assert_eq!(fields, [("k", Delete), ("n", Create), ("k", Create), ("n", Update)]);
}

#[test]
fn more_changes_than_an_event_names_are_counted() {
    let bed = Bed::new();
    let group = bed.group(1);
    for (index, extra) in [(1, 0), (2, 1)] {
        let keys: Vec<String> =
            (0..oprc_mesh::limits::EVENT_CHANGES_MAX + extra).map(|n| format!("k{n:05}")).collect();
        let writes: Vec<_> = keys.iter().map(|key| (&**key, Some("v"))).collect();
        applied(&group, index, commit(&format!("o{index}"), Tag::default(), Change::Merge, &writes));
    }
    let (events, _) = read_all(&group, ALL, 0);
    let counts: Vec<_> = events.iter().map(|event| (event.changes.len(), event.unlisted)).collect();
    assert_eq!(counts, [(1000, 0), (1000, 1)]);
}

#[test]
fn a_reader_finds_its_class_and_objects_and_goes_on_where_it_was() {
    let bed = Bed::new();
    let group = bed.group(1);
    let other = |object: &str| CommitRecord { class: 2, ..create(object) };
    let commits: Vec<_> = (0..PAGE_STEPS_MAX).map(|n| other(&format!("x{n}"))).collect();
    apply_at(&group, 1, &commits);
    apply_at(&group, 2, &[create("ab"), create("a"), create("b"), other("a")]);
    let page = group.read_events(ALL, 0).unwrap();
    assert!(page.items.is_empty() && page.more && page.upto == PAGE_STEPS_MAX as u64);
    let objects = |prefix, exact, after| -> Vec<String> {
        let (events, gaps) = read_all(&group, EventsOf { class: Some(1), prefix, exact }, after);
        assert_eq!(gaps, [0_u64; 0]);
        events.into_iter().map(|event| event.object).collect()
    };
    assert_eq!(objects("", false, 0), ["ab", "a", "b"]);
    assert_eq!(objects("a", false, 0), ["ab", "a"]);
    assert_eq!(objects("a", true, 0), ["a"]);
    assert_eq!(objects("", false, PAGE_STEPS_MAX as u64 + 1), ["a", "b"]);
    let end = *group.follow_events().borrow();
    assert_eq!(objects("", false, end), [""; 0]);
    // past the end there is nothing, and nothing is skipped
    assert_eq!(group.read_events(ALL, end + 5).unwrap().upto, end + 5);
}

#[test]
fn what_was_trimmed_is_told_as_a_gap() {
    let bed = Bed::new();
    let group = bed.group(1);
    let large = oprc_mesh::limits::EMIT_BYTES_MAX - 1;
    for index in 1..=40 {
        apply_at(&group, index, &[emit(&format!("o{index}"), large)]);
    }
    let bounds = group.event_bounds().unwrap();
    assert!(bounds.trimmed > 0 && bounds.bytes <= crate::events::LIMITS.bytes_max, "{bounds:?}");
    let (events, gaps) = read_all(&group, ALL, 0);
    assert_eq!(gaps, [bounds.trimmed]);
    let there: Vec<u64> = events.iter().map(|event| event.seq).collect();
    assert_eq!(there, (bounds.trimmed + 1..=40).collect::<Vec<_>>());
    assert_eq!(read_all(&group, ALL, bounds.trimmed).1, [0_u64; 0], "it was all read in time");
    // large events come a few to a page, and one at least
    let page = group.read_events(ALL, bounds.trimmed).unwrap();
    assert!(page.more && page.items.len() == 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))] // each opens a database

    /// However the events come and whoever reads them from wherever: pages give just what a list would.
    #[test]
    fn pages_give_what_is_there(
        entries in proptest::collection::vec(proptest::collection::vec((1_u64..3, 0_usize..3), 1..6), 1..12),
        after in 0_u64..30,
    ) {
        let bed = Bed::new();
        let group = bed.group(1);
        let mut all = Vec::new();
        for (index, entry) in (1..).zip(&entries) {
            let commits: Vec<_> = entry
                .iter()
                .map(|(class, object)| CommitRecord { class: *class, ..emit(&format!("o{object}"), 1) })
                .collect();
            apply_at(&group, index, &commits);
            all.extend(entry.iter().copied());
        }
        let expected: Vec<u64> = (1..)
            .zip(&all)
            .filter(|(seq, (class, object))| *seq > after && *class == 1 && *object == 2)
            .map(|(seq, _)| seq)
            .collect();
        let (events, gaps) = read_all(&group, EventsOf { class: Some(1), prefix: "o2", exact: true }, after);
        prop_assert_eq!(events.iter().map(|event| event.seq).collect::<Vec<_>>(), expected);
        prop_assert!(gaps.is_empty());
    }
}

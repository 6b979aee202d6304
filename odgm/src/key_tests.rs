//! Every key reads back as what it was made from, and keys sort like what they are made from.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn any_key() -> impl Strategy<Value = StateKey> {
    let class = 1..=u64::MAX;
    prop_oneof![
        Just(StateKey::State),
        any::<u64>().prop_map(|class| StateKey::Revision { class }),
        (any::<u64>(), ".{0,8}", any::<u64>()).prop_map(|(class, object, home)| StateKey::DeadHome {
            class,
            object,
            home
        }),
        Just(StateKey::Keeping),
        (any::<u64>(), ".{0,8}", ".{0,8}").prop_map(|(class, object, invocation)| StateKey::Known {
            class,
            object,
            invocation
        }),
        any::<(u64, u64)>().prop_map(|(at_ms, number)| StateKey::Expiry { at_ms, number }),
        any::<u64>().prop_map(|seq| StateKey::Event { seq }),
        Just(StateKey::EventLog),
        any::<u64>().prop_map(|after| StateKey::EventBlock { after }),
        proptest::collection::vec(any::<u8>(), 0..8).prop_map(|name| StateKey::Catalog { name }),
        (prop_oneof![Just(4_u8), 7..=11_u8], proptest::collection::vec(any::<u8>(), 0..8))
            .prop_map(|(kind, rest)| StateKey::Mail { below: [vec![kind], rest].concat() }),
        (class.clone(), any::<String>()).prop_map(|(class, object)| StateKey::Head { class, object }),
        (class, any::<String>(), any::<u64>(), any::<String>())
            .prop_map(|(class, object, home, field)| StateKey::Field { class, object, home, field }),
    ]
}

fn build(space: Space, key: &StateKey) -> Vec<u8> {
    match key {
        StateKey::State => space.state(),
        StateKey::Revision { class } => space.revision(*class),
        StateKey::DeadHome { class, object, home } => space.dead_home(*class, object, *home),
        StateKey::Keeping => space.keeping(),
        StateKey::Known { class, object, invocation } => space.known(*class, object, invocation),
        StateKey::Expiry { at_ms, number } => space.expiry(*at_ms, *number),
        StateKey::Event { seq } => space.event(*seq),
        StateKey::EventLog => space.event_log(),
        StateKey::EventBlock { after } => space.event_block(*after),
        StateKey::Catalog { name } => [space.catalog(), name.clone()].concat(),
        StateKey::Mail { below } => space.mail(below),
        StateKey::Head { class, object } => space.head(*class, object),
        StateKey::Field { class, object, home, field } => space.field(*class, object, *home, field),
    }
}

/// Small alphabets make equal beginnings, which is where an order goes wrong.
fn near() -> impl Strategy<Value = String> {
    proptest::collection::vec(prop_oneof![Just('\0'), Just('a'), Just('b'), Just('\u{7f}'), Just('é')], 0..5)
        .prop_map(|chars| chars.into_iter().collect())
}

proptest! {
    #[test]
    fn state_keys_round_trip(group: u64, generation in 1..=u64::MAX, key in any_key()) {
        let space = Space { group, generation };
        prop_assert_eq!(StateKey::parse(&build(space, &key)), Some((space, key)));
    }

    #[test]
    fn log_keys_round_trip_and_keep_the_order(a: (u64, u64), b: (u64, u64)) {
        let (left, right) = (log_entry(a.0, a.1), log_entry(b.0, b.1));
        prop_assert_eq!(parse_log(&left), Some(a));
        prop_assert_eq!(left.cmp(&right), a.cmp(&b));
    }

    #[test]
    fn heads_sort_by_class_then_object(a in (1..4_u64, near()), b in (1..4_u64, near())) {
        let space = Space { group: 7, generation: 1 };
        prop_assert_eq!(space.head(a.0, &a.1).cmp(&space.head(b.0, &b.1)), a.cmp(&b));
    }

    #[test]
    fn fields_sort_by_object_then_home_then_field(
        a in (near(), 0..3_u64, near()),
        b in (near(), 0..3_u64, near()),
    ) {
        let space = Space { group: 7, generation: 1 };
        let (left, right) = (space.field(1, &a.0, a.1, &a.2), space.field(1, &b.0, b.1, &b.2));
        prop_assert_eq!(left.cmp(&right), a.cmp(&b));
    }

    #[test]
    fn an_object_is_one_range_with_its_head_first(object in near(), other in near(), home: u64, field in near()) {
        let space = Space { group: 7, generation: 1 };
        let begin = space.object(1, &object);
        let end = successor(begin.clone()).unwrap();
        let head = space.head(1, &object);
        let field = space.field(1, &object, home, &field);
        prop_assert!(begin < head && head < field && field < end);
        let outside = space.head(1, &other);
        prop_assert_eq!((begin..end).contains(&outside), object == other);
    }

    #[test]
    fn a_prefix_of_ids_is_one_range(prefix in near(), object in near()) {
        let space = Space { group: 7, generation: 1 };
        let begin = space.objects(1, &prefix);
        let end = successor(begin.clone()).unwrap();
        let inside = (begin..end).contains(&space.head(1, &object));
        prop_assert_eq!(inside, object.starts_with(&prefix));
    }
}

/// These bytes are on disks: a change here loses data.
#[test]
fn assigned_bytes_never_change() {
    let space = Space { group: 1, generation: 2 };
    let begin = "0000000000000001".to_owned() + "0000000000000002";
    let hex = |key: Vec<u8>| key.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
    assert_eq!(hex(space.head(3, "a")), begin.clone() + "0000000000000003" + "610000" + "01");
    assert_eq!(
        hex(space.field(3, "a", 5, "k")),
        begin.clone() + "0000000000000003" + "610000" + "02" + "0000000000000005" + "6b"
    );
    assert_eq!(hex(space.state()), begin.clone() + "0000000000000000" + "01");
    assert_eq!(hex(space.revision(3)), begin.clone() + "0000000000000000" + "02" + "0000000000000003");
    assert_eq!(
        hex(space.dead_home(3, "a", 5)),
        begin.clone() + "0000000000000000" + "03" + "0000000000000003" + "610000" + "0000000000000005"
    );
    let own = begin.clone() + "0000000000000000";
    assert_eq!(hex(space.event(7)), own.clone() + "0c" + "0000000000000007");
    assert_eq!(hex(space.event_log()), own.clone() + "0d");
    assert_eq!(hex(space.event_block(7)), own + "0d" + "0000000000000007");
    assert_eq!(hex(space.catalog()), begin + "0000000000000000" + "10");
    assert_eq!(log_vote(1)[8..], [0xff; 8]);
    assert_eq!(log_purged(1)[8..], (u64::MAX - 1).to_be_bytes());
}

#[test]
fn a_key_that_nobody_wrote_is_not_read() {
    for bad in [&b""[..], b"short", &[0; 24], &[1; 25]] {
        assert_eq!(StateKey::parse(bad), None);
    }
    let mut longer = Space { group: 1, generation: 1 }.head(1, "a");
    longer.push(0);
    assert_eq!(StateKey::parse(&longer), None);
}

#[test]
fn the_successor_of_the_greatest_prefix_is_none() {
    assert_eq!(successor(vec![1, 0xff]), Some(vec![2]));
    assert_eq!(successor(vec![0xff, 0xff]), None);
}

//! Pages of fields and objects at and past their limits, and that a moment stays one.

#![allow(clippy::unwrap_used)]

use oprc_mesh::id::FieldKey;
use oprc_mesh::wire::Tag;

use super::reader::Reader;
use crate::testing::{Bed, applied, commit, fields as all_fields, id, pairs};
use crate::types::{Change, Head};

fn reader_with(bed: &Bed, fields: &[(&str, &str)]) -> (Reader, Head) {
    let group = bed.group(1);
    let writes: Vec<_> = fields.iter().map(|(key, value)| (*key, Some(*value))).collect();
    applied(&group, 1, commit("a", Tag::default(), Change::Merge, &writes));
    // a neighbour on either side, whose fields must never show
    applied(&group, 2, commit("a.", Tag::default(), Change::Merge, &[("k1", Some("no"))]));
    applied(&group, 3, commit("Z", Tag::default(), Change::Merge, &[("k1", Some("no"))]));
    let reader = Reader::newest(group);
    let head = reader.head(1, &id("a")).unwrap().unwrap();
    (reader, head)
}

fn page(
    reader: &Reader,
    head: &Head,
    prefix: &str,
    after: &str,
    items: usize,
    bytes: usize,
) -> (Vec<String>, bool) {
    let (fields, more) = reader.fields(1, &id("a"), head, prefix, after, items, bytes).unwrap();
    (fields.into_iter().map(|field| field.key).collect(), more)
}

#[test]
fn a_page_of_fields_ends_at_its_items_and_says_whether_more_follow() {
    let bed = Bed::new();
    let (reader, head) = reader_with(&bed, &[("k1", "1"), ("k2", "2"), ("k3", "3")]);
    assert_eq!(page(&reader, &head, "", "", 3, 1000), (vec!["k1".into(), "k2".into(), "k3".into()], false));
    assert_eq!(page(&reader, &head, "", "", 2, 1000), (vec!["k1".into(), "k2".into()], true));
    assert_eq!(page(&reader, &head, "", "k2", 2, 1000), (vec!["k3".into()], false));
    assert_eq!(page(&reader, &head, "", "k3", 2, 1000), (vec![], false));
}

#[test]
fn a_page_of_fields_ends_before_its_bytes_but_not_before_the_first() {
    let bed = Bed::new();
    let (reader, head) = reader_with(&bed, &[("k1", "12345678"), ("k2", "12345678"), ("k3", "1")]);
    // each of the first two is 10 bytes
    assert_eq!(page(&reader, &head, "", "", 10, 20), (vec!["k1".into(), "k2".into()], true));
    assert_eq!(page(&reader, &head, "", "", 10, 19), (vec!["k1".into()], true));
    assert_eq!(page(&reader, &head, "", "", 10, 1), (vec!["k1".into()], true));
    assert_eq!(page(&reader, &head, "", "", 10, 23), (vec!["k1".into(), "k2".into(), "k3".into()], false));
}

#[test]
fn a_prefix_and_a_position_narrow_a_page_of_fields() {
    let bed = Bed::new();
    let (reader, head) =
        reader_with(&bed, &[("a", "1"), ("k", "1"), ("k1", "1"), ("k\u{10ffff}", "1"), ("l", "1")]);
    assert_eq!(page(&reader, &head, "k", "", 10, 1000).0, ["k", "k1", "k\u{10ffff}"]);
    assert_eq!(page(&reader, &head, "k", "k", 10, 1000).0, ["k1", "k\u{10ffff}"]);
    // a position outside the prefix
    assert_eq!(page(&reader, &head, "k", "a", 10, 1000).0, ["k", "k1", "k\u{10ffff}"]);
    assert_eq!(page(&reader, &head, "k", "l", 10, 1000).0, Vec::<String>::new());
}

#[test]
fn a_field_is_read_by_its_key_or_is_absent() {
    let bed = Bed::new();
    let (reader, head) = reader_with(&bed, &[("k1", "one")]);
    let field = |key| reader.field(1, &id("a"), &head, &FieldKey::parse(key).unwrap()).unwrap();
    assert_eq!(field("k1").as_deref(), Some(b"one".as_slice()));
    assert_eq!(field("k"), None);
    assert_eq!(reader.head(1, &id("b")).unwrap(), None);
    assert_eq!(reader.head(2, &id("a")).unwrap(), None);
}

fn objects(reader: &Reader, prefix: &str, after: &str, items: usize) -> (Vec<String>, bool) {
    let (objects, more) = reader.objects(1, prefix, after, items).unwrap();
    (objects.into_iter().map(|object| object.id).collect(), more)
}

#[test]
fn a_page_of_objects_ends_at_its_items_and_says_whether_more_follow() {
    let bed = Bed::new();
    let group = bed.group(1);
    // many fields, so that the listing must also seek past them, and none
    let many: Vec<_> = (0..50).map(|n| format!("k{n}")).collect();
    let many: Vec<_> = many.iter().map(|key| (key.as_str(), Some("1"))).collect();
    for (index, (object, writes)) in (1..).zip([("a", &many[..]), ("ab", &[]), ("b", &many), ("c", &[])]) {
        applied(&group, index, commit(object, Tag::default(), Change::Merge, writes));
    }
    let reader = Reader::newest(group.clone());
    assert_eq!(objects(&reader, "", "", 4), (vec!["a".into(), "ab".into(), "b".into(), "c".into()], false));
    assert_eq!(objects(&reader, "", "", 3), (vec!["a".into(), "ab".into(), "b".into()], true));
    assert_eq!(objects(&reader, "", "ab", 3), (vec!["b".into(), "c".into()], false));
    assert_eq!(objects(&reader, "a", "", 3), (vec!["a".into(), "ab".into()], false));
    assert_eq!(objects(&reader, "a", "a", 3), (vec!["ab".into()], false));
    assert_eq!(objects(&reader, "b", "a", 1), (vec!["b".into()], false));
    assert_eq!(objects(&reader, "d", "", 3), (vec![], false));

    // fields that wait for collection have no object any more
    let head = reader.head(1, &id("b")).unwrap().unwrap();
    applied(&group, 9, commit("b", head.tag, Change::Delete, &[]));
    assert_eq!(objects(&reader, "", "", 2), (vec!["a".into(), "ab".into()], true));
    assert_eq!(objects(&reader, "", "ab", 2), (vec!["c".into()], false));
}

#[test]
fn a_moment_does_not_see_what_comes_after_it() {
    let bed = Bed::new();
    let group = bed.group(1);
    let tag = applied(&group, 1, commit("a", Tag::default(), Change::Merge, &[("x", Some("1"))]));
    let (moment, newest) = (Reader::moment(&group), Reader::newest(group.clone()));
    applied(&group, 2, commit("a", tag, Change::Replace, &[("y", Some("2"))]));
    applied(&group, 3, commit("b", Tag::default(), Change::Merge, &[]));
    assert_eq!(all_fields(&moment, "a"), pairs(&[("x", "1")]));
    assert_eq!(all_fields(&newest, "a"), pairs(&[("y", "2")]));
    assert_eq!(objects(&moment, "", "", 9).0, ["a"]);
    assert_eq!(objects(&newest, "", "", 9).0, ["a", "b"]);
}

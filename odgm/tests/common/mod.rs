//! What the tests of this crate share.

#![allow(dead_code, reason = "not every test uses all of it")]
#![allow(clippy::unwrap_used)]

pub(crate) mod hosts;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use oprc_mesh::catalog::ClassSettings;
use oprc_mesh::id::{ClassName, Digest, ObjectId};
use oprc_mesh::wire::{FieldWrite, Tag};
use oprc_odgm::{
    Change, Commit, CommitReply, NewRevision, Odgm, OdgmConfig, Partition, Post, Reader, Rejection,
};

pub(crate) async fn open(dir: &Path) -> Arc<Odgm> {
    Odgm::open(OdgmConfig::new(dir)).await.unwrap()
}

pub(crate) fn class(name: &str) -> ClassName {
    ClassName::parse(name).unwrap()
}

pub(crate) fn id(text: &str) -> ObjectId {
    ObjectId::parse(text).unwrap()
}

pub(crate) fn revision(name: &str, component: &str) -> NewRevision {
    NewRevision {
        class: class(name),
        digest: Digest::of(component.as_bytes()),
        settings: ClassSettings::default(),
        methods: Vec::new(),
        generic: true,
        serves_http: false,
        deployed_at_ms: 1,
        force: false,
        canary: None,
    }
}

/// A field to set, or to delete.
pub(crate) fn write(key: &str, value: Option<&str>) -> FieldWrite {
    FieldWrite { key: key.to_owned(), value: value.map(|value| Bytes::copy_from_slice(value.as_bytes())) }
}

/// A commit to class 1 in the current term.
pub(crate) fn commit(
    partition: &Partition,
    object: &str,
    base: Tag,
    change: Change,
    writes: Vec<FieldWrite>,
) -> Commit {
    Commit {
        term: partition.leadership().unwrap(),
        class: 1,
        revision: 1,
        object: id(object),
        base,
        change,
        writes,
        invocation: "test".into(),
        outcome: None,
        emitted: Vec::new(),
        post: Post::default(),
    }
}

/// A commit that must be accepted; gives where the object stands, `(0, 0)` when it is gone.
pub(crate) async fn committed(partition: &Partition, commit: Commit) -> Tag {
    match partition.commit(commit).await.unwrap() {
        CommitReply::Committed(tag) => tag.unwrap_or_default(),
        other => panic!("{other:?}"),
    }
}

/// Where an object of class 1 stands; `(0, 0)` when it does not exist.
pub(crate) fn tag(reader: &Reader, object: &str) -> Tag {
    reader.head(1, &id(object)).unwrap().map(|head| head.tag).unwrap_or_default()
}

/// All fields of an object of class 1 as text; empty when it does not exist.
pub(crate) fn fields(reader: &Reader, object: &str) -> Vec<(String, String)> {
    let Some(head) = reader.head(1, &id(object)).unwrap() else { return Vec::new() };
    let (fields, more) = reader.fields(1, &id(object), &head, "", "", 1000, 1 << 20).unwrap();
    assert!(!more);
    fields.into_iter().map(|field| (field.key, String::from_utf8(field.value.to_vec()).unwrap())).collect()
}

/// Counts the field `value` of an object of class 1 up by one, again and again until nobody was faster.
pub(crate) async fn increment(partition: &Partition, object: &str) -> Tag {
    loop {
        let reader = partition.snapshot();
        let base = tag(&reader, object);
        let value = fields(&reader, object).first().map_or(0, |(_, value)| value.parse::<u64>().unwrap());
        drop(reader);
        let writes = vec![write("value", Some(&(value + 1).to_string()))];
        let reply = partition.commit(commit(partition, object, base, Change::Merge, writes)).await;
        match reply.unwrap() {
            CommitReply::Committed(Some(tag)) => return tag,
            CommitReply::Rejected(Rejection::Base { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
}

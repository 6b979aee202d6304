//! A commit takes effect whole or not at all: another term, base or an older revision is rejected without effect.

#![allow(clippy::unwrap_used)]

mod common;

use common::{commit, committed, fields, open, tag, write};
use oprc_mesh::wire::Tag;
use oprc_odgm::{Change, Commit, CommitReply, Rejection};

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_is_fenced_by_term_revision_and_base() {
    let temp = tempfile::tempdir().unwrap();
    let odgm = open(temp.path()).await;
    let partition = odgm.partitions()[3].clone();
    let merge = |base| commit(&partition, "a", base, Change::Merge, vec![write("x", Some("1"))]);
    let current = committed(&partition, Commit { revision: 5, ..merge(Tag::default()) }).await;
    let term = partition.leadership().unwrap();
    let cases = [
        (Commit { term: term + 1, revision: 5, ..merge(current) }, Rejection::Term { current: term }),
        (Commit { revision: 4, ..merge(current) }, Rejection::Revision { current: 5 }),
        (Commit { revision: 5, ..merge(Tag::default()) }, Rejection::Base { current }),
    ];
    for (stale, rejection) in cases {
        assert_eq!(partition.commit(stale).await.unwrap(), CommitReply::Rejected(rejection));
        assert_eq!(tag(&partition.reader(), "a"), current);
    }
    committed(&partition, Commit { revision: 5, ..merge(current) }).await;
    odgm.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_old_field_shines_through_a_new_incarnation_or_a_replacement() {
    let temp = tempfile::tempdir().unwrap();
    let odgm = open(temp.path()).await;
    let partition = odgm.partitions()[0].clone();
    let apply = async |base, change, writes| {
        committed(&partition, commit(&partition, "a", base, change, writes)).await
    };
    let seen = || fields(&partition.snapshot(), "a").into_iter().map(|(key, _)| key).collect::<Vec<_>>();

    let first =
        apply(Tag::default(), Change::Merge, vec![write("old", Some("1")), write("x", Some("1"))]).await;
    let replaced = apply(first, Change::Replace, vec![write("x", Some("2"))]).await;
    assert_eq!((seen(), replaced.incarnation, replaced.version), (vec!["x".into()], first.incarnation, 2));
    apply(replaced, Change::Delete, vec![]).await;
    assert_eq!(tag(&partition.reader(), "a"), Tag::default());
    let second = apply(Tag::default(), Change::Merge, vec![write("new", Some("1"))]).await;
    assert_eq!(seen(), ["new"]);
    let third = apply(second, Change::Recreate, vec![write("newer", Some("1"))]).await;
    assert_eq!((seen(), third.version), (vec!["newer".into()], 1));
    assert!(first.incarnation < second.incarnation && second.incarnation < third.incarnation);
    odgm.shutdown().await;
}

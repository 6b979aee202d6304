//! Turns of one object that run ahead of their commits, on a host that is its cluster's only one.

#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use futures::future::join_all;
use futures::{FutureExt as _, StreamExt as _};
use oprc_mesh::id::{ClassName, ObjectId};
use oprc_mesh::outcome::{Code, Problem};
use oprc_mesh::wire::{FieldWrite, Precondition, Tag, WriteMode, WriteObject, Written};
use oprc_odgm::{Change, Commit, CommitReply, Partition, Post};

use super::tests::{Bed, soon};

const WRITES: usize = 400;

impl Bed {
    fn request(&self, mode: WriteMode, key: &str) -> WriteObject {
        let field = |key: &str| FieldWrite { key: key.into(), value: Some(Bytes::from_static(b"v")) };
        WriteObject {
            class: "C".into(),
            object: "o".into(),
            mode: mode as i32,
            fields: if mode == WriteMode::Delete { Vec::new() } else { vec![field(key)] },
            revision: self.revision,
            ..WriteObject::default()
        }
    }

    async fn put(&self, mode: WriteMode, key: &str) -> Result<Written, Problem> {
        self.turns.write(self.request(mode, key), soon()).await
    }

    async fn keyed(&self, key: &str, field: &str) -> Result<Written, Problem> {
        let write =
            WriteObject { invocation: key.into(), keyed: true, ..self.request(WriteMode::Merge, field) };
        self.turns.write(write, soon()).await
    }

    fn home(&self) -> (u64, std::sync::Arc<Partition>) {
        let view = self.odgm.catalog().view();
        let class = view.class("C").unwrap();
        let object = ObjectId::parse("o").unwrap();
        let group = view.locate(class, &ClassName::parse("C").unwrap(), &object).unwrap().group;
        (class.id, self.odgm.partition(group).unwrap())
    }

    fn tag(&self) -> Tag {
        let (class, partition) = self.home();
        partition.reader().head(class, &ObjectId::parse("o").unwrap()).unwrap().unwrap().tag
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn turns_of_one_object_share_entries_and_keep_their_order() {
    let bed = Bed::new().await;
    bed.put(WriteMode::Merge, "first").await.unwrap();
    let before = bed.odgm.log_stats();
    let keys: Vec<String> = (0..WRITES).map(|n| format!("k{n}")).collect();
    let written = join_all(keys.iter().map(|key| bed.put(WriteMode::Merge, key))).await;
    // they were polled in their order, and so they came to the mailbox
    let versions: Vec<u64> =
        written.into_iter().map(|written| written.unwrap().tag.unwrap().version).collect();
    assert_eq!(versions, (2..2 + WRITES as u64).collect::<Vec<_>>());
    let after = bed.odgm.log_stats();
    let entries = (after.entries - before.entries) as usize;
    assert!(entries < WRITES / 4, "{WRITES} turns took {entries} entries");
    bed.odgm.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_sees_what_is_under_way_and_its_answer_waits_for_it() {
    let bed = Bed::new().await;
    bed.put(WriteMode::Merge, "there").await.unwrap();
    let gone = async {
        let request = WriteObject {
            fields: vec![FieldWrite { key: "new".into(), value: None }],
            ..bed.request(WriteMode::DeleteField, "")
        };
        bed.turns.write(request, soon()).await
    };
    let precondition =
        |version| Some(Precondition { tags: vec![Tag { version, ..bed.tag() }], ..Precondition::default() });
    let at = |version, key| {
        let request =
            WriteObject { precondition: precondition(version), ..bed.request(WriteMode::Merge, key) };
        bed.turns.write(request, soon())
    };
    // each begins before the one before it is durable, and stands on it all the same
    let (set, gone, matched, missed) =
        tokio::join!(bed.put(WriteMode::Merge, "new"), gone, at(3, "x"), at(3, "y"));
    assert_eq!(set.unwrap().tag.unwrap().version, 2);
    assert_eq!(gone.unwrap().tag.unwrap().version, 3);
    assert_eq!(matched.unwrap().tag.unwrap().version, 4);
    let missed = missed.unwrap_err();
    assert_eq!(missed.kind(), Code::VersionMismatch);
    // the answer that it gave is of a state that is committed
    assert!(missed.detail.contains(&format!("{}.4", bed.tag().incarnation)), "{missed}");
    assert_eq!(bed.tag().version, 4);
    bed.odgm.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_runs_ahead_of_an_object_that_begins_anew() {
    let bed = Bed::new().await;
    for round in 0..20 {
        let (a, b, gone, anew, next, replaced, last) = tokio::join!(
            bed.put(WriteMode::Merge, "a"),
            bed.put(WriteMode::Merge, "b"),
            bed.put(WriteMode::Delete, ""),
            bed.put(WriteMode::Merge, "c"),
            bed.put(WriteMode::Merge, "d"),
            bed.put(WriteMode::Replace, "e"),
            bed.put(WriteMode::Merge, "f"),
        );
        let tags = [a, b, anew, next, replaced, last].map(|written| written.unwrap().tag.unwrap());
        assert_eq!(gone.unwrap(), Written::default(), "round {round}");
        let [a, b, anew, next, replaced, last] = tags;
        assert_eq!((a.incarnation, a.version + 1), (b.incarnation, b.version));
        assert!(anew.incarnation > b.incarnation);
        let versions = [anew, next, replaced, last].map(|tag| (tag.incarnation, tag.version));
        assert_eq!(versions, [1, 2, 3, 4].map(|version| (anew.incarnation, version)), "round {round}");
    }
    let (class, partition) = bed.home();
    let object = ObjectId::parse("o").unwrap();
    let reader = partition.reader();
    let head = reader.head(class, &object).unwrap().unwrap();
    let (fields, _) = reader.fields(class, &object, &head, "", "", 10, 1 << 20).unwrap();
    assert_eq!(fields.into_iter().map(|field| field.key).collect::<Vec<_>>(), ["e", "f"]);
    bed.odgm.shutdown().await;
}

/// Commits to the object past its mailbox, as another leader's commits would come: what was built on the state before
/// cannot stand.
#[tokio::test(flavor = "multi_thread")]
async fn turns_that_were_built_on_what_did_not_stand_run_again() {
    let bed = Bed::new().await;
    bed.put(WriteMode::Merge, "first").await.unwrap();
    let (class, partition) = bed.home();
    let disturb = async {
        let mut done = 0;
        for _ in 0..200 {
            let commit = Commit {
                term: partition.leadership().unwrap(),
                class,
                revision: bed.revision,
                object: ObjectId::parse("o").unwrap(),
                base: bed.tag(),
                change: Change::Merge,
                writes: vec![FieldWrite { key: "other".into(), value: Some(Bytes::new()) }],
                invocation: String::new(),
                outcome: None,
                emitted: Vec::new(),
                post: Post::default(),
            };
            match partition.commit(commit).await.unwrap() {
                CommitReply::Committed(_) => done += 1,
                CommitReply::Rejected(_) => {}
                other @ CommitReply::Known(_) => panic!("{other:?}"),
            }
        }
        done
    };
    let keys: Vec<String> = (0..WRITES).map(|n| format!("k{n}")).collect();
    let writes = futures::stream::iter(&keys)
        .map(|key| bed.put(WriteMode::Merge, key))
        .buffer_unordered(32)
        .collect::<Vec<_>>();
    let (written, disturbed) = tokio::join!(writes, disturb);
    let mut versions: Vec<u64> = Vec::new();
    let mut refused = 0;
    for written in written {
        match written {
            Ok(written) => versions.push(written.tag.unwrap().version),
            // run again too often: it says that it did not run
            Err(problem) => {
                assert_eq!(problem.kind(), Code::Unavailable);
                refused += 1;
            }
        }
    }
    versions.sort_unstable();
    versions.dedup();
    assert_eq!(versions.len() + refused, WRITES, "every version is given once");
    assert_eq!(bed.tag().version, 1 + versions.len() as u64 + disturbed, "and all that was told took effect");
    assert!(disturbed > 0 && versions.len() > WRITES / 2, "{disturbed} {}", versions.len());
    bed.odgm.shutdown().await;
}

/// A change after which the object's fields begin anew is not run ahead of. Its caller goes away while it is under way, and two
/// more turns come: what the second builds on the first must not be taken to stand on the change instead, though that leads to the
/// same version.
#[tokio::test(flavor = "multi_thread")]
async fn who_goes_away_leaves_nobody_to_build_on_the_state_before() {
    let bed = Bed::new().await;
    bed.put(WriteMode::Merge, "first").await.unwrap();
    for round in 0..300 {
        let mut gone = Box::pin(bed.put(WriteMode::Replace, "anew"));
        assert!((&mut gone).now_or_never().is_none());
        tokio::time::sleep(std::time::Duration::from_micros(20 * (round % 20))).await;
        drop(gone);
        let (one, next) = tokio::join!(bed.put(WriteMode::Merge, "one"), bed.put(WriteMode::Merge, "next"));
        let [one, next] = [one, next].map(|written| written.unwrap().tag.unwrap().version);
        assert_eq!(one + 1, next, "round {round}: in the order in which they came");
    }
    bed.odgm.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_goes_away_takes_back_only_what_was_not_handed_over() {
    let bed = Bed::new().await;
    bed.put(WriteMode::Merge, "first").await.unwrap();
    // one that runs at once, and one that waits behind it: both callers go
    let mut handed_over = Box::pin(bed.put(WriteMode::Merge, "x"));
    let begun = (&mut handed_over).now_or_never();
    let (class, partition) = bed.home();
    let turn_of_another = bed.turns.mailboxes.enter(class, &ObjectId::parse("o").unwrap()).await.unwrap();
    let mut waiting = Box::pin(bed.put(WriteMode::Merge, "y"));
    assert!(begun.is_some() || (&mut waiting).now_or_never().is_none());
    drop((handed_over, waiting, turn_of_another));
    // those who come after find all that was handed over, and nothing else
    let after = bed.put(WriteMode::Merge, "z").await.unwrap();
    let reader = partition.reader();
    let object = ObjectId::parse("o").unwrap();
    let head = reader.head(class, &object).unwrap().unwrap();
    let (fields, _) = reader.fields(class, &object, &head, "", "", 10, 1 << 20).unwrap();
    let keys: Vec<_> = fields.into_iter().map(|field| field.key).collect();
    assert_eq!(keys, ["first", "x", "z"]);
    assert_eq!(after.tag.unwrap().version, 3);
    bed.odgm.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_under_way_is_waited_for() {
    let bed = Bed::new().await;
    bed.put(WriteMode::Merge, "first").await.unwrap();
    let tries = join_all((0..20).map(|n| {
        let (key, field) = (format!("k{}", n % 4), format!("f{}", n % 4));
        let bed = &bed;
        async move { bed.keyed(&key, &field).await.unwrap() }
    }));
    let tries = tries.await;
    assert_eq!(tries.iter().filter(|written| !written.replayed).count(), 4);
    for (n, written) in tries.iter().enumerate() {
        assert_eq!(written.tag, tries[n % 4].tag);
    }
    assert_eq!(bed.tag().version, 5);
    assert_eq!(bed.keyed("k0", "other").await.unwrap_err().kind(), Code::IdempotencyMismatch);
    bed.odgm.shutdown().await;
}

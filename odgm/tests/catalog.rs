//! The catalog decides what is deployed and which partitions run; it survives restarts.

#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use common::{class, commit, committed, fields, open, revision, tag, write};
use oprc_mesh::catalog::{ClassSettings, OwnGrid};
use oprc_mesh::outcome::Code;
use oprc_mesh::wire::Tag;
use oprc_odgm::{Change, Commit, NewRevision, Odgm, Partition};

fn with_grid(name: &str, partitions: u32, replicas: u32) -> NewRevision {
    let own_grid = Some(OwnGrid { partitions, replicas });
    NewRevision { settings: ClassSettings { own_grid, ..ClassSettings::default() }, ..revision(name, "one") }
}

#[tokio::test(flavor = "multi_thread")]
async fn deployments_are_seen_at_once_and_after_a_restart() {
    let temp = tempfile::tempdir().unwrap();
    let odgm = open(temp.path()).await;
    let catalog = odgm.catalog();
    let first = catalog.deploy(revision("A", "one")).await.unwrap();
    assert_eq!(catalog.view().class("A"), Some(&first.class));
    assert_eq!(catalog.view().revision, first.revision);
    assert!(catalog.deploy(revision("A", "one")).await.unwrap().unchanged);
    let second = catalog.deploy(revision("A", "two")).await.unwrap();
    assert_eq!((second.class.version, second.unchanged), (2, false));
    let removed = catalog.remove(&class("A"), false).await.unwrap();
    assert!(removed > second.revision && catalog.view().class("A").is_none());
    assert_eq!(catalog.versions(&class("A")).unwrap_err().kind(), Code::NotFound);
    assert_eq!(catalog.remove(&class("A"), false).await.unwrap_err().kind(), Code::NotFound);
    odgm.shutdown().await;
    drop(odgm);

    let odgm = open(temp.path()).await;
    let catalog = odgm.catalog();
    assert_eq!(catalog.view().revision, removed);
    let third = catalog.deploy(revision("A", "two")).await.unwrap();
    assert_eq!((third.class.id, third.class.version), (first.class.id, 3));
    let versions = catalog.versions(&class("A")).unwrap();
    assert_eq!(versions.iter().map(|version| version.version).collect::<Vec<_>>(), [1, 2, 3]);
    odgm.shutdown().await;
}

async fn own_partition(odgm: &Odgm, name: &str) -> Arc<Partition> {
    let group = odgm.catalog().view().grid(name).unwrap().partitions[0].group;
    let mut leads = odgm.leadership();
    leads.wait_for(|leads| leads.iter().any(|lead| lead.group == group)).await.unwrap();
    odgm.partition(group).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grid_of_its_own_starts_with_the_class_and_goes_with_its_purge() {
    let temp = tempfile::tempdir().unwrap();
    let odgm = open(temp.path()).await;
    let refused = odgm.catalog().deploy(with_grid("A", 2, 2)).await.unwrap_err();
    assert_eq!(refused.kind(), Code::Invalid);
    assert!(refused.to_string().contains("1 host"), "{refused}");
    odgm.catalog().deploy(with_grid("A", 2, 1)).await.unwrap();
    let partition = own_partition(&odgm, "A").await;
    committed(
        &partition,
        commit(&partition, "a", Tag::default(), Change::Merge, vec![write("x", Some("1"))]),
    )
    .await;
    let group = partition.group();
    drop(partition);
    odgm.shutdown().await;
    drop(odgm);

    let odgm = open(temp.path()).await;
    assert_eq!(odgm.partitions().len(), 18);
    assert_eq!(fields(&odgm.partition(group).unwrap().reader(), "a").len(), 1);
    odgm.catalog().remove(&class("A"), true).await.unwrap();
    let mut leads = odgm.leadership();
    leads.wait_for(|leads| leads.iter().all(|lead| lead.group != group)).await.unwrap();
    assert!(odgm.partition(group).is_none());
    odgm.shutdown().await;
    drop(odgm);

    let odgm = open(temp.path()).await;
    assert_eq!(odgm.partitions().len(), 16);
    odgm.shutdown().await;
}

/// Records of the class on the disk, as far as a reader with the old head can see them.
fn left(partition: &Partition, class: u64, head: &oprc_odgm::Head) -> usize {
    partition.reader().fields(class, &common::id("a"), head, "", "", 10, 1000).unwrap().0.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_class_keeps_its_objects_and_a_purged_one_does_not() {
    let temp = tempfile::tempdir().unwrap();
    let odgm = open(temp.path()).await;
    let deployed = odgm.catalog().deploy(revision("A", "one")).await.unwrap().class;
    let partition = odgm.partitions()[0].clone();
    let write = commit(&partition, "a", Tag::default(), Change::Merge, vec![write("x", Some("1"))]);
    let base = committed(&partition, Commit { class: deployed.id, ..write }).await;
    odgm.catalog().remove(&class("A"), false).await.unwrap();
    let back = odgm.catalog().deploy(revision("A", "two")).await.unwrap().class;
    assert_eq!((back.id, deployed.id), (1, 1));
    assert_eq!((tag(&partition.reader(), "a"), fields(&partition.reader(), "a").len()), (base, 1));

    let head = partition.reader().head(1, &common::id("a")).unwrap().unwrap();
    odgm.catalog().remove(&class("A"), true).await.unwrap();
    let anew = odgm.catalog().deploy(revision("A", "two")).await.unwrap().class;
    assert_eq!(anew.id, 2);
    assert_eq!(partition.reader().head(anew.id, &common::id("a")).unwrap(), None);
    while left(&partition, 1, &head) > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(partition.reader().head(1, &common::id("a")).unwrap(), None);
    odgm.shutdown().await;
}

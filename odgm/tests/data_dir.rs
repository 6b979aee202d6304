//! A data directory belongs to one process and one format at a time.

#![allow(clippy::unwrap_used)]

mod common;

use common::{commit, increment, open, tag, write};
use oprc_mesh::outcome::{Code, Effect};
use oprc_odgm::{Change, Odgm, OdgmConfig, OdgmError};

#[tokio::test(flavor = "multi_thread")]
async fn a_second_grid_on_the_same_directory_is_refused_by_name() {
    let temp = tempfile::tempdir().unwrap();
    let odgm = open(temp.path()).await;
    let node = odgm.node_id();
    let error = Odgm::open(OdgmConfig::new(temp.path())).await.err().unwrap();
    assert!(matches!(error, OdgmError::Locked { .. }), "{error}");
    assert!(error.to_string().contains(&temp.path().display().to_string()), "{error}");
    odgm.shutdown().await;
    drop(odgm);
    let odgm = open(temp.path()).await;
    assert_eq!(odgm.node_id(), node);
    odgm.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_of_a_newer_version_is_refused_and_left_alone() {
    let temp = tempfile::tempdir().unwrap();
    std::fs::write(temp.path().join("format"), "99\n").unwrap();
    let error = Odgm::open(OdgmConfig::new(temp.path())).await.err().unwrap();
    assert!(matches!(error, OdgmError::Format { found: 99, .. }), "{error}");
    assert!(!temp.path().join("state").exists() && !temp.path().join("log").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_cannot_be_a_directory_is_named() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("file");
    std::fs::write(&path, "").unwrap();
    let error = Odgm::open(OdgmConfig::new(&path)).await.err().unwrap();
    assert!(error.to_string().contains(&path.display().to_string()), "{error}");
}

/// An empty grid must not take the place of a lost one.
#[tokio::test(flavor = "multi_thread")]
async fn a_directory_without_its_databases_is_refused_and_left_alone() {
    for lost in ["log", "state"] {
        let temp = tempfile::tempdir().unwrap();
        let odgm = open(temp.path()).await;
        odgm.shutdown().await;
        drop(odgm);
        std::fs::remove_dir_all(temp.path().join(lost)).unwrap();
        let error = Odgm::open(OdgmConfig::new(temp.path())).await.err().unwrap();
        assert!(matches!(error, OdgmError::Incomplete { missing, .. } if missing == lost), "{error}");
        assert!(error.to_string().contains(&temp.path().display().to_string()), "{error}");
        assert!(!temp.path().join(lost).exists());
    }
}

/// What was voted on under one id is not to be led under another.
#[tokio::test(flavor = "multi_thread")]
async fn a_directory_without_its_node_id_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let odgm = open(temp.path()).await;
    odgm.shutdown().await;
    drop(odgm);
    std::fs::remove_file(temp.path().join("node-id")).unwrap();
    let error = Odgm::open(OdgmConfig::new(temp.path())).await.err().unwrap();
    assert!(matches!(error, OdgmError::Incomplete { missing: "node-id", .. }), "{error}");
}

/// Open files can still be written when their directory is gone; that is not durable, so it is no success.
#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_removed_meanwhile_stops_the_node() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("data");
    let odgm = open(&dir).await;
    let partition = odgm.partitions()[0].clone();
    increment(&partition, "a").await;
    let base = tag(&partition.reader(), "a");
    let next = commit(&partition, "a", base, Change::Merge, vec![write("value", Some("2"))]);
    std::fs::remove_dir_all(&dir).unwrap();
    let problem = partition.commit(next).await.unwrap_err();
    assert_eq!((problem.kind(), problem.effect()), (Code::Unavailable, Effect::Unknown));
    let reason = odgm.poisoned().wait_for(Option::is_some).await.unwrap().clone().unwrap();
    assert!(reason.contains("removed"), "{reason}");
    odgm.shutdown().await;
}

//! A damaged log is refused. To leave out what cannot be read would lose commits that were acknowledged.

#![allow(clippy::unwrap_used)]

mod common;

use std::path::{Path, PathBuf};

use common::{fields, increment, open};
use oprc_odgm::{Odgm, OdgmConfig};

const COMMITS: u64 = 40;

/// A data directory as a crash leaves it, with everything in the newest file of the log's WAL.
async fn crashed() -> tempfile::TempDir {
    let (temp, image) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let odgm = open(temp.path()).await;
    for _ in 0..COMMITS {
        increment(&odgm.partitions()[0], "a").await;
    }
    copy(temp.path(), image.path());
    odgm.shutdown().await;
    image
}

/// Nothing is written meanwhile: all that was asked for is acknowledged, and a checkpoint is far away.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn newest_wal(dir: &Path) -> PathBuf {
    let files = std::fs::read_dir(dir.join("log")).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "log")).max().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_in_the_middle_is_refused() {
    let image = crashed().await;
    let wal = newest_wal(image.path());
    let mut bytes = std::fs::read(&wal).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&wal, bytes).unwrap();
    let error = Odgm::open(OdgmConfig::new(image.path())).await.err().expect("a damaged log is not opened");
    assert!(error.to_string().contains("log database") && error.to_string().contains("restore"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_last_record_that_is_not_whole_is_left_out() {
    let image = crashed().await;
    let wal = newest_wal(image.path());
    let bytes = std::fs::metadata(&wal).unwrap().len();
    std::fs::File::options().write(true).open(&wal).unwrap().set_len(bytes - 3).unwrap();
    let odgm = open(image.path()).await;
    let value = (COMMITS - 1).to_string();
    assert_eq!(fields(&odgm.partitions()[0].reader(), "a"), [("value".to_owned(), value)]);
    odgm.shutdown().await;
}

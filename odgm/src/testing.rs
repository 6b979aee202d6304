//! What unit tests share: a data directory of their own, and commits applied without Raft.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;
use std::{fs, io};

use bytes::Bytes;
use oprc_mesh::id::ObjectId;
use oprc_mesh::wire::{FieldWrite, Tag};
use rocksdb::WriteBatch;
use tempfile::TempDir;

use crate::apply::apply_batch;
use crate::config::OdgmConfig;
use crate::error::OdgmError;
use crate::log_writer::{CheckpointDue, LogWriter};
use crate::mail::{Below, Desk, Records};
use crate::poison::Poison;
use crate::record::{CommitBatch, CommitRecord, LogIdRecord, StateRecord};
use crate::store::{GroupState, Reader, Store};
use crate::types::{Change, CommitReply};

/// An open data directory that goes away with the test.
pub(crate) struct Bed {
    pub(crate) poison: Poison,
    pub(crate) writer: LogWriter,
    pub(crate) store: Arc<Store>,
    dir: TempDir,
}

impl Bed {
    pub(crate) fn new() -> Self {
        Self::open(tempfile::tempdir().unwrap())
    }

    fn open(dir: TempDir) -> Self {
        let poison = Poison::new();
        let store = Arc::new(Store::open(&OdgmConfig::new(dir.path()), &poison).unwrap());
        let never = CheckpointDue { bytes: u64::MAX, entries: u64::MAX };
        let writer = LogWriter::start(store.log.clone(), poison.clone(), never).unwrap();
        Self { poison, writer, store, dir }
    }

    /// What a crash at this moment would leave: the files as they are, opened elsewhere. (Closing the database would
    /// write out what is in its memory.)
    pub(crate) fn crash(self) -> Self {
        Self::open(copy_dir(self.dir.path()))
    }

    pub(crate) fn group(&self, id: u64) -> Arc<GroupState> {
        Arc::new(GroupState::open(&self.store.state, id).unwrap())
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.writer.stop();
    }
}

/// Copies a directory with all that is in it, as it is at one moment: what is changed in the background meanwhile is
/// copied again.
pub(crate) fn copy_dir(from: &Path) -> TempDir {
    loop {
        let to = tempfile::tempdir().unwrap();
        let before = copy(from, None);
        let copied = copy(from, Some(to.path()));
        let after = copy(from, None);
        match (before, copied, after) {
            (Ok(before), Ok(_), Ok(after)) if before == after => return to,
            _ => std::thread::yield_now(),
        }
    }
}

/// Each file's path, length and time of change; copied as well, if told where.
fn copy(from: &Path, to: Option<&Path>) -> io::Result<BTreeMap<PathBuf, (u64, SystemTime)>> {
    let mut files = BTreeMap::new();
    if let Some(to) = to {
        fs::create_dir_all(to)?;
    }
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, target) = (entry.path(), to.map(|to| to.join(entry.file_name())));
        let about = entry.metadata()?;
        if about.is_dir() {
            files.extend(copy(&path, target.as_deref())?);
        } else {
            if let Some(target) = target {
                fs::copy(&path, target)?;
            }
            files.insert(path, (about.len(), about.modified()?));
        }
    }
    Ok(files)
}

/// Boxes with nothing in them.
pub(crate) struct NoMail;

impl Below for NoMail {
    fn get(&self, _: &[u8]) -> Result<Option<Vec<u8>>, OdgmError> {
        Ok(None)
    }

    fn scan(&self, _: &[u8], _: &[u8], _: usize) -> Result<Records, OdgmError> {
        Ok(Vec::new())
    }
}

/// A commit of term 1 and revision 1 to class 1.
pub(crate) fn commit(
    object: &str,
    base: Tag,
    change: Change,
    writes: &[(&str, Option<&str>)],
) -> CommitRecord {
    let write = |(key, value): &(&str, Option<&str>)| FieldWrite {
        key: (*key).to_owned(),
        value: value.map(|value| Bytes::copy_from_slice(value.as_bytes())),
    };
    CommitRecord {
        term: 1,
        class: 1,
        revision: 1,
        object: object.to_owned(),
        base,
        change: change as i32,
        writes: writes.iter().map(write).collect(),
        invocation: "test".into(),
        ..CommitRecord::default()
    }
}

/// Applies commits as the entry at `index` of term 1.
pub(crate) fn apply_at(group: &GroupState, index: u64, commits: &[CommitRecord]) -> Vec<CommitReply> {
    let entry = CommitBatch { commits: commits.to_vec(), now_ms: 0 };
    let mut desk = Desk::new(group, group.space().group, index, 0);
    let (effects, replies) = apply_batch(group, &mut desk, &entry, 1, index).unwrap();
    let mut batch = WriteBatch::default();
    group.put(&mut batch, &effects);
    let mut bounds = group.event_bounds().unwrap();
    group.append_events(&mut batch, &mut bounds, &effects).unwrap();
    group.put_mail(&mut batch, desk);
    let applied = Some(LogIdRecord { term: 1, index });
    group.write(batch, &StateRecord { format: 1, applied, ..StateRecord::default() }).unwrap();
    group.show_events(bounds.last);
    replies
}

/// Applies one commit that must be accepted; gives where the object stands.
pub(crate) fn applied(group: &GroupState, index: u64, commit: CommitRecord) -> Tag {
    match apply_at(group, index, &[commit])[..] {
        [CommitReply::Committed(tag)] => tag.unwrap_or_default(),
        ref other => panic!("{other:?}"),
    }
}

pub(crate) fn id(text: &str) -> ObjectId {
    ObjectId::parse(text).unwrap()
}

/// All fields of an object of class 1 as text; empty when it does not exist.
pub(crate) fn fields(reader: &Reader, object: &str) -> Vec<(String, String)> {
    let Some(head) = reader.head(1, &id(object)).unwrap() else { return Vec::new() };
    let (fields, more) = reader.fields(1, &id(object), &head, "", "", 1000, 1 << 20).unwrap();
    assert!(!more);
    fields.into_iter().map(|field| (field.key, String::from_utf8(field.value.to_vec()).unwrap())).collect()
}

pub(crate) fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Applies one entry that changes a group's message boxes.
pub(crate) fn mail_entry(group: &GroupState, index: u64, now_ms: u64, work: impl FnOnce(&mut Desk<'_>)) {
    let mut desk = Desk::new(group, group.space().group, index, now_ms);
    work(&mut desk);
    let mut batch = WriteBatch::default();
    group.put_mail(&mut batch, desk);
    group.write(batch, &StateRecord { format: 1, ..StateRecord::default() }).unwrap();
}

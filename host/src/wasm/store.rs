//! Components on disk, named by their digest: there only once they are whole, checked and durable.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use oprc_mesh::id::Digest;
use oprc_mesh::limits::{COMPONENT_BYTES_MAX, COMPONENT_CHUNK_BYTES};
use oprc_mesh::outcome::{Code, Problem};
use oprc_mesh::wire::{ChunkRead, ChunkStored, PutChunk};
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

use super::error::RuntimeError;

/// Uploads at the same time; one more is `overloaded`, unless an idle one can make room.
const UPLOADS_MAX: usize = 16;
/// An upload without a chunk for so long may be dropped to make room.
const UPLOAD_IDLE: Duration = Duration::from_secs(30);
/// When to try again after the uploads were full.
const RETRY_MS: u64 = 1_000;
/// How long a component stays that nothing needs. A deployment is over long before, one way or the other.
pub(super) const KEEP: Duration = Duration::from_hours(1);
/// Files that are not whole yet begin so.
const TEMPORARY: &str = "upload-";

/// The component store. Clones share it.
#[derive(Clone)]
pub(crate) struct Components(Arc<Shared>);

struct Shared {
    dir: PathBuf,
    uploads: Mutex<HashMap<Key, Arc<Mutex<Upload>>>>,
    /// Components that were found damaged, and removed, since the start.
    damaged: Mutex<HashSet<Digest>>,
    /// Components that were seen to be needed by nothing, and since when; until somebody wants one of them.
    idle: Mutex<HashMap<Digest, Instant>>,
    /// Names temporary files.
    counter: AtomicU64,
}

/// Uploads of the same component are told apart by the uploader's own name for them.
type Key = (Digest, String);

/// A component on its way. Dropping it removes its file, unless the file has become the component.
struct Upload {
    file: File,
    path: PathBuf,
    hash: Sha256,
    size: u64,
    written: u64,
    used: Instant,
}

impl Components {
    /// Opens the folder, makes it if need be, and removes what unfinished uploads left.
    pub(super) fn open(dir: &Path) -> Result<Self, RuntimeError> {
        let failed = |source| RuntimeError::Io {
            operation: "open the component folder",
            path: dir.to_owned(),
            source,
        };
        fs::create_dir_all(dir).map_err(failed)?;
        // what is made durable in the folder is lost with the folder
        dir.parent().map_or(Ok(()), |above| File::open(above)?.sync_all()).map_err(failed)?;
        for entry in fs::read_dir(dir).map_err(failed)?.flatten() {
            if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
                fs::remove_file(entry.path()).map_err(failed)?;
            }
        }
        let (uploads, damaged, idle) = (Mutex::default(), Mutex::default(), Mutex::default());
        let shared = Shared { dir: dir.to_owned(), uploads, damaged, idle, counter: AtomicU64::new(0) };
        Ok(Self(Arc::new(shared)))
    }

    /// The component is here, whole and durable.
    #[cfg(test)]
    pub(crate) fn contains(&self, digest: &Digest) -> bool {
        self.0.path(digest).is_file()
    }

    /// The same, and it stays for at least [`KEEP`]: whoever is told so may deploy it.
    pub(crate) fn hold(&self, digest: &Digest) -> bool {
        self.0.hold(digest)
    }

    /// Takes a piece of a component. Pieces come in order; one at offset 0 begins anew; with the last one the digest is
    /// checked and the component made durable. When the component is here already, any piece completes.
    ///
    /// # Errors
    /// `payload-too-large`, `invalid` for a piece out of order or a wrong digest, `overloaded`, `internal` when the disk
    /// fails.
    pub(crate) async fn put(&self, chunk: PutChunk) -> Result<ChunkStored, Problem> {
        let shared = Arc::clone(&self.0);
        let stored = tokio::task::spawn_blocking(move || shared.put(&chunk)).await;
        stored
            .map_err(|error| Problem::new(Code::Internal, format!("storing a component failed: {error}")))?
    }

    /// A piece of a component: what a host that fetches it puts into its own store.
    ///
    /// # Errors
    /// `not-found`; `internal` when the disk fails.
    pub(crate) async fn piece(&self, digest: Digest, offset: u64) -> Result<ChunkRead, Problem> {
        let shared = Arc::clone(&self.0);
        let read = tokio::task::spawn_blocking(move || shared.piece(&digest, offset)).await;
        read.map_err(|error| Problem::new(Code::Internal, format!("reading a component failed: {error}")))?
    }

    /// A component's bytes. Blocks on the file system.
    ///
    /// # Errors
    /// `not-found`, also when the file is not what it was; `internal` when it cannot be read.
    pub(crate) fn read(&self, digest: &Digest) -> Result<Vec<u8>, Problem> {
        let bytes = fs::read(self.0.path(digest)).map_err(|error| self.0.unreadable(&error, digest))?;
        if Digest::of(&bytes) != *digest {
            // it counts as not held, so that an upload or another host brings it back
            self.0.damaged.lock().insert(*digest);
            self.remove(digest)?;
            return Err(self.0.unreadable(&io::ErrorKind::NotFound.into(), digest));
        }
        Ok(bytes)
    }
}

impl Components {
    /// Removes the components that were not in `needed` for [`KEEP`], and that nobody wanted to be held meanwhile; gives
    /// them. `needed` is what was needed `as_of` then, if not later. Blocks on the file system.
    pub(super) fn sweep(&self, needed: &BTreeSet<Digest>, now: Instant, as_of: Instant) -> Vec<Digest> {
        let mut idle = self.0.idle.lock();
        let names = fs::read_dir(&self.0.dir).into_iter().flatten().flatten().map(|entry| entry.file_name());
        let here = names.filter_map(|name| name.to_str()?.parse::<Digest>().ok());
        let unneeded: HashSet<_> = here.filter(|digest| !needed.contains(digest)).collect();
        idle.retain(|digest, _| unneeded.contains(digest));
        let mut gone = Vec::new();
        for digest in unneeded {
            let since = *idle.entry(digest).or_insert(now);
            let long = as_of.checked_duration_since(since).is_some_and(|idle| idle >= KEEP);
            if long && self.remove(&digest).is_ok() {
                idle.remove(&digest);
                gone.push(digest);
            }
        }
        gone
    }

    /// Removes a component; one that is not here is fine. Blocks on the file system.
    ///
    /// # Errors
    /// `internal` when the file stays.
    pub(super) fn remove(&self, digest: &Digest) -> Result<(), Problem> {
        match fs::remove_file(self.0.path(digest)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Problem::new(Code::Internal, format!("component {digest} cannot be removed: {error}")))
            }
            _ => Ok(()),
        }
    }
}

impl Shared {
    fn path(&self, digest: &Digest) -> PathBuf {
        self.dir.join(digest.to_string())
    }

    fn hold(&self, digest: &Digest) -> bool {
        let mut idle = self.idle.lock(); // nothing is swept away between this look and its answer
        idle.remove(digest);
        self.path(digest).is_file()
    }

    fn unreadable(&self, error: &io::Error, digest: &Digest) -> Problem {
        if error.kind() != io::ErrorKind::NotFound {
            return Problem::new(Code::Internal, format!("component {digest} cannot be read: {error}"));
        }
        let detail = if self.damaged.lock().contains(digest) {
            format!("component {digest} is damaged on this host's disk")
        } else {
            format!("this host does not hold component {digest}")
        };
        Problem::new(Code::NotFound, detail)
    }

    fn piece(&self, digest: &Digest, offset: u64) -> Result<ChunkRead, Problem> {
        let failed = |error: io::Error| self.unreadable(&error, digest);
        let file = File::open(self.path(digest)).map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len();
        let bytes = size.saturating_sub(offset).min(COMPONENT_CHUNK_BYTES as u64);
        let mut data = vec![0; bytes as usize];
        file.read_exact_at(&mut data, offset).map_err(failed)?;
        Ok(ChunkRead { size, data: data.into() })
    }

    fn put(&self, chunk: &PutChunk) -> Result<ChunkStored, Problem> {
        let digest = check(chunk)?;
        if self.hold(&digest) {
            return Ok(ChunkStored { complete: true });
        }
        let key = (digest, chunk.upload.clone());
        let upload = if chunk.offset == 0 { self.begin(&key, chunk.size)? } else { self.find(&key)? };
        let mut upload = upload.lock();
        let outcome = upload.append(chunk).and_then(|()| {
            let complete = upload.written == upload.size;
            if complete { self.finish(&mut upload, &digest).map(|()| true) } else { Ok(false) }
        });
        if !matches!(outcome, Ok(false)) {
            self.uploads.lock().remove(&key);
        }
        outcome.map(|complete| ChunkStored { complete })
    }

    fn begin(&self, key: &Key, size: u64) -> Result<Arc<Mutex<Upload>>, Problem> {
        let mut uploads = self.uploads.lock();
        uploads.remove(key);
        if uploads.len() >= UPLOADS_MAX {
            // One whose lock is taken is being written to right now.
            uploads.retain(|_, upload| {
                upload.try_lock().is_none_or(|upload| upload.used.elapsed() < UPLOAD_IDLE)
            });
        }
        if uploads.len() >= UPLOADS_MAX {
            let detail = format!("{UPLOADS_MAX} components are being uploaded already");
            return Err(Problem::new(Code::Overloaded, detail).retry_after_ms(RETRY_MS));
        }
        let path = self.dir.join(format!("{TEMPORARY}{}", self.counter.fetch_add(1, Ordering::Relaxed)));
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(&path);
        let file = file.map_err(|error| disk(&error))?;
        let upload = Upload { file, path, hash: Sha256::new(), size, written: 0, used: Instant::now() };
        let upload = Arc::new(Mutex::new(upload));
        uploads.insert(key.clone(), Arc::clone(&upload));
        Ok(upload)
    }

    fn find(&self, key: &Key) -> Result<Arc<Mutex<Upload>>, Problem> {
        let found = self.uploads.lock().get(key).cloned();
        found.ok_or_else(|| {
            Problem::new(Code::Invalid, "no such upload is under way")
                .hint("begin anew with the piece at offset 0")
        })
    }

    /// Check, write, rename, and only then say that it is there.
    fn finish(&self, upload: &mut Upload, digest: &Digest) -> Result<(), Problem> {
        let found = upload.hash.clone().finalize();
        if found.as_slice() != digest.as_bytes() {
            return Err(Problem::new(
                Code::Invalid,
                "the component does not have the digest that was announced",
            ));
        }
        upload.file.sync_all().map_err(|error| disk(&error))?;
        fs::rename(&upload.path, self.path(digest)).map_err(|error| disk(&error))?;
        File::open(&self.dir).and_then(|dir| dir.sync_all()).map_err(|error| disk(&error))?;
        self.damaged.lock().remove(digest);
        Ok(())
    }
}

/// What must hold of a piece by itself.
fn check(chunk: &PutChunk) -> Result<Digest, Problem> {
    let digest = Digest::from_bytes(&chunk.digest)?;
    if chunk.size > COMPONENT_BYTES_MAX as u64 {
        let detail =
            format!("the component has {} bytes; at most {COMPONENT_BYTES_MAX} are allowed", chunk.size);
        return Err(Problem::new(Code::PayloadTooLarge, detail));
    }
    if chunk.data.len() > COMPONENT_CHUNK_BYTES {
        let detail =
            format!("a piece has {} bytes; at most {COMPONENT_CHUNK_BYTES} are allowed", chunk.data.len());
        return Err(Problem::new(Code::PayloadTooLarge, detail));
    }
    if chunk.data.is_empty() {
        return Err(Problem::new(Code::Invalid, "a piece of a component is empty"));
    }
    Ok(digest)
}

fn disk(error: &io::Error) -> Problem {
    Problem::new(Code::Internal, format!("the component store's disk failed: {error}"))
}

impl Upload {
    fn append(&mut self, chunk: &PutChunk) -> Result<(), Problem> {
        let end = chunk.offset.saturating_add(chunk.data.len() as u64);
        if chunk.offset != self.written || chunk.size != self.size || end > self.size {
            let detail = format!(
                "a piece at {} to {end} of {} does not continue {} of {}",
                chunk.offset, chunk.size, self.written, self.size
            );
            return Err(Problem::new(Code::Invalid, detail).hint("begin anew with the piece at offset 0"));
        }
        self.file.write_all(&chunk.data).map_err(|error| disk(&error))?;
        self.hash.update(&chunk.data);
        self.written = end;
        self.used = Instant::now();
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // After the rename there is nothing of that name, which is as well.
        drop(fs::remove_file(&self.path));
    }
}

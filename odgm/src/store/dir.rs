//! The data directory: who holds it, which format it has, which node it is, and whether it is all there.

use std::fs::{self, File, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oprc_mesh::id::NodeId;

use crate::error::OdgmError;
use crate::record::FORMAT;

/// The databases, as directories in the data directory.
pub(super) const DATABASES: [&str; 2] = ["log", "state"];

/// A data directory that this handle alone holds.
pub(crate) struct DataDir {
    path: PathBuf,
    /// None before the first start has come so far that there are databases.
    node: Option<NodeId>,
    lock: Lock,
}

/// Keeps other processes out. Clones hold the same lock; the operating system gives it back when the last one is gone,
/// however the process ends.
#[derive(Clone)]
pub(crate) struct Lock {
    file: Arc<File>,
    path: PathBuf,
}

impl Lock {
    /// Checks that the directory is still there. Where it was removed under a running process, files that are open can
    /// be written and fsynced as before, and nothing of that will ever be found again.
    ///
    /// # Errors
    /// It is not.
    pub(crate) fn check(&self) -> Result<(), OdgmError> {
        let links = self.file.metadata().map_err(OdgmError::io("look at", &self.path))?.nlink();
        if links > 0 {
            return Ok(());
        }
        let gone =
            io::Error::new(io::ErrorKind::NotFound, "it was removed while this process used its directory");
        Err(OdgmError::io("hold", &self.path)(gone))
    }
}

impl DataDir {
    /// Creates what is missing, locks it, checks its format and reads its node id.
    ///
    /// # Errors
    /// It cannot be used, is held, has a newer format, or lacks its databases.
    pub(crate) fn open(path: &Path) -> Result<Self, OdgmError> {
        create(path).map_err(OdgmError::io("create", path))?;
        let lock = lock(path)?;
        check_format(path)?;
        let node = node_id(path)?;
        if let Some(node) = node {
            check_databases(path, node)?;
        }
        Ok(Self { path: path.to_owned(), node, lock })
    }

    pub(crate) fn lock(&self) -> &Lock {
        &self.lock
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the databases are to be created.
    pub(crate) fn is_new(&self) -> bool {
        self.node.is_none()
    }

    /// The node id. A new directory gets one now that its databases are there: so whoever finds an id finds them, or
    /// knows that they were lost.
    ///
    /// # Errors
    /// The id was lost: the databases are not `empty`, and what they hold was voted on under another id.
    pub(crate) fn settle(&mut self, empty: bool) -> Result<NodeId, OdgmError> {
        if let Some(node) = self.node {
            return Ok(node);
        }
        if !empty {
            return Err(OdgmError::Incomplete { path: self.path.clone(), missing: "node-id" });
        }
        let id = NodeId(random());
        // makes the entries of the databases durable, too
        write_durably(&self.path, "node-id", &id.to_string())?;
        self.node = Some(id);
        Ok(id)
    }
}

/// Creates a directory and those above it, each durable in the one above.
pub(super) fn create(path: &Path) -> io::Result<()> {
    let path = std::path::absolute(path)?;
    let missing: Vec<&Path> = path.ancestors().take_while(|at| !at.exists()).collect();
    fs::create_dir_all(&path)?;
    for above in missing.iter().filter_map(|at| at.parent()) {
        File::open(above)?.sync_all()?;
    }
    Ok(())
}

fn check_databases(dir: &Path, node: NodeId) -> Result<(), OdgmError> {
    // a RocksDB database has a file of this name from its creation on
    let lost = DATABASES.into_iter().find(|name| !dir.join(name).join("CURRENT").is_file());
    let Some(missing) = lost else { return Ok(()) };
    tracing::error!(%node, missing, "the data directory has lost a database");
    Err(OdgmError::Incomplete { path: dir.to_owned(), missing })
}

fn lock(dir: &Path) -> Result<Lock, OdgmError> {
    let path = dir.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(OdgmError::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(Lock { file: Arc::new(file), path }),
        Err(TryLockError::WouldBlock) => Err(OdgmError::Locked { path: dir.to_owned() }),
        Err(TryLockError::Error(source)) => Err(OdgmError::io("lock", &path)(source)),
    }
}

fn check_format(dir: &Path) -> Result<(), OdgmError> {
    let path = dir.join("format");
    let Some(text) = read(&path)? else {
        return write_durably(dir, "format", &FORMAT.to_string());
    };
    let found =
        text.trim().parse::<u32>().map_err(|error| OdgmError::corrupt(path.display().to_string(), error))?;
    if found > FORMAT {
        return Err(OdgmError::Format { path: dir.to_owned(), found, known: FORMAT });
    }
    Ok(())
}

fn node_id(dir: &Path) -> Result<Option<NodeId>, OdgmError> {
    let path = dir.join("node-id");
    let Some(text) = read(&path)? else { return Ok(None) };
    match u64::from_str_radix(text.trim(), 16) {
        Ok(id) if id != 0 => Ok(Some(NodeId(id))),
        _ => Err(OdgmError::corrupt(path.display().to_string(), "not a node id of 16 hexadecimal digits")),
    }
}

/// A random number that is not 0. The standard library seeds its hashers from the operating system's randomness.
fn random() -> u64 {
    RandomState::new().hash_one(std::process::id()).max(1)
}

fn read(path: &Path) -> Result<Option<String>, OdgmError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(OdgmError::io("read", path)(error)),
    }
}

/// Writes a small file so that after a crash it is there whole or not at all.
fn write_durably(dir: &Path, name: &str, text: &str) -> Result<(), OdgmError> {
    let path = dir.join(name);
    let temporary = dir.join(format!("{name}.new"));
    let write = || -> io::Result<()> {
        let mut file = File::create(&temporary)?;
        writeln!(file, "{text}")?;
        file.sync_all()?;
        fs::rename(&temporary, &path)?;
        File::open(dir)?.sync_all()
    };
    write().map_err(OdgmError::io("write", &path))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_second_handle_is_refused_by_name_until_the_first_is_gone() {
        let temp = tempfile::tempdir().unwrap();
        let first = DataDir::open(temp.path()).unwrap();
        let error = DataDir::open(temp.path()).err().unwrap();
        assert!(matches!(error, OdgmError::Locked { .. }));
        assert!(error.to_string().contains(&temp.path().display().to_string()), "{error}");
        drop(first);
        DataDir::open(temp.path()).unwrap();
    }

    fn make_databases(dir: &Path) {
        for name in DATABASES {
            fs::create_dir_all(dir.join(name)).unwrap();
            fs::write(dir.join(name).join("CURRENT"), "").unwrap();
        }
    }

    #[test]
    fn the_node_id_is_made_once_and_stays() {
        let temp = tempfile::tempdir().unwrap();
        let mut dir = DataDir::open(temp.path()).unwrap();
        assert!(dir.is_new());
        make_databases(temp.path());
        let id = dir.settle(true).unwrap();
        assert_ne!(id.0, 0);
        drop(dir);
        let mut dir = DataDir::open(temp.path()).unwrap();
        assert!(!dir.is_new());
        assert_eq!(dir.settle(false).unwrap(), id);
    }

    #[test]
    fn a_first_start_that_was_cut_off_is_a_first_start_again() {
        let temp = tempfile::tempdir().unwrap();
        drop(DataDir::open(temp.path()).unwrap());
        make_databases(temp.path());
        let mut dir = DataDir::open(temp.path()).unwrap();
        assert!(dir.is_new());
        dir.settle(true).unwrap();
    }

    #[test]
    fn a_directory_that_lost_a_part_is_refused_by_the_parts_name() {
        for lost in ["log", "state", "node-id"] {
            let temp = tempfile::tempdir().unwrap();
            let mut dir = DataDir::open(temp.path()).unwrap();
            make_databases(temp.path());
            dir.settle(true).unwrap();
            drop(dir);
            let path = temp.path().join(lost);
            if path.is_dir() {
                fs::remove_dir_all(path).unwrap();
            } else {
                fs::remove_file(path).unwrap();
            }
            let error = DataDir::open(temp.path()).and_then(|mut dir| dir.settle(false)).err().unwrap();
            assert!(matches!(error, OdgmError::Incomplete { missing, .. } if missing == lost), "{error}");
            assert!(error.to_string().contains(&temp.path().display().to_string()), "{error}");
            assert!(error.to_string().contains("restore"), "it says what to do: {error}");
        }
    }

    #[test]
    fn missing_directories_above_are_made_too() {
        let temp = tempfile::tempdir().unwrap();
        let deep = temp.path().join("a/b/c");
        drop(DataDir::open(&deep).unwrap());
        assert!(deep.join("format").is_file());
    }

    #[test]
    fn a_newer_format_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        drop(DataDir::open(temp.path()).unwrap());
        fs::write(temp.path().join("format"), "2\n").unwrap();
        let error = DataDir::open(temp.path()).err().unwrap();
        assert!(matches!(error, OdgmError::Format { found: 2, known: 1, .. }), "{error}");
    }

    #[test]
    fn a_damaged_node_id_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir_all(temp.path()).unwrap();
        fs::write(temp.path().join("node-id"), "garbage").unwrap();
        assert!(matches!(DataDir::open(temp.path()).err().unwrap(), OdgmError::Corrupt { .. }));
    }
}

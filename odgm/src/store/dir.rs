//! The data directory: who holds it, which format it has, which node it is.

use std::fs::{self, File, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use oprc_mesh::id::NodeId;

use crate::error::OdgmError;
use crate::record::FORMAT;

/// A data directory that this handle alone holds.
pub(crate) struct DataDir {
    path: PathBuf,
    node: NodeId,
    // held until drop: the operating system gives the lock back however the process ends
    _lock: File,
}

impl DataDir {
    /// Creates what is missing, locks it, checks its format and reads or makes its node id.
    pub(crate) fn open(path: &Path) -> Result<Self, OdgmError> {
        fs::create_dir_all(path).map_err(OdgmError::io("create", path))?;
        let lock = lock(path)?;
        check_format(path)?;
        let node = node_id(path)?;
        Ok(Self { path: path.to_owned(), node, _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn node(&self) -> NodeId {
        self.node
    }
}

fn lock(dir: &Path) -> Result<File, OdgmError> {
    let path = dir.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(OdgmError::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
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

fn node_id(dir: &Path) -> Result<NodeId, OdgmError> {
    let path = dir.join("node-id");
    if let Some(text) = read(&path)? {
        return match u64::from_str_radix(text.trim(), 16) {
            Ok(id) if id != 0 => Ok(NodeId(id)),
            _ => {
                Err(OdgmError::corrupt(path.display().to_string(), "not a node id of 16 hexadecimal digits"))
            }
        };
    }
    let id = NodeId(random());
    write_durably(dir, "node-id", &id.to_string())?;
    Ok(id)
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

    #[test]
    fn the_node_id_stays() {
        let temp = tempfile::tempdir().unwrap();
        let id = DataDir::open(temp.path()).unwrap().node();
        assert_ne!(id.0, 0);
        assert_eq!(DataDir::open(temp.path()).unwrap().node(), id);
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

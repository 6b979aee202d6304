//! The data directory: who holds it, which format it has, which node it is, and of which cluster.

use std::fs::{self, File, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use oprc_mesh::id::NodeId;

use crate::error::OdgmError;
use crate::record::FORMAT;

/// The databases' directories.
pub(super) const LOG: &str = "log";
pub(super) const STATE: &str = "state";
const CLUSTER: &str = "cluster";
const ENLISTED: &str = "enlisted";

/// A data directory that this handle alone holds.
pub(crate) struct DataDir {
    path: PathBuf,
    node: NodeId,
    /// The node id is not on the disk yet.
    fresh: bool,
    // held until drop: the operating system gives the lock back however the process ends
    _lock: File,
}

impl DataDir {
    /// Creates what is missing, locks it, checks its format and reads or makes its node id.
    ///
    /// A node id promises others that this host remembers what it told them: its votes, and what it acknowledged. So one
    /// without its databases is refused; and a new one is written only once they exist, by [`Self::keep_node_id`].
    pub(crate) fn open(path: &Path) -> Result<Self, OdgmError> {
        fs::create_dir_all(path).map_err(OdgmError::io("create", path))?;
        let lock = lock(path)?;
        check_format(path)?;
        let known = node_id(path)?;
        if let Some(node) = known {
            for database in [LOG, STATE] {
                if !path.join(database).join("CURRENT").exists() {
                    return Err(OdgmError::Incomplete { path: path.to_owned(), node, missing: database });
                }
            }
        }
        let node = known.unwrap_or_else(|| NodeId(random()));
        Ok(Self { path: path.to_owned(), node, fresh: known.is_none(), _lock: lock })
    }

    /// Writes a new node id down. To be called once the databases exist and before anything is written to them.
    pub(crate) fn keep_node_id(&self) -> Result<(), OdgmError> {
        if self.fresh { write_durably(&self.path, "node-id", &self.node.to_string()) } else { Ok(()) }
    }

    /// The cluster that this host belongs to, once it does.
    pub(crate) fn cluster(&self) -> Result<Option<u64>, OdgmError> {
        let path = self.path.join(CLUSTER);
        let bad =
            || OdgmError::corrupt(path.display().to_string(), "not a cluster id of 16 hexadecimal digits");
        read(&path)?.map(|text| u64::from_str_radix(text.trim(), 16).map_err(|_| bad())).transpose()
    }

    /// Remembers the cluster, durably.
    pub(crate) fn keep_cluster(&self, cluster: u64) -> Result<(), OdgmError> {
        write_durably(&self.path, CLUSTER, &format!("{cluster:016x}"))
    }

    /// The founder that this host stands by, and its attempt.
    pub(crate) fn enlisted(&self) -> Result<Option<(u64, u64)>, OdgmError> {
        let path = self.path.join(ENLISTED);
        let number = |text: Option<&str>| u64::from_str_radix(text.unwrap_or_default(), 16);
        let Some(text) = read(&path)? else { return Ok(None) };
        let mut words = text.split_whitespace();
        match (number(words.next()), number(words.next())) {
            (Ok(founder), Ok(attempt)) => Ok(Some((founder, attempt))),
            _ => Err(OdgmError::corrupt(path.display().to_string(), "not a founder's id and its attempt")),
        }
    }

    /// Remembers the founder that this host stands by, or that it stands by none, durably.
    pub(crate) fn keep_enlisted(&self, enlisted: Option<(u64, u64)>) -> Result<(), OdgmError> {
        if let Some((founder, attempt)) = enlisted {
            return write_durably(&self.path, ENLISTED, &format!("{founder:016x} {attempt:016x}"));
        }
        let path = self.path.join(ENLISTED);
        match fs::remove_file(&path).and_then(|()| File::open(&self.path)?.sync_all()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(OdgmError::io("remove", &path)(error))
            }
            _ => Ok(()),
        }
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

fn node_id(dir: &Path) -> Result<Option<NodeId>, OdgmError> {
    let path = dir.join("node-id");
    let Some(text) = read(&path)? else { return Ok(None) };
    match u64::from_str_radix(text.trim(), 16) {
        Ok(id) if id != 0 => Ok(Some(NodeId(id))),
        _ => Err(OdgmError::corrupt(path.display().to_string(), "not a node id of 16 hexadecimal digits")),
    }
}

/// A random number that is not 0. The standard library seeds its hashers from the operating system's randomness.
pub(crate) fn random() -> u64 {
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

    fn with_databases(dir: &Path) {
        for database in [LOG, STATE] {
            fs::create_dir_all(dir.join(database)).unwrap();
            fs::write(dir.join(database).join("CURRENT"), "").unwrap();
        }
    }

    #[test]
    fn the_node_id_stays_once_it_is_kept() {
        let temp = tempfile::tempdir().unwrap();
        let first = DataDir::open(temp.path()).unwrap();
        assert_ne!(first.node().0, 0);
        drop(first);
        with_databases(temp.path());
        let second = DataDir::open(temp.path()).unwrap();
        second.keep_node_id().unwrap();
        let id = second.node();
        drop(second);
        let third = DataDir::open(temp.path()).unwrap();
        third.keep_node_id().unwrap();
        assert_eq!(third.node(), id);
    }

    #[test]
    fn a_node_id_without_a_database_is_refused_by_name() {
        for missing in [LOG, STATE] {
            let temp = tempfile::tempdir().unwrap();
            with_databases(temp.path());
            DataDir::open(temp.path()).unwrap().keep_node_id().unwrap();
            fs::remove_dir_all(temp.path().join(missing)).unwrap();
            let error = DataDir::open(temp.path()).err().unwrap();
            assert!(matches!(error, OdgmError::Incomplete { .. }), "{error}");
            assert!(error.to_string().contains(missing), "{error}");
        }
    }

    #[test]
    fn cluster_and_founder_are_remembered() {
        let temp = tempfile::tempdir().unwrap();
        let dir = DataDir::open(temp.path()).unwrap();
        assert_eq!((dir.cluster().unwrap(), dir.enlisted().unwrap()), (None, None));
        dir.keep_cluster(7).unwrap();
        dir.keep_enlisted(Some((u64::MAX, 3))).unwrap();
        assert_eq!((dir.cluster().unwrap(), dir.enlisted().unwrap()), (Some(7), Some((u64::MAX, 3))));
        dir.keep_enlisted(None).unwrap();
        dir.keep_enlisted(None).unwrap();
        assert_eq!(dir.enlisted().unwrap(), None);
        fs::write(temp.path().join(ENLISTED), "x").unwrap();
        assert!(matches!(dir.enlisted(), Err(OdgmError::Corrupt { .. })));
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

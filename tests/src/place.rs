//! Where servers under test live: ports and directories that no other test run touches, also while nothing listens on
//! them or runs in them because the test has just killed it.
//!
//! What a run holds is locked by file locks, which the system gives back however the run ends, and which other runs see
//! whatever process namespace they are in.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{LazyLock, Once};
use std::time::Duration;

use tempfile::TempDir;

/// Ports below the range from which the kernel gives ports to clients, so that one is still free when a server restarts
/// on it.
const PORT_FIRST: u16 = 12_000;
/// A run takes its ports from one block of so many, which is its own ...
const BLOCK_PORTS: u16 = 1_000;
/// ... of so many.
const BLOCKS: u16 = 18;

/// A loopback port that nobody uses, and that no other test run will use while this one runs.
///
/// # Panics
/// When there is none.
pub fn free_port() -> u16 {
    static BLOCK: LazyLock<(u16, File)> = LazyLock::new(own_block);
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = PORT_FIRST + BLOCK.0 * BLOCK_PORTS;
    loop {
        let offset = NEXT.fetch_add(1, Ordering::Relaxed);
        assert!(offset < BLOCK_PORTS, "no free port from {first} on");
        if TcpListener::bind(("127.0.0.1", first + offset)).is_ok() {
            return first + offset;
        }
    }
}

/// A block that no other run holds, with the lock that keeps it so.
fn own_block() -> (u16, File) {
    let locks = std::env::temp_dir().join("oprc-test-ports");
    fs::create_dir_all(&locks).expect("the temporary directory is writable");
    let begin = (std::process::id() % u32::from(BLOCKS)) as u16;
    for block in (0..BLOCKS).map(|n| (begin + n) % BLOCKS) {
        let path = locks.join(block.to_string());
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        // a lock file of another user's is as good as held
        if let Ok(file) = file
            && file.try_lock().is_ok()
        {
            return (block, file);
        }
    }
    panic!("{BLOCKS} test runs hold all ports; see {}", locks.display());
}

/// A directory of a server's own. Dropping it removes it.
pub(crate) struct Place {
    dir: TempDir,
    _lock: File,
}

impl Place {
    /// Makes one, and once removes those of runs that are over: the shared servers' directories outlive their run, since
    /// nothing runs at its end.
    ///
    /// # Panics
    /// When none can be made.
    pub(crate) fn new() -> Self {
        static SWEPT: Once = Once::new();
        let all = all();
        SWEPT.call_once(|| sweep(&all));
        let dir = TempDir::with_prefix_in("server-", &all).expect("a directory can be made");
        let lock = File::open(dir.path()).and_then(|lock| lock.lock().map(|()| lock));
        Self { dir, _lock: lock.expect("a directory can be locked") }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// Beside what was built and not in the system's temporary directory, which others may clean at any time.
fn all() -> PathBuf {
    let test = std::env::current_exe().expect("a running program has a path");
    // target/release/deps/e2e-0123 -> target/tmp
    let target = test.ancestors().nth(3).expect("tests run from target/<profile>/deps");
    let all = target.join("tmp");
    fs::create_dir_all(&all).expect("the target directory is writable");
    all
}

/// Between the making of a directory and its locking it must be let alone, too.
const YOUNG: Duration = Duration::from_mins(10);

fn sweep(all: &Path) {
    for entry in fs::read_dir(all).into_iter().flatten().flatten() {
        let age = entry.metadata().and_then(|about| about.modified()).ok().and_then(|at| at.elapsed().ok());
        let old = age.is_some_and(|age| age > YOUNG);
        let over = File::open(entry.path()).is_ok_and(|dir| dir.try_lock().is_ok());
        if old && over && entry.file_name().to_string_lossy().starts_with("server-") {
            // somebody else's, or gone already: no matter
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

//! Directories of tests, and the ends of the logs in them.

use std::path::Path;
use std::sync::Once;

use tempfile::TempDir;

/// A directory that is removed when dropped, and by the next test run when this one was killed before.
pub(crate) struct TestDir(TempDir);

/// Their names begin so, then comes the id of the test run's process.
const PREFIX: &str = "oprc-test-";

impl TestDir {
    pub(crate) fn make() -> Self {
        sweep();
        let dir = TempDir::with_prefix(format!("{PREFIX}{}-", std::process::id()));
        Self(dir.expect("a temporary directory can be made"))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

/// Removes what earlier runs left: what tests share outlives their run, since nothing runs at its end.
fn sweep() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let entries = std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten();
        for entry in entries {
            let name = entry.file_name().to_string_lossy().into_owned();
            let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
            if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
                // somebody else's, or gone already: no matter
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    });
}

/// The last lines of a log.
pub(crate) fn tail(log: &str) -> String {
    const LINES: usize = 40;
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

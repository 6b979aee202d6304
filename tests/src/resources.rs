//! What a process uses, as Linux tells it.

use std::fs;

/// What a process uses at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resources {
    /// Open files and sockets.
    pub files: usize,
    /// Threads.
    pub threads: usize,
    /// Memory that is resident, in KiB.
    pub resident_kib: usize,
}

impl Resources {
    /// What the process `pid` uses; none where `/proc` does not tell, or it is gone.
    pub fn of(pid: u32) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let number = |name: &str| -> Option<usize> {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse().ok()
        };
        let files = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count();
        Some(Self { files, threads: number("Threads:")?, resident_kib: number("VmRSS:")? })
    }
}

//! Why a runtime does not start.

use std::path::PathBuf;

/// Why a runtime does not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RuntimeError {
    /// The engine or its thread cannot be made; usually address space is missing.
    #[error("start the WebAssembly engine: {0}")]
    Engine(String),
    /// A folder cannot be made or read.
    #[error("{operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

//! Where the things under test lie.

use std::path::{Path, PathBuf};

/// The `oprc` binary that was built beside this test.
///
/// # Panics
/// When it is not there; the message says how to build it.
pub fn oprc() -> PathBuf {
    let test = std::env::current_exe().expect("a running program has a path");
    // target/release/deps/e2e-0123 -> target/release/oprc
    let binary =
        test.parent().and_then(Path::parent).expect("tests run from target/<profile>/deps").join("oprc");
    assert!(
        binary.is_file(),
        "{} is not there: run `make test`, or `cargo build --release -p oprc` before `cargo test --release`",
        binary.display()
    );
    binary
}

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the repository")
}

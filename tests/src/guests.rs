//! The components under test, built from source once per run into a folder of their own that outlives the clone.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{LazyLock, Mutex};

use bytes::Bytes;

use crate::binary::root;

/// Of `guest-examples`: typed, `increment` and `value`.
pub fn counter() -> Bytes {
    built("guest-examples/counter", "counter")
}

/// Of `guest-examples`: typed, with `result<_, error>`.
pub fn account() -> Bytes {
    built("guest-examples/account", "account")
}

/// Of `guest-examples`: the generic handler.
pub fn kv() -> Bytes {
    built("guest-examples/kv", "kv")
}

/// Of `tests/guests`: does on request whatever a test wants to see withstood.
pub fn prober() -> Bytes {
    built("tests/guests/prober", "prober")
}

/// Of `tests/guests`: gives back what it is given, for every type.
pub fn types() -> Bytes {
    built("tests/guests/types", "types")
}

/// Other code of the prober: its `generation` ends in this number.
///
/// # Panics
/// When the mark is not in the prober exactly once.
pub fn prober_generation(number: u32) -> Bytes {
    const MARK: &[u8] = b"test-generation-000000";
    let mut component = prober().to_vec();
    let places: Vec<_> =
        component.windows(MARK.len()).enumerate().filter(|(_, window)| *window == MARK).collect();
    assert_eq!(places.len(), 1, "the prober holds its mark once");
    let place = places[0].0;
    component[place..place + MARK.len()].copy_from_slice(generation(number).as_bytes());
    component.into()
}

/// What that code says of itself.
pub fn generation(number: u32) -> String {
    format!("test-generation-{number:06}")
}

/// Builds the project in `folder` (relative to the repository), unless this run did, and gives `<name>.wasm`.
fn built(folder: &str, name: &str) -> Bytes {
    static BUILT: LazyLock<Mutex<HashMap<String, Bytes>>> = LazyLock::new(Mutex::default);
    let mut built = BUILT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    built.entry(folder.to_owned()).or_insert_with(|| build(&root().join(folder), name).into()).clone()
}

fn build(folder: &Path, name: &str) -> Vec<u8> {
    let target = target_folder();
    fs::create_dir_all(&target).expect("the guests' target folder can be made");
    // from build to read: another clone may build another component of the same name into the same place
    let lock = File::create(target.join(".oprc-tests.lock")).expect("the lock file opens");
    lock.lock().expect("the lock can be waited for");
    let mut cargo = clean_cargo();
    cargo.args(["build", "--release", "--target", "wasm32-wasip2"]);
    cargo.current_dir(folder).env("CARGO_TARGET_DIR", &target);
    let done = cargo.output().expect("cargo runs");
    let complaint = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{} does not build:\n{complaint}", folder.display());
    let file = target.join("wasm32-wasip2/release").join(format!("{name}.wasm"));
    fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// `cargo` as a user would run it: without what the outer cargo set for this test.
pub fn clean_cargo() -> Command {
    let mut cargo = Command::new("cargo");
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let outer = text.starts_with("CARGO_") && !matches!(&*text, "CARGO_HOME" | "CARGO_NET_OFFLINE");
        if outer || text == "RUSTFLAGS" || text == "__CARGO_FIX_YOLO" {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// Where guests are built.
pub fn target_folder() -> PathBuf {
    let home = std::env::var_os("HOME").expect("HOME is set");
    Path::new(&home).join(".cache/oprc/guests")
}

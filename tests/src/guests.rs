//! The components under test, built from source once per run into a folder of their own that outlives the clone.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{LazyLock, Mutex};
use std::time::SystemTime;

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

/// Of `guest-examples`: a timer, and a trigger that its manifest has.
pub fn order() -> Bytes {
    built("guest-examples/order", "order")
}

/// Of `guest-examples`: what triggers tell.
pub fn audit() -> Bytes {
    built("guest-examples/audit", "audit")
}

/// Of `guest-examples`: functions without an object.
pub fn echo() -> Bytes {
    built("guest-examples/echo", "echo")
}

/// Of `tests/guests`: does on request whatever a test wants to see withstood.
pub fn prober() -> Bytes {
    built("tests/guests/prober", "prober")
}

/// Of `tests/guests`: calls other objects.
pub fn caller() -> Bytes {
    built("tests/guests/caller", "caller")
}

/// Of `tests/guests`: sends messages and notes those that it gets.
pub fn mailer() -> Bytes {
    built("tests/guests/mailer", "mailer")
}

/// Of `tests/guests`: sends requests over HTTP, and serves them.
pub fn web() -> Bytes {
    built("tests/guests/web", "web")
}

/// Of `guest-examples`: an HTTP handler that writes what it is told into objects.
pub fn webhook() -> Bytes {
    built("guest-examples/webhook", "webhook")
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
    let make = || {
        build(&["build", "--target", "wasm32-wasip2"], folder, &format!("wasm32-wasip2/release/{name}.wasm"))
    };
    built.entry(folder.to_owned()).or_insert_with(make).clone()
}

/// The counter built by `cargo component`, if that is installed.
pub fn counter_by_cargo_component() -> Option<Bytes> {
    let installed = clean_cargo().args(["component", "--version"]).output();
    let is_installed = installed.is_ok_and(|done| done.status.success());
    is_installed.then(|| {
        build(&["component", "build"], "guest-examples/counter", "wasm32-wasip1/release/counter.wasm")
    })
}

/// A project elsewhere, whose `target` is the folder that all guests share: what it depends on is built once. Nobody else
/// builds while this lives.
pub struct Project<'f> {
    folder: &'f Path,
    _lock: File,
}

impl<'f> Project<'f> {
    /// # Panics
    /// When the folder cannot be prepared.
    pub fn at(folder: &'f Path) -> Self {
        let (target, lock) = locked_target();
        symlink(target, folder.join("target")).expect("the project has no target folder yet");
        Self { folder, _lock: lock }
    }

    /// Runs `cargo` as a user would, without any setting of its own, and gives what it printed.
    ///
    /// # Panics
    /// When it fails.
    pub fn cargo(&self, command: &[&str]) -> String {
        let done = clean_cargo().args(command).current_dir(self.folder).output().expect("cargo runs");
        let [out, err] = [&done.stdout, &done.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
        assert!(done.status.success(), "cargo {} fails:\n{out}{err}", command.join(" "));
        out + &err
    }
}

/// The folder that all guests are built in, and the lock by which nobody else builds there: another clone may build its own
/// counter.wasm into the same place. Held from build to read, as scripts/guests does.
fn locked_target() -> (PathBuf, File) {
    let home = std::env::var_os("HOME").expect("HOME is set");
    let target = Path::new(&home).join(".cache/oprc/guests");
    fs::create_dir_all(&target).expect("the guests' target folder can be made");
    let lock = File::create(target.join(".oprc-tests.lock")).expect("the lock file opens");
    lock.lock().expect("the lock can be waited for");
    (target, lock)
}

/// Runs `cargo` with `command` in `folder`, and reads `file` of what it built.
fn build(command: &[&str], folder: &str, file: &str) -> Bytes {
    let (target, _lock) = locked_target();
    // Cargo takes equal projects of several clones in one target folder for the same, and would give this one what another
    // clone has built from other source since this one was last changed.
    let source = File::options().append(true).open(root().join(folder).join("src/lib.rs"));
    source.and_then(|source| source.set_modified(SystemTime::now())).expect("the source can be touched");
    let mut cargo = clean_cargo();
    cargo.args(command).args(["--release", "--locked"]);
    cargo.current_dir(root().join(folder)).env("CARGO_TARGET_DIR", &target);
    let done = cargo.output().expect("cargo runs");
    assert!(done.status.success(), "{folder} does not build:\n{}", String::from_utf8_lossy(&done.stderr));
    let file = target.join(file);
    fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display())).into()
}

/// `cargo` as a user would run it: without what the outer cargo set for this test.
fn clean_cargo() -> Command {
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

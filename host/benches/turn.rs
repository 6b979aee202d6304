//! What a turn costs by itself: a fresh instance, one call, and its end; and one import called from a guest.
//!
//! `cargo bench -p oprc-host`. The `empty` component is the smallest in text form; `rust` is the guest
//! `host/tests/guests/empty`, built from source here; the one with WASI imports is `host/tests/guests/types`.

#![allow(clippy::unwrap_used, reason = "a bench stops at the first failure")]

use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use oprc_host::bench::Bench;
use tokio::runtime::Runtime;

const EMPTY: &str = r#"(component
    (core module $m (memory 1) (func (export "f")))
    (core instance $i (instantiate $m))
    (func (export "noop") (canon lift (core func $i "f"))))"#;

/// Builds the guests beside this bench's own target folder.
fn rust_guest(name: &str) -> Vec<u8> {
    let target: PathBuf = std::env::current_exe().unwrap().ancestors().nth(3).unwrap().join("guests");
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/guests/Cargo.toml");
    let status = Command::new("cargo")
        .args(["build", "--release", "--locked", "--target", "wasm32-wasip2", "--manifest-path", manifest])
        .arg("--target-dir")
        .arg(&target)
        .status();
    assert!(status.unwrap().success(), "the guests do not build");
    std::fs::read(target.join("wasm32-wasip2/release").join(name)).unwrap()
}

/// One call, again and again.
struct Case {
    name: &'static str,
    method: &'static str,
    payload: Bytes,
    raw: bool,
}

fn measure(criterion: &mut Criterion, runtime: &Runtime, dir: &Path, component: &[u8], cases: &[Case]) {
    let bench = runtime.block_on(Bench::load(dir, component)).unwrap();
    for Case { name, method, payload, raw } in cases {
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| runtime.block_on(bench.call(method, payload, *raw)).unwrap());
        });
    }
}

fn json(name: &'static str, method: &'static str, payload: &'static str) -> Case {
    Case { name, method, payload: Bytes::from_static(payload.as_bytes()), raw: false }
}

fn turns(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let empty = wat::parse_str(EMPTY).unwrap();
    measure(criterion, &runtime, &dir.path().join("empty"), &empty, &[json("empty: noop", "noop", "")]);
    let rust = rust_guest("guest_empty.wasm");
    let cases = [
        json("rust: noop", "noop", ""),
        json("rust: add by name", "add", "{\"a\":40,\"b\":2}"),
        Case {
            name: "rust: echo 100 bytes raw",
            method: "echo",
            payload: Bytes::from(vec![7; 100]),
            raw: true,
        },
        Case {
            name: "rust: echo 64 KiB raw",
            method: "echo",
            payload: Bytes::from(vec![7; 64 * 1024]),
            raw: true,
        },
        json("rust: no fields.get", "reads", "[0]"),
        json("rust: 1 fields.get", "reads", "[1]"),
        json("rust: 1000 fields.get", "reads", "[1000]"),
    ];
    measure(criterion, &runtime, &dir.path().join("rust"), &rust, &cases);
    let large = rust_guest("guest_types.wasm");
    measure(
        criterion,
        &runtime,
        &dir.path().join("large"),
        &large,
        &[json("rust with WASI imports: noop", "nothing", "")],
    );
}

criterion_group!(benches, turns);
criterion_main!(benches);

//! Turns of real components: the guests of `host/tests/guests`, built once per run, and odd shapes in text.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod deploy;
mod files;
mod limits;
mod logs;
mod types;
mod writes;

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use oprc_mesh::outcome::{Code, Problem};
use oprc_mesh::wire::Form;

use super::bench::{Fields, call, upload};
use super::{Call, Module, Runtime, RuntimeConfig};
use crate::value::Output;

/// A runtime in a folder of its own.
struct Fixture {
    runtime: Runtime,
    dir: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { runtime: runtime_in(dir.path()), dir }
    }

    async fn module(&self, component: &[u8]) -> Result<Arc<Module>, Problem> {
        let digest = upload(&self.runtime, component).await?;
        self.runtime.load(&digest).await
    }

    /// Loads a component in text form.
    async fn text(&self, text: &str) -> Result<Arc<Module>, Problem> {
        self.module(&wat::parse_str(text).unwrap()).await
    }
}

fn runtime_in(dir: &std::path::Path) -> Runtime {
    Runtime::new(&RuntimeConfig { data_dir: dir.to_owned(), turns_max: 8, modules_max: 4 }).unwrap()
}

/// The guest `guest-types`, loaded.
async fn types() -> (Fixture, Arc<Module>) {
    let fixture = Fixture::new();
    let module = fixture.module(&guest("guest_types")).await.unwrap();
    (fixture, module)
}

/// A guest's component, built from source at its first use.
pub(crate) fn guest(name: &str) -> Vec<u8> {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let target = std::env::current_exe().unwrap().ancestors().nth(3).unwrap().join("guests");
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/guests/Cargo.toml");
        // Another clone may have built other source of the same name into the same folder, which cargo does not notice.
        for name in ["empty", "handler", "types", "walker"] {
            let source = format!("{}/tests/guests/{name}/src/lib.rs", env!("CARGO_MANIFEST_DIR"));
            let source = std::fs::File::options().append(true).open(source).unwrap();
            source.set_modified(std::time::SystemTime::now()).unwrap();
        }
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args([
            "build",
            "--release",
            "--locked",
            "--target",
            "wasm32-wasip2",
            "--manifest-path",
            manifest,
        ]);
        // The guests' build is its own: nothing of the build that runs this test concerns it.
        cargo.arg("--target-dir").arg(&target).env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
        let output = cargo.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        target.join("wasm32-wasip2/release")
    });
    std::fs::read(built.join(format!("{name}.wasm"))).unwrap()
}

/// A call of `method` with a JSON body.
fn json(method: &str, body: &str) -> Call {
    Call { payload: Bytes::copy_from_slice(body.as_bytes()), ..call("Bench", method).unwrap() }
}

/// A call of `method` with bytes, that wants bytes.
fn raw(method: &str, body: &[u8]) -> Call {
    Call {
        payload: Bytes::copy_from_slice(body),
        form: Form::Raw,
        accept: Form::Raw,
        ..call("Bench", method).unwrap()
    }
}

async fn run(module: &Module, call: Call) -> Result<Output, Problem> {
    module.call(call, Fields::default()).await.0
}

/// The JSON text that a call gives.
async fn gives(module: &Module, method: &str, body: &str) -> String {
    let output =
        run(module, json(method, body)).await.unwrap_or_else(|problem| panic!("{method} {body}: {problem}"));
    assert_eq!(output.form, Form::Json);
    String::from_utf8(output.payload.unwrap_or_default().to_vec()).unwrap()
}

/// The problem that a call ends with.
async fn fails(module: &Module, call: Call, code: Code) -> Problem {
    let problem = run(module, call).await.expect_err("the call should fail");
    assert_eq!(problem.kind(), code, "{problem}");
    problem
}

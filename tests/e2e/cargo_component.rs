//! The same counter through `cargo component`: both ways to build a guest give one that works.

use std::process::Command;

use oprc_tests::{Class, Kind, Server, guests, root, run};
use serde_json::json;

#[test]
fn the_counter_built_by_cargo_component() {
    let installed = Command::new("cargo").args(["component", "--version"]).output();
    if !installed.is_ok_and(|done| done.status.success()) {
        println!("skipped: cargo component is not installed; `make test` installs it");
        return;
    }
    let target = guests::target_folder().join("component");
    let mut cargo = guests::clean_cargo();
    cargo.args(["component", "build", "--release"]);
    cargo.current_dir(root().join("guest-examples/counter")).env("CARGO_TARGET_DIR", &target);
    let done = cargo.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let component = std::fs::read(target.join("wasm32-wasip1/release/counter.wasm")).unwrap();
    run(async {
        let server = Server::shared(Kind::Embedded).await;
        let class = Class::deploy(&server, "Component", component.into(), "readonly = [\"value\"]").await;
        let alice = class.object("alice");
        assert_eq!(alice.invoke("increment", json!({ "by": 5 })).await.expect(200).json(), 5);
        assert_eq!(alice.invoke("value", json!({})).await.expect(200).json(), 5);
        // state is the class's, not the toolchain's
        class.redeploy(guests::counter(), "readonly = [\"value\"]").await.expect(201);
        assert_eq!(alice.invoke("increment", json!({ "by": 1 })).await.expect(200).json(), 6);
    });
}

//! The same counter through `cargo component`: both ways to build a guest give one that works.

use oprc_tests::{Class, Kind, Server, guests, run};
use serde_json::json;

#[test]
fn the_counter_built_by_cargo_component() {
    let Some(component) = guests::counter_by_cargo_component() else {
        println!("skipped: cargo component is not installed; `make test` installs it");
        return;
    };
    run(async {
        let server = Server::shared(Kind::Embedded).await;
        let class = Class::deploy(&server, "Component", component, "readonly = [\"value\"]").await;
        let alice = class.object("alice");
        assert_eq!(alice.invoke("increment", json!({ "by": 5 })).await.expect(200).json(), 5);
        assert_eq!(alice.invoke("value", json!({})).await.expect(200).json(), 5);
        // state is the class's, not the toolchain's
        class.redeploy(guests::counter(), "readonly = [\"value\"]").await.expect(201);
        assert_eq!(alice.invoke("increment", json!({ "by": 1 })).await.expect(200).json(), 6);
    });
}

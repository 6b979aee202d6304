//! What cannot be deployed is refused at deploy, saying why, and changes nothing: the class that was there answers as
//! before.

use bytes::Bytes;
use oprc_mesh::outcome::Code;
use oprc_tests::{Class, Server, both, guests, seed, unique};
use rand::{Rng as _, RngCore as _};
use serde_json::json;

both!(
    no_webassembly,
    truncated,
    damaged,
    core_module,
    import_not_offered,
    import_of_another_shape,
    capabilities_not_given,
    resources,
    one_name_twice,
    names_that_are_no_methods,
    readonly_that_is_not_there,
);

/// Deploys `component` twice, under a new name and over a running class; both must be refused. Gives the detail.
async fn refused(server: &Server, component: impl Into<Bytes>) -> String {
    let component = component.into();
    let fresh = Class { http: server.http(), name: unique("Refused") };
    let problem = fresh.upload(component.clone(), None).send().await.problem(Code::InvalidComponent);
    server.http().get(fresh.path()).send().await.problem(Code::NotFound);

    let running = Class::deploy(server, "Running", guests::counter(), "").await;
    running.object("alice").invoke("increment", json!({ "by": 1 })).await.expect(200);
    let before = server.http().get(running.path()).send().await.expect(200).json();
    running.upload(component, None).send().await.problem(Code::InvalidComponent);
    assert_eq!(server.http().get(running.path()).send().await.expect(200).json(), before);
    assert_eq!(running.object("alice").invoke("increment", json!({ "by": 1 })).await.expect(200).json(), 2);
    problem["detail"].as_str().unwrap().to_owned()
}

async fn refused_text(server: &Server, text: &str) -> String {
    refused(server, wat::parse_str(text).unwrap_or_else(|error| panic!("{error} in {text}"))).await
}

async fn no_webassembly(server: Server) {
    let mut rng = seed::rng("no_webassembly");
    let mut random = vec![0; 100_000];
    rng.fill_bytes(&mut random);
    let mut disguised = guests::counter()[..8].to_vec();
    disguised.extend_from_slice(&random);
    for component in [b"\0asm".to_vec(), b"x".to_vec(), b"<html>".to_vec(), random, disguised] {
        refused(&server, component).await;
    }
    // no body at all is a request gone wrong, or no component: either is said
    let empty = Class { http: server.http(), name: unique("Empty") };
    let reply = empty.upload(Bytes::new(), None).send().await;
    assert!(reply.status == 400 || reply.status == 422, "{reply:?}");
}

async fn truncated(server: Server) {
    let whole = guests::counter();
    let mut rng = seed::rng("truncated");
    let cuts = (0..6).map(|_| rng.random_range(1..whole.len())).chain([8, whole.len() - 1]);
    for cut in cuts {
        let class = Class { http: server.http(), name: unique("Cut") };
        // eight bytes are a valid, empty component: nothing in it can be called
        let problem = class.upload(whole.slice(..cut), None).send().await.problem(Code::InvalidComponent);
        assert!(!problem["detail"].as_str().unwrap().is_empty(), "cut at {cut}");
    }
}

/// Bits turned over anywhere: refused, or a component after all; never a crash, and the server goes on.
async fn damaged(server: Server) {
    let whole = guests::counter();
    let mut rng = seed::rng("damaged");
    for _ in 0..40 {
        let mut component = whole.to_vec();
        for _ in 0..rng.random_range(1..4) {
            let place = rng.random_range(0..component.len());
            component[place] ^= 1 << rng.random_range(0..8);
        }
        let class = Class { http: server.http(), name: unique("Damaged") };
        let reply = class.upload(component.into(), None).send().await;
        match reply.status {
            201 => {
                // whatever it does now, it answers, and the server lives
                let reply = class.object("o").invoke("increment", json!({ "by": 1 })).await;
                assert!(reply.status == 200 || reply.json()["code"].is_string(), "{reply:?}");
            }
            _ => drop(reply.problem(Code::InvalidComponent)),
        }
    }
    let class = Class::deploy(&server, "Whole", whole, "").await;
    class.object("o").invoke("increment", json!({ "by": 1 })).await.expect(200);
}

async fn core_module(server: Server) {
    let module = "(module (func (export \"increment\") (param i64) (result i64) local.get 0))";
    let detail = refused_text(&server, module).await;
    assert!(
        detail.contains("module") && detail.contains("component"),
        "it says what it is and what is wanted: {detail}"
    );
}

/// One function that can be called, so that only what is before it is at fault.
const GO: &str = "(core module $m (func (export \"go\")))
    (core instance $i (instantiate $m))
    (func $go (canon lift (core func $i \"go\")))
    (export \"go\" (func $go))";

async fn import_not_offered(server: Server) {
    for (import, named) in [
        (
            "(import \"acme:warehouse/shelf@1.2.3\" (instance (export \"count\" (func (result u32)))))",
            "acme:warehouse/shelf@1.2.3",
        ),
        ("(import \"conjure\" (func (result u32)))", "conjure"),
        ("(import \"oprc:odgm/fields@9.0.0\" (instance (export \"get\" (func))))", "oprc:odgm/fields@9.0.0"),
        ("(import \"oprc:odgm/fields@0.1.0\" (instance (export \"drop-all\" (func))))", "drop-all"),
        ("(import \"oprc:odgm/magic@0.1.0\" (instance (export \"wand\" (func))))", "oprc:odgm/magic@0.1.0"),
    ] {
        let detail = refused_text(&server, &format!("(component {import} {GO})")).await;
        assert!(detail.contains(named), "the import is named: {detail}");
    }
}

async fn import_of_another_shape(server: Server) {
    let import = "(import \"oprc:odgm/fields@0.1.0\" (instance (export \"delete\" (func (param \"key\" u32) (result bool)))))";
    let detail = refused_text(&server, &format!("(component {import} {GO})")).await;
    assert!(
        detail.contains("delete") || detail.contains("oprc:odgm/fields"),
        "the import is named: {detail}"
    );
}

/// A class serves HTTP and sends requests; it is no proxy between a client and another handler.
async fn capabilities_not_given(server: Server) {
    let import =
        "(import \"wasi:http/incoming-handler@0.2.0\" (instance (export \"handle\" (func (result u32)))))";
    let detail = refused_text(&server, &format!("(component {import} {GO})")).await;
    assert!(detail.contains("wasi:http"), "the import is named: {detail}");
}

async fn resources(server: Server) {
    let takes = "(component
        (type $thing (resource (rep i32)))
        (core module $m (func (export \"f\") (param i32)))
        (core instance $i (instantiate $m))
        (export $exported \"thing\" (type $thing))
        (func $take (param \"it\" (own $exported)) (canon lift (core func $i \"f\")))
        (export \"take\" (func $take)))";
    let gives = "(component
        (type $thing (resource (rep i32)))
        (core module $m (func (export \"f\") (result i32) i32.const 1))
        (core instance $i (instantiate $m))
        (export $exported \"thing\" (type $thing))
        (func $give (result (own $exported)) (canon lift (core func $i \"f\")))
        (export \"give\" (func $give)))";
    for (component, method) in [(takes, "take"), (gives, "give")] {
        let detail = refused_text(&server, component).await;
        assert!(detail.contains(method) && detail.contains("resource"), "the method is named: {detail}");
    }
}

async fn one_name_twice(server: Server) {
    let parts = "(core module $m (func (export \"go\")))
        (core instance $i (instantiate $m))
        (func $go (canon lift (core func $i \"go\")))
        (instance $both (export \"go\" (func $go)))";
    for exports in [
        "(export \"acme:a/one\" (instance $both)) (export \"acme:a/two\" (instance $both))",
        "(export \"acme:a/one\" (instance $both)) (export \"go\" (func $go))",
    ] {
        let detail = refused_text(&server, &format!("(component {parts} {exports})")).await;
        assert!(detail.contains("go"), "the method is named: {detail}");
    }
    // in one interface it is a method like any other
    let once =
        wat::parse_str(format!("(component {parts} (export \"acme:a/one\" (instance $both)))")).unwrap();
    let class = Class::deploy(&server, "Once", once.into(), "").await;
    class.function("go").send().await.expect(204);
}

/// An export whose name could never be called.
async fn names_that_are_no_methods(server: Server) {
    let long = "m".repeat(65);
    let component = format!(
        "(component (core module $m (func (export \"go\"))) (core instance $i (instantiate $m))
        (func $go (canon lift (core func $i \"go\"))) (export \"{long}\" (func $go)))"
    );
    let detail = refused_text(&server, &component).await;
    assert!(detail.contains(&long[..64]), "the export is named: {detail}");
    let empty = refused_text(&server, "(component)").await;
    assert!(!empty.is_empty());
}

async fn readonly_that_is_not_there(server: Server) {
    let class = Class { http: server.http(), name: unique("Readonly") };
    let reply = class.redeploy(guests::counter(), "readonly = [\"value\", \"vlaue\"]").await;
    assert!(reply.status == 400 || reply.status == 422, "{reply:?}");
    assert!(reply.json()["detail"].as_str().unwrap().contains("vlaue"), "the name is named: {reply:?}");
    server.http().get(class.path()).send().await.problem(Code::NotFound);
}

//! What cannot be deployed, and that it says why.

use oprc_mesh::outcome::{Code, Effect};

use super::super::bench::upload;
use super::super::runtime::COMPILATIONS_WAITING_MAX;
use super::{Fixture, guest};

async fn refused(component: &[u8]) -> (String, String) {
    let problem = Fixture::new().module(component).await.err().expect("the component should be refused");
    assert_eq!(problem.kind(), Code::InvalidComponent, "{problem}");
    (problem.detail, problem.hint)
}

async fn refused_text(text: &str) -> String {
    refused(&wat::parse_str(text).unwrap()).await.0
}

/// A component with functions of no parameters and no result under these names.
fn exporting(names: &[&str]) -> String {
    let exports =
        names.iter().map(|name| format!("(func (export \"{name}\") (canon lift (core func $i \"f\")))"));
    let exports = exports.collect::<Vec<_>>().concat();
    format!(
        "(component (core module $m (func (export \"f\"))) (core instance $i (instantiate $m)) {exports})"
    )
}

#[tokio::test]
async fn what_is_not_webassembly() {
    for bytes in [&b"hello, world"[..], b"\0as", b"(component)"] {
        let (detail, _) = refused(bytes).await;
        assert_eq!(detail, "this is not WebAssembly: it does not begin with the bytes \"\\0asm\"");
    }
}

#[tokio::test]
async fn what_is_cut_short_or_garbled() {
    let whole = guest("guest_empty");
    for bytes in [&whole[..8], &whole[..whole.len() / 2], &whole[..whole.len() - 1]] {
        let (detail, _) = refused(bytes).await;
        assert!(detail.starts_with("the component "), "{detail}");
    }
    let mut garbled = whole.clone();
    for (at, byte) in garbled.iter_mut().enumerate().skip(8) {
        *byte ^= (at % 251) as u8;
    }
    let (detail, _) = refused(&garbled).await;
    assert!(detail.starts_with("the component does not compile: "), "{detail}");
}

#[tokio::test]
async fn a_core_module_is_told_how_to_become_a_component() {
    let (detail, hint) = refused(&wat::parse_str("(module (func (export \"f\")))").unwrap()).await;
    assert_eq!(detail, "this is a core WebAssembly module, not a component");
    assert!(hint.contains("wasm32-wasip2") && hint.contains("cargo component"), "{hint}");
}

#[tokio::test]
async fn imports_that_nobody_offers_are_named() {
    let detail = refused_text(
        r#"(component
            (import "wasi:http/incoming-handler@0.2.3" (instance))
            (import "other:thing/api" (instance (export "go" (func))))
            (import "wasi:cli/stdout@0.2.3" (instance)))"#,
    )
    .await;
    let named = "the component imports `wasi:http/incoming-handler@0.2.3`, `other:thing/api`, which this host does not offer";
    assert_eq!(detail, named);
}

#[tokio::test]
async fn imports_of_another_shape_or_version_are_named() {
    let detail = refused_text(
        r#"(component (import "oprc:odgm/fields@0.1.0" (instance (export "get" (func (param "key" u32))))))"#,
    )
    .await;
    assert!(detail.contains("oprc:odgm/fields@0.1.0") && detail.contains("get"), "{detail}");
    let detail =
        refused_text(r#"(component (import "oprc:odgm/fields@7.0.0" (instance (export "clear" (func)))))"#)
            .await;
    assert!(detail.contains("oprc:odgm/fields@7.0.0"), "{detail}");
}

#[tokio::test]
async fn nothing_to_call() {
    assert_eq!(refused_text("(component)").await, "the component exports no function that could be called");
}

#[tokio::test]
async fn entry_points_for_other_hosts_are_not_methods() {
    let command = exporting(&["run"]);
    let inner = command.strip_prefix("(component").unwrap();
    let text = format!(
        "(component (component $c {inner} (instance $i (instantiate $c)) (export \"wasi:cli/run@0.2.3\" (instance $i)))"
    );
    let detail = refused_text(&text).await;
    assert_eq!(detail, "the component exports no function that could be called");
}

#[tokio::test]
async fn what_serves_http_has_the_shape_of_it() {
    for name in ["handle", "serve"] {
        let other = exporting(&[name]);
        let inner = other.strip_prefix("(component").unwrap();
        let export = "wasi:http/incoming-handler@0.2.3";
        let text = format!(
            "(component (component $c {inner} (instance $i (instantiate $c)) (export \"{export}\" (instance $i)))"
        );
        let detail = refused_text(&text).await;
        assert_eq!(detail, format!("the export {export} is not the interface of that name in wasi:http@0.2"));
    }
}

#[tokio::test]
async fn resources_do_not_leave_their_turn() {
    let detail = refused_text(
        r#"(component
            (type $r' (resource (rep i32)))
            (export $r "r" (type $r'))
            (core module $m (func (export "f") (result i32) (i32.const 0)))
            (core instance $i (instantiate $m))
            (func (export "open") (result (own $r)) (canon lift (core func $i "f"))))"#,
    )
    .await;
    assert_eq!(detail, "the function `open` takes or gives a resource, and a handle cannot leave its turn");
}

#[tokio::test]
async fn two_functions_of_one_name() {
    let body = "(core module $m (func (export \"f\"))) (core instance $i (instantiate $m))
         (func $f (canon lift (core func $i \"f\")))";
    let text = format!(
        "(component {body} (export \"go\" (func $f)) (instance $x (export \"go\" (func $f))) (export \"a:b/c\" (instance $x)))"
    );
    assert_eq!(refused_text(&text).await, "the component exports two functions of the name `go`");
}

#[tokio::test]
async fn a_name_that_is_no_method_name() {
    let name = format!("a{}", "-b".repeat(40));
    let detail = refused_text(&exporting(&[&name])).await;
    assert!(
        detail.starts_with("a function cannot be a method: ") && detail.contains("allowed is a letter"),
        "{detail}"
    );
}

#[tokio::test]
async fn a_type_without_measure() {
    // Each level names the one before twice: 2^24 parts when written out.
    let levels: Vec<_> = (1..25).map(|n| format!("(type $t{n} (tuple $t{} $t{}))", n - 1, n - 1)).collect();
    let levels = levels.concat();
    let text = format!(
        "(component (type $t0 (tuple u8 u8)) {levels}
            (core module $m (memory (export \"m\") 1) (func (export \"f\") (param i32)) (func (export \"r\") (param i32 i32 i32 i32) (result i32) (i32.const 0)))
            (core instance $i (instantiate $m))
            (func (export \"go\") (param \"t\" $t24) (canon lift (core func $i \"f\") (memory (core memory $i \"m\")) (realloc (core func $i \"r\")))))"
    );
    let (detail, _) = refused(&wat::parse_str(&text).unwrap()).await;
    let ours = "the function `go` takes or gives types of more than 2000 parts";
    assert!(detail == ours || detail.starts_with("the component does not compile: "), "{detail}");
}

#[tokio::test]
async fn readonly_names_must_be_exported() {
    let fixture = Fixture::new();
    let module = fixture.text(&exporting(&["go", "stop"])).await.unwrap();
    let problem = module.methods(&["go".into(), "value".into()]).unwrap_err();
    assert_eq!(problem.kind(), Code::InvalidComponent);
    assert_eq!(problem.detail, "the manifest lists `value` as read-only, but there is no such method");
    assert_eq!(problem.hint, "the component exports go, stop");
    assert!(module.methods(&["go".into()]).unwrap()[0].readonly);
}

#[tokio::test]
async fn a_component_that_is_not_here_is_not_found() {
    let digest = oprc_mesh::id::Digest::of(b"nowhere");
    let problem = Fixture::new().runtime.load(&digest).await.err().unwrap();
    assert_eq!(problem.kind(), Code::NotFound);
}

#[tokio::test]
async fn more_compilations_than_may_wait_are_overloaded() {
    const PLACES: usize = COMPILATIONS_WAITING_MAX + 1;
    let fixture = Fixture::new();
    let held = fixture.runtime.hold_compiler().await;
    let mut loads = tokio::task::JoinSet::new();
    for n in 0..PLACES + 2 {
        let component = wat::parse_str(exporting(&[&format!("f{n}")])).unwrap();
        let digest = upload(&fixture.runtime, &component).await.unwrap();
        let runtime = fixture.runtime.clone();
        loads.spawn(async move { runtime.load(&digest).await.map(drop) });
    }
    // those that find no place do not wait for the compiler
    for _ in 0..2 {
        let problem = loads.join_next().await.unwrap().unwrap().unwrap_err();
        assert_eq!((problem.kind(), problem.effect), (Code::Overloaded, Effect::NotRun as i32));
        assert!(problem.retry_after_ms > 0);
    }
    drop(held);
    let loaded = loads.join_all().await;
    assert_eq!(loaded.len(), PLACES);
    assert!(loaded.iter().all(Result::is_ok), "{loaded:?}");
}

//! What a guest prints, and how it dies, stands in the host's log with the class, object, method and invocation id.

use oprc_mesh::outcome::Code;
use oprc_tests::{Class, Server, both, guests, unique};
use serde_json::json;

both!(printed, panics, odd_output);

async fn printed(server: Server) {
    let class = Class::deploy(&server, "Logs", guests::prober(), "").await;
    let (out, err) = (unique("said-on-output"), unique("said-on-error"));
    let reply = class.object("alice").invoke("say", json!({ "out": out, "err": err })).await.expect(204);
    let invocation = reply.header("oprc-invocation-id").unwrap().to_owned();
    for said in [&out, &err] {
        server.logged(&[said, &class.name, "alice", "say", &invocation]).await;
    }
    let (out, err) = (unique("said-by-function"), unique("said-by-function"));
    class.function("say").json(&json!({ "out": out, "err": err })).send().await.expect(204);
    server.logged(&[&out, &class.name, "say"]).await;
}

async fn panics(server: Server) {
    let class = Class::deploy(&server, "Logs", guests::prober(), "").await;
    let reply = class.object("alice").method("explode").header("idempotency-key", "the-panic").send().await;
    reply.problem(Code::Trap);
    server.logged(&["the prober exploded", &class.name, "alice", "explode", "the-panic"]).await;
}

/// A guest cannot write lines of its own making into the log, nor flood it with one endless line.
async fn odd_output(server: Server) {
    let class = Class::deploy(&server, "Logs", guests::prober(), "").await;
    let object = class.object("alice");
    let mark = unique("forged");
    let forged = format!("first\n2026-01-01T00:00:00Z ERROR oprc: {mark}\r\n\u{1b}[31m{mark}");
    object.invoke("say", json!({ "out": forged, "err": "" })).await.expect(204);
    let line = server.logged(&[&mark]).await;
    assert!(line.contains(&class.name), "a line says whose it is: {line:?}");
    for line in server.host_log().lines().filter(|line| line.contains(&mark)) {
        assert!(!line.starts_with("2026-01-01") && line.contains(&class.name), "{line:?}");
        assert!(!line.contains("\u{1b}[31m"), "no escapes of the guest's: {line:?}");
    }
    let long = "x".repeat(900_000);
    // others log meanwhile, too
    let logged =
        || server.host_log().lines().filter(|line| line.contains(&class.name)).map(str::len).sum::<usize>();
    let before = logged();
    object.invoke("say", json!({ "out": long, "err": "the end" })).await.expect(204);
    server.logged(&["the end", &class.name]).await;
    assert!(logged() - before < 500_000, "one call cannot fill the disk with its log");
}

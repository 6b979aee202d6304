//! Triggers: what changes is told, once, to whom the manifest says, and with the change or not at all.

use oprc_mesh::outcome::Code;
use oprc_tests::{Class, Object, Server, both, eventually, guests};
use serde_json::json;

both!(
    changes_of_fields_are_told,
    whole_objects_are_told_field_by_field,
    methods_are_told,
    a_function_may_be_told,
    loops_are_cut,
    triggers_are_checked_at_deploy,
    what_would_tell_too_much_is_refused,
);

fn trigger(on: &str, subject: &str, to: &str) -> String {
    format!("[[class.trigger]]\non = [{on}]\n{subject}\nvalues = true\ncall = {{ {to} }}\n")
}

/// A class to be told, and what makes another tell it.
async fn audit(server: &Server) -> (Class, Object, String) {
    let class = Class::deploy(server, "Audit", guests::mailer(), "").await;
    let to = format!("class = \"{}\", object = \"log\", method = \"record\"", class.name);
    let log = class.object("log");
    (class, log, to)
}

/// What the log holds, once it holds so much.
async fn told(log: &Object, count: usize) -> Vec<String> {
    eventually(&format!("{count} events are told"), || async {
        let reply = log.get().await;
        if reply.status != 200 {
            return (count == 0).then(Vec::new);
        }
        let fields = reply.json()["fields"].take();
        let events = fields.as_object().unwrap().iter().filter(|(key, _)| key.starts_with("event/"));
        let lines: Vec<String> = events.map(|(_, line)| line["$text"].as_str().unwrap().to_owned()).collect();
        assert!(lines.len() <= count, "{lines:?}");
        (lines.len() == count).then_some(lines)
    })
    .await
}

async fn changes_of_fields_are_told(server: Server) {
    let (_audit, log, to) = audit(&server).await;
    let manifest = trigger("\"create\", \"update\", \"delete\"", "field = \"n\"", &to);
    let class = Class::deploy(&server, "Told", guests::mailer(), &manifest).await;
    let object = class.object("o");
    object.invoke("bump", json!({})).await.expect(204);
    object.invoke("bump", json!({})).await.expect(204);
    // what is written from outside is told as well
    object.patch(&json!({ "n": 7, "other": 1 })).send().await.ok();
    object.field("DELETE", "n").send().await.ok();
    object.field("PUT", "other").body("text/plain", "x").send().await.ok();
    object.patch(&json!({ "n": { "$delete": true } })).send().await.ok(); // it is not there: no event
    object.field("PUT", "n").body("text/plain", "8").send().await.ok();
    let lines = told(&log, 5).await;
    assert_eq!(
        lines,
        [
            "o create n v1 - 1 -",
            "o update n v2 1 2 -",
            "o update n v3 2 7 -",
            "o delete n v4 7 - -",
            "o create n v6 - 8 -",
        ]
    );
}

async fn whole_objects_are_told_field_by_field(server: Server) {
    let (_audit, log, to) = audit(&server).await;
    let manifest = trigger("\"create\", \"update\", \"delete\"", "field = \"x/*\"", &to);
    let class = Class::deploy(&server, "Told", guests::mailer(), &manifest).await;
    let object = class.object("o");
    object.put(&json!({ "x/a": 1, "x/b": 2, "y": 3 })).send().await.ok();
    object.put(&json!({ "x/b": 4, "x/c": 5 })).send().await.ok();
    object.delete().send().await.ok();
    let lines = told(&log, 7).await;
    assert_eq!(
        lines,
        [
            "o create x/a v1 - 1 -",
            "o create x/b v1 - 2 -",
            "o delete x/a v2 1 - -",
            "o update x/b v2 2 4 -",
            "o create x/c v2 - 5 -",
            "o delete x/b v0 4 - -",
            "o delete x/c v0 5 - -",
        ]
    );
}

async fn methods_are_told(server: Server) {
    let (_audit, log, to) = audit(&server).await;
    let on_stubborn = trigger("\"complete\", \"error\"", "method = \"stubborn\"", &to);
    let class = Class::deploy(&server, "Told", guests::mailer(), &on_stubborn).await;
    let object = class.object("o");
    object.invoke("stubborn", json!({ "n": 1 })).await.problem(Code::FunctionError);
    object.get().await.problem(Code::NotFound); // nothing was written, and yet it is told
    told(&log, 1).await;
    object.put(&json!({ "ok": true })).send().await.ok();
    object.invoke("stubborn", json!({ "n": 1 })).await.expect(204);
    object.invoke("bump", json!({})).await.expect(204);
    // a call that could not be one is no failure of the method
    object.invoke("stubborn", json!({ "m": 1 })).await.problem(Code::Invalid);
    let lines = told(&log, 2).await;
    assert_eq!(lines, ["o error stubborn v0 - - \"not yet\"", "o complete stubborn v2 - - -"]);
    // a method that writes nothing has an event, and its object no new version
    let on_cancel = trigger("\"complete\"", "method = \"cancel\"", &to);
    class.redeploy(guests::mailer(), &on_cancel).await.ok();
    let version = object.version().await;
    object.invoke("cancel", json!({ "key": "k" })).await.expect(200);
    let lines = told(&log, 3).await;
    assert_eq!(lines[2], format!("o complete cancel v{version} - false -"));
    assert_eq!(object.version().await, version);
}

async fn a_function_may_be_told(server: Server) {
    let class = Class::deploy(&server, "Told", guests::kv(), "").await;
    let shout = Class::deploy(&server, "Shout", guests::mailer(), "").await;
    // a function of one argument of the form of a change: the log of the host shows the turn that fails on the object
    let to = format!("class = \"{}\", method = \"record\"", shout.name);
    let manifest = trigger("\"create\"", "field = \"a\"", &to) + "[class.messages]\nattempts = 1";
    class.redeploy(guests::kv(), &manifest).await.ok();
    shout.redeploy(guests::mailer(), "[class.messages]\nattempts = 1").await.ok();
    class.object("o").put(&json!({ "a": 1 })).send().await.ok();
    let letters = eventually("the function was called", || async {
        let path = format!("{}/dead-letters", shout.path());
        let page = shout.http.get(path).send().await.expect(200).json();
        page["items"].as_array().filter(|items| !items.is_empty()).cloned()
    })
    .await;
    assert_eq!((letters[0]["object"].is_null(), &letters[0]["triggered"]), (true, &json!(true)));
    assert!(letters[0]["problem"]["detail"].as_str().unwrap().contains("no object is bound"), "{letters:?}");
}

/// A change that causes itself would go on for ever.
async fn loops_are_cut(server: Server) {
    let class = Class::deploy(&server, "Loop", guests::mailer(), "").await;
    let to = format!("class = \"{}\", object = \"$id\", method = \"record\"", class.name);
    let manifest = format!(
        "[class.limits]\ncall_depth = 5\n{}",
        trigger("\"create\", \"update\"", "field = \"count\"", &to)
    );
    class.redeploy(guests::mailer(), &manifest).await.ok();
    let object = class.object("o");
    object.invoke("note", json!({ "n": 1 })).await.expect(204);
    let letter = eventually("the loop is cut", || async {
        let path = format!("{}/dead-letters", class.path());
        let page = class.http.get(path).send().await.expect(200).json();
        page["items"].as_array().filter(|items| !items.is_empty()).map(|items| items[0].clone())
    })
    .await;
    let detail = letter["problem"]["detail"].as_str().unwrap();
    assert!(
        detail.contains("6 triggers led to this message") && detail.contains("call_depth = 5"),
        "{detail}"
    );
    assert_eq!(object.version().await, 6, "the call and five that followed");
}

async fn triggers_are_checked_at_deploy(server: Server) {
    let class = Class::deploy(&server, "Told", guests::mailer(), "").await;
    let own = |method: &str| format!("class = \"{}\", object = \"o\", method = \"{method}\"", class.name);
    for (manifest, why) in [
        (trigger("\"changed\"", "field = \"n\"", &own("record")), "changed"),
        (trigger("\"create\"", "method = \"note\"", &own("record")), "field"),
        (trigger("\"error\"", "method = \"absent\"", &own("record")), "absent"),
        (trigger("\"create\"", "field = \"n\"", &own("absent")), "absent"),
        (trigger("\"create\"", "field = \"n\"", "class = \"9\", method = \"m\""), "class name"),
        (
            format!(
                "readonly = [\"count\"]\n{}",
                trigger("\"complete\"", "method = \"count\"", &own("record"))
            ),
            "only reads",
        ),
    ] {
        let reply = class.redeploy(guests::mailer(), &manifest).await;
        assert!([400, 422].contains(&reply.status), "{manifest}: {reply:?}");
        assert!(reply.json()["detail"].as_str().unwrap().contains(why), "{why}: {reply:?}");
    }
}

async fn what_would_tell_too_much_is_refused(server: Server) {
    let (_audit, log, to) = audit(&server).await;
    let manifest =
        format!("[class.limits]\nsends = 3\n{}", trigger("\"create\", \"delete\"", "field = \"*\"", &to));
    let class = Class::deploy(&server, "Told", guests::mailer(), &manifest).await;
    let object = class.object("o");
    object.put(&json!({ "a": 1, "b": 2, "c": 3 })).send().await.ok();
    object.patch(&json!({ "d": 1, "e": 2, "f": 3, "g": 4 })).send().await.problem(Code::WriteLimit);
    object.patch(&json!({ "d": 1 })).send().await.ok();
    object.delete().send().await.problem(Code::WriteLimit);
    assert_eq!(told(&log, 4).await.len(), 4);
    assert_eq!(object.version().await, 2);
}

//! What guests print can be read, and followed, by those who may: the newest of each class, whatever comes.

use oprc_mesh::limits::LOG_TAIL_MAX;
use oprc_mesh::outcome::Code;
use oprc_tests::{Class, Events, Kind, Object, Server, both, eventually, guests, unique};
use serde_json::{Value, json};

use crate::access::{closed, key};

both!(
    the_newest_lines_are_read,
    lines_are_followed_as_they_come,
    a_flood_leaves_the_newest,
    what_cannot_be_asked_for,
    from_the_command_line,
);

async fn deploy(server: &Server) -> Class {
    Class::deploy(server, "Said", guests::prober(), "").await
}

async fn say(object: &Object, out: &str, err: &str) {
    object.invoke("say", json!({ "out": out, "err": err })).await.expect(204);
}

async fn lines(class: &Class, query: &str) -> Vec<Value> {
    let reply = class.http.get(format!("{}/logs{query}", class.path())).send().await.expect(200);
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let lines = reply.json();
    assert_eq!(lines["missing"], json!([]), "every host answers");
    lines["items"].as_array().unwrap().clone()
}

fn texts(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["line"].as_str().unwrap()).collect()
}

async fn the_newest_lines_are_read(server: Server) {
    let class = deploy(&server).await;
    assert!(lines(&class, "").await.is_empty());
    let (alice, bob) = (class.object("alice"), class.object("bob"));
    say(&alice, "one\ntwo", "three").await;
    say(&bob, "four", "").await;
    class.function("say").json(&json!({ "out": "five", "err": "" })).send().await.expect(204);
    let all = lines(&class, "").await;
    assert_eq!(texts(&all), ["one", "two", "three", "four", "five"]);
    assert_eq!(texts(&lines(&class, "?tail=2").await), ["four", "five"]);
    assert_eq!(texts(&lines(&class, "?object=alice&tail=2").await), ["two", "three"]);
    assert!(lines(&class, "?tail=0").await.is_empty());
    let first = &all[0];
    for (member, expected) in
        [("class", &*class.name), ("object", "alice"), ("method", "say"), ("stream", "stdout")]
    {
        assert_eq!(first[member], expected, "{first}");
    }
    assert_eq!((&all[2]["stream"], all[4].get("object")), (&json!("stderr"), None));
    assert!(!first["invocation"].as_str().unwrap().is_empty());
    let times: Vec<u64> = all.iter().map(|line| line["time_us"].as_u64().unwrap()).collect();
    assert!(times.is_sorted(), "{times:?}");
    // a run that was cut short says so, after what it printed
    alice.method("explode").send().await.problem(Code::Trap);
    let died = lines(&class, "?object=alice").await;
    let last = died.last().unwrap();
    assert_eq!((&last["stream"], &last["method"]), (&json!("host"), &json!("explode")));
    assert!(texts(&died).iter().any(|line| line.contains("the prober exploded")), "{died:?}");
    // a later class of another name has none of it
    assert!(lines(&deploy(&server).await, "").await.is_empty());
}

async fn follow(class: &Class, query: &str) -> Events {
    let path = format!("/classes/{}/logs{query}", class.name);
    Events::follow(&class.http, &path).await.unwrap_or_else(|why| panic!("{path}: {why}"))
}

async fn next(events: &mut Events) -> String {
    events.line().await["line"].as_str().unwrap().to_owned()
}

async fn lines_are_followed_as_they_come(server: Server) {
    let (one, other) = (deploy(&server).await, deploy(&server).await);
    let (alice, bob) = (one.object("alice"), one.object("bob"));
    say(&alice, "before", "").await;
    let mut whole = follow(&one, "").await;
    // once it has given a line, it misses none
    say(&other.object("o"), "long before", "").await;
    say(&other.object("o"), "just before", "").await;
    let mut fresh = follow(&other, "?tail=1").await;
    assert_eq!((next(&mut whole).await, next(&mut fresh).await), ("before".into(), "just before".into()));
    let mut of_bob = follow(&one, "?object=bob&tail=5").await;
    for round in 0..20 {
        let said = |who: &str| format!("{who} {round}");
        say(&alice, &said("alice"), "").await;
        say(&bob, &said("bob"), "").await;
        say(&other.object("o"), &said("other"), "").await;
        assert_eq!([next(&mut whole).await, next(&mut whole).await], [said("alice"), said("bob")]);
        assert_eq!((next(&mut of_bob).await, next(&mut fresh).await), (said("bob"), said("other")));
    }
    one.http.delete(one.path()).send().await.expect(204);
    for events in [&mut whole, &mut of_bob] {
        assert_eq!(events.named("end").await["reason"], "class-removed");
        assert_eq!(events.next().await, None);
    }
    say(&other.object("o"), "still", "").await;
    assert_eq!(next(&mut fresh).await, "still");
}

/// A hundred megabytes of output: the calls all succeed, and the newest lines are there.
async fn a_flood_leaves_the_newest(server: Server) {
    let class = deploy(&server).await;
    let mut follower = follow(&class, "?tail=0").await; // reads nothing meanwhile
    let flood = "x".repeat(1_000_000);
    let mut calls = tokio::task::JoinSet::new();
    for client in 0..4 {
        let (object, flood) = (class.object(format!("o{client}")), flood.clone());
        calls.spawn(async move {
            for _ in 0..25 {
                say(&object, &flood, "").await;
            }
        });
    }
    while let Some(done) = calls.join_next().await {
        done.unwrap();
    }
    let last = unique("the-last-words");
    say(&class.object("o"), &last, "").await;
    let newest = lines(&class, "?tail=1").await;
    assert_eq!(texts(&newest), [&*last]);
    let kept: usize =
        lines(&class, &format!("?tail={LOG_TAIL_MAX}")).await.iter().map(|line| line.to_string().len()).sum();
    assert!(kept < 1 << 20, "{kept} bytes are remembered");
    // who did not keep up is told so, and gets to the end all the same
    let mut gaps = 0;
    loop {
        let block = follower.next().await.expect("the stream goes on");
        gaps += u32::from(block.name == "gap");
        if block.data["line"] == last.as_str() {
            break;
        }
    }
    assert!(gaps > 0, "lines were lost and nobody was told");
    // and whoever calls next is served as ever
    class.object("o").invoke("add", json!({ "by": 1 })).await.expect(200);
}

async fn what_cannot_be_asked_for(server: Server) {
    let class = deploy(&server).await;
    let too_many = format!("?tail={}", LOG_TAIL_MAX + 1);
    for query in [&*too_many, "?tail=-1", "?object=.", "?since=1", "?tail=1&tail=1"] {
        class.http.get(format!("{}/logs{query}", class.path())).send().await.problem(Code::Invalid);
    }
    class.http.get("/api/v1/classes/Nobody/logs").send().await.problem(Code::NotFound);
    let refused = Events::follow(&class.http, "/classes/Nobody/logs").await.err().unwrap();
    assert!(refused.starts_with("404"), "{refused}");
}

async fn from_the_command_line(server: Server) {
    let class = deploy(&server).await;
    say(&class.object("alice"), "to alice", "").await;
    say(&class.object("bob"), "to bob \u{1b}[31m", "").await;
    let shown = server.cli(&["logs", &class.name]).await.ok();
    let shown: Vec<&str> = shown.lines().collect();
    assert!(shown[0].ends_with(" alice.say stdout: to alice"), "{shown:?}");
    assert!(shown[1].contains("bob.say stdout: to bob") && !shown[1].contains('\u{1b}'), "{shown:?}");
    let one =
        server.cli(&["logs", &class.name, "--object", "bob", "--tail", "1", "--output", "json"]).await.ok();
    let one: Value = serde_json::from_str(&one).unwrap();
    assert_eq!(one["items"][0]["line"], "to bob \u{1b}[31m");
    server.cli(&["logs", "Nobody"]).await.fails(1);
    server.cli(&["logs", &class.name, "--tail", "5000"]).await.fails(2);
    // it goes on until somebody ends it
    let url = server.url();
    let log = server.scratch().join(unique("follow.log"));
    let args = ["logs", &class.name, "--follow", "--tail", "1", "--server", &url].map(str::to_owned);
    let following = oprc_tests::Process::spawn("logs", &args, &log);
    let printed = |text: &'static str| {
        let following = &following;
        eventually(text, move || async move { following.log().contains(text).then_some(()) })
    };
    printed("to bob").await;
    say(&class.object("alice"), "and more", "").await;
    printed("alice.say stdout: and more").await;
    assert!(!following.log().contains("to alice"), "only the newest one before");
}

/// What a guest prints is for those who may replace it.
async fn only_those_who_may_deploy_read(kind: Kind) {
    let (server, root) = closed(kind).await;
    let _shown = server.show_logs_on_panic();
    let class = Class::deploy(&root, "Said", guests::prober(), "").await;
    say(&class.object("o"), "a secret", "").await;
    let path = format!("{}/logs", class.path());
    for action in ["read", "invoke"] {
        let (_, client) = key(&root, &[format!("{action}:{}", class.name)]).await;
        let told = client.get(&path).send().await.problem(Code::Denied);
        assert!(told["detail"].as_str().unwrap().ends_with(&format!("deploy:{}", class.name)), "{told}");
        let refused = Events::follow(&client, &format!("/classes/{}/logs", class.name)).await.err().unwrap();
        assert!(refused.starts_with("403"), "{refused}");
    }
    server.http().get(&path).send().await.problem(Code::Unauthenticated);
    let (_, other) = key(&root, &["deploy:Other".to_owned()]).await;
    other.get(&path).send().await.problem(Code::Denied);
    let (name, may) = key(&root, &[format!("deploy:{}", class.name)]).await;
    let read = may.get(&path).send().await.expect(200).json();
    assert_eq!(read["items"][0]["line"], "a secret");
    // a stream ends with its reader's key
    let mut events = follow(&class.through(&may), "").await;
    assert_eq!(next(&mut events).await, "a secret");
    root.delete(format!("/api/v1/keys/{name}")).send().await.expect(204);
    assert_eq!(events.named("end").await["reason"], "denied");
}

#[test]
fn only_those_who_may_deploy_read_embedded() {
    oprc_tests::run(only_those_who_may_deploy_read(Kind::Embedded));
}

#[test]
fn only_those_who_may_deploy_read_apart() {
    oprc_tests::run(only_those_who_may_deploy_read(Kind::Apart));
}

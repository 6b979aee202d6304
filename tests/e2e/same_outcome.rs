//! The same call by REST, by gRPC, by the command and by a query on the mesh comes to the same: the same result, or the
//! same error with the same words. Each code of the one table has its case here, or the reason why it has none.

use futures::future::BoxFuture;
use oprc_mesh::outcome::Code;
use oprc_tests::doors::{Door, Doors, Outcome, Wish};
use oprc_tests::{Class, Cli, Http, Kind, Server, eventually, guests, run};
use serde_json::{Value, json};

use crate::access::{close, key};

/// Small, so that passing them is quick.
const LIMITS: &str = "[class.limits]
cpu_ms = 300
wall_ms = 60000
memory_mib = 16
payload_kib = 64
write_keys = 100";

/// Why no case is here for these.
const REASONS: [(Code, &str); 9] = [
    (Code::Internal, "a failure of the platform cannot be had for the asking"),
    (Code::Conflict, "only deployments contradict what is there, and REST alone takes them"),
    (
        Code::ReentrantCall,
        "it is told to the guest that called, and never leaves the house by itself: see `nested`",
    ),
    (Code::CallDepth, "as `reentrant-call`"),
    (Code::VersionMismatch, "only writes have preconditions, and only REST and gRPC take them: see `grpc`"),
    (Code::InvalidComponent, "only deployments bring components"),
    (Code::NoQuorum, "it takes a cluster of which most is gone: see the cluster's tests"),
    (Code::NotLeader, "hosts say it among themselves; to clients it is `no-quorum`"),
    (Code::StaleClass, "hosts say it among themselves; to clients it is `unavailable`"),
];

/// Codes that have a test of their own below.
const APART: [Code; 4] = [Code::Unauthenticated, Code::Denied, Code::Overloaded, Code::Unavailable];

/// Which of several clocks is the first to say so differs from time to time, and with it the words.
const TIMED: [Code; 3] = [Code::Deadline, Code::CallTimeout, Code::Unavailable];

/// What comes before a case's calls, for each door's object.
type Before = fn(Class, String) -> BoxFuture<'static, ()>;

struct Case {
    /// None for what succeeds.
    code: Option<Code>,
    class: &'static str,
    /// It is a function; otherwise each door has an object of its own.
    function: bool,
    call: Option<(&'static str, Value)>,
    keyed: bool,
    timeout_ms: Option<u64>,
    raw: bool,
    before: Option<Before>,
    /// What the result is, or the error of the function's own.
    value: Value,
}

/// A call of the prober's method, without anything before it.
fn of(code: impl Into<Option<Code>>, method: &'static str, arguments: Value) -> Case {
    Case {
        code: code.into(),
        class: "prober",
        function: false,
        call: Some((method, arguments)),
        keyed: false,
        timeout_ms: None,
        raw: false,
        before: None,
        value: Value::Null,
    }
}

fn gives(method: &'static str, arguments: Value, value: Value) -> Case {
    Case { value, ..of(None, method, arguments) }
}

fn cases() -> Vec<Case> {
    let refusal = json!({ "reason": "not today", "balance": -7 });
    let many = json!({ "count": 101, "bytes": 1, "at-once": true });
    let generation = json!(guests::generation(0));
    let mut cases = vec![
        gives("add", json!({ "by": 5 }), json!(5)),
        gives("add", json!([7]), json!(7)),
        gives("say", json!({ "out": "x", "err": "" }), Value::Null),
        gives("generation", json!({}), generation.clone()),
        Case { function: true, ..gives("generation", json!({}), generation) },
        gives("blob", json!({ "bytes": 3 }), json!("BwcH")),
        Case { raw: true, ..gives("blob", json!({ "bytes": 3 }), json!({ "$base64": "BwcH" })) },
        Case { keyed: true, before: Some(added), ..gives("add", json!({ "by": 1 }), json!(1)) },
        of(Code::Invalid, "add", json!({ "by": "x" })),
        of(Code::Invalid, "add", json!({ "unknown": 1 })),
        of(Code::NotFound, "nothing", json!({})),
        Case { function: true, ..of(Code::NotFound, "nothing", json!({})) },
        Case { class: "nobody", ..of(Code::NotFound, "add", json!({ "by": 1 })) },
        Case { value: refusal.clone(), ..of(Code::FunctionError, "refuse", refusal) },
        of(Code::Trap, "explode", json!({})),
        of(Code::CpuLimit, "spin", json!({})),
        Case { class: "brief", ..of(Code::WallLimit, "nap", json!({ "ms": 60_000 })) },
        of(Code::MemoryLimit, "hoard", json!({ "mib": 17 })),
        of(Code::WriteLimit, "write-many", many),
        of(Code::PayloadTooLarge, "blob", json!({ "bytes": 65 * 1024 })),
        of(Code::PayloadTooLarge, "swallow", json!({ "data": "A".repeat(65 * 1024) })),
        Case { timeout_ms: Some(200), ..of(Code::Deadline, "nap", json!({ "ms": 10_000 })) },
        Case { keyed: true, before: Some(added), ..of(Code::IdempotencyMismatch, "add", json!({ "by": 2 })) },
    ];
    cases.extend(reads());
    cases.extend(nested());
    cases
}

fn reads() -> [Case; 3] {
    let read = |code| Case { call: None, ..of(code, "", Value::Null) };
    [
        Case { before: Some(added), ..read(None) },
        read(Some(Code::NotFound)),
        Case { before: Some(grown), class: "large", ..read(Some(Code::ObjectTooLarge)) },
    ]
}

fn nested() -> [Case; 2] {
    let other = |id: &str, method: &str, payload: &Value| json!({ "class": "slow", "id": id, "method": method, "payload": payload.to_string() });
    [
        Case {
            class: "hasty",
            ..of(Code::CallTimeout, "ask", other("sleeper", "linger", &json!({ "ms": 30_000 })))
        },
        Case {
            class: "caller",
            function: true,
            keyed: true,
            before: Some(relayed),
            ..of(Code::NondeterministicRerun, "relay", other("other", "add", &json!({ "by": 3 })))
        },
    ]
}

fn added(class: Class, object: String) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        let add = class.object(&object).method("add").json(&json!({ "by": 1 }));
        add.header("idempotency-key", format!("key-{object}")).send().await.expect(200);
    })
}

fn grown(class: Class, object: String) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        let more = json!({ "count": 1_001, "bytes": 1, "at-once": true });
        class.object(object).invoke("write-many", more).await.expect(204);
    })
}

fn relayed(class: Class, object: String) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        let arguments = json!({ "class": "slow", "id": "other", "method": "add", "payload": "{\"by\": 2}" });
        let relay =
            class.function("relay").json(&arguments).header("idempotency-key", format!("key-{object}"));
        relay.send().await.expect(200);
    })
}

/// The classes that cases name.
async fn deploy(http: &Http) {
    let class = |name: &str| Class { http: http.clone(), name: name.to_owned() };
    for (name, component, manifest) in [
        ("prober", guests::prober(), LIMITS),
        ("large", guests::prober(), ""),
        ("brief", guests::prober(), "[class.limits]\nwall_ms = 1000"),
        ("caller", guests::caller(), ""),
        ("hasty", guests::caller(), "[class.limits]\nwall_ms = 1000"),
        ("slow", guests::caller(), "[class.limits]\nwall_ms = 60000"),
    ] {
        class(name).redeploy(component, manifest).await.expect(201);
    }
}

/// What `case` wants through `door`, by the object that is named in its key as well.
fn wish(case: &Case, number: usize, door: Door) -> Wish {
    let object = format!("o{number}-{door}");
    let call = case.call.as_ref().map(|(method, arguments)| ((*method).to_owned(), arguments.clone()));
    Wish {
        class: case.class.to_owned(),
        key: case.keyed.then(|| format!("key-{object}")),
        object: (!case.function).then_some(object),
        call,
        timeout_ms: case.timeout_ms,
        raw: case.raw,
    }
}

/// What is told of one door's object, as if it were any door's.
fn unnamed(value: &Value, number: usize, door: Door) -> Value {
    let text = value.to_string().replace(&format!("o{number}-{door}"), "object");
    unworded(serde_json::from_str(&text).unwrap())
}

/// Without the words of a problem that differ.
fn unworded(mut told: Value) -> Value {
    if TIMED.iter().any(|code| told["code"] == code.as_str()) {
        told["detail"].take();
    }
    told
}

async fn the_same_by_every_door(kind: Kind) {
    let server = Server::prepare(kind);
    server.set_asked();
    server.launch().await;
    let _shown = server.show_logs_on_panic();
    deploy(&server.http()).await;
    let doors = Doors::of(&server, None).await;
    for (number, case) in cases().iter().enumerate() {
        let mut told: Vec<(Door, Outcome)> = Vec::new();
        for door in Door::ALL.into_iter().filter(|door| !(case.raw && *door == Door::Command)) {
            if let Some(before) = case.before {
                let class = Class { http: server.http(), name: case.class.to_owned() };
                before(class, format!("o{number}-{door}")).await;
            }
            let outcome = doors.ask(door, &wish(case, number, door)).await;
            told.push((door, outcome));
        }
        compare(case, number, &told);
        if case.code.is_some_and(|code| !TIMED.contains(&code)) && !case.function {
            let [rest, mesh] = [Door::Rest, Door::Mesh].map(|door| wish(case, number, door));
            let (from_rest, from_mesh) = doors.documents(&rest, &mesh).await;
            let [rest, mesh] = [(&from_rest, Door::Rest), (&from_mesh, Door::Mesh)]
                .map(|(told, door)| unnamed(told, number, door));
            assert_eq!(rest, mesh, "the documents are the same");
        }
    }
}

/// Checks what every door told of a case against the first's.
fn compare(case: &Case, number: usize, told: &[(Door, Outcome)]) {
    let about = format!("{:?} of {:?}", case.call, case.class);
    let form = |(door, outcome): &(Door, Outcome)| match &outcome.told {
        Ok(result) => (true, unnamed(result, number, *door)),
        Err(problem) => (false, unnamed(problem, number, *door)),
    };
    let first = form(&told[0]);
    assert_eq!(first.0, case.code.is_none(), "{about}: {first:?}");
    match case.code {
        Some(code) => assert_eq!(first.1["code"], code.as_str(), "{about}: {first:?}"),
        None if case.call.is_some() => assert_eq!(first.1, case.value, "{about}"),
        None => assert_eq!(first.1["fields"], json!({ "n": 1 }), "{about}"),
    }
    if case.code == Some(Code::FunctionError) {
        assert_eq!(first.1["error"], case.value, "{about}");
    }
    for (door, outcome) in told {
        assert_eq!(form(&(*door, outcome.clone())), first, "{about} by {door}");
        if *door != Door::Command && case.code.is_none() && case.call.is_some() {
            assert_eq!(outcome.version, told[0].1.version, "{about} by {door}");
            assert_eq!(outcome.replayed, case.before.is_some(), "{about} by {door}");
        }
    }
}

#[test]
fn the_same_by_every_door_embedded() {
    run(the_same_by_every_door(Kind::Embedded));
}

#[test]
fn the_same_by_every_door_apart() {
    run(the_same_by_every_door(Kind::Apart));
}

/// A code that is added to the table is added here.
#[test]
fn every_code_has_its_case_or_a_reason() {
    let cases: Vec<_> = cases().iter().filter_map(|case| case.code).collect();
    for code in Code::ALL {
        let known = [
            cases.contains(code),
            APART.contains(code),
            REASONS.iter().any(|(reasoned, why)| reasoned == code && !why.is_empty()),
        ];
        let count = known.into_iter().filter(|known| *known).count();
        assert_eq!(count, 1, "{code:?} needs a case that provokes it, or a reason why there is none");
    }
}

/// Asks for one thing by every door, and gives what they agree on. Before it has read a message, gRPC knows no more of a
/// call than its path.
async fn agreed(doors: &Doors, wish: &Wish) -> Value {
    let mut first: Option<Value> = None;
    for door in Door::ALL {
        let mut told = unworded(doors.ask(door, wish).await.told.unwrap_err());
        for member in ["operation", "subject"] {
            told[member].take();
        }
        assert_eq!(*first.get_or_insert_with(|| told.clone()), told, "by {door}");
    }
    first.unwrap()
}

fn plain(class: &str, call: Option<(&str, Value)>) -> Wish {
    Wish {
        class: class.to_owned(),
        object: Some("o".to_owned()),
        call: call.map(|(method, arguments)| (method.to_owned(), arguments)),
        key: None,
        timeout_ms: None,
        raw: false,
    }
}

async fn without_a_key_or_a_scope(kind: Kind) {
    let server = Server::prepare(kind);
    let root = close(&server, &["--mesh-listen", &server.asked_endpoint()]).await;
    let _shown = server.show_logs_on_panic();
    let class = Class::deploy(&root, "Closed", guests::prober(), "").await;
    class.object("o").invoke("add", json!({ "by": 1 })).await.expect(200);
    let unknown = Cli::run(&["key", "token"], server.scratch(), &[], None).await.ok();
    let (_, reader) = key(&root, &[format!("read:{}", class.name)]).await;
    let (_, elsewhere) = key(&root, &["invoke:Elsewhere".to_owned()]).await;
    let shown = |http: &Http| http.authorization().unwrap()["Bearer ".len()..].to_owned();
    let add = || Some(("add", json!({ "by": 1 })));
    for (token, call, code) in [
        (None, add(), Code::Unauthenticated),
        (None, None, Code::Unauthenticated),
        (Some(unknown.trim().to_owned()), add(), Code::Unauthenticated),
        (Some(unknown.trim().to_owned()), None, Code::Unauthenticated),
        (Some(shown(&reader)), add(), Code::Denied),
        (Some(shown(&elsewhere)), None, Code::Denied),
    ] {
        let doors = Doors::of(&server, token.as_deref()).await;
        let told = agreed(&doors, &plain(&class.name, call.clone())).await;
        assert_eq!(told["code"], code.as_str(), "{told}");
        // what is not there is told of no differently
        let absent = agreed(&doors, &plain("Absent", call)).await;
        let same = told.to_string().replace(&class.name, "Absent");
        assert_eq!(serde_json::from_str::<Value>(&same).unwrap(), absent);
    }
    let doors = Doors::of(&server, Some(&shown(&reader))).await;
    for door in Door::ALL {
        let read = doors.ask(door, &plain(&class.name, None)).await.told.unwrap();
        assert_eq!(read["fields"], json!({ "n": 1 }), "by {door}: nothing was done by those who may not");
    }
}

#[test]
fn without_a_key_or_a_scope_embedded() {
    run(without_a_key_or_a_scope(Kind::Embedded));
}

#[test]
fn without_a_key_or_a_scope_apart() {
    run(without_a_key_or_a_scope(Kind::Apart));
}

#[test]
fn of_a_gateway_that_is_full() {
    run(async {
        let server = Server::prepare(Kind::Embedded);
        server.set_asked();
        server.launch().await;
        let _shown = server.show_logs_on_panic();
        let class = Class::deploy(&server, "Full", guests::prober(), crate::overload::SLEEPY).await;
        let doors = Doors::of(&server, None).await;
        let nap = crate::overload::asleep(&server, &class).await;
        let flooded = tokio::spawn({
            let (class, http) = (class.clone(), server.http());
            async move { crate::overload::flood(&[http], &class, "add", 1_100).await }
        });
        eventually("the gateway is full", || async {
            let reply = class.object("other").invoke("value", json!({})).await;
            (reply.status == 429).then_some(())
        })
        .await;
        let told = agreed(&doors, &plain(&class.name, Some(("add", json!({ "by": 1 }))))).await;
        assert_eq!((&told["code"], &told["outcome"]), (&json!("overloaded"), &json!("not-run")));
        assert!(!nap.is_finished(), "it was full all the while");
        nap.await.unwrap();
        flooded.await.unwrap();
    });
}

#[test]
fn of_a_host_that_is_gone() {
    run(async {
        let server = Server::prepare(Kind::Apart);
        server.set_asked();
        server.launch().await;
        let _shown = server.show_logs_on_panic();
        let class = Class::deploy(&server, "Gone", guests::prober(), "").await;
        let doors = Doors::of(&server, None).await;
        server.kill_host();
        eventually("the gateway misses it", || async {
            (server.http().get("/readyz").send().await.status != 200).then_some(())
        })
        .await;
        let wish = Wish { timeout_ms: Some(500), ..plain(&class.name, Some(("add", json!({ "by": 1 })))) };
        let told = agreed(&doors, &wish).await;
        assert_eq!((&told["code"], &told["outcome"]), (&json!("unavailable"), &json!("not-run")));
    });
}

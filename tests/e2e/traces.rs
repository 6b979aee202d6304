//! A call that is traced is one trace: each part's span stands below the part that it was done for, in one process or in
//! several. What is not to be traced is told to nobody, and a collector that is not there costs no call.

use std::collections::BTreeMap;
use std::time::Duration;

use oprc_tests::grpc::{Grpc, call, pb};
use oprc_tests::{
    Class, Collector, Kind, Reply, STOP_PATIENCE, Server, Span, eventually, free_port, guests, run, unique,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tonic::Request;

use crate::asynchronous::{accepted, decided, later};

/// A server all of whose processes tell `endpoint` of what they do.
pub(crate) async fn traced(kind: Kind, endpoint: &str, sample: &str) -> Server {
    let server = Server::prepare(kind);
    let args = ["--otlp-endpoint", endpoint, "--trace-sample", sample, "--trace-service", "oprc-test"];
    server.set_ingress_args(&args);
    server.set_asked();
    if kind == Kind::Apart {
        server.start_host_with(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
            ("OTEL_SERVICE_NAME", "oprc-test"),
        ]);
    }
    server.launch().await;
    server
}

/// A trace's id that nobody else has, and the header that begins with it.
fn incoming(flags: &str) -> (String, String) {
    let number: u64 = unique("1").split('-').next_back().unwrap().parse().unwrap();
    let trace = format!("4bf92f3577b34da6{:016x}", number + (u64::from(std::process::id()) << 32));
    let header = format!("00-{trace}-00f067aa0ba902b7-{flags}");
    (trace, header)
}

/// The trace that an answer says that its request belongs to, and the server's span.
#[track_caller]
fn of_reply(reply: &Reply) -> (String, String) {
    let header = reply.header("traceparent").expect("a traced request is told its span");
    let parts: Vec<&str> = header.split('-').collect();
    let ["00", trace, span, "01"] = parts.as_slice() else { panic!("{header}") };
    ((*trace).to_owned(), (*span).to_owned())
}

/// The one span of that name.
#[track_caller]
fn one<'s>(spans: &'s [Span], name: &str) -> &'s Span {
    let found: Vec<&Span> = spans.iter().filter(|span| span.name == name).collect();
    assert_eq!(found.len(), 1, "one {name} in {spans:#?}");
    found[0]
}

/// The names of a span and of all that it stands below, up to the first that is not here.
fn way<'s>(spans: &'s [Span], span: &'s Span) -> Vec<&'s str> {
    let parent = spans.iter().find(|other| other.id == span.parent);
    std::iter::once(&*span.name).chain(parent.map(|parent| way(spans, parent)).unwrap_or_default()).collect()
}

const CALL: &str = "POST /api/v1/classes/{class}/objects/{id}/invoke/{method}";

#[track_caller]
fn has(span: &Span, expected: &[(&str, &str)]) {
    let expected: BTreeMap<String, String> =
        expected.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    for (key, value) in &expected {
        assert_eq!(span.attributes.get(key), Some(value), "{key} of {span:#?}");
    }
}

async fn one_call_is_one_trace(server: &Server, collector: &Collector) {
    let class = Class::deploy(server, "Traced", guests::counter(), "").await;
    let object = class.object("alice");
    let (trace, header) = incoming("01");
    let call = object.method("increment").json(&json!({ "by": 5 })).header("traceparent", &header);
    let reply = call.header("tracestate", "vendor=1").header("idempotency-key", "k").send().await.expect(200);
    let turn_name = format!("turn {}/increment", class.name);
    let spans = collector.trace(&trace, &[CALL, "mesh call", &turn_name, "guest", "commit"]).await;
    let (server_span, turn) = (one(&spans, CALL), one(&spans, &turn_name));
    assert_eq!(server_span.parent, "00f067aa0ba902b7", "the caller's span is the root's parent");
    assert_eq!(of_reply(&reply), (trace, server_span.id.clone()));
    for leaf in ["guest", "commit"] {
        assert_eq!(way(&spans, one(&spans, leaf)), [leaf, &*turn_name, "mesh call", CALL]);
    }
    let kinds = [CALL, "mesh call", &turn_name, "guest", "commit"].map(|name| one(&spans, name).kind);
    assert_eq!(kinds, [2, 3, 1, 1, 1]);
    assert!(spans.iter().all(|span| span.failed.is_none() && span.service == "oprc-test"), "{spans:#?}");
    assert!(spans.iter().all(|span| span.state == "vendor=1"), "it goes along: {spans:#?}");
    let (front, back) = if server.kind() == Kind::Apart { ("gateway", "host") } else { ("up", "up") };
    assert_eq!((server_span.role.as_str(), turn.role.as_str()), (front, back));
    let template = "/api/v1/classes/{class}/objects/{id}/invoke/{method}";
    let said = [("http.request.method", "POST"), ("http.route", template), ("url.path", template)];
    has(server_span, &said);
    has(server_span, &[("http.response.status_code", "200")]);
    let about = [("oprc.class", &*class.name), ("oprc.object", "alice"), ("oprc.method", "increment")];
    has(turn, &about);
    has(turn, &[("oprc.invocation", "k")]);
    let partition = turn.attributes["oprc.partition"].clone();
    has(one(&spans, "commit"), &[("oprc.partition", &partition), ("oprc.version", "1")]);
    assert!(one(&spans, "commit").attributes["oprc.applied"].parse::<u64>().unwrap() > 0);
}

async fn a_call_without_one_begins_a_trace(server: &Server, collector: &Collector) {
    let class = Class::deploy(server, "Traced", guests::prober(), "").await;
    let said = unique("said");
    let reply = class.object("o").invoke("say", json!({ "out": said, "err": "" })).await.expect(204);
    let (trace, id) = of_reply(&reply);
    let spans = collector.trace(&trace, &[CALL, "guest"]).await;
    assert_eq!((one(&spans, CALL).id.as_str(), one(&spans, CALL).parent.as_str()), (&*id, ""));
    // what the guest prints is on its span, and its lines name the trace
    let guest = one(&spans, "guest");
    let printed = BTreeMap::from([
        ("log.iostream".to_owned(), "stdout".to_owned()),
        ("message".to_owned(), said.clone()),
    ]);
    assert_eq!(guest.events, [("log".to_owned(), printed)]);
    server.logged(&[&said, &trace, &guest.id]).await;
    let lines = server.http().get(format!("{}/logs", class.path())).send().await.expect(200).json();
    assert_eq!(lines["items"][0]["trace_id"], trace.as_str(), "{lines}");
    // the guest sees the span of its own run
    let object = class.object("o");
    let (_, header) = incoming("01");
    let seen = object.method("circumstances-of-call").json(&json!({})).header("traceparent", &header);
    let reply = seen.header("x-other", "1").send().await.expect(200);
    let (trace, _) = of_reply(&reply);
    let spans = collector.trace(&trace, &[CALL, "guest"]).await;
    let expected =
        json!([["x-other", "1"], ["traceparent", format!("00-{trace}-{}-01", one(&spans, "guest").id)]]);
    assert_eq!(reply.json()["headers"], expected);
    // a malformed header counts as none
    let bad = object.method("value").header("traceparent", "00-x").send().await.expect(200);
    let (trace, _) = of_reply(&bad);
    assert_eq!(one(&collector.trace(&trace, &[CALL]).await, CALL).parent, "");
}

async fn what_is_not_to_be_traced_is_not(server: &Server, collector: &Collector) {
    let class = Class::deploy(server, "Traced", guests::counter(), "").await;
    let object = class.object("o");
    let (hidden, header) = incoming("00");
    let call = object.method("increment").json(&json!({ "by": 1 })).header("traceparent", &header);
    let reply = call.send().await.expect(200);
    assert_eq!(reply.header("traceparent"), None);
    server.http().get("/readyz").header("traceparent", incoming("01").1).send().await.expect(200);
    // what came after it has arrived
    let reply = object.invoke("increment", json!({ "by": 1 })).await.expect(200);
    collector.trace(&of_reply(&reply).0, &[CALL, "commit"]).await;
    assert_eq!(collector.of(&hidden), []);
    assert!(collector.all().iter().all(|span| !span.name.contains("readyz")));
}

async fn nested_calls_stand_below_their_callers(server: &Server, collector: &Collector) {
    let class = Class::deploy(server, "Traced", guests::caller(), "").await;
    let arguments = json!({ "class": class.name, "id": "b", "method": "add", "payload": "{\"by\": 1}" });
    let reply = class.object("a").invoke("ask", arguments).await.expect(200);
    let (trace, _) = of_reply(&reply);
    let [outer, inner] = ["ask", "add"].map(|method| format!("turn {}/{method}", class.name));
    let spans = collector.trace(&trace, &[CALL, &outer, &inner]).await;
    let turn = one(&spans, &inner);
    assert_eq!(way(&spans, turn), [&*inner, "mesh call", "guest", &*outer, "mesh call", CALL]);
    has(turn, &[("oprc.object", "b")]);
    // each has a run and a commit of its own
    for name in ["guest", "commit"] {
        let mut parents: Vec<&str> =
            spans.iter().filter(|span| span.name == name).map(|span| way(&spans, span)[1]).collect();
        parents.sort_unstable();
        assert_eq!(parents, [&*inner, &*outer], "{name}");
    }
}

async fn what_happens_later_belongs_to_its_sender(server: &Server, collector: &Collector) {
    let class = Class::deploy(server, "Traced", guests::mailer(), "").await;
    let post = |delay: u64| json!({ "class": class.name, "id": "r", "method": "note", "payload": "{\"n\": 1}", "delay": delay, "key": null });
    let [sent, noted] = ["post", "note"].map(|method| format!("turn {}/{method}", class.name));
    let reply = class.object("s").invoke("post", post(0)).await.expect(204);
    let (trace, _) = of_reply(&reply);
    let spans = collector.trace(&trace, &[CALL, &sent, &noted]).await;
    assert_eq!(way(&spans, one(&spans, &noted)), [&*noted, &*sent, "mesh call", CALL]);
    assert_eq!(one(&spans, &noted).kind, 5);
    has(one(&spans, &noted), &[("oprc.attempt", "1")]);
    // a timer's turn begins a trace of its own, which points at the sender's
    let reply = class.object("t").invoke("post", post(100)).await.expect(204);
    let (trace, _) = of_reply(&reply);
    let timed = eventually("the timer's turn is told of", || async {
        collector.all().into_iter().find(|span| span.links == [trace.clone()])
    });
    let timed = timed.await;
    assert_eq!((timed.name.as_str(), timed.parent.as_str()), (&*noted, ""));
    assert_ne!(timed.trace, trace);
    // an asynchronous call
    let prober = Class::deploy(server, "Traced", guests::prober(), "").await;
    let reply = later(prober.object("o").method("add").json(&json!({ "by": 1 }))).send().await;
    let (trace, _) = of_reply(&reply);
    decided(&prober, &accepted(&reply)).await;
    let added = format!("turn {}/add", prober.name);
    let spans = collector.trace(&trace, &[CALL, &added, "commit"]).await;
    assert_eq!(way(&spans, one(&spans, &added)), [&*added, "mesh call", CALL]);
}

async fn failures_show_with_their_code(server: &Server, collector: &Collector) {
    let class = Class::deploy(server, "Traced", guests::prober(), "").await;
    let turn = |method: &str| format!("turn {}/{method}", class.name);
    let reply = class.object("o").method("explode").send().await;
    let (trace, _) = of_reply(&reply);
    let spans = collector.trace(&trace, &[CALL, "mesh call", &turn("explode"), "guest"]).await;
    for name in [CALL, "mesh call", &turn("explode"), "guest"] {
        assert_eq!(one(&spans, name).failed.as_deref(), Some("trap"), "{name}");
        has(one(&spans, name), &[("error.type", "trap")]);
    }
    assert!(one(&spans, "guest").events.iter().any(|(_, said)| said["message"].contains("exploded")));
    // what the client did wrong is no failure of the server
    let reply = class.object("o").invoke("refuse", json!({ "reason": "x", "balance": 1 })).await;
    let (trace, _) = of_reply(&reply);
    let spans = collector.trace(&trace, &[CALL, &turn("refuse")]).await;
    let asked = one(&spans, CALL);
    assert_eq!(asked.failed, None);
    has(asked, &[("error.type", "function-error"), ("http.response.status_code", "422")]);
    assert_eq!(one(&spans, &turn("refuse")).failed.as_deref(), Some("function-error"));
}

async fn grpc_calls_are_traced_alike(server: &Server, collector: &Collector) {
    let class = Class::deploy(server, "Traced", guests::counter(), "").await;
    let grpc = Grpc::to(server).await;
    let (trace, header) = incoming("01");
    let wanted = call(&class, Some("o"), "increment", &json!({ "by": 1 }));
    let mut request = Request::new(pb::InvokeRequest { call: Some(wanted), consistency: 0 });
    request.metadata_mut().insert("traceparent", header.parse().unwrap());
    let response = grpc.invocations.clone().invoke(request).await.unwrap();
    let told = response.metadata().get("traceparent").unwrap().to_str().unwrap().to_owned();
    let name = "oprc.v1.InvocationService/Invoke";
    let turn = format!("turn {}/increment", class.name);
    let spans = collector.trace(&trace, &[name, "mesh call", &turn, "commit"]).await;
    let asked = one(&spans, name);
    assert_eq!(told, format!("00-{trace}-{}-01", asked.id));
    assert_eq!(asked.parent, "00f067aa0ba902b7");
    assert_eq!(way(&spans, one(&spans, "commit")), ["commit", &*turn, "mesh call", name]);
    let about =
        [("rpc.system", "grpc"), ("rpc.service", "oprc.v1.InvocationService"), ("rpc.method", "Invoke")];
    has(asked, &about);
    has(asked, &[("rpc.grpc.status_code", "0")]);
}

async fn questions_on_the_mesh_are_traced_alike(server: &Server, collector: &Collector) {
    let class = Class::deploy(server, "Traced", guests::prober(), "").await;
    let client = server.asker(None).await;
    let (trace, header) = incoming("01");
    let key = |method: &str| format!("oprc/api/{}/objects/o/invokes/{method}", class.name);
    let about = json!({ "traceparent": header });
    let answer = client.ask(&key("add"), Some(&json!({ "by": 1 })), about).await.unwrap();
    let name = "oprc/api invoke";
    let turn = format!("turn {}/add", class.name);
    let spans = collector.trace(&trace, &[name, "mesh call", &turn, "commit"]).await;
    let asked = one(&spans, name);
    assert_eq!(answer.about["traceparent"], format!("00-{trace}-{}-01", asked.id));
    assert_eq!(asked.parent, "00f067aa0ba902b7");
    assert_eq!(way(&spans, one(&spans, "commit")), ["commit", &*turn, "mesh call", name]);
    has(asked, &[("rpc.system", "zenoh"), ("rpc.method", "invoke")]);
    // one that is not to be traced is not, and says nothing of it
    let (hidden, header) = incoming("00");
    let about = json!({ "traceparent": header });
    let answer = client.ask(&key("add"), Some(&json!({ "by": 1 })), about).await.unwrap();
    assert!(answer.about["traceparent"].is_null());
    // without a context it begins one, and fails as its call does
    client.ask(&key("explode"), None, json!({})).await.unwrap_err();
    let failed = eventually("the question that failed is told of", || async {
        collector.all().into_iter().find(|span| span.name == name && span.failed.is_some())
    });
    let failed = failed.await;
    assert_eq!((failed.failed.as_deref(), failed.parent.as_str()), (Some("trap"), ""));
    assert_eq!(collector.of(&hidden), []);
}

async fn calls_are_traced(kind: Kind) {
    let collector = Collector::start().await;
    let server = traced(kind, &collector.endpoint(), "1").await;
    let _shown = server.show_logs_on_panic();
    one_call_is_one_trace(&server, &collector).await;
    a_call_without_one_begins_a_trace(&server, &collector).await;
    what_is_not_to_be_traced_is_not(&server, &collector).await;
    nested_calls_stand_below_their_callers(&server, &collector).await;
    what_happens_later_belongs_to_its_sender(&server, &collector).await;
    failures_show_with_their_code(&server, &collector).await;
    grpc_calls_are_traced_alike(&server, &collector).await;
    questions_on_the_mesh_are_traced_alike(&server, &collector).await;
    // what is not sent when the processes end is sent then
    let class = Class::deploy(&server, "Traced", guests::counter(), "").await;
    let reply = class.object("last").invoke("increment", json!({ "by": 1 })).await.expect(200);
    assert!(server.stop().await.success());
    let names: Vec<String> = collector.of(&of_reply(&reply).0).into_iter().map(|span| span.name).collect();
    assert!(names.iter().any(|name| name == CALL) && names.iter().any(|name| name == "commit"), "{names:?}");
}

async fn only_what_is_drawn_begins_a_trace(kind: Kind) {
    let collector = Collector::start().await;
    let server = traced(kind, &collector.endpoint(), "0").await;
    let _shown = server.show_logs_on_panic();
    let class = Class::deploy(&server, "Traced", guests::counter(), "").await;
    let object = class.object("o");
    let reply = object.invoke("increment", json!({ "by": 1 })).await.expect(200);
    assert_eq!(reply.header("traceparent"), None);
    // who is traced already is traced on
    let (trace, header) = incoming("01");
    let call = object.method("increment").json(&json!({ "by": 1 })).header("traceparent", &header);
    call.send().await.expect(200);
    collector.trace(&trace, &[CALL, "mesh call", "guest", "commit"]).await;
    assert!(collector.all().iter().all(|span| span.trace == trace));
}

/// Enough calls for more spans than may wait.
const MANY: u64 = 4_000;

async fn a_collector_that_is_not_there_costs_no_call(kind: Kind, endpoint: &str, hangs: bool) {
    let server = traced(kind, endpoint, "1").await;
    let _shown = server.show_logs_on_panic();
    let class = Class::deploy(&server, "Traced", guests::counter(), "").await;
    let mut calls = tokio::task::JoinSet::new();
    for client in 0..10 {
        let object = class.object(format!("o{client}"));
        calls.spawn(async move {
            for _ in 0..MANY / 10 {
                object.invoke("increment", json!({ "by": 1 })).await.expect(200);
            }
        });
    }
    while let Some(done) = calls.join_next().await {
        done.unwrap();
    }
    // the operator is told, once for each trouble and not for each span
    server.logged(&["spans could not be sent"]).await;
    if hangs {
        server.logged(&["spans were dropped"]).await; // what is refused at once makes no queue
    }
    let told = server.host_log().lines().filter(|line| line.contains("spans could not be sent")).count();
    assert!(told <= 3, "{told} lines");
    let stopping = tokio::time::timeout(STOP_PATIENCE, server.stop()).await;
    assert!(stopping.expect("it ends all the same").success());
}

async fn a_dead_collector(kind: Kind) {
    a_collector_that_is_not_there_costs_no_call(kind, &format!("http://127.0.0.1:{}", free_port()), false)
        .await;
}

async fn a_collector_that_hangs(kind: Kind) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let hanging = tokio::spawn(async move {
        let mut taken = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            taken.push(stream); // and nothing is ever said
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    a_collector_that_is_not_there_costs_no_call(kind, &endpoint, true).await;
    hanging.abort();
}

macro_rules! of_both_kinds {
    ($($name:ident => $test:ident),+ $(,)?) => {$(
        mod $name {
            use oprc_tests::{Kind, run};
            #[test]
            fn embedded() {
                run(super::$test(Kind::Embedded));
            }
            #[test]
            fn apart() {
                run(super::$test(Kind::Apart));
            }
        }
    )+};
}

of_both_kinds!(
    calls => calls_are_traced,
    sampling => only_what_is_drawn_begins_a_trace,
    dead_collector => a_dead_collector,
    hanging_collector => a_collector_that_hangs,
);

/// Nobody is told anything unless asked to.
#[test]
fn without_a_collector_there_are_no_spans() {
    run(async {
        let server = Server::shared(Kind::Embedded).await;
        let class = Class::deploy(&server, "Traced", guests::prober(), "").await;
        let (_, header) = incoming("01");
        let call = class.object("o").method("circumstances-of-call").json(&json!({}));
        let reply = call.header("traceparent", &header).send().await.expect(200);
        assert_eq!(reply.header("traceparent"), None);
        // the guest may hand on what came
        assert_eq!(reply.json()["headers"], json!([["traceparent", header]]));
    });
}

/// The log says the same as the trace does, for programs too.
#[test]
fn requests_and_lines_are_logged_with_their_trace() {
    run(async {
        let collector = Collector::start().await;
        let (server, endpoint) = (Server::prepare(Kind::Embedded), collector.endpoint());
        let logging = ["--log-format", "json", "--log", "info,oprc_gateway=debug"];
        server.set_ingress_args(&[&["--otlp-endpoint", &*endpoint][..], &logging].concat());
        server.launch().await;
        let _shown = server.show_logs_on_panic();
        let class = Class::deploy(&server, "Traced", guests::prober(), "").await;
        let said = unique("said");
        let reply = class.object("o").invoke("say", json!({ "out": said, "err": "" })).await.expect(204);
        let (trace, _) = of_reply(&reply);
        let logged = async |what: &str| -> Value {
            serde_json::from_str(&server.logged(&[what, &trace]).await).expect("a line is one JSON document")
        };
        let answered = logged("a request was answered").await;
        let route = "/api/v1/classes/{class}/objects/{id}/invoke/{method}";
        assert_eq!([&answered["level"], &answered["method"], &answered["route"]], ["DEBUG", "POST", route]);
        assert_eq!((&answered["status"], &answered["trace_id"]), (&json!(204), &json!(trace)));
        let printed = logged(&said).await;
        assert_eq!(
            [&printed["target"], &printed["class"], &printed["trace_id"]],
            ["guest", &class.name, &trace]
        );
        let guest = collector.trace(&trace, &["guest"]).await;
        assert_eq!(printed["span_id"], one(&guest, "guest").id);
    });
}

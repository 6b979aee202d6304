//! Requests that classes send: only where their manifest says, within its limits, and what is told of those that fail. A
//! request that was sent is not taken back: whatever becomes of its turn is another matter.

use std::net::ToSocketAddrs as _;

use oprc_mesh::limits::{HTTP_BODY_BYTES_MAX, HTTP_REQUESTS_PER_TURN_MAX, HTTP_RESPONSE_HEAD_BYTES_MAX};
use oprc_mesh::outcome::Code;
use oprc_tests::{Class, Kind, Object, Origin, Server, both, eventually, guests, run};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::tls::{Authority, Files, launch};

both!(
    a_request_goes_where_the_manifest_says_and_nowhere_else,
    a_name_does_not_lead_inside,
    a_redirect_is_not_followed,
    what_is_sent_and_received_is_whole,
    bodies_are_bounded,
    a_server_that_fails_is_told_of,
    a_server_that_does_not_answer_ends_with_the_turn,
    a_message_that_asks_in_vain_is_given_up,
    a_turn_that_fails_leaves_its_object,
    a_call_under_a_key_sends_once,
    requests_have_keys,
    what_reads_only_asks,
    many_requests_at_once,
    a_bad_origin_is_refused,
);

/// A class that may send to these origins; `more` goes into its manifest before that.
async fn deploy(server: &Server, more: &str, origins: &[String]) -> Class {
    let manifest = format!("readonly = [\"peek\"]\n{more}\n[class.allow]\nhttp = {origins:?}");
    Class::deploy(server, "Web", guests::web(), &manifest).await
}

fn wish(method: &str, url: impl Into<String>) -> Value {
    let url: String = url.into();
    json!({ "wish": { "method": method, "url": url, "headers": [], "body": "" } })
}

/// What the function `fetch` is told of a request.
async fn fetch(class: &Class, method: &str, url: String) -> String {
    let told = class.function("fetch").json(&wish(method, url)).send().await.expect(200).json();
    told.as_str().unwrap().to_owned()
}

async fn call(object: &Object, method: &str, url: String) -> oprc_tests::Reply {
    object.invoke(method, wish("POST", url)).await
}

async fn a_request_goes_where_the_manifest_says_and_nowhere_else(server: Server) {
    let (origin, other) = (Origin::new().await, Origin::new().await);
    let class = deploy(&server, "", &[origin.url()]).await;
    let told = fetch(&class, "GET", origin.url() + "/a/b?c=d").await;
    let told: Value = serde_json::from_str(told.strip_prefix("200 ").unwrap()).unwrap();
    assert_eq!(told, json!({ "method": "GET", "path": "/a/b?c=d", "body": "" }));
    assert_eq!(origin.asked("/")[0].headers["host"], format!("127.0.0.1:{}", origin.port()));
    for url in [
        other.url() + "/",
        format!("http://localhost:{}/", origin.port()),
        format!("https://127.0.0.1:{}/", origin.port()),
        "http://169.254.169.254/latest/meta-data".to_owned(),
    ] {
        assert_eq!(fetch(&class, "GET", url.clone()).await, "HttpRequestDenied", "{url}");
    }
    for url in [format!("http://x@127.0.0.1:{}/", origin.port()), "http://2130706433/".to_owned()] {
        assert_eq!(fetch(&class, "GET", url.clone()).await, "HttpRequestUriInvalid", "{url}");
    }
    // without a word nothing is allowed, and the component is welcome all the same
    let none = Class::deploy(&server, "Web", guests::web(), "").await;
    assert_eq!(fetch(&none, "GET", origin.url()).await, "HttpRequestDenied");
    assert_eq!((origin.asked("/").len(), other.asked("/").len()), (1, 0));
    let described = class.http.get(class.path()).send().await.expect(200).json();
    assert_eq!(
        (&described["http_origins"], &described["serves_http"]),
        (&json!([origin.url()]), &json!(true))
    );
}

/// To name `localhost` is to name this machine. No other name leads here, whatever it is looked up to.
async fn a_name_does_not_lead_inside(server: Server) {
    let origin = Origin::new().await;
    let named = |name: &str| format!("http://{name}:{}", origin.port());
    let class = deploy(&server, "", &[named("localhost")]).await;
    assert!(fetch(&class, "GET", named("localhost")).await.starts_with("200 "));
    assert_eq!(fetch(&class, "GET", named("127.0.0.1")).await, "HttpRequestDenied");
    // this machine's own name, which its hosts file gives an address inside
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_lowercase();
    let inside =
        (name.as_str(), 80).to_socket_addrs().into_iter().flatten().any(|address| address.ip().is_loopback());
    let class = deploy(&server, "", &[named(&name)]).await;
    let told = fetch(&class, "GET", named(&name)).await;
    if inside {
        assert_eq!(told, "DestinationIpProhibited", "{name}");
        let more = format!("http = {:?}\nhttp_networks = [\"127.0.0.0/8\"]", [named(&name)]);
        let open = Class::deploy(&server, "Web", guests::web(), &format!("[class.allow]\n{more}")).await;
        assert!(fetch(&open, "GET", named(&name)).await.starts_with("200 "));
    } else {
        assert!(!told.starts_with("200 "), "{name}: {told}");
    }
    assert_eq!(origin.asked("/").len(), 1 + usize::from(inside));
}

async fn a_redirect_is_not_followed(server: Server) {
    let origin = Origin::new().await;
    let class = deploy(&server, "", &[origin.url()]).await;
    assert_eq!(fetch(&class, "GET", origin.url() + "/redirect").await, "302 ");
    assert_eq!(origin.asked("/").len(), 1);
}

async fn what_is_sent_and_received_is_whole(server: Server) {
    let origin = Origin::new().await;
    let class = deploy(&server, "", &[origin.url()]).await;
    let body = "ä\u{0}".repeat(5_000);
    let wish = json!({ "wish": { "method": "PUT", "url": origin.url() + "/x", "headers": [["x-own", "1"], ["x-own", "2"]],
                                 "body": body } });
    let told = class.function("fetch").json(&wish).send().await.expect(200).json();
    let told = told.as_str().unwrap().strip_prefix("200 ").unwrap().to_owned();
    assert_eq!(serde_json::from_str::<Value>(&told).unwrap()["body"], body);
    let asked = &origin.asked("/x")[0];
    let own: Vec<_> = asked.headers.get_all("x-own").iter().map(|own| own.to_str().unwrap()).collect();
    assert_eq!((own, asked.bytes), (vec!["1", "2"], body.len()));
    // these are the host's, whatever a guest says
    for name in ["host", "connection", "transfer-encoding"] {
        let wish =
            json!({ "wish": { "method": "GET", "url": origin.url(), "headers": [[name, "x"]], "body": "" } });
        let told = class.function("fetch").json(&wish).send().await.expect(200).json();
        assert!(told.as_str().unwrap().contains("Forbidden"), "{name}: {told}");
    }
    assert_eq!(fetch(&class, "TRACE", origin.url()).await, "HttpRequestMethodInvalid");
    assert_eq!(fetch(&class, "HEAD", origin.url() + "/announced/5").await, "200 ");
}

async fn bodies_are_bounded(server: Server) {
    let origin = Origin::new().await;
    let class = deploy(&server, "[class.limits]\ncpu_ms = 10000\nwall_ms = 60000", &[origin.url()]).await;
    let download = async |path: String| {
        let body = json!({ "url": origin.url() + &path });
        let call = class.function("download").header("x-request-timeout-ms", 60_000).json(&body);
        call.send().await.expect(200).json().as_str().unwrap().to_owned()
    };
    let most = HTTP_BODY_BYTES_MAX;
    for kind in ["announced", "chunked"] {
        assert_eq!(download(format!("/{kind}/{most}")).await, most.to_string());
    }
    let past = format!("HttpResponseBodySize(Some({most}))");
    assert_eq!(download(format!("/announced/{}", most + 1)).await, past);
    let told = download(format!("/chunked/{}", most + 1)).await;
    assert!(told.starts_with("broken: ") && told.contains("body size"), "{told}");
    let upload = async |bytes: u64| {
        let body = json!({ "url": origin.url() + "/length", "bytes": bytes });
        let call = class.function("upload").header("x-request-timeout-ms", 60_000).json(&body);
        call.send().await.expect(200).json().as_str().unwrap().to_owned()
    };
    assert_eq!(upload(most).await, format!("200 {most}"));
    assert_eq!(upload(most + 1).await, format!("HttpRequestBodySize(Some({most}))"));
    assert_eq!(origin.asked("/length").len(), 1, "what is too large is nobody's request");
    let head = fetch(&class, "GET", format!("{}/head/{HTTP_RESPONSE_HEAD_BYTES_MAX}", origin.url())).await;
    assert_eq!(head, format!("HttpResponseHeaderSectionSize(Some({HTTP_RESPONSE_HEAD_BYTES_MAX}))"));
    let head =
        fetch(&class, "GET", format!("{}/head/{}", origin.url(), HTTP_RESPONSE_HEAD_BYTES_MAX / 2)).await;
    assert_eq!(head, "200 ");
}

async fn a_server_that_fails_is_told_of(server: Server) {
    let (origin, gone) = (Origin::new().await, Origin::new().await);
    let closed = gone.url();
    drop(gone);
    let class = deploy(&server, "", &[origin.url(), closed.clone()]).await;
    assert_eq!(fetch(&class, "GET", closed).await, "ConnectionRefused");
    let told = fetch(&class, "GET", origin.url() + "/breaks").await;
    // the head may be lost with the rest
    assert!(told.starts_with("200 broken: ") || told == "HttpResponseIncomplete", "{told}");
    // and the turn goes on: it is the guest's to decide what that means
    let object = class.object("o");
    call(&object, "fetch-and-count", origin.url() + "/breaks").await.expect(200);
    assert_eq!(object.fields().await["calls"], 1);
}

async fn a_server_that_does_not_answer_ends_with_the_turn(server: Server) {
    let origin = Origin::new().await;
    let class = deploy(&server, "[class.limits]\nwall_ms = 1000", &[origin.url()]).await;
    let object = class.object("o");
    for path in ["/slow", "/stalls"] {
        let reply = call(&object, "fetch-and-count", origin.url() + path).await;
        reply.problem(Code::CallTimeout);
    }
    object.get().await.expect(404);
    // a guest that waits less gets its answer
    let object = deploy(&server, "", &[origin.url()]).await.object("o");
    let mut wish = wish("GET", origin.url() + "/slow");
    wish["wish"]["timeout-ms"] = json!(10);
    let told = object.invoke("fetch-and-count", wish).await.expect(200).json();
    assert_eq!(told, "ConnectionReadTimeout");
    assert_eq!(object.fields().await["calls"], 1);
}

/// What is asked in vain is not asked for ever: each try counts, and the last one leaves a dead letter.
async fn a_message_that_asks_in_vain_is_given_up(server: Server) {
    let origin = Origin::new().await;
    let more = "[class.limits]\nwall_ms = 3000\n[class.messages]\nattempts = 2";
    let class = deploy(&server, more, &[origin.url()]).await;
    let mail = Class::deploy(&server, "Mail", guests::mailer(), "").await.object("m");
    let payload = wish("POST", origin.url() + "/stalls").to_string();
    let post = json!({
        "class": class.name, "id": "o", "method": "fetch-and-count", "payload": payload, "delay": 0, "key": null,
    });
    mail.invoke("post", post).await.expect(204);
    let letters = format!("{}/dead-letters", class.path());
    let dead = eventually("it is a dead letter", || async {
        let listed = class.http.get(&letters).send().await.expect(200).json();
        listed["items"].as_array().and_then(|items| items.first().cloned())
    });
    let dead = dead.await;
    assert_eq!((&dead["attempts"], &dead["problem"]["code"]), (&json!(2), &json!("call-timeout")), "{dead}");
    assert_eq!(origin.asked("/stalls").len(), 2);
    class.http.post(format!("{letters}/purge")).send().await.expect(200);
}

async fn a_turn_that_fails_leaves_its_object(server: Server) {
    let origin = Origin::new().await;
    let class = deploy(&server, "", &[origin.url()]).await;
    let object = class.object("o");
    let failed = call(&object, "fetch-and-fail", origin.url() + "/done").await;
    assert!(failed.problem(Code::FunctionError)["error"].as_str().unwrap().starts_with("200 "));
    object.get().await.expect(404);
    assert_eq!(origin.asked("/done").len(), 1, "what was sent stays sent");
}

async fn a_call_under_a_key_sends_once(server: Server) {
    let origin = Origin::new().await;
    let class = deploy(&server, "", &[origin.url()]).await;
    for method in ["fetch", "fetch-and-count", "fetch-and-fail"] {
        let path = format!("/{method}");
        let call = class.object("o").method(method).json(&wish("POST", origin.url() + &path));
        let call = call.header("idempotency-key", method);
        let first = call.clone().send().await;
        let again = call.send().await;
        assert_eq!((first.status, &first.body), (again.status, &again.body), "{again:?}");
        assert_eq!(again.header("idempotency-replayed"), Some("true"));
        assert_eq!(origin.asked(&path).len(), 1, "{method}");
    }
}

async fn requests_have_keys(server: Server) {
    let origin = Origin::new().await;
    let class = deploy(&server, "", &[origin.url()]).await;
    for method in ["POST", "POST", "GET"] {
        fetch(&class, method, origin.url() + "/keyed").await;
    }
    let mut own = wish("POST", origin.url() + "/own");
    own["wish"]["headers"] = json!([["idempotency-key", "mine"]]);
    class.function("fetch").json(&own).send().await.expect(200);
    let key = |asked: &oprc_tests::Asked| {
        asked.headers.get("idempotency-key").map(|key| key.to_str().unwrap().to_owned())
    };
    let keys: Vec<_> = origin.asked("/keyed").iter().map(key).collect();
    let [Some(first), Some(second), None] = keys.as_slice() else { panic!("{keys:?}") };
    assert!(first.starts_with("oprc-") && first != second, "{keys:?}");
    // calls of a function may be named alike, and are others all the same
    for body in ["a", "b", "a"] {
        let mut asked = wish("POST", origin.url() + "/named");
        asked["wish"]["body"] = json!(body);
        class.function("fetch").json(&asked).header("idempotency-key", "order-1").send().await.expect(200);
    }
    let named: Vec<_> = origin.asked("/named").iter().map(key).collect();
    assert!(named[0] == named[2] && named[0] != named[1], "{named:?}");
    assert_eq!(key(&origin.asked("/own")[0]).unwrap(), "mine");
}

async fn what_reads_only_asks(server: Server) {
    let origin = Origin::new().await;
    let class = deploy(&server, "", &[origin.url()]).await;
    let object = class.object("o");
    let read = object.invoke("peek", wish("GET", origin.url() + "/read")).await.expect(200).json();
    assert!(read.as_str().unwrap().starts_with("200 "), "{read}");
    let wrote = object.invoke("peek", wish("POST", origin.url() + "/write")).await;
    let wrote = wrote.problem(Code::Invalid);
    assert!(wrote["detail"].as_str().unwrap().contains("POST"), "{wrote}");
    assert_eq!((origin.asked("/read").len(), origin.asked("/write").len()), (1, 0));
}

async fn many_requests_at_once(server: Server) {
    let origin = Origin::new().await;
    let class = deploy(&server, "", &[origin.url()]).await;
    let mut calls = JoinSet::new();
    for n in 0..100 {
        let (class, url) = (class.clone(), format!("{}/many/{n}", origin.url()));
        calls.spawn(async move { fetch(&class, "POST", url).await });
    }
    for told in calls.join_all().await {
        assert!(told.starts_with("200 "), "{told}");
    }
    assert_eq!(origin.asked("/many").len(), 100);
    // one turn may have so many under way: here none ends before all are begun
    let count = HTTP_REQUESTS_PER_TURN_MAX + 1;
    let body = json!({ "url": origin.url() + "/burst", "count": count });
    let told = class.function("burst").json(&body).send().await.expect(200).json();
    let told: Vec<_> = told.as_array().unwrap().iter().map(|told| told.as_str().unwrap()).collect();
    let (sent, refused) = told.split_at(HTTP_REQUESTS_PER_TURN_MAX);
    assert!(sent.iter().all(|told| told.starts_with("200 ")), "{told:?}");
    assert_eq!(refused, ["ConnectionLimitReached"]);
    assert_eq!(origin.asked("/burst").len(), HTTP_REQUESTS_PER_TURN_MAX);
}

async fn a_bad_origin_is_refused(server: Server) {
    let class = deploy(&server, "", &[]).await;
    for (allow, why) in [
        ("http = [\"https://api.example.com/v1\"]", "leave out \"/v1\""),
        ("http = [\"api.example.com\"]", "begins with https://"),
        ("http = [\"https://*.com\"]", "two parts"),
        ("http_networks = [\"0.0.0.0/0\"]", "8 to 32"),
    ] {
        let refused = class.redeploy(guests::web(), &format!("[class.allow]\n{allow}")).await;
        let refused = refused.problem(Code::Invalid);
        assert!(refused["detail"].as_str().unwrap().contains(why), "{refused}");
    }
}

/// The host trusts whom its machine trusts, by the name or address that was asked for.
#[test]
fn tls_is_spoken_with_whom_this_machine_trusts() {
    run(async {
        let (trusted, strange) = (Server::prepare(Kind::Embedded), Server::prepare(Kind::Embedded));
        let authorities = [&trusted, &strange].map(|origin| Authority::new(origin.scratch(), "origin"));
        for (origin, authority) in [&trusted, &strange].into_iter().zip(&authorities) {
            let files = Files::new(origin.scratch());
            files.put(authority.issue());
            origin.set_ingress_args(&files.args());
            launch(origin, &["--ca", authority.file.to_str().unwrap()]).await;
        }
        let server = Server::prepare(Kind::Embedded);
        let _shown = server.show_logs_on_panic();
        server.start_host_with(&[("SSL_CERT_FILE", authorities[0].file.to_str().unwrap())]);
        server.ready().await;
        let at = |origin: &Server, host: &str| {
            origin.url().replace("http://127.0.0.1", &format!("https://{host}"))
        };
        let origins = [at(&trusted, "127.0.0.1"), at(&trusted, "localhost"), at(&strange, "127.0.0.1")];
        let class = deploy(&server, "", &origins).await;
        for origin in &origins[..2] {
            let told = fetch(&class, "GET", format!("{origin}/healthz")).await;
            assert!(told.starts_with("200 "), "{origin}: {told}");
        }
        assert_eq!(fetch(&class, "GET", format!("{}/healthz", origins[2])).await, "TlsCertificateError");
    });
}

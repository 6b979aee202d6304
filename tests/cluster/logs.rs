//! What guests print on several hosts is read and followed as one, also while hosts come and go; and a trace that crosses hosts
//! is one trace.

use std::collections::BTreeSet;

use oprc_tests::{Class, Collector, Events, PATIENCE, Party, Plan, Span, eventually, guests};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::alone;

const OBJECTS: usize = 24;

async fn say(class: &Class, at: usize, text: &str) {
    let call = class.object(format!("o{at}")).method("say").json(&json!({ "out": text, "err": "" }));
    // a host that is lost takes its calls with it
    eventually(&format!("{text} is said"), || async {
        let reply = call.clone().try_send().await.ok()?;
        (reply.status == 204).then_some(())
    })
    .await;
}

fn nodes(lines: &[Value]) -> BTreeSet<String> {
    lines.iter().map(|line| line["node"].as_str().unwrap().to_owned()).collect()
}

fn texts(lines: &[Value]) -> BTreeSet<String> {
    lines.iter().map(|line| line["line"].as_str().unwrap().to_owned()).collect()
}

/// Follows until every object's line that begins so has come; gaps are told where a host has forgotten all.
async fn take(events: &mut Events, beginning: &str) -> Vec<Value> {
    let (mut lines, mut texts) = (Vec::new(), BTreeSet::new());
    while texts.len() < OBJECTS {
        let next = timeout(PATIENCE, events.next()).await.expect("lines come in time");
        let block = next.expect("the stream goes on");
        let text = block.data["line"].as_str().unwrap_or_default().to_owned();
        if block.name.is_empty() && text.starts_with(beginning) {
            texts.insert(text);
            lines.push(block.data);
        }
    }
    lines
}

#[test]
fn lines_of_all_hosts_are_one_list_and_one_stream() {
    alone(async {
        let cluster = Plan::of(3).start().await;
        let _shown = cluster.show_logs_on_panic();
        let class = Class::deploy(&cluster, "Said", guests::prober(), "").await;
        let path = format!("/classes/{}/logs", class.name);
        let mut events = Events::follow(&class.http, &path).await.unwrap();
        for at in 0..OBJECTS {
            say(&class, at, &format!("first {at}")).await;
        }
        let followed = take(&mut events, "first").await;
        assert!(nodes(&followed).len() > 1, "objects are spread over hosts");
        let read = eventually("every host gives its lines", || async {
            let read = class.http.get(format!("/api/v1{path}")).send().await.expect(200).json();
            let items = read["items"].as_array().unwrap();
            // a turn that is tried again prints again
            (read["missing"] == json!([]) && texts(items) == texts(&followed)).then_some(read)
        })
        .await;
        let items = read["items"].as_array().unwrap();
        assert!(nodes(items).is_superset(&nodes(&followed)));
        let different: BTreeSet<String> = items.iter().map(Value::to_string).collect();
        assert_eq!(different.len(), items.len(), "no line is given twice");
        assert!(items.iter().map(|line| line["time_us"].as_u64().unwrap()).is_sorted());
        // a host dies, and comes back: the stream goes on with what there is
        let host = cluster.leader_of(&class.name, "o0").await;
        cluster.kill(Party::Host(host));
        for at in 0..OBJECTS {
            say(&class, at, &format!("second {at}")).await;
        }
        take(&mut events, "second").await;
        cluster.start_host(host).await;
        cluster.settled(3).await;
        for at in 0..OBJECTS {
            say(&class, at, &format!("third {at}")).await;
        }
        take(&mut events, "third").await;
    });
}

#[test]
fn a_trace_goes_through_hosts() {
    alone(async {
        let collector = Collector::start().await;
        let endpoint = collector.endpoint();
        let args = ["--otlp-endpoint", &endpoint];
        let cluster = Plan::of(3).host_args(&args).gateway_args(&args).start().await;
        let _shown = cluster.show_logs_on_panic();
        let class = Class::deploy(&cluster, "Traced", guests::caller(), "").await;
        // leaders may be moved at any time: which way a call went is told by its trace alone
        for at in 0..100 {
            let other = format!("b{at}");
            let wanted =
                json!({ "class": class.name, "id": other, "method": "add", "payload": "{\"by\": 1}" });
            let reply = class.object("a").invoke("ask", wanted).await.expect(200);
            let trace = reply.header("traceparent").unwrap().split('-').nth(1).unwrap().to_owned();
            let outer = format!("turn {}/ask", class.name);
            let inner = format!("turn {}/add", class.name);
            let way = eventually("the trace is whole", || async {
                let spans = collector.of(&trace);
                let parent = |of: &Span| spans.iter().find(|span| span.id == of.parent).cloned();
                let turn = spans.iter().find(|span| span.name == inner)?;
                let call = parent(turn)?;
                let guest = parent(&call)?;
                let caller = parent(&guest)?;
                let asked = parent(&caller)?;
                Some([call, guest, caller, asked])
            })
            .await;
            let names = way.each_ref().map(|span| span.name.as_str());
            assert_eq!(names, ["mesh call", "guest", &*outer, "mesh call"]);
            let [call, .., asked] = way;
            let [here, there] = [&asked, &call].map(|span| &span.attributes["oprc.node"]);
            assert_eq!(call.attributes["oprc.local"], (here == there).to_string());
            if here != there {
                return;
            }
        }
        panic!("all objects are led by one of three hosts");
    });
}

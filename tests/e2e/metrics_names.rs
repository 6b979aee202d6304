//! The guide's table, the dashboard and the alerts name what a server tells, all of it and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use oprc_tests::grpc::{Grpc, call};
use oprc_tests::metrics::Metrics;
use oprc_tests::{Class, Server, both, guests, root};
use serde_json::{Value, json};

both!(the_table_tells_of_every_metric, the_dashboard_and_the_alerts_name_what_there_is);

/// All families of all processes, after some calls.
async fn told(server: &Server) -> Metrics {
    let class = Class::deploy(server, "Told", guests::counter(), "").await;
    class.object("o").invoke("increment", json!({ "by": 1 })).await.expect(200);
    let grpc = Grpc::to(server).await;
    grpc.invoke(call(&class, Some("o"), "value", &json!([]))).await.unwrap();
    let mut all = Metrics::of(&server.http()).await;
    let host = Metrics::of_host(server).await;
    all.families.extend(host.families);
    all.samples.extend(host.samples);
    all
}

/// What Prometheus calls a family's samples.
fn sample_names(family: &str, kind: &str) -> Vec<String> {
    let suffixes: &[&str] = match kind {
        "counter" => &["_total"],
        "histogram" => &["_bucket", "_sum", "_count"],
        "info" => &["_info"],
        _ => &[""],
    };
    suffixes.iter().map(|suffix| format!("{family}{suffix}")).collect()
}

fn file(path: &str) -> String {
    fs::read_to_string(root().join("docs").join(path)).unwrap()
}

/// The guide's rows: name, type, labels.
fn table() -> Vec<(String, String, BTreeSet<String>)> {
    let guide = file("guide/observability.md");
    let rows = guide.lines().filter(|line| line.starts_with("| `oprc_"));
    let cells = rows.map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
    cells
        .map(|cells| {
            assert_eq!(cells.len(), 6, "name, type, labels, meaning: {cells:?}");
            assert!(!cells[4].is_empty(), "a metric means something: {cells:?}");
            let labels = cells[3].split(',').map(|label| label.trim().trim_matches('`').to_owned());
            let labels = labels.filter(|label| !label.is_empty()).collect();
            (cells[1].trim_matches('`').to_owned(), cells[2].to_owned(), labels)
        })
        .collect()
}

async fn the_table_tells_of_every_metric(server: Server) {
    let told = told(&server).await;
    let mut documented = BTreeMap::new();
    for (name, kind, labels) in table() {
        let family = match kind.as_str() {
            "counter" => name.strip_suffix("_total").unwrap_or_else(|| panic!("a counter's name: {name}")),
            "info" => name.strip_suffix("_info").unwrap_or_else(|| panic!("an info's name: {name}")),
            _ => &name,
        };
        assert_eq!(told.families.get(family), Some(&kind), "{name} is told, and so");
        assert!(documented.insert(family.to_owned(), labels).is_none(), "{name} is there twice");
    }
    let families: BTreeSet<_> = told.families.keys().collect();
    assert_eq!(documented.keys().collect::<BTreeSet<_>>(), families, "every family is in the table");
    for sample in &told.samples {
        let labels: BTreeSet<_> = sample.labels.keys().filter(|label| *label != "le").cloned().collect();
        assert_eq!(labels, documented[&sample.family], "{sample:?}");
    }
}

/// The names of metrics in an expression or a text.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|char: char| !(char.is_ascii_alphanumeric() || char == '_'));
    words.filter(|word| word.starts_with("oprc_")).map(str::to_owned).collect()
}

/// Everything that stands under a key `expr`.
fn expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(text) if name == "expr" => found.push(text.clone()),
                    _ => expressions(member, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| expressions(item, found)),
        _ => {}
    }
}

async fn the_dashboard_and_the_alerts_name_what_there_is(server: Server) {
    let told = told(&server).await;
    let known: BTreeSet<String> =
        told.families.iter().flat_map(|(family, kind)| sample_names(family, kind)).collect();
    let dashboard: Value = serde_json::from_str(&file("observability/grafana-dashboard.json")).unwrap();
    let mut shown = Vec::new();
    expressions(&dashboard, &mut shown);
    let alerts = file("observability/alerts.yaml");
    let rules = alerts.lines().filter(|line| line.trim_start().starts_with("- alert:")).count();
    let asked = alerts.lines().filter_map(|line| line.trim_start().strip_prefix("expr:"));
    let asked: Vec<String> = asked.map(str::to_owned).collect();
    assert!(shown.len() >= 20 && rules >= 8, "{} panels, {rules} rules", shown.len());
    assert_eq!(asked.len(), rules, "each rule has its expression on one line");
    for expression in shown.iter().chain(&asked) {
        let names = names(expression);
        assert!(!names.is_empty(), "it asks for something: {expression}");
        for name in names {
            assert!(known.contains(&name), "{name} is not told, in {expression}");
        }
    }
}

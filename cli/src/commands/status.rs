//! `oprc status`: nodes, partitions, leaders and lag.

use serde::Deserialize;
use serde_json::Value;

use crate::args::{ClientArgs, Format};
use crate::client::Client;
use crate::failure::Failure;
use crate::output;

/// The cluster as the server describes it.
#[derive(Debug, Deserialize)]
struct Cluster {
    nodes: Vec<Node>,
    partitions: Vec<Partition>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: Value,
    #[serde(default)]
    zone: Value,
    state: Value,
    #[serde(default)]
    reason: Value,
}

#[derive(Debug, Deserialize)]
struct Partition {
    grid: Value,
    #[serde(rename = "partition")]
    number: Value,
    leader: Value,
    term: Value,
    applied: Value,
    #[serde(default)]
    replicas: Vec<Replica>,
}

#[derive(Debug, Deserialize)]
struct Replica {
    node: Value,
    lag: Value,
}

pub(crate) async fn run(args: ClientArgs) -> Result<(), Failure> {
    let client = Client::new(&args.server)?;
    let answer = client.get(&["cluster"], &[]).await?;
    if args.output == Format::Json {
        return output::json_text(&answer.body);
    }
    let cluster: Cluster = client.understand(&answer.body)?;
    output::line(&format!("{}\n\n{}", node_table(&cluster.nodes), partition_table(&cluster.partitions)))
}

fn node_table(nodes: &[Node]) -> String {
    let row = |node: &Node| [&node.id, &node.zone, &node.state, &node.reason].map(cell);
    output::table(["node", "zone", "state", "reason"], nodes.iter().map(row))
}

fn partition_table(partitions: &[Partition]) -> String {
    let rows = partitions.iter().map(|partition| {
        let Partition { grid, number, leader, term, applied, .. } = partition;
        let lag: Vec<_> = partition
            .replicas
            .iter()
            .map(|replica| format!("{}:{}", cell(&replica.node), cell(&replica.lag)))
            .collect();
        [cell(grid), cell(number), cell(leader), cell(term), cell(applied), lag.join(" ")]
    });
    output::table(["grid", "partition", "leader", "term", "applied", "lag per replica"], rows)
}

/// A string without its quotes, `-` for what is not known, anything else as JSON.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_not_known_shows_as_a_dash() {
        let cluster: Cluster = serde_json::from_value(json!({
            "nodes": [{ "id": "00000000000000ab", "zone": "", "state": "alive" }],
            "partitions": [{ "grid": "default", "partition": 3, "leader": null, "term": 2, "applied": 17,
                             "replicas": [{ "node": "00000000000000ab", "lag": 0 }] }]
        }))
        .unwrap();
        assert_eq!(
            node_table(&cluster.nodes),
            "node              zone  state  reason\n00000000000000ab  -     alive  -"
        );
        let row = "default  3          -       2     17       00000000000000ab:0";
        assert_eq!(partition_table(&cluster.partitions).lines().nth(1), Some(row));
    }
}

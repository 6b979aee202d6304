//! `oprc status`: nodes, partitions, leaders and lag.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

use crate::args::{ClientArgs, Format};
use crate::client::Client;
use crate::failure::Failure;
use crate::output;

/// Digits of a node's id that are shown where it is only referred to, at the least.
const SHORT_DIGITS_MIN: usize = 4;

/// The cluster as the server describes it.
#[derive(Debug, Deserialize)]
struct Cluster {
    nodes: Vec<Node>,
    #[serde(default)]
    catalog: Option<Placed>,
    partitions: Vec<Partition>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: String,
    #[serde(default)]
    zone: Value,
    state: Value,
    #[serde(default)]
    leads: Value,
    #[serde(default)]
    holds: Value,
    #[serde(default)]
    reason: Value,
}

#[derive(Debug, Deserialize)]
struct Partition {
    grid: Value,
    #[serde(rename = "partition")]
    number: Value,
    #[serde(flatten)]
    placed: Placed,
}

/// A Raft group on its hosts.
#[derive(Debug, Deserialize)]
struct Placed {
    leader: Option<String>,
    term: Value,
    applied: Value,
    #[serde(default)]
    replicas: Vec<Replica>,
}

#[derive(Debug, Deserialize)]
struct Replica {
    node: String,
    lag: Value,
}

pub(crate) async fn run(args: ClientArgs) -> Result<(), Failure> {
    let client = Client::new(&args)?;
    let answer = client.get(&["cluster"], &[]).await?;
    if args.output == Format::Json {
        return output::json_text(&answer.body);
    }
    let cluster: Cluster = client.understand(&answer.body)?;
    output::line(&format!("{}\n\n{}", node_table(&cluster), partition_table(&cluster)))
}

fn node_table(cluster: &Cluster) -> String {
    let row = |node: &Node| {
        let [zone, state, leads, holds, reason] =
            [&node.zone, &node.state, &node.leads, &node.holds, &node.reason].map(cell);
        [node.id.clone(), zone, state, leads, holds, reason]
    };
    output::table(["node", "zone", "state", "leads", "holds", "reason"], cluster.nodes.iter().map(row))
}

fn partition_table(cluster: &Cluster) -> String {
    let digits = short_digits(cluster);
    let short = |node: &str| node.get(..digits).unwrap_or(node).to_owned();
    let row = |grid: String, number: String, placed: &Placed| {
        let leader = placed.leader.as_deref().map_or_else(|| "-".to_owned(), short);
        let lag = |replica: &Replica| format!("{}:{}", short(&replica.node), cell(&replica.lag));
        let lags: Vec<_> = placed.replicas.iter().map(lag).collect();
        [grid, number, leader, cell(&placed.term), cell(&placed.applied), lags.join(" ")]
    };
    let catalog = cluster.catalog.iter().map(|placed| row("(catalog)".to_owned(), "-".to_owned(), placed));
    let partitions = cluster
        .partitions
        .iter()
        .map(|partition| row(cell(&partition.grid), cell(&partition.number), &partition.placed));
    output::table(
        ["grid", "partition", "leader", "term", "applied", "lag of each replica"],
        catalog.chain(partitions),
    )
}

/// So many leading digits of a node's id tell all nodes apart.
fn short_digits(cluster: &Cluster) -> usize {
    let replicas = cluster.partitions.iter().flat_map(|partition| &partition.placed.replicas);
    let ids: BTreeSet<&str> = (cluster.nodes.iter().map(|node| node.id.as_str()))
        .chain(replicas.map(|replica| replica.node.as_str()))
        .collect();
    let longest = ids.iter().map(|id| id.len()).max().unwrap_or(0);
    let apart = |digits: &usize| {
        ids.iter().map(|id| id.get(..*digits).unwrap_or(id)).collect::<BTreeSet<_>>().len() == ids.len()
    };
    (SHORT_DIGITS_MIN..longest).find(apart).unwrap_or(longest)
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
            "nodes": [{ "id": "00000000000000ab", "zone": "", "state": "lost" }],
            "partitions": [{ "grid": "default", "partition": 3, "leader": null, "term": 2, "applied": 17,
                             "replicas": [{ "node": "00000000000000ab", "lag": null }] }]
        }))
        .unwrap();
        assert_eq!(
            node_table(&cluster),
            "node              zone  state  leads  holds  reason\n00000000000000ab  -     lost   -      -      -"
        );
        let row = "default  3          -       2     17       0000:-";
        assert_eq!(partition_table(&cluster).lines().nth(1), Some(row));
    }

    #[test]
    fn ids_are_as_short_as_they_can_be() {
        let node = |id: &str| json!({ "id": id, "state": "alive", "leads": 1, "holds": 1 });
        let replicas =
            json!([{ "node": "3f2a9c0000000000", "lag": 0 }, { "node": "3f2a910000000000", "lag": 12 }]);
        let placed = json!({ "leader": "3f2a910000000000", "term": 4, "applied": 90, "replicas": replicas });
        let mut partition = placed.clone();
        partition["grid"] = json!("default");
        partition["partition"] = json!(0);
        let cluster: Cluster = serde_json::from_value(json!({
            "nodes": [node("3f2a9c0000000000"), node("3f2a910000000000")],
            "catalog": placed,
            "partitions": [partition],
        }))
        .unwrap();
        let table = partition_table(&cluster);
        let rows: Vec<&str> = table.lines().skip(1).collect();
        assert_eq!(
            rows,
            [
                "(catalog)  -          3f2a91  4     90       3f2a9c:0 3f2a91:12",
                "default    0          3f2a91  4     90       3f2a9c:0 3f2a91:12"
            ]
        );
    }
}

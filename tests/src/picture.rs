//! `GET /api/v1/cluster`, as tests look at it.

use std::collections::BTreeMap;

use oprc_mesh::id::{ClassName, ObjectId, slot};
use oprc_mesh::limits::SLOTS;
use serde_json::Value;

/// Entries that a replica may lack and still count as up to date: under load it always lacks some.
const LAG_MAX: u64 = 50;

/// Who is there, and who holds and leads what.
#[derive(Debug, Clone)]
pub struct Picture {
    /// Every host in the catalog, with its state.
    pub nodes: BTreeMap<String, String>,
    /// Every partition of every grid.
    pub partitions: Vec<Partition>,
    /// Who leads the catalog's own group, if that is known.
    pub catalog_leader: Option<String>,
}

/// One partition.
#[derive(Debug, Clone)]
pub struct Partition {
    /// Its grid.
    pub grid: String,
    /// Its place there, in slot order.
    pub place: usize,
    /// Who leads it, if that is known.
    pub leader: Option<String>,
    /// Its replicas, each with the entries that it has not applied yet, if that is known.
    pub replicas: BTreeMap<String, Option<u64>>,
}

impl Picture {
    /// Reads the document.
    ///
    /// # Panics
    /// When a member is missing or of another type.
    pub fn read(document: &Value) -> Self {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let items = |value: &Value| value.as_array().unwrap_or_else(|| panic!("a list: {document}")).clone();
        let partition = |one: &Value| Partition {
            grid: text(&one["grid"]).expect("a grid has a name"),
            place: one["partition"].as_u64().expect("a partition has a place") as usize,
            leader: text(&one["leader"]),
            replicas: items(&one["replicas"])
                .iter()
                .map(|replica| (text(&replica["node"]).expect("a node"), replica["lag"].as_u64()))
                .collect(),
        };
        let node = |one: &Value| {
            (text(&one["id"]).expect("a node has an id"), text(&one["state"]).expect("a node has a state"))
        };
        Self {
            nodes: items(&document["nodes"]).iter().map(node).collect(),
            partitions: items(&document["partitions"]).iter().map(partition).collect(),
            catalog_leader: text(&document["catalog"]["leader"]),
        }
    }

    /// The partition of the grid `default` that owns an object.
    ///
    /// # Panics
    /// When there is no such grid.
    pub fn of(&self, class: &str, object: &str) -> &Partition {
        let slot = slot(&ClassName::parse(class).expect("a class"), &ObjectId::parse(object).expect("an id"));
        let grid = || self.partitions.iter().filter(|partition| partition.grid == "default");
        // partitions own equal ranges of slots
        let place = usize::from(slot) * grid().count() / usize::from(SLOTS);
        grid().find(|partition| partition.place == place).expect("the default grid covers every slot")
    }

    /// Hosts that answer and serve.
    pub fn alive(&self) -> Vec<&str> {
        self.nodes.iter().filter(|(_, state)| *state == "alive").map(|(id, _)| id.as_str()).collect()
    }

    /// Whether every partition has `replicas` replicas, all of them as good as up to date and on hosts that are alive, and
    /// a leader among them.
    pub fn is_settled(&self, replicas: usize) -> bool {
        self.is_settled_but(LAG_MAX, replicas)
    }

    /// The same without a lag: nothing is written any more, and every replica holds all of it.
    pub fn is_caught_up(&self, replicas: usize) -> bool {
        self.is_settled_but(0, replicas)
    }

    fn is_settled_but(&self, lag_max: u64, replicas: usize) -> bool {
        let alive = self.alive();
        !self.partitions.is_empty()
            && self.partitions.iter().all(|partition| {
                partition.replicas.len() == replicas
                    && partition.leader.as_ref().is_some_and(|leader| partition.replicas.contains_key(leader))
                    && partition
                        .replicas
                        .iter()
                        .all(|(node, lag)| alive.contains(&&**node) && lag.is_some_and(|lag| lag <= lag_max))
            })
    }

    /// How many replicas each host that is alive holds, and how many of those it leads.
    pub fn shares(&self) -> BTreeMap<&str, (usize, usize)> {
        let count = |node: &str| {
            let holds = self.partitions.iter().filter(|one| one.replicas.contains_key(node)).count();
            let leads = self.partitions.iter().filter(|one| one.leader.as_deref() == Some(node)).count();
            (holds, leads)
        };
        self.alive().into_iter().map(|node| (node, count(node))).collect()
    }

    /// Whether no host holds more than one replica more than another, and none leads more than `slack` more.
    pub fn is_balanced(&self, slack: usize) -> bool {
        let shares = self.shares();
        let spread = |of: fn(&(usize, usize)) -> usize| {
            let (least, most) = (shares.values().map(of).min(), shares.values().map(of).max());
            most.unwrap_or(0) - least.unwrap_or(0)
        };
        spread(|share| share.0) <= 1 && spread(|share| share.1) <= slack
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn picture(lag: &Value, second_leader: &str) -> Picture {
        let partition = |place: u64, leader: &str, lag: &Value| {
            let replicas: Vec<_> =
                ["a", "b", "c"].iter().map(|node| json!({ "node": node, "lag": lag })).collect();
            json!({ "grid": "default", "partition": place, "group": place + 1, "leader": leader, "term": 2,
                "applied": 7, "replicas": replicas })
        };
        let node = |id: &str| json!({ "id": id, "zone": "", "state": "alive" });
        Picture::read(&json!({
            "revision": 3,
            "nodes": [node("a"), node("b"), node("c")],
            "grids": [{ "name": "default", "partitions": 2, "replicas": 3 }],
            "partitions": [partition(0, "a", &json!(0)), partition(1, second_leader, lag)],
        }))
    }

    #[test]
    fn it_is_settled_when_all_are_there_and_up_to_date() {
        assert!(picture(&json!(LAG_MAX), "b").is_settled(3));
        assert!(!picture(&json!(0), "b").is_settled(5));
        assert!(!picture(&json!(LAG_MAX + 1), "b").is_settled(3));
        assert!(picture(&json!(0), "b").is_caught_up(3));
        assert!(!picture(&json!(1), "b").is_caught_up(3));
        assert!(!picture(&Value::Null, "b").is_settled(3));
        assert!(!picture(&json!(0), "d").is_settled(3));
    }

    #[test]
    fn it_is_balanced_when_shares_are_equal() {
        let balanced = picture(&json!(0), "b");
        assert_eq!(balanced.shares()["a"], (2, 1));
        assert!(balanced.is_balanced(1));
        assert!(!picture(&json!(0), "a").is_balanced(1));
    }

    #[test]
    fn an_object_is_found_in_its_partition() {
        // slots 2853 and 2170, see oprc_mesh::id; both in the upper half
        for object in ["alice", "bob"] {
            assert_eq!(picture(&json!(0), "b").of("Counter", object).place, 1);
        }
    }
}

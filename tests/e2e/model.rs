//! Random operations of every kind on a few objects, one after the other, against a model in memory: after each, status,
//! version, incarnation and fields are what the model says.

use std::collections::BTreeMap;

use oprc_mesh::outcome::Code;
use oprc_tests::{Class, Object, Reply, Server, both, guests, seed, tag};
use rand::Rng as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};

both!(operations, steps_within_turns);

/// What an object should be.
#[derive(Default)]
struct Model {
    /// Version and fields; none for no object.
    now: Option<(u64, BTreeMap<String, String>)>,
    /// The incarnation, once seen.
    incarnation: Option<u64>,
    /// The last incarnation of its predecessors.
    before: u64,
}

const KEYS: [&str; 5] = ["a", "b", "c/é", "c", "n"];

async fn operations(server: Server) {
    let class = Class::deploy(&server, "Model", guests::prober(), "readonly = [\"value\"]").await;
    let mut rng = seed::rng("operations");
    let mut models: [Model; 3] = Default::default();
    for _ in 0..250 {
        let number = rng.random_range(0..models.len());
        operate(&class.object(format!("o{number}")), &mut models[number], &mut rng).await;
        for (number, model) in models.iter_mut().enumerate() {
            model.check(&class.object(format!("o{number}")).get().await);
        }
    }
}

/// One operation on the object and on its model.
async fn operate(object: &Object, model: &mut Model, rng: &mut StdRng) {
    let key = KEYS[rng.random_range(0..KEYS.len())];
    let value = rng.random_range(-9..100i64);
    match rng.random_range(0..9) {
        0 => {
            let fields =
                BTreeMap::from([("n".to_owned(), "0".to_owned()), (key.to_owned(), value.to_string())]);
            let document: Value = fields.iter().map(|(key, value)| (key.clone(), number(value))).collect();
            let put = object.put(&document).send().await;
            model.commit(&put, |now| *now = fields);
        }
        1 => {
            let patch = object.patch(&json!({ key: value, "gone": { "$delete": true } })).send().await;
            model.commit(&patch, |fields| drop(fields.insert(key.to_owned(), value.to_string())));
        }
        2 => {
            let put = object.field("PUT", key).octets(value.to_string()).send().await;
            model.commit(&put, |fields| drop(fields.insert(key.to_owned(), value.to_string())));
        }
        3 => {
            let deleted = object.field("DELETE", key).send().await;
            if model.now.as_ref().is_some_and(|(_, fields)| fields.contains_key(key)) {
                model.commit(&deleted, |fields| drop(fields.remove(key)));
            } else {
                deleted.problem(Code::NotFound);
            }
        }
        4 => {
            let deleted = object.delete().send().await;
            if model.delete() { drop(deleted.ok()) } else { drop(deleted.problem(Code::NotFound)) }
        }
        5 => {
            let added = object.invoke("add", json!({ "by": value })).await;
            model.commit(&added, |fields| {
                let sum = fields.get("n").map_or(0, |n| n.parse::<i64>().unwrap()) + value;
                fields.insert("n".to_owned(), sum.to_string());
            });
            let (version, fields) = model.now.as_ref().unwrap();
            assert_eq!((added.version(), added.json()), (*version, number(&fields["n"])));
        }
        6 => {
            let stale = object.patch(&json!({ key: value })).header("if-match", "\"1.1\"").send().await;
            stale.problem(Code::VersionMismatch);
        }
        7 => {
            let refused = object.invoke("refuse", json!({ "reason": "", "balance": value })).await;
            refused.problem(Code::FunctionError);
        }
        _ => {
            let read = object.invoke("value", json!({})).await.expect(200);
            assert_eq!(read.version(), model.now.as_ref().map_or(0, |(version, _)| *version));
        }
    }
}

fn number(text: &str) -> Value {
    json!(text.parse::<i64>().unwrap())
}

impl Model {
    /// A write that must have succeeded.
    fn commit(&mut self, reply: &Reply, change: impl FnOnce(&mut BTreeMap<String, String>)) {
        assert!((200..300).contains(&reply.status), "{reply:?}");
        let (version, fields) = self.now.get_or_insert_default();
        *version += 1;
        change(fields);
    }

    /// Whether there was something to delete.
    fn delete(&mut self) -> bool {
        self.before = self.incarnation.take().unwrap_or(self.before);
        self.now.take().is_some()
    }

    /// Compares with a read of the object.
    fn check(&mut self, reply: &Reply) {
        let Some((version, fields)) = &self.now else {
            reply.problem(Code::NotFound);
            return;
        };
        assert_eq!(reply.status, 200, "{reply:?}");
        let (incarnation, tagged) = tag(&reply.etag());
        assert!(incarnation > self.before, "a later incarnation than {}: {reply:?}", self.before);
        assert_eq!(*self.incarnation.get_or_insert(incarnation), incarnation, "{reply:?}");
        let fields: Value = fields.iter().map(|(key, value)| (key.clone(), number(value))).collect();
        let document = reply.json();
        assert_eq!((&document["fields"], &document["version"], tagged), (&fields, &json!(version), *version));
    }
}

/// Random steps inside one turn against the same steps on a map: reads see the turn's own writes over what is committed,
/// and the commit leaves exactly what the turn saw at its end.
async fn steps_within_turns(server: Server) {
    let class = Class::deploy(&server, "Steps", guests::prober(), "").await;
    let mut rng = seed::rng("steps_within_turns");
    let object = class.object("o");
    let mut committed: BTreeMap<String, String> = BTreeMap::new();
    for _ in 0..120 {
        let mut fields = committed.clone();
        let (mut steps, mut expected) = (Vec::new(), Vec::new());
        for _ in 0..rng.random_range(1..12) {
            let (step, line) = random_step(&mut fields, &mut rng);
            steps.push(step);
            expected.push(line);
        }
        let reply = object.invoke("run", json!([steps])).await.expect(200);
        assert_eq!(reply.json(), json!(expected), "{steps:?} over {committed:?}");
        committed = fields;
        let scan = object.invoke("run", json!([[{ "scan": ["", "", 1000] }]])).await.expect(200);
        assert_eq!(scan.json()[0], joined(committed.iter()), "{steps:?}");
    }
}

fn joined<'a>(fields: impl Iterator<Item = (&'a String, &'a String)>) -> String {
    fields.map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

/// A step, done on the model, and the line that it must give.
fn random_step(fields: &mut BTreeMap<String, String>, rng: &mut StdRng) -> (Value, String) {
    let key = ["a", "ab", "abc", "b", "é", "n1", "n2"][rng.random_range(0..7)].to_owned();
    let number = rng.random_range(-50..50i64);
    let get = |fields: &BTreeMap<String, String>, key: &String| {
        fields.get(key).map_or_else(|| "none".to_owned(), |value| format!("some {value}"))
    };
    match rng.random_range(0..20) {
        0..=3 => (json!({ "get": key }), get(fields, &key)),
        4 => {
            let keys = [key.clone(), "b".to_owned(), key];
            (
                json!({ "get-many": keys }),
                keys.iter().map(|key| get(fields, key)).collect::<Vec<_>>().join(","),
            )
        }
        5..=8 => {
            fields.insert(key.clone(), number.to_string());
            (json!({ "set": [key, number.to_string()] }), "ok".to_owned())
        }
        9 => {
            for (key, value) in [(&key, number), (&"b".to_owned(), 1), (&key, number + 1)] {
                fields.insert(key.clone(), value.to_string());
            }
            let pairs = json!([[key, number.to_string()], ["b", "1"], [key, (number + 1).to_string()]]);
            (json!({ "set-many": pairs }), "ok".to_owned())
        }
        10..=12 => (json!({ "delete": key }), fields.remove(&key).is_some().to_string()),
        13..=15 => {
            let sum = fields.get(&key).map_or(0, |value| value.parse::<i64>().unwrap()) + number;
            fields.insert(key.clone(), sum.to_string());
            (json!({ "increment": [key, number] }), sum.to_string())
        }
        16 => {
            fields.clear();
            (json!({ "clear": true }), "ok".to_owned())
        }
        _ => {
            let (prefix, limit) = (["", "a", "n"][rng.random_range(0..3)], rng.random_range(1..5usize));
            let rest: Vec<_> = fields.iter().filter(|(k, _)| k.starts_with(prefix) && **k > key).collect();
            let more = if rest.len() > limit { "+" } else { "" };
            let line = joined(rest.into_iter().take(limit)) + more;
            (json!({ "scan": [prefix, key, limit] }), line)
        }
    }
}

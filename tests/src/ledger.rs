//! Bookkeeping over faults: what clients tried, what was acknowledged to them, what they were told had not run; and the
//! comparison of all that with what is there.
//!
//! Each attempt carries a token of its own. `append` stores the token as a field and adds one to a count in the same
//! turn, so an object whose count, version and number of tokens agree holds each of its tokens once. A token that nobody
//! sent, an acknowledged one that is missing, and one that is there although its sender heard `not-run`, are seen as
//! such.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::{Class, Http, Ingress, Load, Lost, Reply, encode, guests, tag, within};

/// More than a quarter as many as partitions: some leaders hold several, some none.
const OBJECTS: usize = 6;

/// Until an append has failed, unless told, in milliseconds.
const DEADLINE_MS: u64 = 2_000;

/// How long appends may fail in a row while something is repaired.
const PROGRESS_PATIENCE: Duration = Duration::from_mins(2);

/// What clients know of one object.
#[derive(Default)]
struct Known {
    attempted: BTreeSet<String>,
    acknowledged: BTreeSet<String>,
    not_run: BTreeSet<String>,
}

/// See the module. Clones share the book.
#[derive(Clone)]
pub struct Ledger {
    /// Where it was opened.
    cluster: Value,
    /// The class whose objects are written.
    pub class: Class,
    deadline_ms: u64,
    book: Arc<[Mutex<Known>; OBJECTS]>,
    rounds: Arc<AtomicUsize>,
}

impl Ledger {
    /// A ledger over a class of its own.
    pub async fn open(at: &impl Ingress) -> Self {
        let class = Class::deploy(at, "Ledger", guests::prober(), "").await;
        let cluster = cluster(&class).await;
        Self { cluster, class, deadline_ms: DEADLINE_MS, book: Arc::default(), rounds: Arc::default() }
    }

    /// The same with appends that wait so many milliseconds for their answers.
    #[must_use]
    pub fn deadline_ms(mut self, ms: u64) -> Self {
        self.deadline_ms = ms;
        self
    }

    /// Starts clients that append, whatever happens to their calls, until the load is stopped.
    pub fn load(&self, http: &Http, clients: usize) -> Load {
        let round = self.rounds.fetch_add(1, Ordering::SeqCst);
        let mut load = Load::default();
        for client in 0..clients {
            let ledger = Self { class: self.class.through(http), ..self.clone() };
            load.spawn(|over| async move {
                ledger.class.known().await;
                for attempt in 0.. {
                    if over.is_over() {
                        return;
                    }
                    ledger.append((client + attempt) % OBJECTS, format!("{round}-{client}-{attempt}")).await;
                }
            });
        }
        load
    }

    async fn append(&self, number: usize, token: String) {
        self.book[number].lock().unwrap().attempted.insert(token.clone());
        let call = self.class.object(format!("o{number}")).method("append").json(&json!({ "token": token }));
        let answer = call.header("x-request-timeout-ms", self.deadline_ms).try_send().await;
        self.book[number].lock().unwrap().note(token, answer);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    /// How many appends were acknowledged so far.
    pub fn acknowledged(&self) -> usize {
        self.book.iter().map(|known| known.lock().unwrap().acknowledged.len()).sum()
    }

    /// How many appends have an outcome that nobody knows.
    pub fn unknown(&self) -> usize {
        let count = |known: &Known| known.attempted.len() - known.acknowledged.len() - known.not_run.len();
        self.book.iter().map(|known| count(&known.lock().unwrap())).sum()
    }

    /// Waits until so many more appends were acknowledged.
    ///
    /// # Panics
    /// When they are not.
    pub async fn progress(&self, more: usize) {
        let goal = self.acknowledged() + more;
        within(PROGRESS_PATIENCE, "appends are acknowledged", || async {
            (self.acknowledged() >= goal).then_some(())
        })
        .await;
    }

    /// Compares every object with the book. It must be the same cluster that is asked.
    ///
    /// # Panics
    /// When they differ.
    pub async fn check(&self) {
        assert_eq!(
            cluster(&self.class).await,
            self.cluster,
            "another cluster than when the ledger was opened"
        );
        for (number, known) in self.book.iter().enumerate() {
            let (fields, version) = contents(&self.class, &format!("o{number}")).await;
            known.lock().unwrap().compare(number, &fields, version);
        }
    }
}

impl Known {
    fn note(&mut self, token: String, answer: Result<Reply, Lost>) {
        match answer {
            Ok(reply) if reply.status == 200 => drop(self.acknowledged.insert(token)),
            Ok(reply) => {
                assert!([429, 503, 504].contains(&reply.status), "{reply:?}");
                if reply.json()["outcome"] == "not-run" {
                    self.not_run.insert(token);
                }
            }
            // no answer at all: whether it took effect is unknown
            Err(Lost(_)) => {}
        }
    }

    fn compare(&self, number: usize, fields: &BTreeMap<String, Value>, version: u64) {
        let tokens: BTreeSet<String> =
            fields.keys().filter_map(|key| key.strip_prefix("t/")).map(str::to_owned).collect();
        let lost: Vec<_> = self.acknowledged.difference(&tokens).collect();
        assert!(lost.is_empty(), "o{number}: acknowledged and lost: {lost:?}");
        let made_up: Vec<_> = tokens.difference(&self.attempted).collect();
        assert!(made_up.is_empty(), "o{number}: nobody sent {made_up:?}");
        let ran: Vec<_> = tokens.intersection(&self.not_run).collect();
        assert!(ran.is_empty(), "o{number}: their senders were told that they had not run: {ran:?}");
        let count = fields.get("n").map_or(0, |n| n.as_u64().unwrap());
        assert_eq!(count, tokens.len() as u64, "o{number}: an append took effect twice, or by half");
        assert_eq!(version, tokens.len() as u64, "o{number}: a version is one commit");
    }
}

/// The id of the cluster.
async fn cluster(class: &Class) -> Value {
    let mut cluster = class.http.get("/api/v1/cluster").send().await.expect(200).json();
    let id = cluster["id"].take();
    assert!(id.is_string(), "a cluster that serves was founded: {cluster}");
    id
}

/// All fields and the version of an object; none and 0 when it does not exist.
async fn contents(class: &Class, id: &str) -> (BTreeMap<String, Value>, u64) {
    let mut fields = BTreeMap::new();
    let mut cursor = String::new();
    loop {
        let path = format!("{}/objects/{id}/fields?limit=1000{cursor}", class.path());
        let reply = class.http.get(path).send().await;
        if reply.status == 404 {
            // the object is not there; the class must be, else it is another server, or one that lost all it had
            let detail = reply.json()["detail"].to_string();
            assert!(!detail.contains("not deployed"), "{reply:?}");
            return (fields, 0);
        }
        reply.clone().expect(200);
        let page = reply.json();
        for item in page["items"].as_array().unwrap() {
            fields.insert(item["key"].as_str().unwrap().to_owned(), item["value"].clone());
        }
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={}", encode(next)),
            None => return (fields, tag(&reply.etag()).1),
        }
    }
}

/// The comparison itself: what it must never overlook.
#[cfg(test)]
mod comparison {
    use super::*;

    fn compare(change: impl FnOnce(&mut Known, &mut BTreeMap<String, Value>, &mut u64)) {
        let set = |tokens: &[&str]| tokens.iter().map(|token| (*token).to_owned()).collect();
        let mut known =
            Known { attempted: set(&["a", "b", "c"]), acknowledged: set(&["a"]), not_run: set(&["c"]) };
        let mut fields = BTreeMap::from(["t/a", "t/b"].map(|key| (key.to_owned(), json!(1))));
        fields.insert("n".to_owned(), json!(2));
        let mut version = 2;
        change(&mut known, &mut fields, &mut version);
        known.compare(0, &fields, version);
    }

    #[test]
    fn what_is_right_passes() {
        compare(|_, _, _| {});
    }

    #[test]
    #[should_panic(expected = "acknowledged and lost")]
    fn a_lost_append() {
        compare(|known, _, _| assert!(known.acknowledged.insert("c".to_owned())));
    }

    #[test]
    #[should_panic(expected = "nobody sent")]
    fn an_invented_append() {
        compare(|known, _, _| assert!(known.attempted.remove("b")));
    }

    #[test]
    #[should_panic(expected = "told that they had not run")]
    fn an_append_that_was_denied() {
        compare(|known, _, _| assert!(known.not_run.insert("b".to_owned())));
    }

    #[test]
    #[should_panic(expected = "took effect twice")]
    fn an_append_that_counted_twice() {
        compare(|_, fields, _| drop(fields.insert("n".to_owned(), json!(3))));
    }

    #[test]
    #[should_panic(expected = "a version is one commit")]
    fn a_commit_too_many() {
        compare(|_, _, version| *version = 3);
    }
}

//! Clients that read, add and compare-and-set, in every way that the product offers, and note all of it in a
//! [`History`], which is then checked for linearizability.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::json;

use crate::linear::{Action, History, Outcome, Pending, Seen, State};
use crate::{Class, Http, Ingress, Load, Lost, Over, Reply, guests, tag, within};

/// Every object's state when its history begins.
const START: State = State { value: 0, version: 1 };

/// How long everything may fail while something is repaired.
const PATIENCE: Duration = Duration::from_mins(2);

/// Operations' own deadline.
const TIMEOUT_MS: u64 = 2_000;

/// The client that reads once more at the end.
const LAST: u32 = u32::MAX;

/// How an object is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Through a read-only method.
    Method,
    /// As a whole.
    Object,
    /// Its one field.
    Field,
}

/// A read's query: what of the promise it asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consistency {
    /// Nothing asked: the leader's lease.
    Lease,
    /// A round of the quorum.
    Linearizable,
    /// Any replica as it is.
    Stale,
}

impl Consistency {
    /// As it stands in a URL.
    pub fn query(self) -> &'static str {
        match self {
            Self::Lease => "",
            Self::Linearizable => "?consistency=linearizable",
            Self::Stale => "?consistency=stale",
        }
    }
}

/// See the module. A clone is the same set of objects with the same history.
#[derive(Clone)]
pub struct Registers {
    class: Class,
    /// The objects' ids, each with the incarnation that it must keep.
    objects: BTreeMap<String, u64>,
    history: History,
    reads: Vec<Consistency>,
    pause_ms_max: u64,
}

impl Registers {
    /// Deploys a class and creates `objects` objects of it.
    pub async fn open(at: &impl Ingress, objects: usize) -> Self {
        let class = Class::deploy(at, "Register", guests::prober(), "readonly = [\"value\"]").await;
        let mut ids = BTreeMap::new();
        for number in 0..objects {
            let object = class.object(format!("r{number}"));
            let created = object.put(&json!({ "n": START.value })).header("if-none-match", "*").send().await;
            let (incarnation, version) = tag(&created.expect(201).etag());
            assert_eq!(version, START.version);
            ids.insert(object.id, incarnation);
        }
        Self {
            class,
            objects: ids,
            history: History::default(),
            reads: vec![Consistency::Lease],
            pause_ms_max: 5,
        }
    }

    /// Reads ask for these, in turns; for the lease alone unless told.
    #[must_use]
    pub fn reads(mut self, reads: &[Consistency]) -> Self {
        self.reads = reads.to_vec();
        self
    }

    /// The longest pause of a client between two operations.
    #[must_use]
    pub fn pause_ms_max(mut self, ms: u64) -> Self {
        self.pause_ms_max = ms;
        self
    }

    /// The objects' class.
    pub fn class(&self) -> &Class {
        &self.class
    }

    /// The objects' ids.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.objects.keys().map(String::as_str)
    }

    /// The same objects and history through another gateway.
    #[must_use]
    pub fn through(&self, http: &Http) -> Self {
        Self { class: self.class.through(http), ..self.clone() }
    }

    /// Starts `clients` clients, spread over `gateways`, until the load is stopped.
    pub async fn load(&self, gateways: &[Http], clients: u32, rng: &mut StdRng) -> Load {
        for http in gateways {
            self.class.through(http).known().await;
        }
        let mut load = Load::default();
        for number in 0..clients {
            let registers = self.through(&gateways[number as usize % gateways.len()]);
            let client = Client {
                number,
                versions: self.objects.keys().map(|id| (id.clone(), START.version)).collect(),
                rng: StdRng::seed_from_u64(rng.random()),
                registers,
            };
            load.spawn(|over| client.run(over));
        }
        load
    }

    /// How many operations succeeded so far.
    pub fn done(&self) -> usize {
        self.history.count(|outcome| matches!(outcome, Outcome::Done(_)))
    }

    /// Waits until so many more operations succeeded.
    ///
    /// # Panics
    /// When they do not.
    pub async fn progress(&self, more: usize) {
        let goal = self.done() + more;
        within(PATIENCE, "operations succeed", || async { (self.done() >= goal).then_some(()) }).await;
    }

    /// Reads every object once more, and checks the whole history.
    ///
    /// # Panics
    /// When an object cannot be read, or what was seen has no explanation.
    pub async fn check(&self) {
        for id in self.ids() {
            within(PATIENCE, "every object can be read", || {
                self.read(LAST, id, Way::Object, Consistency::Lease)
            })
            .await;
        }
        let unknown = self.history.count(|outcome| *outcome == Outcome::Unknown);
        println!("{} operations, {} done, {unknown} of unknown outcome", self.history.len(), self.done());
        self.history.check(START);
    }

    /// Reads an object; gives the version that it was at, if an answer came. A stale read of a replica that hears from
    /// nobody may be of a state from before the history began: it says nothing.
    pub async fn read(&self, client: u32, id: &str, way: Way, consistency: Consistency) -> Option<u64> {
        let pending = self.history.invoke(client, id, Action::Read);
        let pending = if consistency == Consistency::Stale { pending.at_any_time_before() } else { pending };
        let object = self.class.object(id);
        let query = consistency.query();
        let call = match way {
            Way::Method => {
                self.class.http.post(format!("{}/invoke/value{query}", object.path())).json(&json!({}))
            }
            Way::Object => self.class.http.get(format!("{}{query}", object.path())),
            Way::Field => self.class.http.get(format!("{}/fields/n{query}", object.path())),
        };
        match call.header("x-request-timeout-ms", TIMEOUT_MS).try_send().await {
            Ok(reply) if reply.status == 200 => {
                let version = match way {
                    Way::Method => reply.version(),
                    Way::Object | Way::Field => self.version(id, &reply.etag()),
                };
                let value = match way {
                    Way::Method => reply.json(),
                    Way::Object => reply.json()["fields"]["n"].take(),
                    Way::Field => reply.bytes_as_json(),
                };
                if consistency == Consistency::Stale && version < START.version {
                    pending.end(Outcome::Failed);
                    return None;
                }
                Some(done(pending, value.as_i64(), version))
            }
            Ok(reply) if reply.status == 404 && consistency == Consistency::Stale => {
                pending.end(Outcome::Failed);
                None
            }
            // it was created before the history began, and nobody deletes it: gone is a version that never was
            Ok(reply) if reply.status == 404 => Some(done(pending, None, 0)),
            // a read that failed says nothing
            answer => {
                let _ = failure(answer);
                pending.end(Outcome::Failed);
                None
            }
        }
    }

    /// Adds one; gives the version that came of it, if it succeeded.
    pub async fn add(&self, client: u32, id: &str) -> Option<u64> {
        let pending = self.history.invoke(client, id, Action::Add(1));
        let call = self.class.object(id).method("add").json(&json!({ "by": 1 }));
        match call.header("x-request-timeout-ms", TIMEOUT_MS).try_send().await {
            Ok(reply) if reply.status == 200 => Some(done(pending, reply.json().as_i64(), reply.version())),
            answer => {
                pending.end(failure(answer));
                None
            }
        }
    }

    /// Sets an object that is still at `version`; gives the version that came of it, if it succeeded.
    pub async fn set(&self, client: u32, id: &str, version: u64, value: i64) -> Option<u64> {
        let pending = self.history.invoke(client, id, Action::CompareAndSet { version, value });
        let etag = format!("\"{}.{version}\"", self.objects[id]);
        let call = self.class.object(id).patch(&json!({ "n": value })).header("if-match", etag);
        match call.header("x-request-timeout-ms", TIMEOUT_MS).try_send().await {
            Ok(reply) if reply.status == 200 => {
                Some(done(pending, Some(value), self.version(id, &reply.etag())))
            }
            answer => {
                pending.end(failure(answer));
                None
            }
        }
    }

    /// The version in a tag of an object; its incarnation must be the one that it was created with.
    fn version(&self, id: &str, etag: &str) -> u64 {
        let (incarnation, version) = tag(etag);
        assert_eq!(incarnation, self.objects[id], "{id} was created again: {etag}");
        version
    }
}

fn done(pending: Pending, value: Option<i64>, version: u64) -> u64 {
    pending.end(Outcome::Done(Seen { value, version: Some(version) }));
    version
}

/// What an answer other than success means for a write.
fn failure(answer: Result<Reply, Lost>) -> Outcome {
    match answer {
        Err(Lost(_)) => Outcome::Unknown,
        Ok(reply) if reply.status == 412 => Outcome::Mismatch,
        Ok(reply) => {
            assert!([429, 503, 504].contains(&reply.status), "{reply:?}");
            let certain = reply.status == 429 || reply.json()["outcome"] == "not-run";
            if certain { Outcome::Failed } else { Outcome::Unknown }
        }
    }
}

/// A client with one operation at a time.
struct Client {
    number: u32,
    /// The version of each object as last seen.
    versions: BTreeMap<String, u64>,
    rng: StdRng,
    registers: Registers,
}

impl Client {
    async fn run(mut self, over: Over) {
        let ids: Vec<String> = self.versions.keys().cloned().collect();
        while !over.is_over() {
            let id = &ids[self.rng.random_range(0..ids.len())];
            let seen = match self.rng.random_range(0..10) {
                0..5 => {
                    let way = [Way::Method, Way::Object, Way::Field][self.rng.random_range(0..3)];
                    let reads = &self.registers.reads;
                    let consistency = reads[self.rng.random_range(0..reads.len())];
                    let seen = self.registers.read(self.number, id, way, consistency).await;
                    seen.filter(|_| consistency != Consistency::Stale)
                }
                5..8 => self.registers.add(self.number, id).await,
                _ => {
                    let value = self.rng.random_range(-1_000_000_000..1_000_000_000);
                    self.registers.set(self.number, id, self.versions[id], value).await
                }
            };
            if let Some(version) = seen {
                self.versions.insert(id.clone(), version);
            }
            // whoever was refused waits a little longer
            let pause_ms =
                self.rng.random_range(0..=if seen.is_some() { self.registers.pause_ms_max } else { 20 });
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        }
    }
}

//! A host that keeps objects in a map and answers as told.

mod classes;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use oprc_mesh::catalog::{CatalogView, Class, Grid, Node, PartitionInfo};
use oprc_mesh::id::{Digest, NodeId, slot};
use oprc_mesh::manifest::Manifest;
use oprc_mesh::outcome::{Code, Effect, Problem};
use oprc_mesh::wire::{
    Answer, CatalogRead, ChunkStored, Consistency, DeadLetterPage, DeadLettersChanged, Emitted, Event,
    EventPage, Field, FieldPage, FieldRead, Form, HttpResponse, Invocation, Invoke, Invoked, ListFields,
    ListObjects, LogLine, LogPage, NodeStatus, Object, ObjectEntry, ObjectPage, Op, Precondition, PutChunk,
    ReadEvents, ReplicaStatus, Revision, Tag, Versions, WriteMode, WriteObject, Written,
};
use oprc_mesh::{Handler, Mesh};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

pub(crate) const NODE: NodeId = NodeId(0xa1);
pub(crate) const PARTITIONS: u32 = 4;

type Objects = BTreeMap<(String, String), (Tag, BTreeMap<String, Bytes>)>;

pub(crate) struct Fake {
    node: NodeId,
    mesh: Mesh,
    view: Mutex<CatalogView>,
    history: Mutex<Vec<Class>>,
    objects: Mutex<Objects>,
    upload: Mutex<(String, Vec<u8>)>,
    clock: AtomicU64,
    /// Every operation that came, but for chunks' data.
    pub(crate) seen: Mutex<Vec<Op>>,
    /// The next operations fail with these, in order, before anything else happens.
    pub(crate) failing: Mutex<VecDeque<Problem>>,
    /// Method `hang` waits for a permit of this.
    pub(crate) gate: Semaphore,
    /// Partitions answer listings with at most so many items.
    pub(crate) page_max: AtomicU64,
    /// A new catalog is kept from the gateway's directory: it has to ask.
    pub(crate) silent: AtomicBool,
    /// What partition 1 has told.
    pub(crate) told: watch::Sender<Vec<Event>>,
    /// Operations are not kept in `seen`.
    pub(crate) forgetful: AtomicBool,
}

impl Fake {
    pub(crate) fn new(mesh: Mesh) -> Self {
        Self::among(mesh, NODE, &[NODE])
    }

    /// One of several hosts, each of which holds everything.
    pub(crate) fn among(mesh: Mesh, node: NodeId, all: &[NodeId]) -> Self {
        let bound = |n: u32| n * 4_096 / PARTITIONS;
        let partitions = (0..PARTITIONS)
            .map(|n| PartitionInfo {
                group: u64::from(n) + 1,
                slot_first: bound(n),
                slot_last: bound(n + 1) - 1,
                nodes: all.iter().map(|node| node.0).collect(),
                ..PartitionInfo::default()
            })
            .collect();
        let view = CatalogView {
            revision: 1,
            nodes: all.iter().map(|node| Node { id: node.0, zone: "here".into(), state: 0 }).collect(),
            grids: vec![Grid { name: "default".into(), replicas: 1, partitions }],
            ..CatalogView::default()
        };
        Self {
            node,
            mesh,
            view: Mutex::new(view),
            history: Mutex::default(),
            objects: Mutex::default(),
            upload: Mutex::default(),
            clock: AtomicU64::new(100),
            seen: Mutex::default(),
            failing: Mutex::default(),
            gate: Semaphore::new(0),
            page_max: AtomicU64::new(u64::MAX),
            silent: false.into(),
            told: watch::Sender::default(),
            forgetful: false.into(),
        }
    }

    pub(crate) fn view(&self) -> CatalogView {
        self.view.lock().unwrap().clone()
    }

    pub(crate) fn invocations(&self) -> Vec<Invoke> {
        let seen = self.seen.lock().unwrap();
        seen.iter()
            .filter_map(|op| if let Op::Invoke(invoke) = op { Some(invoke.clone()) } else { None })
            .collect()
    }

    pub(crate) fn fail_with(&self, problems: impl IntoIterator<Item = Problem>) {
        self.failing.lock().unwrap().extend(problems);
    }

    pub(crate) fn put_object(&self, class: &str, id: &str, fields: &[(&str, &[u8])]) {
        let fields =
            fields.iter().map(|(key, value)| ((*key).to_owned(), Bytes::copy_from_slice(value))).collect();
        let tag = Tag { incarnation: self.clock.fetch_add(1, Ordering::Relaxed), version: 1 };
        self.objects.lock().unwrap().insert((class.into(), id.into()), (tag, fields));
    }

    fn announce(&self) {
        if !self.silent.load(Ordering::Relaxed) {
            self.mesh.announce_catalog(self.view().into());
        }
    }

    async fn invoke(&self, invoke: Invoke) -> Result<Answer, Problem> {
        let mut invoked =
            Invoked { payload: Some(invoke.payload.clone()), form: invoke.accept, ..Invoked::default() };
        invoked.stale_ms = stale(invoke.consistency());
        invoked.version = invoke.object.as_ref().map(|_| 7);
        invoked.class_version = Some(3);
        match invoke.method.as_str() {
            "echo" => {}
            "reset" => invoked.payload = None,
            "hang" => self.gate.acquire().await.unwrap().forget(),
            "panic" => panic!("the handler of a host in this process failed"),
            "refuse" => {
                return Err(Problem {
                    error: r#"{"insufficient": 5}"#.into(),
                    ..Problem::new(Code::FunctionError, "the function returned an error")
                });
            }
            other => return Err(Problem::new(Code::NotFound, format!("no method {other}"))),
        }
        Ok(Answer::Invoked(invoked))
    }

    fn read_object(&self, class: &str, id: &str) -> Result<(Tag, BTreeMap<String, Bytes>), Problem> {
        let objects = self.objects.lock().unwrap();
        let found = objects.get(&(class.to_owned(), id.to_owned())).cloned();
        found.ok_or_else(|| Problem::new(Code::NotFound, format!("no object {id}")))
    }

    fn write(&self, write: WriteObject) -> Result<Answer, Problem> {
        let mut objects = self.objects.lock().unwrap();
        let key = (write.class.clone(), write.object.clone());
        let before = objects.get(&key).cloned();
        if !holds(write.precondition.as_ref(), before.as_ref().map(|(tag, _)| *tag)) {
            return Err(Problem::new(Code::VersionMismatch, "the object is elsewhere"));
        }
        let mode = write.mode();
        if before.is_none() && matches!(mode, WriteMode::Delete | WriteMode::DeleteField) {
            return Err(Problem::new(Code::NotFound, format!("no object {}", write.object)));
        }
        if mode == WriteMode::Delete {
            objects.remove(&key);
            return Ok(Answer::Written(Written::default()));
        }
        let created = before.is_none();
        let (tag, mut fields) = before.unwrap_or_else(|| {
            (Tag { incarnation: self.clock.fetch_add(1, Ordering::Relaxed), version: 0 }, BTreeMap::new())
        });
        if mode == WriteMode::Replace {
            fields.clear();
        }
        for field in write.fields {
            match field.value {
                Some(value) => drop(fields.insert(field.key, value)),
                None => match fields.remove(&field.key) {
                    None if mode == WriteMode::DeleteField => {
                        return Err(Problem::new(Code::NotFound, format!("no field {}", field.key)));
                    }
                    _ => {}
                },
            }
        }
        let tag = Tag { version: tag.version + 1, ..tag };
        objects.insert(key, (tag, fields));
        Ok(Answer::Written(Written { tag: Some(tag), created, ..Written::default() }))
    }

    fn list_fields(&self, list: &ListFields) -> Result<Answer, Problem> {
        let (tag, fields) = self.read_object(&list.class, &list.object)?;
        let matching = |key: &str| key.starts_with(&list.prefix) && key > list.after.as_str();
        let mut rest = fields.into_iter().filter(|(key, _)| matching(key));
        let items =
            rest.by_ref().take(list.limit as usize).map(|(key, value)| Field { key, value }).collect();
        let stale_ms = stale(list.consistency());
        Ok(Answer::Fields(FieldPage { tag, items, more: rest.next().is_some(), stale_ms }))
    }

    /// Waits for events, as the real one does, but without an end.
    async fn read_events(&self, read: &ReadEvents) -> EventPage {
        let of = |told: &Vec<Event>| if read.group == 1 { told.clone() } else { Vec::new() };
        let mut told = self.told.subscribe();
        let Some(after) = read.after else {
            let upto = of(&told.borrow()).len() as u64;
            return EventPage { upto, ..EventPage::default() };
        };
        loop {
            let mut items: Vec<Event> = of(&told.borrow_and_update());
            items.retain(|event| event.seq > after);
            if let Some(last) = items.last() {
                return EventPage { upto: last.seq, items, ..EventPage::default() };
            }
            told.changed().await.unwrap();
        }
    }

    /// Tells an event of an object of partition 1.
    pub(crate) fn tell(&self, object: &str, payload: Bytes) {
        self.told.send_modify(|told| {
            let seq = told.len() as u64 + 1;
            let (tag, emitted) =
                (Tag { incarnation: 1, version: seq }, Emitted { topic: "t".into(), payload });
            told.push(Event { seq, object: object.into(), tag, emitted: vec![emitted], ..Event::default() });
        });
    }

    fn list_objects(&self, list: &ListObjects) -> Answer {
        let class = list.class.parse().unwrap();
        let view = self.view();
        let group = |id: &str| view.grids[0].owner(slot(&class, &id.parse().unwrap())).unwrap().group;
        let objects = self.objects.lock().unwrap();
        let mut rest = objects.iter().filter(|((in_class, id), _)| {
            *in_class == list.class
                && group(id) == list.group
                && id.starts_with(&list.prefix)
                && id.as_str() > list.after.as_str()
        });
        let limit = u64::from(list.limit).min(self.page_max.load(Ordering::Relaxed)) as usize;
        let entry =
            |((_, id), (tag, _)): (&(String, String), &(Tag, _))| ObjectEntry { id: id.clone(), tag: *tag };
        let items = rest.by_ref().take(limit).map(entry).collect();
        let stale_ms = stale(list.consistency());
        Answer::Objects(ObjectPage { items, more: rest.next().is_some(), stale_ms })
    }

    /// As strict as the real store: digest and size with every piece, pieces in order.
    fn put_chunk(&self, chunk: &PutChunk) -> Result<Answer, Problem> {
        let digest = Digest::from_bytes(&chunk.digest)?;
        let mut upload = self.upload.lock().unwrap();
        if chunk.offset == 0 {
            *upload = (chunk.upload.clone(), Vec::new());
        }
        let in_order = upload.0 == chunk.upload && upload.1.len() as u64 == chunk.offset;
        if !in_order || chunk.data.is_empty() || chunk.data.len() > 1 << 20 {
            return Err(Problem::new(Code::Invalid, "the piece does not continue the upload"));
        }
        upload.1.extend_from_slice(&chunk.data);
        let complete = upload.1.len() as u64 == chunk.size;
        if complete && Digest::of(&upload.1) != digest {
            return Err(Problem::new(Code::Invalid, "not the digest that was announced"));
        }
        Ok(Answer::Chunk(ChunkStored { complete }))
    }

    fn status(&self) -> NodeStatus {
        let replica = |partition: &PartitionInfo| ReplicaStatus {
            group: partition.group,
            term: 3,
            leader: self.node.0,
            last: 42,
            applied: 40,
        };
        let replicas = self.view().grids[0].partitions.iter().map(replica).collect();
        let catalog = ReplicaStatus { group: 0, term: 2, leader: self.node.0, last: 9, applied: 9 };
        NodeStatus { replicas, catalog: Some(catalog), ..NodeStatus::default() }
    }

    async fn answer(&self, op: Op) -> Result<Answer, Problem> {
        Ok(match op {
            Op::Invoke(invoke) => self.invoke(invoke).await?,
            Op::ReadObject(at) => {
                let (tag, fields) = self.read_object(&at.class, &at.object)?;
                let fields = fields.into_iter().map(|(key, value)| Field { key, value }).collect();
                Answer::Object(Object { tag, fields, stale_ms: stale(at.consistency()) })
            }
            Op::WriteObject(write) => self.write(write)?,
            Op::ReadField(read) => {
                let (tag, mut fields) = self.read_object(&read.class, &read.object)?;
                let value =
                    fields.remove(&read.key).ok_or_else(|| Problem::new(Code::NotFound, "no field"))?;
                Answer::Field(FieldRead { tag, value, stale_ms: stale(read.consistency()) })
            }
            Op::ListFields(list) => self.list_fields(&list)?,
            Op::ListObjects(list) => self.list_objects(&list),
            Op::PutChunk(chunk) => self.put_chunk(&chunk)?,
            Op::Deploy(deploy) => {
                if self.upload.lock().unwrap().1.starts_with(b"bad") {
                    return Err(Problem::new(Code::InvalidComponent, "not a component"));
                }
                let digest = Digest::from_bytes(&deploy.digest)?;
                let deployed = self.put_class(&deploy.class, digest, deploy.settings);
                self.announce();
                Answer::Deployed(deployed)
            }
            Op::DeployCanary(wish) => Answer::Deployed(self.put_canary(&wish)?),
            Op::Promote(wish) => Answer::Deployed(self.promote(&wish.class)?),
            Op::ReadLogs(read) => {
                if read.after.is_some() {
                    std::future::pending::<()>().await; // nothing more is said
                }
                let line = LogLine { text: format!("said by {}", read.class), ..LogLine::default() };
                Answer::Logs(LogPage { items: vec![line], upto: 1, gap: false })
            }
            Op::RollBack(wish) => Answer::Deployed(self.roll_back(&wish)?),
            Op::RemoveClass(remove) => {
                let revision = {
                    let mut view = self.view.lock().unwrap();
                    let before = view.classes.len();
                    view.classes.retain(|class| class.name != remove.class);
                    if view.classes.len() == before {
                        return Err(Problem::new(Code::NotFound, "no such class"));
                    }
                    view.revision += 1;
                    view.revision
                };
                self.announce();
                Answer::Removed(Revision { revision })
            }
            Op::ListVersions(_) => Answer::Versions(Versions { items: self.history.lock().unwrap().clone() }),
            Op::ReadCatalog(_) => Answer::Catalog(CatalogRead { view: self.view(), leads: Vec::new() }),
            Op::ChangeKey(_) => Answer::KeyChanged(Revision { revision: self.view.lock().unwrap().revision }),
            Op::SetHost(_) => Answer::HostSet(Revision { revision: self.view.lock().unwrap().revision }),
            Op::Grid(_) => return Err(Problem::new(Code::Invalid, "this host has no grid")),
            Op::ListDeadLetters(_) => Answer::DeadLetters(DeadLetterPage::default()),
            Op::ChangeDeadLetters(_) => Answer::DeadLettersChanged(DeadLettersChanged { count: 2 }),
            Op::ReadStatus(_) => Answer::Status(self.status()),
            Op::ReadEvents(read) => Answer::Events(self.read_events(&read).await),
            Op::Submit(_) => Answer::Submitted(Invocation {
                fingerprint: Bytes::from_static(&FINGERPRINT),
                ..Invocation::default()
            }),
            // as it came
            Op::HandleHttp(asked) => {
                let (headers, body) = (asked.headers, asked.body);
                Answer::HttpHandled(HttpResponse { status: 200, headers, body })
            }
            Op::ReadInvocation(_) => Answer::Invocation(Invocation::default()),
            Op::ReadChunk(_) | Op::FetchComponent(_) => {
                return Err(Problem::new(Code::Internal, "no gateway asks for that"));
            }
        })
    }
}

/// What tells every call from others.
pub(crate) const FINGERPRINT: [u8; 8] = *b"12345678";

/// How stale everything here is.
pub(crate) const STALE_MS: u64 = 41;

fn stale(consistency: Consistency) -> Option<u64> {
    (consistency == Consistency::Stale).then_some(STALE_MS)
}

/// The host's side of a precondition.
fn holds(precondition: Option<&Precondition>, at: Option<Tag>) -> bool {
    precondition.is_none_or(|condition| {
        let refuted = if at.is_some() { condition.absent } else { condition.present };
        !refuted && (condition.tags.is_empty() || at.is_some_and(|at| condition.tags.contains(&at)))
    })
}

impl Handler for Fake {
    fn handle(&self, op: Op, _deadline: Instant) -> BoxFuture<'_, Result<Answer, Problem>> {
        if !self.forgetful.load(Ordering::Relaxed) {
            let mut record = op.clone();
            if let Op::PutChunk(chunk) = &mut record {
                chunk.data = Bytes::new();
            }
            self.seen.lock().unwrap().push(record);
        }
        let failing =
            if matches!(op, Op::ReadCatalog(_)) { None } else { self.failing.lock().unwrap().pop_front() };
        async move {
            match failing {
                Some(problem) => Err(problem),
                None => self.answer(op).await,
            }
        }
        .boxed()
    }
}

/// A problem that says that nothing ran.
pub(crate) fn not_run(code: Code) -> Problem {
    Problem::new(code, "as the test wants it").with_effect(Effect::NotRun)
}

/// A problem that leaves open whether it ran.
pub(crate) fn unknown(code: Code) -> Problem {
    Problem::new(code, "as the test wants it").with_effect(Effect::Unknown)
}

/// All defaults.
pub(crate) fn settings() -> oprc_mesh::catalog::ClassSettings {
    Manifest::default().settings
}

/// The form's number on the wire.
pub(crate) fn form(form: Form) -> i32 {
    form as i32
}

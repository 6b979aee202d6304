//! Turns and reads on a host that is its cluster's only one.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use oprc_mesh::id::{ClassName, Digest, FieldKey, NodeId, ObjectId};
use oprc_mesh::outcome::{Code, Effect, Problem};
use oprc_mesh::wire::{
    Consistency, FieldWrite, Form, Invoke, Invoked, Leads, Precondition, WriteMode, WriteObject,
};
use oprc_mesh::{Mesh, MeshConfig};
use oprc_odgm::{NewRevision, Odgm, OdgmConfig};
use tempfile::TempDir;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::others::Others;
use super::{Turns, Wish};
use crate::classes::Classes;
use crate::supply::Supply;
use crate::wasm::bench::upload;
use crate::wasm::{OtherObjects as _, Runtime, RuntimeConfig};

/// Two methods that write nothing; `value` is listed as read-only.
const COMPONENT: &str = r#"(component
    (core module $m (func (export "f") (result i32) i32.const 42))
    (core instance $i (instantiate $m))
    (func (export "value") (result u32) (canon lift (core func $i "f")))
    (func (export "other") (result u32) (canon lift (core func $i "f"))))"#;

pub(super) struct Bed {
    pub(super) odgm: Arc<Odgm>,
    pub(super) mesh: Mesh,
    pub(super) turns: Arc<Turns>,
    pub(super) revision: u64,
    _dir: TempDir,
}

impl Bed {
    pub(super) async fn new() -> Self {
        Self::with(&wat::parse_str(COMPONENT).unwrap(), 1_000).await
    }

    /// A host with `component` as class `C`, which runs so many turns at once.
    pub(super) async fn with(component: &[u8], turns_max: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let odgm = Odgm::open(OdgmConfig::new(dir.path())).await.unwrap();
        let node = Some(odgm.node_id());
        let mesh = Mesh::open(MeshConfig { node, ..MeshConfig::default() }).await.unwrap();
        let runtime = Runtime::new(&RuntimeConfig { turns_max, ..RuntimeConfig::new(dir.path()) }).unwrap();
        let digest = upload(&runtime, component).await.unwrap();
        let revision = deploy(&odgm, digest).await;
        let components = runtime.components().clone();
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let supply = Supply::new(odgm.node_id(), Arc::new(mesh.clone()), components, tasks.clone(), stop);
        let classes = Arc::new(Classes::new(odgm.clone(), runtime, supply));
        let turns = Arc::new(Turns::new(odgm.clone(), mesh.clone(), classes, tasks));
        Self { odgm, mesh, turns, revision, _dir: dir }
    }

    async fn call(&self, method: &str, consistency: Consistency) -> Result<Invoked, Problem> {
        let invoke = Invoke {
            class: "C".into(),
            object: Some("o".into()),
            method: method.into(),
            form: Form::Json as i32,
            consistency: consistency as i32,
            revision: self.revision,
            ..Invoke::default()
        };
        self.turns.invoke(invoke, soon()).await
    }

    async fn write(&self, precondition: Precondition) -> Result<bool, Problem> {
        let field = FieldWrite { key: "k".into(), value: Some(Bytes::from_static(b"v")) };
        let write = WriteObject {
            class: "C".into(),
            object: "o".into(),
            precondition: Some(precondition),
            mode: WriteMode::Merge as i32,
            fields: vec![field],
            revision: self.revision,
            invocation: String::new(),
            keyed: false,
        };
        self.turns.write(write, soon()).await.map(|written| written.created)
    }

    fn wish(&self, consistency: Consistency) -> Wish {
        Wish { consistency, revision: self.revision, deadline: soon() }
    }

    async fn version(&self, wish: Wish) -> Result<(u64, Option<u64>), Problem> {
        self.turns.read_object(("C", "o"), wish, |_, _, _, head| Ok(head.tag.version)).await
    }
}

async fn deploy(odgm: &Odgm, digest: Digest) -> u64 {
    let settings = oprc_mesh::manifest::Manifest::default().settings;
    let revision = NewRevision {
        class: ClassName::parse("C").unwrap(),
        digest,
        settings: oprc_mesh::catalog::ClassSettings { readonly: vec!["value".into()], ..settings },
        methods: Vec::new(),
        generic: false,
        serves_http: false,
        deployed_at_ms: 0,
        force: false,
        canary: None,
    };
    odgm.catalog().deploy(revision).await.unwrap().class.revision
}

pub(super) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_method_that_reads_may_be_stale() {
    let bed = Bed::new().await;
    for (method, consistency, stale_ms) in [
        ("value", Consistency::Lease, None),
        ("value", Consistency::Linearizable, None),
        ("value", Consistency::Stale, Some(0)),
        ("other", Consistency::Lease, None),
        ("other", Consistency::Linearizable, None),
    ] {
        let invoked = bed.call(method, consistency).await.unwrap();
        assert_eq!((invoked.payload.as_deref(), invoked.version), (Some(&b"42"[..]), Some(0)));
        assert_eq!(invoked.stale_ms, stale_ms, "{method} {consistency:?}");
    }
    let refused = bed.call("other", Consistency::Stale).await.unwrap_err();
    assert_eq!((refused.kind(), refused.effect()), (Code::Invalid, Effect::NotRun));
    bed.odgm.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_sees_what_was_written_and_a_refusal_what_is_there() {
    let bed = Bed::new().await;
    assert_eq!(bed.version(bed.wish(Consistency::Lease)).await.unwrap_err().kind(), Code::NotFound);
    let absent = Precondition { absent: true, ..Precondition::default() };
    assert!(bed.write(absent.clone()).await.unwrap());
    assert_eq!(bed.write(absent).await.unwrap_err().kind(), Code::VersionMismatch);
    assert!(!bed.write(Precondition::default()).await.unwrap());
    for (consistency, stale_ms) in
        [(Consistency::Lease, None), (Consistency::Linearizable, None), (Consistency::Stale, Some(0))]
    {
        assert_eq!(bed.version(bed.wish(consistency)).await.unwrap(), (2, stale_ms), "{consistency:?}");
    }
    bed.odgm.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_catches_up_with_its_caller_or_says_that_it_has_not() {
    let bed = Bed::new().await;
    let wish = |revision, ms| Wish {
        revision,
        deadline: Instant::now() + Duration::from_millis(ms),
        ..bed.wish(Consistency::Lease)
    };
    let behind = bed.version(wish(bed.revision + 1, 50)).await.unwrap_err();
    assert_eq!((behind.kind(), behind.effect()), (Code::StaleClass, Effect::NotRun));
    // the deploy that the caller knows of arrives while it waits
    let (waiting, deployed) =
        tokio::join!(bed.version(wish(bed.revision + 1, 30_000)), deploy(&bed.odgm, Digest::of(b"newer")));
    assert!(deployed > bed.revision);
    assert_eq!(waiting.unwrap_err().kind(), Code::NotFound, "there is no object yet");
    bed.odgm.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_hold_a_partition_names_who_leads_it() {
    let bed = Bed::new().await;
    let wish = bed.wish(Consistency::Stale);
    let unknown = bed.turns.partition_reader("C", 9_999, wish).await.map(drop).unwrap_err();
    assert_eq!((unknown.kind(), unknown.effect(), unknown.leader), (Code::NotLeader, Effect::NotRun, 0));
    bed.mesh.directory().learn_leader(Leads { group: 9_999, term: 1, node: 7 });
    let named = bed.turns.partition_reader("C", 9_999, wish).await.map(drop).unwrap_err();
    assert_eq!(named.leader, NodeId(7).0);
    bed.odgm.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_objects_are_read_where_they_are_led() {
    let bed = Bed::new().await;
    bed.write(Precondition::default()).await.unwrap();
    let others = Others::new(bed.odgm.clone(), bed.mesh.clone());
    let (class, key) = (ClassName::parse("C").unwrap(), FieldKey::parse("k").unwrap());
    let read = async |id: &str| others.read(&class, &ObjectId::parse(id).unwrap(), &key, soon()).await;
    assert_eq!(read("o").await.unwrap().as_deref(), Some(&b"v"[..]));
    assert_eq!(read("nobody").await.unwrap(), None);
    let (items, more) = others.list(&class, "", "", 10, soon()).await.unwrap();
    assert_eq!((items.len(), more), (1, false));
    let unknown = ClassName::parse("Unknown").unwrap();
    assert_eq!(others.list(&unknown, "", "", 10, soon()).await.unwrap_err().kind(), Code::NotFound);
    bed.odgm.shutdown().await;
}

//! What this host answers on the mesh: each operation goes to the part that does it.

use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use oprc_mesh::Handler;
use oprc_mesh::id::{ClassName, FieldKey, NodeId};
use oprc_mesh::limits::{OBJECT_READ_BYTES_MAX, OBJECT_READ_FIELDS_MAX, PAGE_BYTES_MAX, PAGE_ITEMS_MAX};
use oprc_mesh::outcome::{Code, Effect, Problem};
use oprc_mesh::wire::{
    Answer, CatalogRead, FieldPage, FieldRead, ListFields, ListObjects, NodeStatus, Object, ObjectPage, Op,
    ReadField, Revision, Versions,
};
use oprc_odgm::Odgm;
use tokio::time::Instant;

use crate::deploy;
use crate::turn::Turns;
use crate::wasm::Runtime;

/// See the module.
pub(crate) struct Server {
    pub(crate) odgm: Arc<Odgm>,
    pub(crate) runtime: Runtime,
    pub(crate) turns: Turns,
}

impl Handler for Server {
    fn handle(&self, op: Op, deadline: Instant) -> BoxFuture<'_, Result<Answer, Problem>> {
        async move {
            let (operation, subject) = subject_of(&op);
            self.answer(op, deadline).await.map_err(|problem| problem.on(operation, subject))
        }
        .boxed()
    }
}

impl Server {
    async fn answer(&self, op: Op, deadline: Instant) -> Result<Answer, Problem> {
        Ok(match op {
            Op::Invoke(invoke) => Answer::Invoked(self.turns.invoke(invoke, deadline).await?),
            Op::ReadObject(address) => Answer::Object(self.read_object(&address.class, &address.object)?),
            Op::WriteObject(write) => Answer::Written(self.turns.write(write, deadline).await?),
            Op::ReadField(read) => Answer::Field(self.read_field(&read)?),
            Op::ListFields(list) => Answer::Fields(self.list_fields(&list)?),
            Op::ListObjects(list) => Answer::Objects(self.list_objects(&list)?),
            Op::PutChunk(chunk) => Answer::Chunk(self.runtime.components().put(chunk).await?),
            Op::Deploy(deploy) => Answer::Deployed(deploy::deploy(&self.runtime, &self.odgm, deploy).await?),
            Op::RemoveClass(remove) => Answer::Removed(deploy::remove(&self.odgm, remove).await?),
            Op::ListVersions(address) => {
                let items = self.odgm.catalog().versions(&ClassName::parse(&address.class)?)?;
                Answer::Versions(Versions { items })
            }
            Op::ReadCatalog(_) => Answer::Catalog(CatalogRead {
                view: self.odgm.catalog().view().as_ref().clone(),
                leads: self.odgm.leadership().borrow().clone(),
            }),
            Op::ReadStatus(_) => Answer::Status(self.status()),
            Op::SetHost(set) => {
                let changed = self.odgm.catalog().set_node_state(NodeId(set.node), set.state()).await;
                Answer::HostSet(Revision { revision: changed? })
            }
            Op::Grid(ask) => Answer::Grid(self.odgm.answer(ask, deadline).await?),
        })
    }

    fn read_object(&self, class: &str, object: &str) -> Result<Object, Problem> {
        self.turns.read_object(class, object, |reader, class, object, head| {
            let (items, bytes) = (OBJECT_READ_FIELDS_MAX, OBJECT_READ_BYTES_MAX);
            let (fields, more) = reader.fields(class, object, head, "", "", items, bytes)?;
            if more {
                let detail = format!("the object has more than {items} fields or {bytes} bytes");
                return Err(Problem::new(Code::ObjectTooLarge, detail)
                    .hint("list its fields page by page: GET .../objects/{id}/fields"));
            }
            Ok(Object { tag: head.tag, fields })
        })
    }

    fn read_field(&self, read: &ReadField) -> Result<FieldRead, Problem> {
        let key = FieldKey::parse(&read.key)?;
        self.turns.read_object(&read.class, &read.object, |reader, class, object, head| {
            match reader.field(class, object, head, &key)? {
                Some(value) => Ok(FieldRead { tag: head.tag, value }),
                None => Err(Problem::new(Code::NotFound, format!("the object has no field {key}"))),
            }
        })
    }

    fn list_fields(&self, list: &ListFields) -> Result<FieldPage, Problem> {
        let limit = page_limit(list.limit)?;
        self.turns.read_object(&list.class, &list.object, |reader, class, object, head| {
            let (items, more) =
                reader.fields(class, object, head, &list.prefix, &list.after, limit, PAGE_BYTES_MAX)?;
            Ok(FieldPage { tag: head.tag, items, more })
        })
    }

    fn list_objects(&self, list: &ListObjects) -> Result<ObjectPage, Problem> {
        let limit = page_limit(list.limit)?;
        let (reader, class) = self.turns.partition_reader(&list.class, list.group)?;
        let (items, more) = reader.objects(class, &list.prefix, &list.after, limit)?;
        Ok(ObjectPage { items, more })
    }

    fn status(&self) -> NodeStatus {
        let log = self.odgm.log_stats();
        NodeStatus {
            replicas: self.odgm.partitions().iter().map(|partition| partition.status()).collect(),
            poisoned: self.odgm.poisoned().borrow().clone().unwrap_or_default(),
            log_fsyncs: log.fsyncs,
            log_entries: log.entries,
            log_bytes: log.bytes,
            commits: self.turns.commits(),
        }
    }
}

fn page_limit(limit: u32) -> Result<usize, Problem> {
    let limit = limit as usize;
    if (1..=PAGE_ITEMS_MAX).contains(&limit) {
        return Ok(limit);
    }
    let detail = format!("a page of {limit} items; it may have 1 to {PAGE_ITEMS_MAX}");
    Err(Problem::new(Code::Invalid, detail).with_effect(Effect::NotRun))
}

/// The operation's name and what it is done to, for problems.
fn subject_of(op: &Op) -> (&'static str, String) {
    let object = |class: &str, object: &str| format!("{class}/{object}");
    match op {
        Op::Invoke(invoke) => {
            let subject = match &invoke.object {
                Some(object) => format!("{}/{object}.{}", invoke.class, invoke.method),
                None => format!("{}.{}", invoke.class, invoke.method),
            };
            ("invoke", subject)
        }
        Op::ReadObject(address) => ("get", object(&address.class, &address.object)),
        Op::WriteObject(write) => ("write", object(&write.class, &write.object)),
        Op::ReadField(read) => ("get", format!("{}/{} {}", read.class, read.object, read.key)),
        Op::ListFields(list) => ("list fields of", object(&list.class, &list.object)),
        Op::ListObjects(list) => ("list objects of", list.class.clone()),
        Op::PutChunk(_) => ("upload", "a component".to_owned()),
        Op::Deploy(deploy) => ("deploy", deploy.class.clone()),
        Op::RemoveClass(remove) => ("remove", remove.class.clone()),
        Op::ListVersions(address) => ("list versions of", address.class.clone()),
        Op::ReadCatalog(_) => ("read", "the catalog".to_owned()),
        Op::ReadStatus(_) => ("read", "the status".to_owned()),
        Op::SetHost(set) => ("change host", NodeId(set.node).to_string()),
        // whoever asked on a caller's behalf names the operation
        Op::Grid(_) => ("", String::new()),
    }
}

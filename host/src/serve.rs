//! What this host answers on the mesh: each operation goes to the part that does it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use oprc_mesh::Handler;
use oprc_mesh::access::{ChangeKey, KeyChange};
use oprc_mesh::id::{ClassName, Digest, FieldKey, NodeId, ObjectId};
use oprc_mesh::limits::{OBJECT_READ_BYTES_MAX, OBJECT_READ_FIELDS_MAX, PAGE_BYTES_MAX, PAGE_ITEMS_MAX};
use oprc_mesh::outcome::{Code, Effect, Problem};
use oprc_mesh::wire::{
    Answer, CatalogRead, Empty, FieldPage, FieldRead, Invoke, ListFields, ListObjects, NodeStatus, Object,
    ObjectAddress, ObjectPage, Op, ReadField, Revision, Versions,
};
use oprc_odgm::{Head, Odgm, Reader};
use tokio::time::Instant;

use crate::deploy::{self, Deployer};
use crate::events::Events;
use crate::messages::dead;
use crate::turn::{Turns, Wish};

/// See the module.
pub(crate) struct Server {
    pub(crate) odgm: Arc<Odgm>,
    pub(crate) deployer: Deployer,
    pub(crate) turns: Arc<Turns>,
    pub(crate) events: Events,
    /// Set once the host drains.
    pub(crate) draining: Arc<AtomicBool>,
}

impl Handler for Server {
    fn handle(&self, op: Op, deadline: Instant) -> BoxFuture<'_, Result<Answer, Problem>> {
        let (operation, subject) = subject_of(&op);
        let name = move |problem: Problem| problem.on(operation, subject);
        match op {
            Op::Invoke(invoke) => {
                let call = self.turns.invoke(invoke, deadline);
                call.map(|done| done.map(Answer::Invoked).map_err(name)).boxed()
            }
            other => self.answer(other, deadline).map(|done| done.map_err(name)).boxed(),
        }
    }
}

impl Server {
    async fn answer(&self, op: Op, deadline: Instant) -> Result<Answer, Problem> {
        Ok(match op {
            Op::ReadObject(read) => Answer::Object(self.read_object(&read, deadline).await?),
            Op::WriteObject(write) => Answer::Written(Box::pin(self.turns.write(write, deadline)).await?),
            Op::ReadField(read) => Answer::Field(self.read_field(&read, deadline).await?),
            Op::ListFields(list) => Answer::Fields(self.list_fields(&list, deadline).await?),
            Op::ListObjects(list) => Answer::Objects(self.list_objects(&list, deadline).await?),
            // what comes once in a while is boxed, so that the others' own future stays small
            rarer => Box::pin(self.answer_rarer(rarer, deadline)).await?,
        })
    }

    async fn answer_rarer(&self, op: Op, deadline: Instant) -> Result<Answer, Problem> {
        Ok(match op {
            Op::PutChunk(chunk) => Answer::Chunk(self.deployer.runtime.components().put(chunk).await?),
            Op::ReadChunk(read) => Answer::Piece(self.deployer.supply.read(read).await?),
            Op::FetchComponent(fetch) => {
                let digest = Digest::from_bytes(&fetch.digest)?;
                self.deployer.supply.fetch(digest, Some(NodeId(fetch.from))).await?;
                Answer::Fetched(Empty {})
            }
            Op::Deploy(deploy) => Answer::Deployed(deploy::deploy(&self.deployer, deploy, deadline).await?),
            Op::RollBack(wish) => Answer::Deployed(deploy::roll_back(&self.deployer, wish, deadline).await?),
            Op::DeployCanary(wish) => {
                Answer::Deployed(deploy::deploy_canary(&self.deployer, wish, deadline).await?)
            }
            Op::Promote(wish) => Answer::Deployed(deploy::promote(&self.deployer, wish, deadline).await?),
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
            Op::ChangeKey(change) => {
                Answer::KeyChanged(Revision { revision: self.odgm.catalog().change_key(change).await? })
            }
            Op::ReadEvents(read) => Answer::Events(self.events.read(&read, deadline).await?),
            Op::ListDeadLetters(list) => Answer::DeadLetters(dead::list(&self.turns, &list).await?),
            Op::ChangeDeadLetters(change) => {
                Answer::DeadLettersChanged(dead::change(&self.turns, &change).await?)
            }
            Op::Submit(submit) => Answer::Submitted(self.turns.submit(submit, deadline).await?),
            Op::ReadInvocation(read) => {
                Answer::Invocation(self.turns.invocation(&read, deadline, &self.events.ending).await?)
            }
            Op::HandleHttp(request) => Answer::HttpHandled(self.turns.handle_http(request, deadline).await?),
            Op::ReadLogs(read) => {
                Answer::Logs(self.turns.logs.read(&read, deadline, &self.events.ending).await?)
            }
            Op::Grid(ask) => Answer::Grid(self.odgm.answer(ask, deadline).await?),
            Op::Invoke(_)
            | Op::ReadObject(_)
            | Op::WriteObject(_)
            | Op::ReadField(_)
            | Op::ListFields(_)
            | Op::ListObjects(_) => return Err(Problem::new(Code::Internal, "it is answered elsewhere")),
        })
    }

    async fn read_object(&self, read: &ObjectAddress, deadline: Instant) -> Result<Object, Problem> {
        let wish = Wish { consistency: read.consistency(), revision: read.revision, deadline };
        let whole = |reader: &Reader, class, object: &ObjectId, head: &Head| {
            let (items, bytes) = (OBJECT_READ_FIELDS_MAX, OBJECT_READ_BYTES_MAX);
            let (fields, more) = reader.fields(class, object, head, "", "", items, bytes)?;
            if more {
                let detail = format!("the object has more than {items} fields or {bytes} bytes");
                return Err(Problem::new(Code::ObjectTooLarge, detail)
                    .hint("list its fields page by page: GET .../objects/{id}/fields"));
            }
            Ok((head.tag, fields))
        };
        let ((tag, fields), stale_ms) =
            self.turns.read_object((&read.class, &read.object), wish, whole).await?;
        Ok(Object { tag, fields, stale_ms })
    }

    async fn read_field(&self, read: &ReadField, deadline: Instant) -> Result<FieldRead, Problem> {
        let key = FieldKey::parse(&read.key)?;
        let wish = Wish { consistency: read.consistency(), revision: read.revision, deadline };
        let one = |reader: &Reader, class, object: &ObjectId, head: &Head| {
            let value = reader.field(class, object, head, &key)?;
            let absent = || Problem::new(Code::NotFound, format!("the object has no field {key}"));
            Ok((head.tag, value.ok_or_else(absent)?))
        };
        let ((tag, value), stale_ms) = self.turns.read_object((&read.class, &read.object), wish, one).await?;
        Ok(FieldRead { tag, value, stale_ms })
    }

    async fn list_fields(&self, list: &ListFields, deadline: Instant) -> Result<FieldPage, Problem> {
        let limit = page_limit(list.limit)?;
        let wish = Wish { consistency: list.consistency(), revision: list.revision, deadline };
        let page = |reader: &Reader, class, object: &ObjectId, head: &Head| {
            let page =
                reader.fields(class, object, head, &list.prefix, &list.after, limit, PAGE_BYTES_MAX)?;
            Ok((head.tag, page))
        };
        let ((tag, (items, more)), stale_ms) =
            self.turns.read_object((&list.class, &list.object), wish, page).await?;
        Ok(FieldPage { tag, items, more, stale_ms })
    }

    async fn list_objects(&self, list: &ListObjects, deadline: Instant) -> Result<ObjectPage, Problem> {
        let limit = page_limit(list.limit)?;
        let wish = Wish { consistency: list.consistency(), revision: list.revision, deadline };
        let ((reader, class), stale_ms) = self.turns.partition_reader(&list.class, list.group, wish).await?;
        let (items, more) = reader.objects(class, &list.prefix, &list.after, limit)?;
        Ok(ObjectPage { items, more, stale_ms })
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
            draining: self.draining.load(Ordering::Relaxed),
            catalog: Some(self.odgm.catalog_status()),
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
        Op::Invoke(invoke) => ("invoke", callee(invoke)),
        Op::Submit(submit) => ("submit", callee(&submit.invoke)),
        Op::HandleHttp(request) => ("serve", format!("{}.http", request.class)),
        Op::ReadInvocation(read) => ("read invocation", read.invocation.clone()),
        Op::ReadObject(address) => ("get", object(&address.class, &address.object)),
        Op::WriteObject(write) => ("write", object(&write.class, &write.object)),
        Op::ReadField(read) => ("get", format!("{}/{} {}", read.class, read.object, read.key)),
        Op::ListFields(list) => ("list fields of", object(&list.class, &list.object)),
        Op::ListObjects(list) => ("list objects of", list.class.clone()),
        Op::PutChunk(_) => ("upload", "a component".to_owned()),
        Op::ReadChunk(_) | Op::FetchComponent(_) => ("fetch", "a component".to_owned()),
        Op::Deploy(deploy) => ("deploy", deploy.class.clone()),
        Op::DeployCanary(wish) => ("deploy", wish.deploy.class.clone()),
        Op::RollBack(wish) => ("roll back", wish.class.clone()),
        Op::Promote(wish) => ("promote", wish.class.clone()),
        Op::RemoveClass(remove) => ("remove", remove.class.clone()),
        Op::ListVersions(address) => ("list versions of", address.class.clone()),
        Op::ReadCatalog(_) => ("read", "the catalog".to_owned()),
        Op::ReadStatus(_) => ("read", "the status".to_owned()),
        Op::ReadEvents(read) => ("watch", read.class.clone()),
        Op::ReadLogs(read) => ("read logs of", read.class.clone()),
        Op::ListDeadLetters(list) => ("list dead letters of", list.class.clone()),
        Op::ChangeDeadLetters(change) => ("change dead letters of", change.class.clone()),
        Op::SetHost(set) => ("change host", NodeId(set.node).to_string()),
        Op::ChangeKey(change) => ("change key", key_name(change).to_owned()),
        // whoever asked on a caller's behalf names the operation
        Op::Grid(_) => ("", String::new()),
    }
}

fn key_name(change: &ChangeKey) -> &str {
    match &change.change {
        Some(KeyChange::Create(key)) => &key.name,
        Some(KeyChange::Rotate(rotate)) => &rotate.name,
        Some(KeyChange::Revoke(name)) => name,
        None => "",
    }
}

/// What is called.
fn callee(invoke: &Invoke) -> String {
    match &invoke.object {
        Some(object) => format!("{}/{object}.{}", invoke.class, invoke.method),
        None => format!("{}.{}", invoke.class, invoke.method),
    }
}

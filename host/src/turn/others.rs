//! Other objects as a turn sees them: committed reads, of a partition that this host leads directly, of others over the
//! mesh, within the turn's own time; and the way to their leaders for calls.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use oprc_mesh::Mesh;
use oprc_mesh::catalog::{CatalogView, Class, PartitionInfo};
use oprc_mesh::id::{ClassName, FieldKey, NodeId, ObjectId};
use oprc_mesh::limits::PAGE_ITEMS_MAX;
use oprc_mesh::outcome::{Code, Problem};
use oprc_mesh::retry::{Miss, Next, Repeat, Tries};
use oprc_mesh::wire::{Answer, Consistency, FieldRead, ListObjects, ObjectEntry, ObjectPage, Op, ReadField};
use oprc_odgm::{Odgm, Reader};
use tokio::time::{Instant, sleep};

use crate::metrics::Metrics;
use crate::wasm::OtherObjects;

/// Partitions asked at once for one listing.
const ASKED_AT_ONCE: usize = 16;

/// See the module.
pub(crate) struct Others {
    odgm: Arc<Odgm>,
    mesh: Mesh,
    pub(super) metrics: Arc<Metrics>,
}

impl Others {
    pub(crate) fn new(odgm: Arc<Odgm>, mesh: Mesh) -> Self {
        Self { odgm, mesh, metrics: Arc::default() }
    }

    /// A reader of the partition, if this host leads it; taken after that was confirmed, so it misses nothing that was
    /// acknowledged before.
    async fn here(&self, info: &PartitionInfo) -> Result<Option<Reader>, Problem> {
        let Some(partition) = self.odgm.partition(info.group) else { return Ok(None) };
        match partition.confirm(Consistency::Lease).await {
            Ok(_) => Ok(Some(partition.snapshot())),
            Err(problem) if matches!(problem.kind(), Code::NotLeader | Code::NoQuorum) => Ok(None),
            Err(problem) => Err(problem),
        }
    }

    /// The catalog as this host knows it.
    pub(super) fn view(&self) -> Arc<CatalogView> {
        self.odgm.catalog().view()
    }

    /// Has a method of an object run by whoever leads its partition, on this host or another.
    ///
    /// # Errors
    /// What it came to.
    pub(super) async fn invoke(
        &self,
        class: &ClassName,
        object: &ObjectId,
        op: Op,
        until: Instant,
    ) -> Result<Answer, Problem> {
        let view = self.view();
        let known = view.class(class.as_str()).ok_or_else(|| no_class(class))?;
        let info = view.locate(known, class, object).ok_or_else(|| nowhere(class))?;
        self.ask(info, op, Repeat::Once, until).await
    }

    /// Has a function run on this host: any could.
    ///
    /// # Errors
    /// What it came to.
    pub(super) async fn call_here(&self, op: Op, until: Instant) -> Result<Answer, Problem> {
        self.mesh.call(self.odgm.node_id(), op, until).await
    }

    async fn field(
        &self,
        class: &ClassName,
        object: &ObjectId,
        key: &FieldKey,
        until: Instant,
    ) -> Result<Option<Bytes>, Problem> {
        let view = self.odgm.catalog().view();
        let known = view.class(class.as_str()).ok_or_else(|| no_class(class))?;
        let info = view.locate(known, class, object).ok_or_else(|| nowhere(class))?;
        if let Some(reader) = self.here(info).await? {
            return match reader.head(known.id, object)? {
                Some(head) => Ok(reader.field(known.id, object, &head, key)?),
                None => Ok(None),
            };
        }
        let read = Op::ReadField(ReadField {
            class: class.as_str().to_owned(),
            object: object.as_str().to_owned(),
            key: key.as_str().to_owned(),
            consistency: Consistency::Lease as i32,
            revision: known.revision,
        });
        match self.read_there(info, read, until).await {
            Ok(Answer::Field(FieldRead { value, .. })) => Ok(Some(value)),
            Ok(_) => Err(misanswered()),
            Err(problem) if problem.kind() == Code::NotFound => Ok(None),
            Err(problem) => Err(problem),
        }
    }

    async fn page(
        &self,
        class: &ClassName,
        (prefix, after): (&str, &str),
        limit: usize,
        until: Instant,
    ) -> Result<(Vec<ObjectEntry>, bool), Problem> {
        let limit = limit.min(PAGE_ITEMS_MAX);
        let view = self.odgm.catalog().view();
        let known = view.class(class.as_str()).ok_or_else(|| no_class(class))?;
        let grid = view.grid(&known.grid).ok_or_else(|| nowhere(class))?;
        let asked: Vec<_> =
            grid.partitions.iter().map(|info| self.part(info, known, prefix, after, limit, until)).collect();
        let parts: Vec<_> = stream::iter(asked).buffer_unordered(ASKED_AT_ONCE).try_collect().await?;
        // a partition that has more has given a whole page: what it has beyond cannot belong into this one
        let mut more = parts.iter().any(|part| part.more);
        let mut items: Vec<ObjectEntry> = parts.into_iter().flat_map(|part| part.items).collect();
        items.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        more |= items.len() > limit;
        items.truncate(limit);
        Ok((items, more))
    }

    /// One partition's part of a page.
    async fn part(
        &self,
        info: &PartitionInfo,
        class: &Class,
        prefix: &str,
        after: &str,
        limit: usize,
        until: Instant,
    ) -> Result<ObjectPage, Problem> {
        if let Some(reader) = self.here(info).await? {
            let (items, more) = reader.objects(class.id, prefix, after, limit)?;
            return Ok(ObjectPage { items, more, stale_ms: None });
        }
        let list = Op::ListObjects(ListObjects {
            class: class.name.clone(),
            group: info.group,
            prefix: prefix.to_owned(),
            after: after.to_owned(),
            limit: limit as u32,
            consistency: Consistency::Lease as i32,
            revision: class.revision,
        });
        match self.read_there(info, list, until).await? {
            Answer::Objects(page) => Ok(page),
            _ => Err(misanswered()),
        }
    }

    async fn read_there(&self, info: &PartitionInfo, op: Op, until: Instant) -> Result<Answer, Problem> {
        self.ask(info, op, Repeat::Harmless, until).await.map_err(unanswered)
    }

    /// Asks the partition's leader, and tries again as [`Tries`] decides.
    async fn ask(
        &self,
        info: &PartitionInfo,
        op: Op,
        repeat: Repeat,
        until: Instant,
    ) -> Result<Answer, Problem> {
        let directory = self.mesh.directory();
        let mut tries = Tries::until(until);
        let mut named = None;
        loop {
            let miss = match named.take().or_else(|| self.leader(info, tries.misses())) {
                None => Miss::Nobody,
                Some(node) => match self.mesh.call(node, op.clone(), until).await {
                    Ok(answer) => {
                        directory.learn_answer(info.group, node);
                        return Ok(answer);
                    }
                    Err(problem) => {
                        directory.learn_refusal(info.group, node, &problem);
                        Miss::Failed(node, problem)
                    }
                },
            };
            match tries.next(miss, repeat) {
                Next::Answer(problem) => return Err(*problem),
                Next::Again(pause, node) => {
                    named = node;
                    sleep(pause).await;
                }
            }
        }
    }

    /// Who leads the partition, or else one of those that hold it, each in its turn: it may know.
    fn leader(&self, info: &PartitionInfo, turn: u32) -> Option<NodeId> {
        let directory = self.mesh.directory();
        directory.leader(info.group).or_else(|| {
            let alive = directory.nodes();
            let holders: Vec<NodeId> = info.holders().filter(|node| alive.contains(node)).collect();
            holders.get(turn as usize % holders.len().max(1)).copied()
        })
    }
}

impl OtherObjects for Others {
    fn read<'a>(
        &'a self,
        class: &'a ClassName,
        object: &'a ObjectId,
        key: &'a FieldKey,
        until: Instant,
    ) -> BoxFuture<'a, Result<Option<Bytes>, Problem>> {
        self.field(class, object, key, until).boxed()
    }

    fn list<'a>(
        &'a self,
        class: &'a ClassName,
        prefix: &'a str,
        after: &'a str,
        limit: usize,
        until: Instant,
    ) -> BoxFuture<'a, Result<(Vec<ObjectEntry>, bool), Problem>> {
        self.page(class, (prefix, after), limit, until).boxed()
    }
}

/// What says something of the other partition says nothing of the turn that wanted to read it: its caller must not take it
/// for that.
fn unanswered(problem: Problem) -> Problem {
    match problem.kind() {
        Code::NotLeader
        | Code::StaleClass
        | Code::NoQuorum
        | Code::Unavailable
        | Code::Overloaded
        | Code::Deadline => {
            let detail = format!("an object on another host could not be read: {problem}");
            Problem::new(Code::CallTimeout, detail)
        }
        _ => problem,
    }
}

fn no_class(class: &ClassName) -> Problem {
    Problem::new(Code::NotFound, format!("class {class} is not deployed"))
}

fn nowhere(class: &ClassName) -> Problem {
    Problem::new(Code::Internal, format!("the catalog says nothing of where the objects of {class} lie"))
}

fn misanswered() -> Problem {
    Problem::new(Code::Internal, "a host answered with something else than was asked for")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_partition_lacks_is_not_said_of_this_one() {
        for &code in Code::ALL {
            let told = unanswered(Problem { leader: 7, ..Problem::new(code, "x") });
            let of_the_cluster = matches!(code, Code::NotLeader | Code::NoQuorum | Code::Unavailable);
            assert!(!of_the_cluster || (told.kind() == Code::CallTimeout && told.leader == 0), "{code:?}");
        }
        assert_eq!(unanswered(Problem::new(Code::Internal, "x")).kind(), Code::Internal);
    }
}

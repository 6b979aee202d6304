//! Reads of objects from outside, without code: beside the mailboxes, on a snapshot of the committed state.

use oprc_mesh::id::{ClassName, ObjectId};
use oprc_mesh::outcome::{Code, Effect, Problem};
use oprc_mesh::wire::Consistency;
use oprc_odgm::{Head, Partition, Reader};
use tokio::time::Instant;

use super::run::Turns;
use crate::classes::find;

/// What a read asks for besides its address.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wish {
    /// How new what it sees must be.
    pub(crate) consistency: Consistency,
    /// The class's revision that the caller knows.
    pub(crate) revision: u64,
    /// When nobody waits for it any more.
    pub(crate) deadline: Instant,
}

/// What was read, and for how long it may have been out of date, in milliseconds, if that was asked for and is known.
pub(crate) type Dated<T> = (T, Option<u64>);

impl Turns {
    /// Reads an object on a snapshot.
    ///
    /// # Errors
    /// `not-found`, `not-leader`, `no-quorum`, or what `read` gives.
    pub(crate) async fn read_object<T>(
        &self,
        (class, object): (&str, &str),
        wish: Wish,
        read: impl FnOnce(&Reader, u64, &ObjectId, &Head) -> Result<T, Problem>,
    ) -> Result<Dated<T>, Problem> {
        let class = ClassName::parse(class)?;
        let object = ObjectId::parse(object)?;
        self.classes.catch_up(&class, wish.revision, wish.deadline).await?;
        let home = self.home(&class, &object)?;
        let stale_ms = ready_to_read(&home.partition, wish.consistency).await?;
        let reader = home.partition.snapshot();
        let id = home.class;
        let head = reader.head(id, &object)?.ok_or_else(|| not_found(&class, &object))?;
        Ok((read(&reader, id, &object, &head)?, stale_ms))
    }

    /// One partition's reader and the class's number, for listings.
    ///
    /// # Errors
    /// `not-found` for the class, `not-leader`, `no-quorum`.
    pub(crate) async fn partition_reader(
        &self,
        class: &str,
        group: u64,
        wish: Wish,
    ) -> Result<Dated<(Reader, u64)>, Problem> {
        let name = ClassName::parse(class)?;
        self.classes.catch_up(&name, wish.revision, wish.deadline).await?;
        let class = find(&self.odgm.catalog().view(), &name)?.id;
        let partition = self.held(group)?;
        let stale_ms = ready_to_read(&partition, wish.consistency).await?;
        Ok(((partition.snapshot(), class), stale_ms))
    }
}

/// Returns when a snapshot that is taken next is new enough; for a stale read with how stale it may be. That is asked
/// before the snapshot is taken, and leadership is confirmed before: what is committed in between only makes it newer.
///
/// # Errors
/// `not-leader`, `no-quorum`, `unavailable`. Nothing has run.
pub(super) async fn ready_to_read(
    partition: &Partition,
    consistency: Consistency,
) -> Result<Option<u64>, Problem> {
    partition.confirm(consistency).await?;
    if consistency != Consistency::Stale {
        return Ok(None);
    }
    if partition.status().applied == 0 {
        let detail = "this host's replica of the partition is new and holds nothing yet";
        return Err(Problem::new(Code::Unavailable, detail).with_effect(Effect::NotRun));
    }
    if partition.is_starting() {
        let detail =
            "this host's replica of the partition has just started and has not heard from the others yet";
        return Err(Problem::new(Code::Unavailable, detail).with_effect(Effect::NotRun));
    }
    Ok(partition.stale_ms())
}

fn not_found(class: &ClassName, object: &ObjectId) -> Problem {
    Problem::new(Code::NotFound, format!("there is no object {class}/{object}"))
}

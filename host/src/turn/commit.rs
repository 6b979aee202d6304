//! The end of a turn: propose what it wrote and tell what came of it.

use oprc_mesh::id::ObjectId;
use oprc_mesh::outcome::{Code, Problem};
use oprc_mesh::wire::{Emitted, FieldWrite, Tag};
use oprc_odgm::{Change, Commit, CommitReply, Known, Outcome, Partition, Post, Rejection};

use super::once::CallId;

/// What a turn was computed from: the fence that its commit carries.
pub(crate) struct Fence {
    pub(crate) term: u64,
    pub(crate) class: u64,
    pub(crate) revision: u64,
    pub(crate) base: Tag,
}

/// What a turn wants to have committed.
pub(crate) struct Work {
    pub(crate) change: Change,
    pub(crate) writes: Vec<FieldWrite>,
    pub(crate) emitted: Vec<Emitted>,
    /// What it does beside the object.
    pub(crate) post: Post,
}

impl Work {
    /// Nothing: the object stays as it is.
    pub(crate) fn none() -> Self {
        Self { change: Change::Keep, writes: Vec::new(), emitted: Vec::new(), post: Post::default() }
    }
}

/// What came of a proposal.
pub(crate) enum Committed {
    /// It is durable and applied; the object stands there, or is gone.
    Done(Option<Tag>),
    /// The call had taken effect before, as its id tells.
    Before(Box<Known>),
    /// It was rejected without effect because what it was computed from is out of date: run the turn again.
    Again(Rejection),
}

/// Commits the writes of one turn, with what is `kept` of the call under its id. Dropping the future before it is polled
/// cancels the turn; later it does not.
pub(crate) async fn commit(
    partition: &Partition,
    fence: Fence,
    object: ObjectId,
    work: Work,
    kept: Option<(&CallId<'_>, Outcome)>,
) -> Result<Committed, Problem> {
    let (id, outcome) = kept.unzip();
    let commit = Commit {
        term: fence.term,
        class: fence.class,
        revision: fence.revision,
        object,
        base: fence.base,
        change: work.change,
        writes: work.writes,
        invocation: id.map_or_else(String::new, |id| id.invocation.to_owned()),
        outcome,
        emitted: work.emitted,
        post: work.post,
    };
    match partition.commit(commit).await? {
        CommitReply::Committed(tag) => Ok(Committed::Done(tag)),
        CommitReply::Known(known) => match id {
            Some(id) => id.check(&known).map(|()| Committed::Before(known)),
            None => Err(Problem::new(Code::Internal, "a commit without an id is known")),
        },
        CommitReply::Rejected(rejection) => Ok(Committed::Again(rejection)),
    }
}

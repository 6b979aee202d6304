//! The end of a turn: hand over what it wants to have committed, let the next turn begin where that is safe, and tell what
//! came of it.

use std::sync::Arc;

use oprc_mesh::id::ObjectId;
use oprc_mesh::outcome::{Code, Effect, Problem};
use oprc_mesh::wire::{Emitted, FieldWrite, Tag};
use oprc_odgm::{Change, Commit, CommitReply, Head, Known, Outcome, Post, Rejection, UnderWay};
use tokio::sync::oneshot;

use super::chain::{Ahead, Link, keyed};
use super::mailbox::Place;
use super::once::CallId;
use super::run::{Home, Turns};

/// What a turn starts on, by which its commit is fenced.
pub(super) struct Stage<'a> {
    pub(super) home: &'a Home,
    pub(super) term: u64,
    pub(super) object: &'a ObjectId,
    /// Commits under way that it builds on.
    pub(super) ahead: Option<Ahead>,
}

impl Stage<'_> {
    /// Whether what it builds on cannot stand any more, as far as is known.
    fn is_lost(&self) -> bool {
        self.ahead.as_ref().is_some_and(Ahead::is_lost)
    }

    /// Where the object stands.
    pub(super) fn head(&self) -> Result<Option<Head>, Problem> {
        match &self.ahead {
            Some(ahead) => Ok(Some(ahead.head)),
            None => Ok(self.home.partition.reader().head(self.home.class, self.object)?),
        }
    }
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
    /// The call had taken effect before.
    Before(Box<Known>),
    /// It was rejected without effect because what it was computed from is out of date: run the turn again.
    Again(Rejection),
}

/// Where the object will stand once this is committed, if the next turn may begin on that: it must be known before it is
/// applied, and all that a turn sees of it must be in the chain. Timers are not.
fn foreseen(work: &Work, head: Option<Head>) -> Option<Head> {
    let head = head?;
    let timers = !work.post.cancels.is_empty() || work.post.sends.iter().any(|sent| sent.key.is_some());
    match work.change {
        _ if timers => None,
        Change::Merge => Some(Head { tag: Tag { version: head.tag.version + 1, ..head.tag }, ..head }),
        Change::Keep => Some(head),
        Change::Replace | Change::Delete | Change::Recreate => None,
    }
}

impl Turns {
    /// Commits what a turn wants that began with the object at `head`. If it can be foreseen where that leaves the object,
    /// the next turn begins meanwhile; and then the commit goes on though its caller goes away.
    ///
    /// # Errors
    /// What a commit fails with.
    pub(super) async fn commit_now(
        &self,
        place: &mut Place,
        stage: &Stage<'_>,
        head: Option<Head>,
        work: Work,
        kept: Option<(&CallId<'_>, Outcome)>,
    ) -> Result<Committed, Problem> {
        let (id, outcome) = kept.unzip();
        let invocation = id.map_or("", |id| id.invocation);
        let after = foreseen(&work, head);
        let shown = if after.is_some() { keyed(&work.writes)? } else { Vec::new() };
        let commit = Commit {
            term: stage.term,
            class: stage.home.class,
            revision: stage.home.revision,
            object: stage.object.clone(),
            base: head.map(|head| head.tag).unwrap_or_default(),
            change: work.change,
            writes: work.writes,
            invocation: invocation.to_owned(),
            outcome,
            emitted: work.emitted,
            post: work.post,
        };
        if stage.is_lost() {
            return Ok(Committed::Again(Rejection::Base { current: commit.base }));
        }
        let under_way = stage.home.partition.hand_over(commit).await?;
        // at once, for the caller may go away
        let link = place.chain().push(stage.term, after, shown, invocation);
        if stage.is_lost() {
            place.chain().give_up(); // meanwhile: nobody is to build on this one
        }
        let told = self.follow(place, link, after.map(|head| head.tag), under_way);
        if after.is_some() {
            place.step_aside();
        }
        let reply = told.await.unwrap_or_else(|_| Err(stopping()))?;
        match reply {
            CommitReply::Committed(tag) => Ok(Committed::Done(tag)),
            CommitReply::Known(known) => match id {
                Some(id) => id.check(&known).map(|()| Committed::Before(known)),
                None => Err(Problem::new(Code::Internal, "a commit without an id is known")),
            },
            CommitReply::Rejected(rejection) => Ok(Committed::Again(rejection)),
        }
    }

    /// Sees a commit through, whoever still waits for it: turns may have been built on it, and none may begin without it.
    fn follow(
        &self,
        place: &Place,
        link: Arc<Link>,
        foreseen: Option<Tag>,
        under_way: UnderWay,
    ) -> oneshot::Receiver<Result<CommitReply, Problem>> {
        let (tell, told) = oneshot::channel();
        let stay = place.stay();
        self.tasks.spawn(async move {
            let (reply, ended) = under_way.answered().await;
            if reply.as_ref().is_err_and(|problem| problem.effect() == Effect::Unknown) {
                stay.chain().give_up();
                let _ = tell.send(reply);
                ended.wait().await;
                return stay.chain().settle(&link, false);
            }
            let stood = match &reply {
                Ok(CommitReply::Committed(tag)) => foreseen.is_none() || *tag == foreseen,
                _ => false,
            };
            stay.chain().settle(&link, stood);
            let _ = tell.send(reply); // its caller may be gone
        });
        told
    }
}

fn stopping() -> Problem {
    Problem::new(Code::Unavailable, "this host is stopping").with_effect(Effect::Unknown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use oprc_odgm::Outgoing;

    const HEAD: Head = Head { tag: Tag { incarnation: 7, version: 3 }, home: 8 };

    fn work(change: Change) -> Work {
        Work { change, ..Work::none() }
    }

    #[test]
    fn where_an_object_that_is_there_will_stand_is_known_unless_it_begins_anew() {
        let next = Head { tag: Tag { incarnation: 7, version: 4 }, home: 8 };
        for (change, at, expected) in [
            (Change::Merge, Some(HEAD), Some(next)),
            (Change::Keep, Some(HEAD), Some(HEAD)),
            (Change::Merge, None, None),
            (Change::Keep, None, None),
            (Change::Replace, Some(HEAD), None),
            (Change::Delete, Some(HEAD), None),
            (Change::Recreate, Some(HEAD), None),
        ] {
            assert_eq!(foreseen(&work(change), at), expected, "{change:?}");
        }
    }

    #[test]
    fn nobody_runs_ahead_of_timers_but_of_other_messages() {
        let send = |key: Option<&str>| {
            let sent = Outgoing { key: key.map(str::to_owned), ..Outgoing::default() };
            Work { post: Post { sends: vec![sent], ..Post::default() }, ..work(Change::Keep) }
        };
        assert_eq!(foreseen(&send(None), Some(HEAD)), Some(HEAD));
        assert_eq!(foreseen(&send(Some("timer")), Some(HEAD)), None);
        let cancel =
            Work { post: Post { cancels: vec!["timer".into()], ..Post::default() }, ..work(Change::Keep) };
        assert_eq!(foreseen(&cancel, Some(HEAD)), None);
    }
}

//! The output gate of turns that commit nothing, and what is known of a call before it runs. See [`super::chain`].

use std::sync::Arc;
use std::time::Duration;

use oprc_mesh::id::ObjectId;
use oprc_mesh::outcome::{Code, Effect, Problem};
use oprc_mesh::wire::{Consistency, Tag};
use oprc_odgm::{Known, Partition};
use tokio::time::{Instant, timeout, timeout_at};

use super::chain::Ahead;
use super::commit::Stage;
use super::mailbox::Place;
use super::once::CallId;
use super::run::Home;

/// How often who waits looks whether that is any use.
const LOOK: Duration = Duration::from_millis(250);

/// What is known of a call before it runs.
pub(super) enum Looked {
    /// Nothing: it may run.
    New,
    /// It took effect.
    Known(Box<Known>),
    /// To be looked at again: an earlier try was under way and is decided now, or what the object stood on is given up.
    Again,
}

impl Stage<'_> {
    /// Looks whether the call may run on this.
    ///
    /// # Errors
    /// `idempotency-mismatch`.
    pub(super) async fn look(&self, place: &mut Place, id: Option<&CallId<'_>>) -> Result<Looked, Problem> {
        if self.ahead.as_ref().is_some_and(|ahead| ahead.term != self.term) {
            place.chain().give_up();
            return Ok(Looked::Again);
        }
        let Some(id) = id else { return Ok(Looked::New) };
        if let Some(first) = place.chain().call(id.invocation) {
            place.step_aside();
            let stood = self.home.while_serving(first.stood()).await;
            stood.map_err(|problem| problem.with_effect(Effect::Unknown))?; // that one may be done
            return Ok(Looked::Again);
        }
        Ok(id.known(self.home, self.object)?.map_or(Looked::New, |known| Looked::Known(Box::new(known))))
    }

    /// Whether an answer may leave that rests on `base`, the object as a turn began with it, and commits nothing. To be
    /// asked after the run.
    ///
    /// A turn that ran ahead saw all that was handed over before it. Once that took effect, it was current when the turn
    /// began, if nobody else has led since: so leadership is confirmed as well. That the commits stood does not say it: this
    /// host may have stood still after they were decided.
    ///
    /// # Errors
    /// What [`oprc_odgm::Partition::confirm`] fails with: nothing was committed.
    pub(super) async fn stands(
        &self,
        place: &mut Place,
        base: Tag,
        consistency: Consistency,
    ) -> Result<bool, Problem> {
        match &self.ahead {
            None => self.home.stands(self.term, self.object, base, consistency).await,
            Some(ahead) => {
                place.step_aside();
                let stood = self.home.while_serving(ahead.last.stood()).await?;
                Ok(stood && self.home.partition.confirm(consistency).await? == self.term)
            }
        }
    }
}

/// What has to hold before anything leaves a turn that may still fail: a call, or a read of what its object's commits change.
#[derive(Clone)]
pub(super) struct Gate {
    pub(super) partition: Arc<Partition>,
    pub(super) term: u64,
    pub(super) ahead: Option<Ahead>,
}

impl Gate {
    /// Waits until what the turn builds on is durable and applied, and this host certainly leads: what it was told
    /// is current then, and not of a leader that others have replaced.
    ///
    /// # Errors
    /// What ends the turn: it is to be run again, here or by another leader; `call-timeout` when that is not known in time.
    pub(super) async fn pass(self, until: Instant) -> Result<(), Problem> {
        let passed = timeout_at(until, async {
            if let Some(ahead) = &self.ahead
                && !ahead.last.stood().await
            {
                return Err(unfounded());
            }
            match self.partition.confirm(Consistency::Lease).await? {
                term if term == self.term => Ok(()),
                _ => Err(unfounded()),
            }
        });
        passed.await.unwrap_or_else(|_| {
            let detail = "what came before the turn was not durable in time";
            Err(Problem::new(Code::CallTimeout, detail))
        })
    }
}

fn unfounded() -> Problem {
    Problem::new(Code::Unavailable, "what the turn was built on was not committed")
        .with_effect(Effect::NotRun)
}

impl Home {
    /// Waits for what becomes of commits under way, as long as this host can decide any.
    ///
    /// # Errors
    /// `not-leader`, `no-quorum`, `unavailable`.
    pub(super) async fn while_serving<T>(&self, wait: impl Future<Output = T>) -> Result<T, Problem> {
        tokio::pin!(wait);
        loop {
            match timeout(LOOK, &mut wait).await {
                Ok(done) => return Ok(done),
                Err(_) => self.partition.serves()?,
            };
        }
    }

    /// Whether an answer may leave that rests on `base`, the object as a turn of `term` began with it, and commits
    /// nothing. To be asked after the run.
    ///
    /// Leadership is confirmed first and only then is the object looked at: what is applied here then holds all that was
    /// acknowledged before the confirmation. If the object is still at `base`, it was so all the time, and everything that
    /// the turn read of it is one state that was current when it was confirmed, after the call began. In another term the
    /// turn runs again, as one that writes does.
    ///
    /// # Errors
    /// What [`oprc_odgm::Partition::confirm`] fails with: nothing was committed.
    async fn stands(
        &self,
        term: u64,
        object: &ObjectId,
        base: Tag,
        consistency: Consistency,
    ) -> Result<bool, Problem> {
        let confirmed = self.partition.confirm(consistency).await?;
        let now = self.partition.reader().head(self.class, object)?.map(|head| head.tag).unwrap_or_default();
        Ok(confirmed == term && now == base)
    }
}

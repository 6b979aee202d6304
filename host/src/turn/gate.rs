//! The output gate of turns that commit nothing, and what is known of a call before it runs. See [`super::chain`].

use oprc_mesh::id::ObjectId;
use oprc_mesh::outcome::Problem;
use oprc_mesh::wire::{Consistency, Tag};
use oprc_odgm::Known;

use super::commit::Stage;
use super::mailbox::Place;
use super::once::CallId;
use super::run::Home;

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
            first.stood().await;
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
                Ok(ahead.last.stood().await && self.home.partition.confirm(consistency).await? == self.term)
            }
        }
    }
}

impl Home {
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

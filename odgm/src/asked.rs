//! Asynchronous calls of a partition, as those see them who take them in and run them: where each stands, and how one is
//! decided that no turn's commit decides.

use oprc_mesh::outcome::{Code, Effect, Problem};

use crate::apply::View as _;
use crate::error::OdgmError;
use crate::mail::{Ask, Asking, MailReply, MailStep, Message, Settle};
use crate::partition::Partition;
use crate::problem::not_leader;
use crate::record::{CommitRecord, KnownRecord};
use crate::store::AskedCall;
use crate::types::{Change, CommitReply, Known, Outcome, Rejection};

/// The class may be deployed anew between a look at it and the commit so often.
const TRIES_MAX: usize = 16;

impl Partition {
    /// Puts an asynchronous call into its lane; returns once that is durable. So many of its object may wait, and take up
    /// so much together.
    ///
    /// # Errors
    /// `not-leader`, `no-quorum` or `unavailable`, each with whether it may have taken effect.
    pub async fn ask(&self, message: Message, calls_max: u64, bytes_max: u64) -> Result<Asking, Problem> {
        match self.step(MailStep::Ask(Ask { message, calls_max, bytes_max })).await? {
            MailReply::Asked(asking) => Ok(asking),
            MailReply::Stale | MailReply::Taken(_) | MailReply::Done(_) => Err(not_leader(None)),
        }
    }

    /// The undecided call of that id. `object` is empty for a function.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn asked(&self, class: u64, object: &str, invocation: &str) -> Result<Option<AskedCall>, OdgmError> {
        self.raft().state().asked(class, object, invocation)
    }

    /// What is kept of the call of that id, which was decided; `object` is empty for a function.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn decided(&self, class: u64, object: &str, invocation: &str) -> Result<Option<Known>, OdgmError> {
        let known = self.raft().state().known(class, object, invocation)?;
        Ok(known.map(|KnownRecord { outcome, tag }| Known { outcome, tag }))
    }

    /// Settles an asynchronous call that changed nothing, and keeps its outcome. Whoever decides it first is right.
    ///
    /// # Errors
    /// As [`Partition::commit`].
    pub async fn settle_asked(
        &self,
        term: u64,
        settle: Settle,
        (class, object, invocation): (u64, &str, &str),
        outcome: Outcome,
    ) -> Result<(), Problem> {
        for _ in 0..TRIES_MAX {
            let record = CommitRecord {
                term,
                class,
                revision: self.raft().state().revision(class)?,
                object: object.to_owned(),
                change: Change::Keep as i32,
                unbound: true,
                invocation: invocation.to_owned(),
                outcome: Some(outcome.clone()),
                settle: Some(settle.clone()),
                ..CommitRecord::default()
            };
            match self.decide(record).await? {
                CommitReply::Committed(_) | CommitReply::Rejected(Rejection::Settled) => return Ok(()),
                CommitReply::Known(_) => return self.settle(term, settle).await.map(drop),
                CommitReply::Rejected(Rejection::Term { .. }) => return Err(not_leader(None)),
                CommitReply::Rejected(Rejection::Base { .. } | Rejection::Revision { .. }) => {}
            }
        }
        let busy =
            Problem::new(Code::Unavailable, "the class kept changing while the call's outcome was kept");
        Err(busy.with_effect(Effect::NotRun))
    }
}

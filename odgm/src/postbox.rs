//! A partition's messages as those see them who carry and run them. What changes anything goes through the log.

use std::time::Duration;

use oprc_mesh::clock::now_ms;
use oprc_mesh::outcome::{Code, Effect, Problem};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::error::OdgmError;
use crate::mail::{
    DeadKey, DeadRecord, DeadStep, MailCommand, MailReply, MailStep, Message, ReadyKey, Settle, Take,
};
use crate::partition::Partition;
use crate::problem::{cut_off, not_decided, not_leader, of_proposal, undecided};
use crate::raft::{Command, ProposalError, Reply};
use crate::record::CommitRecord;
use crate::store::Inbound;
use crate::types::{Change, CommitReply};

/// A step may take so long to be decided; then nobody knows.
const DECIDED_MAX: Duration = Duration::from_secs(8);

impl Partition {
    /// Waits until there may be new messages to run.
    pub async fn rung(&self) {
        self.raft().state().bell().ready.notified().await;
    }

    /// The time up to which the partition has lived: messages that become ready from now on carry this time or a later one.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn clock_ms(&self) -> Result<u64, OdgmError> {
        self.raft().state().clock_ms()
    }

    /// The names of messages that may be run, each from its `at_ms` on, in that order: from `from` on, at most `limit`.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn ready_keys(&self, from: ReadyKey, limit: usize) -> Result<Vec<ReadyKey>, OdgmError> {
        self.raft().state().ready_keys(from, limit)
    }

    /// A message that may be run; none when it was settled meanwhile.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn inbound(&self, key: ReadyKey) -> Result<Option<Inbound>, OdgmError> {
        self.raft().state().inbound(key)
    }

    /// Settles a message without any change to an object. Whoever settles it first decides.
    ///
    /// # Errors
    /// As [`Partition::commit`].
    pub async fn settle(&self, term: u64, settle: Settle) -> Result<CommitReply, Problem> {
        let record = CommitRecord {
            term,
            settle: Some(settle.shortened()),
            change: Change::Keep as i32,
            ..CommitRecord::default()
        };
        self.decide(record).await
    }

    /// A page of a class's dead letters in this partition after `after`, and whether more follow: at most `items`, ending
    /// early once it has `bytes`.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn dead_letters(
        &self,
        class: &str,
        after: Option<DeadKey>,
        items: usize,
        bytes: usize,
    ) -> Result<(Vec<(DeadKey, DeadRecord)>, bool), OdgmError> {
        self.raft().state().dead_letters(class, after, items, bytes)
    }

    /// Tries dead letters again or forgets them; gives how many were there.
    ///
    /// # Errors
    /// `not-leader`, `no-quorum` or `unavailable`, each with whether it may have taken effect.
    pub async fn change_dead_letters(&self, step: DeadStep) -> Result<u64, Problem> {
        self.done(MailStep::Dead(step)).await
    }

    /// Takes messages of another group's outbox that follow on what was taken; gives the last number that is.
    pub(crate) async fn take(
        &self,
        from_group: u64,
        first: u64,
        messages: Vec<Message>,
    ) -> Result<u64, Problem> {
        match self.step(MailStep::Take(Take { from_group, first, messages })).await? {
            MailReply::Taken(mark) => Ok(mark),
            MailReply::Stale | MailReply::Done(_) | MailReply::Asked(_) => Err(not_leader(None)),
        }
    }

    /// A step that gives how many records it dealt with.
    pub(crate) async fn done(&self, step: MailStep) -> Result<u64, Problem> {
        match self.step(step).await? {
            MailReply::Done(count) => Ok(count),
            MailReply::Stale | MailReply::Taken(_) | MailReply::Asked(_) => Err(not_leader(None)),
        }
    }

    pub(crate) async fn step(&self, step: MailStep) -> Result<MailReply, Problem> {
        let term = self.leadership()?;
        let group = self.raft();
        if group.is_cut_off() {
            return Err(cut_off());
        }
        let (done, decided) = oneshot::channel::<Result<Reply, ProposalError>>();
        let command = Command::Mail(MailCommand { term, now_ms: now_ms(), step: Some(step) }.into());
        let told = move |outcome| {
            let _ = done.send(outcome); // a caller that is gone needs no answer
        };
        group.propose(command, told).await.map_err(|error| of_proposal(error, self.poison()))?;
        match timeout(DECIDED_MAX, decided).await {
            Ok(Ok(Ok(Reply::Mail(reply)))) => Ok(reply),
            Ok(Ok(Ok(_))) => {
                let strange =
                    Problem::new(Code::Internal, "a step of messages was answered with something else");
                Err(strange.with_effect(Effect::Unknown))
            }
            Ok(Ok(Err(error))) => Err(of_proposal(error, self.poison())),
            Ok(Err(_)) => Err(not_decided(self.poison())),
            Err(_) => Err(undecided()),
        }
    }
}

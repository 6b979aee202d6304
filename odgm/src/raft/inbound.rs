//! What other hosts ask of one group's replica here.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use openraft::Raft;
use openraft::async_runtime::watch::WatchReceiver as _;
use tokio::time::Instant;

use super::freshness::Freshness;
use super::message;
use super::receiving::Receiving;
use super::rest::Rest;
use super::signs::Signs;
use super::state_machine::StateMachine;
use super::types::TypeConfig;
use super::wire::{Append, Ballot, Body, Chunk, Nothing, Refused, Transfer};
use crate::record::LogIdRecord;

/// See the module.
pub(super) struct Inbound {
    raft: Raft<TypeConfig, StateMachine>,
    receiving: Receiving,
    /// No vote is granted before this.
    votes_from: Instant,
    freshness: Arc<Freshness>,
    signs: Arc<Signs>,
    rest: Arc<Rest>,
    /// How far the log went that this host once had of the group and forgot: whatever it acknowledged then, no candidate
    /// that may lack it gets its vote.
    forgotten: Option<LogIdRecord>,
}

impl Inbound {
    /// `silence` is how long no vote is granted: a leader may rely on a lease that this replica gave it before it was
    /// restarted, and forgot.
    pub(super) fn new(
        raft: Raft<TypeConfig, StateMachine>,
        receiving: Receiving,
        silence: Duration,
        (freshness, signs): (Arc<Freshness>, Arc<Signs>),
        rest: Arc<Rest>,
        forgotten: Option<LogIdRecord>,
    ) -> Self {
        Self { raft, receiving, votes_from: Instant::now() + silence, freshness, signs, rest, forgotten }
    }

    pub(super) fn rest(&self) -> &Arc<Rest> {
        &self.rest
    }

    /// Answers one request; `None` to what nobody waits for. Polled once it has handed the request to the group, so that
    /// two that come in one after the other are handed over in that order.
    pub(super) fn answer(self: Arc<Self>, from: u64, body: Body) -> BoxFuture<'static, Option<Body>> {
        async move {
            if let Body::Sleep(sleep) = &body {
                let slept = self.rest.asked(sleep).map(|()| Body::Slept(Nothing {}));
                return Some(slept.unwrap_or_else(refused));
            }
            let slept = self.rest.wake();
            let answer = match body {
                // its own leader may be well and resting too: that one wakes now and says so
                Body::Vote(Ballot { transfer: false, .. }) | Body::PreVote(_) if slept => {
                    Err("it was asleep and listens for its leader first".to_owned())
                }
                Body::Append(append) => self.append(append).await,
                Body::Vote(ballot) => self.vote(false, &ballot).await,
                Body::PreVote(ballot) => self.vote(true, &ballot).await,
                Body::Transfer(transfer) => self.transfer(&transfer).await,
                Body::Chunk(chunk) => self.chunk(from, chunk).await,
                _ => Err("this kind of request is unknown here".to_owned()),
            };
            Some(answer.unwrap_or_else(refused))
        }
        .boxed()
    }

    async fn append(&self, append: Append) -> Result<Body, String> {
        let fresh = self.fresh_as_of(&append);
        let request = message::append_request(append).map_err(|error| error.to_string())?;
        let committed = request.leader_commit.map_or(0, |at| at.index);
        let response = self.raft.append_entries(request).await.map_err(|error| error.to_string())?;
        if response.is_success() {
            self.freshness.settle(self.applied());
            if let Some(fresh) = fresh {
                self.freshness.heard(fresh, committed);
            }
        }
        Ok(Body::Appended(message::appended(&response)))
    }

    /// A time, by this host's clock, at which whatever had been acknowledged anywhere is within what the request says is
    /// committed: the leader made it after it had a sign that this host gave then, and a majority had stood by it so much
    /// before. None when it cannot be told; a leader that has committed nothing of its own yet may not know all.
    fn fresh_as_of(&self, append: &Append) -> Option<Instant> {
        append.committed.filter(|committed| committed.term == append.vote.term)?;
        self.signs.given(append.seen?)?.checked_sub(Duration::from_millis(append.unconfirmed_ms?))
    }

    fn applied(&self) -> u64 {
        self.raft.data_metrics().borrow_watched().last_applied.map_or(0, |applied| applied.index)
    }

    async fn vote(&self, pre: bool, ballot: &Ballot) -> Result<Body, String> {
        // a leader that hands over has given up its lease
        if !ballot.transfer && Instant::now() < self.votes_from {
            return Err("it has just started and grants no vote until older leases are over".to_owned());
        }
        let end = |last: &Option<LogIdRecord>| last.map(|last| (last.term, last.index));
        if end(&ballot.last) < end(&self.forgotten) {
            return Err("it once held more of the log than the candidate".to_owned());
        }
        let request = message::vote_request(ballot);
        let response = if pre { self.raft.pre_vote(request).await } else { self.raft.vote(request).await };
        Ok(Body::Voted(message::voted(&response.map_err(|error| error.to_string())?)))
    }

    async fn transfer(&self, transfer: &Transfer) -> Result<Body, String> {
        let response = self.raft.handle_transfer_leader(message::transfer_request(transfer)).await;
        Ok(Body::Transferred(message::transferred(&response.map_err(|error| error.to_string())?)))
    }

    async fn chunk(&self, from: u64, chunk: Chunk) -> Result<Body, String> {
        self.receiving.take(&self.raft, from, chunk).await.map(Body::Stored)
    }
}

fn refused(reason: String) -> Body {
    Body::Refused(Refused { reason })
}

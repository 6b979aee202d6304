//! The way to a group's other members: openraft's requests over the [`Exchange`], entries pipelined.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt as _, Stream, StreamExt as _};
use openraft::OptionalSend;
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::impls::EmptyNode;
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use oprc_mesh::Lane;
use tokio::time::Instant;

use super::authority::Authority;
use super::exchange::{Exchange, Ticket};
use super::snapshot::SnapshotData;
use super::types::{LogId, RaftVote, Snapshot, TypeConfig};
use super::window::{Taken, Window};
use super::wire::{Append, Body};
use super::{message, sending};

/// Requests with entries that may be under way to one replica at once.
const WINDOW: usize = 32;
/// A replica that does not answer for so long is asked anew: a message was lost, or the replica is.
const APPEND_PATIENCE: Duration = Duration::from_secs(2);

type Rpc<T> = Result<T, RPCError<TypeConfig>>;

/// Makes the connections of one group.
pub(super) struct Network {
    pub(super) exchange: Arc<Exchange>,
    pub(super) group: u64,
    /// Set once the group has started.
    pub(super) authority: Arc<OnceLock<Authority>>,
}

/// The connection to one replica for one purpose.
pub(super) struct Peer {
    exchange: Arc<Exchange>,
    group: u64,
    target: u64,
    lane: Lane,
    window: Window,
    authority: Arc<OnceLock<Authority>>,
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, _node: &EmptyNode) -> Peer {
        self.peer(target, Lane::Data)
    }

    async fn new_heartbeat_client(&mut self, target: u64, _node: &EmptyNode) -> Peer {
        self.peer(target, Lane::Urgent)
    }

    async fn new_snapshot_client(&mut self, target: u64, _node: &EmptyNode) -> Peer {
        self.peer(target, Lane::Bulk)
    }
}

impl Network {
    fn peer(&self, target: u64, lane: Lane) -> Peer {
        let (exchange, authority) = (self.exchange.clone(), self.authority.clone());
        let window = exchange.windows().of(target);
        Peer { exchange, group: self.group, target, lane, window, authority }
    }
}

impl Peer {
    fn ask(&self, lane: Lane, body: Body) -> Ticket {
        self.exchange.ask(self.target, lane, self.group, body)
    }

    fn ask_to_append(&self, request: &AppendEntriesRequest<TypeConfig>) -> (Ticket, Taken) {
        let append = Append {
            seen: self.exchange.signs().seen(self.target),
            unconfirmed_ms: self.authority.get().and_then(Authority::unconfirmed_ms),
            ..message::append(request)
        };
        let taken = self.window.take(append.entries.iter().map(Bytes::len).sum());
        (self.ask(self.lane, Body::Append(append)), taken)
    }

    fn unreachable(&self, reason: impl std::fmt::Display) -> Unreachable<TypeConfig> {
        Unreachable::from_string(format!("host {:016x}: {reason}", self.target))
    }

    fn unexpected(&self, reply: &Body) -> RPCError<TypeConfig> {
        self.unreachable(format_args!("it answered with {reply:?}")).into()
    }

    async fn reply(&self, mut ticket: Ticket, patience: Duration) -> Rpc<Body> {
        ticket.reply(Instant::now() + patience).await.map_err(|reason| self.unreachable(reason).into())
    }

    async fn ballot(&self, pre: bool, request: VoteRequest<TypeConfig>, patience: Duration) -> Rpc<Voted> {
        let ballot = message::ballot(&request);
        let body = if pre { Body::PreVote(ballot) } else { Body::Vote(ballot) };
        match self.reply(self.ask(Lane::Urgent, body), patience).await? {
            Body::Voted(voted) => Ok(message::vote_response(&voted)),
            other => Err(self.unexpected(&other)),
        }
    }
}

type Voted = VoteResponse<TypeConfig>;

/// A stream of requests under way: sent in order, answered in order.
struct Pipeline<'p, S> {
    peer: &'p Peer,
    input: S,
    ended: bool,
    patience: Duration,
    sent: VecDeque<Sent>,
}

/// One request on its way, with what its success means.
struct Sent {
    ticket: Ticket,
    _taken: Taken,
    deadline: Instant,
    prev: Option<LogId>,
    last: Option<LogId>,
}

impl<S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Unpin> Pipeline<'_, S> {
    fn send(&mut self, request: &AppendEntriesRequest<TypeConfig>) {
        let last = request.entries.last().map(|entry| entry.log_id).or(request.prev_log_id);
        let (ticket, taken) = self.peer.ask_to_append(request);
        let deadline = Instant::now() + self.patience;
        self.sent.push_back(Sent { ticket, _taken: taken, deadline, prev: request.prev_log_id, last });
    }

    /// Sends what there is to send, until the oldest request is answered.
    async fn next(&mut self) -> Option<Rpc<StreamAppendResult<TypeConfig>>> {
        loop {
            let room = !self.ended && self.sent.len() < WINDOW && !self.peer.window.is_full();
            let Some(oldest) = self.sent.front_mut() else {
                if self.ended {
                    return None;
                }
                match self.input.next().await {
                    Some(request) => self.send(&request),
                    None => return None,
                }
                continue;
            };
            tokio::select! {
                biased;
                reply = oldest.ticket.reply(oldest.deadline) => {
                    let (prev, last) = (oldest.prev, oldest.last);
                    self.sent.pop_front();
                    return Some(match reply {
                        Ok(Body::Appended(appended)) => {
                            Ok(message::append_response(&appended).into_stream_result(prev, last))
                        }
                        Ok(other) => Err(self.peer.unexpected(&other)),
                        Err(reason) => Err(self.peer.unreachable(reason).into()),
                    });
                }
                request = self.input.next(), if room => match request {
                    Some(request) => self.send(&request),
                    None => self.ended = true,
                },
            }
        }
    }
}

impl RaftNetworkV2<TypeConfig> for Peer {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Rpc<AppendEntriesResponse<TypeConfig>> {
        let (ticket, _taken) = self.ask_to_append(&request);
        match self.reply(ticket, option.hard_ttl()).await? {
            Body::Appended(appended) => Ok(message::append_response(&appended)),
            other => Err(self.unexpected(&other)),
        }
    }

    fn stream_append<S>(
        &mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<'_, Rpc<BoxStream<'_, Rpc<StreamAppendResult<TypeConfig>>>>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
    {
        let patience = if matches!(self.lane, Lane::Urgent) { option.hard_ttl() } else { APPEND_PATIENCE };
        let pipeline = Pipeline { peer: self, input, ended: false, patience, sent: VecDeque::new() };
        let answers = stream::unfold(Some(pipeline), |pipeline| async move {
            let mut pipeline = pipeline?;
            let answer = pipeline.next().await?;
            // after anything but a success the requests behind it are in vain
            let goes_on = matches!(answer, Ok(Ok(_)));
            Some((answer, goes_on.then_some(pipeline)))
        });
        std::future::ready(Ok(answers.boxed())).boxed()
    }

    async fn vote(&mut self, request: VoteRequest<TypeConfig>, option: RPCOption) -> Rpc<Voted> {
        self.ballot(false, request, option.hard_ttl()).await
    }

    async fn pre_vote(&mut self, request: VoteRequest<TypeConfig>, option: RPCOption) -> Rpc<Voted> {
        self.ballot(true, request, option.hard_ttl()).await
    }

    async fn full_snapshot(
        &mut self,
        vote: RaftVote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let sending = sending::send(&self.exchange, self.group, self.target, vote, snapshot);
        tokio::select! {
            closed = cancel => Err(closed.into()),
            sent = sending => match sent {
                Ok(vote) => Ok(SnapshotResponse::new(vote)),
                Err(reason) => Err(self.unreachable(reason).into()),
            },
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Rpc<TransferLeaderResponse<TypeConfig>> {
        let ticket = self.ask(Lane::Urgent, Body::Transfer(message::transfer(&request)));
        match self.reply(ticket, option.hard_ttl()).await? {
            Body::Transferred(answer) => Ok(message::transfer_response(&request, &answer)),
            other => Err(self.unexpected(&other)),
        }
    }
}

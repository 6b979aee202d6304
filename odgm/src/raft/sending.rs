//! Sends a snapshot to a replica that the log no longer reaches: the group's records in key order, piece by piece, a few
//! pieces ahead of what the replica has on its disk. One that fails begins anew, on a newer view.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use oprc_mesh::Lane;
use oprc_mesh::metrics::Count;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::codec;
use super::exchange::{Exchange, Ticket};
use super::snapshot::{Moment, Record, SnapshotData};
use super::types::{RaftVote, Snapshot};
use super::wire::{Body, Chunk, Pair, Stored};

/// A piece's records, about.
const PIECE_BYTES: usize = 1024 * 1024;
/// Pieces under way at once.
const PIECES_AHEAD: usize = 4;
/// How long the replica may take for a piece; for the last one it installs the whole.
const PIECE_PATIENCE: Duration = Duration::from_secs(30);
/// A snapshot takes at most this much of the network and the disks, so that calls go on beside it.
const BYTES_PER_SECOND_MAX: usize = 96 * 1024 * 1024;
/// Snapshots that one host sends at once.
const SENDING_MAX: usize = 2;

/// The bounds that all snapshots of a host share.
pub(super) struct Sending {
    turns: Semaphore,
    /// Snapshots that another host has taken.
    pub(super) sent: Count,
}

impl Default for Sending {
    fn default() -> Self {
        Self { turns: Semaphore::new(SENDING_MAX), sent: Count::default() }
    }
}

/// Sends `snapshot` and waits until it is installed; gives the replica's vote then, or why not.
pub(super) async fn send(
    exchange: &Arc<Exchange>,
    group: u64,
    target: u64,
    vote: RaftVote,
    snapshot: Snapshot,
) -> Result<RaftVote, String> {
    let SnapshotData::Here(moment) = snapshot.snapshot else {
        return Err("a snapshot that is being received cannot be sent on".to_owned());
    };
    let _turn = exchange.sending().turns.acquire().await.map_err(|error| error.to_string())?;
    let _held = exchange.holds().hold(group);
    let transfer = exchange.number();
    tracing::info!(group, target = %format_args!("{target:016x}"), "sending a snapshot");
    let mut sender = Sender { exchange, group, target, vote, transfer, piece: 0, ahead: VecDeque::new() };
    let begun = Instant::now();
    let (mut after, mut sent) = (None, 0);
    loop {
        let records = read(&moment, after.clone()).await?;
        let Some((last, _)) = records.last() else { break };
        after = Some(last.clone());
        sent += records.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
        sender.send(records, None);
        sender.settle(PIECES_AHEAD).await?;
        // as long as so many bytes may take at least
        let earliest = Duration::from_millis((sent * 1000 / BYTES_PER_SECOND_MAX) as u64);
        tokio::time::sleep_until(begun + earliest).await;
    }
    sender.send(Vec::new(), Some(&moment));
    let stored = sender.settle(0).await?;
    let installed =
        stored.and_then(|stored| stored.vote).ok_or("the replica did not say how it installed")?;
    exchange.sending().sent.one();
    let took = begun.elapsed();
    tracing::info!(group, bytes = sent, ?took, "a snapshot was installed");
    Ok(codec::vote(installed))
}

async fn read(moment: &Moment, after: Option<Vec<u8>>) -> Result<Vec<Record>, String> {
    let moment = moment.clone();
    let read = move || moment.read(after.as_deref(), PIECE_BYTES);
    let records = tokio::task::spawn_blocking(read).await.map_err(|error| error.to_string())?;
    records.map_err(|error| error.to_string())
}

struct Sender<'e> {
    exchange: &'e Arc<Exchange>,
    group: u64,
    target: u64,
    vote: RaftVote,
    transfer: u64,
    piece: u64,
    ahead: VecDeque<(Ticket, Instant)>,
}

impl Sender<'_> {
    fn send(&mut self, records: Vec<Record>, end: Option<&Moment>) {
        let records = records.into_iter().map(|(key, value)| Pair { key: key.into(), value: value.into() });
        let chunk = Chunk {
            vote: codec::vote_record(&self.vote),
            transfer: self.transfer,
            piece: self.piece,
            records: records.collect(),
            end: end.and_then(|moment| moment.state().ok()),
        };
        self.piece += 1;
        let ticket = self.exchange.ask(self.target, Lane::Bulk, self.group, Body::Chunk(chunk));
        self.ahead.push_back((ticket, Instant::now() + PIECE_PATIENCE));
    }

    /// Waits until at most `ahead` pieces are under way; gives the last reply.
    async fn settle(&mut self, ahead: usize) -> Result<Option<Stored>, String> {
        let mut last = None;
        while self.ahead.len() > ahead {
            let Some((mut ticket, deadline)) = self.ahead.pop_front() else { break };
            match ticket.reply(deadline).await? {
                Body::Stored(stored) => last = Some(stored),
                other => return Err(format!("it answered a piece of a snapshot with {other:?}")),
            }
        }
        Ok(last)
    }
}

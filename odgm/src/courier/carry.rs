//! Empties a partition's outboxes: for each partition that messages are for one courier, which has one batch under way.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use oprc_mesh::catalog::PartitionInfo;
use oprc_mesh::id::NodeId;
use oprc_mesh::outcome::{Code, Problem};
use oprc_mesh::wire::{Deliver, Delivered, GridQuestion, GridReply};
use tokio::time::{Instant, sleep};

use super::{Office, receive};
use crate::ask::strange;
use crate::crash::crash_point;
use crate::error::OdgmError;
use crate::mail::{MailStep, Trim};
use crate::partition::Partition;

/// Messages of one batch, at the most.
const BATCH_ITEMS: usize = 512;
/// A batch is closed once it is this large; one message alone may be larger.
const BATCH_BYTES: usize = 512 * 1024;
/// How long a batch may take to be taken.
const DELIVER_MS: u64 = 5_000;
/// Messages that one entry removes from the outbox.
const TRIM_MAX: u64 = 1_024;
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Runs for ever; to be dropped when this host leads the partition no more.
pub(super) async fn run(office: &Office, partition: &Partition) {
    let mut couriers = FuturesUnordered::new();
    let mut busy = BTreeSet::new();
    loop {
        match partition.raft().state().filled_outboxes() {
            Ok(filled) => {
                for to in filled {
                    if busy.insert(to) {
                        couriers.push(Courier { office, partition, to, leader: None }.run());
                    }
                }
            }
            Err(error) => {
                tracing::warn!(group = partition.group(), %error, "the outbox cannot be read");
                sleep(PAUSE_MAX).await;
            }
        }
        tokio::select! {
            Some(to) = couriers.next(), if !couriers.is_empty() => drop(busy.remove(&to)),
            () = partition.raft().state().bell().out.notified() => {}
        }
    }
}

/// Carries messages to one group.
struct Courier<'p> {
    office: &'p Office,
    partition: &'p Partition,
    to: u64,
    /// Who leads it, as far as is known.
    leader: Option<NodeId>,
}

impl Courier<'_> {
    /// Returns once the outbox is empty.
    async fn run(mut self) -> u64 {
        let mut pause = PAUSE_MIN;
        loop {
            match self.empty(&mut pause).await {
                Ok(()) => return self.to,
                Err(problem) => {
                    let (from, to) = (self.partition.group(), self.to);
                    tracing::debug!(from, to, %problem, "messages wait");
                    sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    /// Carries all there is, batch by batch: while one is taken, the one before is removed.
    async fn empty(&mut self, pause: &mut Duration) -> Result<(), Problem> {
        let mut taken = self.partition.raft().state().trimmed(self.to)?;
        let mut trimmed = taken;
        loop {
            let batch = self.batch(taken + 1)?;
            if batch.is_empty() {
                return self.trim(&mut trimmed, taken).await;
            }
            crash_point("before-deliver");
            let (from, to, before) = (self.partition.group(), self.to, taken);
            let deliver = Deliver { from_group: from, to_group: to, first: taken + 1, messages: batch };
            let partition = self.partition;
            let (mark, removed) =
                tokio::join!(self.deliver(deliver), trim(partition, to, &mut trimmed, before));
            removed?;
            // a mark before the outbox's own begin would mean that the receiver has lost what it had taken
            taken = mark?.max(trimmed);
            if taken > before {
                *pause = PAUSE_MIN;
            }
            crash_point("before-trim");
        }
    }

    fn batch(&self, first: u64) -> Result<Vec<bytes::Bytes>, OdgmError> {
        let stored = self.partition.raft().state().outgoing(self.to, first, BATCH_ITEMS, BATCH_BYTES)?;
        Ok(stored.into_iter().map(bytes::Bytes::from).collect())
    }

    async fn trim(&self, trimmed: &mut u64, upto: u64) -> Result<(), Problem> {
        trim(self.partition, self.to, trimmed, upto).await
    }

    /// Hands a batch to the leader of the group that it is for; gives the receiver's mark.
    async fn deliver(&mut self, deliver: Deliver) -> Result<u64, Problem> {
        let here =
            self.office.partitions.get(self.to).is_some_and(|partition| partition.leadership().is_ok());
        if here {
            return receive(&self.office.partitions, deliver).await.map(|delivered| delivered.mark);
        }
        let view = self.office.view();
        let Some(info) = view.partition(self.to) else {
            return self.give_back(&deliver).await;
        };
        let Some(host) = self.leader.or_else(|| self.someone(info)) else {
            return Err(Problem::new(Code::Unavailable, "no host of the partition is alive"));
        };
        let deadline = Instant::now() + Duration::from_millis(DELIVER_MS);
        match self.office.asker.ask(host, GridQuestion::Deliver(deliver), deadline).await {
            Ok(GridReply::Delivered(Delivered { mark })) => {
                self.leader = Some(host);
                Ok(mark)
            }
            Ok(_) => Err(strange(host)),
            Err(problem) => {
                self.leader = Some(NodeId(problem.leader)).filter(|leader| leader.0 != 0 && *leader != host);
                Err(problem)
            }
        }
    }

    /// Some host that holds the group and seems alive: it knows who leads. Another one each time.
    fn someone(&self, info: &PartitionInfo) -> Option<NodeId> {
        let alive = self.office.asker.others();
        let holders: Vec<NodeId> = info.hosts().filter(|host| alive.contains(host)).collect();
        let turn = oprc_mesh::clock::now_ms() as usize;
        holders.get(turn % holders.len().max(1)).copied()
    }

    /// The group is gone for good, with the class that it was for: its messages come into this partition's own lanes, where
    /// they end as dead letters. One that the catalog here does not know yet waits.
    async fn give_back(&self, deliver: &Deliver) -> Result<u64, Problem> {
        if !self.office.catalog.with(|state| state.is_dropped(self.to)) {
            return Err(Problem::new(Code::Unavailable, "the partition is not known here yet"));
        }
        let upto = deliver.first + deliver.messages.len() as u64 - 1;
        self.partition.done(MailStep::Return(Trim { to_group: self.to, upto })).await?;
        Ok(upto)
    }
}

/// Removes what was taken from the outbox.
async fn trim(partition: &Partition, to_group: u64, trimmed: &mut u64, upto: u64) -> Result<(), Problem> {
    while *trimmed < upto {
        let step = upto.min(*trimmed + TRIM_MAX);
        partition.done(MailStep::Trim(Trim { to_group, upto: step })).await?;
        crash_point("after-trim");
        *trimmed = step;
    }
    Ok(())
}

//! Pages of the event log for readers elsewhere. One that has read everything waits here for more.

use std::sync::Arc;
use std::time::Duration;

use oprc_mesh::id::ClassName;
use oprc_mesh::limits::EVENT_WAIT_MS_MAX;
use oprc_mesh::outcome::{Code, Effect, Problem};
use oprc_mesh::wire::{Consistency, EventPage, ReadEvents};
use oprc_odgm::{EventsOf, Odgm, Partition};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::classes::{Classes, find};
use crate::metrics::Metrics;

/// A reader that is sent away because the host stops comes back after this, by then to another leader.
const RETRY_AFTER_MS: u64 = 100;

/// See the module.
pub(crate) struct Events {
    pub(crate) odgm: Arc<Odgm>,
    pub(crate) classes: Arc<Classes>,
    /// Cancelled when the host drains: those who wait are sent away.
    pub(crate) ending: CancellationToken,
    pub(crate) metrics: Arc<Metrics>,
}

impl Events {
    /// Reads a page, and waits for one while there is nothing to tell.
    ///
    /// # Errors
    /// `not-found` for the class, `not-leader`, `no-quorum`, `unavailable`.
    pub(crate) async fn read(&self, read: &ReadEvents, deadline: Instant) -> Result<EventPage, Problem> {
        let _reading = self.metrics.reading();
        let name = ClassName::parse(&read.class)?;
        self.classes.catch_up(&name, read.revision, deadline).await?;
        let class = find(&self.odgm.catalog().view(), &name)?.id;
        let partition = self.odgm.partition(read.group).ok_or_else(not_here)?;
        partition.leadership()?;
        let newest = *partition.follow_events().borrow();
        let Some(after) = read.after else {
            return Ok(EventPage { upto: newest, ..EventPage::default() });
        };
        if after > newest && is_unknown(&partition, after).await? {
            let end = *partition.follow_events().borrow();
            return Ok(EventPage { upto: end, gap: Some(end), ..EventPage::default() });
        }
        let wanted = EventsOf { class: Some(class), prefix: &read.prefix, exact: read.exact };
        let wait = Duration::from_millis(read.wait_ms.min(EVENT_WAIT_MS_MAX));
        self.next_page(&partition, wanted, after, deadline.min(Instant::now() + wait)).await
    }

    async fn next_page(
        &self,
        partition: &Partition,
        wanted: EventsOf<'_>,
        mut after: u64,
        until: Instant,
    ) -> Result<EventPage, Problem> {
        let (mut newest, mut leads) = (partition.follow_events(), self.odgm.leadership());
        loop {
            newest.borrow_and_update();
            leads.borrow_and_update();
            // one that leads no more would wait for what others are told
            partition.leadership()?;
            let page = partition.read_events(wanted, after)?;
            if !page.items.is_empty() || page.gap.is_some() {
                return Ok(page);
            }
            after = page.upto;
            if page.more && Instant::now() < until {
                tokio::task::yield_now().await;
                continue;
            }
            tokio::select! {
                biased;
                () = self.ending.cancelled() => return Err(stopping()),
                () = sleep_until(until) => return Ok(page),
                changed = newest.changed() => changed.map_err(|_| not_here())?,
                changed = leads.changed() => changed.map_err(|_| not_here())?,
            }
        }
    }
}

/// Whether this partition has never told an event of that number: the reader's place is of another life of the partition.
/// A leader that was replaced without knowing it says `not-leader` instead.
async fn is_unknown(partition: &Partition, seq: u64) -> Result<bool, Problem> {
    partition.confirm(Consistency::Lease).await?;
    Ok(seq > *partition.follow_events().borrow())
}

fn not_here() -> Problem {
    Problem::new(Code::NotLeader, "this host does not hold the partition").with_effect(Effect::NotRun)
}

fn stopping() -> Problem {
    Problem::new(Code::Unavailable, "the host is stopping")
        .with_effect(Effect::NotRun)
        .retry_after_ms(RETRY_AFTER_MS)
}

//! Brings a reader that comes back up to its hub, from the logs of the partitions. It gets what it missed page by page, as
//! fast as it takes them; when little is left it joins the hub, whose events wait until the last page is told.

use std::sync::Arc;
use std::time::Duration;

use oprc_mesh::events::{Cursor, write_members};
use oprc_mesh::wire::{EventPage, ReadEvents};
use tokio::time::timeout;

use super::Reader;
use super::feed::{ask, pause, soon};
use crate::app::App;
use crate::stream::{End, Gap, Scope, event, gap};

/// A reader that has taken nothing for so long is cut off.
const STALL: Duration = Duration::from_secs(30);

/// Where a reader was.
pub(super) struct Late {
    pub(super) cursor: Cursor,
    /// The partitions that it wants.
    pub(super) groups: Vec<u64>,
}

/// Runs until the reader is up to date, or cut off, or its hub is over.
pub(super) async fn run(app: Arc<App>, reader: Arc<Reader>, late: Late) {
    let hub = reader.hold.hub().clone();
    let caught_up = hub.stop.run_until_cancelled(catch_up(&app, &reader, late)).await;
    if caught_up.is_none() {
        reader.queue.end(hub.ended().unwrap_or(End::Stopping));
    }
}

async fn catch_up(app: &App, reader: &Reader, late: Late) {
    let mut writer = Writer { reader, at: late.cursor };
    writer.begin(&late.groups);
    for &group in &late.groups {
        if !writer.approach(app, group).await {
            return;
        }
    }
    let live = match reader.join() {
        Ok(live) => live,
        Err(end) => return reader.queue.end(end),
    };
    for &group in &late.groups {
        let upto = live.positions.get(&group).copied().unwrap_or(0);
        while writer.place(group) < upto {
            if !writer.step(app, group, upto).await {
                return;
            }
        }
    }
    reader.queue.go_live();
}

struct Writer<'r> {
    reader: &'r Reader,
    /// Where the reader is.
    at: Cursor,
}

impl Writer<'_> {
    fn place(&self, group: u64) -> u64 {
        self.at.positions.get(&group).copied().unwrap_or(0)
    }

    /// A place that is not of this class, or not of all its partitions, is none to go on from: the reader is told, and goes
    /// on from now.
    fn begin(&mut self, groups: &[u64]) {
        let live = self.reader.hold.hub().at();
        let mut unknown = false;
        if self.at.class != live.class {
            self.at = Cursor { class: live.class, ..Cursor::default() };
        }
        for group in groups {
            self.at.positions.entry(*group).or_insert_with(|| {
                unknown = true;
                live.positions.get(group).copied().unwrap_or(0)
            });
        }
        if unknown {
            self.tell_gap(Gap::Unknown);
        }
    }

    /// Tells what a partition has up to where the hub is. Never past it: what the hub tells next must be new. False when the
    /// reader was cut off.
    async fn approach(&mut self, app: &App, group: u64) -> bool {
        loop {
            let live = self.reader.hold.hub().at().positions.get(&group).copied().unwrap_or(0);
            let place = self.place(group);
            if place == live {
                return true;
            }
            if place < live {
                if !self.step(app, group, live).await {
                    return false;
                }
            } else if !self.wait_ahead(app, group).await {
                return false;
            }
        }
    }

    /// The reader is ahead of the hub: it was told by another gateway, and the hub will be there in a moment. Or its place is of
    /// another life of the partition, as its leader will say.
    async fn wait_ahead(&mut self, app: &App, group: u64) -> bool {
        let page = self.page(app, group).await;
        let Some(end) = page.gap else {
            pause().await;
            return true;
        };
        self.at.positions.insert(group, end);
        self.tell_gap(Gap::Unknown);
        self.taken().await
    }

    /// Tells the next page of a partition, up to a number.
    async fn step(&mut self, app: &App, group: u64, upto: u64) -> bool {
        let page = self.page(app, group).await;
        if let Some(end) = page.gap {
            self.at.positions.insert(group, end);
            self.tell_gap(Gap::Trimmed);
        }
        let (mut text, mut members) = (Vec::new(), Vec::new());
        for told in page.items.iter().filter(|told| told.seq <= upto) {
            self.at.positions.insert(group, told.seq);
            if self.reader.filter.wants(told) {
                members.clear();
                write_members(&mut members, self.reader.hold.hub().class().as_str(), told);
                event(&mut text, &self.at.id(), &members);
            }
        }
        let place = page.upto.min(upto).max(self.place(group));
        self.at.positions.insert(group, place);
        if text.is_empty() {
            return true;
        }
        self.reader.queue.push_past(text);
        self.taken().await
    }

    /// The next page of a partition; asked for until it comes.
    async fn page(&self, app: &App, group: u64) -> EventPage {
        let hub = self.reader.hold.hub();
        let (prefix, exact) = match &self.reader.filter.scope {
            Scope::Object(object, _) => (object.as_str(), true),
            Scope::Prefix(prefix) => (prefix.as_str(), false),
        };
        let read = ReadEvents {
            group,
            class: hub.class().as_str().to_owned(),
            after: Some(self.place(group)),
            prefix: prefix.to_owned(),
            exact,
            ..ReadEvents::default()
        };
        loop {
            match ask(app, hub.class(), &read, soon()).await {
                Ok(page) => return page,
                Err(refusal) => {
                    tracing::debug!(group, problem = %refusal.problem(), "a reader cannot catch up yet");
                    pause().await;
                }
            }
        }
    }

    fn tell_gap(&self, why: Gap) {
        let (mut text, class) = (Vec::new(), self.reader.hold.hub().class().as_str());
        let object = match &self.reader.filter.scope {
            Scope::Object(object, _) => Some(object.as_str()),
            Scope::Prefix(_) => None,
        };
        gap(&mut text, &self.at.id(), class, object, why);
        self.reader.queue.push_past(text);
    }

    /// Waits until the reader has taken what it was told. False when it did not: then it is cut off.
    async fn taken(&self) -> bool {
        let taken = timeout(STALL, self.reader.queue.emptied()).await.is_ok();
        if !taken {
            self.reader.queue.cut();
        }
        taken
    }
}

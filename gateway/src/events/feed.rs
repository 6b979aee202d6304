//! What fills a hub: a task for each of its partitions, and one that ends it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use oprc_mesh::catalog::CatalogView;
use oprc_mesh::id::ClassName;
use oprc_mesh::outcome::{Code, Effect};
use oprc_mesh::retry::Repeat;
use oprc_mesh::wire::{Answer, EventPage, Op, ReadEvents};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::app::App;
use crate::problem::Refusal;
use crate::route::Target;
use crate::stream::{End, Hold, Hub, heartbeats};

/// How long a host may wait for an event before it says that there is none.
const WAIT_MS: u64 = 15_000;
/// How long it may take to say so after that, and how long any other question may take.
const ANSWER_MS: u64 = 10_000;
/// Pages of a partition come no faster than this: what comes in between shares one. A single event does not wait.
const PACE_MS: u64 = 2;
/// After a partition that nobody could be asked of.
const PAUSE_MS: u64 = 250;
/// Partitions asked at once where a stream begins.
const ASKED_AT_ONCE: usize = 32;

/// Takes hold of the class's hub; a new one is looked after from now on.
pub(super) fn hold(app: &Arc<App>, class: &ClassName, number: u64, groups: &[u64]) -> Hold {
    let (hold, is_new) = app.hubs.hold(class, number, groups);
    if is_new {
        app.hubs.tasks.spawn(keep(app.clone(), hold.hub().clone(), number));
    }
    hold
}

/// Makes sure that the hub follows these partitions. Where one is not followed yet it is begun at its newest event.
///
/// # Errors
/// A partition's leader could not be asked until `deadline`.
pub(super) async fn follow(
    app: &Arc<App>,
    hold: &Hold,
    groups: &[u64],
    deadline: Instant,
) -> Result<(), Refusal> {
    let hub = hold.hub();
    if hub.missing(groups).is_empty() {
        return Ok(());
    }
    let late = |_| Refusal::new(Code::Deadline, "the stream could not begin in time").effect(Effect::NotRun);
    let _starting = timeout_at(deadline, hub.starting.lock()).await.map_err(late)?;
    let ends: Vec<_> = hub
        .missing(groups)
        .into_iter()
        .map(|group| async move {
            let read = ReadEvents { group, class: hub.class().as_str().to_owned(), ..ReadEvents::default() };
            ask(app, hub.class(), &read, deadline).await.map(|page| (group, page.upto))
        })
        .collect();
    let ends: Vec<(u64, u64)> = stream::iter(ends).buffer_unordered(ASKED_AT_ONCE).try_collect().await?;
    for (group, seq) in ends {
        hub.begin(group, seq);
        let fed = feed(app.clone(), hub.clone(), group, seq);
        app.hubs.tasks.spawn(hub.stop.clone().run_until_cancelled_owned(fed));
    }
    Ok(())
}

/// Asks the leader of a partition for events.
pub(super) async fn ask(
    app: &App,
    class: &ClassName,
    read: &ReadEvents,
    deadline: Instant,
) -> Result<EventPage, Refusal> {
    let target = Target::Partition(class, read.group);
    let operation = |revision| Op::ReadEvents(ReadEvents { revision, ..read.clone() });
    match app.ask_aside(target, deadline, Repeat::Harmless, operation).await? {
        Answer::Events(page) => Ok(page),
        _ => Err(Refusal::misanswered()),
    }
}

/// Until when an answer may take that need not wait for an event.
pub(super) fn soon() -> Instant {
    Instant::now() + Duration::from_millis(ANSWER_MS)
}

/// The pause after an answer that did not come.
pub(super) async fn pause() {
    sleep(Duration::from_millis(PAUSE_MS)).await;
}

/// Hands all that a partition tells to the hub, for as long as it is needed.
async fn feed(app: Arc<App>, hub: Arc<Hub>, group: u64, mut after: u64) {
    let mut not_before = Instant::now();
    loop {
        sleep_until(not_before).await;
        let read = ReadEvents {
            group,
            class: hub.class().as_str().to_owned(),
            after: Some(after),
            wait_ms: WAIT_MS,
            ..ReadEvents::default()
        };
        let deadline = Instant::now() + Duration::from_millis(WAIT_MS + ANSWER_MS);
        match ask(&app, hub.class(), &read, deadline).await {
            Ok(page) => {
                not_before = Instant::now() + Duration::from_millis(PACE_MS);
                after = page.upto;
                hub.deliver(group, &page);
            }
            Err(refusal) => {
                tracing::debug!(group, problem = %refusal.problem(), "no events could be read; trying again");
                pause().await;
            }
        }
    }
}

/// Shows readers that their streams are alive, and ends them when the class or the gateway goes.
async fn keep(app: Arc<App>, hub: Arc<Hub>, number: u64) {
    let mut beats = heartbeats();
    let mut views = app.mesh.directory().watch_view();
    loop {
        if let Some(end) = fate(&views.borrow_and_update(), &hub, number) {
            hub.end(end);
            return hub.stop.cancel();
        }
        tokio::select! {
            () = hub.stop.cancelled() => return,
            () = app.stopping.cancelled() => {
                hub.end(End::Stopping);
                return hub.stop.cancel();
            }
            _ = beats.tick() => hub.beat(),
            changed = views.changed() => if changed.is_err() { return },
        }
    }
}

/// Why the hub must end, as the catalog is now.
fn fate(view: &CatalogView, hub: &Hub, number: u64) -> Option<End> {
    let Some(class) = view.class(hub.class().as_str()).filter(|class| class.id == number) else {
        return Some(End::Removed);
    };
    let partitions = view.grid(&class.grid).map(|grid| grid.partitions.as_slice()).unwrap_or_default();
    let now: BTreeSet<u64> = partitions.iter().map(|partition| partition.group).collect();
    let then: BTreeSet<u64> = hub.groups().iter().copied().collect();
    (now != then).then_some(End::Moved)
}

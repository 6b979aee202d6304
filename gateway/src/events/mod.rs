//! Streams of events, as Server-Sent Events: who may have one, where it begins, and what fills it.
//!
//! A class that is watched has one hub ([`crate::stream`]), and for each of its partitions that anybody watches one task
//! asks the leader for what comes next (`feed`): the log of the partition is the truth, and what the leader answers is
//! read from it. So a leader that changes, a connection that breaks or a message that is lost costs a moment and no event.
//! A reader that comes back with the id of its last event is brought up to the hub from the same log (`catch_up`).

mod asked;
mod catch_up;
mod feed;

use std::sync::{Arc, OnceLock};

use oprc_mesh::access::Action;
use oprc_mesh::catalog::{CatalogView, Class};
use oprc_mesh::events::Cursor;
use oprc_mesh::id::{ClassName, ObjectId};
use oprc_mesh::outcome::{Code, Effect};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(crate) use self::asked::Asked;
use self::asked::Since;
use self::catch_up::Late;
use crate::access::Identity;
use crate::app::App;
use crate::call::Call;
use crate::problem::Refusal;
use crate::reply::{Reply, events};
use crate::stream::{End, Filter, Hold, Queue, Scope, Stream, opening};

/// `GET .../objects/{id}/events`.
pub(crate) async fn of_object(
    call: &Call<'_>,
    class: &ClassName,
    object: &ObjectId,
) -> Result<Reply, Refusal> {
    Ok(events(
        watch(call.app, call.identity, call.deadline.at, class, Some(object), Asked::of_object(call)?)
            .await?,
    ))
}

/// `GET /classes/{class}/events`.
pub(crate) async fn of_class(call: &Call<'_>, class: &ClassName) -> Result<Reply, Refusal> {
    Ok(events(watch(call.app, call.identity, call.deadline.at, class, None, Asked::of_class(call)?).await?))
}

/// Begins a stream of the events of an object, or of a class.
pub(crate) async fn watch(
    app: &Arc<App>,
    identity: &Identity,
    deadline: Instant,
    class: &ClassName,
    object: Option<&ObjectId>,
    Asked { prefix, keys, since }: Asked,
) -> Result<Stream, Refusal> {
    let (view, deployed) = app.class(class, deadline).await?;
    let scope = match object {
        None => Scope::Prefix(prefix),
        Some(object) => {
            let group = view.locate(&deployed, class, object).ok_or_else(|| nowhere(class))?.group;
            Scope::Object(object.clone(), group)
        }
    };
    begin((app, identity, deadline), class, (&view, &deployed), Filter { scope, keys }, since).await
}

/// Begins it. It is answered once nothing that is committed from then on can be missed.
async fn begin(
    (app, identity, deadline): (&Arc<App>, &Identity, Instant),
    class: &ClassName,
    (view, deployed): (&CatalogView, &Class),
    filter: Filter,
    since: Since,
) -> Result<Stream, Refusal> {
    if app.stopping.is_cancelled() {
        return Err(over(End::Stopping));
    }
    let seat = app.hubs.seat().ok_or_else(|| full(app.hubs.readers_max()))?;
    let grid = view.grid(&deployed.grid).ok_or_else(|| nowhere(class))?;
    let groups: Vec<u64> = grid.partitions.iter().map(|partition| partition.group).collect();
    let hold = feed::hold(app, class, deployed.id, &groups);
    let wanted = match &filter.scope {
        Scope::Object(_, group) => vec![*group],
        Scope::Prefix(_) => groups,
    };
    feed::follow(app, &hold, &wanted, deadline).await?;
    let cursor = since.cursor(deployed.id, &wanted);
    let queue = hold.hub().queue(cursor.is_some());
    let reader = Arc::new(Reader { hold, filter, queue: queue.clone(), joined: OnceLock::new() });
    let late = CancellationToken::new();
    if identity.may_end() {
        let denied = until_denied(app, identity, class.clone(), queue.clone());
        app.hubs.tasks.spawn(late.clone().run_until_cancelled_owned(denied));
    }
    let seat = (reader.clone(), seat, late.clone().drop_guard());
    match cursor {
        None => {
            let at = reader.join().map_err(over)?;
            queue.push_past(opening(&reader.filter.place(&at).id()));
        }
        Some(cursor) => {
            queue.push_past(opening(&cursor.id()));
            let catching_up = catch_up::run(app.clone(), reader, Late { cursor, groups: wanted });
            app.hubs.tasks.spawn(late.run_until_cancelled_owned(catching_up));
        }
    }
    Ok(Stream::new(queue, seat))
}

/// Ends the stream once its reader may not have it any more.
fn until_denied(
    app: &Arc<App>,
    identity: &Identity,
    class: ClassName,
    queue: Arc<Queue>,
) -> impl Future<Output = ()> + use<> {
    let (app, identity) = (app.clone(), identity.clone());
    async move {
        app.guard.denied(&identity, Action::Read, &class, app.mesh.directory()).await;
        queue.end(End::Denied);
    }
}

/// A reader of a hub, from its first moment to its last.
struct Reader {
    hold: Hold,
    filter: Filter,
    queue: Arc<Queue>,
    /// Its number in the hub, once it gets what is live.
    joined: OnceLock<u64>,
}

impl Reader {
    /// From now on it gets what is live; gives where the class is.
    fn join(&self) -> Result<Cursor, End> {
        let (number, at) = self.hold.hub().join(&self.filter, &self.queue)?;
        let _ = self.joined.set(number); // a reader joins once
        Ok(at)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(number) = self.joined.get() {
            self.hold.hub().leave(&self.filter, *number);
        }
    }
}

fn full(readers_max: usize) -> Refusal {
    let detail = format!("{readers_max} streams of events are read, as many as this gateway takes");
    Refusal::new(Code::Overloaded, detail).effect(Effect::NotRun)
}

fn over(end: End) -> Refusal {
    let detail = match end {
        End::Stopping => "the gateway is stopping",
        End::Slow | End::Removed | End::Moved | End::Denied => "the class changed just now",
    };
    Refusal::new(Code::Unavailable, detail).effect(Effect::NotRun).hint("try again")
}

fn nowhere(class: &ClassName) -> Refusal {
    Refusal::new(Code::Internal, format!("the catalog does not say where the objects of {class} lie"))
}

//! Keeps the [`Directory`](crate::Directory) up to date from what the mesh says: liveliness of nodes, announcements of
//! leaders and of catalog revisions. Each process of a host that shows itself is attended to by a task: greeted until it
//! answers, then asked for all that it knows, and again after a while and when it announces a newer catalog revision.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use prost::Message as _;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};
use zenoh::sample::{Sample, SampleKind};

use crate::config::MeshError;
use crate::id::NodeId;
use crate::keys::{
    ALIVE, ALIVE_BY_ROUTER, CATALOGS, CATALOGS_BY_ROUTER, LEADS, LEADS_BY_ROUTER, inbox_of, node_of,
    reached_by_router,
};
use crate::member::{Member, lost};
use crate::session::{Kept, Link};
use crate::ways::Way;
use crate::wire::{Answer, CatalogRead, Empty, Leads, Op, Revision};

/// How long the first greeting waits for its answer; each further one waits twice as long ...
const GREET_MS: u64 = 250;
/// ... up to this. A question waits as long.
const ASK_MS: u64 = 2_000;
/// Each host is greeted again after so long, in case it went unseen ...
const AGAIN_MS: u64 = 1_000;
/// ... and asked again, in case a notice was lost.
const REFRESH_MS: u64 = 5_000;
/// A host that misses so many greetings in a row is lost, whatever its token says.
const MISSES_MAX: u32 = 2;
/// A host that shows itself on a direct link, and answers nothing on it for so long, needs a new one. Longer than a silent
/// link lasts.
const MUTE_MS: u64 = 5_000;
/// So many processes that stayed mute are remembered.
const MUTE_MAX: usize = 1_024;

/// Subscribes to what the mesh announces and follows it until the mesh closes.
pub(crate) async fn follow(mesh: &Arc<Member>, link: &Link) -> Result<(), MeshError> {
    let shown = Arc::<Mutex<Processes>>::default();
    for key in [LEADS, LEADS_BY_ROUTER] {
        let member = Arc::downgrade(mesh);
        link.receive(key, move |_, message| {
            if let (Some(mesh), Ok(leads)) = (member.upgrade(), Leads::decode(message)) {
                mesh.directory.learn_leader(leads);
            }
        })
        .await?;
    }
    for key in [CATALOGS, CATALOGS_BY_ROUTER] {
        let (member, processes) = (Arc::downgrade(mesh), shown.clone());
        link.receive(key, move |origin, message| {
            if let (Some(mesh), Ok(notice)) = (member.upgrade(), Revision::decode(message))
                && notice.revision > mesh.directory.view().revision
            {
                processes.lock().notify(origin.from);
            }
        })
        .await?;
    }
    watch_nodes(link, mesh, ALIVE, &shown).await?;
    watch_nodes(link, mesh, ALIVE_BY_ROUTER, &shown).await
}

/// The process that a token stands for, and the way on which it is reached.
fn shown_by(key: &str) -> Option<(NodeId, &str, Way)> {
    match reached_by_router(key) {
        Some((router, node, inbox)) => Some((node, inbox, Way::By(router))),
        None => Some((node_of(key)?, inbox_of(key)?, Way::Direct)),
    }
}

/// Follows who shows itself under `tokens`. On a new session nobody does at first.
async fn watch_nodes(
    link: &Link,
    mesh: &Arc<Member>,
    tokens: &'static str,
    shown: &Arc<Mutex<Processes>>,
) -> Result<(), MeshError> {
    let watch = Watch { member: Arc::downgrade(mesh), runtime: Handle::current(), shown: shown.clone() };
    let seen = Arc::<Mutex<BTreeSet<String>>>::default();
    link.declare(Box::new(move |session| {
        let (watch, seen) = (watch.clone(), seen.clone());
        for key in std::mem::take(&mut *seen.lock()) {
            watch.note(&key, SampleKind::Delete);
        }
        let receive = move |sample: Sample| {
            let key = sample.key_expr().as_str();
            match sample.kind() {
                SampleKind::Put => seen.lock().insert(key.to_owned()),
                SampleKind::Delete => seen.lock().remove(key),
            };
            watch.note(key, sample.kind());
        };
        Box::pin(async move {
            let liveliness = session.liveliness();
            let subscriber = liveliness.declare_subscriber(tokens).history(true).callback(receive).await;
            Ok(Box::new(subscriber.map_err(|source| MeshError::Declare { key: tokens.into(), source })?)
                as Kept)
        })
    }))
    .await
}

/// What is done about tokens that come and go.
#[derive(Clone)]
struct Watch {
    member: Weak<Member>,
    runtime: Handle,
    shown: Arc<Mutex<Processes>>,
}

impl Watch {
    fn note(&self, key: &str, kind: SampleKind) {
        let (Some(mesh), Some((node, inbox, way))) = (self.member.upgrade(), shown_by(key)) else { return };
        if Some(node) == mesh.node {
            return;
        }
        tracing::debug!(%node, inbox, ?way, ?kind, "a host shows itself or goes");
        let mut processes = self.shown.lock(); // kept, so that the directory changes in the same order
        let change = match kind {
            SampleKind::Put => processes.come(node, inbox, way),
            SampleKind::Delete => processes.go(node, inbox, way),
        };
        match change {
            Change::Replaced(_) | Change::Went => lose(&mesh, node),
            // what went that way gets no answer any more
            Change::Rerouted(next) if mesh.ways.to(node) == way => {
                mesh.ways.set(node, next);
                mesh.pending.fail(node, &lost(node));
            }
            _ => {}
        }
        if let Change::Replaced(news) | Change::Came(news) = change {
            let guest = Guest { node, inbox: inbox.to_owned(), news, shown: self.shown.clone() };
            let closing = mesh.closing.clone();
            let attending = closing.run_until_cancelled_owned(attend(self.member.clone(), guest));
            mesh.tasks.spawn_on(attending, &self.runtime);
        }
    }
}

fn lose(mesh: &Member, node: NodeId) {
    mesh.directory.lose_node(node);
    mesh.ways.set(node, Way::Direct);
    mesh.pending.fail(node, &lost(node));
}

/// A process of a host that showed itself.
struct Guest {
    node: NodeId,
    inbox: String,
    /// It announced something that is not known here.
    news: Arc<Notify>,
    shown: Arc<Mutex<Processes>>,
}

/// Sees to a process until it is gone. Only one that answers counts its host among the living: Zenoh may tell of a process
/// before it has a route to it, and would drop what is sent until then, or forget to tell that it went.
async fn attend(mesh: Weak<Member>, guest: Guest) {
    let (mut patience_ms, mut misses) = (GREET_MS, 0);
    let (mut asked, mut mute_since) = (None, None);
    loop {
        let Some(mesh) = mesh.upgrade() else { return };
        let greeted = guest.greet(&mesh, Duration::from_millis(patience_ms)).await;
        misses = if greeted.by.is_some() { 0 } else { misses + 1 };
        tracing::trace!(node = %guest.node, by = ?greeted.by, misses, "a host was greeted");
        if !guest.settle(&mesh, misses) {
            return;
        }
        mute_since = greeted.mute.then(|| mute_since.unwrap_or_else(Instant::now));
        if guest.is_split(mute_since, greeted.by) {
            renew(&mesh, guest.node);
        }
        if greeted.by.is_some() {
            patience_ms = ASK_MS;
            if asked.is_none_or(|asked: Instant| asked.elapsed() >= Duration::from_millis(REFRESH_MS)) {
                asked = ask(&mesh, guest.node).await.then(Instant::now);
            }
            drop(mesh);
            if timeout(Duration::from_millis(AGAIN_MS), guest.news.notified()).await.is_ok() {
                asked = None;
            }
        } else {
            patience_ms = (2 * patience_ms).min(ASK_MS);
            drop(mesh);
            sleep_until(greeted.until).await; // the greeting may have failed at once
        }
    }
}

/// What became of a greeting.
struct Greeted {
    /// The way on which it was answered.
    by: Option<Way>,
    /// There is a direct way, and on it there was no answer.
    mute: bool,
    /// Until when the last one was to be answered.
    until: Instant,
}

/// A link on which a host shows itself and never answers is one that its two ends disagree on; see [`Link`].
fn renew(mesh: &Arc<Member>, node: NodeId) {
    let Some(link) = &mesh.link else { return };
    tracing::warn!(%node, "a host shows itself alive and does not answer: all links are made anew");
    let (member, seen, closing) = (mesh.clone(), link.generation(), mesh.closing.clone());
    let renewing = async move {
        if let Some(link) = &member.link {
            link.renew(seen).await;
        }
    };
    mesh.tasks.spawn(closing.run_until_cancelled_owned(renewing));
}

impl Guest {
    /// Greets it by every way, the best first, until it answers, and takes that way from then on.
    async fn greet(&self, mesh: &Member, patience: Duration) -> Greeted {
        let ways = self.shown.lock().ways(self.node, &self.inbox);
        let mut greeted = Greeted { by: None, mute: false, until: Instant::now() };
        for way in ways {
            greeted.until = Instant::now() + patience;
            if mesh.greet(way, self.node, greeted.until).await {
                let shown = self.shown.lock(); // kept, so that it cannot go before it is taken
                if shown.ways(self.node, &self.inbox).contains(&way) && mesh.ways.set(self.node, way) {
                    tracing::info!(node = %self.node, ?way, "a host is reached in another way");
                }
                greeted.by = Some(way);
                break;
            }
            greeted.mute |= way == Way::Direct;
        }
        greeted
    }

    /// Learns or loses its host, depending on how many greetings it missed; whether it still shows itself.
    fn settle(&self, mesh: &Member, misses: u32) -> bool {
        let shown = self.shown.lock(); // kept, so that it cannot go before it is learned
        if !shown.has(self.node, &self.inbox) {
            return false;
        }
        if misses == 0 {
            mesh.directory.learn_node(self.node);
        } else if misses >= MISSES_MAX && mesh.directory.is_alive(self.node) {
            tracing::warn!(node = %self.node, "a host shows itself alive and does not answer");
            lose(mesh, self.node);
        }
        true
    }

    /// Whether the link to it has to be made anew: it has been mute since then. Once, until it answers; if that did not
    /// help, it is the process.
    fn is_split(&self, mute_since: Option<Instant>, answered_by: Option<Way>) -> bool {
        let mut shown = self.shown.lock();
        if answered_by == Some(Way::Direct) {
            shown.mute.remove(&self.inbox);
        }
        let Some(since) = mute_since else { return false };
        if since.elapsed() < Duration::from_millis(MUTE_MS) {
            return false;
        }
        if shown.mute.len() >= MUTE_MAX {
            shown.mute.clear();
        }
        shown.mute.insert(self.inbox.clone())
    }
}

/// Whether it told.
async fn ask(mesh: &Member, node: NodeId) -> bool {
    let deadline = Instant::now() + Duration::from_millis(ASK_MS);
    match mesh.call(node, Op::ReadCatalog(Empty {}), deadline).await {
        Ok(Answer::Catalog(CatalogRead { view, leads })) => {
            for leads in leads {
                mesh.directory.learn_leader(leads);
            }
            mesh.directory.learn_view(Arc::new(view));
            return true;
        }
        Ok(_) => tracing::warn!(%node, "a host answered a question for the catalog with something else"),
        Err(problem) => tracing::debug!(%node, %problem, "a host did not tell its catalog"),
    }
    false
}

/// The processes that show themselves alive, each with the ways on which it does. A host that was started anew may be seen
/// before its old process is missed, so that what comes and goes is a process.
#[derive(Default)]
struct Processes {
    shown: BTreeMap<NodeId, BTreeMap<String, Process>>,
    /// For these all links were made anew, and they have not answered since.
    mute: BTreeSet<String>,
}

#[derive(Default)]
struct Process {
    news: Arc<Notify>,
    ways: BTreeSet<Way>,
}

/// What a process that comes or goes on one way means for its host.
#[derive(Debug)]
enum Change {
    None,
    Came(Arc<Notify>),
    /// Another process stands for it now; the one before is gone, or soon will be.
    Replaced(Arc<Notify>),
    /// One way is closed; this is the best that is left.
    Rerouted(Way),
    Went,
}

impl Processes {
    fn has(&self, node: NodeId, inbox: &str) -> bool {
        self.shown.get(&node).is_some_and(|own| own.contains_key(inbox))
    }

    /// The best one first; none once it is gone.
    fn ways(&self, node: NodeId, inbox: &str) -> Vec<Way> {
        let process = self.shown.get(&node).and_then(|own| own.get(inbox));
        process.map(|process| process.ways.iter().copied().collect()).unwrap_or_default()
    }

    fn notify(&self, node: NodeId) {
        for process in self.shown.get(&node).into_iter().flat_map(BTreeMap::values) {
            process.news.notify_one();
        }
    }

    fn come(&mut self, node: NodeId, inbox: &str, way: Way) -> Change {
        let own = self.shown.entry(node).or_default();
        if let Some(process) = own.get_mut(inbox) {
            if process.ways.insert(way) {
                process.news.notify_one(); // it may be the better one
            }
            return Change::None;
        }
        let first = own.is_empty();
        let process = Process { ways: [way].into(), ..Process::default() };
        let news = process.news.clone();
        own.insert(inbox.to_owned(), process);
        if first { Change::Came(news) } else { Change::Replaced(news) }
    }

    fn go(&mut self, node: NodeId, inbox: &str, way: Way) -> Change {
        let Some(own) = self.shown.get_mut(&node) else { return Change::None };
        let Some(process) = own.get_mut(inbox) else { return Change::None };
        process.ways.remove(&way);
        if let Some(next) = process.ways.first() {
            process.news.notify_one();
            return Change::Rerouted(*next);
        }
        own.remove(inbox);
        if own.is_empty() {
            self.shown.remove(&node);
            Change::Went
        } else {
            Change::None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::RouterId;

    const HOST: NodeId = NodeId(1);
    const DIRECT: Way = Way::Direct;
    const ROUTED: Way = Way::By(RouterId(7));

    #[test]
    fn a_host_started_anew_before_its_old_process_is_missed_stays() {
        let mut alive = Processes::default();
        assert!(matches!(alive.come(HOST, "old", DIRECT), Change::Came(_)));
        assert!(matches!(alive.come(HOST, "new", DIRECT), Change::Replaced(_)));
        assert!(matches!(alive.go(HOST, "old", DIRECT), Change::None));
        assert!(alive.has(HOST, "new") && !alive.has(HOST, "old"));
        assert!(matches!(alive.go(HOST, "new", DIRECT), Change::Went));
        assert!(matches!(alive.come(HOST, "new", DIRECT), Change::Came(_)));
    }

    #[test]
    fn what_is_said_twice_or_never_came_changes_nothing() {
        let mut alive = Processes::default();
        assert!(matches!(alive.go(HOST, "never", DIRECT), Change::None));
        assert!(matches!(alive.come(HOST, "one", DIRECT), Change::Came(_)));
        assert!(matches!(alive.come(HOST, "one", DIRECT), Change::None));
    }

    #[test]
    fn a_process_is_there_as_long_as_one_way_leads_to_it() {
        let mut alive = Processes::default();
        assert!(matches!(alive.come(HOST, "one", ROUTED), Change::Came(_)));
        assert!(matches!(alive.come(HOST, "one", DIRECT), Change::None));
        assert_eq!(alive.ways(HOST, "one"), [DIRECT, ROUTED]);
        assert!(matches!(alive.go(HOST, "one", DIRECT), Change::Rerouted(ROUTED)));
        assert!(matches!(alive.go(HOST, "one", ROUTED), Change::Went));
        assert!(alive.ways(HOST, "one").is_empty());
    }
}

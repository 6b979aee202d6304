//! Keeps the [`Directory`](crate::Directory) up to date from what the mesh says: liveliness of nodes, announcements of
//! leaders and of catalog revisions. Each process of a host that shows itself is attended to by a task: greeted until it
//! answers, then asked for all that it knows, and again after a while and when it announces a newer catalog revision.

use std::collections::BTreeMap;
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
use crate::keys::{ALIVE, CATALOGS, LEADS, inbox_of, node_of};
use crate::member::{Member, lost};
use crate::session::Link;
use crate::wire::{Answer, CatalogRead, Empty, Leads, Op, Revision};

/// How long the first greeting waits for its answer; each further one waits twice as long ...
const GREET_MS: u64 = 250;
/// ... up to this. A question waits as long.
const ASK_MS: u64 = 2_000;
/// Each host is greeted and asked again after so long, in case a notice was lost.
const REFRESH_MS: u64 = 5_000;
/// A host that misses so many greetings in a row is lost, whatever its token says.
const MISSES_MAX: u32 = 2;

/// Subscribes to what the mesh announces and follows it until the mesh closes.
pub(crate) async fn follow(mesh: &Arc<Member>, link: &Link) -> Result<(), MeshError> {
    let shown = Arc::<Mutex<Processes>>::default();
    let member = Arc::downgrade(mesh);
    link.receive(LEADS, move |_, message| {
        if let (Some(mesh), Ok(leads)) = (member.upgrade(), Leads::decode(message)) {
            mesh.directory.learn_leader(leads);
        }
    })
    .await?;
    let (member, processes) = (Arc::downgrade(mesh), shown.clone());
    link.receive(CATALOGS, move |from, message| {
        if let (Some(mesh), Ok(notice)) = (member.upgrade(), Revision::decode(message))
            && notice.revision > mesh.directory.view().revision
        {
            processes.lock().notify(from);
        }
    })
    .await?;
    watch_nodes(link, mesh, shown).await
}

async fn watch_nodes(link: &Link, mesh: &Arc<Member>, shown: Arc<Mutex<Processes>>) -> Result<(), MeshError> {
    let (member, runtime) = (Arc::downgrade(mesh), Handle::current());
    let receive = move |sample: Sample| {
        let key = sample.key_expr().as_str();
        let (Some(mesh), Some(node), Some(inbox)) = (member.upgrade(), node_of(key), inbox_of(key)) else {
            return;
        };
        if Some(node) == mesh.node {
            return;
        }
        let mut processes = shown.lock(); // kept, so that the directory changes in the same order
        let change = match sample.kind() {
            SampleKind::Put => processes.come(node, inbox),
            SampleKind::Delete => processes.go(node, inbox),
        };
        if matches!(change, Change::Replaced(_) | Change::Went) {
            lose(&mesh, node);
        }
        if let Change::Replaced(news) | Change::Came(news) = change {
            let guest = Guest { node, inbox: inbox.to_owned(), news, shown: shown.clone() };
            let closing = mesh.closing.clone();
            mesh.tasks.spawn_on(closing.run_until_cancelled_owned(attend(member.clone(), guest)), &runtime);
        }
    };
    let declared = link
        .session
        .liveliness()
        .declare_subscriber(ALIVE)
        .history(true)
        .callback(receive)
        .background()
        .await;
    declared.map_err(|source| MeshError::Declare { key: ALIVE.into(), source })
}

fn lose(mesh: &Member, node: NodeId) {
    mesh.directory.lose_node(node);
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
    loop {
        let Some(mesh) = mesh.upgrade() else { return };
        let deadline = Instant::now() + Duration::from_millis(patience_ms);
        let answered = mesh.exchange(guest.node, None, deadline).await.is_ok();
        misses = if answered { 0 } else { misses + 1 };
        if !guest.settle(&mesh, misses) {
            return;
        }
        if answered {
            patience_ms = ASK_MS;
            ask(&mesh, guest.node).await;
            drop(mesh);
            let _ = timeout(Duration::from_millis(REFRESH_MS), guest.news.notified()).await;
        } else {
            patience_ms = (2 * patience_ms).min(ASK_MS);
            drop(mesh);
            sleep_until(deadline).await; // the greeting may have failed at once
        }
    }
}

impl Guest {
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
}

async fn ask(mesh: &Member, node: NodeId) {
    let deadline = Instant::now() + Duration::from_millis(ASK_MS);
    match mesh.call(node, Op::ReadCatalog(Empty {}), deadline).await {
        Ok(Answer::Catalog(CatalogRead { view, leads })) => {
            for leads in leads {
                mesh.directory.learn_leader(leads);
            }
            mesh.directory.learn_view(Arc::new(view));
        }
        Ok(_) => tracing::warn!(%node, "a host answered a question for the catalog with something else"),
        Err(problem) => tracing::debug!(%node, %problem, "a host did not tell its catalog"),
    }
}

/// The processes that show themselves alive. A host that was started anew may be seen before its old process is missed, so
/// that what comes and goes is a process.
#[derive(Default)]
struct Processes(BTreeMap<NodeId, BTreeMap<String, Arc<Notify>>>);

/// What a process that comes or goes means for its host.
#[derive(Debug)]
enum Change {
    None,
    Came(Arc<Notify>),
    /// Another process stands for it now; the one before is gone, or soon will be.
    Replaced(Arc<Notify>),
    Went,
}

impl Processes {
    fn has(&self, node: NodeId, inbox: &str) -> bool {
        self.0.get(&node).is_some_and(|own| own.contains_key(inbox))
    }

    fn notify(&self, node: NodeId) {
        for news in self.0.get(&node).into_iter().flat_map(BTreeMap::values) {
            news.notify_one();
        }
    }

    fn come(&mut self, node: NodeId, inbox: &str) -> Change {
        let own = self.0.entry(node).or_default();
        if own.contains_key(inbox) {
            return Change::None;
        }
        let news = Arc::<Notify>::default();
        let first = own.is_empty();
        own.insert(inbox.to_owned(), news.clone());
        if first { Change::Came(news) } else { Change::Replaced(news) }
    }

    fn go(&mut self, node: NodeId, inbox: &str) -> Change {
        let Some(own) = self.0.get_mut(&node) else { return Change::None };
        own.remove(inbox);
        if own.is_empty() {
            self.0.remove(&node);
            Change::Went
        } else {
            Change::None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: NodeId = NodeId(1);

    #[test]
    fn a_host_started_anew_before_its_old_process_is_missed_stays() {
        let mut alive = Processes::default();
        assert!(matches!(alive.come(HOST, "old"), Change::Came(_)));
        assert!(matches!(alive.come(HOST, "new"), Change::Replaced(_)));
        assert!(matches!(alive.go(HOST, "old"), Change::None));
        assert!(alive.has(HOST, "new") && !alive.has(HOST, "old"));
        assert!(matches!(alive.go(HOST, "new"), Change::Went));
        assert!(matches!(alive.come(HOST, "new"), Change::Came(_)));
    }

    #[test]
    fn what_is_said_twice_or_never_came_changes_nothing() {
        let mut alive = Processes::default();
        assert!(matches!(alive.go(HOST, "never"), Change::None));
        assert!(matches!(alive.come(HOST, "one"), Change::Came(_)));
        assert!(matches!(alive.come(HOST, "one"), Change::None));
    }
}

//! Keeps the [`Directory`](crate::Directory) up to date from what the mesh says: liveliness of nodes, announcements of
//! leaders and of catalog revisions. A node that appears and answers is asked once for all that it knows; a notice that names
//! a newer catalog revision is followed by asking its sender.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::future::join_all;
use parking_lot::Mutex;
use prost::Message as _;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::Instant;
use zenoh::sample::{Sample, SampleKind};

use crate::config::MeshError;
use crate::id::NodeId;
use crate::keys::{ALIVE, CATALOGS, LEADS, inbox_of, node_of};
use crate::member::{Member, lost};
use crate::session::Link;
use crate::wire::{Answer, CatalogRead, Empty, Leads, Op, Revision};

/// Questions to nodes that may wait; a burst past it is made good by the next refresh.
const NOTICES_MAX: usize = 1_024;
/// How long one question may take.
const ASK_MS: u64 = 2_000;
/// How long the first greeting waits for its answer; each further one waits twice as long, up to [`ASK_MS`].
const GREET_MS: u64 = 250;
/// Each node is asked again after so long without news, in case a notice was lost.
const REFRESH_MS: u64 = 5_000;

/// Subscribes to what the mesh announces and starts the task that follows it.
pub(crate) async fn follow(mesh: &Arc<Member>, link: &Link) -> Result<(), MeshError> {
    let (ask, questions) = mpsc::channel(NOTICES_MAX);
    let member = Arc::downgrade(mesh);
    link.receive(LEADS, move |_, message| {
        if let (Some(mesh), Ok(leads)) = (member.upgrade(), Leads::decode(message)) {
            mesh.directory.learn_leader(leads);
        }
    })
    .await?;
    let (member, asking) = (Arc::downgrade(mesh), ask.clone());
    link.receive(CATALOGS, move |from, message| {
        if let (Some(mesh), Ok(notice)) = (member.upgrade(), Revision::decode(message))
            && notice.revision > mesh.directory.view().revision
        {
            let _ = asking.try_send(from); // full: the refresh comes
        }
    })
    .await?;
    watch_nodes(link, mesh, ask).await?;
    let closing = mesh.closing.clone();
    mesh.tasks.spawn(closing.run_until_cancelled_owned(learn(Arc::downgrade(mesh), questions)));
    Ok(())
}

async fn watch_nodes(link: &Link, mesh: &Arc<Member>, ask: mpsc::Sender<NodeId>) -> Result<(), MeshError> {
    let shown = Arc::new(Mutex::new(Processes::default()));
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
        if matches!(change, Change::Replaced | Change::Went) {
            mesh.directory.lose_node(node);
            mesh.pending.fail(node, &lost(node));
        }
        if matches!(change, Change::Replaced | Change::Came) {
            let guest = Guest { node, inbox: inbox.to_owned(), shown: shown.clone(), ask: ask.clone() };
            let closing = mesh.closing.clone();
            mesh.tasks.spawn_on(closing.run_until_cancelled_owned(greet(member.clone(), guest)), &runtime);
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

/// A process that showed itself.
struct Guest {
    node: NodeId,
    inbox: String,
    shown: Arc<Mutex<Processes>>,
    ask: mpsc::Sender<NodeId>,
}

impl Guest {
    /// Whether it need not be greeted any more: it answered, or it is gone.
    fn settle(&self, mesh: &Member, answered: bool) -> bool {
        let shown = self.shown.lock(); // kept, so that it cannot be lost before it is learned
        if !shown.has(self.node, &self.inbox) {
            return true;
        }
        if answered {
            mesh.directory.learn_node(self.node);
            let _ = self.ask.try_send(self.node); // full: the refresh comes
        }
        answered
    }
}

/// Greets a process until it answers, and only then counts its host among the living: Zenoh may tell of a process before
/// it has a route to it, and would drop what is sent until then.
async fn greet(mesh: Weak<Member>, guest: Guest) {
    let mut patience_ms = GREET_MS;
    loop {
        let Some(mesh) = mesh.upgrade() else { return };
        let deadline = Instant::now() + Duration::from_millis(patience_ms);
        let answered = mesh.exchange(guest.node, None, deadline).await.is_ok();
        if guest.settle(&mesh, answered) {
            return;
        }
        drop(mesh);
        tokio::time::sleep_until(deadline).await; // it may have failed at once
        patience_ms = (2 * patience_ms).min(ASK_MS);
    }
}

/// The processes that show themselves alive. A host that was started anew may be seen before its old process is missed, so
/// that what comes and goes is a process, and a host is alive with any of its own.
#[derive(Default)]
struct Processes(BTreeMap<NodeId, BTreeSet<String>>);

/// What a process that comes or goes means for its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    None,
    Came,
    /// Another process stands for it now; the one before is gone, or soon will be.
    Replaced,
    Went,
}

impl Processes {
    fn has(&self, node: NodeId, inbox: &str) -> bool {
        self.0.get(&node).is_some_and(|own| own.contains(inbox))
    }

    fn come(&mut self, node: NodeId, inbox: &str) -> Change {
        let own = self.0.entry(node).or_default();
        let first = own.is_empty();
        match own.insert(inbox.to_owned()) {
            true if first => Change::Came,
            true => Change::Replaced,
            false => Change::None,
        }
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

/// Asks nodes what they know: those named in `questions`, and all of them when nothing was said for a while. Ends when
/// the mesh is gone.
async fn learn(mesh: Weak<Member>, mut questions: mpsc::Receiver<NodeId>) {
    loop {
        let asked = tokio::time::timeout(Duration::from_millis(REFRESH_MS), questions.recv()).await;
        let Some(mesh) = mesh.upgrade() else { return };
        let mut nodes: BTreeSet<NodeId> = match asked {
            Ok(Some(node)) => BTreeSet::from([node]),
            Ok(None) => return,
            Err(_) => mesh.directory.nodes(),
        };
        while let Ok(node) = questions.try_recv() {
            nodes.insert(node);
        }
        // together, so that one that is slow to answer keeps nobody waiting
        join_all(nodes.into_iter().map(|node| ask(&mesh, node))).await;
    }
}

async fn ask(mesh: &Arc<Member>, node: NodeId) {
    if Some(node) == mesh.node {
        return;
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: NodeId = NodeId(1);

    #[test]
    fn a_host_started_anew_before_its_old_process_is_missed_stays_alive() {
        let mut alive = Processes::default();
        assert_eq!(alive.come(HOST, "old"), Change::Came);
        assert_eq!(alive.come(HOST, "new"), Change::Replaced);
        assert_eq!(alive.go(HOST, "old"), Change::None);
        assert_eq!(alive.go(HOST, "new"), Change::Went);
        assert_eq!(alive.come(HOST, "new"), Change::Came);
    }

    #[test]
    fn what_is_said_twice_or_never_came_changes_nothing() {
        let mut alive = Processes::default();
        assert_eq!(alive.go(HOST, "never"), Change::None);
        assert_eq!(alive.come(HOST, "one"), Change::Came);
        assert_eq!(alive.come(HOST, "one"), Change::None);
    }
}

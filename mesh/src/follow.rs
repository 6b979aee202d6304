//! Keeps the [`Directory`](crate::Directory) up to date from what the mesh says: liveliness of nodes, announcements of
//! leaders and of catalog revisions. A node that appears is asked once for all that it knows; a notice that names a
//! newer catalog revision is followed by asking its sender.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use prost::Message as _;
use tokio::sync::mpsc;
use tokio::time::Instant;
use zenoh::sample::{Sample, SampleKind};

use crate::config::MeshError;
use crate::id::NodeId;
use crate::member::{Member, lost};
use crate::session::{ALIVE, CATALOGS, GROUPS, Link, node_of};
use crate::wire::{Answer, CatalogRead, Empty, Leads, Op, Revision};

/// Questions to nodes that may wait; a burst past it is made good by the next refresh.
const NOTICES_MAX: usize = 1_024;
/// How long one question may take.
const ASK_MS: u64 = 2_000;
/// Each node is asked again after so long without news, in case a notice was lost.
const REFRESH_MS: u64 = 5_000;

/// Subscribes to what the mesh announces and starts the task that follows it.
pub(crate) async fn follow(mesh: &Arc<Member>, link: &Link) -> Result<(), MeshError> {
    let (ask, questions) = mpsc::channel(NOTICES_MAX);
    subscribe(link, GROUPS, Arc::downgrade(mesh), |mesh, sample| {
        if let Ok(leads) = Leads::decode(&*sample.payload().to_bytes()) {
            mesh.directory.learn_leader(leads);
        }
    })
    .await?;
    let asking = ask.clone();
    subscribe(link, CATALOGS, Arc::downgrade(mesh), move |mesh, sample| {
        let Ok(notice) = Revision::decode(&*sample.payload().to_bytes()) else { return };
        if let Some(node) = node_of(sample.key_expr().as_str())
            && notice.revision > mesh.directory.view().revision
        {
            let _ = asking.try_send(node); // full: the refresh comes
        }
    })
    .await?;
    watch_nodes(link, Arc::downgrade(mesh), ask).await?;
    let closing = mesh.closing.clone();
    mesh.tasks.spawn(closing.run_until_cancelled_owned(learn(Arc::downgrade(mesh), questions)));
    Ok(())
}

async fn subscribe(
    link: &Link,
    key: &'static str,
    mesh: Weak<Member>,
    take: impl Fn(&Arc<Member>, &Sample) + Send + Sync + 'static,
) -> Result<(), MeshError> {
    link.subscribe(key, move |sample| {
        if let Some(mesh) = mesh.upgrade() {
            take(&mesh, &sample);
        }
    })
    .await
}

async fn watch_nodes(link: &Link, mesh: Weak<Member>, ask: mpsc::Sender<NodeId>) -> Result<(), MeshError> {
    let receive = move |sample: Sample| {
        let Some(mesh) = mesh.upgrade() else { return };
        let Some(node) = node_of(sample.key_expr().as_str()) else { return };
        if Some(node) == mesh.node {
            return;
        }
        match sample.kind() {
            SampleKind::Put => {
                mesh.directory.learn_node(node);
                let _ = ask.try_send(node); // full: the refresh comes
            }
            SampleKind::Delete => {
                mesh.directory.lose_node(node);
                mesh.pending.fail(node, &lost(node));
            }
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
        for node in nodes {
            ask(&mesh, node).await;
        }
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

//! The catalog as the rest of the host uses it: a copy to read and follow, and commands that go through group 0.

use std::sync::Arc;

use oprc_mesh::catalog::{CatalogView, Class, Node};
use oprc_mesh::id::{ClassName, Digest};
use oprc_mesh::outcome::{Code, Effect, Problem};
use oprc_mesh::wire::Deployed;
use tokio::sync::{oneshot, watch};

use crate::catalog::{CatalogReply, CatalogShared};
use crate::error::OdgmError;
use crate::poison::Poison;
use crate::problem::{not_decided, of_proposal};
use crate::raft::{Command, Group, Reply};
use crate::record::{CatalogChange, CatalogCommand, DeployRecord, RemoveRecord};
use crate::types::NewRevision;

/// The catalog: nodes, grids and classes. Reads are of the local copy; changes return once they are durable and show
/// in it.
pub struct Catalog {
    group: Arc<Group>,
    shared: Arc<CatalogShared>,
    poison: Poison,
}

impl Catalog {
    pub(crate) fn new(group: Arc<Group>, shared: Arc<CatalogShared>, poison: Poison) -> Self {
        Self { group, shared, poison }
    }

    /// The catalog as it is now.
    pub fn view(&self) -> Arc<CatalogView> {
        self.shared.view()
    }

    /// Follows it.
    pub fn watch(&self) -> watch::Receiver<Arc<CatalogView>> {
        self.shared.watch()
    }

    /// The deployments of a class, oldest first.
    ///
    /// # Errors
    /// `not-found` when it is not deployed.
    pub fn versions(&self, class: &ClassName) -> Result<Vec<Class>, Problem> {
        let absent = || Problem::new(Code::NotFound, format!("there is no class {class}"));
        self.shared.with(|state| state.versions(class.as_str())).ok_or_else(absent)
    }

    /// Whether some deployment, the current or an earlier one of any class, is of this component.
    pub fn refers_to(&self, digest: &Digest) -> bool {
        self.shared.with(|state| state.refers_to(digest.as_bytes()))
    }

    /// Deploys a class. The same component with the same settings and methods changes nothing.
    ///
    /// # Errors
    /// `conflict` when it would move to another grid, `invalid` for a grid that cannot be; `not-leader`, `no-quorum`
    /// or `unavailable` with what is known of the effect.
    pub async fn deploy(&self, revision: NewRevision) -> Result<Deployed, Problem> {
        let command = CatalogCommand::Deploy(DeployRecord {
            class: revision.class.as_str().to_owned(),
            digest: bytes::Bytes::copy_from_slice(revision.digest.as_bytes()),
            settings: revision.settings,
            methods: revision.methods,
            generic: revision.generic,
            deployed_at_ms: revision.deployed_at_ms,
        });
        match self.change(command).await.map_err(|problem| problem.on("deploy", &revision.class))? {
            CatalogReply::Deployed(deployed) => Ok(*deployed),
            CatalogReply::Changed(_) => {
                Err(Problem::new(Code::Internal, "the catalog answered another command"))
            }
        }
    }

    /// Removes a class; gives the revision that shows it. Its objects stay and come back with a redeploy, unless
    /// `purge`.
    ///
    /// # Errors
    /// `not-found`; `not-leader`, `no-quorum` or `unavailable` with what is known of the effect.
    pub async fn remove(&self, class: &ClassName, purge: bool) -> Result<u64, Problem> {
        let command = CatalogCommand::Remove(RemoveRecord { class: class.as_str().to_owned(), purge });
        match self.change(command).await.map_err(|problem| problem.on("remove", class))? {
            CatalogReply::Changed(revision) => Ok(revision),
            CatalogReply::Deployed(_) => {
                Err(Problem::new(Code::Internal, "the catalog answered another command"))
            }
        }
    }

    /// Tells the catalog that this host is there.
    pub(crate) async fn set_node(&self, node: Node) -> Result<(), OdgmError> {
        self.change(CatalogCommand::SetNode(node)).await.map(drop).map_err(OdgmError::Catalog)
    }

    async fn change(&self, command: CatalogCommand) -> Result<CatalogReply, Problem> {
        self.poison.check().map_err(|error| Problem::from(error).with_effect(Effect::NotRun))?;
        let change = Command::Catalog(Arc::new(CatalogChange { command: Some(command) }));
        let (tell, told) = oneshot::channel();
        let proposed = self.group.propose(change, move |outcome| drop(tell.send(outcome))).await;
        proposed.map_err(|error| of_proposal(error, &self.poison))?;
        match told.await {
            Ok(Ok(Reply::Catalog(reply))) => reply,
            Ok(Ok(Reply::None | Reply::Commits(_))) => {
                Err(Problem::new(Code::Internal, "the catalog answered as a partition"))
            }
            Ok(Err(error)) => Err(of_proposal(error, &self.poison)),
            Err(_) => Err(not_decided(&self.poison)),
        }
    }
}

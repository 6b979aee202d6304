//! What the driver needs of a Raft group and of the catalog, so that it can be tested without either.

use std::collections::BTreeMap;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use oprc_mesh::id::NodeId;

use super::steps::Step;
use crate::catalog_client::Catalog;
use crate::raft::{Group, MemberError, Members};
use crate::record::CatalogCommand;

/// One replica of a Raft group on this host.
pub(crate) trait Steered: Send + Sync + 'static {
    fn group(&self) -> u64;

    /// The term in which this replica leads and has applied an entry of its own.
    fn leads(&self) -> Option<u64>;

    fn members(&self) -> Members;

    /// Up to which index each replica has the log, as the leader knows it.
    fn matched(&self) -> BTreeMap<u64, u64>;

    /// The last index of this replica's log.
    fn last_index(&self) -> u64;

    /// Takes a step that is the group's own; [`Step::Settle`] is the catalog's.
    fn take(&self, step: Step) -> BoxFuture<'_, Result<(), MemberError>>;
}

impl Steered for Group {
    fn group(&self) -> u64 {
        self.id()
    }

    fn leads(&self) -> Option<u64> {
        self.follow().standing().leads
    }

    fn members(&self) -> Members {
        Group::members(self)
    }

    fn matched(&self) -> BTreeMap<u64, u64> {
        self.progress()
    }

    fn last_index(&self) -> u64 {
        Group::last_index(self)
    }

    fn take(&self, step: Step) -> BoxFuture<'_, Result<(), MemberError>> {
        async move {
            match step {
                Step::AddLearner(node) => self.add_learner(node).await,
                Step::ChangeVoters(voters) => self.change_voters(voters).await,
                Step::DropLearners(nodes) => self.drop_learners(nodes).await,
                Step::Transfer(to) => self.transfer(to).await,
                Step::Settle(_) => Ok(()),
            }
        }
        .boxed()
    }
}

/// The catalog.
pub(crate) trait Registry: Send + Sync + 'static {
    /// Commits a change; an error says why it was refused or not done.
    fn change(&self, command: CatalogCommand) -> BoxFuture<'_, Result<(), String>>;

    /// Makes sure that a host holds whatever a voter of the catalog must.
    fn equip(&self, node: u64) -> BoxFuture<'_, Result<(), String>>;
}

impl Registry for Catalog {
    fn change(&self, command: CatalogCommand) -> BoxFuture<'_, Result<(), String>> {
        async move { self.steer(command).await.map_err(|problem| problem.to_string()) }.boxed()
    }

    fn equip(&self, node: u64) -> BoxFuture<'_, Result<(), String>> {
        async move { Catalog::equip(self, NodeId(node)).await.map_err(|problem| problem.to_string()) }.boxed()
    }
}

//! The catalog as the rest of the host uses it: a copy to read and follow, and commands that go through group 0.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use oprc_mesh::access::ChangeKey;
use oprc_mesh::catalog::{CatalogView, Class, Founding, Node, NodeState};
use oprc_mesh::id::{ClassName, Digest, NodeId};
use oprc_mesh::outcome::{Code, Effect, Problem};
use oprc_mesh::wire::{Deployed, GridQuestion, GridReply, Propose, Proposed};
use prost::Message as _;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::ask::{Asker, strange};
use crate::catalog::{CatalogReply, CatalogShared, CatalogState};
use crate::poison::Poison;
use crate::problem::{cut_off, not_decided, of_proposal};
use crate::raft::{Command, Group, Reply};
use crate::record::{
    CanaryRecord, CatalogChange, CatalogCommand, DeployRecord, PromoteRecord, RemoveRecord, RollbackRecord,
    StateChange,
};
use crate::types::NewRevision;

/// How long a change may take, unless its caller says otherwise.
const CHANGE_MS: u64 = 10_000;
/// How long a new voter may take to fetch the components of all classes, before it is tried again.
const EQUIP_MS: u64 = 60_000;
/// Between two tries when nobody is known to lead.
const RETRY_MS: u64 = 50;

/// The catalog: nodes, grids and classes. Reads are of the local copy; changes go to the host that leads it, and return
/// once they are durable and show in the local copy.
pub struct Catalog {
    group: Arc<Group>,
    shared: Arc<CatalogShared>,
    poison: Poison,
    asker: Asker,
    stop: CancellationToken,
}

impl Catalog {
    pub(crate) fn new(
        group: Arc<Group>,
        shared: Arc<CatalogShared>,
        poison: Poison,
        asker: Asker,
        stop: CancellationToken,
    ) -> Self {
        Self { group, shared, poison, asker, stop }
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

    /// The components of all deployments, as the local copy knows them.
    pub fn components(&self) -> BTreeSet<bytes::Bytes> {
        self.shared.with(CatalogState::components)
    }

    /// Milliseconds since the local copy surely held all that was acknowledged; none when it has not since the start.
    pub fn stale_ms(&self) -> Option<u64> {
        self.group.stale_ms()
    }

    /// Deploys a class, or a canary of one. The same component with the same settings and methods changes nothing.
    ///
    /// # Errors
    /// `conflict` when it would move to another grid or break callers, or when there is a canary; `invalid` for a grid or a share
    /// that cannot be; `not-found` for a canary of no class; `not-leader`, `no-quorum` or `unavailable` with what is known of the
    /// effect.
    pub async fn deploy(&self, revision: NewRevision) -> Result<Deployed, Problem> {
        let deploy = DeployRecord {
            class: revision.class.as_str().to_owned(),
            digest: bytes::Bytes::copy_from_slice(revision.digest.as_bytes()),
            settings: revision.settings,
            methods: revision.methods,
            generic: revision.generic,
            serves_http: revision.serves_http,
            deployed_at_ms: revision.deployed_at_ms,
            keep_methods: !revision.force,
        };
        let command = match revision.canary {
            None => CatalogCommand::Deploy(deploy),
            Some(share) => CatalogCommand::Canary(CanaryRecord { deploy, share }),
        };
        deployed(self.change(command).await.map_err(|problem| problem.on("deploy", &revision.class))?)
    }

    /// Makes a class's canary the class.
    ///
    /// # Errors
    /// `not-found`, `conflict` when it has none; `not-leader`, `no-quorum` or `unavailable` with what is known of the effect.
    pub async fn promote(&self, class: &ClassName, at_ms: u64) -> Result<Deployed, Problem> {
        let record = PromoteRecord { class: class.as_str().to_owned(), at_ms };
        let changed = self.change(CatalogCommand::Promote(record)).await;
        deployed(changed.map_err(|problem| problem.on("promote", class))?)
    }

    /// What a rollback to version `to` would bring back, as this host knows the class; without `to`, one to the
    /// version before, or to the current one if that has a canary.
    ///
    /// # Errors
    /// `not-found` for a class or version that is not there, `conflict` when there is none before.
    pub fn rollback_target(&self, class: &ClassName, to: Option<u64>) -> Result<Class, Problem> {
        self.shared.rollback_target(class.as_str(), to.unwrap_or(0))
    }

    /// Deploys an earlier version of a class again, as a new version: `to`, or the one before the current one, whichever
    /// that is when the catalog decides it.
    ///
    /// # Errors
    /// As [`Self::rollback_target`]; `not-leader`, `no-quorum` or `unavailable` with what is known of the effect.
    pub async fn rollback(
        &self,
        class: &ClassName,
        to: Option<u64>,
        at_ms: u64,
    ) -> Result<Deployed, Problem> {
        let record = RollbackRecord { class: class.as_str().to_owned(), to: to.unwrap_or(0), at_ms };
        let changed = self.change(CatalogCommand::Rollback(record)).await;
        deployed(changed.map_err(|problem| problem.on("roll back", class))?)
    }

    /// Removes a class; gives the revision that shows it. Its objects stay and come back with a redeploy, unless
    /// `purge`.
    ///
    /// # Errors
    /// `not-found`; `not-leader`, `no-quorum` or `unavailable` with what is known of the effect.
    pub async fn remove(&self, class: &ClassName, purge: bool) -> Result<u64, Problem> {
        let command = CatalogCommand::Remove(RemoveRecord { class: class.as_str().to_owned(), purge });
        changed(&self.change(command).await.map_err(|problem| problem.on("remove", class))?)
    }

    /// Changes what is expected of a host: an operator's wish, or, with `from`, only if it is in that state.
    ///
    /// # Errors
    /// `not-found`; `conflict` when it cannot be, with what would help; `not-leader`, `no-quorum` or `unavailable`.
    pub async fn set_node_state(&self, node: NodeId, state: NodeState) -> Result<u64, Problem> {
        let change = StateChange { node: node.0, state: state as i32, from: None };
        let operation = match state {
            NodeState::Draining => "drain",
            NodeState::Removed => "remove",
            NodeState::Live | NodeState::Down => "change",
        };
        let reply = self.change(CatalogCommand::SetState(change)).await;
        changed(&reply.map_err(|problem| problem.on(operation, node))?)
    }

    /// Makes, changes or revokes a key; gives the revision that shows it.
    ///
    /// # Errors
    /// `invalid` for what is no key; `conflict` when there is another one of that name, or too many; `not-found`;
    /// `not-leader`, `no-quorum` or `unavailable` with what is known of the effect.
    pub async fn change_key(&self, change: ChangeKey) -> Result<u64, Problem> {
        changed(&self.change(CatalogCommand::ChangeKey(change)).await?)
    }

    /// Tells the catalog that this host is there; gives the revision that shows it.
    pub(crate) async fn set_node(&self, node: Node) -> Result<u64, Problem> {
        changed(&self.change(CatalogCommand::SetNode(node)).await?)
    }

    /// Begins the cluster.
    pub(crate) async fn found(&self, founding: Founding) -> Result<u64, Problem> {
        changed(&self.change(CatalogCommand::Found(founding)).await?)
    }

    /// Commits what the control of memberships decided.
    pub(crate) async fn steer(&self, command: CatalogCommand) -> Result<(), Problem> {
        self.change(command).await.map(drop)
    }

    /// Makes sure that a host holds the components of all classes: a voter of the catalog must, so that a majority of the
    /// voters has whatever a class needs.
    ///
    /// # Errors
    /// It could not be given one in time; those that it has it keeps.
    pub(crate) async fn equip(&self, node: NodeId) -> Result<(), Problem> {
        let deadline = Instant::now() + Duration::from_millis(EQUIP_MS);
        for digest in self.components() {
            self.asker.supply(node, digest, deadline).await?;
        }
        Ok(())
    }

    /// Waits until the local copy shows a revision; `false` when it did not by then.
    pub(crate) async fn shows(&self, revision: u64, deadline: Instant) -> bool {
        let mut views = self.watch();
        let shown = views.wait_for(|view| view.revision >= revision);
        matches!(timeout_at(deadline, shown).await, Ok(Ok(_)))
    }

    /// Fails once this host stops, or its storage has failed: nothing is to be waited for any more.
    pub(crate) fn check_going(&self) -> Result<(), Problem> {
        self.poison.check()?;
        if self.stop.is_cancelled() {
            return Err(not_decided(&self.poison).with_effect(Effect::NotRun));
        }
        Ok(())
    }

    /// Changes the catalog wherever it is led.
    async fn change(&self, command: CatalogCommand) -> Result<CatalogReply, Problem> {
        let deadline = Instant::now() + Duration::from_millis(CHANGE_MS);
        let repeatable = is_repeatable(&command);
        let change = Arc::new(CatalogChange { command: Some(command) });
        // nobody: ask this host's own replica
        let mut target: Option<NodeId> = None;
        for turn in 0.. {
            let outcome = match target {
                None => self.propose(change.clone(), deadline).await,
                Some(leader) => self.forward(leader, &change, deadline).await,
            };
            let problem = match outcome {
                Ok(reply) => return Ok(reply),
                Err(problem) => problem,
            };
            if self.check_going().is_err() || !may_repeat(&problem, repeatable, target.is_some()) {
                return Err(problem);
            }
            let asked = target;
            target = self.next_target(asked, problem.leader, turn);
            // hosts that name each other in turn will agree before long
            if target.is_none() || problem.leader == 0 || turn > 2 {
                let next = Instant::now() + Duration::from_millis(RETRY_MS);
                if next >= deadline {
                    return Err(problem);
                }
                tokio::time::sleep_until(next).await;
            }
        }
        Err(not_decided(&self.poison))
    }

    /// Whom to ask next: the leader that was named; else, if this host's replica knew none, other hosts in turn; else
    /// this host's replica again.
    fn next_target(&self, asked: Option<NodeId>, leader: u64, turn: usize) -> Option<NodeId> {
        let me = self.asker.me();
        match (leader, asked) {
            (0, Some(_)) => None,
            (0, None) => {
                let others = self.asker.others();
                (!others.is_empty()).then(|| others[turn % others.len()])
            }
            (leader, asked) => Some(NodeId(leader)).filter(|leader| *leader != me && Some(*leader) != asked),
        }
    }

    async fn forward(
        &self,
        leader: NodeId,
        change: &CatalogChange,
        deadline: Instant,
    ) -> Result<CatalogReply, Problem> {
        let propose = Propose { change: change.encode_to_vec().into() };
        let reply = self.asker.ask(leader, GridQuestion::Propose(propose), deadline).await?;
        let GridReply::Proposed(proposed) = reply else { return Err(strange(leader)) };
        // who reads the local copy next must find the change; a copy that lags is not worth failing for
        self.shows(proposed.revision, deadline).await;
        Ok(match proposed.deployed {
            Some(deployed) => CatalogReply::Deployed(Box::new(deployed)),
            None => CatalogReply::Changed(proposed.revision),
        })
    }

    /// Takes another host's change, if this one leads.
    pub(crate) async fn answer(&self, propose: &Propose, deadline: Instant) -> Result<Proposed, Problem> {
        let bad = |detail: String| Problem::new(Code::Invalid, detail).with_effect(Effect::NotRun);
        let change = CatalogChange::decode(propose.change.clone()).map_err(|error| bad(error.to_string()))?;
        if !change.is_known() {
            return Err(bad("the change of the catalog is of a kind unknown here".to_owned()));
        }
        Ok(match self.propose(Arc::new(change), deadline).await? {
            CatalogReply::Changed(revision) => Proposed { revision, deployed: None },
            CatalogReply::Deployed(deployed) => {
                Proposed { revision: deployed.revision, deployed: Some(*deployed) }
            }
        })
    }

    /// Proposes to this host's own replica.
    async fn propose(&self, change: Arc<CatalogChange>, deadline: Instant) -> Result<CatalogReply, Problem> {
        self.poison.check().map_err(|error| Problem::from(error).with_effect(Effect::NotRun))?;
        if self.group.is_cut_off() {
            return Err(cut_off());
        }
        let (tell, told) = oneshot::channel();
        let proposed =
            self.group.propose(Command::Catalog(change), move |outcome| drop(tell.send(outcome))).await;
        proposed.map_err(|error| of_proposal(error, &self.poison))?;
        let Ok(told) = timeout_at(deadline, told).await else {
            let late = Problem::new(Code::NoQuorum, "the catalog was not decided in time");
            return Err(late.with_effect(Effect::Unknown));
        };
        match told {
            Ok(Ok(Reply::Catalog(reply))) => reply,
            Ok(Ok(Reply::None | Reply::Commits(_) | Reply::Mail(_))) => {
                Err(Problem::new(Code::Internal, "the catalog answered as a partition"))
            }
            Ok(Err(error)) => Err(of_proposal(error, &self.poison)),
            Err(_) => Err(not_decided(&self.poison)),
        }
    }
}

fn deployed(reply: CatalogReply) -> Result<Deployed, Problem> {
    match reply {
        CatalogReply::Deployed(deployed) => Ok(*deployed),
        CatalogReply::Changed(_) => Err(Problem::new(Code::Internal, "the catalog answered another command")),
    }
}

fn changed(reply: &CatalogReply) -> Result<u64, Problem> {
    match reply {
        CatalogReply::Changed(revision) => Ok(*revision),
        CatalogReply::Deployed(_) => {
            Err(Problem::new(Code::Internal, "the catalog answered another command"))
        }
    }
}

/// Whether a command that may have been applied already may be applied again. Those of hosts and placement say what should
/// be, and name the state from which they go where that matters. A deployment or rollback again would undo another one in
/// between, and a removal would find the class gone, or remove its successor: their callers are told that nobody knows.
fn is_repeatable(command: &CatalogCommand) -> bool {
    match command {
        CatalogCommand::Found(_)
        | CatalogCommand::SetNode(_)
        | CatalogCommand::SetState(_)
        | CatalogCommand::Place(_)
        | CatalogCommand::Settle(_) => true,
        // a key that is revoked twice was there once
        CatalogCommand::Deploy(_)
        | CatalogCommand::Rollback(_)
        | CatalogCommand::Canary(_)
        | CatalogCommand::Promote(_)
        | CatalogCommand::Remove(_)
        | CatalogCommand::ChangeKey(_) => false,
    }
}

/// Whether to try again after this problem.
fn may_repeat(problem: &Problem, repeatable: bool, forwarded: bool) -> bool {
    let effect = Effect::try_from(problem.effect).unwrap_or(Effect::Unknown);
    match problem.kind() {
        Code::NotLeader => true,
        // of another cluster: the next host may be of this one
        Code::Denied => forwarded,
        Code::NoQuorum | Code::Unavailable | Code::Overloaded | Code::Deadline | Code::Internal => {
            effect == Effect::NotRun || (effect == Effect::Unknown && repeatable)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_have_happened_is_done_again_only_if_that_changes_nothing() {
        let failed = |code, effect| Problem::new(code, "").with_effect(effect);
        let lost = failed(Code::NoQuorum, Effect::Unknown);
        assert!(may_repeat(&lost, true, true) && !may_repeat(&lost, false, true));
        assert!(may_repeat(&failed(Code::Unavailable, Effect::NotRun), false, true));
        assert!(may_repeat(&failed(Code::NotLeader, Effect::NotRun), false, false));
        // refusals of the catalog itself
        for code in [Code::Conflict, Code::NotFound, Code::Invalid, Code::Unavailable] {
            assert!(!may_repeat(&failed(code, Effect::Unsaid), true, false), "{code:?}");
        }
        let node = CatalogCommand::SetNode(Node::default());
        assert!(is_repeatable(&node) && !is_repeatable(&CatalogCommand::Deploy(DeployRecord::default())));
    }
}

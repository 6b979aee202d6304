//! Asks the other hosts, does what [`super::moves`] says, and makes the catalog know this host.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use oprc_mesh::catalog::{Founding, Node};
use oprc_mesh::id::NodeId;
use oprc_mesh::outcome::{Code, Problem};
use oprc_mesh::wire::{Enlist, Greeting, GridQuestion, GridReply};
use tokio::time::Instant;

use super::moves::{Move, next_move};
use crate::ask::{Asker, strange};
use crate::catalog_client::Catalog;
use crate::error::OdgmError;
use crate::identity::Identity;
use crate::raft::{Exchange, Group};
use crate::store::random;

/// Between two rounds of questions.
const ROUND_MS: u64 = 200;
/// How long a host may take to answer one.
const ASK_MS: u64 = 1_000;
/// What holds a host up is said again after so long.
const SAY_MS: u64 = 10_000;
/// A host makes sure so often that it was not removed without hearing of it.
const SURE_MS: u64 = 5_000;
/// A catalog that has let this host in should reach it by then; else it says again that it is there.
const SHOWN_MS: u64 = 5_000;

/// Returns once another host says that this one was removed from the cluster for good.
pub(crate) async fn removed(bootstrap: &Bootstrap) {
    for turn in 0_usize.. {
        tokio::time::sleep(Duration::from_millis(SURE_MS)).await;
        let others = bootstrap.asker.others();
        let Some(host) = (!others.is_empty()).then(|| others[turn % others.len()]) else { continue };
        let hello = GridQuestion::Hello(bootstrap.identity.greeting());
        if bootstrap.greet(host, hello).await.is_err_and(|problem| problem.kind() == Code::Conflict) {
            return;
        }
    }
}

/// What the bootstrap works with.
pub(crate) struct Bootstrap {
    pub(crate) identity: Arc<Identity>,
    pub(crate) asker: Asker,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) group: Arc<Group>,
    pub(crate) exchange: Arc<Exchange>,
    pub(crate) zone: String,
    /// This host founds alone and at once.
    pub(crate) alone: bool,
    pub(crate) expect: u32,
    pub(crate) replicas: u32,
}

/// Returns once this host is in the catalog, and its copy of the catalog shows it and all that was before.
pub(crate) async fn run(bootstrap: &Bootstrap) -> Result<(), OdgmError> {
    let identity = &bootstrap.identity;
    if identity.cluster() == 0 {
        if bootstrap.alone || !bootstrap.group.is_pristine().await {
            let greeting = identity.enlist(identity.node().0, random())?;
            if greeting.founder != greeting.node {
                let founder = NodeId(greeting.founder);
                let detail =
                    format!("this host stands by host {founder}, which is to found a cluster with it");
                let hint = "start it with the same --expect as before, or with an empty data directory";
                return Err(OdgmError::Catalog(Problem::new(Code::Conflict, detail).hint(hint)));
            }
            identity.found(random())?;
        } else {
            bootstrap.find_cluster().await?;
        }
    }
    bootstrap.exchange.set_cluster(identity.cluster());
    if identity.is_founder() {
        bootstrap.found().await?;
    }
    bootstrap.announce().await
}

/// Says what holds this host up, when that changes and now and then.
struct Said {
    reason: String,
    at: Instant,
}

impl Said {
    fn new() -> Self {
        Self { reason: String::new(), at: Instant::now() }
    }

    fn say(&mut self, reason: String) {
        if reason != self.reason || self.at.elapsed() >= Duration::from_millis(SAY_MS) {
            tracing::info!(%reason, "waiting to belong to a cluster");
            *self = Self { reason, at: Instant::now() };
        }
    }
}

impl Bootstrap {
    async fn find_cluster(&self) -> Result<(), OdgmError> {
        let (me, mut said) = (self.identity.node().0, Said::new());
        loop {
            let others = self.greet_all().await.0;
            match next_move(&self.identity.greeting(), &others) {
                Move::Wait(reason) => said.say(reason),
                Move::Join(cluster) => return self.identity.join(cluster),
                Move::Begin => {
                    self.identity.enlist(me, random())?;
                    continue;
                }
                Move::Enlist(hosts) => {
                    let attempt = self.identity.greeting().attempt;
                    self.tell(hosts.into_iter().map(|host| (host, attempt)), false).await;
                    // who stands by this host is read anew in the next round
                    continue;
                }
                Move::Withdraw { own, others } => {
                    if own {
                        self.identity.withdraw(me, self.identity.greeting().attempt)?;
                    }
                    self.tell(others.into_iter(), true).await;
                }
                Move::Found => return self.identity.found(random()),
                Move::Refuse(detail) => {
                    return Err(OdgmError::Catalog(Problem::new(Code::Conflict, detail)));
                }
            }
            tokio::time::sleep(Duration::from_millis(ROUND_MS)).await;
        }
    }

    /// What the other hosts in sight say of themselves, and the refusals of those of other clusters.
    async fn greet_all(&self) -> (Vec<Greeting>, Vec<Problem>) {
        let hello = self.identity.greeting();
        let asked = self.asker.others().into_iter().map(|host| self.greet(host, GridQuestion::Hello(hello)));
        let (mut greetings, mut refusals) = (Vec::new(), Vec::new());
        for answer in join_all(asked).await {
            match answer {
                Ok(greeting) => greetings.push(greeting),
                Err(problem) if problem.kind() == Code::Denied => refusals.push(problem),
                // not there yet, or not any more: the next round shows
                Err(_) => {}
            }
        }
        (greetings, refusals)
    }

    async fn greet(&self, host: NodeId, question: GridQuestion) -> Result<Greeting, Problem> {
        let deadline = Instant::now() + Duration::from_millis(ASK_MS);
        match self.asker.ask(host, question, deadline).await? {
            GridReply::Greeting(greeting) => Ok(greeting),
            _ => Err(strange(host)),
        }
    }

    async fn tell(&self, hosts: impl Iterator<Item = (u64, u64)>, withdraw: bool) {
        let told = hosts.map(|(host, attempt)| {
            self.greet(NodeId(host), GridQuestion::Enlist(Enlist { attempt, withdraw }))
        });
        join_all(told).await;
    }

    /// Begins the catalog on this host alone; others become its voters as they join. Each part is done again after a crash
    /// in between.
    async fn found(&self) -> Result<(), OdgmError> {
        let cluster = self.identity.cluster();
        if self.group.is_pristine().await {
            tracing::info!(cluster = %format!("{cluster:016x}"), "founding a cluster");
            self.group.found(BTreeSet::from([self.identity.node().0])).await?;
        }
        // a founder of old is one host among others: that the cluster is founded it may have to hear from them
        if self.catalog.view().founding.is_some() {
            return Ok(());
        }
        let founding = Founding { cluster, expect: self.expect, replicas: self.replicas };
        let mut said = Said::new();
        while let Err(problem) = self.catalog.found(founding).await {
            if problem.kind() == Code::Conflict {
                return Err(OdgmError::Catalog(problem));
            }
            self.check_going()?;
            said.say(problem.to_string());
            tokio::time::sleep(Duration::from_millis(ROUND_MS)).await;
        }
        Ok(())
    }

    /// Tells the catalog that this host is there, and waits until the copy here is as new as that word.
    async fn announce(&self) -> Result<(), OdgmError> {
        let node = Node { id: self.identity.node().0, zone: self.zone.clone(), state: 0 };
        let mut said = Said::new();
        loop {
            match self.catalog.set_node(node.clone()).await {
                Ok(revision) => {
                    if self.catalog.shows(revision, Instant::now() + Duration::from_millis(SHOWN_MS)).await {
                        return Ok(());
                    }
                    said.say("the catalog has not reached this host yet".into());
                }
                // removed for good
                Err(problem) if problem.kind() == Code::Conflict => return Err(OdgmError::Catalog(problem)),
                Err(problem) => {
                    self.check_foreign().await?;
                    said.say(problem.to_string());
                }
            }
            self.check_going()?;
            tokio::time::sleep(Duration::from_millis(ROUND_MS)).await;
        }
    }

    /// Whether only hosts of other clusters are in sight: then this one is on the wrong mesh.
    async fn check_foreign(&self) -> Result<(), OdgmError> {
        let (greetings, mut refusals) = self.greet_all().await;
        let own = greetings.iter().any(|greeting| greeting.cluster == self.identity.cluster());
        match refusals.pop() {
            Some(refusal) if !own => Err(OdgmError::Catalog(refusal)),
            _ => Ok(()),
        }
    }

    fn check_going(&self) -> Result<(), OdgmError> {
        self.catalog.check_going().map_err(OdgmError::Catalog)
    }
}

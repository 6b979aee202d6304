//! Deploying: a component comes in pieces, is checked and compiled, is made durable where the catalog is, and only then
//! becomes a revision in it. Any host does all that; the change of the catalog itself goes to its leader.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use oprc_mesh::Peers;
use oprc_mesh::catalog::Class;
use oprc_mesh::clock::now_ms;
use oprc_mesh::id::{ClassName, Digest, NodeId};
use oprc_mesh::outcome::{Code, Effect, Problem};
use oprc_mesh::triggers::check;
use oprc_mesh::wire::{
    Answer, ClassAddress, Deploy, DeployCanary, Deployed, FetchComponent, Op, RemoveClass, Revision, RollBack,
};
use oprc_odgm::{NewRevision, Odgm, crash_point};
use tokio::time::Instant;

use crate::classes::{egress, load, missing};
use crate::supply::Supply;
use crate::wasm::Runtime;

/// How long the catalog's voters may take to hold a component.
const SPREAD_MAX: Duration = Duration::from_secs(30);

/// What a deploy needs of the host.
#[derive(Clone)]
pub(crate) struct Deployer {
    pub(crate) odgm: Arc<Odgm>,
    pub(crate) peers: Arc<dyn Peers>,
    pub(crate) runtime: Runtime,
    pub(crate) supply: Supply,
}

/// Checks and compiles the component, has the catalog's voters hold it, then commits the revision.
///
/// # Errors
/// `invalid-component` naming what is wrong with it, `unavailable` when no host holds it, `no-quorum`, `conflict`.
pub(crate) async fn deploy(host: &Deployer, deploy: Deploy, deadline: Instant) -> Result<Deployed, Problem> {
    revise(host, deploy, None, deadline).await
}

/// The same for a share of the objects of a class that is there.
///
/// # Errors
/// As [`deploy`]; `not-found`, and `invalid` for a share that cannot be.
pub(crate) async fn deploy_canary(
    host: &Deployer,
    wish: DeployCanary,
    deadline: Instant,
) -> Result<Deployed, Problem> {
    revise(host, wish.deploy, Some(wish.share), deadline).await
}

async fn revise(
    host: &Deployer,
    deploy: Deploy,
    canary: Option<u32>,
    deadline: Instant,
) -> Result<Deployed, Problem> {
    let (runtime, odgm) = (&host.runtime, &host.odgm);
    let class = ClassName::parse(&deploy.class)?;
    let digest = Digest::from_bytes(&deploy.digest)?;
    let module = match load(odgm, runtime, &host.supply, &digest).await {
        Ok(module) => module,
        Err(problem) => {
            // what cannot be used is not kept, unless some class was deployed with it when it could
            if problem.kind() == Code::InvalidComponent && !odgm.catalog().refers_to(&digest) {
                runtime.discard(digest).await;
            }
            return Err(Problem { operation: String::new(), ..problem }.on("deploy", &class));
        }
    };
    let methods = module.methods(&deploy.settings.readonly)?;
    let (generic, serves_http) = (module.is_generic(), module.serves_http());
    egress(&deploy.settings)?;
    check(&class, &deploy.settings, &methods, generic)?;
    crash_point("before-spread");
    spread(host, &digest, deadline).await.map_err(|problem| problem.on("deploy", &class))?;
    crash_point("before-revision");
    let revision = NewRevision {
        class,
        digest,
        settings: deploy.settings,
        methods,
        generic,
        serves_http,
        deployed_at_ms: now_ms(),
        force: deploy.force,
        canary,
    };
    let deployed = odgm.catalog().deploy(revision).await;
    crash_point("after-revision");
    deployed
}

/// Deploys an earlier version of a class again. Its component is held by the catalog's voters already, as those of all
/// versions are; it is made sure that it can still be used, so that the first call after this finds it ready.
///
/// # Errors
/// `not-found` for a class or version that is not there, `conflict` when there is none before; `invalid-component` when it
/// cannot be used any more; `unavailable`, `no-quorum`.
pub(crate) async fn roll_back(
    host: &Deployer,
    wish: RollBack,
    deadline: Instant,
) -> Result<Deployed, Problem> {
    let class = ClassName::parse(&wish.class)?;
    let catalog = host.odgm.catalog();
    // this host's catalog may lag: what it does not know yet is for the catalog's leader to decide
    if let Ok(target) = catalog.rollback_target(&class, wish.to) {
        equip(host, &target, deadline).await.map_err(|problem| problem.on("roll back", &class))?;
    }
    catalog.rollback(&class, wish.to, now_ms()).await
}

/// Makes a class's canary the class. That it can be used was made sure when it was deployed, and is once more.
///
/// # Errors
/// `not-found`, `conflict` when there is no canary; `unavailable`, `no-quorum`.
pub(crate) async fn promote(
    host: &Deployer,
    wish: ClassAddress,
    deadline: Instant,
) -> Result<Deployed, Problem> {
    let class = ClassName::parse(&wish.class)?;
    let catalog = host.odgm.catalog();
    if let Some(canary) = catalog.view().class(class.as_str()).and_then(|known| known.canary.as_ref()) {
        equip(host, &canary.class, deadline).await.map_err(|problem| problem.on("promote", &class))?;
    }
    catalog.promote(&class, now_ms()).await
}

/// Sees that what is to serve all objects can be loaded here, and is held where the catalog is.
async fn equip(host: &Deployer, target: &Class, deadline: Instant) -> Result<(), Problem> {
    let digest = Digest::from_bytes(&target.digest)?;
    load(&host.odgm, &host.runtime, &host.supply, &digest).await.map_err(missing)?;
    spread(host, &digest, deadline).await
}

/// Returns once a majority of the catalog's voters hold the component durably: a revision that is committed never names
/// one that is lost with this host.
async fn spread(host: &Deployer, digest: &Digest, deadline: Instant) -> Result<(), Problem> {
    let (me, voters) = (host.odgm.node_id(), host.odgm.catalog_voters());
    let deadline = deadline.min(Instant::now() + SPREAD_MAX);
    let mut asked: FuturesUnordered<_> = voters
        .iter()
        .filter(|voter| **voter != me)
        .map(|voter| {
            let digest = Bytes::copy_from_slice(digest.as_bytes());
            host.peers.call(*voter, Op::FetchComponent(FetchComponent { digest, from: me.0 }), deadline)
        })
        .collect();
    let here = host.runtime.components().hold(digest);
    let mut holding = usize::from(here && voters.contains(&me));
    let mut why = String::new();
    while holding < majority(&voters) {
        match asked.next().await {
            Some(Ok(Answer::Fetched(_))) => holding += 1,
            Some(Ok(_)) => {}
            Some(Err(problem)) => why = format!("; {problem}"),
            None => {
                let detail = format!(
                    "{holding} of the {} hosts that keep the catalog hold the component{why}",
                    voters.len()
                );
                return Err(Problem::new(Code::NoQuorum, detail).with_effect(Effect::NotRun));
            }
        }
    }
    Ok(())
}

fn majority(voters: &BTreeSet<NodeId>) -> usize {
    voters.len() / 2 + 1
}

/// Removes a class, with its objects if asked.
///
/// # Errors
/// `not-found`, and what a catalog change may fail with.
pub(crate) async fn remove(odgm: &Odgm, remove: RemoveClass) -> Result<Revision, Problem> {
    let class = ClassName::parse(&remove.class)?;
    let revision = odgm.catalog().remove(&class, remove.purge).await?;
    Ok(Revision { revision })
}

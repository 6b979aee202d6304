//! Deploying: a component comes in pieces, is checked and compiled, and only then becomes a revision in the catalog.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use oprc_mesh::id::{ClassName, Digest};
use oprc_mesh::outcome::{Code, Problem};
use oprc_mesh::wire::{Deploy, Deployed, RemoveClass, Revision};
use oprc_odgm::{NewRevision, Odgm};

use crate::wasm::Runtime;

/// Checks and compiles the component, then commits the revision.
///
/// # Errors
/// `invalid-component` naming what is wrong with it, `not-found` when the host does not hold it, `conflict`.
pub(crate) async fn deploy(runtime: &Runtime, odgm: &Arc<Odgm>, deploy: Deploy) -> Result<Deployed, Problem> {
    let class = ClassName::parse(&deploy.class)?;
    let digest = Digest::from_bytes(&deploy.digest)?;
    let module = match runtime.load(&digest).await {
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
    let generic = module.is_generic();
    let revision =
        NewRevision { class, digest, settings: deploy.settings, methods, generic, deployed_at_ms: now_ms() };
    odgm.catalog().deploy(revision).await
}

/// Removes a class, with its objects if asked.
///
/// # Errors
/// `not-found`, and what a catalog change may fail with.
pub(crate) async fn remove(odgm: &Arc<Odgm>, remove: RemoveClass) -> Result<Revision, Problem> {
    let class = ClassName::parse(&remove.class)?;
    let revision = odgm.catalog().remove(&class, remove.purge).await?;
    Ok(Revision { revision })
}

/// Milliseconds since the Unix epoch, for people; nothing is decided by it.
fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

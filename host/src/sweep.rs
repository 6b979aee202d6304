//! Removes the components that no class needs any more: of deployments that came to nothing, of canaries that ended, of
//! versions that are forgotten, of classes that were purged.
//!
//! What a class needs must stay, whatever this host knows of the catalog. A component is held here first and deployed then,
//! so one that the catalog does not name may be about to be named: it stays for an hour from when anybody last wanted it
//! held, and that hour must be over by what the catalog here is sure to show, not by the clock alone.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use oprc_mesh::id::Digest;
use oprc_odgm::Odgm;

use crate::wasm::Runtime;

/// Between two looks.
const EVERY: Duration = Duration::from_mins(10);

/// Sweeps for ever.
pub(crate) async fn follow(odgm: Arc<Odgm>, runtime: Runtime) {
    loop {
        tokio::time::sleep(EVERY).await;
        // in this order: what is needed is at least as new as that
        let stale = odgm.catalog().stale_ms().map(Duration::from_millis);
        let Some(as_of) = stale.and_then(|stale| Instant::now().checked_sub(stale)) else { continue };
        let needed: Result<BTreeSet<_>, _> =
            odgm.catalog().components().iter().map(|digest| Digest::from_bytes(digest)).collect();
        let Ok(needed) = needed else { continue }; // a digest that is none: nothing is sure
        for digest in runtime.sweep(needed, as_of).await {
            tracing::info!(%digest, "removed a component that no class needs");
        }
    }
}

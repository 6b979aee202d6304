//! Makes ready what calls will need: as the catalog changes, the components of its classes are fetched, and the newest
//! ones compiled, so that the first call after a deploy does not wait for that.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream;
use oprc_mesh::catalog::Class;
use oprc_odgm::Odgm;

use crate::classes::Classes;

/// Classes kept compiled ahead of any call; of the others the component is fetched.
const COMPILED_MAX: usize = 64;
/// Classes made ready at the same time.
const AT_ONCE: usize = 4;
/// What could not be made ready is tried again after so long.
const RETRY: Duration = Duration::from_secs(5);

/// Follows the catalog for ever.
pub(crate) async fn follow(odgm: Arc<Odgm>, classes: Arc<Classes>) {
    let mut views = odgm.catalog().watch();
    loop {
        let view = views.borrow_and_update().clone();
        let mut newest: Vec<&Class> = view.classes.iter().collect();
        newest.sort_unstable_by_key(|class| std::cmp::Reverse(class.revision));
        let work: Vec<_> = newest
            .into_iter()
            .enumerate()
            .map(|(at, class)| classes.prepare(class, at < COMPILED_MAX))
            .collect();
        let done: Vec<bool> = stream::iter(work).buffer_unordered(AT_ONCE).collect().await;
        let ready = done.into_iter().all(|done| done);
        tokio::select! {
            changed = views.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(RETRY), if !ready => {}
        }
    }
}

//! The classes as this host runs them: the catalog's word on a class together with its compiled component. Follows the
//! catalog: a call after a deploy finds the new revision, a call under way keeps the one it began with.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use oprc_mesh::canary::Served;
use oprc_mesh::catalog::{CatalogView, Class, ClassSettings};
use oprc_mesh::egress::Egress;
use oprc_mesh::id::{ClassName, Digest, MethodName};
use oprc_mesh::outcome::{Code, Effect, Problem};
use oprc_odgm::Odgm;
use parking_lot::RwLock;
use tokio::time::{Instant, timeout_at};

use crate::supply::Supply;
use crate::wasm::{Module, Runtime};

/// How long a call waits for the catalog here to catch up with its caller's; then another try, here or elsewhere, is
/// the caller's to make.
const CATCH_UP_MAX: Duration = Duration::from_secs(2);

/// A class at one revision, or its canary, ready to run.
pub(crate) struct LoadedClass {
    /// Its name.
    pub(crate) name: ClassName,
    /// What the catalog says of it; nothing of a canary beside it.
    pub(crate) class: Class,
    /// Its compiled component.
    pub(crate) module: Arc<Module>,
    /// Where its requests may go.
    pub(crate) egress: Arc<Egress>,
}

impl LoadedClass {
    /// Whether the manifest lists `method` as read-only.
    pub(crate) fn is_readonly(&self, method: &MethodName) -> bool {
        // sorted by the manifest's parser
        self.class.settings.readonly.binary_search_by(|name| name.as_str().cmp(method.as_str())).is_ok()
    }
}

/// See the module. Holds one revision of each class that was called, with its canary if that was called; classes that left
/// the catalog are dropped when the next one is loaded.
pub(crate) struct Classes {
    odgm: Arc<Odgm>,
    runtime: Runtime,
    supply: Supply,
    loaded: RwLock<HashMap<ClassName, Vec<Arc<LoadedClass>>>>,
}

impl Classes {
    pub(crate) fn new(odgm: Arc<Odgm>, runtime: Runtime, supply: Supply) -> Self {
        Self { odgm, runtime, supply, loaded: RwLock::default() }
    }

    /// What serves `served` at the newest revision of the class that is known here. Whatever runs code asks here for it, so
    /// that an object meets one code at a revision.
    ///
    /// # Errors
    /// `not-found`; `unavailable` when its component cannot be loaded.
    pub(crate) async fn resolve(
        &self,
        name: &ClassName,
        served: Served<'_>,
    ) -> Result<Arc<LoadedClass>, Problem> {
        let view = self.odgm.catalog().view();
        self.ready(name, find(&view, name)?.serving(served)).await
    }

    /// The class or canary, loaded unless it is.
    async fn ready(&self, name: &ClassName, class: &Class) -> Result<Arc<LoadedClass>, Problem> {
        let is = |known: &&Arc<LoadedClass>| {
            known.class.revision == class.revision && known.class.version == class.version
        };
        let known = self.loaded.read().get(name).and_then(|variants| variants.iter().find(is)).cloned();
        match known {
            Some(known) => Ok(known),
            None => Box::pin(self.load(name, Class { canary: None, ..class.clone() })).await,
        }
    }

    async fn load(&self, name: &ClassName, class: Class) -> Result<Arc<LoadedClass>, Problem> {
        let module = load(&self.odgm, &self.runtime, &self.supply, &Digest::from_bytes(&class.digest)?).await;
        let module = module.map_err(missing)?;
        let egress = Arc::new(egress(&class.settings)?);
        let loaded = Arc::new(LoadedClass { name: name.clone(), class, module, egress });
        let view = self.odgm.catalog().view();
        let mut classes = self.loaded.write();
        classes.retain(|name, _| view.class(name.as_str()).is_some());
        let variants = classes.entry(name.clone()).or_default();
        let (revision, version) = (loaded.class.revision, loaded.class.version);
        if variants.iter().all(|known| known.class.revision <= revision) {
            variants.retain(|known| known.class.revision == revision && known.class.version != version);
            variants.push(loaded.clone());
        }
        Ok(loaded)
    }

    /// Waits until the catalog here knows `class` at `revision`, as a caller does: it may have seen a deploy sooner.
    ///
    /// # Errors
    /// `stale-class` when that takes too long.
    pub(crate) async fn catch_up(
        &self,
        class: &ClassName,
        revision: u64,
        deadline: Instant,
    ) -> Result<(), Problem> {
        let knows = |view: &CatalogView| {
            view.revision >= revision
                || view.class(class.as_str()).is_some_and(|class| class.revision >= revision)
        };
        if knows(&self.odgm.catalog().view()) {
            return Ok(());
        }
        self.wait_for(revision, deadline.min(Instant::now() + CATCH_UP_MAX)).await
    }

    /// Makes a class, and its canary, ready before it is called: at least the components are fetched. Tells whether that
    /// is done.
    pub(crate) async fn prepare(&self, class: &Class, compiled: bool) -> bool {
        let mut done = true;
        for variant in class.variants() {
            let ready = async {
                if compiled {
                    return self.ready(&ClassName::parse(&class.name)?, variant).await.map(drop);
                }
                self.supply.fetch(Digest::from_bytes(&variant.digest)?, None).await
            };
            if let Err(problem) = ready.await {
                let version = variant.version;
                tracing::debug!(class = class.name, version, %problem, "a class is not ready to be called yet");
                // it may have been removed meanwhile
                done &= self.odgm.catalog().view().class(&class.name).is_none();
            }
        }
        done
    }

    /// Waits until the catalog here has caught up with `revision`.
    ///
    /// # Errors
    /// `stale-class` when the deadline passes first.
    pub(crate) async fn wait_for(&self, revision: u64, deadline: Instant) -> Result<(), Problem> {
        let mut view = self.odgm.catalog().watch();
        let caught_up = view.wait_for(|view| view.revision >= revision);
        match timeout_at(deadline, caught_up).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(Problem::new(Code::StaleClass, "this host does not know the class's revision yet")
                .with_effect(Effect::NotRun)),
        }
    }
}

/// The class as it is deployed.
///
/// # Errors
/// `not-found`.
pub(crate) fn find<'v>(view: &'v CatalogView, name: &ClassName) -> Result<&'v Class, Problem> {
    view.class(name.as_str()).ok_or_else(|| not_found(name))
}

/// Loads a component, fetching it from another host if this one lacks it.
///
/// # Errors
/// `not-found` when this host is its cluster's only one and lacks it, `unavailable` when no host gives it,
/// `invalid-component` when it cannot be used.
pub(crate) async fn load(
    odgm: &Odgm,
    runtime: &Runtime,
    supply: &Supply,
    digest: &Digest,
) -> Result<Arc<Module>, Problem> {
    match runtime.load(digest).await {
        // trying again would not help where nobody else could have it
        Err(problem) if problem.kind() == Code::NotFound && odgm.catalog().view().nodes.len() > 1 => {
            supply.fetch(*digest, None).await?;
            runtime.load(digest).await
        }
        loaded => loaded,
    }
}

/// The class is there, its component is not: that is no fault of the caller's.
pub(crate) fn missing(problem: Problem) -> Problem {
    if problem.kind() != Code::NotFound {
        return problem;
    }
    Problem::new(Code::Internal, problem.detail).with_effect(Effect::NotRun).hint("deploy the class again")
}

fn not_found(name: &ClassName) -> Problem {
    Problem::new(Code::NotFound, format!("class {name} is not deployed"))
        .hint("`oprc classes` lists the deployed classes")
}

/// Where requests of a class with these settings may go.
///
/// # Errors
/// `invalid`: no manifest that was accepted says so.
pub(crate) fn egress(settings: &ClassSettings) -> Result<Egress, Problem> {
    let parsed = Egress::parse(&settings.http_origins, &settings.http_networks);
    parsed.map_err(|why| Problem::new(Code::Invalid, why))
}

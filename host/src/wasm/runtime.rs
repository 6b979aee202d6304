//! The process's part: the engine, what is imported from it, the stores on disk, and the cache of modules.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use oprc_mesh::id::Digest;
use oprc_mesh::metrics::Count;
use oprc_mesh::outcome::{Code, Effect, Problem};
use quick_cache::sync::Cache;
use tokio::sync::Semaphore;
use wasmtime::Engine;
use wasmtime::component::{Component, HasSelf, Linker};

use super::aot::AotCache;
use super::bindings::Generic;
use super::budget::Budget;
use super::contract::{check_header, invalid};
use super::engine;
use super::error::RuntimeError;
use super::failure;
use super::module::Module;
use super::running::Place;
use super::slots::Slots;
use super::state::State;
use super::store::Components;
use super::ticker::Ticker;
use crate::outgoing::Outgoing;

/// Compilations that may wait for the one under way; one more is `overloaded`.
pub(super) const COMPILATIONS_WAITING_MAX: usize = 32;
/// When to try again after that.
const RETRY_MS: u64 = 1_000;

/// Where a runtime keeps its files and how much it holds.
#[derive(Debug, Clone)]
pub(crate) struct RuntimeConfig {
    /// Components go to `components/` in it, compiled code to `aot/`.
    pub(crate) data_dir: PathBuf,
    /// Turns at the same time, without nested ones; one more is `overloaded`.
    pub(crate) turns_max: u32,
    /// Compiled modules kept in memory; the least used goes first and comes back from `aot/`.
    pub(crate) modules_max: usize,
}

impl RuntimeConfig {
    /// The defaults, with files in `data_dir`.
    pub(crate) fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self { data_dir: data_dir.into(), turns_max: 1_000, modules_max: 256 }
    }
}

/// Loads and runs components. Clones share everything.
#[derive(Clone)]
pub(crate) struct Runtime(Arc<Shared>);

struct Shared {
    linker: Linker<State>,
    ticker: Arc<Ticker>,
    budget: Budget,
    slots: Arc<Slots>,
    outgoing: Outgoing,
    components: Components,
    aot: AotCache,
    modules: Cache<Digest, Arc<Module>>,
    /// One compilation at a time: each already uses every core, and turns go on meanwhile.
    compiling: Arc<Semaphore>,
    /// Places for those that wait for it or compile.
    queue: Semaphore,
    loads: Loads,
}

/// Where modules came from.
#[derive(Default)]
struct Loads {
    memory: Count,
    disk: Count,
    compiled: Count,
}

/// See [`Runtime::usage`].
pub(crate) struct Usage {
    /// Turns under way.
    pub(crate) running: usize,
    pub(crate) running_max: usize,
    /// The memory of all of them.
    pub(crate) memory_bytes: usize,
    pub(crate) memory_bytes_max: usize,
    /// Modules looked up since the start, by where they came from.
    pub(crate) loads: [(&'static str, u64); 3],
}

impl Runtime {
    /// Starts the engine and opens the stores. Blocks shortly on the file system.
    ///
    /// # Errors
    /// [`RuntimeError`] with what could not be made.
    pub(crate) fn new(config: &RuntimeConfig) -> Result<Self, RuntimeError> {
        let failed = |error: wasmtime::Error| RuntimeError::Engine(failure::chain(&error));
        let engine = engine::engine(Slots::total(config.turns_max)).map_err(failed)?;
        let linker = linker(&engine).map_err(failed)?;
        let ticker = Ticker::start(&engine).map_err(|error| RuntimeError::Engine(error.to_string()))?;
        Ok(Self(Arc::new(Shared {
            linker,
            ticker: Arc::new(ticker),
            budget: Budget::of_machine(),
            slots: Arc::new(Slots::new(config.turns_max as usize)),
            outgoing: Outgoing::new(),
            components: Components::open(&config.data_dir.join("components"))?,
            aot: AotCache::open(&config.data_dir.join("aot"), &engine)?,
            modules: Cache::new(config.modules_max),
            compiling: Arc::new(Semaphore::new(1)),
            queue: Semaphore::new(COMPILATIONS_WAITING_MAX + 1),
            loads: Loads::default(),
        })))
    }

    /// The components on this host's disk.
    pub(crate) fn components(&self) -> &Components {
        &self.0.components
    }

    /// What runs, and what it takes.
    pub(crate) fn usage(&self) -> Usage {
        let Shared { slots, budget, loads, .. } = &*self.0;
        let ((running, running_max), (memory_bytes, memory_bytes_max)) = (slots.taken(), budget.taken());
        let loads = [("memory", &loads.memory), ("disk", &loads.disk), ("compiled", &loads.compiled)]
            .map(|(from, count)| (from, count.get()));
        Usage { running, running_max, memory_bytes, memory_bytes_max, loads }
    }

    /// The module of a component that this host holds: from memory, from compiled code on disk, or compiled now. Calls
    /// for the same digest wait for one and the same load.
    ///
    /// # Errors
    /// `not-found` when the host does not hold the component, `invalid-component` when it cannot be used, `overloaded`
    /// when too many others wait to be compiled.
    pub(crate) async fn load(&self, digest: &Digest) -> Result<Arc<Module>, Problem> {
        let missed = AtomicBool::new(false);
        let load = async {
            missed.store(true, Ordering::Relaxed);
            if let Some(module) = self.blocking(*digest, Shared::load_compiled).await? {
                return Ok(module);
            }
            let _place = self.0.queue.try_acquire().map_err(|_| too_many())?;
            // The permit goes with the work: a caller that leaves does not let the next compilation begin early.
            let permit = Arc::clone(&self.0.compiling).acquire_owned().await;
            let permit = permit.map_err(|_| internal("the runtime is closed"))?;
            self.blocking(*digest, move |shared, digest| {
                let _permit = permit;
                shared.load(digest)
            })
            .await
        };
        let loaded = self.0.modules.get_or_insert_async(digest, load).await;
        if loaded.is_ok() && !missed.load(Ordering::Relaxed) {
            self.0.loads.memory.one();
        }
        loaded.map_err(|problem| problem.on("load", digest))
    }

    /// Lets nothing be compiled while what it gives is kept.
    #[cfg(test)]
    pub(super) async fn hold_compiler(&self) -> tokio::sync::OwnedSemaphorePermit {
        #[allow(clippy::unwrap_used)]
        Arc::clone(&self.0.compiling).acquire_owned().await.unwrap()
    }

    async fn blocking<T: Send + 'static>(
        &self,
        digest: Digest,
        work: impl FnOnce(&Shared, &Digest) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let shared = Arc::clone(&self.0);
        let done = tokio::task::spawn_blocking(move || work(&shared, &digest)).await;
        done.map_err(|error| internal(&format!("loading a component failed: {error}")))?
    }

    /// Forgets the components that nothing has needed for long; see [`Components::sweep`].
    pub(crate) async fn sweep(&self, needed: BTreeSet<Digest>, as_of: Instant) -> Vec<Digest> {
        let shared = Arc::clone(&self.0);
        let sweep = move || {
            let gone = shared.components.sweep(&needed, Instant::now(), as_of);
            for digest in &gone {
                shared.aot.remove(digest);
            }
            gone
        };
        let gone = tokio::task::spawn_blocking(sweep).await.unwrap_or_default(); // it goes on another time
        for digest in &gone {
            self.0.modules.remove(digest);
        }
        gone
    }

    /// Forgets a component that nothing refers to: its bytes and its compiled code.
    pub(crate) async fn discard(&self, digest: Digest) {
        self.0.modules.remove(&digest);
        let discarded = self.blocking(digest, |shared, digest| {
            shared.aot.remove(digest);
            shared.components.remove(digest)
        });
        if let Err(problem) = discarded.await {
            tracing::warn!(%digest, %problem, "an unused component could not be removed");
        }
    }
}

impl Shared {
    /// From compiled code on disk, if it is there.
    fn load_compiled(&self, digest: &Digest) -> Result<Option<Arc<Module>>, Problem> {
        let Some(component) = self.aot.get(digest, self.linker.engine()) else { return Ok(None) };
        self.loads.disk.one();
        self.module(&component).map(Some)
    }

    fn load(&self, digest: &Digest) -> Result<Arc<Module>, Problem> {
        match self.load_compiled(digest)? {
            Some(module) => Ok(module),
            None => self.module(&self.compile(digest, self.linker.engine())?),
        }
    }

    fn module(&self, component: &Component) -> Result<Arc<Module>, Problem> {
        let place = Place {
            ticker: Arc::clone(&self.ticker),
            budget: self.budget.clone(),
            slots: Arc::clone(&self.slots),
            outgoing: self.outgoing.clone(),
        };
        Ok(Arc::new(Module::new(component, &self.linker, place)?))
    }

    fn compile(&self, digest: &Digest, engine: &Engine) -> Result<Component, Problem> {
        let bytes = self.components.read(digest)?;
        check_header(&bytes)?;
        let begun = Instant::now();
        let code = engine.precompile_component(&bytes).map_err(|error| {
            invalid(format!("the component does not compile: {}", failure::chain(&error)))
        })?;
        tracing::info!(%digest, bytes = bytes.len(), ms = begun.elapsed().as_millis(), "compiled a component");
        self.loads.compiled.one();
        self.aot.put(digest, &code);
        AotCache::load(&code, engine).map_err(|error| {
            invalid(format!("the component does not fit this host: {}", failure::chain(&error)))
        })
    }
}

/// Everything that guests may import.
fn linker(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    Generic::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    Ok(linker)
}

fn too_many() -> Problem {
    let detail = format!("{COMPILATIONS_WAITING_MAX} components wait to be compiled already");
    Problem::new(Code::Overloaded, detail).with_effect(Effect::NotRun).retry_after_ms(RETRY_MS)
}

fn internal(detail: &str) -> Problem {
    Problem::new(Code::Internal, detail)
}

//! The process's part: the engine, what is imported from it, the stores on disk, and the cache of modules.

use std::path::PathBuf;
use std::sync::Arc;

use oprc_mesh::id::Digest;
use oprc_mesh::outcome::{Code, Problem};
use quick_cache::sync::Cache;
use tokio::sync::Semaphore;
use wasmtime::Engine;
use wasmtime::component::{Component, HasSelf, Linker};

use super::aot::AotCache;
use super::bindings::Generic;
use super::contract::{check_header, invalid};
use super::engine;
use super::error::RuntimeError;
use super::failure;
use super::module::Module;
use super::state::State;
use super::store::Components;
use super::ticker::Ticker;

/// Where a runtime keeps its files and how much it holds.
#[derive(Debug, Clone)]
pub(crate) struct RuntimeConfig {
    /// Components go to `components/` in it, compiled code to `aot/`.
    pub(crate) data_dir: PathBuf,
    /// Turns at the same time; one more is `overloaded`.
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
    components: Components,
    aot: AotCache,
    modules: Cache<Digest, Arc<Module>>,
    /// One compilation at a time: each already uses every core, and turns go on meanwhile.
    compiling: Semaphore,
}

impl Runtime {
    /// Starts the engine and opens the stores. Blocks shortly on the file system.
    ///
    /// # Errors
    /// [`RuntimeError`] with what could not be made.
    pub(crate) fn new(config: &RuntimeConfig) -> Result<Self, RuntimeError> {
        let failed = |error: wasmtime::Error| RuntimeError::Engine(failure::chain(&error));
        let engine = engine::engine(config.turns_max).map_err(failed)?;
        let linker = linker(&engine).map_err(failed)?;
        let ticker = Ticker::start(&engine).map_err(|error| RuntimeError::Engine(error.to_string()))?;
        Ok(Self(Arc::new(Shared {
            linker,
            ticker: Arc::new(ticker),
            components: Components::open(&config.data_dir.join("components"))?,
            aot: AotCache::open(&config.data_dir.join("aot"), &engine)?,
            modules: Cache::new(config.modules_max),
            compiling: Semaphore::new(1),
        })))
    }

    /// The components on this host's disk.
    pub(crate) fn components(&self) -> &Components {
        &self.0.components
    }

    /// The module of a component that this host holds: from memory, from compiled code on disk, or compiled now. Calls
    /// for the same digest wait for one and the same load.
    ///
    /// # Errors
    /// `not-found` when the host does not hold the component, `invalid-component` when it cannot be used.
    pub(crate) async fn load(&self, digest: &Digest) -> Result<Arc<Module>, Problem> {
        let load = async {
            let _turn = self.0.compiling.acquire().await.map_err(|_| internal("the runtime is closed"))?;
            let (shared, digest) = (Arc::clone(&self.0), *digest);
            let loaded = tokio::task::spawn_blocking(move || shared.load(&digest)).await;
            loaded.map_err(|error| internal(&format!("loading a component failed: {error}")))?
        };
        let loaded = self.0.modules.get_or_insert_async(digest, load).await;
        loaded.map_err(|problem| problem.on("load", digest))
    }
}

impl Shared {
    fn load(&self, digest: &Digest) -> Result<Arc<Module>, Problem> {
        let engine = self.linker.engine();
        let component = match self.aot.get(digest, engine) {
            Some(component) => component,
            None => self.compile(digest, engine)?,
        };
        Ok(Arc::new(Module::new(&component, &self.linker, Arc::clone(&self.ticker))?))
    }

    fn compile(&self, digest: &Digest, engine: &Engine) -> Result<Component, Problem> {
        let bytes = self.components.read(digest)?;
        check_header(&bytes)?;
        let begun = std::time::Instant::now();
        let code = engine.precompile_component(&bytes).map_err(|error| {
            invalid(format!("the component does not compile: {}", failure::chain(&error)))
        })?;
        tracing::info!(%digest, bytes = bytes.len(), ms = begun.elapsed().as_millis(), "compiled a component");
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
    Generic::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    Ok(linker)
}

fn internal(detail: &str) -> Problem {
    Problem::new(Code::Internal, detail)
}

//! What a turn's store holds: the way to its object, the circumstances of the call, its limits, and WASI.

use std::sync::Arc;

use oprc_mesh::catalog::ClassLimits;
use oprc_mesh::outcome::{Code, Problem};
use oprc_mesh::wire::LogStream;
use tokio::time::Instant;
use wasmtime::component::ResourceTable;
use wasmtime::{Engine, ResourceLimiter, Store, UpdateDeadline};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::access::ObjectAccess;
use super::budget::Share;
use super::call::Call;
use super::http::HttpSide;
use super::meter::Meter;
use super::stdio::{GuestLog, origin};
use crate::outgoing::Outgoing;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Table elements of one turn, at the most.
pub(super) const TABLE_ELEMENTS_MAX: usize = 128 * 1024;
/// Host resources (streams, pollables, clocks) that one turn may hold.
const RESOURCES_MAX: usize = 1_024;
/// Random bytes that a guest may ask for at once.
const RANDOM_BYTES_MAX: u64 = 64 * 1024;
/// What one call between guest and host may make the host allocate, beside the payload.
const HOSTCALL_BYTES: usize = 40 * MIB;
/// What the engine counts for each item of a list that is not taken through a typed path: a payload of bytes costs so
/// much for each.
const VALUE_BYTES: usize = 48;

/// One turn's store data.
pub(super) struct State {
    pub(super) access: Box<dyn ObjectAccess>,
    pub(super) call: Arc<Call>,
    /// When the turn ends at the latest.
    pub(super) until: Instant,
    pub(super) memory: Memory,
    /// What was called and has not answered.
    pub(super) waits_for: Option<String>,
    meter: Arc<Meter>,
    /// Made when the guest first asks for something of it: seeding its random generators costs more than a small turn.
    wasi: Option<Box<WasiCtx>>,
    /// Made when the guest first has to do with HTTP.
    pub(super) http: Option<Box<HttpSide>>,
    pub(super) outgoing: Outgoing,
    pub(super) table: ResourceTable,
}

/// The turn's own limiter of memory and tables.
#[derive(Debug)]
pub(super) struct Memory {
    bytes_max: usize,
    held: Share,
    /// The guest wanted more than it may have, or than there is.
    pub(super) denied: bool,
    /// All turns together hold as much as they may.
    pub(super) exhausted: bool,
}

/// What the arguments of a call may take on the host: what the turn may have, and room for a payload of bytes.
pub(super) fn arguments_bytes_max(limits: &ClassLimits) -> usize {
    let payload = usize_of(limits.payload_kib).saturating_mul(KIB);
    usize_of(limits.memory_mib).saturating_mul(MIB).saturating_add(payload.saturating_mul(VALUE_BYTES))
}

/// A store for one turn, with every limit set.
pub(super) fn store(
    engine: &Engine,
    outgoing: &Outgoing,
    call: Arc<Call>,
    access: Box<dyn ObjectAccess>,
    until: Instant,
    meter: &Arc<Meter>,
    held: Share,
) -> Store<State> {
    let limits = call.limits;
    let cpu = std::time::Duration::from_millis(limits.cpu_ms);
    let bytes_max = usize_of(limits.memory_mib).saturating_mul(MIB);
    let memory = Memory { bytes_max, held, denied: false, exhausted: false };
    let payload = usize_of(limits.payload_kib).saturating_mul(KIB);
    let mut table = ResourceTable::new();
    table.set_max_capacity(RESOURCES_MAX);
    let (meter, outgoing) = (Arc::clone(meter), outgoing.clone());
    let (waits_for, wasi, http) = (None, None, None);
    let state = State { access, call, until, memory, waits_for, meter, wasi, http, outgoing, table };
    let mut store = Store::new(engine, state);
    store.limiter(|state| &mut state.memory);
    store.set_hostcall_fuel(HOSTCALL_BYTES.saturating_add(payload.saturating_mul(VALUE_BYTES)));
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(move |store| {
        if store.data().meter.used() > cpu {
            let detail = format!("the function used up its processor time of {} ms", cpu.as_millis());
            let hint = "raise cpu_ms in the manifest, or do less in one call";
            return Err(Problem::new(Code::CpuLimit, detail).hint(hint).into());
        }
        Ok(UpdateDeadline::Yield(1))
    });
    store
}

fn usize_of(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

impl Memory {
    /// What the turn has taken; a guest never gives any of it back.
    pub(super) fn bytes(&self) -> usize {
        self.held.bytes()
    }

    /// What the turn may have.
    pub(super) fn mib_max(&self) -> usize {
        self.bytes_max / MIB
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current);
        if self.held.bytes().saturating_add(more) > self.bytes_max {
            self.denied = true;
            return Ok(false);
        }
        let granted = self.held.grow(more);
        self.exhausted |= !granted;
        Ok(granted)
    }

    /// Granted, but past the memory's own maximum or what the system gives.
    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.denied = true;
        Ok(())
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS_MAX)
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let Self { wasi, table, call, access, .. } = self;
        let ctx = wasi.get_or_insert_with(|| Box::new(wasi_ctx(call, &**access)));
        WasiCtxView { ctx, table }
    }
}

/// Clocks, random and logs; no environment, arguments, files or network.
fn wasi_ctx(call: &Call, access: &dyn ObjectAccess) -> WasiCtx {
    let origin = origin(call, access);
    let mut wasi = WasiCtx::builder();
    wasi.stdout(GuestLog::new(Arc::clone(&origin), LogStream::Out))
        .stderr(GuestLog::new(origin, LogStream::Err))
        .max_random_size(RANDOM_BYTES_MAX)
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false);
    wasi.build()
}

//! The one engine of the process, with its pool of instance slots. Everything a turn could exhaust is bounded here.

use std::num::NonZeroUsize;

use oprc_mesh::limits::MEMORY_MIB;
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::state::TABLE_ELEMENTS_MAX;

/// Core modules that one component may consist of.
const CORE_INSTANCES_PER_COMPONENT_MAX: u32 = 128;
/// Linear memories of one component; more than one is rare.
const MEMORIES_PER_COMPONENT_MAX: u32 = 8;
/// Tables of one component.
const TABLES_PER_COMPONENT_MAX: u32 = 16;
/// Bytes of a linear memory that stay resident in a freed slot and are overwritten for the next turn, which is cheaper
/// than giving them back to the system and faulting them in again.
const MEMORY_KEPT_BYTES: usize = 512 * 1024;
/// The same for a table.
const TABLE_KEPT_BYTES: usize = 64 * 1024;
/// Slots without a turn that keep a module's pages: the bound of what idle code costs.
const WARM_SLOTS_MAX: u32 = 64;

/// Frames that the backtrace of a trap shows.
const BACKTRACE_FRAMES_MAX: usize = 32;

/// Makes the engine, for at most `turns` turns at the same time.
pub(super) fn engine(turns: u32) -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        // WASI 0.2 only: the asynchronous component model costs every small call.
        .concurrency_support(false)
        .wasm_backtrace_max_frames(NonZeroUsize::new(BACKTRACE_FRAMES_MAX))
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool(turns)));
    Engine::new(&config)
}

fn pool(turns: u32) -> PoolingAllocationConfig {
    let memory_bytes_max = usize::try_from(MEMORY_MIB.cap).unwrap_or(usize::MAX).saturating_mul(1024 * 1024);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(turns)
        .total_stacks(turns)
        .total_memories(turns.saturating_mul(2))
        .total_tables(turns.saturating_mul(4))
        .total_core_instances(turns.saturating_mul(16))
        .max_core_instances_per_component(CORE_INSTANCES_PER_COMPONENT_MAX)
        .max_memories_per_component(MEMORIES_PER_COMPONENT_MAX)
        .max_tables_per_component(TABLES_PER_COMPONENT_MAX)
        .max_memories_per_module(MEMORIES_PER_COMPONENT_MAX)
        .max_tables_per_module(TABLES_PER_COMPONENT_MAX)
        .max_memory_size(memory_bytes_max)
        .table_elements(TABLE_ELEMENTS_MAX)
        .max_unused_warm_slots(WARM_SLOTS_MAX)
        .linear_memory_keep_resident(MEMORY_KEPT_BYTES)
        .table_keep_resident(TABLE_KEPT_BYTES)
        .pagemap_scan(Enabled::Auto);
    pool
}

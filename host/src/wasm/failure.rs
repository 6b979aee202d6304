//! From the engine's errors to problems.

use oprc_mesh::outcome::{Code, Effect, Problem};
use wasmtime::{PoolConcurrencyLimitError, Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use super::state::Memory;

/// How the engine words that one call moved too much between guest and host; it has no type of its own.
const HOSTCALL_FUEL_TEXT: &str = "fuel allocated for hostcalls has been exhausted";
/// When to try again after the pool was full.
const RETRY_MS: u64 = 50;

/// Why a turn ended: the problem that a limit or an import raised as it is, otherwise by what the engine says.
pub(super) fn problem(error: &wasmtime::Error, memory: &Memory) -> Problem {
    if let Some(problem) = error.downcast_ref::<Problem>() {
        return problem.clone();
    }
    if memory.exhausted {
        return no_memory();
    }
    if memory.denied {
        let detail = format!("the function wanted more memory than its {} MiB", memory.mib_max());
        return Problem::new(Code::MemoryLimit, detail).hint("raise memory_mib in the manifest, or use less");
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return no_slot();
    }
    let cause = error.root_cause().to_string();
    if cause.contains(HOSTCALL_FUEL_TEXT) {
        let detail = "the function passed more data at once than is allowed";
        return Problem::new(Code::PayloadTooLarge, detail).hint("pass less at once, or raise payload_kib");
    }
    let detail = match (error.downcast_ref::<I32Exit>(), error.downcast_ref::<Trap>()) {
        (Some(I32Exit(status)), _) => format!("the function called exit with status {status}"),
        (None, Some(trap)) => {
            format!("the function trapped: {}", trap.to_string().trim_start_matches("wasm trap: "))
        }
        (None, None) => format!("the function trapped: {cause}"),
    };
    let mut problem = Problem::new(Code::Trap, detail).hint(
        "what the function wrote to its standard error is in the host's log, under the invocation's id",
    );
    problem.backtrace = error.downcast_ref::<WasmBacktrace>().map(ToString::to_string).unwrap_or_default();
    problem
}

/// As many turns run as may.
pub(super) fn no_slot() -> Problem {
    let detail = "too many functions run at the same time";
    Problem::new(Code::Overloaded, detail).with_effect(Effect::NotRun).retry_after_ms(RETRY_MS)
}

/// All turns together hold as much as they may.
pub(super) fn no_memory() -> Problem {
    let detail = "the functions that run now hold all the memory that is set aside for them";
    Problem::new(Code::Overloaded, detail).with_effect(Effect::NotRun).retry_after_ms(RETRY_MS)
}

/// An error with all its causes, on one line, for people.
pub(super) fn chain(error: &wasmtime::Error) -> String {
    format!("{error:#}")
}

//! What this host tells Prometheus.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use oprc_mesh::metrics::{Count, Sheet, Source, Told};

use crate::metrics::{Attempt, CAUSES, Metrics, Via};
use crate::turn::Turns;
use crate::wasm::Runtime;

const TURNS: Told = Told {
    counts: ("oprc_host_turns", "Methods and functions run here, by what they came to."),
    durations: (
        "oprc_host_turn_duration_seconds",
        "How long they took, from their arrival at this host to their outcome, with all waiting.",
    ),
    way: "via",
    ways: &Via::WORDS,
};

/// See the module.
pub(crate) struct HostSource {
    pub(crate) turns: Arc<Turns>,
    pub(crate) runtime: Runtime,
    pub(crate) draining: Arc<AtomicBool>,
}

impl Source for HostSource {
    fn tell(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let (view, metrics) = (self.turns.view(), self.turns.metrics());
        metrics.calls.tell(&view, &TURNS, sheet)?;
        let help = "The most memory that a run of a class had.";
        metrics.calls.tell_sizes(&view, ("oprc_host_guest_memory_peak_bytes", help), sheet)?;
        self.tell_turns(metrics, sheet)?;
        self.tell_runtime(sheet)?;
        let attempts = by(Attempt::WORDS, &metrics.attempts, "result");
        let help = "Runs of messages and of asynchronous calls, by what followed.";
        sheet.counters("oprc_host_message_attempts", help, attempts)?;
        let help = "Those who wait for events here, or read them.";
        sheet.gauge("oprc_host_event_readers", help, metrics.readers())?;
        let draining = u64::from(self.draining.load(Ordering::Relaxed));
        sheet.gauge("oprc_host_draining", "1 while the host is about to stop.", draining)
    }
}

impl HostSource {
    fn tell_turns(&self, metrics: &Metrics, sheet: &mut Sheet<'_>) -> fmt::Result {
        let name = "oprc_host_turns_committed";
        sheet.counter(name, "Turns and writes whose commit took effect.", self.turns.commits())?;
        let reruns = by(CAUSES, &metrics.reruns, "cause");
        sheet.counters("oprc_host_turns_rerun", "Turns run again, by what had moved under them.", reruns)?;
        let name = "oprc_host_replays";
        sheet.counter(
            name,
            "Calls answered with the outcome that was kept of them.",
            metrics.replays.get(),
        )?;
        let (mailboxes, queued) = self.turns.waiting();
        sheet.gauge("oprc_host_mailboxes", "Objects with turns or commits under way.", mailboxes)?;
        sheet.gauge("oprc_host_turns_queued", "Turns that wait for an earlier one of their object.", queued)
    }

    fn tell_runtime(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let usage = self.runtime.usage();
        sheet.gauge("oprc_host_instances_running", "Instances of the pool in use.", usage.running)?;
        sheet.gauge("oprc_host_instances_max", "Instances that the pool has.", usage.running_max)?;
        let help = "Memory that all running guests hold.";
        sheet.gauge("oprc_host_guest_memory_used_bytes", help, usage.memory_bytes)?;
        let help = "Memory that all running guests may hold.";
        sheet.gauge("oprc_host_guest_memory_limit_bytes", help, usage.memory_bytes_max)?;
        let loads = usage.loads.map(|(from, count)| ([("from", from)], count));
        let help = "Modules looked up, by where they came from: memory, compiled code on the disk, or a compilation.";
        sheet.counters("oprc_host_module_loads", help, loads)
    }
}

/// Counters with their words.
fn by<'c, const N: usize>(
    words: [&'static str; N],
    counts: &'c [Count; N],
    label: &'static str,
) -> impl Iterator<Item = ([(&'static str, &'static str); 1], u64)> + use<'c, N> {
    words.into_iter().zip(counts).map(move |(word, count)| ([(label, word)], count.get()))
}

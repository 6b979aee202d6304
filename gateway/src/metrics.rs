//! What the gateway counts of the requests that come, and what it tells Prometheus.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use oprc_mesh::Mesh;
use oprc_mesh::metrics::{BOUNDS, Calls, Histogram, OTHER, Outcomes, SECONDS, Sheet, Source, Told};
use oprc_mesh::outcome::Code;
use parking_lot::Mutex;

use crate::admission::Admission;
use crate::stream::Hubs;
use crate::tls::Reloads;

/// How a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Rest,
    Grpc,
    Mesh,
}

impl Protocol {
    const WORDS: [&str; 3] = ["rest", "grpc", "mesh"];
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// A REST request failed so, or did not.
    Rest(Option<Code>),
    /// The status of a gRPC response's head.
    Grpc(usize),
    /// A question on the mesh failed so, or did not.
    Mesh(Option<Code>),
}

/// The names of gRPC's statuses, by number.
const STATUSES: [&str; 17] = [
    "ok",
    "cancelled",
    "unknown",
    "invalid-argument",
    "deadline-exceeded",
    "not-found",
    "already-exists",
    "permission-denied",
    "resource-exhausted",
    "failed-precondition",
    "aborted",
    "out-of-range",
    "unimplemented",
    "internal",
    "unavailable",
    "data-loss",
    "unauthenticated",
];

/// gRPC's methods, with the operations of REST that do the same.
const METHODS: [(&str, &str); 13] = [
    ("/oprc.v1.InvocationService/Invoke", "invoke"),
    ("/oprc.v1.InvocationService/Submit", "submit"),
    ("/oprc.v1.InvocationService/GetInvocation", "read invocation"),
    ("/oprc.v1.ObjectService/Get", "read object"),
    ("/oprc.v1.ObjectService/Put", "replace object"),
    ("/oprc.v1.ObjectService/Patch", "change object"),
    ("/oprc.v1.ObjectService/Delete", "delete object"),
    ("/oprc.v1.ObjectService/GetField", "read field"),
    ("/oprc.v1.ObjectService/PutField", "write field"),
    ("/oprc.v1.ObjectService/DeleteField", "delete field"),
    ("/oprc.v1.ObjectService/ListFields", "list fields"),
    ("/oprc.v1.ObjectService/List", "list objects"),
    ("/oprc.v1.EventService/Watch", "watch"),
];

/// What the gRPC method at `path` does; whatever is made up is [`OTHER`].
pub(crate) fn grpc_operation(path: &str) -> &'static str {
    match METHODS.iter().find(|(method, _)| *method == path) {
        Some((_, operation)) => operation,
        None if path.starts_with("/grpc.health.") => "health",
        None if path.starts_with("/grpc.reflection.") => "reflection",
        None => OTHER,
    }
}

const CALLS: Told = Told {
    counts: (
        "oprc_gateway_calls",
        "Calls of methods and functions that were handed on, by what they came to.",
    ),
    durations: (
        "oprc_gateway_call_duration_seconds",
        "How long they took, from being handed on to the answer, with all tries.",
    ),
    way: "protocol",
    ways: &Protocol::WORDS,
};

/// See the module.
pub(crate) struct Metrics {
    pub(crate) calls: Calls,
    pub(crate) requests: Requests,
    pub(crate) reloads: Arc<Reloads>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) hubs: Arc<Hubs>,
    pub(crate) mesh: Mesh,
}

impl Metrics {
    pub(crate) fn new(admission: Arc<Admission>, hubs: Arc<Hubs>, mesh: Mesh) -> Self {
        let (calls, requests) = (Calls::new(BOUNDS), Requests::default());
        Self { calls, requests, reloads: Arc::default(), admission, hubs, mesh }
    }
}

impl Source for Metrics {
    fn tell(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        self.calls.tell(&self.mesh.directory().view(), &CALLS, sheet)?;
        self.requests.tell(sheet)?;
        let load = self.admission.load();
        let help = "Requests let in and not answered.";
        sheet.gauge("oprc_gateway_requests_in_flight", help, load.calls)?;
        let help = "Requests that are let in at once.";
        sheet.gauge("oprc_gateway_requests_in_flight_max", help, load.calls_max)?;
        let help = "Memory that request bodies hold, apart from the first 64 KiB of each.";
        sheet.gauge("oprc_gateway_bodies_held_bytes", help, load.held_bytes)?;
        let help = "Memory that request bodies may hold.";
        sheet.gauge("oprc_gateway_bodies_held_max_bytes", help, load.held_bytes_max)?;
        let untaken = &self.admission.untaken;
        let help = "Memory of answers that wait for their readers to take them.";
        sheet.gauge("oprc_gateway_answers_waiting_bytes", help, untaken.bytes())?;
        let help = "Memory of answers at which requests are refused.";
        sheet.gauge("oprc_gateway_answers_waiting_max_bytes", help, untaken.bytes_max())?;
        let help = "Streams of events, listings by gRPC, and waiting questions.";
        sheet.gauge("oprc_gateway_readers", help, self.hubs.readers())?;
        let help = "Readers that are let in at once.";
        sheet.gauge("oprc_gateway_readers_max", help, self.hubs.readers_max())?;
        let shed = [
            ("calls", load.calls_shed),
            ("bodies", load.bodies_shed),
            ("answers", load.answers_shed),
            ("readers", self.hubs.readers_shed()),
        ];
        let shed = shed.map(|(reason, count)| ([("reason", reason)], count));
        sheet.counters(
            "oprc_gateway_shed",
            "Requests refused for load, by what there was too much of.",
            shed,
        )?;
        let given_up =
            [("stuck", untaken.stuck.get()), ("slow", untaken.slow.get()), ("memory", untaken.dropped.get())];
        let given_up = given_up.map(|(reason, count)| ([("reason", reason)], count));
        sheet.counters(
            "oprc_gateway_answers_given_up",
            "Answers that were given and did not reach their readers, by why.",
            given_up,
        )?;
        let reloads = [("ok", self.reloads.done.get()), ("failed", self.reloads.failed.get())];
        let reloads = reloads.map(|(result, count)| ([("result", result)], count));
        sheet.counters(
            "oprc_gateway_tls_reloads",
            "Times that changed TLS files were taken over, or refused.",
            reloads,
        )
    }
}

/// Requests by operation. There are as many operations as the code names.
#[derive(Default)]
pub(crate) struct Requests {
    rows: ArcSwap<Vec<Arc<Row>>>,
    /// Held while a row is added.
    adding: Mutex<()>,
}

struct Row {
    operation: &'static str,
    rest: Outcomes,
    grpc: [AtomicU64; STATUSES.len()],
    mesh: Outcomes,
    durations: [Histogram; Protocol::WORDS.len()],
}

impl Row {
    fn new(operation: &'static str) -> Self {
        let grpc = std::array::from_fn(|_| AtomicU64::new(0));
        let durations = std::array::from_fn(|_| Histogram::new(&SECONDS));
        Self { operation, rest: Outcomes::default(), grpc, mesh: Outcomes::default(), durations }
    }

    fn count(&self, ended: Ended, took: Duration) {
        let protocol = match ended {
            Ended::Rest(failed) => {
                self.rest.count(failed);
                Protocol::Rest
            }
            Ended::Grpc(status) => {
                let known = self.grpc.get(status).unwrap_or(&self.grpc[UNKNOWN]);
                known.fetch_add(1, Ordering::Relaxed);
                Protocol::Grpc
            }
            Ended::Mesh(failed) => {
                self.mesh.count(failed);
                Protocol::Mesh
            }
        };
        self.durations[protocol as usize].took(took);
    }

    fn seen(&self) -> impl Iterator<Item = (Protocol, &'static str, u64)> {
        let grpc = STATUSES.into_iter().zip(self.grpc.iter().map(|count| count.load(Ordering::Relaxed)));
        let grpc = grpc.filter(|(_, count)| *count > 0).map(|(name, count)| (Protocol::Grpc, name, count));
        let rest = self.rest.seen().map(|(name, count)| (Protocol::Rest, name, count));
        let mesh = self.mesh.seen().map(|(name, count)| (Protocol::Mesh, name, count));
        rest.chain(grpc).chain(mesh)
    }
}

/// gRPC's status for one that is not told.
const UNKNOWN: usize = 2;

impl Requests {
    /// A request for `operation` was answered after `took`.
    pub(crate) fn record(&self, operation: &'static str, ended: Ended, took: Duration) {
        let find = |rows: &[Arc<Row>]| rows.iter().find(|row| row.operation == operation).cloned();
        let row = find(&self.rows.load()).unwrap_or_else(|| {
            let _adding = self.adding.lock();
            let mut rows = self.rows.load().to_vec();
            find(&rows).unwrap_or_else(|| {
                let row = Arc::new(Row::new(operation));
                rows.push(row.clone());
                rows.sort_unstable_by_key(|row| row.operation);
                self.rows.store(Arc::new(rows));
                row
            })
        });
        row.count(ended, took);
    }

    fn tell(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let rows = self.rows.load();
        let counts = rows.iter().flat_map(|row| {
            row.seen().map(move |(protocol, outcome, count)| {
                let protocol = Protocol::WORDS[protocol as usize];
                ([("operation", row.operation), ("outcome", outcome), ("protocol", protocol)], count)
            })
        });
        sheet.counters(
            "oprc_gateway_requests",
            "Requests answered, by what they asked for and came to.",
            counts,
        )?;
        let durations = rows.iter().flat_map(|row| {
            let by_protocol = Protocol::WORDS.into_iter().zip(&row.durations);
            let used = by_protocol.filter(|(_, durations)| durations.count() > 0);
            used.map(move |(protocol, durations)| {
                ([("operation", row.operation), ("protocol", protocol)], durations)
            })
        });
        let help = "How long requests took, from their head to the head of the response.";
        sheet.histograms("oprc_gateway_request_duration_seconds", help, durations)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_grpc_method_has_an_operation_and_what_is_made_up_has_none() {
        let protos = [
            include_str!("../proto/oprc/v1/invocation.proto"),
            include_str!("../proto/oprc/v1/object.proto"),
            include_str!("../proto/oprc/v1/event.proto"),
        ];
        let mut methods = 0;
        for proto in protos {
            let words: Vec<&str> = proto.split_whitespace().collect();
            let at = words.iter().position(|word| *word == "service").unwrap();
            for rpc in words.windows(2).filter(|pair| pair[0] == "rpc") {
                let path = format!("/oprc.v1.{}/{}", words[at + 1], rpc[1].split('(').next().unwrap());
                assert_ne!(grpc_operation(&path), OTHER, "{path}");
                methods += 1;
            }
        }
        assert_eq!(methods, METHODS.len());
        assert_eq!(grpc_operation("/grpc.health.v1.Health/Check"), "health");
        for made_up in ["", "/oprc.v1.InvocationService/Made", "/made.Up/Invoke"] {
            assert_eq!(grpc_operation(made_up), OTHER);
        }
    }

    #[test]
    fn requests_are_counted_by_operation_and_end() {
        let requests = Requests::default();
        for ended in [Ended::Rest(None), Ended::Rest(Some(Code::Trap)), Ended::Grpc(5), Ended::Grpc(99)] {
            requests.record("invoke", ended, Duration::from_millis(1));
        }
        requests.record("describe", Ended::Rest(None), Duration::ZERO);
        let rows = requests.rows.load();
        assert_eq!(rows.iter().map(|row| row.operation).collect::<Vec<_>>(), ["describe", "invoke"]);
        let seen: Vec<_> = rows[1].seen().collect();
        let (rest, grpc) = (Protocol::Rest, Protocol::Grpc);
        assert_eq!(seen, [(rest, "ok", 1), (rest, "trap", 1), (grpc, "unknown", 1), (grpc, "not-found", 1)]);
        assert_eq!(rows[1].durations.each_ref().map(Histogram::count), [2, 2, 0]);
    }
}

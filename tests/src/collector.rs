//! An OpenTelemetry collector in the test's own process: takes spans by OTLP over gRPC, and keeps them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span as Told};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic::{Request, Response, Status};

use crate::eventually;

/// A span as the collector got it. Ids are hexadecimal; the parent's is empty for one that has none.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are OpenTelemetry's")]
pub struct Span {
    pub service: String,
    pub role: String,
    pub name: String,
    /// 1 internal, 2 server, 3 client, 4 producer, 5 consumer.
    pub kind: i32,
    pub trace: String,
    pub id: String,
    pub parent: String,
    pub state: String,
    /// Values as text.
    pub attributes: BTreeMap<String, String>,
    /// Each with its attributes.
    pub events: Vec<(String, BTreeMap<String, String>)>,
    /// Traces that it points at.
    pub links: Vec<String>,
    /// The code that it failed with; none when it did not fail.
    pub failed: Option<String>,
}

type Spans = Arc<Mutex<Vec<Span>>>;

/// See the module. Dropped, it stops.
pub struct Collector {
    port: u16,
    spans: Spans,
    serving: JoinHandle<()>,
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Without a place to keep them spans are taken and forgotten.
struct Keep(Option<Spans>);

#[tonic::async_trait]
impl TraceService for Keep {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        if let Some(spans) = &self.0 {
            let told = request.into_inner().resource_spans.into_iter().flat_map(spans_of);
            spans.lock().unwrap_or_else(PoisonError::into_inner).extend(told);
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// Begins to listen.
    ///
    /// # Panics
    /// When there is no port.
    pub async fn start() -> Self {
        let spans = Spans::default();
        Self::taking(spans.clone(), Keep(Some(spans))).await
    }

    /// The same for one that keeps nothing.
    pub async fn forgetful() -> Self {
        Self::taking(Spans::default(), Keep(None)).await
    }

    async fn taking(spans: Spans, keep: Keep) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let port = listener.local_addr().expect("it listens").port();
        let service = TowerToHyperService::new(TraceServiceServer::new(keep));
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let connection = http2::Builder::new(TokioExecutor::new());
                tokio::spawn(connection.serve_connection(TokioIo::new(stream), service.clone()));
            }
        });
        Self { port, spans, serving }
    }

    /// What roles take as `--otlp-endpoint`.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// All spans of a trace that have come.
    pub fn of(&self, trace: &str) -> Vec<Span> {
        self.all().into_iter().filter(|span| span.trace == trace).collect()
    }

    /// All spans that have come.
    pub fn all(&self) -> Vec<Span> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until a trace has spans of all these names, and gives all that it has then.
    pub async fn trace(&self, trace: &str, names: &[&str]) -> Vec<Span> {
        eventually(&format!("spans {names:?} of {trace}"), || async {
            let spans = self.of(trace);
            let has = |name: &&str| spans.iter().any(|span| span.name == *name);
            names.iter().all(has).then_some(spans)
        })
        .await
    }
}

fn spans_of(told: ResourceSpans) -> Vec<Span> {
    let resource = attributes(told.resource.map(|resource| resource.attributes).unwrap_or_default());
    let of = |name: &str| resource.get(name).cloned().unwrap_or_default();
    let (service, role) = (of("service.name"), of("oprc.role"));
    let spans = told.scope_spans.into_iter().flat_map(|scope| scope.spans);
    spans.map(|span| Span { service: service.clone(), role: role.clone(), ..of_told(span) }).collect()
}

fn of_told(told: Told) -> Span {
    let failed = told.status.filter(|status| status.code == 2).map(|status| status.message);
    Span {
        service: String::new(),
        role: String::new(),
        name: told.name,
        kind: told.kind,
        trace: hex(&told.trace_id),
        id: hex(&told.span_id),
        parent: hex(&told.parent_span_id),
        state: told.trace_state,
        attributes: attributes(told.attributes),
        events: told.events.into_iter().map(|event| (event.name, attributes(event.attributes))).collect(),
        links: told.links.iter().map(|link| hex(&link.trace_id)).collect(),
        failed,
    }
}

fn attributes(told: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value: Option<Value>| match value {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(truth)) => truth.to_string(),
        other => format!("{other:?}"),
    };
    told.into_iter().map(|one| (one.key, text(one.value.and_then(|value| value.value)))).collect()
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // writing to a String cannot fail
        text
    })
}

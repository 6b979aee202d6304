//! Sends the spans that this process makes to an OpenTelemetry collector, by OTLP over gRPC.
//!
//! Nobody who is served waits for it: an ended span goes into a bounded queue, from which a thread of its own sends batches.
//! While the collector is away or slow the queue fills, and what does not fit is dropped, counted, and told of in the log.

mod bounded;

use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{KeyValue, global::BoxedTracer};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider};

use self::bounded::{Bounded, Counted, QUEUE_SPANS_MAX};
use crate::args::TraceArgs;
use crate::failure::Failure;

/// A batch that the collector has not taken in so long is given up.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);
/// A span is sent so long after its end, at the latest.
const DELAY: Duration = Duration::from_secs(1);
/// Spans sent at once.
const BATCH_SPANS_MAX: usize = 512;
/// The end of the process waits so long for the last spans to be sent.
const FLUSH: Duration = Duration::from_secs(3);

/// Runs a role with traces, if the flags ask for them, and sends what is left of them when it ends.
///
/// # Errors
/// What the role fails with; a collector's address that cannot be used.
pub(crate) async fn around(
    args: TraceArgs,
    role: &'static str,
    work: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    let provider = start(&args, role)?;
    let outcome = work.await;
    if let Some(provider) = provider {
        flush(provider).await;
    }
    outcome
}

fn start(args: &TraceArgs, role: &'static str) -> Result<Option<SdkTracerProvider>, Failure> {
    let Some(endpoint) = &args.otlp_endpoint else { return Ok(None) };
    let exporter = SpanExporter::builder().with_tonic().with_endpoint(endpoint.as_str());
    let exporter = exporter.with_timeout(EXPORT_TIMEOUT).build();
    let exporter = exporter.map_err(|error| Failure::role(format!("sending traces to {endpoint}"), error))?;
    let (exporter, room) = Counted::new(exporter, endpoint.to_string());
    let batches = BatchConfigBuilder::default()
        .with_max_queue_size(QUEUE_SPANS_MAX)
        .with_max_export_batch_size(BATCH_SPANS_MAX)
        .with_scheduled_delay(DELAY)
        .build();
    let batches = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
    let resource = Resource::builder()
        .with_service_name(args.trace_service.clone())
        .with_attributes([
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("oprc.role", role),
        ])
        .build();
    let provider = SdkTracerProvider::builder()
        .with_resource(resource)
        // what is not to be traced makes no span
        .with_sampler(Sampler::AlwaysOn)
        .with_span_processor(Bounded::new(batches, room))
        .build();
    let tracer = BoxedTracer::new(Box::new(provider.tracer("oprc")));
    oprc_mesh::trace::install(tracer, args.trace_sample);
    tracing::info!(%endpoint, sample = args.trace_sample, "traces are sent");
    Ok(Some(provider))
}

/// Sends what is left, for a bounded time. On a thread of its own, which nobody waits for after that: a collector that hangs
/// does not hold up the end of the process.
async fn flush(provider: SdkTracerProvider) {
    let (done, ended) = tokio::sync::oneshot::channel();
    let thread = std::thread::Builder::new().name("oprc-traces".into()).spawn(move || {
        let _ = done.send(provider.shutdown_with_timeout(FLUSH)); // nobody may wait any more
    });
    let sent = match thread {
        Ok(_) => tokio::time::timeout(FLUSH, ended).await,
        Err(error) => return tracing::warn!(%error, "the last spans were not sent"),
    };
    match sent {
        Ok(Ok(Ok(()))) => {}
        Ok(Ok(Err(error))) => tracing::warn!(%error, "the last spans were not sent"),
        Ok(Err(_)) | Err(_) => tracing::warn!("the last spans were not sent in time"),
    }
}

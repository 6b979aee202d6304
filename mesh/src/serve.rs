//! The serving side of a mesh call: decode, run the handler in a task of its own, publish the reply. The Zenoh callback
//! itself only moves bytes and never blocks.

use std::sync::{Arc, Weak};
use std::time::Duration;

use prost::Message as _;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::limits::DEADLINE_MS_MAX;
use crate::mesh::{Handler, Inner};
use crate::outcome::{Code, Effect, Problem};
use crate::session::reply_key;
use crate::wire::{Op, Reply, Request, VERSION};

/// Requests from the mesh under way at once; one more is `overloaded`.
const REQUESTS_MAX: usize = 8_192;

/// What the Zenoh callback needs.
pub(crate) struct Server {
    inner: Weak<Inner>, // weakly: the session owns the callback and `Inner` owns the session
    handler: Arc<dyn Handler>,
    admission: Arc<Semaphore>,
    runtime: tokio::runtime::Handle,
}

impl Server {
    pub(crate) fn new(inner: Weak<Inner>, handler: Arc<dyn Handler>) -> Self {
        let admission = Arc::new(Semaphore::new(REQUESTS_MAX));
        Self { inner, handler, admission, runtime: tokio::runtime::Handle::current() }
    }

    /// Takes one encoded request. Bytes that are no request are counted as noise and dropped: without a correlation id
    /// there is nobody to answer.
    pub(crate) fn accept(&self, payload: &[u8]) {
        let Some(inner) = self.inner.upgrade() else { return };
        let request = match Request::decode(payload) {
            Ok(request) => request,
            Err(error) => return tracing::warn!(%error, bytes = payload.len(), "dropped a malformed request"),
        };
        let Ok(permit) = self.admission.clone().try_acquire_owned() else {
            let problem = Problem::new(Code::Overloaded, "too many requests from the mesh")
                .with_effect(Effect::NotRun)
                .retry_after_ms(100);
            let refusal = reply(inner.clone(), request.reply_to, request.correlation, Err(problem));
            inner.tasks.spawn_on(refusal, &self.runtime);
            return;
        };
        let handler = self.handler.clone();
        inner.tasks.clone().spawn_on(
            async move {
                let outcome = run(&*handler, request.version, request.op, request.timeout_ms).await;
                reply(inner, request.reply_to, request.correlation, outcome).await;
                drop(permit);
            },
            &self.runtime,
        );
    }
}

async fn run(
    handler: &dyn Handler,
    version: u32,
    op: Option<Op>,
    timeout_ms: u64,
) -> Result<crate::wire::Answer, Problem> {
    if version > VERSION {
        let detail = format!("the request is of mesh version {version}; this node knows {VERSION}");
        return Err(Problem::new(Code::Unavailable, detail).with_effect(Effect::NotRun));
    }
    let Some(op) = op else {
        let problem = Problem::new(Code::Invalid, "the request names no operation that this node knows");
        return Err(problem.with_effect(Effect::NotRun));
    };
    let deadline = Instant::now() + Duration::from_millis(timeout_ms.min(DEADLINE_MS_MAX));
    handler.handle(op, deadline).await
}

async fn reply(
    inner: Arc<Inner>,
    reply_to: String,
    correlation: u64,
    outcome: Result<crate::wire::Answer, Problem>,
) {
    let (answer, problem) = match outcome {
        Ok(answer) => (Some(answer), None),
        Err(problem) => (None, Some(problem)),
    };
    let payload = Reply { version: VERSION, correlation, problem, answer }.encode_to_vec();
    if let Some(link) = &inner.link
        && let Err(error) = link.publish(&reply_key(&reply_to), payload).await
    {
        tracing::warn!(%error, "a reply was lost");
    }
}

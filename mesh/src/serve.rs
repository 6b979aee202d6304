//! The serving side of a mesh call: decode, run the handler in a task of its own, publish the reply. The Zenoh callback
//! itself only moves bytes and never blocks.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use parking_lot::Mutex;
use prost::Message as _;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::config::Handler;
use crate::frame::Origin;
use crate::keys::Route;
use crate::limits::DEADLINE_MS_MAX;
use crate::member::{Member, too_late};
use crate::outcome::{Code, Effect, Problem};
use crate::trace::Span;
use crate::ways::Way;
use crate::wire::{Answer, Op, Reply, Request, VERSION};

/// Requests from the mesh under way at once; one more is `overloaded`. As many again may be calls that others wait for:
/// what waits must not keep out what it waits for.
const REQUESTS_MAX: usize = 8_192;

/// What the Zenoh callbacks need.
#[derive(Clone)]
pub(crate) struct Server {
    member: Weak<Member>, // weakly: the session owns the callbacks and `Member` owns the session
    handler: Arc<dyn Handler>,
    admission: Arc<Semaphore>,
    /// For nested calls.
    nested: Arc<Semaphore>,
    /// What is under way, by the caller's inbox and correlation id.
    running: Arc<Callers>,
    runtime: tokio::runtime::Handle,
}

type Caller = (String, u64);
type Callers = Mutex<HashMap<Caller, CancellationToken>>;

/// A request under way, for as long as it lives.
struct Running {
    callers: Arc<Callers>,
    caller: Caller,
    cancelled: CancellationToken,
}

impl Running {
    fn register(callers: &Arc<Callers>, caller: Caller) -> Self {
        let cancelled = CancellationToken::new();
        callers.lock().insert(caller.clone(), cancelled.clone());
        Self { callers: callers.clone(), caller, cancelled }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.callers.lock().remove(&self.caller);
    }
}

impl Server {
    pub(crate) fn new(member: Weak<Member>, handler: Arc<dyn Handler>) -> Self {
        let [admission, nested] = [(); 2].map(|()| Arc::new(Semaphore::new(REQUESTS_MAX)));
        let runtime = tokio::runtime::Handle::current();
        Self { member, handler, admission, nested, running: Arc::default(), runtime }
    }

    /// Takes one encoded request. Bytes that are no request are dropped: without a correlation id there is nobody to
    /// answer.
    pub(crate) fn accept(&self, origin: Origin, message: Bytes) {
        let Some(member) = self.member.upgrade() else { return };
        let bytes = message.len();
        let request = match Request::decode(message) {
            Ok(request) if request.withdrawn => return self.cancel(&(request.reply_to, request.correlation)),
            Ok(request) => request,
            Err(error) => return tracing::warn!(%error, bytes, "dropped a malformed request"),
        };
        let back =
            Back { way: Way::back(origin.via), inbox: request.reply_to, correlation: request.correlation };
        if member.closing.is_cancelled() {
            let problem = Problem::new(Code::Unavailable, "the host is stopping").with_effect(Effect::NotRun);
            return back.reply(&member, Err(problem));
        }
        let admission = if is_nested(request.op.as_ref()) { &self.nested } else { &self.admission };
        let Ok(permit) = admission.clone().try_acquire_owned() else {
            let problem = Problem::new(Code::Overloaded, "too many requests from the mesh")
                .with_effect(Effect::NotRun)
                .retry_after_ms(100);
            return back.reply(&member, Err(problem));
        };
        let caller = (back.inbox.clone(), back.correlation);
        let running = Running::register(&self.running, caller);
        let handler = self.handler.clone();
        let span = Span::of_wire(request.trace.as_ref());
        member.tasks.clone().spawn_on(
            async move {
                let work = run(&*handler, request.version, request.op, request.timeout_ms);
                // a handler that panics still answers, and leaves nothing behind
                let work = AssertUnwindSafe(span.within(work)).catch_unwind();
                let outcome = running.cancelled.run_until_cancelled(work).await;
                if let Some(outcome) = outcome {
                    let outcome = outcome.unwrap_or_else(|_| Err(panicked()));
                    back.reply(&member, outcome);
                }
                drop((running, permit));
            },
            &self.runtime,
        );
    }

    /// A caller waits no more: its request is dropped where it stands.
    fn cancel(&self, caller: &Caller) {
        if let Some(running) = self.running.lock().get(caller) {
            running.cancel();
        }
    }
}

async fn run(
    handler: &dyn Handler,
    version: u32,
    op: Option<Op>,
    timeout_ms: u64,
) -> Result<Answer, Problem> {
    if version > VERSION {
        let detail = format!("the request is of mesh version {version}; this node knows {VERSION}");
        return Err(Problem::new(Code::Unavailable, detail).with_effect(Effect::NotRun));
    }
    let Some(op) = op else { return Err(no_operation()) };
    let deadline = Instant::now() + Duration::from_millis(timeout_ms.min(DEADLINE_MS_MAX));
    timeout_at(deadline, handler.handle(op, deadline)).await.unwrap_or_else(|_| Err(too_late()))
}

/// Whether somebody's turn waits for it.
fn is_nested(op: Option<&Op>) -> bool {
    matches!(op, Some(Op::Invoke(invoke)) if !invoke.chain.is_empty())
}

fn no_operation() -> Problem {
    let problem = Problem::new(Code::Invalid, "the request names no operation that this node knows");
    problem.with_effect(Effect::NotRun)
}

fn panicked() -> Problem {
    Problem::new(Code::Internal, "the host panicked; its log says where").with_effect(Effect::Unknown)
}

/// Where a reply goes.
struct Back {
    way: Way,
    inbox: String,
    correlation: u64,
}

impl Back {
    fn reply(self, member: &Member, outcome: Result<Answer, Problem>) {
        let Self { way, inbox, correlation } = self;
        let (answer, problem) = match outcome {
            Ok(answer) => (Some(answer), None),
            Err(problem) => (None, Some(problem)),
        };
        let payload = Reply { version: VERSION, correlation, problem, answer }.encode_to_vec();
        if let Some(link) = &member.link
            && let Err(error) = link.send(way.route(Route::Replies(inbox)), payload)
        {
            tracing::warn!(%error, "a reply was lost");
        }
    }
}

//! Calls that a turn makes of other objects and of functions, and waits for.
//!
//! A turn may be run again, after a crash or because its commit was refused: its n-th call has the same id then, and the
//! callee's own record answers it. So only what is certain may reach the guest: a result, or a failure that is the
//! callee's own. Where nobody knows, the turn ends without an outcome ([`ended_open`]), and whoever tries it again finds
//! out.

use std::sync::Arc;

use bytes::Bytes;
use oprc_mesh::catalog::{CatalogView, Class, ClassLimits};
use oprc_mesh::id::{ClassName, MethodName};
use oprc_mesh::limits::NESTED_RESULT_BYTES_MAX;
use oprc_mesh::outcome::{Code, Effect, Problem};
use oprc_mesh::wire::{Answer, Form, Header, Invoke, Invoked, Op, Waiting};
use oprc_odgm::crash_point;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use super::access::Mode;
use super::once::fingerprint;
use super::others::Others;
use crate::value::is_json;
use crate::wasm::{Called, Callee, Output};

/// The pause before a callee that had no room is asked again.
const ROOM_PAUSE: std::time::Duration = std::time::Duration::from_millis(20);

/// One run of a method or function, as far as what it calls is concerned.
pub(crate) struct Caller {
    /// What the ids of its calls are made from, beside their number.
    root: Bytes,
    /// Somebody may try it again hours later.
    keyed: bool,
    /// Those that wait for it, and itself.
    chain: Vec<Waiting>,
    reads_only: bool,
    identity: String,
    headers: Vec<Header>,
    depth_max: u64,
    made: u64,
}

/// Which try of its message a turn is run for: the outcome of an earlier one is settled, and its calls were its own.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Round {
    pub(crate) attempts: u32,
    pub(crate) is_message: bool,
}

impl Caller {
    /// The run that `invoke` asks for.
    pub(super) fn of(invoke: &Invoke, mode: Mode, round: Round, limits: &ClassLimits) -> Self {
        let object = invoke.object.clone();
        let mut chain = invoke.chain.clone();
        chain.push(Waiting { class: invoke.class.clone(), object });
        let root = fingerprint(&[
            invoke.class.as_bytes(),
            invoke.object.as_deref().unwrap_or_default().as_bytes(),
            invoke.method.as_bytes(),
            invoke.invocation.as_bytes(),
            &round.attempts.to_le_bytes(),
        ]);
        Self {
            root,
            keyed: invoke.keyed || round.is_message,
            chain,
            reads_only: mode == Mode::ReadOnly && invoke.object.is_some(),
            identity: invoke.caller.clone(),
            headers: invoke.headers.clone(),
            depth_max: limits.call_depth,
            made: 0,
        }
    }

    /// How many calls it has made.
    pub(super) fn made(&self) -> u64 {
        self.made
    }

    /// The next call; or why it is not made, for the guest to see.
    ///
    /// # Errors
    /// A misuse.
    fn next(&mut self, callee: Callee, view: &CatalogView) -> Result<Result<Outgoing, Problem>, Problem> {
        let number = self.made;
        self.made += 1;
        if self.waits(&callee) {
            return Ok(Err(reentrant(&callee)));
        }
        if self.chain.len() as u64 > self.depth_max {
            return Ok(Err(too_deep(&callee, self.depth_max)));
        }
        let Some(class) = view.class(callee.class.as_str()) else {
            return Ok(Err(no_class(&callee.class)));
        };
        let readonly = callee.object.is_some() && is_readonly(class, &callee.method);
        if self.reads_only && !readonly {
            return Err(writes(&callee));
        }
        Ok(Ok(self.address(callee, class, readonly, number)))
    }

    /// Whether the object that is to be called waits for this very call.
    fn waits(&self, callee: &Callee) -> bool {
        callee.object.as_ref().is_some_and(|object| {
            self.chain.iter().any(|waiting| {
                waiting.class == callee.class.as_str() && waiting.object.as_deref() == Some(object.as_str())
            })
        })
    }

    fn address(&self, callee: Callee, class: &Class, readonly: bool, number: u64) -> Outgoing {
        let json = callee.payload.is_empty() || std::str::from_utf8(&callee.payload).is_ok_and(is_json);
        let invoke = Invoke {
            class: callee.class.as_str().to_owned(),
            object: callee.object.as_ref().map(|object| object.as_str().to_owned()),
            method: callee.method.as_str().to_owned(),
            payload: callee.payload.clone(),
            form: if json { Form::Json } else { Form::Raw } as i32,
            accept: Form::Raw as i32,
            invocation: invocation(&self.root, number),
            caller: self.identity.clone(),
            headers: self.headers.clone(),
            readonly: Some(readonly),
            revision: class.revision,
            keyed: self.keyed,
            chain: self.chain.clone(),
            ..Invoke::default()
        };
        Outgoing { callee, invoke }
    }
}

/// A call on its way.
pub(super) struct Outgoing {
    pub(super) callee: Callee,
    pub(super) invoke: Invoke,
}

/// Makes a turn's next call. What it does before it first waits is to number the call.
pub(super) fn call(
    others: &Arc<Others>,
    caller: &mut Caller,
    callee: Callee,
    until: Instant,
) -> impl Future<Output = Result<Called, Problem>> + Send + use<> {
    let next = caller.next(callee, &others.view());
    let others = others.clone();
    async move {
        let called = match next? {
            Ok(outgoing) => depart(others, outgoing, until).await,
            Err(refused) => Ok(Err(refused)),
        };
        crash_point("after-call");
        called
    }
}

/// The one place at which a call leaves its turn: all that the turn builds on must be durable by now.
async fn depart(others: Arc<Others>, outgoing: Outgoing, until: Instant) -> Result<Called, Problem> {
    let subject = outgoing.callee.to_string();
    // A task of its own: a callee on this host uses neither this turn's stack nor its processor time. Dropping the turn
    // ends it, as far as it is not proposed.
    let answer = AbortOnDropHandle::new(tokio::spawn(async move { answer(&others, &outgoing, until).await }));
    let answer = match timeout_at(until, answer).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => Err(Problem::new(Code::Internal, format!("the call broke off: {error}"))),
        Err(_) => Err(Problem::new(Code::Deadline, "no answer in time").with_effect(Effect::Unknown)),
    };
    match answer {
        Ok(Answer::Invoked(Invoked { payload, .. })) => Ok(Ok(payload.unwrap_or_default())),
        Ok(_) => Err(Problem::new(Code::Internal, "a host answered with something else than was asked for")),
        Err(problem) => told(&subject, problem),
    }
}

/// Asks until there is room: what waits for it holds some of it.
async fn answer(others: &Others, outgoing: &Outgoing, until: Instant) -> Result<Answer, Problem> {
    let Outgoing { callee, invoke } = outgoing;
    loop {
        let op = Op::Invoke(invoke.clone());
        let answer = match &callee.object {
            Some(object) => others.invoke(&callee.class, object, op, until).await,
            None => others.call_here(op, until).await,
        };
        match answer {
            Err(problem) if problem.kind() == Code::Overloaded && Instant::now() + ROOM_PAUSE < until => {
                sleep(ROOM_PAUSE).await;
            }
            answer => return answer,
        }
    }
}

/// What the guest is told of a call that failed.
///
/// # Errors
/// What ends the turn: it is not known what came of the call, or another one was made in its place.
fn told(subject: &str, problem: Problem) -> Result<Called, Problem> {
    match problem.kind() {
        Code::FunctionError
        | Code::Trap
        | Code::CpuLimit
        | Code::MemoryLimit
        | Code::WriteLimit
        | Code::WallLimit
        | Code::PayloadTooLarge
        | Code::ObjectTooLarge
        | Code::ReentrantCall
        | Code::CallDepth
        | Code::NotFound
        | Code::Invalid
        | Code::Unauthenticated
        | Code::Denied => Ok(Err(problem)),
        Code::IdempotencyMismatch => Err(differs(subject)),
        Code::NondeterministicRerun => {
            let detail = format!("{subject} was run again for this call: {}", problem.detail);
            Err(Problem::new(Code::NondeterministicRerun, detail))
        }
        Code::CallTimeout => Err(Problem::new(Code::CallTimeout, format!("{subject}: {}", problem.detail))),
        _ => Err(Problem::new(Code::CallTimeout, format!("{subject} gave no answer: {problem}"))),
    }
}

/// Whether a run that failed so came to no outcome: time ran out while it may have been waiting. Run again, its calls
/// answer at once, and it may get further.
pub(super) fn ended_open(problem: &Problem, calls: u64) -> bool {
    match problem.kind() {
        Code::CallTimeout => true,
        Code::WallLimit | Code::Deadline => calls > 0,
        _ => false,
    }
}

/// A result for a turn that waits for it: that turn must get it again when it is run again, so it has to be small enough to
/// be kept.
///
/// # Errors
/// `payload-too-large`.
pub(super) fn repeatable(invoke: &Invoke, output: Output) -> Result<Output, Problem> {
    let bytes = output.payload.as_ref().map_or(0, Bytes::len);
    if invoke.chain.is_empty() || bytes <= NESTED_RESULT_BYTES_MAX {
        return Ok(output);
    }
    let detail = format!(
        "the result has {bytes} bytes; a method that writes may give {NESTED_RESULT_BYTES_MAX} to another one"
    );
    Err(Problem::new(Code::PayloadTooLarge, detail))
}

/// The id of a caller's call. No client can choose such a one: a key has no space.
fn invocation(root: &[u8], number: u64) -> String {
    let hash = fingerprint(&[root, &number.to_le_bytes()]);
    let mut id = String::from("nested ");
    for byte in &hash[..16] {
        id.push_str(&format!("{byte:02x}"));
    }
    id
}

fn is_readonly(class: &Class, method: &MethodName) -> bool {
    // sorted by the manifest's parser
    class.settings.readonly.binary_search_by(|name| name.as_str().cmp(method.as_str())).is_ok()
}

fn reentrant(callee: &Callee) -> Problem {
    let detail = format!("{callee} cannot be called from here: its object waits for this very call");
    Problem::new(Code::ReentrantCall, detail).with_effect(Effect::NotRun)
}

fn too_deep(callee: &Callee, depth_max: u64) -> Problem {
    let detail = format!("{callee} would be call {} of the chain; call_depth = {depth_max}", depth_max + 1);
    Problem::new(Code::CallDepth, detail).with_effect(Effect::NotRun)
}

fn no_class(class: &ClassName) -> Problem {
    Problem::new(Code::NotFound, format!("class {class} is not deployed")).with_effect(Effect::NotRun)
}

fn writes(callee: &Callee) -> Problem {
    let what = if callee.object.is_some() { "is not read-only" } else { "is a function" };
    Problem::new(Code::Invalid, format!("a read-only method called {callee}, which {what}"))
        .hint("take the method out of `readonly` in the manifest, or put the one that it calls in")
}

fn differs(subject: &str) -> Problem {
    let detail = format!(
        "this turn was run before, and called something else in place of {subject}: what that did stays"
    );
    Problem::new(Code::NondeterministicRerun, detail)
}

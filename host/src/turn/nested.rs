//! Calls that a turn makes of other objects and of functions, and waits for.
//!
//! A turn may be run again, after a crash or because its commit was refused: its n-th call has the same id then, and the
//! callee's own record answers it. So only what is certain may reach the guest: a result, or a failure that is the
//! callee's own. Where nobody knows, the turn ends without an outcome ([`ended_open`]), and whoever tries it again finds
//! out.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use oprc_mesh::canary::Served;
use oprc_mesh::catalog::{CatalogView, Class};
use oprc_mesh::id::{ClassName, MethodName, ObjectId};
use oprc_mesh::limits::NESTED_RESULT_BYTES_MAX;
use oprc_mesh::outcome::{Code, Effect, Problem};
use oprc_mesh::trace::carried;
use oprc_mesh::wire::{Answer, Form, Invoke, Invoked, Op, Waiting};
use oprc_odgm::crash_point;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use super::access::Waits;
use super::gate::Gate;
use super::once::fingerprint;
use super::others::Others;
use crate::value::is_json;
use crate::wasm::{Call, Called, Callee, Output};

/// The pause before a callee that had no room is asked again.
const ROOM_PAUSE: Duration = Duration::from_millis(20);

/// A run of a method or function that makes a call.
pub(super) struct Caller<'a> {
    pub(super) call: &'a Call,
    /// None for a function.
    pub(super) object: Option<&'a ObjectId>,
    pub(super) reads_only: bool,
    /// How many calls it has made before.
    pub(super) number: u64,
}

/// A call on its way.
pub(super) struct Outgoing {
    callee: Callee,
    invoke: Invoke,
}

impl Caller<'_> {
    /// The call as it is to be sent; or why it is not made, for the guest to see.
    ///
    /// # Errors
    /// A misuse.
    fn plan(&self, callee: Callee, view: &CatalogView) -> Result<Result<Outgoing, Problem>, Problem> {
        let depth_max = self.call.limits.call_depth;
        if self.waits(&callee) {
            return Ok(Err(reentrant(&callee)));
        }
        if self.call.chain.len() as u64 >= depth_max {
            return Ok(Err(too_deep(&callee, depth_max)));
        }
        let Some(class) = view.class(callee.class.as_str()) else {
            return Ok(Err(no_class(&callee.class)));
        };
        let serving = callee.object.as_ref().map(|object| class.serving(Served::Object(object)));
        let readonly = serving.is_some_and(|serving| is_readonly(serving, &callee.method));
        if self.reads_only && !readonly {
            return Err(writes(&callee));
        }
        Ok(Ok(self.address(callee, class, readonly)))
    }

    /// Whether the object that is to be called waits for this very call.
    fn waits(&self, callee: &Callee) -> bool {
        let Some(object) = &callee.object else { return false };
        let is_itself = self.object == Some(object) && self.call.class == callee.class;
        let is = |waiting: &Waiting| {
            waiting.class == callee.class.as_str() && waiting.object.as_deref() == Some(object.as_str())
        };
        is_itself || self.call.chain.iter().any(is)
    }

    fn address(&self, callee: Callee, class: &Class, readonly: bool) -> Outgoing {
        let json = callee.payload.is_empty() || std::str::from_utf8(&callee.payload).is_ok_and(is_json);
        let mut chain = self.call.chain.clone();
        let object = self.object.map(|object| object.as_str().to_owned());
        chain.push(Waiting { class: self.call.class.as_str().to_owned(), object });
        let invoke = Invoke {
            class: callee.class.as_str().to_owned(),
            object: callee.object.as_ref().map(|object| object.as_str().to_owned()),
            method: callee.method.as_str().to_owned(),
            payload: callee.payload.clone(),
            form: if json { Form::Json } else { Form::Raw } as i32,
            accept: Form::Raw as i32,
            invocation: self.invocation(),
            caller: self.call.caller.clone(),
            headers: self.call.headers.clone(),
            readonly: Some(readonly),
            revision: class.revision,
            keyed: self.call.keyed,
            chain,
            ..Invoke::default()
        };
        Outgoing { callee, invoke }
    }

    /// The call's id: the same when the run is run again. No client can choose such a one, for a key has no space.
    fn invocation(&self) -> String {
        let call = self.call;
        let hash = fingerprint(&[
            call.class.as_str().as_bytes(),
            self.object.map_or("", ObjectId::as_str).as_bytes(),
            call.method.as_str().as_bytes(),
            call.invocation.as_bytes(),
            &call.attempts.to_le_bytes(),
            &self.number.to_le_bytes(),
        ]);
        let head = hash.first_chunk::<16>().copied().unwrap_or_default(); // it has 32
        format!("nested {:032x}", u128::from_be_bytes(head))
    }
}

/// Makes a call, once all that the turn builds on is durable.
pub(super) fn call(
    others: &Arc<Others>,
    from: &Caller<'_>,
    callee: Callee,
    until: Instant,
    gate: Option<Gate>,
) -> impl Future<Output = Result<Called, Problem>> + Send + use<> {
    let plan = from.plan(callee, &others.view());
    let others = others.clone();
    async move {
        let answer = match plan? {
            Ok(outgoing) => {
                if let Some(gate) = gate {
                    gate.pass(until).await?;
                }
                depart(others, outgoing, until).await
            }
            Err(refused) => Ok(Err(refused)),
        };
        crash_point("after-call");
        answer
    }
}

/// The one place at which a call leaves its turn.
async fn depart(others: Arc<Others>, outgoing: Outgoing, until: Instant) -> Result<Called, Problem> {
    let subject = outgoing.callee.to_string();
    // A task of its own: a callee on this host uses neither this turn's stack nor its processor time. Dropping the turn
    // ends it, as far as it is not proposed.
    let asked = carried(async move { answer(&others, &outgoing, until).await });
    let answer = AbortOnDropHandle::new(tokio::spawn(asked));
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

/// Whether a run that failed so came to no outcome: it waited in vain. Run again, its calls answer at once, and it may get
/// further.
pub(super) fn ended_open(problem: &Problem) -> bool {
    problem.kind() == Code::CallTimeout
}

/// How a run fails that has waited for others: when its time was over it may have spent that waiting, and so has come to no
/// outcome.
fn failed(waits: Waits, problem: Problem) -> Problem {
    match problem.kind() {
        Code::WallLimit | Code::Deadline if waits.any() => {
            let detail = format!("{}; it had called others, or sent requests", problem.detail);
            Problem { spent: waits.calls == 0, ..Problem::new(Code::CallTimeout, detail) }
        }
        _ => problem,
    }
}

/// How a run fails that nobody will run again: what commits nothing itself.
pub(super) fn failed_for_good(waits: Waits, problem: Problem) -> Problem {
    let problem = failed(waits, problem);
    if waits.any() { after_calls(problem) } else { problem }
}

/// What a turn says that called others and was not committed: on its own it would say that it did not run.
pub(super) fn after_calls(problem: Problem) -> Problem {
    match problem.kind() {
        Code::NotLeader
        | Code::StaleClass
        | Code::NoQuorum
        | Code::Unavailable
        | Code::Overloaded
        | Code::Deadline => {
            let detail = format!("what the turn called may be done, the turn is not: {}", problem.detail);
            Problem::new(Code::Unavailable, detail).with_effect(Effect::Unknown)
        }
        _ => problem,
    }
}

/// What a run came to that waited so often for others. What another turn waits for must be small enough to be kept, because
/// that turn is to get it again when it is run again.
pub(super) fn outcome(
    invoke: &Invoke,
    waits: Waits,
    outcome: Result<Output, Problem>,
) -> Result<Output, Problem> {
    let outcome = outcome.map_err(|problem| failed(waits, problem));
    let bytes = match &outcome {
        Ok(output) => output.payload.as_ref().map_or(0, Bytes::len),
        Err(problem) => problem.error.len(),
    };
    if invoke.chain.is_empty() || bytes <= NESTED_RESULT_BYTES_MAX {
        return outcome;
    }
    let detail = format!(
        "the result has {bytes} bytes; a method that writes may give {NESTED_RESULT_BYTES_MAX} to another one"
    );
    Err(Problem::new(Code::PayloadTooLarge, detail))
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::wasm::bench::call as sample;

    fn object(id: &str) -> ObjectId {
        ObjectId::parse(id).unwrap()
    }

    fn callee(id: Option<&str>, method: &str) -> Callee {
        let (class, method) = (ClassName::parse("C").unwrap(), MethodName::parse(method).unwrap());
        Callee { class, object: id.map(object), method, payload: Bytes::new() }
    }

    fn view() -> CatalogView {
        let mut class = Class { name: "C".into(), revision: 7, ..Class::default() };
        class.settings.readonly = vec!["value".into()];
        CatalogView { classes: vec![class], ..CatalogView::default() }
    }

    /// A call of `C/a.m`, for which so many others wait: `C/w0` and so on.
    fn waited_for_by(others: usize) -> Call {
        let waiting = |n| Waiting { class: "C".into(), object: Some(format!("w{n}")) };
        Call { chain: (0..others).map(waiting).collect(), ..sample("C", "m").unwrap() }
    }

    /// What becomes of a call that `C/a` makes, which only reads or does not.
    fn planned(call: &Call, reads_only: bool, callee: Callee) -> Result<Result<Invoke, Code>, Code> {
        let from = Caller { call, object: Some(&object("a")), reads_only, number: 0 };
        match from.plan(callee, &view()) {
            Ok(plan) => Ok(plan.map(|outgoing| outgoing.invoke).map_err(|problem| problem.kind())),
            Err(problem) => Err(problem.kind()),
        }
    }

    #[test]
    fn an_object_that_waits_is_not_called_and_no_chain_is_too_deep() {
        let call = waited_for_by(2);
        for waiting in ["a", "w0", "w1"] {
            assert_eq!(planned(&call, false, callee(Some(waiting), "m")), Ok(Err(Code::ReentrantCall)));
        }
        let invoke = planned(&call, false, callee(Some("w2"), "m")).unwrap().unwrap();
        let chain: Vec<_> = invoke.chain.iter().map(|waiting| waiting.object.as_deref().unwrap()).collect();
        assert_eq!((chain, invoke.revision, invoke.readonly), (vec!["w0", "w1", "a"], 7, Some(false)));
        let depth_max = call.limits.call_depth as usize;
        assert!(planned(&waited_for_by(depth_max - 1), false, callee(None, "f")).unwrap().is_ok());
        assert_eq!(planned(&waited_for_by(depth_max), false, callee(None, "f")), Ok(Err(Code::CallDepth)));
    }

    #[test]
    fn what_reads_calls_only_what_reads() {
        let call = waited_for_by(0);
        assert!(planned(&call, true, callee(Some("b"), "value")).unwrap().is_ok());
        for writes in [callee(Some("b"), "m"), callee(None, "f"), callee(None, "value")] {
            assert_eq!(planned(&call, true, writes), Err(Code::Invalid));
        }
        let unknown = Callee { class: ClassName::parse("D").unwrap(), ..callee(Some("b"), "value") };
        assert_eq!(planned(&call, true, unknown), Ok(Err(Code::NotFound)));
    }

    #[test]
    fn a_call_has_the_same_id_in_each_run_and_no_other_call_has_it() {
        let id = |call: &Call, of: Option<&str>, number| {
            let of = of.map(object);
            Caller { call, object: of.as_ref(), reads_only: false, number }.invocation()
        };
        let call = waited_for_by(0);
        let first = id(&call, Some("a"), 0);
        assert_eq!(first, id(&waited_for_by(1), Some("a"), 0));
        let others = [
            id(&call, Some("a"), 1),
            id(&call, Some("b"), 0),
            id(&call, None, 0),
            id(&Call { attempts: 1, ..call.clone() }, Some("a"), 0),
            id(&Call { invocation: "other".into(), ..call.clone() }, Some("a"), 0),
            id(&Call { method: MethodName::parse("n").unwrap(), ..call.clone() }, Some("a"), 0),
        ];
        assert!(others.iter().all(|other| *other != first));
        assert!(first.contains(' '), "so no client can have chosen it");
    }

    #[test]
    fn only_what_is_certain_is_told_the_guest() {
        for &code in Code::ALL {
            match told("C/b.m", Problem::new(code, "x")) {
                Ok(Err(problem)) => assert_eq!(problem.kind(), code),
                Ok(Ok(_)) => panic!("{code:?} is no result"),
                Err(problem) if code == Code::IdempotencyMismatch || code == Code::NondeterministicRerun => {
                    assert_eq!(problem.kind(), Code::NondeterministicRerun);
                }
                Err(problem) => assert!(ended_open(&problem), "{code:?}: it may be tried again"),
            }
        }
        for open in [Code::Unavailable, Code::NoQuorum, Code::NotLeader, Code::Deadline, Code::Internal] {
            assert!(told("C/b.m", Problem::new(open, "x")).is_err(), "{open:?}");
        }
    }

    #[test]
    fn a_turn_that_called_others_never_says_that_it_did_not_run() {
        for &code in Code::ALL {
            let said = after_calls(Problem::new(code, "x").with_effect(Effect::Unsaid));
            let tried_elsewhere = matches!(said.kind(), Code::NotLeader | Code::StaleClass);
            assert!(!tried_elsewhere && said.effect() != Effect::NotRun, "{code:?}");
        }
        let said = after_calls(Problem::new(Code::NoQuorum, "x").with_effect(Effect::NotRun));
        assert_eq!((said.kind(), said.effect()), (Code::Unavailable, Effect::Unknown));
        assert_eq!(after_calls(Problem::new(Code::Trap, "x")).kind(), Code::Trap);
    }

    #[test]
    fn what_cannot_be_kept_is_no_answer_to_one_that_waits() {
        let output = |bytes| Output { payload: Some(vec![0; bytes].into()), form: Form::Raw };
        let nested = Invoke { chain: vec![Waiting::default()], ..Invoke::default() };
        let none = Waits::default();
        assert!(outcome(&nested, none, Ok(output(NESTED_RESULT_BYTES_MAX))).is_ok());
        let refused = outcome(&nested, none, Ok(output(NESTED_RESULT_BYTES_MAX + 1))).unwrap_err();
        assert_eq!(refused.kind(), Code::PayloadTooLarge);
        assert!(outcome(&Invoke::default(), none, Ok(output(NESTED_RESULT_BYTES_MAX + 1))).is_ok());
    }

    #[test]
    fn time_that_was_over_after_a_call_is_no_outcome() {
        let open = Code::CallTimeout;
        for code in [Code::WallLimit, Code::Deadline] {
            for (calls, requests, told, spent) in
                [(0, 0, code, false), (1, 0, open, false), (1, 1, open, false), (0, 1, open, true)]
            {
                let waits = Waits { calls, requests };
                let ended = outcome(&Invoke::default(), waits, Err(Problem::new(code, "x"))).unwrap_err();
                assert_eq!((ended.kind(), ended_open(&ended)), (told, waits.any()));
                assert_eq!(ended.spent, spent, "a request is sent again, and is no nearer to its answer");
            }
        }
    }

    #[test]
    fn what_waited_for_others_never_says_that_nothing_happened() {
        let full = || Problem::new(Code::Overloaded, "no memory").with_effect(Effect::NotRun);
        let of = |waits| failed_for_good(waits, full()).effect();
        assert_eq!(of(Waits::default()), Effect::NotRun);
        assert_eq!(of(Waits { requests: 1, ..Waits::default() }), Effect::Unknown);
        assert_eq!(of(Waits { calls: 1, ..Waits::default() }), Effect::Unknown);
    }
}

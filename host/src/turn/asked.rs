//! Asynchronous calls: taken in durably before the client is told so, and looked at until they are forgotten. A call that
//! waits, or was given up, lies in its partition's boxes under its id; one that was decided has its outcome where that of
//! every call with a client's key is. So the state of a call is a look into both, and no state of its own.

use std::sync::Arc;
use std::time::Duration;

use oprc_mesh::canary::Served;
use oprc_mesh::id::{ClassName, MethodName, ObjectId};
use oprc_mesh::limits::{ASYNC_BYTES_MAX, ASYNC_CALLS_MAX};
use oprc_mesh::outcome::{Code, Effect, Problem};
use oprc_mesh::trace::Span;
use oprc_mesh::wire::{
    Consistency, FINGERPRINT_BYTES, Invocation, InvocationState, Invoke, ReadInvocation, Submit,
};
use oprc_odgm::{Asked, AskedCall, Asking, Known, Message, Partition, Told};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::once::{CallId, invoked_again, not_told};
use super::run::Turns;
use super::standing::CallKey;
use crate::classes::{LoadedClass, find};

/// Whoever waits for a call looks so often, whatever it is told: it may be decided by another call, or on another host.
const LOOK: Duration = Duration::from_secs(1);
/// What a client of a full lane is told to wait.
const RETRY_AFTER_MS: u64 = 1_000;

/// A call of a partition, by its id.
struct Place {
    partition: Arc<Partition>,
    class: ClassName,
    /// The class's number, the object or nothing, the id.
    key: CallKey,
}

impl Turns {
    /// Accepts a call: once this returns it is durable, and will be run.
    ///
    /// # Errors
    /// `not-found` for class or method, `payload-too-large`, `idempotency-mismatch`, `overloaded`, `not-leader`, `no-quorum`.
    pub(crate) async fn submit(&self, submit: Submit, deadline: Instant) -> Result<Invocation, Problem> {
        let invoke = Invoke { keyed: true, ..submit.invoke };
        let class = ClassName::parse(&invoke.class)?;
        let method = MethodName::parse(&invoke.method)?;
        let object = invoke.object.as_deref().map(ObjectId::parse).transpose()?;
        self.classes.catch_up(&class, invoke.revision, deadline).await?;
        let served = Served::of(object.as_ref(), &invoke.invocation);
        let loaded = self.classes.resolve(&class, served).await?;
        callable(&loaded, &method, &invoke)?;
        let id = CallId::of_call(&invoke, deadline)
            .ok_or_else(|| Problem::new(Code::Invalid, "an asynchronous call needs an id"))?;
        let place = self.place_of(&class, object.as_ref(), &invoke.invocation)?;
        place.partition.confirm(Consistency::Lease).await?;
        if let Some(before) = self.standing_of(&place, id.fingerprint())? {
            return before.map(|before| Invocation { replayed: true, ..before });
        }
        let message = message(&invoke, &id, place.key.0);
        match place.partition.ask(message, ASYNC_CALLS_MAX, ASYNC_BYTES_MAX).await? {
            Asking::Taken => Ok(standing(InvocationState::Pending, id.fingerprint())),
            Asking::Full => Err(overloaded(&place)),
            // somebody was quicker; if it is decided already, that is as good
            Asking::Same => match self.standing_of(&place, id.fingerprint())? {
                Some(before) => before.map(|before| Invocation { replayed: true, ..before }),
                None => Ok(standing(InvocationState::Pending, id.fingerprint())),
            },
            Asking::Other => Err(id.mismatch()),
        }
    }

    /// Where a call stands; waits, as long as the caller wants and this host is not about to stop, until it is decided.
    ///
    /// # Errors
    /// `not-found` when there never was such a call or it is forgotten; `not-leader`, `no-quorum`.
    pub(crate) async fn invocation(
        &self,
        read: &ReadInvocation,
        deadline: Instant,
        ending: &CancellationToken,
    ) -> Result<Invocation, Problem> {
        let class = ClassName::parse(&read.class)?;
        let object = read.object.as_deref().map(ObjectId::parse).transpose()?;
        self.classes.catch_up(&class, read.revision, deadline).await?;
        let place = self.place_of(&class, object.as_ref(), &read.invocation)?;
        let until = deadline.min(Instant::now() + Duration::from_millis(read.wait_ms));
        if read.wait_ms == 0 {
            return self.look(&place, &read.fingerprint).await;
        }
        let waiting = self.standing.wait(place.key.clone())?;
        loop {
            let moved = waiting.moved.notified();
            tokio::pin!(moved);
            moved.as_mut().enable(); // before the look, so that nothing is missed
            let standing = self.look(&place, &read.fingerprint).await?;
            let decided = matches!(standing.state(), InvocationState::Done | InvocationState::Failed);
            if decided || Instant::now() >= until || ending.is_cancelled() {
                return Ok(standing);
            }
            tokio::select! {
                () = moved => {}
                () = ending.cancelled() => {}
                () = sleep_until(until.min(Instant::now() + LOOK)) => {}
            }
        }
    }

    /// Where a call stands now.
    async fn look(&self, place: &Place, fingerprint: &[u8]) -> Result<Invocation, Problem> {
        place.partition.confirm(Consistency::Lease).await?;
        match self.standing_of(place, fingerprint)? {
            Some(Ok(standing)) => Ok(standing),
            Some(Err(_)) => Err(not_found("another call has been made under its key since")),
            None => Err(not_found("there was none, or it is forgotten")),
        }
    }

    /// The partition that keeps the call of that id.
    fn place_of(
        &self,
        name: &ClassName,
        object: Option<&ObjectId>,
        invocation: &str,
    ) -> Result<Place, Problem> {
        let view = self.view();
        let class = find(&view, name)?;
        let group = view.locate_call(class, name, object, invocation).map_or(0, |info| info.group);
        let object = object.map_or_else(String::new, |object| object.as_str().to_owned());
        let key = (class.id, object, invocation.to_owned());
        Ok(Place { partition: self.held(group)?, class: name.clone(), key })
    }

    /// Where the call of that id stands, if there is one; an error in it when that is another one.
    fn standing_of(
        &self,
        place: &Place,
        fingerprint: &[u8],
    ) -> Result<Option<Result<Invocation, Problem>>, Problem> {
        let Place { partition, key, .. } = place;
        let (number, object, id) = key;
        // in this order: a call leaves the boxes in the very entry that keeps its outcome
        let asked = partition.asked(*number, object, id)?;
        let known = partition.decided(*number, object, id)?;
        let same = |there: &[u8]| !fingerprint.is_empty() && there.starts_with(fingerprint);
        Ok(match (known, asked) {
            (Some(known), _) if same(&known.outcome.fingerprint) => Some(Ok(of_known(known))),
            (None, Some(asked)) if same(&asked.fingerprint) => {
                let running = self.standing.is_running(key);
                Some(Ok(of_asked(asked, running)))
            }
            (None, None) => None,
            _ => Some(Err(CallId::other(id))),
        })
    }
}

/// Refuses at once what would only fail later.
fn callable(loaded: &LoadedClass, method: &MethodName, invoke: &Invoke) -> Result<(), Problem> {
    let class = &loaded.class;
    if !class.generic && !class.methods.iter().any(|known| known.name == method.as_str()) {
        let detail = format!("class {} has no method `{method}`", loaded.name);
        return Err(Problem::new(Code::NotFound, detail).with_effect(Effect::NotRun));
    }
    let bytes_max = class.settings.limits.payload_kib * 1024;
    if invoke.payload.len() as u64 > bytes_max {
        let detail = format!("the request has {} bytes; the class allows {bytes_max}", invoke.payload.len());
        return Err(Problem::new(Code::PayloadTooLarge, detail).with_effect(Effect::NotRun));
    }
    Ok(())
}

fn message(invoke: &Invoke, id: &CallId<'_>, class: u64) -> Message {
    let asked = Asked {
        class,
        invocation: invoke.invocation.clone(),
        fingerprint: id.fingerprint().clone(),
        accept: invoke.accept,
        caller: invoke.caller.clone(),
        headers: invoke.headers.clone(),
    };
    let object = invoke.object.clone().unwrap_or_default();
    Message {
        // an object's calls wait in one lane, in order; a function's have one each and run side by side
        from_object: if object.is_empty() { invoke.invocation.clone() } else { String::new() },
        class: invoke.class.clone(),
        object,
        method: invoke.method.clone(),
        payload: invoke.payload.clone(),
        form: invoke.form,
        asked: Some(asked),
        trace: Span::current().traceparent().unwrap_or_default(),
        ..Message::default()
    }
}

fn standing(state: InvocationState, fingerprint: &[u8]) -> Invocation {
    let told = &fingerprint[..fingerprint.len().min(FINGERPRINT_BYTES)];
    Invocation {
        state: state as i32,
        fingerprint: bytes::Bytes::copy_from_slice(told),
        ..Invocation::default()
    }
}

fn of_asked(call: AskedCall, running: bool) -> Invocation {
    let state = |state| standing(state, &call.fingerprint);
    match call.dead {
        None if running => state(InvocationState::Running),
        None => state(InvocationState::Pending),
        Some(letter) => {
            let attempts = letter.attempts;
            let detail = format!("{} (given up after {attempts} attempts)", letter.problem.detail);
            let problem = Some(Problem { detail, ..letter.problem });
            Invocation { problem, attempts, ..state(InvocationState::Failed) }
        }
    }
}

fn of_known(known: Known) -> Invocation {
    let fingerprint = known.outcome.fingerprint.clone();
    let state = |state| standing(state, &fingerprint);
    match &known.outcome.told {
        Some(Told::Invoked(_)) => {
            Invocation { invoked: invoked_again(known).ok(), ..state(InvocationState::Done) }
        }
        Some(Told::TooLarge(_)) => {
            Invocation { problem: Some(not_told(known.outcome.told)), ..state(InvocationState::Done) }
        }
        _ => Invocation { problem: Some(not_told(known.outcome.told)), ..state(InvocationState::Failed) },
    }
}

fn overloaded(place: &Place) -> Problem {
    let (class, (_, object, _)) = (&place.class, &place.key);
    let of = if object.is_empty() { format!("functions of {class}") } else { format!("{class}/{object}") };
    let detail = format!(
        "asynchronous calls of {of} wait already, as many as may: {ASYNC_CALLS_MAX}, or {ASYNC_BYTES_MAX} bytes of them"
    );
    Problem::new(Code::Overloaded, detail).with_effect(Effect::NotRun).retry_after_ms(RETRY_AFTER_MS)
}

fn not_found(why: &str) -> Problem {
    Problem::new(Code::NotFound, format!("no such invocation: {why}"))
        .hint("a result is kept for `keep_hours` of the class's manifest, 24 unless told, and less under great load")
}

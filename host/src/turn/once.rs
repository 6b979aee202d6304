//! Exactly once: what names a call, what is kept of it with its commit, and what a second try is given.
//!
//! A client that may try again under its own key also gets the same answer when the call wrote nothing or failed; a
//! gateway's ids are kept only as long as it may try again itself, and only of calls that took effect.

use bytes::Bytes;
use oprc_mesh::catalog::ClassLimits;
use oprc_mesh::id::ObjectId;
use oprc_mesh::limits::{KEEP_HOURS, KEPT_PAST_DEADLINE_MS, NESTED_KEPT_MS, RESULT_KEPT_BYTES_MAX};
use oprc_mesh::outcome::{Code, Effect, Problem};
use oprc_mesh::wire::{Invoke, Invoked, Tag, WriteObject, Written};
use oprc_odgm::{Known, Outcome, Told};
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::run::Home;

/// A call that takes effect once.
pub(super) struct CallId<'a> {
    pub(super) invocation: &'a str,
    /// The client chose the id.
    keyed: bool,
    /// A turn made the call, and may make it again.
    nested: bool,
    fingerprint: Bytes,
    deadline: Instant,
}

impl<'a> CallId<'a> {
    /// None for a call without an id.
    pub(super) fn of_call(invoke: &'a Invoke, deadline: Instant) -> Option<Self> {
        let Invoke { invocation, keyed, method, payload, form, accept, chain, caller, .. } = invoke;
        Self::new(invocation, (*keyed, !chain.is_empty()), deadline, || {
            let (form, accept) = (form.to_le_bytes(), accept.to_le_bytes());
            let parts = [method.as_bytes(), payload, &form, &accept, caller.as_bytes()];
            // nobody in particular: as before there were callers
            fingerprint(&parts[..if caller.is_empty() { 4 } else { 5 }])
        })
    }

    /// None for a write without an id.
    pub(super) fn of_write(write: &'a WriteObject, deadline: Instant) -> Option<Self> {
        Self::new(&write.invocation, (write.keyed, false), deadline, || {
            let own = WriteObject { revision: 0, invocation: String::new(), ..write.clone() };
            fingerprint(&[b"", &own.encode_to_vec()])
        })
    }

    fn new(
        invocation: &'a str,
        (keyed, nested): (bool, bool),
        deadline: Instant,
        fingerprint: impl FnOnce() -> Bytes,
    ) -> Option<Self> {
        // a gateway never gives an id out twice
        let fingerprint = if keyed || nested { fingerprint() } else { Bytes::new() };
        (!invocation.is_empty()).then_some(Self { invocation, keyed, nested, fingerprint, deadline })
    }

    /// Whether it is to get the same answer again also when it wrote nothing or failed.
    pub(super) fn answers_always(&self) -> bool {
        self.keyed || self.nested
    }

    /// What is kept of the call, told so.
    pub(super) fn outcome(&self, told: Told, limits: &ClassLimits) -> Outcome {
        let keep_ms = if self.keyed {
            let hours = if limits.keep_hours == 0 { KEEP_HOURS.default } else { limits.keep_hours };
            hours * 3_600_000
        } else if self.nested {
            NESTED_KEPT_MS
        } else {
            self.deadline.saturating_duration_since(Instant::now()).as_millis() as u64 + KEPT_PAST_DEADLINE_MS
        };
        Outcome { fingerprint: self.fingerprint.clone(), keep_ms, told: Some(shortened(told)) }
    }

    /// What is kept of the call, if it took effect before.
    ///
    /// # Errors
    /// `idempotency-mismatch` when another call took effect under this id.
    pub(super) fn known(&self, home: &Home, object: &ObjectId) -> Result<Option<Known>, Problem> {
        let known = home.partition.reader().known(home.class, object, self.invocation)?;
        if let Some(known) = &known {
            self.check(known)?;
            return Ok(Some(known.clone()));
        }
        self.asked(home, object)
    }

    /// The asynchronous call of that id, which was not decided: one that was given up counts as decided, by its last failure;
    /// one that waits is this call, whoever of the two runs it.
    fn asked(&self, home: &Home, object: &ObjectId) -> Result<Option<Known>, Problem> {
        if !self.keyed {
            return Ok(None);
        }
        let asked = home.partition.asked(home.class, object.as_str(), self.invocation)?;
        let Some(asked) = asked else { return Ok(None) };
        if asked.fingerprint != self.fingerprint {
            return Err(self.mismatch());
        }
        let given_up = |letter: oprc_odgm::DeadRecord| {
            let told = Some(Told::Failed(letter.problem));
            Known { outcome: Outcome { fingerprint: asked.fingerprint, keep_ms: 0, told }, tag: None }
        };
        Ok(asked.dead.map(given_up))
    }

    /// What tells the call from others under its id; empty for one that needs no telling.
    pub(super) fn fingerprint(&self) -> &Bytes {
        &self.fingerprint
    }

    /// Another call is known under the id.
    pub(super) fn mismatch(&self) -> Problem {
        Self::other(self.invocation)
    }

    /// Another call is known under that id.
    pub(super) fn other(invocation: &str) -> Problem {
        let detail =
            format!("another call, or the same with another payload, was made under the key {invocation:?}");
        Problem::new(Code::IdempotencyMismatch, detail)
            .with_effect(Effect::NotRun)
            .hint("take a new key for each call, and the same one only to try the very same call again")
    }

    /// # Errors
    /// `idempotency-mismatch` when what is known is another call.
    pub(super) fn check(&self, known: &Known) -> Result<(), Problem> {
        if known.outcome.fingerprint == self.fingerprint {
            return Ok(());
        }
        Err(self.mismatch())
    }
}

/// What was told a method's caller.
pub(super) fn told_of(invoked: &Invoked) -> Told {
    // the version is kept beside it, as the commit leaves it
    Told::Invoked(Invoked { version: None, stale_ms: None, ..invoked.clone() })
}

/// A method's answer anew.
///
/// # Errors
/// What the call failed with; that its result was too large to be kept.
pub(super) fn invoked_again(known: Known) -> Result<Invoked, Problem> {
    let version = Some(version(known.tag));
    match known.outcome.told {
        Some(Told::Invoked(invoked)) => Ok(Invoked { version, replayed: true, ..invoked }),
        told => Err(not_told(told)),
    }
}

/// A write's answer anew.
///
/// # Errors
/// What it failed with.
pub(super) fn written_again(known: Known) -> Result<Written, Problem> {
    match known.outcome.told {
        Some(Told::Written(written)) => Ok(Written { tag: known.tag, replayed: true, ..written }),
        told => Err(not_told(told)),
    }
}

pub(super) fn not_told(told: Option<Told>) -> Problem {
    match told {
        Some(Told::Failed(problem)) => Problem { replayed: true, ..problem },
        Some(Told::TooLarge(bytes)) => {
            let detail =
                format!("the call took effect before; its result of {bytes} bytes was too large to be kept");
            let problem = Problem::new(Code::PayloadTooLarge, detail);
            Problem { replayed: true, ..problem.hint("read the object for what it came to") }
        }
        _ => Problem::new(Code::Internal, "what is kept of the call is of a kind unknown here"),
    }
}

/// Whether a failure is a call's outcome: the function ran, or was about to, and the same would come of it again.
pub(super) fn is_outcome(problem: &Problem) -> bool {
    matches!(
        problem.kind(),
        Code::FunctionError
            | Code::Trap
            | Code::CpuLimit
            | Code::MemoryLimit
            | Code::WriteLimit
            | Code::WallLimit
            | Code::PayloadTooLarge
    )
}

/// Keeps what is kept within its bound.
fn shortened(told: Told) -> Told {
    let bytes = told.encoded_len();
    match told {
        told if bytes <= RESULT_KEPT_BYTES_MAX => told,
        Told::Invoked(invoked) => Told::TooLarge(invoked.payload.map_or(0, |payload| payload.len()) as u64),
        Told::Failed(problem) => {
            let detail = format!("{} (what the function said was too large to be kept)", problem.detail);
            Told::Failed(Problem { detail, error: "null".into(), backtrace: String::new(), ..problem })
        }
        told => told,
    }
}

/// SHA-256 over the parts, each preceded by its length.
pub(super) fn fingerprint(parts: &[&[u8]]) -> Bytes {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    Bytes::copy_from_slice(&hash.finalize())
}

/// Where an object stands for a caller; 0 when it does not exist.
pub(super) fn version(tag: Option<Tag>) -> u64 {
    tag.map_or(0, |tag| tag.version)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn invoke(payload: &'static [u8]) -> Invoke {
        Invoke { invocation: "k".into(), keyed: true, payload: payload.into(), ..Invoke::default() }
    }

    fn known(told: Told, invoke: &Invoke) -> Known {
        let id = CallId::of_call(invoke, Instant::now()).unwrap();
        Known {
            outcome: id.outcome(told, &ClassLimits::default()),
            tag: Some(Tag { incarnation: 1, version: 3 }),
        }
    }

    #[test]
    fn the_same_key_with_anything_else_is_another_call() {
        let call = invoke(b"1");
        let kept = known(told_of(&Invoked::default()), &call);
        let check = |other: &Invoke| CallId::of_call(other, Instant::now()).unwrap().check(&kept);
        assert!(check(&call).is_ok());
        assert!(
            check(&Invoke { revision: 9, ..call.clone() }).is_ok(),
            "a deploy in between makes no other call"
        );
        for other in [
            Invoke { method: "m".into(), ..call.clone() },
            Invoke { form: 1, ..call.clone() },
            Invoke { accept: 1, ..call.clone() },
            invoke(b"2"),
        ] {
            assert_eq!(check(&other).unwrap_err().kind(), Code::IdempotencyMismatch);
        }
        assert!(CallId::of_call(&Invoke { invocation: String::new(), ..call }, Instant::now()).is_none());
    }

    #[test]
    fn what_was_told_is_told_again_with_where_the_object_stood() {
        let call = invoke(b"");
        let payload = Some(Bytes::from_static(b"7"));
        let again =
            invoked_again(known(told_of(&Invoked { payload: payload.clone(), ..Invoked::default() }), &call));
        assert_eq!(again, Ok(Invoked { payload, version: Some(3), replayed: true, ..Invoked::default() }));
        let failed = Problem::new(Code::FunctionError, "no");
        let again = invoked_again(known(Told::Failed(failed.clone()), &call)).unwrap_err();
        assert_eq!(again, Problem { replayed: true, ..failed });
    }

    #[test]
    fn a_result_is_kept_up_to_its_bound_and_no_further() {
        let call = invoke(b"");
        let told = |bytes: usize| {
            let payload = Some(Bytes::from(vec![1; bytes]));
            invoked_again(known(told_of(&Invoked { payload, ..Invoked::default() }), &call))
        };
        // tags and lengths of the message and its payload
        let most = RESULT_KEPT_BYTES_MAX - 8;
        assert_eq!(told(most).unwrap().payload.unwrap().len(), most);
        let problem = told(RESULT_KEPT_BYTES_MAX).unwrap_err();
        assert_eq!((problem.kind(), problem.replayed), (Code::PayloadTooLarge, true));
        let failed =
            Problem { error: "x".repeat(RESULT_KEPT_BYTES_MAX), ..Problem::new(Code::FunctionError, "no") };
        let again = invoked_again(known(Told::Failed(failed), &call)).unwrap_err();
        assert_eq!((again.kind(), again.error.as_str()), (Code::FunctionError, "null"));
    }

    #[test]
    fn a_clients_key_is_kept_for_hours_and_a_gateways_id_for_its_call() {
        let limits = ClassLimits { keep_hours: 2, ..ClassLimits::default() };
        let soon = Instant::now() + std::time::Duration::from_secs(5);
        let keep = |keyed| {
            let invoke = Invoke { keyed, ..invoke(b"") };
            CallId::of_call(&invoke, soon).unwrap().outcome(Told::TooLarge(1), &limits).keep_ms
        };
        assert_eq!(keep(true), 2 * 3_600_000);
        assert!((KEPT_PAST_DEADLINE_MS..=KEPT_PAST_DEADLINE_MS + 5_000).contains(&keep(false)));
    }
}

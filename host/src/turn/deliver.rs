//! A message run as a turn, and what follows when it fails.

use std::time::Duration;

use oprc_mesh::canary::Served;
use oprc_mesh::catalog::{CatalogView, ClassSettings};
use oprc_mesh::clock::now_ms;
use oprc_mesh::id::{ClassName, MethodName, ObjectId};
use oprc_mesh::limits::MESSAGE_ATTEMPTS_DEFAULT;
use oprc_mesh::outcome::{Code, Effect, Problem};
use oprc_mesh::wire::{Form, Invoke};
use oprc_odgm::{Inbound, Message, Outcome, ReadyKey, Settle, Told, Verdict};
use tokio::time::Instant;

use super::answer::is_final;
use super::effects::Origin;
use super::run::Turns;
use crate::metrics::Via;

/// A message may wait for its turn, and run, for so long; then it is tried again.
pub(super) const DELIVERY_MAX: Duration = Duration::from_mins(1);
/// The pause after the first failure; it doubles from there.
const BACKOFF_MS_MIN: u64 = 200;
/// The longest pause between two attempts.
const BACKOFF_MS_MAX: u64 = 5 * 60_000;

/// The pause before a message is tried again whose turn waited in vain for what it called.
const POSTPONED_MS: u64 = 1_000;

/// What came of a message that did not fail.
#[derive(Debug, PartialEq)]
pub(crate) enum Came {
    /// Its turn was committed, and that settled it.
    Settled,
    /// It ran and there was nothing to commit: it is to be settled on its own.
    Ran,
    /// An asynchronous call came to this without a commit: that is to be kept, and the call settled.
    Decided(Box<Outcome>),
    /// Its receiver lives in the partition of that group.
    Elsewhere(u64),
    /// It is never to be run.
    Refused(Problem),
}

impl Turns {
    /// Runs a message that `group` has taken.
    ///
    /// # Errors
    /// What the run failed with; whether that settled the message is for the caller to look.
    pub(super) async fn deliver_now(&self, group: u64, inbound: &Inbound) -> Result<Came, Problem> {
        let (message, begun) = (&inbound.message, Instant::now());
        let came = self.run_message(group, inbound).await;
        let failed = match &came {
            Ok(Came::Elsewhere(_)) => return came, // nothing was to be run here
            Ok(Came::Settled | Came::Ran) => None,
            Ok(Came::Decided(outcome)) => match &outcome.told {
                Some(Told::Failed(problem)) => Some(problem.kind()),
                _ => None,
            },
            Ok(Came::Refused(problem)) | Err(problem) => Some(problem.kind()),
        };
        let names = (message.class.as_str(), message.method.as_str());
        self.metrics().ran(&self.view(), names, Via::Message, failed, begun.elapsed());
        came
    }

    async fn run_message(&self, group: u64, inbound: &Inbound) -> Result<Came, Problem> {
        let message = &inbound.message;
        if let Some(asked) = &message.asked {
            return self.answer(group, inbound, asked).await;
        }
        let class = ClassName::parse(&message.class)?;
        let method = MethodName::parse(&message.method)?;
        let object = receiver(message)?;
        let invocation = invocation(message);
        let loaded = self.classes.resolve(&class, Served::of(object.as_ref(), &invocation)).await?;
        let depth_max = loaded.class.settings.limits.call_depth;
        if u64::from(message.depth) > depth_max {
            return Ok(Came::Refused(too_deep(message.depth, depth_max)));
        }
        let deadline = Instant::now() + DELIVERY_MAX;
        let invoke = Invoke {
            class: message.class.clone(),
            object: object.as_ref().map(|object| object.as_str().to_owned()),
            method: message.method.clone(),
            payload: message.payload.clone(),
            form: message.form,
            accept: Form::Json as i32,
            invocation,
            ..Invoke::default()
        };
        let Some(object) = object else {
            self.function(&class, &method, &invoke, deadline, Some(u64::from(inbound.attempts))).await?;
            return Ok(Came::Ran);
        };
        let view = self.odgm.catalog().view();
        let home = view.locate(&loaded.class, &class, &object).map(|info| info.group);
        if let Some(elsewhere) = home.filter(|home| *home != group) {
            return Ok(Came::Elsewhere(elsewhere));
        }
        if loaded.is_readonly(&method) {
            self.read(&class, &object, &method, &invoke, deadline).await?;
            return Ok(Came::Ran);
        }
        let origin = Origin {
            depth: message.depth,
            delivery: Some((inbound.key, inbound.attempts)),
            ..Origin::default()
        };
        self.turn(&class, &object, &method, &invoke, deadline, &origin).await?;
        Ok(Came::Settled)
    }
}

/// The object that a message is for; none for a function.
pub(super) fn receiver(message: &Message) -> Result<Option<ObjectId>, Problem> {
    let object = Some(&message.object).filter(|object| !object.is_empty());
    Ok(object.map(|object| ObjectId::parse(object)).transpose()?)
}

/// The id of the call that a message is run as: its own for an asynchronous call; else another one when it was a dead letter
/// meanwhile, so that what it called then does not answer for good.
fn invocation(message: &Message) -> String {
    match (&message.asked, message.revived) {
        (Some(asked), _) => asked.invocation.clone(),
        (None, 0) => message.id.clone(),
        (None, revived) => format!("{}+{revived}", message.id),
    }
}

/// What is settled for the receiver of a message; none when there is no such class.
pub(crate) fn settings_for<'v>(view: &'v CatalogView, message: &Message) -> Option<&'v ClassSettings> {
    let object = receiver(message).ok()?;
    let invocation = invocation(message);
    let served = Served::of(object.as_ref(), &invocation);
    Some(&view.class(&message.class)?.serving(served).settings)
}

/// What becomes of a message whose run failed; none when the failure is not its own and it is simply tried again. `asked`:
/// it is an asynchronous call.
pub(crate) fn judge(
    problem: &Problem,
    ready: ReadyKey,
    attempts: u32,
    asked: bool,
    settings: &ClassSettings,
) -> Option<Settle> {
    let settle = |verdict: Verdict| Settle { ready, verdict: verdict as i32, ..Settle::default() };
    match problem.kind() {
        // the failure is what the call came to
        _ if asked && is_final(problem) => Some(settle(Verdict::Consumed)),
        Code::NotLeader | Code::NoQuorum | Code::Unavailable | Code::StaleClass => None,
        Code::Deadline if problem.effect() == Effect::NotRun => None,
        Code::Overloaded => {
            let pause = problem.retry_after_ms.max(BACKOFF_MS_MIN);
            Some(Settle { at_ms: now_ms() + pause, ..settle(Verdict::Postpone) })
        }
        // its calls may have been made: tried again, they are answered as before
        Code::CallTimeout if !problem.spent => {
            Some(Settle { at_ms: now_ms() + POSTPONED_MS, ..settle(Verdict::Postpone) })
        }
        // another try would call anew what has been called
        Code::NondeterministicRerun => {
            Some(Settle { problem: Some(problem.clone()), ..settle(Verdict::Dead) })
        }
        _ if attempts + 1 >= attempts_max(settings) => {
            Some(Settle { problem: Some(problem.clone()), ..settle(Verdict::Dead) })
        }
        _ => Some(Settle { at_ms: now_ms() + backoff_ms(attempts), ..settle(Verdict::Retry) }),
    }
}

fn attempts_max(settings: &ClassSettings) -> u32 {
    match settings.message_attempts {
        0 => MESSAGE_ATTEMPTS_DEFAULT,
        attempts => attempts,
    }
}

/// The pause before the next attempt, after `attempts` earlier failures.
fn backoff_ms(attempts: u32) -> u64 {
    let doubled = 1u64.checked_shl(attempts).unwrap_or(u64::MAX);
    BACKOFF_MS_MIN.saturating_mul(doubled).min(BACKOFF_MS_MAX)
}

fn too_deep(depth: u32, depth_max: u64) -> Problem {
    let detail = format!(
        "{depth} triggers led to this message, one through the other; the class allows call_depth = {depth_max}"
    );
    Problem::new(Code::Invalid, detail).with_effect(Effect::NotRun).hint(
        "triggers that lead back to themselves never end: see that a change which one makes does not fire it",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_of_its_own_count_and_others_do_not() {
        let settings = ClassSettings { message_attempts: 3, ..ClassSettings::default() };
        let verdict_on = |asked, code, attempts| {
            let judged = judge(&Problem::new(code, "x"), ReadyKey::default(), attempts, asked, &settings);
            judged.map(|settle| settle.verdict())
        };
        let verdict = |code, attempts| verdict_on(false, code, attempts);
        for code in [Code::FunctionError, Code::Trap, Code::CpuLimit, Code::NotFound, Code::Invalid] {
            assert_eq!((verdict(code, 0), verdict(code, 1)), (Some(Verdict::Retry), Some(Verdict::Retry)));
            assert_eq!(verdict(code, 2), Some(Verdict::Dead), "{code:?}");
        }
        for code in [Code::NotLeader, Code::NoQuorum, Code::Unavailable, Code::StaleClass] {
            assert_eq!(verdict(code, 99), None, "{code:?}");
        }
        assert_eq!(verdict(Code::Overloaded, 99), Some(Verdict::Postpone));
        assert_eq!(verdict(Code::CallTimeout, 99), Some(Verdict::Postpone), "what it called may be done");
        let spent = Problem { spent: true, ..Problem::new(Code::CallTimeout, "x") };
        let judged = |attempts| judge(&spent, ReadyKey::default(), attempts, false, &settings).unwrap();
        assert_eq!([0, 2].map(|attempts| judged(attempts).verdict()), [Verdict::Retry, Verdict::Dead]);
        assert_eq!(verdict(Code::NondeterministicRerun, 0), Some(Verdict::Dead));
        // what an asynchronous call came to is not tried again
        assert_eq!(verdict_on(true, Code::FunctionError, 0), Some(Verdict::Consumed));
        assert_eq!(verdict_on(true, Code::Trap, 0), Some(Verdict::Retry));
    }

    #[test]
    fn pauses_double_up_to_a_bound() {
        assert_eq!([0, 1, 2, 7].map(backoff_ms), [200, 400, 800, 25_600]);
        assert_eq!([11, 63, 64, u32::MAX].map(backoff_ms), [BACKOFF_MS_MAX; 4]);
    }
}

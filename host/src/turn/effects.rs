//! What a run of a turn comes to: the object's change, the messages that it and the triggers send, and what becomes of the
//! message that it was run for. All of it is one commit.

use oprc_mesh::canary::Served;
use oprc_mesh::catalog::{Class, TriggerEvent};
use oprc_mesh::id::{ClassName, MethodName, ObjectId};
use oprc_mesh::outcome::{Effect, Problem};
use oprc_mesh::wire::FieldWrite;
use oprc_odgm::{Change, Outgoing, Post, ReadyKey, Settle, Verdict, crash_point};

use super::access::{Bound, Parts, TurnAccess};
use super::commit::Work;
use super::deliver::judge;
use super::mail::Sender;
use super::nested::ended_open;
use super::run::Home;
use super::triggers::{Event, letters, of_fields};
use crate::wasm::{Letter, Output};

/// Why a method failed, as its triggers tell it, at the most.
const TOLD_BYTES_MAX: usize = 64 * 1024;

/// Why a turn runs, as far as messages go; by default somebody called.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Origin {
    /// Triggers that led to it, one through the other.
    pub(crate) depth: u32,
    /// The message that it is run for, and how often that has failed.
    pub(crate) delivery: Option<(ReadyKey, u32)>,
    /// That is an asynchronous call, whose outcome is kept under its id.
    pub(crate) asked: bool,
    /// How often the message was a dead letter that was tried again.
    pub(crate) revived: u32,
}

impl Origin {
    /// Whether a turn that comes to `work` decides its call, so that the outcome is to be kept: one that was run for a message
    /// may be tried again.
    pub(super) fn decides(&self, work: &Work) -> bool {
        let settled = work.post.settle.as_ref();
        self.delivery.is_none() || settled.is_some_and(|settle| settle.verdict() == Verdict::Consumed)
    }
}

impl Origin {
    /// Which try of its message it is run for.
    pub(super) fn tried(&self) -> Option<u64> {
        self.delivery.map(|(_, attempts)| try_of(self.revived, attempts))
    }
}

/// Numbers the tries of a message: each dead letter that is tried again begins its attempts anew.
pub(super) fn try_of(revived: u32, attempts: u32) -> u64 {
    u64::from(revived) << 32 | u64::from(attempts)
}

/// A turn that has run.
pub(super) struct Turned<'a> {
    pub(super) class: &'a Class,
    pub(super) name: &'a ClassName,
    pub(super) home: &'a Home,
    pub(super) object: &'a ObjectId,
    pub(super) method: &'a MethodName,
    pub(super) origin: &'a Origin,
}

impl Turned<'_> {
    /// What is to be committed; none when there is nothing. Of a turn that failed nothing is but what its triggers send, and
    /// that the message which it was run for has failed.
    ///
    /// # Errors
    /// The triggers would send too much: then the turn has failed.
    pub(super) fn effects(
        &self,
        access: TurnAccess,
        outcome: &Result<Output, Problem>,
    ) -> Result<Option<Work>, Problem> {
        let base = access.base();
        let (mut work, version, events) = match outcome {
            Ok(output) => {
                let (work, mut events) = self.of_success(access)?;
                events.extend(self.event(TriggerEvent::Complete, output.payload.clone(), None));
                let version = version_after(base.version, work.change);
                (work, version, events)
            }
            Err(problem) => {
                let work = Work { post: self.of_failure(problem), ..Work::none() };
                (work, base.version, self.failed(problem))
            }
        };
        let fired = letters(self.class, self.name, self.object, version, &events)?;
        work.post.sends.extend(fired.into_iter().map(|letter| self.address(letter, true)));
        if self.origin.delivery.is_some() {
            crash_point("before-commit");
        }
        let nothing = work.change == Change::Keep && work.emitted.is_empty() && work.post.is_empty();
        Ok((!nothing).then_some(work))
    }

    fn of_success(&self, access: TurnAccess) -> Result<(Work, Vec<Event>), Problem> {
        let Parts { change, emitted, letters: sent, cancels, bound } = access.into_parts();
        let events = match (&change, &bound) {
            (Some((change, writes)), Some(before)) => of_fields(self.class, before, *change, writes)?,
            _ => Vec::new(),
        };
        let sends = sent.into_iter().map(|letter| self.address(letter, false)).collect();
        let settle = self.origin.delivery.map(|(ready, _)| consumed(ready));
        let (change, writes) = change.unwrap_or((Change::Keep, Vec::new()));
        Ok((Work { change, writes, emitted, post: Post { sends, cancels, settle } }, events))
    }

    fn of_failure(&self, problem: &Problem) -> Post {
        let settle = self.origin.delivery.and_then(|(ready, attempts)| {
            judge(problem, ready, attempts, self.origin.asked, &self.class.settings)
        });
        Post { settle, ..Post::default() }
    }

    /// The event of a method that failed; none when it did not run, or may get further when it is run again.
    fn failed(&self, problem: &Problem) -> Vec<Event> {
        if problem.effect() == Effect::NotRun || ended_open(problem) {
            return Vec::new();
        }
        let mut told = if problem.error.is_empty() { problem.to_string() } else { problem.error.clone() };
        told.truncate(told.floor_char_boundary(TOLD_BYTES_MAX));
        self.event(TriggerEvent::Error, None, Some(told)).into_iter().collect()
    }

    /// An event of the method, if some trigger listens to such.
    fn event(&self, kind: TriggerEvent, new: Option<bytes::Bytes>, problem: Option<String>) -> Option<Event> {
        let heard = self.class.settings.triggers.iter().any(|trigger| trigger.listens_to(kind));
        heard.then(|| Event { kind, subject: self.method.as_str().to_owned(), old: None, new, problem })
    }

    fn address(&self, letter: Letter, triggered: bool) -> Outgoing {
        let depth = self.origin.depth + u32::from(triggered);
        let (class, object, group) = (self.name, self.object, self.home.partition.group());
        Sender { class, object, group }.address(&self.home.view, letter, depth, triggered)
    }
}

fn consumed(ready: ReadyKey) -> Settle {
    Settle { ready, verdict: Verdict::Consumed as i32, ..Settle::default() }
}

/// What the triggers send for a write from outside.
///
/// # Errors
/// They would send too much.
pub(super) fn of_write(
    home: &Home,
    name: &ClassName,
    before: &Bound,
    change: Change,
    writes: &[FieldWrite],
) -> Result<Post, Problem> {
    let class = crate::classes::find(&home.view, name)?.serving(Served::Object(&before.object));
    let events = of_fields(class, before, change, writes)?;
    let version = version_after(before.head.map_or(0, |head| head.tag.version), change);
    let sender = Sender { class: name, object: &before.object, group: home.partition.group() };
    let fired = letters(class, name, &before.object, version, &events)?;
    let sends = fired.into_iter().map(|letter| sender.address(&home.view, letter, 1, true)).collect();
    Ok(Post { sends, ..Post::default() })
}

/// The object's version once the change is committed; 0 when it is gone.
fn version_after(before: u64, change: Change) -> u64 {
    match change {
        Change::Keep => before,
        Change::Delete => 0,
        Change::Recreate => 1,
        Change::Merge | Change::Replace => before + 1,
    }
}

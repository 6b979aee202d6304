//! An asynchronous call run as a turn, and what of its failures is final: somebody waits for the answer, so what a function
//! says itself is one, and only what may pass is tried again.

use std::time::Duration;

use oprc_mesh::canary::Served;
use oprc_mesh::id::{ClassName, MethodName, ObjectId};
use oprc_mesh::outcome::{Code, Problem};
use oprc_mesh::wire::{Invoke, Invoked};
use oprc_odgm::{Asked, Inbound, Message};
use tokio::time::Instant;

use super::deliver::{Came, DELIVERY_MAX, receiver};
use super::effects::{Origin, try_of};
use super::once::{CallId, told_of};
use super::run::Turns;
use super::standing::CallKey;

impl Turns {
    /// Runs an asynchronous call that `group` has taken in.
    ///
    /// # Errors
    /// What the run failed with, if it may be tried again.
    pub(super) async fn answer(&self, group: u64, inbound: &Inbound, asked: &Asked) -> Result<Came, Problem> {
        let message = &inbound.message;
        let class = ClassName::parse(&message.class)?;
        let object = receiver(message)?;
        let served = Served::of(object.as_ref(), &asked.invocation);
        let loaded = self.classes.resolve(&class, served).await?;
        let view = self.view();
        let home = view.locate_call(&loaded.class, &class, object.as_ref(), &asked.invocation);
        if let Some(elsewhere) = home.map(|info| info.group).filter(|home| *home != group) {
            return Ok(Came::Elsewhere(elsewhere));
        }
        let invoke = call_of(message, asked);
        let wall = Duration::from_millis(loaded.class.settings.limits.wall_ms);
        let deadline = Instant::now() + DELIVERY_MAX + wall;
        let outcome = self.run_asked(&class, object.as_ref(), &invoke, inbound, deadline).await;
        let partition = self.held(group)?;
        if partition.inbound(inbound.key)?.is_none() {
            return outcome.map(|_| Came::Settled); // by its turn's commit
        }
        if partition.decided(asked.class, &message.object, &asked.invocation)?.is_some() {
            return Ok(Came::Ran); // by a call under the same id that came before this one's turn
        }
        let told = match outcome {
            Ok(invoked) => told_of(&invoked),
            Err(problem) if is_final(&problem) => oprc_odgm::Told::Failed(problem),
            Err(problem) => return Err(problem),
        };
        let id = CallId::of_call(&invoke, deadline)
            .ok_or_else(|| Problem::new(Code::Internal, "an asynchronous call has no id"))?;
        Ok(Came::Decided(Box::new(id.outcome(told, &loaded.class.settings.limits))))
    }

    async fn run_asked(
        &self,
        class: &ClassName,
        object: Option<&ObjectId>,
        invoke: &Invoke,
        inbound: &Inbound,
        deadline: Instant,
    ) -> Result<Invoked, Problem> {
        let method = MethodName::parse(&invoke.method)?;
        let loaded = self.classes.resolve(class, Served::of(object, &invoke.invocation)).await?;
        let revived = inbound.message.revived;
        let tried = try_of(revived, inbound.attempts);
        let running = || self.standing.run(call_key(&inbound.message).unwrap_or_default());
        match object {
            None => {
                let _running = running();
                self.function(class, &method, invoke, deadline, Some(tried)).await
            }
            Some(object) if loaded.is_readonly(&method) => {
                let _running = running();
                self.read(class, object, &method, invoke, deadline).await
            }
            Some(object) => {
                let delivery = Some((inbound.key, inbound.attempts));
                let origin = Origin { delivery, asked: true, revived, ..Origin::default() };
                self.turn(class, object, &method, invoke, deadline, &origin).await
            }
        }
    }

    /// A call that was run may be decided now.
    pub(crate) fn moved(&self, message: &Message) {
        if let Some(key) = call_key(message) {
            self.standing.moved(&key);
        }
    }
}

/// What an asynchronous call is known by on this host.
fn call_key(message: &Message) -> Option<CallKey> {
    let asked = message.asked.as_ref()?;
    Some((asked.class, message.object.clone(), asked.invocation.clone()))
}

fn call_of(message: &Message, asked: &Asked) -> Invoke {
    Invoke {
        class: message.class.clone(),
        object: Some(message.object.clone()).filter(|object| !object.is_empty()),
        method: message.method.clone(),
        payload: message.payload.clone(),
        form: message.form,
        accept: asked.accept,
        invocation: asked.invocation.clone(),
        keyed: true,
        caller: asked.caller.clone(),
        headers: asked.headers.clone(),
        ..Invoke::default()
    }
}

/// Whether a failure of an asynchronous call is its outcome: what the function itself answered, or arguments that are
/// wrong, would come of it again. A trap or a limit may pass with another attempt, or with a deploy that mends it.
pub(super) fn is_final(problem: &Problem) -> bool {
    matches!(
        problem.kind(),
        Code::FunctionError | Code::Invalid | Code::PayloadTooLarge | Code::ReentrantCall | Code::Denied
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_function_says_is_final_and_what_may_pass_is_not() {
        let is_final = |code| is_final(&Problem::new(code, "x"));
        for code in [Code::FunctionError, Code::Invalid, Code::PayloadTooLarge, Code::ReentrantCall] {
            assert!(is_final(code), "{code:?}");
        }
        let may_pass = [Code::Trap, Code::CpuLimit, Code::MemoryLimit, Code::WriteLimit, Code::WallLimit];
        let not_its_own =
            [Code::NotLeader, Code::NoQuorum, Code::Unavailable, Code::Overloaded, Code::StaleClass];
        for code in
            may_pass.into_iter().chain(not_its_own).chain([Code::NotFound, Code::Internal, Code::Deadline])
        {
            assert!(!is_final(code), "{code:?}");
        }
    }
}

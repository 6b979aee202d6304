//! A call as it is wanted, whatever protocol it came by, and its one way to a host.

use std::fmt;

use bytes::Bytes;
use oprc_mesh::canary::Served;
use oprc_mesh::catalog::CatalogView;
use oprc_mesh::id::{ClassName, MethodName, ObjectId};
use oprc_mesh::retry::Repeat;
use oprc_mesh::wire::{Answer, Consistency, Form, Header, Invoke, Invoked, Op};
use tokio::time::Instant;

use crate::app::App;
use crate::call_id::CallId;
use crate::metrics::Protocol;
use crate::problem::Refusal;
use crate::route::Target;

/// What is called.
#[derive(Clone, Copy)]
pub(crate) struct Callee<'a> {
    pub(crate) class: &'a ClassName,
    /// None for a function.
    pub(crate) object: Option<&'a ObjectId>,
    pub(crate) method: &'a MethodName,
}

impl Callee<'_> {
    /// Whether it can be called so.
    ///
    /// # Errors
    /// `invalid` for a function, which has no object, and another consistency than the usual one.
    pub(crate) fn takes(&self, consistency: Consistency) -> Result<(), Refusal> {
        if self.object.is_none() && consistency != Consistency::Lease {
            return Err(Refusal::invalid("a function has no object whose consistency could be chosen"));
        }
        Ok(())
    }
}

impl fmt::Display for Callee<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { class, object, method } = self;
        match object {
            Some(object) => write!(f, "{class}/{object}.{method}"),
            None => write!(f, "{class}.{method}"),
        }
    }
}

/// A call, whatever asked for it.
pub(crate) struct Wish<'a> {
    pub(crate) callee: Callee<'a>,
    pub(crate) payload: Bytes,
    pub(crate) form: Form,
    pub(crate) accept: Form,
    pub(crate) id: CallId,
    /// Who calls; empty for nobody in particular.
    pub(crate) caller: String,
    /// What the guest sees of the request.
    pub(crate) headers: Vec<Header>,
    /// How it came.
    pub(crate) protocol: Protocol,
}

impl Wish<'_> {
    /// What a host is asked for.
    pub(crate) fn invoke(&self, readonly: Option<bool>, consistency: Consistency, revision: u64) -> Invoke {
        Invoke {
            class: self.callee.class.as_str().to_owned(),
            object: self.callee.object.map(|object| object.as_str().to_owned()),
            method: self.callee.method.as_str().to_owned(),
            payload: self.payload.clone(),
            form: self.form as i32,
            accept: self.accept as i32,
            invocation: self.id.invocation.clone(),
            keyed: self.id.keyed,
            caller: self.caller.clone(),
            headers: self.headers.clone(),
            readonly,
            consistency: consistency as i32,
            revision,
            chain: Vec::new(),
        }
    }

    /// Runs the call and gives what it came to.
    ///
    /// # Errors
    /// As [`App::ask_with`].
    pub(crate) async fn run(
        &self,
        app: &App,
        deadline: Instant,
        consistency: Consistency,
    ) -> Result<Invoked, Refusal> {
        let Callee { class, object, method } = self.callee;
        let target =
            object.map_or(Target::Function(class), |object| Target::reading(class, object, consistency));
        let operation = |view: &CatalogView| {
            let known = view.class(class.as_str());
            let serving = known.zip(object).map(|(class, object)| class.serving(Served::Object(object)));
            let readonly = serving
                .is_some_and(|class| class.settings.readonly.iter().any(|name| name == method.as_str()));
            let invoke = self.invoke(Some(readonly), consistency, known.map_or(0, |class| class.revision));
            let repeat = match object {
                // a function has no object to keep what it came to
                None => Repeat::Never,
                Some(_) if readonly => Repeat::Harmless,
                Some(_) => Repeat::Once,
            };
            (Op::Invoke(invoke), repeat)
        };
        let begun = Instant::now();
        let outcome = match app.ask_with(target, deadline, operation).await {
            Ok(Answer::Invoked(invoked)) => Ok(invoked),
            Ok(_) => Err(Refusal::misanswered()),
            Err(refusal) => Err(refusal.invocation(&self.id.invocation)),
        };
        let failed = outcome.as_ref().err().map(|refusal| refusal.problem().kind());
        let names = (class.as_str(), method.as_str());
        app.metrics.calls.record(&app.view(), names, self.protocol as usize, failed, begun.elapsed());
        outcome
    }
}

//! Requests that a class serves by its own HTTP handler: functions without an object, at least once, which commit nothing
//! themselves.

use oprc_mesh::canary::Served;
use oprc_mesh::id::{ClassName, MethodName};
use oprc_mesh::outcome::Problem;
use oprc_mesh::wire::{Form, HandleHttp, HttpResponse};
use tokio::time::Instant;

use super::access::{Mode, TurnAccess};
use super::run::Turns;
use crate::classes::LoadedClass;
use crate::wasm::{Call, HttpRequest};

/// What the handler is called in `context`, in logs and problems.
const METHOD: &str = "http";

impl Turns {
    /// Serves one request.
    ///
    /// # Errors
    /// `not-found` for the class, or when it has no handler; `trap`, and every limit of a turn.
    pub(crate) async fn handle_http(
        &self,
        request: HandleHttp,
        deadline: Instant,
    ) -> Result<HttpResponse, Problem> {
        let name = ClassName::parse(&request.class)?;
        self.classes.catch_up(&name, request.revision, deadline).await?;
        let class = self.classes.resolve(&name, Served::Call(&request.invocation)).await?;
        let limits = class.class.settings.limits;
        let access = TurnAccess::new(self.others.clone(), None, Mode::ReadOnly, limits);
        let call = call(&class, &request, deadline)?;
        class.module.serve(call, access, HttpRequest::of(request)?).await.0
    }
}

fn call(class: &LoadedClass, request: &HandleHttp, deadline: Instant) -> Result<Call, Problem> {
    Ok(Call {
        class: class.name.clone(),
        method: MethodName::parse(METHOD)?,
        payload: bytes::Bytes::new(),
        form: Form::Raw,
        accept: Form::Raw,
        invocation: request.invocation.clone(),
        caller: request.caller.clone(),
        headers: request.seen.clone(),
        limits: class.class.settings.limits,
        deadline,
        keyed: false,
        attempts: 0,
        chain: Vec::new(),
        egress: class.egress.clone(),
    })
}

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
use crate::logs::Said;
use crate::metrics::Via;
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
        let begun = Instant::now();
        let done = self.answer_http(&name, request, deadline).await;
        let failed = done.as_ref().err().map(Problem::kind);
        self.metrics().ran(&self.view(), (name.as_str(), METHOD), Via::Call, failed, begun.elapsed());
        done
    }

    async fn answer_http(
        &self,
        name: &ClassName,
        request: HandleHttp,
        deadline: Instant,
    ) -> Result<HttpResponse, Problem> {
        self.classes.catch_up(name, request.revision, deadline).await?;
        let class = self.classes.resolve(name, Served::Call(&request.invocation)).await?;
        let limits = class.class.settings.limits;
        let access = TurnAccess::new(self.others.clone(), None, Mode::ReadOnly, limits);
        let call = call(&class, &request, deadline)?;
        self.handler(&class, call, access, HttpRequest::of(request)?).await
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
        said: Said::default(),
    })
}

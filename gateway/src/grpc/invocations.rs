//! `oprc.v1.InvocationService`.

use std::sync::Arc;
use std::time::Duration;

use hyper::HeaderMap;
use oprc_mesh::access::Action;
use oprc_mesh::id::{ClassName, MethodName, ObjectId};
use oprc_mesh::limits::INVOCATION_WAIT_MS_MAX;
use oprc_mesh::wire::{Form, Invocation, InvocationState, Invoked};
use tonic::{Request, Response, Status};

use super::parse::{self, Asked};
use super::pb::call_result::Value;
use super::pb::invocation_service_server::InvocationService;
use super::{pb, status};
use crate::access::{Identity, Need};
use crate::app::App;
use crate::invocation_id::InvocationId;
use crate::invocations;
use crate::invoke::forwarded;
use crate::metrics::Protocol;
use crate::problem::Refusal;
use crate::wish::{Callee, Wish};

/// See the module.
pub(super) struct Invocations(pub(super) Arc<App>);

#[tonic::async_trait]
impl InvocationService for Invocations {
    async fn invoke(
        &self,
        request: Request<pb::InvokeRequest>,
    ) -> Result<Response<pb::InvokeResponse>, Status> {
        let asked = Asked::of(request);
        let invoked = self.run(asked).await.map_err(status::of)?;
        Ok(Response::new(invoked))
    }

    async fn submit(
        &self,
        request: Request<pb::SubmitRequest>,
    ) -> Result<Response<pb::SubmitResponse>, Status> {
        let asked = Asked::of(request);
        let submitted = self.accept(asked).await.map_err(status::of)?;
        Ok(Response::new(submitted))
    }

    async fn get_invocation(
        &self,
        request: Request<pb::GetInvocationRequest>,
    ) -> Result<Response<pb::GetInvocationResponse>, Status> {
        let asked = Asked::of(request);
        let subject = asked.message.id.clone();
        let found = self.look(asked).await;
        let found = found.map_err(|refusal| status::of(refusal.on("read invocation", subject)))?;
        Ok(Response::new(found))
    }
}

impl Invocations {
    async fn run(&self, asked: Asked<pb::InvokeRequest>) -> Result<pb::InvokeResponse, Refusal> {
        let Asked { message, headers, deadline, identity } = asked;
        let consistency = parse::consistency(message.consistency)?;
        let call = Parsed::of(message.call)?;
        let wish = call.wish(&headers, &identity)?;
        let outcome = match wish.callee.takes(consistency) {
            Ok(()) => wish.run(&self.0, deadline.at, consistency).await,
            Err(refusal) => Err(refusal),
        };
        let invoked = outcome.map_err(|refusal| refusal.on("invoke", wish.callee))?;
        Ok(pb::InvokeResponse {
            replayed: invoked.replayed,
            stale_ms: invoked.stale_ms,
            class_version: invoked.class_version,
            result: Some(result(invoked)),
            invocation_id: wish.id.invocation,
        })
    }

    async fn accept(&self, asked: Asked<pb::SubmitRequest>) -> Result<pb::SubmitResponse, Refusal> {
        let Asked { message, headers, deadline, identity } = asked;
        let call = Parsed::of(message.call)?;
        let wish = call.wish(&headers, &identity)?;
        let submitted = invocations::submit(&self.0, deadline.at, &wish).await;
        let (name, invocation) = submitted.map_err(|refusal| refusal.on("invoke", wish.callee))?;
        let replayed = invocation.replayed;
        let invocation = Some(document(&name, invocation));
        Ok(pb::SubmitResponse { invocation, invocation_id: wish.id.invocation, replayed })
    }

    async fn look(
        &self,
        asked: Asked<pb::GetInvocationRequest>,
    ) -> Result<pb::GetInvocationResponse, Refusal> {
        let Asked { message, deadline, identity, .. } = asked;
        let name = InvocationId::parse(&message.id)?;
        identity.check(Need::In(Action::Invoke, &name.class))?;
        if message.wait_ms > INVOCATION_WAIT_MS_MAX {
            return Err(
                Refusal::invalid(format!("wait_ms is past {INVOCATION_WAIT_MS_MAX}")).hint("ask again")
            );
        }
        let wait = Duration::from_millis(message.wait_ms);
        let invocation = invocations::look(&self.0, &identity, deadline, &name, wait).await?;
        Ok(pb::GetInvocationResponse { invocation: Some(document(&name, invocation)) })
    }
}

/// A call whose names are names.
struct Parsed {
    class: ClassName,
    object: Option<ObjectId>,
    method: MethodName,
    rest: pb::Call,
}

impl Parsed {
    fn of(call: Option<pb::Call>) -> Result<Self, Refusal> {
        let rest = call.ok_or_else(|| Refusal::invalid("the message has no call").on("invoke", "call"))?;
        let subject = || {
            let object = rest.object.as_ref().map_or(String::new(), |object| format!("/{object}"));
            format!("{}{object}.{}", rest.class_name, rest.method)
        };
        let parse = || {
            let object = rest.object.as_deref().map(ObjectId::parse).transpose()?;
            Ok::<_, Refusal>((ClassName::parse(&rest.class_name)?, object, MethodName::parse(&rest.method)?))
        };
        let (class, object, method) = parse().map_err(|refusal| refusal.on("invoke", subject()))?;
        Ok(Self { class, object, method, rest })
    }

    /// The call, if `identity` may make it.
    fn wish(&self, headers: &HeaderMap, identity: &Identity) -> Result<Wish<'_>, Refusal> {
        let callee = Callee { class: &self.class, object: self.object.as_ref(), method: &self.method };
        let wish = || {
            identity.check(Need::In(Action::Invoke, &self.class))?;
            let (payload, form) = parse::payload(self.rest.payload.clone());
            let id = parse::call_id(&self.rest.idempotency_key, headers)?;
            let accept = parse::accepted(self.rest.accept)?;
            Ok::<_, Refusal>(Wish {
                callee,
                payload,
                form,
                accept,
                id,
                caller: identity.caller().to_owned(),
                headers: forwarded(headers)?,
                protocol: Protocol::Grpc,
            })
        };
        wish().map_err(|refusal| refusal.on("invoke", callee))
    }
}

fn result(invoked: Invoked) -> pb::CallResult {
    let form = invoked.form();
    let value = invoked.payload.map(|payload| match form {
        Form::Raw => Value::Raw(payload),
        // JSON text is UTF-8; what is not is shown as what it is
        Form::Json => match String::from_utf8(payload.to_vec()) {
            Ok(text) => Value::Json(text),
            Err(_) => Value::Raw(payload),
        },
    });
    let media_type = match &value {
        None => "",
        Some(Value::Json(_)) => "application/json",
        Some(Value::Raw(_)) => "application/octet-stream",
    };
    pb::CallResult { value, media_type: media_type.to_owned(), version: invoked.version }
}

fn document(name: &InvocationId, invocation: Invocation) -> pb::Invocation {
    let state = match invocation.state() {
        InvocationState::Pending => pb::InvocationState::Pending,
        InvocationState::Running => pb::InvocationState::Running,
        InvocationState::Done => pb::InvocationState::Done,
        InvocationState::Failed => pb::InvocationState::Failed,
    };
    let problem = invocation.problem.as_ref();
    pb::Invocation {
        id: name.to_string(),
        state: state as i32,
        problem: problem.map(|problem| status::document(problem, &name.invocation)),
        attempts: invocation.attempts,
        result: invocation.invoked.map(result),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_result_has_the_media_type_of_its_form() {
        let told = |payload: Option<&'static [u8]>, form: Form| {
            let payload = payload.map(Into::into);
            result(Invoked { payload, form: form as i32, ..Invoked::default() })
        };
        let json = told(Some(b"{\"a\":1}"), Form::Json);
        assert_eq!(
            (json.value, json.media_type.as_str()),
            (Some(Value::Json("{\"a\":1}".into())), "application/json")
        );
        let raw = told(Some(b"\xff"), Form::Raw);
        assert_eq!(raw.media_type, "application/octet-stream");
        assert_eq!(raw.value, Some(Value::Raw(bytes::Bytes::from_static(b"\xff"))));
        assert_eq!(told(None, Form::Json).media_type, "");
    }

    #[test]
    fn a_call_with_bad_names_is_refused_and_named() {
        let call = pb::Call {
            class_name: "1".into(),
            object: Some("o".into()),
            method: "m".into(),
            ..pb::Call::default()
        };
        let refusal = Parsed::of(Some(call)).err().unwrap();
        assert_eq!(
            (refusal.problem().operation.as_str(), refusal.problem().subject.as_str()),
            ("invoke", "1/o.m")
        );
        assert!(Parsed::of(None).is_err());
    }
}

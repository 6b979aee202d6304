//! The key space `oprc/api/...` for clients that speak Zenoh: one more door to what REST and gRPC lead to. A query is read
//! into the types that the REST handlers use (`address`, `said`), let in as a request is, and answered by what they call;
//! a refusal is the problem document that REST would give.

mod address;
mod answer;
mod said;

use std::sync::Arc;

use futures::future::BoxFuture;
use hyper::HeaderMap;
use oprc_mesh::limits::REQUEST_BYTES_MAX;
use oprc_mesh::metrics::OTHER;
use oprc_mesh::outcome::{Code, Problem};
use oprc_mesh::wire::Consistency;
use oprc_mesh::{Answerer, Answering, MeshError, Question, Told};
use tokio::time::Instant;

use self::address::verb;
use self::said::Said;
use crate::access::Identity;
use crate::admission::{Deadline, Purpose};
use crate::app::App;
use crate::body::too_large;
use crate::call_id::CallId;
use crate::forms::write_object;
use crate::invoke::forwarded;
use crate::media::{accepted_form, body_form};
use crate::metrics::{Ended, Protocol};
use crate::needs::needed;
use crate::problem::Refusal;
use crate::router::Resource;
use crate::wish::{Callee, Wish};
use crate::{fields, objects, traced};

/// What is answered; `address` knows what there is.
const KEYS: &str = "oprc/api/**";
/// Of a key that names nothing, so much is shown in the problem.
const SHOWN_CHARS_MAX: usize = 256;

/// Answers what is asked on the mesh from now on.
///
/// # Errors
/// As [`oprc_mesh::Mesh::answer`].
pub(crate) async fn serve(app: &Arc<App>) -> Result<Answering, MeshError> {
    app.mesh.answer(KEYS, Arc::new(Door(app.clone()))).await
}

struct Door(Arc<App>);

impl Answerer for Door {
    fn answer(&self, question: Question) -> BoxFuture<'static, Told> {
        let app = self.0.clone();
        Box::pin(async move {
            let (begun, mut operation) = (Instant::now(), OTHER);
            let handled = handle(&app, &question, &mut operation).await;
            let ended = Ended::Mesh(handled.as_ref().err().map(|refusal| refusal.problem().kind()));
            app.metrics.requests.record(operation, ended, begun.elapsed());
            handled.unwrap_or_else(|refusal| refuse(refusal, &question.key))
        })
    }

    fn refuse(&self, key: &str, problem: Problem) -> Told {
        refuse(problem.into(), key)
    }
}

fn refuse(refusal: Refusal, key: &str) -> Told {
    let key: String = key.chars().take(SHOWN_CHARS_MAX).collect();
    let refusal = refusal.on("ask", key);
    if refusal.problem().kind() == Code::Internal {
        tracing::error!(problem = %refusal.problem(), "a question failed");
    }
    Told::Refusal(refusal.document())
}

/// Tells also which operation it is, once that is known.
async fn handle(app: &App, question: &Question, known: &mut &'static str) -> Result<Told, Refusal> {
    let resource = address::find(&question.key)?;
    let operation = verb(&resource).1;
    *known = operation;
    let read = || {
        address::expect_no_parameters(&question.parameters)?;
        Said::read(&question.attachment, &question.encoding)
    };
    let outcome = match read() {
        Ok(said) => traced::question(&said.headers, operation, admit(app, question, &resource, &said)).await,
        Err(refusal) => Err(refusal),
    };
    outcome.map_err(|refusal| refusal.on(operation, &resource))
}

async fn admit(app: &App, question: &Question, resource: &Resource, said: &Said) -> Result<Told, Refusal> {
    let need = needed(resource, verb(resource).0);
    let identity = app.guard.admit(&said.headers, &app.view()).await?;
    identity.check(need)?;
    let _visit = app.admission.door(Purpose::Call, identity.caller(), identity.rates())?;
    let deadline = Deadline::of(&said.headers)?;
    let bytes_max = identity.body_bytes_max(REQUEST_BYTES_MAX);
    if question.payload.len() > bytes_max {
        return Err(too_large(bytes_max));
    }
    let _held = app.admission.hold(question.payload.len())?;
    run(
        &Asked {
            app,
            question,
            headers: &said.headers,
            identity: &identity,
            deadline,
            consistency: said.consistency,
        },
        resource,
    )
    .await
}

/// A question that was let in.
struct Asked<'a> {
    app: &'a App,
    question: &'a Question,
    headers: &'a HeaderMap,
    identity: &'a Identity,
    deadline: Deadline,
    consistency: Consistency,
}

async fn run(asked: &Asked<'_>, resource: &Resource) -> Result<Told, Refusal> {
    let Asked { app, deadline, consistency, .. } = *asked;
    match resource {
        Resource::Call(class, object, method) => {
            invoke(asked, Callee { class, object: Some(object), method }).await
        }
        Resource::Function(class, method) => invoke(asked, Callee { class, object: None, method }).await,
        Resource::Object(class, object) => {
            asked.expect_no_payload()?;
            let found = objects::fetch(app, deadline.at, class, object, consistency).await?;
            let document = write_object(class, object, found.tag.version, &found.fields);
            answer::read(document.into(), answer::JSON, found.tag, found.stale_ms)
        }
        Resource::Field(class, object, key) => {
            asked.expect_no_payload()?;
            let field = fields::fetch(app, deadline.at, (class, object, key), consistency).await?;
            answer::read(field.value, answer::OCTETS, field.tag, field.stale_ms)
        }
        // `address` finds no other
        _ => Err(Refusal::new(Code::Internal, "no handler for this key")),
    }
}

async fn invoke(asked: &Asked<'_>, callee: Callee<'_>) -> Result<Told, Refusal> {
    callee.takes(asked.consistency)?;
    let wish = Wish {
        callee,
        protocol: Protocol::Mesh,
        payload: asked.question.payload.clone(),
        form: body_form(asked.headers)?,
        accept: accepted_form(asked.headers),
        id: CallId::of(asked.headers)?,
        caller: asked.identity.caller().to_owned(),
        headers: forwarded(asked.headers)?,
    };
    let invoked = wish.run(asked.app, asked.deadline.at, asked.consistency).await?;
    answer::invoked(invoked, &wish.id)
}

impl Asked<'_> {
    fn expect_no_payload(&self) -> Result<(), Refusal> {
        if self.question.payload.is_empty() {
            return Ok(());
        }
        Err(Refusal::invalid("this is a read, and takes no payload")
            .hint("call a method at .../invokes/METHOD, or leave the payload out"))
    }
}

//! From a request to its response: find the resource, let the call in, run its handler. Every failure on the way, a
//! handler's panic included, leaves as a problem that names the operation and its subject.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt as _;
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::{Method, Request};
use oprc_mesh::outcome::{Code, Effect};

use crate::admission::Deadline;
use crate::app::App;
use crate::body::Inbound;
use crate::call::Call;
use crate::problem::Refusal;
use crate::reply::{Reply, without_body};
use crate::router::{Resource, Verb, find};
use crate::wish::Callee;
use crate::{
    classes, cluster, dead, deploy, events, fields, forms, grpc, health, invocations, invoke, listing, nodes,
    objects,
};

/// Of a path that names nothing, so much is shown in the problem.
const SHOWN_CHARS_MAX: usize = 256;

/// Answers one request.
pub(crate) async fn answer(app: &Arc<App>, request: Request<Incoming>) -> Reply {
    if grpc::is_grpc(&request) {
        return Box::pin(grpc::answer(app, request)).await;
    }
    let (parts, body) = request.into_parts();
    let body = Inbound::new(body, &parts.headers, app.lingering.clone());
    let handled = AssertUnwindSafe(handle(app, &parts, body)).catch_unwind().await;
    let outcome = handled.unwrap_or_else(|_| {
        Err(Refusal::new(Code::Internal, "the gateway failed on this request").effect(Effect::Unknown))
    });
    let reply = outcome.unwrap_or_else(|refusal| {
        let path: String = parts.uri.path().chars().take(SHOWN_CHARS_MAX).collect();
        let refusal = refusal.on(shown(&parts.method), path);
        if refusal.problem().kind() == Code::Internal {
            tracing::error!(problem = %refusal.problem(), "a request failed");
        }
        refusal.respond()
    });
    if parts.method == Method::HEAD { without_body(reply) } else { reply }
}

/// HEAD answers as GET does, to the byte, and so names GET.
fn shown(method: &Method) -> &str {
    if method == Method::HEAD { "GET" } else { method.as_str() }
}

async fn handle(app: &Arc<App>, parts: &Parts, body: Inbound) -> Result<Reply, Refusal> {
    let resource = find(parts.uri.path())?;
    let (verb, operation) =
        resource.operation(&parts.method).map_err(|refusal| refusal.on(shown(&parts.method), &resource))?;
    let outcome = match resource {
        // never refused for load: they tell whether there is any
        Resource::Health => health::health(),
        Resource::Ready => health::ready(app),
        // lets itself in
        Resource::Invocation(ref id) => Box::pin(invocations::read(app, parts, id)).await,
        _ => admitted(app, parts, body, &resource, verb).await,
    };
    outcome.map_err(|refusal| refusal.on(operation, &resource))
}

async fn admitted(
    app: &Arc<App>,
    parts: &Parts,
    body: Inbound,
    resource: &Resource,
    verb: Verb,
) -> Result<Reply, Refusal> {
    let _entry = app.admission.enter()?;
    let call = &Call { app, parts, deadline: Deadline::of(&parts.headers)? };
    // the rarer ones are boxed, so that every connection's own future stays small
    match (resource, verb) {
        (Resource::Call(class, object, method), Verb::Post) => {
            invoke::invoke(call, Callee { class, object: Some(object), method }, body).await
        }
        (Resource::Function(class, method), Verb::Post) => {
            invoke::invoke(call, Callee { class, object: None, method }, body).await
        }
        (Resource::Object(class, object), Verb::Get) => objects::read(call, class, object).await,
        (Resource::Field(class, object, key), Verb::Get) => fields::read(call, class, object, key).await,
        _ => Box::pin(rarer(call, resource, verb, body)).await,
    }
}

async fn rarer(call: &Call<'_>, resource: &Resource, verb: Verb, body: Inbound) -> Result<Reply, Refusal> {
    match (resource, verb) {
        (Resource::Invoke, Verb::Post) => invoke::invoke_addressed(call, body).await,
        (Resource::Object(class, object), Verb::Put) => {
            objects::write(call, class, object, forms::Kind::Replace, body).await
        }
        (Resource::Object(class, object), Verb::Patch) => {
            objects::write(call, class, object, forms::Kind::Merge, body).await
        }
        (Resource::Object(class, object), Verb::Delete) => objects::delete(call, class, object).await,
        (Resource::Objects(class), Verb::Get) => listing::objects(call, class).await,
        (Resource::ObjectEvents(class, object), Verb::Get) => events::of_object(call, class, object).await,
        (Resource::ClassEvents(class), Verb::Get) => events::of_class(call, class).await,
        (Resource::Fields(class, object), Verb::Get) => fields::list(call, class, object).await,
        (Resource::Field(class, object, key), Verb::Put) => {
            fields::write(call, class, object, key, body).await
        }
        (Resource::Field(class, object, key), Verb::Delete) => fields::delete(call, class, object, key).await,
        (Resource::Classes, Verb::Get) => classes::list(call).await,
        (Resource::Class(class), Verb::Get) => classes::describe(call, class).await,
        (Resource::Class(class), Verb::Put) => deploy::deploy(call, class, body).await,
        (Resource::Class(class), Verb::Delete) => classes::remove(call, class).await,
        (Resource::Versions(class), Verb::Get) => classes::versions(call, class).await,
        (Resource::DeadLetters(class), Verb::Get) => dead::list(call, class).await,
        (Resource::ChangeDeadLetters(class, wish), Verb::Post) => dead::change(call, class, *wish).await,
        (Resource::Cluster, Verb::Get) => cluster::read(call).await,
        (Resource::Node(node, wish), Verb::Post) => nodes::change(call, *node, *wish).await,
        // the table of operations admits no other pair; a test goes through all of them
        _ => Err(Refusal::new(Code::Internal, format!("no handler for {verb:?}"))),
    }
}

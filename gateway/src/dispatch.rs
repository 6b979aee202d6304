//! From a request to its response: find the resource, let the call in, run its handler. Every failure on the way, a
//! handler's panic included, leaves as a problem that names the operation and its subject.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt as _;
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::{Method, Request, StatusCode};
use oprc_mesh::metrics::OTHER;
use oprc_mesh::outcome::{Code, Effect};
use tokio::time::Instant;

use crate::access::{Identity, Need};
use crate::admission::{Deadline, Purpose};
use crate::app::App;
use crate::body::Inbound;
use crate::call::Call;
use crate::metrics::Ended;
use crate::needs::needed;
use crate::problem::Refusal;
use crate::reply::{Reply, without_body};
use crate::router::{Resource, Verb, find};
use crate::wish::Callee;
use crate::{
    classes, cluster, dead, deploy, events, fields, forms, grpc, health, invocations, invoke, keys, listing,
    logs, nodes, objects, openapi, promote, rollback, scrape, served,
};

/// Path and query; longer is refused with 414.
pub(crate) const URI_BYTES_MAX: usize = 8 * 1024;
/// Of a path that names nothing, so much is shown in the problem.
const SHOWN_CHARS_MAX: usize = 256;

/// Answers one request.
pub(crate) async fn answer(app: &Arc<App>, request: Request<Incoming>) -> Reply {
    if grpc::is_grpc(&request) {
        return Box::pin(grpc::answer(app, request)).await;
    }
    let (parts, body) = request.into_parts();
    let body = Inbound::new(body, &parts.headers, app);
    let (begun, mut operation) = (Instant::now(), OTHER);
    let handled = AssertUnwindSafe(handle(app, &parts, body, &mut operation)).catch_unwind().await;
    let outcome = handled.unwrap_or_else(|_| {
        Err(Refusal::new(Code::Internal, "the gateway failed on this request").effect(Effect::Unknown))
    });
    let ended = Ended::Rest(outcome.as_ref().err().map(|refusal| refusal.problem().kind()));
    app.metrics.requests.record(operation, ended, begun.elapsed());
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

/// Tells also which operation it is, once that is known.
async fn handle(
    app: &Arc<App>,
    parts: &Parts,
    body: Inbound,
    known: &mut &'static str,
) -> Result<Reply, Refusal> {
    if parts.uri.path_and_query().is_some_and(|uri| uri.as_str().len() > URI_BYTES_MAX) {
        return Err(uri_too_long());
    }
    let resource = find(parts.uri.path())?;
    let (verb, operation) =
        resource.operation(&parts.method).map_err(|refusal| refusal.on(shown(&parts.method), &resource))?;
    *known = operation;
    let need = needed(&resource, verb);
    let outcome = match identified(app, parts, need).await {
        Ok(identity) => handle_for((&identity, need), app, parts, body, (&resource, verb)).await,
        Err(refusal) => Err(refusal),
    };
    outcome.map_err(|refusal| refusal.on(operation, &resource))
}

fn uri_too_long() -> Refusal {
    Refusal::invalid(format!("the path and query have more than {URI_BYTES_MAX} bytes"))
        .hint("send what is long in the body; names are shorter")
        .status(StatusCode::URI_TOO_LONG)
}

/// Who asks, if that is needed; refused, if that may not be.
async fn identified(app: &App, parts: &Parts, need: Need<'_>) -> Result<Identity, Refusal> {
    if need == Need::Nothing {
        return Ok(Identity::default());
    }
    let identity = app.guard.admit(&parts.headers, &app.view()).await?;
    identity.check(need)?;
    Ok(identity)
}

async fn handle_for(
    (identity, need): (&Identity, Need<'_>),
    app: &Arc<App>,
    parts: &Parts,
    body: Inbound,
    (resource, verb): (&Resource, Verb),
) -> Result<Reply, Refusal> {
    match resource {
        // never refused for load: they tell whether there is any
        Resource::Health => health::health(),
        Resource::Ready => health::ready(app),
        Resource::Metrics => scrape::read(app, parts.uri.query()).await,
        _ => {
            let purpose = purpose(resource);
            app.admission.room(purpose)?;
            let _visit = app.admission.door(purpose, identity.caller(), identity.rates())?;
            if let Resource::Invocation(id) = resource {
                return Box::pin(invocations::read(app, parts, identity, id)).await;
            }
            let call = &Call { app, parts, identity, need, deadline: Deadline::of(&parts.headers)? };
            admitted(call, body, resource, verb).await
        }
    }
}

/// What a request is for, to those who let it in.
const fn purpose(resource: &Resource) -> Purpose {
    match resource {
        Resource::Call(..)
        | Resource::Function(..)
        | Resource::Http(..)
        | Resource::Invoke
        | Resource::Object(..)
        | Resource::Objects(..)
        | Resource::Field(..)
        | Resource::Fields(..) => Purpose::Call,
        Resource::Invocation(..)
        | Resource::ObjectEvents(..)
        | Resource::ClassEvents(..)
        | Resource::Logs(..) => Purpose::Watch,
        _ => Purpose::Upkeep,
    }
}

async fn admitted(call: &Call<'_>, body: Inbound, resource: &Resource, verb: Verb) -> Result<Reply, Refusal> {
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
        (Resource::Http(class, below), _) => served::serve(call, class, below, body).await,
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
        (Resource::Document, Verb::Get) => openapi::of_gateway(call),
        (Resource::ClassDocument(class), Verb::Get) => openapi::of_class(call, class).await,
        (Resource::Versions(class), Verb::Get) => classes::versions(call, class).await,
        (Resource::Rollback(class), Verb::Post) => rollback::roll_back(call, class, body).await,
        (Resource::Promote(class), Verb::Post) => promote::promote(call, class).await,
        (Resource::Logs(class), Verb::Get) => logs::read(call, class).await,
        (Resource::DeadLetters(class), Verb::Get) => dead::list(call, class).await,
        (Resource::ChangeDeadLetters(class, wish), Verb::Post) => dead::change(call, class, *wish).await,
        (Resource::Keys, Verb::Get) => keys::list(call).await,
        (Resource::Keys, Verb::Post) => keys::create(call, body).await,
        (Resource::Key(key), Verb::Delete) => keys::revoke(call, key).await,
        (Resource::RotateKey(key), Verb::Post) => keys::rotate(call, key, body).await,
        (Resource::Cluster, Verb::Get) => cluster::read(call).await,
        (Resource::Node(node, wish), Verb::Post) => nodes::change(call, *node, *wish).await,
        // the table of operations admits no other pair; a test goes through all of them
        _ => Err(Refusal::new(Code::Internal, format!("no handler for {verb:?}"))),
    }
}

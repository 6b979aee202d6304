//! Whole objects as JSON documents. Every write is a turn on the object's leader; conditions travel with it and are
//! decided there.

use hyper::StatusCode;
use hyper::header::{ETAG, HeaderMap};
use oprc_mesh::id::{ClassName, ObjectId};
use oprc_mesh::limits::REQUEST_BYTES_MAX;
use oprc_mesh::retry::Repeat;
use oprc_mesh::wire::{
    Answer, Consistency, FieldWrite, Object, ObjectAddress, Op, Precondition, Tag, WriteMode, WriteObject,
    Written,
};
use schemars::JsonSchema;
use serde::Serialize;
use tokio::time::Instant;

use crate::app::App;
use crate::body::Inbound;
use crate::call::Call;
use crate::call_id::CallId;
use crate::etag::{self, Freshness};
use crate::forms::{Kind, read_object, write_object};
use crate::media::expect_json;
use crate::problem::Refusal;
use crate::query::{CONSISTENCY, Query};
use crate::reply::{JSON, Reply, bytes, dated, empty, json};
use crate::route::Target;

/// `GET .../objects/{id}`.
pub(crate) async fn read(call: &Call<'_>, class: &ClassName, object: &ObjectId) -> Result<Reply, Refusal> {
    let consistency = Query::parse(call.query(), &[CONSISTENCY])?.consistency()?;
    let found = fetch(call.app, call.deadline.at, class, object, consistency).await?;
    conditional(call.headers(), (found.tag, found.stale_ms), || {
        bytes(StatusCode::OK, JSON, write_object(class, object, found.tag.version, &found.fields).into())
    })
}

/// An object as it is.
pub(crate) async fn fetch(
    app: &App,
    deadline: Instant,
    class: &ClassName,
    object: &ObjectId,
    consistency: Consistency,
) -> Result<Object, Refusal> {
    let operation = |revision| {
        Op::ReadObject(ObjectAddress {
            class: class.as_str().to_owned(),
            object: object.as_str().to_owned(),
            consistency: consistency as i32,
            revision,
        })
    };
    let target = Target::reading(class, object, consistency);
    match app.ask(target, deadline, Repeat::Harmless, operation).await? {
        Answer::Object(found) => Ok(found),
        _ => Err(Refusal::misanswered()),
    }
}

/// A read's response with its `ETag` and how stale it may be, or 304 when the client has it.
pub(crate) fn conditional(
    headers: &HeaderMap,
    (tag, stale_ms): (Tag, Option<u64>),
    full: impl FnOnce() -> Reply,
) -> Result<Reply, Refusal> {
    let mut reply = match etag::for_read(headers, tag)? {
        Freshness::Send => full(),
        Freshness::NotModified => empty(StatusCode::NOT_MODIFIED),
    };
    reply.headers_mut().insert(ETAG, etag::render(tag)?);
    Ok(dated(reply, stale_ms))
}

/// `PUT .../objects/{id}` replaces the object, `PATCH` merges into it; both create it.
pub(crate) async fn write(
    call: &Call<'_>,
    class: &ClassName,
    object: &ObjectId,
    kind: Kind,
    body: Inbound,
) -> Result<Reply, Refusal> {
    Query::parse(call.query(), &[])?;
    expect_json(call.headers())?;
    let body = call.read(body, REQUEST_BYTES_MAX).await?;
    let fields = read_object(&body.bytes, class, object, kind)?;
    let mode = if kind == Kind::Replace { WriteMode::Replace } else { WriteMode::Merge };
    let (written, id) = change_once(call, class, object, mode, fields).await?;
    let tag = written.tag.ok_or_else(Refusal::misanswered)?;
    let status = if written.created { StatusCode::CREATED } else { StatusCode::OK };
    let mut reply =
        json(status, &Summary { class: class.as_str(), id: object.as_str(), version: tag.version })?;
    reply.headers_mut().insert(ETAG, etag::render(tag)?);
    id.named(reply, written.replayed)
}

/// An object without its fields.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ObjectSummary")]
pub(crate) struct Summary<'a> {
    class: &'a str,
    id: &'a str,
    version: u64,
}

/// `DELETE .../objects/{id}`.
pub(crate) async fn delete(call: &Call<'_>, class: &ClassName, object: &ObjectId) -> Result<Reply, Refusal> {
    Query::parse(call.query(), &[])?;
    let (written, id) = change_once(call, class, object, WriteMode::Delete, Vec::new()).await?;
    id.named(empty(StatusCode::NO_CONTENT), written.replayed)
}

/// Changes an object under the request's conditions and its name, once.
pub(crate) async fn change_once(
    call: &Call<'_>,
    class: &ClassName,
    object: &ObjectId,
    mode: WriteMode,
    fields: Vec<FieldWrite>,
) -> Result<(Written, CallId), Refusal> {
    let id = CallId::of(call.headers())?;
    let change = Change { mode, fields, precondition: etag::for_write(call.headers())? };
    let written = write_once(call.app, call.deadline.at, (class, object), change, &id).await?;
    Ok((written, id))
}

/// What happens to an object, and what must hold for it.
pub(crate) struct Change {
    pub(crate) mode: WriteMode,
    pub(crate) fields: Vec<FieldWrite>,
    pub(crate) precondition: Option<Precondition>,
}

/// Changes an object, once under one id.
pub(crate) async fn write_once(
    app: &App,
    deadline: Instant,
    (class, object): (&ClassName, &ObjectId),
    Change { mode, fields, precondition }: Change,
    id: &CallId,
) -> Result<Written, Refusal> {
    let write = WriteObject {
        class: class.as_str().to_owned(),
        object: object.as_str().to_owned(),
        precondition,
        mode: mode as i32,
        fields,
        revision: 0,
        invocation: id.invocation.clone(),
        keyed: id.keyed,
    };
    let operation = |revision| Op::WriteObject(WriteObject { revision, ..write.clone() });
    match app.ask(Target::Object(class, object), deadline, Repeat::Once, operation).await {
        Ok(Answer::Written(written)) => Ok(written),
        Ok(_) => Err(Refusal::misanswered()),
        Err(refusal) => Err(refusal.invocation(&id.invocation)),
    }
}

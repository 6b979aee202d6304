//! Single fields as raw bytes, and listings of an object's fields.

use hyper::StatusCode;
use hyper::header::ETAG;
use oprc_mesh::id::{ClassName, FieldKey, ObjectId};
use oprc_mesh::limits::{FIELD_KEY_BYTES_MAX, FIELD_VALUE_BYTES_MAX};
use oprc_mesh::retry::Repeat;
use oprc_mesh::wire::{
    Answer, Consistency, FieldPage, FieldRead, FieldWrite, ListFields, Op, ReadField, WriteMode, Written,
};
use tokio::time::Instant;

use crate::app::App;
use crate::body::Inbound;
use crate::call::Call;
use crate::call_id::CallId;
use crate::cursor::{self, Kind};
use crate::etag;
use crate::forms::write_fields;
use crate::objects::{change_once, conditional};
use crate::problem::Refusal;
use crate::query::{CONSISTENCY, Page, Query};
use crate::reply::{JSON, OCTETS, Reply, bytes, empty};
use crate::route::Target;

/// `GET .../fields/{key}`.
pub(crate) async fn read(
    call: &Call<'_>,
    class: &ClassName,
    object: &ObjectId,
    key: &FieldKey,
) -> Result<Reply, Refusal> {
    let consistency = Query::parse(call.query(), &[CONSISTENCY])?.consistency()?;
    let field = fetch(call.app, call.deadline.at, (class, object, key), consistency).await?;
    let about = (field.tag, field.stale_ms);
    conditional(call.headers(), about, || bytes(StatusCode::OK, OCTETS, field.value))
}

/// A field as it is.
pub(crate) async fn fetch(
    app: &App,
    deadline: Instant,
    (class, object, key): (&ClassName, &ObjectId, &FieldKey),
    consistency: Consistency,
) -> Result<FieldRead, Refusal> {
    let operation = |revision| {
        Op::ReadField(ReadField {
            class: class.as_str().to_owned(),
            object: object.as_str().to_owned(),
            key: key.as_str().to_owned(),
            consistency: consistency as i32,
            revision,
        })
    };
    let target = Target::reading(class, object, consistency);
    match app.ask(target, deadline, Repeat::Harmless, operation).await? {
        Answer::Field(field) => Ok(field),
        _ => Err(Refusal::misanswered()),
    }
}

/// `PUT .../fields/{key}`: the body is the value, whatever its type. 201 when it created the object.
pub(crate) async fn write(
    call: &Call<'_>,
    class: &ClassName,
    object: &ObjectId,
    key: &FieldKey,
    body: Inbound,
) -> Result<Reply, Refusal> {
    Query::parse(call.query(), &[])?;
    let body = call.read(body, FIELD_VALUE_BYTES_MAX).await?;
    let field = FieldWrite { key: key.as_str().to_owned(), value: Some(body.bytes.clone()) };
    respond(change_once(call, class, object, WriteMode::Merge, vec![field]).await?)
}

/// `DELETE .../fields/{key}`.
pub(crate) async fn delete(
    call: &Call<'_>,
    class: &ClassName,
    object: &ObjectId,
    key: &FieldKey,
) -> Result<Reply, Refusal> {
    Query::parse(call.query(), &[])?;
    let field = FieldWrite { key: key.as_str().to_owned(), value: None };
    respond(change_once(call, class, object, WriteMode::DeleteField, vec![field]).await?)
}

fn respond((written, id): (Written, CallId)) -> Result<Reply, Refusal> {
    let mut reply = empty(if written.created { StatusCode::CREATED } else { StatusCode::NO_CONTENT });
    if let Some(tag) = written.tag {
        reply.headers_mut().insert(ETAG, etag::render(tag)?);
    }
    id.named(reply, written.replayed)
}

/// `GET .../fields`: a page of fields in key order, values in the forms of the object document.
pub(crate) async fn list(call: &Call<'_>, class: &ClassName, object: &ObjectId) -> Result<Reply, Refusal> {
    let page =
        page(call.app, call.deadline.at, class, object, &Page::parse(call.query(), Kind::Field)?).await?;
    let next = page.items.last().filter(|_| page.more).map(|last| cursor::encode(Kind::Field, &last.key));
    conditional(call.headers(), (page.tag, page.stale_ms), || {
        bytes(StatusCode::OK, JSON, write_fields(&page.items, next.as_deref()).into())
    })
}

/// A page of fields.
pub(crate) async fn page(
    app: &App,
    deadline: Instant,
    class: &ClassName,
    object: &ObjectId,
    Page { prefix, limit, after, consistency }: &Page,
) -> Result<FieldPage, Refusal> {
    if prefix.len() > FIELD_KEY_BYTES_MAX || prefix.chars().any(char::is_control) {
        return Err(Refusal::invalid("the prefix is not the beginning of any field key")
            .hint(format!("send up to {FIELD_KEY_BYTES_MAX} bytes of UTF-8 without control characters")));
    }
    let operation = |revision| {
        Op::ListFields(ListFields {
            class: class.as_str().to_owned(),
            object: object.as_str().to_owned(),
            prefix: prefix.clone(),
            after: after.clone(),
            limit: *limit as u32,
            consistency: *consistency as i32,
            revision,
        })
    };
    match app.ask(Target::reading(class, object, *consistency), deadline, Repeat::Harmless, operation).await?
    {
        Answer::Fields(page) => Ok(page),
        _ => Err(Refusal::misanswered()),
    }
}

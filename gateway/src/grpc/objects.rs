//! `oprc.v1.ObjectService`.

use std::sync::Arc;

use futures::stream::BoxStream;
use hyper::HeaderMap;
use oprc_mesh::access::Action;
use oprc_mesh::id::{ClassName, FieldKey, ObjectId};
use oprc_mesh::wire::{Field, FieldWrite, Tag, WriteMode};
use tonic::{Request, Response, Status};

use super::parse::{self, Asked};
use super::pb::object_service_server::ObjectService;
use super::{lists, pb, status};
use crate::access::{Identity, Need};
use crate::admission::Deadline;
use crate::app::App;
use crate::etag::{self, Freshness};
use crate::fields;
use crate::forms::Writes;
use crate::objects::{self, Change};
use crate::problem::Refusal;

/// See the module.
pub(super) struct Objects(pub(super) Arc<App>);

#[tonic::async_trait]
impl ObjectService for Objects {
    type ListFieldsStream = BoxStream<'static, Result<pb::ListFieldsResponse, Status>>;
    type ListStream = BoxStream<'static, Result<pb::ListResponse, Status>>;

    async fn get(&self, request: Request<pb::GetRequest>) -> Result<Response<pb::GetResponse>, Status> {
        let Asked { message, deadline, identity, .. } = Asked::of(request);
        let address = Address { class: message.class_name.clone(), object: message.object.clone() };
        let read = self.read(&address, &message, (&identity, deadline)).await;
        Ok(Response::new(read.map_err(|refusal| status::of(refusal.on("read object", &address)))?))
    }

    async fn put(&self, request: Request<pb::PutRequest>) -> Result<Response<pb::PutResponse>, Status> {
        let Asked { message, headers, deadline, identity } = Asked::of(request);
        let write = Write {
            operation: "replace object",
            address: Address { class: message.class_name, object: message.object },
            mode: WriteMode::Replace,
            fields: writes(message.fields, Vec::new()),
            options: message.options.unwrap_or_default(),
        };
        let result = Some(self.write(write, &headers, (&identity, deadline)).await?);
        Ok(Response::new(pb::PutResponse { result }))
    }

    async fn patch(&self, request: Request<pb::PatchRequest>) -> Result<Response<pb::PatchResponse>, Status> {
        let Asked { message, headers, deadline, identity } = Asked::of(request);
        let write = Write {
            operation: "change object",
            address: Address { class: message.class_name, object: message.object },
            mode: WriteMode::Merge,
            fields: writes(message.set, message.delete),
            options: message.options.unwrap_or_default(),
        };
        let result = Some(self.write(write, &headers, (&identity, deadline)).await?);
        Ok(Response::new(pb::PatchResponse { result }))
    }

    async fn delete(
        &self,
        request: Request<pb::DeleteRequest>,
    ) -> Result<Response<pb::DeleteResponse>, Status> {
        let Asked { message, headers, deadline, identity } = Asked::of(request);
        let write = Write {
            operation: "delete object",
            address: Address { class: message.class_name, object: message.object },
            mode: WriteMode::Delete,
            fields: Ok(Vec::new()),
            options: message.options.unwrap_or_default(),
        };
        let result = Some(self.write(write, &headers, (&identity, deadline)).await?);
        Ok(Response::new(pb::DeleteResponse { result }))
    }

    async fn get_field(
        &self,
        request: Request<pb::GetFieldRequest>,
    ) -> Result<Response<pb::GetFieldResponse>, Status> {
        let Asked { message, deadline, identity, .. } = Asked::of(request);
        let read = self.read_field(&message, (&identity, deadline)).await;
        let pb::GetFieldRequest { class_name: class, object, key, .. } = &message;
        let subject = || format!("{class}/{object}.{key}");
        Ok(Response::new(read.map_err(|refusal| status::of(refusal.on("read field", subject())))?))
    }

    async fn put_field(
        &self,
        request: Request<pb::PutFieldRequest>,
    ) -> Result<Response<pb::PutFieldResponse>, Status> {
        let Asked { message, headers, deadline, identity } = Asked::of(request);
        let write = Write {
            operation: "write field",
            address: Address { class: message.class_name, object: message.object },
            mode: WriteMode::Merge,
            fields: writes(vec![pb::Field { key: message.key, value: message.value }], Vec::new()),
            options: message.options.unwrap_or_default(),
        };
        let result = Some(self.write(write, &headers, (&identity, deadline)).await?);
        Ok(Response::new(pb::PutFieldResponse { result }))
    }

    async fn delete_field(
        &self,
        request: Request<pb::DeleteFieldRequest>,
    ) -> Result<Response<pb::DeleteFieldResponse>, Status> {
        let Asked { message, headers, deadline, identity } = Asked::of(request);
        let write = Write {
            operation: "delete field",
            address: Address { class: message.class_name, object: message.object },
            mode: WriteMode::DeleteField,
            fields: writes(Vec::new(), vec![message.key]),
            options: message.options.unwrap_or_default(),
        };
        let result = Some(self.write(write, &headers, (&identity, deadline)).await?);
        Ok(Response::new(pb::DeleteFieldResponse { result }))
    }

    async fn list_fields(
        &self,
        request: Request<pb::ListFieldsRequest>,
    ) -> Result<Response<Self::ListFieldsStream>, Status> {
        lists::fields(self.0.clone(), Asked::of(request)).map(Response::new)
    }

    async fn list(&self, request: Request<pb::ListRequest>) -> Result<Response<Self::ListStream>, Status> {
        lists::objects(self.0.clone(), Asked::of(request)).map(Response::new)
    }
}

impl Objects {
    async fn read(
        &self,
        address: &Address,
        message: &pb::GetRequest,
        (identity, deadline): (&Identity, Deadline),
    ) -> Result<pb::GetResponse, Refusal> {
        let (class, object) = address.parse()?;
        identity.check(Need::In(Action::Read, &class))?;
        let consistency = parse::consistency(message.consistency)?;
        let conditions = parse::conditions(message.precondition.as_ref())?;
        let found = objects::fetch(&self.0, deadline.at, &class, &object, consistency).await?;
        let not_modified = etag::for_read(&conditions, found.tag)? == Freshness::NotModified;
        let fields = if not_modified { Vec::new() } else { fields_of(found.fields) };
        Ok(pb::GetResponse { state: Some(state(found.tag)?), fields, not_modified, stale_ms: found.stale_ms })
    }

    async fn read_field(
        &self,
        message: &pb::GetFieldRequest,
        (identity, deadline): (&Identity, Deadline),
    ) -> Result<pb::GetFieldResponse, Refusal> {
        let (class, object) = (ClassName::parse(&message.class_name)?, ObjectId::parse(&message.object)?);
        identity.check(Need::In(Action::Read, &class))?;
        let key = FieldKey::parse(&message.key)?;
        let consistency = parse::consistency(message.consistency)?;
        let conditions = parse::conditions(message.precondition.as_ref())?;
        let field = fields::fetch(&self.0, deadline.at, (&class, &object, &key), consistency).await?;
        let not_modified = etag::for_read(&conditions, field.tag)? == Freshness::NotModified;
        let value = if not_modified { bytes::Bytes::new() } else { field.value };
        Ok(pb::GetFieldResponse {
            state: Some(state(field.tag)?),
            value,
            not_modified,
            stale_ms: field.stale_ms,
        })
    }

    async fn write(
        &self,
        write: Write,
        headers: &HeaderMap,
        (identity, deadline): (&Identity, Deadline),
    ) -> Result<pb::WriteResult, Status> {
        let Write { operation, address, mode, fields, options } = write;
        let written = async {
            let (class, object) = address.parse()?;
            identity.check(Need::In(Action::Invoke, &class))?;
            let id = parse::call_id(&options.idempotency_key, headers)?;
            let conditions = parse::conditions(options.precondition.as_ref())?;
            let change = Change { mode, fields: fields?, precondition: etag::for_write(&conditions)? };
            let written = objects::write_once(&self.0, deadline.at, (&class, &object), change, &id).await?;
            Ok::<_, Refusal>(pb::WriteResult {
                state: written.tag.map(state).transpose()?,
                created: written.created,
                replayed: written.replayed,
                invocation_id: id.invocation,
            })
        };
        written.await.map_err(|refusal| status::of(refusal.on(operation, &address)))
    }
}

/// A write as it was asked for.
struct Write {
    operation: &'static str,
    address: Address,
    mode: WriteMode,
    fields: Result<Vec<FieldWrite>, Refusal>,
    options: pb::WriteOptions,
}

/// An object's address as it was sent.
struct Address {
    class: String,
    object: String,
}

impl Address {
    fn parse(&self) -> Result<(ClassName, ObjectId), Refusal> {
        Ok((ClassName::parse(&self.class)?, ObjectId::parse(&self.object)?))
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.class, self.object)
    }
}

fn writes(set: Vec<pb::Field>, deleted: Vec<String>) -> Result<Vec<FieldWrite>, Refusal> {
    let mut writes = Writes::default();
    for field in set {
        writes.add(field.key, Some(field.value))?;
    }
    for key in deleted {
        writes.add(key, None)?;
    }
    Ok(writes.done())
}

/// Where an object stands.
pub(super) fn state(tag: Tag) -> Result<pb::ObjectState, Refusal> {
    let etag = etag::render(tag)?;
    let etag = etag.to_str().map_err(|error| {
        Refusal::new(oprc_mesh::outcome::Code::Internal, format!("an etag is not text: {error}"))
    })?;
    Ok(pb::ObjectState { version: tag.version, etag: etag.to_owned() })
}

pub(super) fn fields_of(fields: Vec<Field>) -> Vec<pb::Field> {
    fields.into_iter().map(|Field { key, value }| pb::Field { key, value }).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_key_is_set_or_deleted_once() {
        let field = |key: &str| pb::Field { key: key.into(), value: "1".into() };
        let changes = writes(vec![field("a")], vec!["b".into()]).unwrap();
        assert_eq!((changes[0].value.as_deref(), changes[1].value.as_deref()), (Some(&b"1"[..]), None));
        assert!(writes(vec![field("a"), field("a")], Vec::new()).is_err());
        assert!(writes(vec![field("a")], vec!["a".into()]).is_err());
        assert!(writes(vec![field("")], Vec::new()).is_err());
    }

    #[test]
    fn a_state_shows_its_etag_as_rest_does() {
        let state = state(Tag { incarnation: 5, version: 3 }).unwrap();
        assert_eq!((state.version, state.etag.as_str()), (3, "\"5.3\""));
    }
}

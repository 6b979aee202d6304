//! `oprc.v1.EventService`: the same streams as Server-Sent Events have, with the same ids.

use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use oprc_mesh::access::Action;
use oprc_mesh::id::{ClassName, ObjectId};
use tonic::{Request, Response, Status};

use super::parse::Asked;
use super::pb::event_service_server::EventService;
use super::pb::watch_request::Scope;
use super::{pb, status, told};
use crate::access::Need;
use crate::app::App;
use crate::events;
use crate::problem::Refusal;
use crate::stream::Stream;

/// See the module.
pub(super) struct Events(pub(super) Arc<App>);

#[tonic::async_trait]
impl EventService for Events {
    type WatchStream = BoxStream<'static, Result<pb::WatchResponse, Status>>;

    async fn watch(&self, request: Request<pb::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let asked = Asked::of(request);
        let subject = match &asked.message.scope {
            Some(Scope::Object(object)) => format!("{}/{object}", asked.message.class_name),
            Some(Scope::Prefix(_)) | None => asked.message.class_name.clone(),
        };
        let begun = self.begin(asked).await;
        let pieces = begun.map_err(|refusal| status::of(refusal.on("watch", &subject)))?;
        let messages = stream::poll_fn(move |cx| pieces.poll_next(cx))
            .flat_map(|piece| stream::iter(told::read(&piece)))
            .map(move |message| message.map_err(|refusal| status::of(refusal.on("watch", &subject))));
        Ok(Response::new(messages.boxed()))
    }
}

impl Events {
    async fn begin(&self, asked: Asked<pb::WatchRequest>) -> Result<Stream, Refusal> {
        let Asked { message, deadline, identity, .. } = asked;
        let class = ClassName::parse(&message.class_name)?;
        identity.check(Need::In(Action::Read, &class))?;
        let (object, prefix) = match message.scope {
            None => (None, String::new()),
            Some(Scope::Prefix(prefix)) => (None, prefix),
            Some(Scope::Object(object)) => (Some(ObjectId::parse(&object)?), String::new()),
        };
        let asked = events::Asked::new(prefix, message.keys, &message.since)?;
        events::watch(&self.0, &identity, deadline.at, &class, object.as_ref(), asked).await
    }
}

//! `grpc.health.v1`: what `/readyz` says, for the whole server (the empty name) and each of our services.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::{BoxStream, unfold};
use tokio::time::sleep;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::pb;
use crate::app::App;
use crate::health;

/// How often it is looked whether a watched status has changed.
const LOOK: Duration = Duration::from_millis(500);
/// The largest request.
const MESSAGE_BYTES_MAX: usize = 4 * 1024;

const NAMES: [&str; 4] = [
    "",
    pb::invocation_service_server::SERVICE_NAME,
    pb::object_service_server::SERVICE_NAME,
    pb::event_service_server::SERVICE_NAME,
];

/// See the module.
pub(super) struct Probes(Arc<App>);

impl Probes {
    pub(super) fn server(app: Arc<App>) -> HealthServer<Self> {
        HealthServer::new(Self(app)).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }
}

fn status(app: &App, service: &str) -> ServingStatus {
    if !NAMES.contains(&service) {
        return ServingStatus::ServiceUnknown;
    }
    if health::ready(app).is_ok() { ServingStatus::Serving } else { ServingStatus::NotServing }
}

fn answer(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status as i32 }
}

#[tonic::async_trait]
impl Health for Probes {
    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        match status(&self.0, &request.into_inner().service) {
            ServingStatus::ServiceUnknown => Err(Status::not_found("there is no such service here")),
            known => Ok(Response::new(answer(known))),
        }
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let service = request.into_inner().service;
        let seat = self.0.probes.clone().try_acquire_owned();
        let seat = seat.map_err(|_| Status::resource_exhausted("too many watch the health"))?;
        let changes =
            unfold((self.0.clone(), service, None, seat), |(app, service, last, seat)| async move {
                loop {
                    let now = status(&app, &service);
                    if last != Some(now) {
                        return Some((Ok(answer(now)), (app, service, Some(now), seat)));
                    }
                    sleep(LOOK).await;
                }
            });
        Ok(Response::new(changes.boxed()))
    }
}

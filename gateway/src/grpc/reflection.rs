//! Server reflection, in the version that is current and the one before, which many tools still ask for.

use std::sync::LazyLock;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use http_body_util::BodyExt as _;
use hyper::{Request, Response};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic_reflection::server::{Builder, Error};

use super::serve::given;
use crate::app::App;

/// What the build makes of the `.proto` files, comments included.
const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/oprc.v1.bin"));
/// The largest request.
const MESSAGE_BYTES_MAX: usize = 16 * 1024;

type Server = Box<dyn Fn(Request<Body>) -> BoxFuture<'static, Response<Body>> + Send + Sync>;

static V1: LazyLock<Result<Server, Error>> = LazyLock::new(|| {
    let server = builder().build_v1()?.max_decoding_message_size(MESSAGE_BYTES_MAX);
    Ok(Box::new(move |request: Request<Body>| server.clone().call(request).map(given).boxed()))
});

static V1_ALPHA: LazyLock<Result<Server, Error>> = LazyLock::new(|| {
    let server = builder().build_v1alpha()?.max_decoding_message_size(MESSAGE_BYTES_MAX);
    Ok(Box::new(move |request: Request<Body>| server.clone().call(request).map(given).boxed()))
});

fn builder() -> Builder<'static> {
    Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

/// Answers a request to the service of this name. It has its place for as long as the answer goes on.
pub(super) async fn answer(
    app: &App,
    service: &str,
    request: Request<Body>,
) -> Result<Response<Body>, Status> {
    let server = match service {
        "grpc.reflection.v1.ServerReflection" => &*V1,
        "grpc.reflection.v1alpha.ServerReflection" => &*V1_ALPHA,
        _ => return Err(Status::unimplemented(format!("there is no service {service:?} here"))),
    };
    let place = app.probes.clone().try_acquire_owned();
    let place = place.map_err(|_| Status::resource_exhausted("too many ask what there is"))?;
    let hold = move |frame| {
        let _held = &place;
        frame
    };
    match server {
        Ok(server) => Ok(server(request).await.map(|body| Body::new(body.map_frame(hold)))),
        Err(error) => Err(Status::internal(format!("the descriptors cannot be read: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_descriptors_can_be_read() {
        assert!(V1.is_ok() && V1_ALPHA.is_ok());
    }
}

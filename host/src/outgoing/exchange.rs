//! One request and its response over a connection of their own.

use http_body_util::BodyExt as _;
use hyper::client::conn::http1;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use oprc_mesh::limits::HTTP_RESPONSE_HEAD_BYTES_MAX;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout_at;
use tokio_util::task::AbortOnDropHandle;
use wasmtime_wasi_http::{Error, WasiBody};

use super::Times;
use super::body::{Inbound, Outbound};
use super::failure;

/// Headers of a response, at the most.
const RESPONSE_HEADERS_MAX: usize = 256;

/// A response, and what keeps its connection going until it is read. Dropping the latter ends the connection.
pub(crate) type Sent = (Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>);

pub(super) async fn exchange<S>(
    stream: S,
    request: Request<WasiBody>,
    times: Times,
    places: [OwnedSemaphorePermit; 2],
) -> Result<Sent, Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = http1::Builder::new()
        .max_headers(RESPONSE_HEADERS_MAX)
        .max_header_size(HTTP_RESPONSE_HEAD_BYTES_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| failure::of_exchange(&error))?;
    // a task of its own: it sends what the guest still writes while the guest already reads
    let driven = AbortOnDropHandle::new(tokio::spawn(connection));
    let answer = timeout_at(times.end_of(times.first_byte), sender.send_request(request.map(Outbound::new)));
    let response = answer
        .await
        .map_err(|_| Error::ConnectionReadTimeout)?
        .map_err(|error| failure::of_exchange(&error))?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Error::HttpUpgradeFailed);
    }
    let (parts, body) = response.into_parts();
    let body = Inbound::new(body, times.between_bytes, times.until, places)?;
    let going = async move {
        // how it fails is told by the body as well
        drop(driven.await);
        Ok(())
    };
    Ok((Response::from_parts(parts, body.boxed_unsync()), Box::new(going)))
}

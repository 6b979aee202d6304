//! A server outside the cluster, to which classes send requests. It does by path whatever a test wants to see withstood,
//! and keeps what it was asked.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Its method.
    pub method: String,
    /// Its path and query.
    pub path: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// How many bytes its body had.
    pub bytes: usize,
}

/// See the module. Dropping it closes it.
pub struct Origin {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: JoinHandle<()>,
}

impl Origin {
    /// Listens on a port of this machine.
    ///
    /// # Panics
    /// When it cannot.
    pub async fn new() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port is free");
        let address = listener.local_addr().expect("it listens");
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let kept = asked.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let kept = kept.clone();
                let service = service_fn(move |request| answer(kept.clone(), request));
                let serving = hyper::server::conn::http1::Builder::new();
                tokio::spawn(serving.serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { address, asked, task }
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Its origin, by its address.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it was asked so far whose path begins so.
    pub fn asked(&self, path: &str) -> Vec<Asked> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.iter().filter(|asked| asked.path.starts_with(path)).cloned().collect()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a response says after its head.
enum Answer {
    /// So many bytes, announced or not.
    Bytes {
        left: usize,
        announced: bool,
    },
    Whole(Option<Bytes>),
    /// A piece, and then nothing more, for ever.
    Stalls(bool),
    /// A piece of what was announced, and the connection breaks.
    Breaks(bool),
}

impl Body for Answer {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let half = || Some(Ok(Frame::data(Bytes::from_static(b"half"))));
        match &mut *self {
            Self::Bytes { left: 0, .. } => Poll::Ready(None),
            Self::Bytes { left, .. } => {
                let piece = (*left).min(16 * 1024);
                *left -= piece;
                Poll::Ready(Some(Ok(Frame::data(vec![b'x'; piece].into()))))
            }
            Self::Whole(whole) => Poll::Ready(whole.take().map(|whole| Ok(Frame::data(whole)))),
            Self::Stalls(begun) => {
                if std::mem::replace(begun, true) {
                    Poll::Pending
                } else {
                    Poll::Ready(half())
                }
            }
            Self::Breaks(begun) => {
                let broken = || Some(Err(std::io::Error::other("as asked")));
                Poll::Ready(if std::mem::replace(begun, true) { broken() } else { half() })
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Bytes { left, announced: true } => SizeHint::with_exact(*left as u64),
            Self::Whole(whole) => SizeHint::with_exact(whole.as_ref().map_or(0, Bytes::len) as u64),
            Self::Breaks(false) => SizeHint::with_exact(100),
            _ => SizeHint::default(),
        }
    }
}

async fn answer(
    kept: Arc<Mutex<Vec<Asked>>>,
    request: Request<Incoming>,
) -> Result<Response<Answer>, Infallible> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    // a body that breaks off is not kept: nobody asked for anything with it
    let Ok(body) = body.collect().await else { return std::future::pending().await };
    let body = body.to_bytes();
    let method = parts.method.to_string();
    let (asked, bytes) =
        (Asked { method, path: path.clone(), headers: parts.headers, bytes: body.len() }, body.len());
    let told = json!({ "method": asked.method, "path": asked.path, "body": String::from_utf8_lossy(&body) });
    kept.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let number = |text: &str| text.parse::<usize>().unwrap_or_default();
    let response = Response::builder();
    let response = match segments.as_slice() {
        ["slow"] => std::future::pending().await,
        ["redirect"] => response.status(302).header("location", "/echo").body(Answer::Whole(None)),
        ["announced", bytes] => response.body(Answer::Bytes { left: number(bytes), announced: true }),
        ["chunked", bytes] => response.body(Answer::Bytes { left: number(bytes), announced: false }),
        ["stalls"] => response.body(Answer::Stalls(false)),
        ["breaks"] => response.body(Answer::Breaks(false)),
        ["head", bytes] => response.header("x-long", "v".repeat(number(bytes))).body(Answer::Whole(None)),
        ["length"] => response.body(Answer::Whole(Some(bytes.to_string().into()))),
        _ => response.body(Answer::Whole(Some(told.to_string().into()))),
    };
    Ok(response.expect("the test's own headers are sound"))
}

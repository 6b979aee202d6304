//! A client over HTTP/2 that lets no answer's body come until it says so.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::RecvStream;
use h2::client::{Builder, ResponseFuture, SendRequest};
use hyper::{Request, Response};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Wide enough for anything here.
const OPEN: u32 = 64 * 1024 * 1024;

/// See the module.
pub struct Miser {
    send: SendRequest<Bytes>,
    opened: watch::Sender<bool>,
    connection: JoinHandle<()>,
}

impl Miser {
    /// Connects with no window.
    ///
    /// # Panics
    /// When there is no connection.
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("it listens");
        let (send, mut connection) =
            Builder::new().initial_window_size(0).handshake(stream).await.expect("it speaks HTTP/2");
        let (opened, mut opening) = watch::channel(false);
        let connection = tokio::spawn(async move {
            tokio::select! {
                _ = &mut connection => return,
                open = opening.wait_for(|open| *open) => if open.is_err() { return },
            }
            connection.set_target_window_size(OPEN);
            connection.set_initial_window_size(OPEN).expect("it is not being changed");
            let _ = connection.await; // however it ends
        });
        Self { send, opened, connection }
    }

    /// Asks, and gives the answer to come.
    ///
    /// # Panics
    /// When the connection is over.
    pub async fn ask(&mut self, request: Request<Bytes>) -> ResponseFuture {
        let (parts, body) = request.into_parts();
        let mut send = self.send.clone().ready().await.expect("it is open");
        let (answer, mut rest) =
            send.send_request(Request::from_parts(parts, ()), false).expect("it is sent");
        rest.send_data(body, true).expect("it is sent");
        answer
    }

    /// Lets all come, of what was asked and of what will be.
    pub fn open(&self) {
        self.opened.send_replace(true);
    }
}

impl Drop for Miser {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// How many bytes of the body come, to its end or until it breaks off.
pub async fn taken_bytes(answer: Response<RecvStream>) -> usize {
    let (mut body, mut bytes) = (answer.into_body(), 0);
    while let Some(Ok(piece)) = body.data().await {
        bytes += piece.len();
    }
    bytes
}

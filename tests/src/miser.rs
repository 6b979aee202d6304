//! A client over HTTP/2 that lets little or nothing of an answer come until it says so.

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

/// What a client does with what comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// As much as its windows let come.
    Window,
    /// All.
    All,
    /// Not a byte off the wire.
    Nothing,
}

/// See the module.
pub struct Miser {
    send: SendRequest<Bytes>,
    takes: watch::Sender<Takes>,
    connection: JoinHandle<()>,
}

impl Miser {
    /// Connects, and lets so many bytes of each answer come.
    ///
    /// # Panics
    /// When there is no connection.
    pub async fn connect(address: SocketAddr, window_bytes: u32) -> Self {
        let stream = TcpStream::connect(address).await.expect("it listens");
        let mut builder = Builder::new();
        builder.initial_window_size(window_bytes).initial_connection_window_size(OPEN);
        let (send, mut connection) = builder.handshake(stream).await.expect("it speaks HTTP/2");
        let (takes, mut taking) = watch::channel(Takes::Window);
        let connection = tokio::spawn(async move {
            tokio::select! {
                _ = &mut connection => return,
                changed = taking.changed() => if changed.is_err() { return },
            }
            connection.set_initial_window_size(OPEN).expect("it is not being changed");
            if *taking.borrow() == Takes::All {
                let _ = connection.await; // however it ends
            } else {
                let _ = futures::poll!(&mut connection); // so that the server hears of it
                std::future::pending::<()>().await;
            }
        });
        Self { send, takes, connection }
    }

    /// Asks, and gives the answer to come.
    ///
    /// # Errors
    /// The connection is over.
    pub async fn ask(&mut self, request: Request<Bytes>) -> Result<ResponseFuture, h2::Error> {
        let (parts, body) = request.into_parts();
        let mut send = self.send.clone().ready().await?;
        let (answer, mut rest) = send.send_request(Request::from_parts(parts, ()), false)?;
        rest.send_data(body, true)?;
        Ok(answer)
    }

    /// Asks, and waits for the answer's head.
    ///
    /// # Errors
    /// The connection is over, or the stream.
    pub async fn head_of(&mut self, request: Request<Bytes>) -> Result<Response<RecvStream>, h2::Error> {
        self.ask(request).await?.await
    }

    /// Lets all come, of what was asked and of what will be.
    pub fn open(&self) {
        self.takes.send_replace(Takes::All);
    }

    /// Says that all may come, and takes nothing off the wire any more.
    pub fn stall(&self) {
        self.takes.send_replace(Takes::Nothing);
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

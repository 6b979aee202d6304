//! What everything is measured against: a bare axum handler that gives back its body. It runs in a process of its own,
//! as the server does, so that both sides pay the same for crossing from one process to the other.

use std::net::SocketAddr;
use std::process::Stdio;

use axum::Router;
use axum::routing::post;
use axum::serve::ListenerExt as _;
use bytes::Bytes;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::oneshot;

use crate::bench::load::Target;
use crate::client::OCTETS;
use crate::failure::Failure;
use crate::output;

/// The running handler. It ends when its standard input closes, so also when this process is killed.
pub(super) struct Baseline {
    child: Child,
    address: SocketAddr,
}

impl Baseline {
    /// Starts it as another process of this very program, and waits until it listens.
    pub(super) async fn start() -> Result<Self, Failure> {
        let failed = |source: std::io::Error| Failure::role("starting the bare handler", source);
        let program = std::env::current_exe().map_err(failed)?;
        let mut child = Command::new(program)
            .arg("bare-echo")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.as_mut() {
            BufReader::new(stdout).read_line(&mut line).await.map_err(failed)?;
        }
        let address = line.trim().parse();
        let address = address
            .map_err(|_| Failure::Bench(format!("the bare handler does not listen, it said {line:?}")))?;
        Ok(Self { child, address })
    }

    /// Requests to it with this body.
    pub(super) fn target(&self, body: &[u8]) -> Target {
        let host = self.address.to_string();
        Target::new(self.address, &host, std::iter::once("/echo".to_owned()), OCTETS, None, body)
    }

    /// Ends it.
    pub(super) async fn stop(mut self) {
        drop(self.child.stdin.take());
        // an error means that it is gone already
        let _ = self.child.wait().await;
    }
}

/// The handler itself: `oprc bare-echo`. Prints where it listens and serves until standard input ends.
pub(crate) async fn serve() -> Result<(), Failure> {
    let failed = |source: std::io::Error| Failure::role("serving the bare handler", source);
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(failed)?;
    output::line(&listener.local_addr().map_err(failed)?.to_string())?;
    let routes = Router::new().route("/echo", post(async |body: Bytes| body));
    let listener = listener.tap_io(|stream| {
        // without it small answers wait for acknowledgements; a stream that refuses is only slower
        let _ = stream.set_nodelay(true);
    });
    tokio::select! {
        served = axum::serve(listener, routes) => served.map_err(failed),
        () = input_ends() => Ok(()),
    }
}

/// Waits on a thread of its own: a runtime would not end before a read that blocks.
async fn input_ends() {
    let (ended, end) = oneshot::channel();
    std::thread::spawn(move || {
        // whatever ends the input, nobody wants the handler any more
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        let _ = ended.send(());
    });
    let _ = end.await;
}

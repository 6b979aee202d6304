//! A TCP proxy that a test can cut or stall: the network between two processes.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// See the module. Dropping it cuts everything.
pub struct Proxy {
    /// The port that it listens on.
    pub port: u16,
    state: watch::Sender<State>,
    task: JoinHandle<()>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct State {
    /// Connections of earlier generations are closed.
    generation: u64,
    /// Bytes of a direction are held back, also those of new connections; connections stay open.
    stalled: [bool; 2],
    /// New connections are refused.
    closed: bool,
}

/// Where bytes flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// From who connects to the proxy to its target.
    There,
    /// Back.
    Back,
}

impl Proxy {
    /// Listens, and forwards to `target` on this machine.
    ///
    /// # Panics
    /// When there is no port to listen on.
    pub async fn to(target: u16) -> Self {
        let port = crate::free_port();
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("the port is free");
        let state = watch::Sender::new(State::default());
        let seen = state.subscribe();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let seen = seen.clone();
                if !seen.borrow().closed {
                    tokio::spawn(forward(client, target, seen));
                }
            }
        });
        Self { port, state, task }
    }

    /// Closes every connection; new ones are taken.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.generation += 1);
    }

    /// Closes every connection, and new ones at once, until [`Proxy::heal`].
    pub fn close(&self) {
        self.state
            .send_modify(|state| *state = State { generation: state.generation + 1, closed: true, ..*state });
    }

    /// Holds back all bytes, until [`Proxy::heal`].
    pub fn stall(&self) {
        self.state.send_modify(|state| state.stalled = [true; 2]);
    }

    /// Holds back the bytes of one direction, or lets them flow.
    pub fn hold(&self, flow: Flow, held: bool) {
        self.state.send_modify(|state| state.stalled[flow as usize] = held);
    }

    /// Lets everything through again.
    pub fn heal(&self) {
        self.state.send_modify(|state| *state = State { generation: state.generation, ..State::default() });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.close();
        self.task.abort();
    }
}

async fn forward(client: TcpStream, target: u16, state: watch::Receiver<State>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", target)).await else { return };
    let generation = state.borrow().generation;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut cut = state.clone();
    tokio::select! {
        () = pump(from_client, to_server, Flow::There, state.clone()) => {}
        () = pump(from_server, to_client, Flow::Back, state) => {}
        _ = cut.wait_for(|state| state.generation > generation) => {}
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    flow: Flow,
    mut state: watch::Receiver<State>,
) {
    let mut chunk = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut chunk).await {
        if state.wait_for(|state| !state.stalled[flow as usize]).await.is_err()
            || to.write_all(&chunk[..read]).await.is_err()
        {
            return;
        }
    }
}

/// How long a peer takes to notice that a silent link is gone, with room to spare.
pub const LINK_LEASE: Duration = Duration::from_secs(4);

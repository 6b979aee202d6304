//! One connection from its first byte to its last: HTTP/1.1 or HTTP/2 as the client begins it, closed when it idles, cut
//! when it dawdles, and led to its end when the gateway shuts down.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::App;
use crate::reply::Content;
use crate::tls::Tls;
use crate::traced::answer;

/// HTTP/2 streams open at once on one connection.
const STREAMS_MAX: u32 = 256;
/// How often an HTTP/2 connection without traffic is asked whether it is still there.
const PING_S: u64 = 20;

/// What connections share.
#[derive(Clone)]
pub(crate) struct Connections {
    app: Arc<App>,
    tls: Option<Arc<Tls>>,
    builder: Arc<Builder<Tracked>>,
    /// Cut every connection now.
    cut: CancellationToken,
}

/// Runs the tasks of HTTP/2 streams where shutdown finds them.
#[derive(Clone)]
struct Tracked {
    tasks: TaskTracker,
    cut: CancellationToken,
}

impl<F: Future<Output: Send + 'static> + Send + 'static> hyper::rt::Executor<F> for Tracked {
    fn execute(&self, task: F) {
        self.tasks.spawn(self.cut.clone().run_until_cancelled_owned(task));
    }
}

/// Whether anything happens on a connection: cheaper than a timer per request.
#[derive(Default)]
struct Pulse {
    begun: AtomicU64,
    under_way: AtomicUsize,
}

/// A request under way on a connection, or a stream that its reader takes.
struct Beat(Arc<Pulse>);

impl Pulse {
    fn begin(self: Arc<Self>) -> Beat {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.under_way.fetch_add(1, Ordering::Relaxed);
        Beat(self)
    }

    /// Requests begun so far, or none while one is under way.
    fn idle_since(&self) -> Option<u64> {
        (self.under_way.load(Ordering::Relaxed) == 0).then(|| self.begun.load(Ordering::Relaxed))
    }
}

impl Drop for Beat {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Connections {
    pub(crate) fn new(
        app: Arc<App>,
        tls: Option<Arc<Tls>>,
        tasks: TaskTracker,
        cut: CancellationToken,
    ) -> Self {
        let mut builder = Builder::new(Tracked { tasks, cut: cut.clone() });
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS_MAX)
            .keep_alive_interval(Duration::from_secs(PING_S));
        Self { app, tls, builder: Arc::new(builder), cut }
    }

    /// Serves a connection until it ends, one way or another.
    pub(crate) async fn serve(self, stream: TcpStream) {
        if let Err(error) = stream.set_nodelay(true) {
            return tracing::debug!(%error, "a connection was gone before it began");
        }
        match self.tls.clone() {
            None => self.serve_on(stream).await,
            Some(tls) => {
                let agreed = self.app.stopping.clone().run_until_cancelled_owned(tls.accept(stream)).await;
                if let Some(Some(stream)) = agreed {
                    self.serve_on(stream).await;
                }
            }
        }
    }

    async fn serve_on(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let Self { app, builder, cut, .. } = self;
        let pulse = Arc::new(Pulse::default());
        let (serving, beating) = (app.clone(), pulse.clone());
        let service = service_fn(move |request| {
            let (app, pulse) = (serving.clone(), beating.clone());
            async move {
                let beat = pulse.begin();
                let mut reply = answer(&app, request).await;
                match reply.body_mut() {
                    Content::Events(stream) => stream.keep(beat),
                    // what goes on counts for as long as its reader takes something
                    Content::Rpc(rpc) => {
                        let pulse = beat.0.clone();
                        rpc.on_taken(move || drop(pulse.clone().begin()));
                    }
                    Content::Whole(_) => {}
                }
                Ok::<_, Infallible>(reply)
            }
        });
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        let idle = Duration::from_millis(app.config.idle_ms);
        let mut ticks = interval_at(Instant::now() + idle, idle);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut idle_since = None;
        let mut ending = false;
        loop {
            tokio::select! {
                biased;
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "a connection ended badly");
                    }
                    return;
                }
                () = cut.cancelled() => return,
                () = app.stopping.cancelled(), if !ending => {
                    ending = true;
                    connection.as_mut().graceful_shutdown();
                }
                _ = ticks.tick() => {
                    // a whole period in which no request began and none was under way: idle, or dawdling with its
                    // headers, or with taking its response. It may finish; at the next tick it is cut.
                    let now = pulse.idle_since();
                    if now.is_some() && now == idle_since {
                        if ending {
                            return;
                        }
                        ending = true;
                        connection.as_mut().graceful_shutdown();
                    }
                    idle_since = now;
                }
            }
        }
    }
}

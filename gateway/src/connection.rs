//! One connection from its first byte to its last: HTTP/1.1 or HTTP/2 as the client begins it, closed when it idles, cut
//! when it dawdles, and led to its end when the gateway shuts down.

use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::{AbortHandle, Abortable};
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::App;
use crate::backlog::{Backlog, STREAM, Untaken};
use crate::config::GatewayConfig;
use crate::cors::answer;
use crate::pace::{Pace, Patience, Sight, Verdict};
use crate::reply::{Reply, Source};
use crate::tls::Tls;
use crate::watched::{Counts, Watched};

/// A request's head: its line and its headers. A larger one is answered 431, or 414 when its first line alone is.
pub(crate) const HEAD_BYTES_MAX: usize = 64 * 1024;
/// HTTP/2 streams open at once on one connection; further ones are refused.
const STREAMS_MAX: u32 = 256;
/// Streams that a client began and reset before they were looked at (CVE-2023-44487); one more ends the connection.
const RESETS_WAITING_MAX: usize = 20;
/// Streams that were reset here because of what the client did wrong; one more ends the connection.
const RESETS_FOR_ERRORS_MAX: usize = 256;
/// How often an HTTP/2 connection without traffic is asked whether it is still there, and how long that is waited for.
const PING_S: u64 = 20;
/// A connection is looked at so often in the shortest time that it may take for something ...
const LOOKS: u64 = 5;
/// ... but no more, and no less often than this.
const TICK_MS_MIN: u64 = 50;
const TICK_MS_MAX: u64 = 1_000;

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
        let (handle, registration) = AbortHandle::new_pair();
        let task = STREAM.scope(handle, Abortable::new(task, registration));
        self.tasks.spawn(self.cut.clone().run_until_cancelled_owned(task));
    }
}

/// Whether anything happens on a connection: cheaper than a timer per request.
struct Pulse {
    begun: AtomicU64,
    under_way: AtomicUsize,
    /// Bytes that had come when the last request ended.
    served: AtomicU64,
    counts: Arc<Counts>,
    backlog: Arc<Backlog>,
}

/// A request under way on a connection, or a stream that its reader takes.
struct Beat(Arc<Pulse>);

impl Pulse {
    fn new(counts: Arc<Counts>, untaken: &Arc<Untaken>) -> Self {
        Self {
            begun: AtomicU64::new(0),
            under_way: AtomicUsize::new(0),
            served: AtomicU64::new(0),
            counts,
            backlog: Backlog::new(untaken),
        }
    }

    /// Whether something is done, or waits to be taken.
    fn is_under_way(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) > 0 || !self.backlog.is_empty()
    }

    fn begin(self: Arc<Self>) -> Beat {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.under_way.fetch_add(1, Ordering::Relaxed);
        Beat(self)
    }
}

impl Drop for Beat {
    fn drop(&mut self) {
        self.0.served.store(self.0.counts.read(), Ordering::Relaxed);
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
            .max_header_list_size(HEAD_BYTES_MAX as u32)
            .max_pending_accept_reset_streams(RESETS_WAITING_MAX)
            .max_local_error_reset_streams(RESETS_FOR_ERRORS_MAX)
            .keep_alive_interval(Duration::from_secs(PING_S))
            .keep_alive_timeout(Duration::from_secs(PING_S));
        // how long a head may take is looked at in `pace`, for hyper counts the time between requests as well
        builder.http1().max_buf_size(HEAD_BYTES_MAX).header_read_timeout(None);
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
        let counts = Arc::new(Counts::default());
        let pulse = Arc::new(Pulse::new(counts.clone(), &app.admission.untaken));
        let (serving, beating) = (app.clone(), pulse.clone());
        let service = service_fn(move |request| {
            let (app, pulse) = (serving.clone(), beating.clone());
            async move { Ok::<_, Infallible>(beaten(&app, pulse, request).await) }
        });
        let stream = TokioIo::new(Watched::new(stream, counts));
        let mut connection = pin!(builder.serve_connection(stream, service));
        let mut watch = Watch::new(&app, pulse);
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
                verdict = watch.next() => match verdict {
                    Verdict::GoOn => {}
                    Verdict::Close if ending => {}
                    Verdict::Close => {
                        ending = true;
                        connection.as_mut().graceful_shutdown();
                    }
                    Verdict::Cut(why) => return tracing::debug!(why, "a connection was cut"),
                },
            }
        }
    }
}

/// Answers one request, and shows the connection to be in use meanwhile.
async fn beaten(app: &Arc<App>, pulse: Arc<Pulse>, request: Request<Incoming>) -> Reply {
    let beat = pulse.begin();
    let mut reply = answer(app, request).await;
    let body = reply.body_mut();
    body.hold_in(beat.0.backlog.clone());
    match body.source_mut() {
        Source::Events(stream) => stream.keep(beat),
        // what goes on counts for as long as its reader takes something
        Source::Rpc(rpc) => {
            let pulse = beat.0.clone();
            rpc.on_taken(move || drop(pulse.clone().begin()));
        }
        Source::Whole(..) => {}
    }
    reply
}

/// Looks at a connection from time to time: what it does, and whether its place is wanted.
struct Watch<'a> {
    crowded: &'a Notify,
    pulse: Arc<Pulse>,
    begun: Instant,
    ticks: Interval,
    pace: Pace,
    bytes_per_s_min: u64,
    /// While it idles: its place among those that do, the longest first. One that is in use has none, for all share a lock.
    idles: Option<Pin<Box<Notified<'a>>>>,
    requests: u64,
}

impl<'a> Watch<'a> {
    fn new(app: &'a App, pulse: Arc<Pulse>) -> Self {
        let GatewayConfig { idle_ms, header_ms, bytes_per_s_min, .. } = app.config;
        let tick = Duration::from_millis((idle_ms.min(header_ms) / LOOKS).clamp(TICK_MS_MIN, TICK_MS_MAX));
        let begun = Instant::now();
        let mut ticks = interval_at(begun + tick, tick);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let pace = Pace::new(Patience { idle_ms, header_ms, bytes_per_s_min });
        let crowded = &app.crowded;
        Self { crowded, pulse, begun, ticks, pace, bytes_per_s_min, idles: None, requests: 0 }
    }

    /// What is to become of it, when there is something to tell. May be dropped and called again.
    async fn next(&mut self) -> Verdict {
        tokio::select! {
            _ = self.ticks.tick() => self.look(),
            () = wanted(&mut self.idles) => {
                self.idles = None;
                if !self.pulse.is_under_way() {
                    return Verdict::Cut("it idled for the longest, and others wait");
                }
                self.crowded.notify_one(); // it has found something to do: another one goes
                Verdict::GoOn
            }
            () = self.pulse.backlog.cut.notified() => Verdict::Cut("its answer was given up"),
        }
    }

    fn look(&mut self) -> Verdict {
        let Pulse { begun, served, counts, backlog, .. } = self.pulse.as_ref();
        backlog.look(counts.written(), self.bytes_per_s_min);
        let sight = Sight {
            begun: begun.load(Ordering::Relaxed),
            under_way: self.pulse.is_under_way(),
            served: served.load(Ordering::Relaxed),
            read: counts.read(),
            written: counts.written(),
            stuck: counts.was_stuck(),
            http2: counts.is_http2(),
        };
        let busy = sight.under_way || sight.begun != self.requests;
        self.requests = sight.begun;
        if busy {
            self.idles = None;
        } else if self.idles.is_none() {
            self.idles = Some(Box::pin(self.crowded.notified()));
        }
        self.pace.look(sight, self.begun.elapsed().as_millis() as u64)
    }
}

/// Waits until the place of a connection that idles is wanted.
async fn wanted(idles: &mut Option<Pin<Box<Notified<'_>>>>) {
    match idles {
        Some(idles) => idles.await,
        None => std::future::pending().await,
    }
}

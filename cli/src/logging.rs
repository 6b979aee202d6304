//! Logs go to standard error; standard output belongs to results.
//!
//! A thread of its own writes them: whoever reads standard error slowly, or not at all, holds up nobody else. Past a
//! bound lines are dropped, and the next one that gets through says how many.

use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tracing_subscriber::EnvFilter;

use crate::args::{Common, LogFormat};
use crate::failure::Failure;

/// Zenoh tells at `info`, and openraft at `warn` (at every start), what only they themselves need to know.
const ROLE_FILTER: &str = "info,zenoh=warn,zenoh_transport=warn,zenoh_link=warn,openraft=error";
const CLIENT_FILTER: &str = "warn";

/// Lines that may wait for the thread.
const LINES_MAX: usize = 8_192;
/// How long the end of the process waits for lines that still stand out.
const FLUSH: Duration = Duration::from_millis(500);

/// Keeps the logging thread; dropping it lets the thread finish what waits, for a moment.
pub(crate) struct Logging {
    lines: Option<SyncSender<Vec<u8>>>,
    thread: Option<JoinHandle<()>>,
}

/// Hands one line to the thread, or drops it.
#[derive(Clone)]
struct Line {
    lines: SyncSender<Vec<u8>>,
    dropped: Arc<AtomicU64>,
}

impl io::Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.lines.try_send(line.to_vec()).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes what comes until the last sender is gone or an empty line says so. An error of standard error has nowhere to go.
fn write_lines(lines: &Receiver<Vec<u8>>, dropped: &AtomicU64) {
    while let Ok(line) = lines.recv() {
        if line.is_empty() {
            return;
        }
        let mut stderr = io::stderr().lock();
        let missing = dropped.swap(0, Ordering::Relaxed);
        if missing > 0 {
            let _ = writeln!(stderr, "({missing} log lines were dropped: standard error is read too slowly)");
        }
        let _ = stderr.write_all(&line);
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        let until = Instant::now() + FLUSH;
        if let Some(lines) = self.lines.take() {
            while lines.try_send(Vec::new()).is_err() && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        while self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Starts logging: `--log`, else `RUST_LOG`, else what suits the command.
pub(crate) fn init(common: &Common, is_role: bool) -> Result<Logging, Failure> {
    let given = common.log.clone().or_else(|| std::env::var(EnvFilter::DEFAULT_ENV).ok());
    let usual = if is_role { ROLE_FILTER } else { CLIENT_FILTER };
    let directives = given.as_deref().filter(|filter| !filter.trim().is_empty()).unwrap_or(usual);
    let filter = EnvFilter::try_new(directives)
        .map_err(|error| Failure::Usage(format!("{directives:?} is not a log filter: {error}")))?;
    let (lines, waiting) = sync_channel(LINES_MAX);
    let dropped = Arc::new(AtomicU64::new(0));
    let line = Line { lines: lines.clone(), dropped: dropped.clone() };
    let thread = std::thread::Builder::new()
        .name("oprc-log".into())
        .spawn(move || write_lines(&waiting, &dropped))
        .map_err(|error| Failure::role("starting the log", error))?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(move || line.clone());
    match common.log_format {
        LogFormat::Human => subscriber.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).init(),
        LogFormat::Json => subscriber.json().flatten_event(true).init(),
    }
    Ok(Logging { lines: Some(lines), thread: Some(thread) })
}

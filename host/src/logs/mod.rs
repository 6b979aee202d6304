//! What guests print on this host, remembered for those who ask: the newest lines of each class, within bounds.
//!
//! A line is put where it belongs by the turn that prints it and costs the turn a lock and a copy; nobody who reads is
//! waited for. Who has read everything waits here for more, and who reads too slowly finds a gap.

mod ring;
mod said;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use oprc_mesh::id::ClassName;
use oprc_mesh::limits::{LOG_CLASSES_MAX, LOG_PAGE_BYTES_MAX, LOG_TAIL_MAX, LOG_WAIT_MS_MAX};
use oprc_mesh::outcome::{Code, Effect, Problem};
use oprc_mesh::wire::{LogPage, ReadLogs};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use self::ring::Ring;
use self::said::Line;
pub(crate) use self::said::{Origin, Said};

/// What comes within this time of a line goes out with it.
const PACE: Duration = Duration::from_millis(20);
/// A reader that is sent away because the host stops comes back after this.
const RETRY_AFTER_MS: u64 = 100;

/// See the module.
#[derive(Default)]
pub(crate) struct Logs {
    classes: Mutex<HashMap<String, Arc<ClassLog>>>,
}

/// A class's lines.
struct ClassLog {
    ring: Mutex<Ring>,
    more: Notify,
}

impl ClassLog {
    fn new() -> Self {
        Self { ring: Mutex::new(Ring::new(now_us())), more: Notify::new() }
    }
}

impl Logs {
    /// Remembers a line.
    fn keep(&self, class: &str, line: Line) {
        let log = self.of(class);
        log.ring.lock().push(line);
        log.more.notify_waiters();
    }

    /// The lines of a class. If it is one too many, the one is forgotten that was silent for longest.
    fn of(&self, class: &str) -> Arc<ClassLog> {
        let mut classes = self.classes.lock();
        if let Some(log) = classes.get(class) {
            return log.clone();
        }
        if classes.len() >= LOG_CLASSES_MAX {
            let silent = classes.iter().min_by_key(|(_, log)| log.ring.lock().last_us());
            let silent = silent.map(|(class, _)| class.clone());
            silent.map(|class| classes.remove(&class));
        }
        let log = Arc::new(ClassLog::new());
        classes.insert(class.to_owned(), log.clone());
        log
    }

    /// The lines that are asked for. Waits, as long as the reader wants and this host is not about to stop, while there are
    /// none.
    ///
    /// # Errors
    /// `invalid`; `unavailable` when the host stops.
    pub(crate) async fn read(
        &self,
        read: &ReadLogs,
        deadline: Instant,
        ending: &CancellationToken,
    ) -> Result<LogPage, Problem> {
        let class = ClassName::parse(&read.class)?;
        let tail = read.tail as usize;
        if tail > LOG_TAIL_MAX {
            let detail = format!("{tail} lines; at the most {LOG_TAIL_MAX} may be asked for");
            return Err(Problem::new(Code::Invalid, detail).with_effect(Effect::NotRun));
        }
        let log = self.of(class.as_str());
        let object = read.object.as_deref();
        let Some(mut after) = read.after else {
            return Ok(log.ring.lock().newest(tail, object, LOG_PAGE_BYTES_MAX));
        };
        let wait = Duration::from_millis(read.wait_ms.min(LOG_WAIT_MS_MAX));
        let until = deadline.min(Instant::now() + wait);
        loop {
            let more = log.more.notified();
            tokio::pin!(more);
            more.as_mut().enable(); // before the look, so that nothing is missed
            let page = log.ring.lock().after(after, object, LOG_PAGE_BYTES_MAX);
            if !page.items.is_empty() || page.gap || Instant::now() >= until {
                return Ok(page);
            }
            after = page.upto;
            tokio::select! {
                () = ending.cancelled() => return Err(stopping()),
                () = more => sleep(PACE).await,
                () = sleep_until(until) => {}
            }
        }
    }
}

fn now_us() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_micros() as u64)
}

fn stopping() -> Problem {
    Problem::new(Code::Unavailable, "the host is stopping")
        .with_effect(Effect::NotRun)
        .retry_after_ms(RETRY_AFTER_MS)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use futures::FutureExt as _;
    use oprc_mesh::wire::LogStream;

    fn say(logs: &Arc<Logs>, class: &str, text: &str) {
        let said = Said { logs: Some(logs.clone()), ..Said::default() };
        let origin = Arc::new(Origin { class: class.into(), said, ..Origin::default() });
        origin.remember(LogStream::Out, text);
    }

    fn texts(page: &LogPage) -> Vec<&str> {
        page.items.iter().map(|line| line.text.as_str()).collect()
    }

    fn asking(class: &str, after: Option<u64>, wait_ms: u64) -> ReadLogs {
        ReadLogs { class: class.into(), after, tail: 10, wait_ms, ..ReadLogs::default() }
    }

    #[tokio::test]
    async fn who_has_read_everything_waits_for_more_of_its_class() {
        let (logs, ending) = (Arc::new(Logs::default()), CancellationToken::new());
        let deadline = Instant::now() + Duration::from_mins(1);
        say(&logs, "A", "one");
        let newest = logs.read(&asking("A", None, 0), deadline, &ending).await.unwrap();
        assert_eq!(texts(&newest), ["one"]);
        let more = asking("A", Some(newest.upto), LOG_WAIT_MS_MAX);
        let mut waiting = Box::pin(logs.read(&more, deadline, &ending));
        assert!((&mut waiting).now_or_never().is_none());
        say(&logs, "B", "of another class");
        assert!((&mut waiting).now_or_never().is_none());
        say(&logs, "A", "two");
        let page = waiting.await.unwrap();
        assert_eq!((texts(&page), page.gap), (vec!["two"], false));
        // nothing comes, and the host stops
        let more = asking("A", Some(page.upto), LOG_WAIT_MS_MAX);
        let mut waiting = Box::pin(logs.read(&more, deadline, &ending));
        assert!((&mut waiting).now_or_never().is_none());
        ending.cancel();
        assert_eq!(waiting.await.unwrap_err().kind(), Code::Unavailable);
        let too_many = ReadLogs { tail: LOG_TAIL_MAX as u32 + 1, ..asking("A", None, 0) };
        assert_eq!(logs.read(&too_many, deadline, &ending).await.unwrap_err().kind(), Code::Invalid);
    }

    #[tokio::test]
    async fn so_many_classes_are_remembered_and_one_more_drops_the_silent_one() {
        let (logs, ending) = (Arc::new(Logs::default()), CancellationToken::new());
        let deadline = Instant::now() + Duration::from_mins(1);
        for at in 0..LOG_CLASSES_MAX {
            say(&logs, &format!("C{at}"), "x");
            if at < 2 {
                std::thread::sleep(Duration::from_millis(1)); // times are in microseconds
            }
        }
        assert_eq!(logs.classes.lock().len(), LOG_CLASSES_MAX);
        std::thread::sleep(Duration::from_millis(1));
        say(&logs, "C0", "again");
        say(&logs, "Another", "x");
        assert_eq!(logs.classes.lock().len(), LOG_CLASSES_MAX);
        let of = async |class: &str| {
            logs.read(&asking(class, None, 0), deadline, &ending).await.unwrap().items.len()
        };
        assert_eq!((of("C0").await, of("Another").await), (2, 1));
        assert!(!logs.classes.lock().contains_key("C1"));
    }
}

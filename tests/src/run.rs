//! Running a test: one runtime for all of them, conditions instead of times, logs when one fails.

use std::future::Future;
use std::panic;
use std::sync::{LazyLock, Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use crate::{Kind, Server};

/// How long a condition may take to come true before the test gives up. Generous: it is only ever waited out by a test
/// that fails, and the machine may be busy.
pub const PATIENCE: Duration = Duration::from_mins(1);

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime can be made")
});

/// Panics of tasks that tests spawned. They happen on the runtime's threads, whose output the test harness takes for
/// that of the test which made the runtime, and joining a task passes its panic on without a word.
static TASK_PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn task_panics() -> MutexGuard<'static, Vec<String>> {
    TASK_PANICS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a test's future to its end.
pub fn run<T>(test: impl Future<Output = T>) -> T {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            before(panic);
            if std::thread::current().name().is_some_and(|name| name.starts_with("tokio")) {
                task_panics().push(panic.to_string());
            }
        }));
    });
    let _shown = ShowTaskPanics(task_panics().len());
    RUNTIME.block_on(test)
}

/// Shows, when its test fails, the panics of tasks since it began.
struct ShowTaskPanics(usize);

impl Drop for ShowTaskPanics {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for panic in &task_panics()[self.0..] {
                eprintln!("in a task: {panic}");
            }
        }
    }
}

/// Runs a test against the server of `kind` that all such tests share; shows its logs when the test fails.
pub fn run_on<F: Future<Output = ()>>(kind: Kind, test: impl FnOnce(Server) -> F) {
    run(async {
        let server = Server::shared(kind).await;
        let _shown = server.show_logs_on_panic();
        test(server.clone()).await;
    });
}

/// Waits until `condition` gives something.
///
/// # Panics
/// When it has not done so within [`PATIENCE`]; the message says `what` was waited for.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, condition: impl FnMut() -> F) -> T {
    within(PATIENCE, what, condition).await
}

/// The same with another patience.
///
/// # Panics
/// When it has not done so within `patience`.
pub async fn within<T, F: Future<Output = Option<T>>>(
    patience: Duration,
    what: &str,
    mut condition: impl FnMut() -> F,
) -> T {
    let end = Instant::now() + patience;
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(Instant::now() < end, "waited {patience:?} in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The last lines of a log.
pub(crate) fn tail(log: &str) -> String {
    const LINES: usize = 40;
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

/// Makes two tests of each `async fn name(server: Server)`: `name::embedded` runs it against `oprc up`, `name::apart`
/// against `oprc host` and `oprc gateway` joined over TCP.
#[macro_export]
macro_rules! both {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            #[test]
            fn embedded() {
                $crate::run_on($crate::Kind::Embedded, super::$name);
            }

            #[test]
            fn apart() {
                $crate::run_on($crate::Kind::Apart, super::$name);
            }
        }
    )+};
}

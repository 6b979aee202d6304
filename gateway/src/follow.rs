//! Files that may be replaced while they are in use: looked at every second, and taken over once they change.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

/// How often they are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Says the same thing once.
#[derive(Default)]
pub(crate) struct Complaint(Option<String>);

impl Complaint {
    /// Whether it is not what was said last.
    pub(crate) fn is_new(&mut self, error: &impl Display) -> bool {
        let told = error.to_string();
        let is_new = self.0.as_ref() != Some(&told);
        self.0 = Some(told);
        is_new
    }

    /// There is nothing to complain of; whether there was.
    pub(crate) fn is_over(&mut self) -> bool {
        self.0.take().is_some()
    }
}

/// Looks for ever. `look` takes over what is there, and tells whether that is something new; where it fails, what was there stays.
pub(crate) async fn follow<E: Display + Send + 'static>(
    what: &str,
    look: impl Fn() -> Result<bool, E> + Send + Sync + 'static,
) {
    let look = Arc::new(look);
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut complaint = Complaint::default();
    loop {
        ticks.tick().await;
        let look = look.clone();
        // a file system may hang
        let Ok(looked) = spawn_blocking(move || look()).await else { continue };
        match looked {
            Ok(is_new) => {
                complaint.is_over();
                if is_new {
                    tracing::info!("loaded anew: {what}");
                }
            }
            Err(error) => {
                if complaint.is_new(&error) {
                    tracing::error!(%error, "cannot be loaded anew, what was there stays: {what}");
                }
            }
        }
    }
}

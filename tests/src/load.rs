//! Clients under way.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::JoinSet;

/// Clients that go on until the load is stopped.
#[derive(Default)]
#[must_use]
pub struct Load {
    over: Over,
    clients: JoinSet<()>,
}

/// Tells a client when to stop.
#[derive(Clone, Default)]
pub struct Over(Arc<AtomicBool>);

impl Over {
    /// Whether the load was stopped.
    pub fn is_over(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

impl Load {
    /// Adds a client.
    pub fn spawn<F: Future<Output = ()> + Send + 'static>(&mut self, client: impl FnOnce(Over) -> F) {
        self.clients.spawn(client(self.over.clone()));
    }

    /// Lets each client finish the call that it is in.
    pub async fn stop(self) {
        self.over.0.store(true, Ordering::SeqCst);
        self.clients.join_all().await;
    }
}

//! One turn at a time per object, in arrival order. A mailbox exists while somebody runs or waits in it.
//!
//! A later turn may come to start on the buffered state of an earlier one (the output gate): that state would live in
//! [`Mailbox`], next to the order that it depends on.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::Arc;

use oprc_mesh::id::ObjectId;
use oprc_mesh::limits::MAILBOX_CALLS_MAX;
use oprc_mesh::outcome::{Code, Effect, Problem};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

const SHARDS: usize = 64;
/// What an overloaded object's caller is told to wait.
const RETRY_AFTER_MS: u64 = 1_000;

type Key = (u64, ObjectId);

/// The mailboxes of all objects that have turns under way.
pub(crate) struct Mailboxes {
    hasher: RandomState,
    shards: [Mutex<HashMap<Key, Mailbox>>; SHARDS],
}

struct Mailbox {
    /// Fair: permits go out in the order in which they were asked for.
    turn: Arc<Semaphore>,
    /// Those who run or wait.
    calls: usize,
}

/// A place in an object's mailbox. Dropping it lets the next turn begin.
pub(crate) struct Place {
    mailboxes: Arc<Mailboxes>,
    key: Key,
    permit: Option<OwnedSemaphorePermit>,
}

impl Mailboxes {
    pub(crate) fn new() -> Arc<Self> {
        let shards = std::array::from_fn(|_| Mutex::default());
        Arc::new(Self { hasher: RandomState::new(), shards })
    }

    /// Queues up for `object` and waits for its turn.
    ///
    /// # Errors
    /// `overloaded` when 1,024 calls wait already.
    pub(crate) async fn enter(self: &Arc<Self>, class: u64, object: &ObjectId) -> Result<Place, Problem> {
        let key = (class, object.clone());
        let turn = {
            let mut shard = self.shard(&key).lock();
            let mailbox = shard
                .entry(key.clone())
                .or_insert_with(|| Mailbox { turn: Arc::new(Semaphore::new(1)), calls: 0 });
            if mailbox.calls > MAILBOX_CALLS_MAX {
                return Err(overloaded());
            }
            mailbox.calls += 1;
            mailbox.turn.clone()
        };
        // from here on the place is counted and given back by `drop`, also when the wait is given up
        let mut place = Place { mailboxes: self.clone(), key, permit: None };
        place.permit = turn.acquire_owned().await.ok(); // never closed
        Ok(place)
    }

    fn shard(&self, key: &Key) -> &Mutex<HashMap<Key, Mailbox>> {
        &self.shards[self.hasher.hash_one(key) as usize % SHARDS]
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.permit.take();
        let mut shard = self.mailboxes.shard(&self.key).lock();
        if let Some(mailbox) = shard.get_mut(&self.key) {
            mailbox.calls -= 1;
            if mailbox.calls == 0 {
                shard.remove(&self.key);
            }
        }
    }
}

fn overloaded() -> Problem {
    Problem::new(Code::Overloaded, format!("{MAILBOX_CALLS_MAX} calls wait for this object already"))
        .with_effect(Effect::NotRun)
        .retry_after_ms(RETRY_AFTER_MS)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    fn object() -> ObjectId {
        ObjectId::parse("alice").unwrap()
    }

    #[tokio::test]
    async fn turns_run_one_at_a_time_in_arrival_order() {
        let mailboxes = Mailboxes::new();
        let first = mailboxes.enter(1, &object()).await.unwrap();
        let second_object = object();
        let mut second = Box::pin(mailboxes.enter(1, &second_object));
        let mut third = Box::pin(mailboxes.enter(1, &second_object));
        assert!((&mut second).now_or_never().is_none());
        assert!((&mut third).now_or_never().is_none());
        drop(first);
        assert!((&mut third).now_or_never().is_none(), "the second came first");
        let second = second.await.unwrap();
        drop(second);
        third.await.unwrap();
    }

    #[tokio::test]
    async fn other_objects_and_classes_do_not_wait() {
        let mailboxes = Mailboxes::new();
        let _alice = mailboxes.enter(1, &object()).await.unwrap();
        let _bob = mailboxes.enter(1, &ObjectId::parse("bob").unwrap()).await.unwrap();
        let _other_class = mailboxes.enter(2, &object()).await.unwrap();
    }

    #[tokio::test]
    async fn exactly_1024_calls_may_wait_and_all_places_come_back() {
        let mailboxes = Mailboxes::new();
        let object = object();
        let running = mailboxes.enter(1, &object).await.unwrap();
        let mut waiting = Vec::new();
        for _ in 0..MAILBOX_CALLS_MAX {
            let mut call = Box::pin(mailboxes.enter(1, &object));
            assert!((&mut call).now_or_never().is_none());
            waiting.push(call);
        }
        let refused = mailboxes.enter(1, &object).await.err().unwrap();
        assert_eq!((refused.kind(), refused.retry_after_ms), (Code::Overloaded, RETRY_AFTER_MS));
        waiting.pop(); // one gives up: its place is free again
        let mut again = Box::pin(mailboxes.enter(1, &object));
        assert!((&mut again).now_or_never().is_none());
        drop((again, waiting, running));
        assert!(mailboxes.shards.iter().all(|shard| shard.lock().is_empty()));
    }
}

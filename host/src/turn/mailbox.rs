//! One turn at a time per object, in arrival order. A mailbox exists while somebody runs or waits in it, or a commit of the
//! object is under way: what the next turn starts on then lies beside the order that it depends on, see [`super::chain`].

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::Arc;

use oprc_mesh::id::ObjectId;
use oprc_mesh::limits::MAILBOX_CALLS_MAX;
use oprc_mesh::outcome::{Code, Effect, Problem};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::chain::Chain;

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
    /// They, and those whose commits are under way.
    stays: usize,
    chain: Arc<Chain>,
}

/// A place in an object's mailbox. Dropping it lets the next turn begin.
pub(crate) struct Place {
    stay: Stay,
    turn: Arc<Semaphore>,
    permit: Option<OwnedSemaphorePermit>,
    /// It is one of those who run or wait.
    counted: bool,
}

/// Keeps an object's mailbox.
pub(crate) struct Stay {
    mailboxes: Arc<Mailboxes>,
    key: Key,
    chain: Arc<Chain>,
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
        let (turn, chain) = {
            let mut shard = self.shard(&key).lock();
            let mailbox = shard.entry(key.clone()).or_insert_with(Mailbox::new);
            if mailbox.calls > MAILBOX_CALLS_MAX {
                return Err(overloaded());
            }
            mailbox.calls += 1;
            mailbox.stays += 1;
            (mailbox.turn.clone(), mailbox.chain.clone())
        };
        // from here on the place is counted and given back by `drop`, also when the wait is given up
        let stay = Stay { mailboxes: self.clone(), key, chain };
        let mut place = Place { stay, turn, permit: None, counted: true };
        place.take_turn().await;
        Ok(place)
    }

    /// How many objects have a mailbox, and how many turns wait for another one of their object.
    pub(super) fn waiting(&self) -> (usize, usize) {
        let shards = self.shards.iter().map(|shard| {
            let shard = shard.lock();
            (shard.len(), shard.values().map(|mailbox| mailbox.calls.saturating_sub(1)).sum::<usize>())
        });
        shards.fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1))
    }

    fn shard(&self, key: &Key) -> &Mutex<HashMap<Key, Mailbox>> {
        &self.shards[self.hasher.hash_one(key) as usize % SHARDS]
    }
}

impl Mailbox {
    fn new() -> Self {
        Self { turn: Arc::new(Semaphore::new(1)), calls: 0, stays: 0, chain: Arc::default() }
    }
}

impl Place {
    /// Waits for its turn, behind those who wait, unless it has it.
    pub(super) async fn take_turn(&mut self) {
        if !self.counted {
            self.stay.with(|mailbox| mailbox.calls += 1);
            self.counted = true;
        }
        if self.permit.is_none() {
            self.permit = self.turn.clone().acquire_owned().await.ok(); // never closed
        }
    }

    /// Lets the next turn begin, while what became of this one is not known yet.
    pub(super) fn step_aside(&mut self) {
        self.permit.take();
        if std::mem::take(&mut self.counted) {
            self.stay.with(|mailbox| mailbox.calls -= 1);
        }
    }

    /// The object's commits under way.
    pub(super) fn chain(&self) -> &Arc<Chain> {
        &self.stay.chain
    }

    /// Keeps the mailbox, also when the caller goes away.
    pub(super) fn stay(&self) -> Stay {
        self.stay.with(|mailbox| mailbox.stays += 1);
        let Stay { mailboxes, key, chain } = &self.stay;
        Stay { mailboxes: mailboxes.clone(), key: key.clone(), chain: chain.clone() }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.step_aside();
    }
}

impl Stay {
    pub(super) fn chain(&self) -> &Chain {
        &self.chain
    }

    fn with(&self, change: impl FnOnce(&mut Mailbox)) {
        let mut shard = self.mailboxes.shard(&self.key).lock();
        if let Some(mailbox) = shard.get_mut(&self.key) {
            change(mailbox);
        }
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        let mut shard = self.mailboxes.shard(&self.key).lock();
        if let Some(mailbox) = shard.get_mut(&self.key) {
            mailbox.stays -= 1;
            if mailbox.stays == 0 {
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
    async fn who_steps_aside_lets_the_next_run_and_comes_back_behind_it() {
        let mailboxes = Mailboxes::new();
        let object = object();
        let mut first = mailboxes.enter(1, &object).await.unwrap();
        let chain = Arc::downgrade(first.chain());
        let stay = first.stay();
        first.step_aside();
        let second = mailboxes.enter(1, &object).await.unwrap();
        let mut again = Box::pin(first.take_turn());
        assert!((&mut again).now_or_never().is_none());
        drop(second);
        again.await;
        drop(first);
        // a commit under way keeps what the next turn starts on
        assert!(std::ptr::eq(mailboxes.enter(1, &object).await.unwrap().chain().as_ref(), stay.chain()));
        drop(stay);
        assert!(mailboxes.shards.iter().all(|shard| shard.lock().is_empty()) && chain.upgrade().is_none());
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
        assert_eq!(mailboxes.waiting(), (1, MAILBOX_CALLS_MAX));
        let refused = mailboxes.enter(1, &object).await.err().unwrap();
        assert_eq!((refused.kind(), refused.retry_after_ms), (Code::Overloaded, RETRY_AFTER_MS));
        waiting.pop(); // one gives up: its place is free again
        let mut again = Box::pin(mailboxes.enter(1, &object));
        assert!((&mut again).now_or_never().is_none());
        drop((again, waiting, running));
        assert!(mailboxes.shards.iter().all(|shard| shard.lock().is_empty()));
    }
}

//! The bytes of an answer on their way: they count while they go, and are counted until they are gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Buf, Bytes};

use super::{Backlog, STREAM};

/// Over HTTP/2 the last byte of an answer that is larger than this follows by itself.
const SPLIT_BYTES: usize = 16 * 1024;

/// What the pieces of an answer share.
pub(crate) struct Way {
    /// Where the answer is kept for as long as there are any.
    pub(super) key: usize,
    /// Bytes that are to be taken, and that were.
    left: AtomicU64,
    taken: AtomicU64,
}

impl Way {
    pub(super) fn new(key: usize, bytes: usize) -> Self {
        Self { key, left: AtomicU64::new(bytes as u64), taken: AtomicU64::new(0) }
    }

    /// So many bytes more are to be taken.
    pub(super) fn follows(&self, bytes: usize) {
        self.left.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn left(&self) -> u64 {
        self.left.load(Ordering::Relaxed)
    }

    pub(super) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }
}

/// See the module.
pub(crate) struct Piece {
    bytes: Bytes,
    /// None for what nobody counts.
    held: Option<Held>,
}

struct Held {
    backlog: Arc<Backlog>,
    way: Arc<Way>,
    costs: usize,
}

/// Nobody counts it.
impl From<Bytes> for Piece {
    fn from(bytes: Bytes) -> Self {
        Self { bytes, held: None }
    }
}

impl Piece {
    pub(super) fn new(bytes: Bytes, costs: usize, backlog: &Arc<Backlog>, way: &Arc<Way>) -> Self {
        Self { bytes, held: Some(Held { backlog: backlog.clone(), way: way.clone(), costs }) }
    }

    /// On what way it is.
    pub(crate) fn way(&self) -> Option<&Arc<Way>> {
        self.held.as_ref().map(|held| &held.way)
    }

    /// What is to follow by itself, if anything is. The task of a stream ends once it has handed over all it has, and with it
    /// what could reset the stream: there is a window for the last byte only when there is one for all that goes before.
    pub(crate) fn split_last(&mut self) -> Option<Self> {
        let held = self.held.as_mut()?;
        if self.bytes.len() <= SPLIT_BYTES || STREAM.try_with(|_| ()).is_err() {
            return None;
        }
        held.backlog.split(&held.way);
        // all of the memory is there until the last byte is gone
        let costs = std::mem::take(&mut held.costs);
        Some(Self::new(self.bytes.split_off(self.bytes.len() - 1), costs, &held.backlog, &held.way))
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        if let Some(Held { way, .. }) = &self.held {
            way.left.fetch_sub(count as u64, Ordering::Relaxed);
            way.taken.fetch_add(count as u64, Ordering::Relaxed);
        }
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let Some(Held { backlog, way, costs }) = &self.held else { return };
        way.left.fetch_sub(self.bytes.len() as u64, Ordering::Relaxed);
        drop(std::mem::take(&mut self.bytes)); // its memory is free before it counts as free
        backlog.release(way, *costs);
    }
}

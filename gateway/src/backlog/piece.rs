//! The bytes of an answer on their way: they count while they go, and are counted until they are gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::{Buf, Bytes};

use super::{Backlog, STREAM};

/// Over HTTP/2 the last byte of an answer that is larger than this follows by itself.
const SPLIT_BYTES: usize = 16 * 1024;

/// What the pieces of an answer share.
pub(crate) struct Way {
    key: usize,
    /// Bytes that are to be taken, and that were.
    left: AtomicU64,
    taken: AtomicU64,
    pieces: AtomicUsize,
}

impl Way {
    pub(super) fn new(key: usize, bytes: usize) -> Self {
        let (left, taken) = (AtomicU64::new(bytes as u64), AtomicU64::new(0));
        Self { key, left, taken, pieces: AtomicUsize::new(1) }
    }

    pub(super) fn left(&self) -> u64 {
        self.left.load(Ordering::Relaxed)
    }

    pub(super) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Another piece goes the same way, if there are still some. Where the answer is kept.
    pub(super) fn joined(&self, bytes: usize) -> Option<usize> {
        let more = |pieces| if pieces > 0 { Some(pieces + 1) } else { None };
        self.pieces.fetch_update(Ordering::AcqRel, Ordering::Relaxed, more).ok()?;
        self.left.fetch_add(bytes as u64, Ordering::Relaxed);
        Some(self.key)
    }
}

/// See the module.
pub(crate) struct Piece {
    bytes: Bytes,
    /// None for what nobody counts.
    held: Option<(Arc<Backlog>, Arc<Way>)>,
}

/// Nobody counts it.
impl From<Bytes> for Piece {
    fn from(bytes: Bytes) -> Self {
        Self { bytes, held: None }
    }
}

impl Piece {
    pub(super) fn whole(bytes: Bytes, backlog: Arc<Backlog>, way: Arc<Way>) -> Self {
        Self { bytes, held: Some((backlog, way)) }
    }

    pub(super) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// On what way it is.
    pub(crate) fn way(&self) -> Option<&Arc<Way>> {
        self.held.as_ref().map(|(_, way)| way)
    }

    /// What is to follow by itself, if anything is. The task of a stream ends once it has handed over all it has, and with it
    /// what could reset the stream: there is a window for the last byte only when there is one for all that goes before.
    pub(crate) fn split_last(&mut self) -> Option<Self> {
        if self.bytes.len() <= SPLIT_BYTES || STREAM.try_with(|_| ()).is_err() {
            return None;
        }
        let held = self.held.clone();
        if let Some((_, way)) = &held {
            way.pieces.fetch_add(1, Ordering::Relaxed);
        }
        Some(Self { bytes: self.bytes.split_off(self.bytes.len() - 1), held })
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
        if let Some((_, way)) = &self.held {
            way.left.fetch_sub(count as u64, Ordering::Relaxed);
            way.taken.fetch_add(count as u64, Ordering::Relaxed);
        }
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let Some((backlog, way)) = &self.held else { return };
        way.left.fetch_sub(self.bytes.len() as u64, Ordering::Relaxed);
        if way.pieces.fetch_sub(1, Ordering::AcqRel) == 1 {
            drop(std::mem::take(&mut self.bytes)); // all of the answer's memory is free only now
            backlog.forget(way.key);
        }
    }
}

//! The bytes of an answer on their way: they count while they go, and are counted until they are gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Buf, Bytes};

use super::{Backlog, STREAM};

/// Over HTTP/2 the last byte of an answer that is larger than this follows by itself.
const SPLIT_BYTES: usize = 16 * 1024;

/// What the pieces of an answer share.
pub(super) struct Way {
    key: usize,
    /// Bytes that are to be taken.
    pub(super) left: AtomicUsize,
    pieces: AtomicUsize,
}

impl Way {
    pub(super) fn new(key: usize, bytes: usize) -> Self {
        Self { key, left: AtomicUsize::new(bytes), pieces: AtomicUsize::new(1) }
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
            way.left.fetch_sub(count, Ordering::Relaxed);
        }
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        if let Some((backlog, way)) = &self.held
            && way.pieces.fetch_sub(1, Ordering::AcqRel) == 1
        {
            drop(std::mem::take(&mut self.bytes)); // all of its memory is free only now
            backlog.forget(way.key);
        }
    }
}

//! A component on its way to a host. The host wants digest and size with the first piece already, so the component is
//! gathered here while it is hashed, in pieces that count against the memory set aside for bodies, and kept until it is
//! deployed: should the host fail, another one is sent it. So a host never sees an upload that broke off or was refused.

use bytes::{Bytes, BytesMut};
use oprc_mesh::id::{Digest, NodeId};
use oprc_mesh::limits::{COMPONENT_BYTES_MAX, COMPONENT_CHUNK_BYTES};
use oprc_mesh::outcome::Code;
use oprc_mesh::retry::Repeat;
use oprc_mesh::wire::{Answer, Op, PutChunk};
use sha2::{Digest as _, Sha256};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use uuid::Uuid;

use crate::admission::Admission;
use crate::app::App;
use crate::body::too_large;
use crate::problem::Refusal;
use crate::route::Target;

/// A component as it comes in.
pub(crate) struct Gathering<'a> {
    admission: &'a Admission,
    hash: Sha256,
    size_bytes: usize,
    pieces: Vec<Piece>,
    piece: BytesMut,
}

/// What goes to the host at once, with its share of memory.
struct Piece {
    data: Bytes,
    _held: OwnedSemaphorePermit,
}

impl<'a> Gathering<'a> {
    pub(crate) fn new(admission: &'a Admission) -> Self {
        Self { admission, hash: Sha256::new(), size_bytes: 0, pieces: Vec::new(), piece: BytesMut::new() }
    }

    /// Takes the next bytes of the component.
    ///
    /// # Errors
    /// `payload-too-large` past the limit of a component; `overloaded` when there is no memory for it.
    pub(crate) fn push(&mut self, mut data: Bytes) -> Result<(), Refusal> {
        self.size_bytes += data.len();
        if self.size_bytes > COMPONENT_BYTES_MAX {
            return Err(too_large(COMPONENT_BYTES_MAX));
        }
        self.hash.update(&data);
        while !data.is_empty() {
            let room = COMPONENT_CHUNK_BYTES - self.piece.len();
            self.piece.extend_from_slice(&data.split_to(room.min(data.len())));
            if self.piece.len() == COMPONENT_CHUNK_BYTES {
                self.cut()?;
            }
        }
        Ok(())
    }

    fn cut(&mut self) -> Result<(), Refusal> {
        let held = self.admission.hold(self.piece.len())?;
        self.pieces.push(Piece { data: self.piece.split().freeze(), _held: held });
        Ok(())
    }

    /// The component, now that it is whole.
    ///
    /// # Errors
    /// `invalid-component` for an empty one.
    pub(crate) fn finish(mut self) -> Result<Component, Refusal> {
        if self.size_bytes == 0 {
            return Err(Refusal::new(Code::InvalidComponent, "the component is empty")
                .hint("send the bytes of the .wasm file: curl -T FILE.wasm"));
        }
        if !self.piece.is_empty() {
            self.cut()?;
        }
        let digest = Digest::from_bytes(&self.hash.finalize())?;
        Ok(Component { digest, size_bytes: self.size_bytes, pieces: self.pieces })
    }
}

/// A whole component.
pub(crate) struct Component {
    digest: Digest,
    size_bytes: usize,
    pieces: Vec<Piece>,
}

impl Component {
    /// Sends it to `host`, piece by piece in order; stops early when the host has it already.
    ///
    /// # Errors
    /// Whatever the host refuses a piece with.
    pub(crate) async fn send(&self, app: &App, host: NodeId, until: Instant) -> Result<Digest, Refusal> {
        let upload = Uuid::now_v7().simple().to_string();
        let mut offset = 0;
        for piece in &self.pieces {
            let chunk = PutChunk {
                digest: Bytes::copy_from_slice(self.digest.as_bytes()),
                size: self.size_bytes as u64,
                offset,
                data: piece.data.clone(),
                upload: upload.clone(),
            };
            offset += piece.data.len() as u64;
            match app.ask(Target::Node(host), until, Repeat::Never, |_| Op::PutChunk(chunk.clone())).await? {
                Answer::Chunk(stored) if stored.complete => return Ok(self.digest),
                Answer::Chunk(_) => {}
                _ => return Err(Refusal::misanswered()),
            }
        }
        Err(Refusal::new(Code::Internal, "the host does not hold the whole component after its last piece"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn gathered(admission: &Admission, sizes: &[usize]) -> Result<Component, Code> {
        let mut gathering = Gathering::new(admission);
        for &size in sizes {
            gathering.push(vec![7; size].into()).map_err(|refusal| refusal.problem().kind())?;
        }
        gathering.finish().map_err(|refusal| refusal.problem().kind())
    }

    #[test]
    fn pieces_are_as_large_as_they_may_be() {
        let admission = Admission::new((1, 1), 2 * COMPONENT_BYTES_MAX, usize::MAX);
        for sizes in [
            &[1][..],
            &[COMPONENT_CHUNK_BYTES],
            &[COMPONENT_CHUNK_BYTES - 1, 2],
            &[0, 3 * COMPONENT_CHUNK_BYTES],
        ] {
            let component = gathered(&admission, sizes).unwrap();
            let total: usize = sizes.iter().sum();
            assert_eq!(component.size_bytes, total);
            assert_eq!(component.digest, Digest::of(&vec![7; total]));
            let lengths: Vec<_> = component.pieces.iter().map(|piece| piece.data.len()).collect();
            assert_eq!(lengths.iter().sum::<usize>(), total);
            assert_eq!(lengths.len(), total.div_ceil(COMPONENT_CHUNK_BYTES));
        }
    }

    #[test]
    fn an_empty_or_too_large_component_is_refused() {
        let admission = Admission::new((1, 1), 2 * COMPONENT_BYTES_MAX, usize::MAX);
        assert_eq!(gathered(&admission, &[]).err(), Some(Code::InvalidComponent));
        assert_eq!(gathered(&admission, &[0]).err(), Some(Code::InvalidComponent));
        assert!(gathered(&admission, &[COMPONENT_BYTES_MAX]).is_ok());
        assert_eq!(gathered(&admission, &[COMPONENT_BYTES_MAX, 1]).err(), Some(Code::PayloadTooLarge));
    }

    #[test]
    fn memory_is_bounded_and_given_back() {
        let admission = Admission::new((1, 1), 2 * COMPONENT_CHUNK_BYTES, usize::MAX);
        let two = gathered(&admission, &[2 * COMPONENT_CHUNK_BYTES]).unwrap();
        assert_eq!(gathered(&admission, &[1]).err(), Some(Code::Overloaded));
        drop(two);
        assert!(gathered(&admission, &[1]).is_ok());
    }
}

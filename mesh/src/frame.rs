//! Frames: everything that waited for one route, in one publication.

use bytes::Bytes;
use prost::Message as _;

use crate::id::NodeId;

/// The bytes of messages in one frame, at the most; one message alone may be larger.
pub(crate) const FRAME_BYTES_MAX: usize = 1024 * 1024;

/// The version of the frame's own form; what is in it has versions of its own.
const VERSION: u32 = 1;

#[derive(Clone, PartialEq, prost::Message)]
struct Frame {
    #[prost(uint32, tag = "1")]
    version: u32,
    /// The host that sent it; 0 from a process that is none.
    #[prost(uint64, tag = "2")]
    from: u64,
    /// In the order in which they were sent.
    #[prost(bytes = "bytes", repeated, tag = "3")]
    messages: Vec<Bytes>,
}

/// Puts messages into a frame.
pub(crate) fn pack(from: Option<NodeId>, messages: Vec<Bytes>) -> Vec<u8> {
    Frame { version: VERSION, from: from.map_or(0, |node| node.0), messages }.encode_to_vec()
}

/// Who sent a frame, and the messages in it, each in memory of its own. A frame that cannot be read is logged and gives
/// none.
pub(crate) fn unpack(payload: &[u8]) -> (NodeId, Vec<Bytes>) {
    match Frame::decode(payload) {
        Ok(frame) if frame.version <= VERSION => return (NodeId(frame.from), frame.messages),
        Ok(frame) => tracing::warn!(frame.version, "dropped a frame of a newer version"),
        Err(error) => tracing::warn!(%error, bytes = payload.len(), "dropped a malformed frame"),
    }
    (NodeId(0), Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(from: u64, messages: Vec<Vec<u8>>) {
            let messages: Vec<Bytes> = messages.into_iter().map(Bytes::from).collect();
            let packed = pack(Some(NodeId(from)), messages.clone());
            prop_assert_eq!(unpack(&packed), (NodeId(from), messages));
        }
    }

    #[test]
    fn noise_and_newer_frames_give_nothing() {
        let newer = Frame { version: VERSION + 1, from: 1, messages: vec![Bytes::from_static(b"x")] };
        for payload in [vec![0xff; 64], Vec::new(), newer.encode_to_vec()] {
            assert_eq!(unpack(&payload).1, Vec::<Bytes>::new());
        }
    }
}

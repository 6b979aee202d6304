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
    /// [`address`] of the key that it was published to.
    #[prost(fixed64, tag = "4")]
    to: u64,
}

/// What stands for a key in a frame.
fn address(key: &str) -> u64 {
    xxhash_rust::xxh3::xxh3_64(key.as_bytes())
}

/// Puts messages into a frame that is published to `key`.
pub(crate) fn pack(from: Option<NodeId>, key: &str, messages: Vec<Bytes>) -> Vec<u8> {
    let from = from.map_or(0, |node| node.0);
    Frame { version: VERSION, from, messages, to: address(key) }.encode_to_vec()
}

/// Who sent a frame, and the messages in it, each in memory of its own. A frame that cannot be read is logged and gives
/// none, and so does one that was published to another key than it came by: Zenoh names keys by numbers that both ends of a
/// link agree on, and a link that was lost and made anew has been seen to mix them up. A vote that reached another host
/// than it was meant for would count twice.
pub(crate) fn unpack(key: &str, payload: &[u8]) -> (NodeId, Vec<Bytes>) {
    match Frame::decode(payload) {
        Ok(frame) if frame.version <= VERSION && frame.to == address(key) => {
            return (NodeId(frame.from), frame.messages);
        }
        Ok(frame) if frame.version <= VERSION => {
            tracing::warn!(key, from = %NodeId(frame.from), "dropped a frame that was sent to another key");
        }
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
            let packed = pack(Some(NodeId(from)), "a/key", messages.clone());
            prop_assert_eq!(unpack("another/key", &packed), (NodeId(0), Vec::new()));
            prop_assert_eq!(unpack("a/key", &packed), (NodeId(from), messages));
        }
    }

    #[test]
    fn noise_and_newer_frames_give_nothing() {
        let messages = vec![Bytes::from_static(b"x")];
        let newer = Frame { version: VERSION + 1, from: 1, messages, to: address("key") };
        for payload in [vec![0xff; 64], Vec::new(), newer.encode_to_vec()] {
            assert_eq!(unpack("key", &payload).1, Vec::<Bytes>::new());
        }
    }
}

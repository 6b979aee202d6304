//! Frames: everything that waited for one route, in one publication.

use bytes::Bytes;
use prost::Message as _;

use crate::id::NodeId;
use crate::keys::RouterId;

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
    /// The router that passed it on; 0 when none did.
    #[prost(fixed64, tag = "5")]
    via: u64,
}

/// Who sent what is in a frame, and how it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The host; 0 for a process that is none.
    pub(crate) from: NodeId,
    /// The router that passed it on, if one did: the way back.
    pub(crate) via: Option<RouterId>,
}

/// The origin of what nobody sent.
const NOBODY: Origin = Origin { from: NodeId(0), via: None };

/// What stands for a key in a frame.
fn address(key: &str) -> u64 {
    xxhash_rust::xxh3::xxh3_64(key.as_bytes())
}

/// Puts messages into a frame that is published to `key`.
pub(crate) fn pack(origin: Origin, key: &str, messages: Vec<Bytes>) -> Vec<u8> {
    let Origin { from, via } = origin;
    let via = via.map_or(0, |router| router.0);
    Frame { version: VERSION, from: from.0, messages, to: address(key), via }.encode_to_vec()
}

/// Who sent a frame, and the messages in it, each in memory of its own. A frame that cannot be read is logged and gives
/// none, and so does one that was published to another key than it came by: Zenoh names keys by numbers that both ends of a
/// link agree on, and a link that was lost and made anew has been seen to mix them up. A vote that reached another host
/// than it was meant for would count twice.
pub(crate) fn unpack(key: &str, payload: &[u8]) -> (Origin, Vec<Bytes>) {
    match Frame::decode(payload) {
        Ok(frame) if frame.version <= VERSION && frame.to == address(key) => {
            let via = (frame.via != 0).then_some(RouterId(frame.via));
            return (Origin { from: NodeId(frame.from), via }, frame.messages);
        }
        Ok(frame) if frame.version <= VERSION => {
            tracing::warn!(key, from = %NodeId(frame.from), "dropped a frame that was sent to another key");
        }
        Ok(frame) => tracing::warn!(frame.version, "dropped a frame of a newer version"),
        Err(error) => tracing::warn!(%error, bytes = payload.len(), "dropped a malformed frame"),
    }
    (NOBODY, Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(from: u64, router: u64, messages: Vec<Vec<u8>>) {
            let messages: Vec<Bytes> = messages.into_iter().map(Bytes::from).collect();
            let via = (router != 0).then_some(RouterId(router));
            let origin = Origin { from: NodeId(from), via };
            let packed = pack(origin, "a/key", messages.clone());
            prop_assert_eq!(unpack("another/key", &packed), (NOBODY, Vec::new()));
            prop_assert_eq!(unpack("a/key", &packed), (origin, messages));
        }
    }

    #[test]
    fn noise_and_newer_frames_give_nothing() {
        let messages = vec![Bytes::from_static(b"x")];
        let newer = Frame { version: VERSION + 1, from: 1, messages, to: address("key"), via: 0 };
        for payload in [vec![0xff; 64], Vec::new(), newer.encode_to_vec()] {
            assert_eq!(unpack("key", &payload).1, Vec::<Bytes>::new());
        }
    }
}

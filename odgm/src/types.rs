//! What callers of the grid hand in and get back.

use bytes::Bytes;
use oprc_mesh::catalog::{ClassSettings, Method};
use oprc_mesh::id::{ClassName, Digest, ObjectId};
use oprc_mesh::outcome::Problem;
use oprc_mesh::wire::{Emitted, FieldWrite, Invoked, Tag, Written};

use crate::mail::Post;

/// Commits that one Raft entry carries, at the most. An object created in an entry takes its incarnation from the
/// entry's index and its place in it, so this is also the number of places.
pub(crate) const ENTRY_COMMITS_MAX: usize = 1 << INCARNATION_PLACE_BITS;
/// Low bits of an incarnation that hold the place in the entry; the rest is the Raft index.
pub(crate) const INCARNATION_PLACE_BITS: u32 = 12;

/// One turn's outcome, to be written as a whole or not at all.
#[derive(Debug, Clone)]
pub struct Commit {
    /// The term in which it was computed, from [`crate::Partition::leadership`].
    pub term: u64,
    /// The class's number.
    pub class: u64,
    /// The class revision whose code computed it.
    pub revision: u64,
    /// The object.
    pub object: ObjectId,
    /// Where the object stood when it was read; `(0, 0)` when it did not exist.
    pub base: Tag,
    /// What happens to the object as a whole.
    pub change: Change,
    /// The fields to set, in order; one without a value is deleted. Empty with [`Change::Delete`].
    pub writes: Vec<FieldWrite>,
    /// Names the call within its object. With an outcome it takes effect once, however often it is committed.
    pub invocation: String,
    /// What is kept of the call, if it must not take effect twice.
    pub outcome: Option<Outcome>,
    /// What the guest emitted, for the commit's event.
    pub emitted: Vec<Emitted>,
    /// What it does beside the object.
    pub post: Post,
}

/// What is kept of a call under its invocation id, and given to whoever tries it again.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Outcome {
    /// Tells this call from another one under the same id; empty where ids are never reused.
    #[prost(bytes = "bytes", tag = "1")]
    pub fingerprint: Bytes,
    /// For so many milliseconds it is kept at least, unless there are too many.
    #[prost(uint64, tag = "2")]
    pub keep_ms: u64,
    /// What the caller was told.
    #[prost(oneof = "Told", tags = "3, 4, 5, 6")]
    pub told: Option<Told>,
}

/// See [`Outcome::told`]. Versions in it are not meaningful: where the object came to stand is kept beside it.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Told {
    /// What a method gave.
    #[prost(message, tag = "3")]
    Invoked(Invoked),
    /// What a write of fields came to.
    #[prost(message, tag = "4")]
    Written(Written),
    /// It failed.
    #[prost(message, tag = "5")]
    Failed(Problem),
    /// It succeeded, and its result of so many bytes is too large to be kept.
    #[prost(uint64, tag = "6")]
    TooLarge(u64),
}

/// A call that took effect before.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// What is kept of it.
    pub outcome: Outcome,
    /// Where it left the object; `None` when it deleted it, or when there was none.
    pub tag: Option<Tag>,
}

/// What a commit does to the fields that it does not name, and to the object itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum Change {
    /// They stay. Creates the object when it is absent.
    Merge = 0,
    /// They go; the incarnation stays. Creates the object when it is absent.
    Replace = 1,
    /// The object goes.
    Delete = 2,
    /// The object goes and is created anew with the writes: a new incarnation, at version 1.
    Recreate = 3,
    /// Nothing: it stays at its version, or absent. For a turn of which only the outcome, or what it emitted, is left.
    Keep = 4,
}

/// How the partition answered a commit.
#[derive(Debug, Clone, PartialEq)]
pub enum CommitReply {
    /// It is durable and applied. Where the object stands now; `None` when it is deleted.
    Committed(Option<Tag>),
    /// The call had taken effect before; now it had none.
    Known(Box<Known>),
    /// It had no effect.
    Rejected(Rejection),
}

/// Why a commit had no effect. The caller reads again and runs the turn anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// It was computed in another term than the one it was appended in.
    Term {
        /// The term of the entry.
        current: u64,
    },
    /// The object has moved on.
    Base {
        /// Where it stands; `(0, 0)` when it does not exist.
        current: Tag,
    },
    /// The partition has seen a newer revision of the class.
    Revision {
        /// The highest seen.
        current: u64,
    },
    /// The message that it settles was settled before: there is nothing to run again.
    Settled,
}

/// Where an object stands and where its fields lie.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Head {
    /// Incarnation and version.
    #[prost(message, required, tag = "1")]
    pub tag: Tag,
    /// The number under which its fields are stored; a replacement takes a new one, so that it is one small write.
    #[prost(uint64, tag = "2")]
    pub home: u64,
}

/// A class to be deployed.
#[derive(Debug, Clone)]
pub struct NewRevision {
    /// Its name.
    pub class: ClassName,
    /// Its component, which must be in the store already.
    pub digest: Digest,
    /// What the manifest settled.
    pub settings: ClassSettings,
    /// The exported methods, in name order.
    pub methods: Vec<Method>,
    /// The component exports the generic handler.
    pub generic: bool,
    /// The component serves HTTP of its own.
    pub serves_http: bool,
    /// The deploying host's clock, in milliseconds since the Unix epoch.
    pub deployed_at_ms: u64,
    /// Deploy it even if callers of the version before it would break.
    pub force: bool,
    /// Deploy it for so many of a hundred objects, as the class's canary; none: as the class.
    pub canary: Option<u32>,
}

/// What the log has done since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogStats {
    /// Synced writes.
    pub fsyncs: u64,
    /// Raft entries written.
    pub entries: u64,
    /// Bytes of those entries.
    pub bytes: u64,
}

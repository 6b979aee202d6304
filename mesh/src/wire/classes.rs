//! Components and classes, deployed and removed.

use bytes::Bytes;

use crate::catalog::{Class, ClassSettings};

/// A class.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ClassAddress {
    /// Its name.
    #[prost(string, tag = "1")]
    pub class: String,
}

/// A piece of a component. Pieces come in order; one at offset 0 begins anew; the last is checked by digest.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PutChunk {
    /// SHA-256 of the whole component.
    #[prost(bytes = "bytes", tag = "1")]
    pub digest: Bytes,
    /// The whole component's size in bytes.
    #[prost(uint64, tag = "2")]
    pub size: u64,
    /// Where `data` begins.
    #[prost(uint64, tag = "3")]
    pub offset: u64,
    /// At most [`crate::limits::COMPONENT_CHUNK_BYTES`].
    #[prost(bytes = "bytes", tag = "4")]
    pub data: Bytes,
    /// Tells uploads of the same component apart.
    #[prost(string, tag = "5")]
    pub upload: String,
}

/// A piece was taken.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct ChunkStored {
    /// The component is whole, checked and durable.
    #[prost(bool, tag = "1")]
    pub complete: bool,
}

/// Deploys a component that the host holds.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Deploy {
    /// The class's name.
    #[prost(string, tag = "1")]
    pub class: String,
    /// The component.
    #[prost(bytes = "bytes", tag = "2")]
    pub digest: Bytes,
    /// What the manifest settled.
    #[prost(message, required, tag = "3")]
    pub settings: ClassSettings,
    /// Even if callers of the version before it would break.
    #[prost(bool, tag = "4")]
    pub force: bool,
}

/// Deploys a component that the host holds as the canary of a class that is there.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DeployCanary {
    /// The class and what is to be deployed.
    #[prost(message, required, tag = "1")]
    pub deploy: Deploy,
    /// How many of a hundred objects it serves: 1 to [`crate::canary::SHARE_MAX`].
    #[prost(uint32, tag = "2")]
    pub share: u32,
}

/// Deploys an earlier version of a class again.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RollBack {
    /// The class's name.
    #[prost(string, tag = "1")]
    pub class: String,
    /// The version; absent: the one before the current one.
    #[prost(uint64, optional, tag = "2")]
    pub to: Option<u64>,
}

/// A class was deployed.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Deployed {
    /// The class as it is now; with [`Deployed::canary`] as its canary is.
    #[prost(message, required, tag = "1")]
    pub class: Class,
    /// Component and settings were already so: nothing changed.
    #[prost(bool, tag = "2")]
    pub unchanged: bool,
    /// The catalog revision that shows it.
    #[prost(uint64, tag = "3")]
    pub revision: u64,
    /// It is the canary of its class, for so many of a hundred objects; 0: it is the class.
    #[prost(uint32, tag = "4")]
    pub canary: u32,
    /// The version of the canary that ended with it; 0: there was none.
    #[prost(uint64, tag = "5")]
    pub ended: u64,
}

/// Removes a class.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RemoveClass {
    /// Its name.
    #[prost(string, tag = "1")]
    pub class: String,
    /// Its objects go too; otherwise they stay and come back with a redeploy.
    #[prost(bool, tag = "2")]
    pub purge: bool,
}

/// A catalog revision.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Revision {
    /// The catalog log's index.
    #[prost(uint64, tag = "1")]
    pub revision: u64,
}

/// A class's deployments.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Versions {
    /// Oldest first.
    #[prost(message, repeated, tag = "1")]
    pub items: Vec<Class>,
}

/// Asks for a piece of a component that the host may hold.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ReadChunk {
    /// SHA-256 of the component.
    #[prost(bytes = "bytes", tag = "1")]
    pub digest: Bytes,
    /// Where the piece begins.
    #[prost(uint64, tag = "2")]
    pub offset: u64,
}

/// A piece of a component, [`crate::limits::COMPONENT_CHUNK_BYTES`] long unless it is the last.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ChunkRead {
    /// The whole component's size in bytes.
    #[prost(uint64, tag = "1")]
    pub size: u64,
    /// Empty past the end.
    #[prost(bytes = "bytes", tag = "2")]
    pub data: Bytes,
}

/// Asks a host to hold a component durably, and to fetch it from another one if it does not yet.
#[derive(Clone, PartialEq, prost::Message)]
pub struct FetchComponent {
    /// SHA-256 of the component.
    #[prost(bytes = "bytes", tag = "1")]
    pub digest: Bytes,
    /// A host that holds it.
    #[prost(uint64, tag = "2")]
    pub from: u64,
}

//! What a class's manifest settles, as the catalog keeps it.

use crate::limits::SETTINGS;
use crate::rates::Rates;

/// What a manifest settles, with the defaults filled in.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ClassSettings {
    /// Methods that only read.
    #[prost(string, repeated, tag = "1")]
    pub readonly: Vec<String>,
    /// One value per entry of [`SETTINGS`], in its order.
    #[prost(message, required, tag = "2")]
    pub limits: ClassLimits,
    /// A grid of the class's own; absent: the shared grid `default`.
    #[prost(message, optional, tag = "3")]
    pub own_grid: Option<OwnGrid>,
    /// What calls others when something changes.
    #[prost(message, repeated, tag = "20")]
    pub triggers: Vec<Trigger>,
    /// How often a message is tried before it becomes a dead letter; 0 for the default.
    #[prost(uint32, tag = "21")]
    pub message_attempts: u32,
    /// Where its requests may go, as [`crate::egress::Egress`] writes it.
    #[prost(string, repeated, tag = "79")]
    pub http_origins: Vec<String>,
    /// Networks beside the public Internet that they may reach.
    #[prost(string, repeated, tag = "80")]
    pub http_networks: Vec<String>,
}

/// Sends a message when something happens to an object of the class.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Trigger {
    /// What it fires on: either events of fields, or events of methods.
    #[prost(enumeration = "TriggerEvent", repeated, tag = "1")]
    pub on: Vec<i32>,
    /// Which field or method; with a `*` at the end all that begin so.
    #[prost(string, tag = "2")]
    pub subject: String,
    /// The class that is called.
    #[prost(string, tag = "3")]
    pub class: String,
    /// The object that is called; absent for a function, [`crate::triggers::SAME_ID`] for the id of the one that changed.
    #[prost(string, optional, tag = "4")]
    pub object: Option<String>,
    /// The method or function that is called.
    #[prost(string, tag = "5")]
    pub method: String,
    /// The message tells the values as well.
    #[prost(bool, tag = "6")]
    pub values: bool,
}

/// What a trigger fires on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum TriggerEvent {
    /// A field came into being.
    Create = 0,
    /// A field was written that was there.
    Update = 1,
    /// A field was deleted that was there.
    Delete = 2,
    /// A method returned, and its turn was committed.
    Complete = 3,
    /// A method failed.
    Error = 4,
}

/// The shape of a grid that one class has to itself.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct OwnGrid {
    /// 1 to [`crate::limits::GRID_PARTITIONS_MAX`].
    #[prost(uint32, tag = "1")]
    pub partitions: u32,
    /// Copies of each partition.
    #[prost(uint32, tag = "2")]
    pub replicas: u32,
}

/// Limits of one turn, and of all calls of the class at one gateway (0 for none); see [`crate::limits`] for each.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
#[allow(missing_docs, reason = "each is documented at its setting in `limits`")]
pub struct ClassLimits {
    #[prost(uint64, tag = "1")]
    pub cpu_ms: u64,
    #[prost(uint64, tag = "2")]
    pub wall_ms: u64,
    #[prost(uint64, tag = "3")]
    pub memory_mib: u64,
    #[prost(uint64, tag = "4")]
    pub payload_kib: u64,
    #[prost(uint64, tag = "5")]
    pub write_kib: u64,
    #[prost(uint64, tag = "6")]
    pub write_keys: u64,
    #[prost(uint64, tag = "7")]
    pub sends: u64,
    #[prost(uint64, tag = "8")]
    pub call_depth: u64,
    #[prost(uint64, tag = "9")]
    pub keep_hours: u64,
    #[prost(uint64, tag = "10")]
    pub calls_per_s: u64,
    #[prost(uint64, tag = "11")]
    pub burst: u64,
    #[prost(uint64, tag = "12")]
    pub concurrency: u64,
}

impl ClassLimits {
    /// Takes one value per entry of [`SETTINGS`], in its order.
    pub const fn of(values: [u64; SETTINGS.len()]) -> Self {
        let [
            cpu_ms,
            wall_ms,
            memory_mib,
            payload_kib,
            write_kib,
            write_keys,
            sends,
            call_depth,
            keep_hours,
            calls_per_s,
            burst,
            concurrency,
        ] = values;
        Self {
            cpu_ms,
            wall_ms,
            memory_mib,
            payload_kib,
            write_kib,
            write_keys,
            sends,
            call_depth,
            keep_hours,
            calls_per_s,
            burst,
            concurrency,
        }
    }

    /// What a gateway lets through to the class.
    pub const fn rates(&self) -> Rates {
        let Self { calls_per_s, burst, concurrency, .. } = *self;
        // a body is the host's to refuse, which knows what it becomes
        Rates { calls_per_s, burst, concurrency, payload_kib: 0 }
    }

    /// The same back.
    pub const fn values(&self) -> [u64; SETTINGS.len()] {
        [
            self.cpu_ms,
            self.wall_ms,
            self.memory_mib,
            self.payload_kib,
            self.write_kib,
            self.write_keys,
            self.sends,
            self.call_depth,
            self.keep_hours,
            self.calls_per_s,
            self.burst,
            self.concurrency,
        ]
    }
}

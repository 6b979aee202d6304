//! A mesh within one process, for tests: links that can be cut one way or both, and messages that are lost or late by a seed.
//!
//! ```
//! # use oprc_mesh::{id::NodeId, testing::{Faults, LocalNetwork}};
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! let network = LocalNetwork::new(7); // print the seed
//! let (one, two) = (network.join(NodeId(1)), network.join(NodeId(2))); // `Arc<LocalPeers>`: each a `Peers`
//! // one.receive_posts(..); one.serve(..);
//! network.set_faults(Faults { lost_per_mille: 20, delay_max_ms: 5 });
//! network.cut(NodeId(1), NodeId(2)); // one way; `isolate` cuts all of a node's links both ways
//! network.heal();
//! network.leave(NodeId(2)); // as if killed; `join` again brings it back
//! # });
//! ```

mod network;
mod peers;
mod stranger;

pub use network::{Faults, LocalNetwork};
pub use peers::LocalPeers;
pub use stranger::{Heard, Manner, Query, Stranger};

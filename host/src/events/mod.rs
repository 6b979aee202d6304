//! Events out of this host: pages of the log for gateways that ask ([`Events::read`]), and publications for whoever
//! listens on the mesh ([`publish`]).
//!
//! Both read the log of a partition, which the commits themselves have written, and are told when there is more. So
//! nothing is queued for a reader, a slow one holds up nobody, and a commit costs the same whoever listens.

mod publish;
mod read;

pub(crate) use publish::publish;
pub(crate) use read::Events;

//! The gateway's REST contract, against a host that is faked in this process: what is proved here is the gateway alone,
//! its HTTP face and how it asks the cluster. The same contract over real hosts is proved in the workspace's `tests`.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod calls;
mod classes;
mod cluster;
mod consistency;
mod deploys;
mod events;
mod fake;
mod fields;
mod grpc;
mod hosts;
mod http;
mod invocations;
mod listings;
mod load;
mod logs;
mod objects;
mod retries;
mod running;
mod served;
mod shutdown;
mod speed;

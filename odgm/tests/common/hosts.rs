//! Hosts within one process that talk over a network without sockets.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use oprc_mesh::Handler;
use oprc_mesh::outcome::{Code, Problem};
use oprc_mesh::testing::LocalNetwork;
use oprc_mesh::wire::{Answer, Op};
use oprc_odgm::{Odgm, OdgmConfig, Partition};
use tokio::time::{Instant, sleep, timeout};

/// Nothing here takes so long; a loaded machine is slow.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);

/// Answers what grids ask each other.
struct Grid(Arc<Odgm>);

impl Handler for Grid {
    fn handle(&self, op: Op, deadline: Instant) -> BoxFuture<'_, Result<Answer, Problem>> {
        async move {
            match op {
                Op::Grid(ask) => Ok(Answer::Grid(self.0.answer(ask, deadline).await?)),
                _ => Err(Problem::new(Code::Invalid, "only grids talk here")),
            }
        }
        .boxed()
    }
}

/// Starts a host; it may belong to no cluster yet.
pub(crate) async fn start(network: &LocalNetwork, config: OdgmConfig) -> Arc<Odgm> {
    let prepared = Odgm::prepare(config).await.unwrap();
    let peers = network.join(prepared.node_id());
    let odgm = prepared.start(peers.clone()).await.unwrap();
    peers.receive_posts(odgm.receiver());
    peers.serve(Arc::new(Grid(odgm.clone())));
    odgm
}

pub(crate) async fn stop(network: &LocalNetwork, odgm: Arc<Odgm>) {
    network.leave(odgm.node_id());
    timeout(PATIENCE, odgm.shutdown()).await.unwrap();
}

/// Waits for the host that leads a group, among these.
pub(crate) async fn leader(hosts: &[Arc<Odgm>], group: u64) -> Arc<Partition> {
    let end = Instant::now() + PATIENCE;
    loop {
        let all = hosts.iter().filter_map(|host| host.partition(group));
        if let Some(leader) = all.into_iter().find(|partition| partition.leadership().is_ok()) {
            return leader;
        }
        assert!(Instant::now() < end, "nobody leads group {group}");
        sleep(Duration::from_millis(20)).await;
    }
}

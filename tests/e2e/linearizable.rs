//! Concurrent reads, additions and compare-and-sets, in every way that the product offers them, look as if each took
//! effect at one moment between its invocation and its answer.

use oprc_tests::{Registers, Server, both, seed};

both!(what_clients_see_is_one_order);

async fn what_clients_see_is_one_order(server: Server) {
    let mut rng = seed::rng("what_clients_see_is_one_order");
    let registers = Registers::open(&server, 3).await.pause_ms_max(0);
    let load = registers.load(&[server.http()], 16, &mut rng).await;
    registers.progress(3_000).await;
    load.stop().await;
    registers.check().await;
}

//! Hosts come and go under load: 1, 3, 5 and 3 again, the founder among those that leave. Nothing is lost, nothing
//! doubled, and what is read stays in order.

use oprc_tests::{Cluster, Ledger, Party, Picture, Plan, Registers, seed};

use crate::alone;

/// Takes a host out as an operator would: drain, wait, stop, remove.
async fn take_out(cluster: &Cluster, host: usize) {
    let id = cluster.node_id(host).expect("a host that ran has an id");
    cluster.cli(&["node", "drain", &id]).await.ok();
    let holds_nothing =
        |picture: &Picture| picture.partitions.iter().all(|partition| !partition.replicas.contains_key(&id));
    cluster.pictured(&format!("host {host} holds nothing any more"), holds_nothing).await;
    assert!(cluster.terminate(Party::Host(host)).await.success());
    cluster.cli(&["node", "remove", &id]).await.ok();
}

#[test]
fn one_three_five_three() {
    alone(async {
        let mut rng = seed::rng("one_three_five_three");
        let cluster = Plan::of(1).start().await;
        let _shown = cluster.show_logs_on_panic();
        let ledger = Ledger::open(&cluster).await;
        let registers = Registers::open(&cluster, 3).await;
        let appends = ledger.load(&cluster.gateways()[0], 4);
        let load = registers.load(&cluster.gateways(), 6, &mut rng).await;
        for hosts in [3, 5] {
            registers.progress(100).await;
            cluster.add_host().await;
            cluster.add_host().await;
            let picture = cluster.settled(hosts).await;
            println!("{hosts} hosts hold and lead: {:?}", picture.shares());
            ledger.progress(100).await;
        }
        for host in [0, 3] {
            take_out(&cluster, host).await;
            ledger.progress(100).await;
        }
        cluster.settled(3).await;
        registers.progress(100).await;
        appends.stop().await;
        load.stop().await;
        registers.check().await;
        ledger.check().await;
    });
}

/// One that was removed is not taken for the old one when it comes back with its old data.
#[test]
fn the_removed_stay_out() {
    alone(async {
        let cluster = Plan::of(3).start().await;
        let _shown = cluster.show_logs_on_panic();
        let ledger = Ledger::open(&cluster).await;
        let load = ledger.load(&cluster.gateways()[0], 4);
        let fourth = cluster.add_host().await;
        cluster.pictured("the fourth is there", |picture| picture.alive().len() == 4).await;
        take_out(&cluster, fourth).await;
        let id = cluster.node_id(fourth).expect("it has its id still");
        cluster.start_host(fourth).await;
        ledger.progress(200).await;
        let picture = cluster.picture().await.expect("the cluster answers");
        assert!(!picture.alive().contains(&id.as_str()), "{picture:#?}");
        cluster.kill(Party::Host(fourth));
        // without its data it is a new host
        cluster.wipe(fourth);
        cluster.start_host(fourth).await;
        cluster.settled(4).await;
        load.stop().await;
        ledger.check().await;
    });
}

//! SIGKILL under load, again and again: after each restart every acknowledged write is there, and none is there twice.
//! What is compared, and how, stands in `Ledger`.

use std::collections::BTreeSet;
use std::time::Duration;

use oprc_tests::{Class, Kind, Ledger, Server, guests, run, seed, unique};
use rand::Rng as _;

const CLIENTS: usize = 12;

#[test]
fn everything_in_one_process() {
    run(rounds(Kind::Embedded, 24));
}

/// The host dies, the gateway stays.
#[test]
fn the_host_alone() {
    run(rounds(Kind::Apart, 8));
}

async fn rounds(kind: Kind, rounds: usize) {
    let mut rng = seed::rng("sigkill");
    let server = Server::start(kind).await;
    let _shown = server.show_logs_on_panic();
    let ledger = Ledger::open(&server).await;
    let mut deployed = BTreeSet::new();
    for round in 0..rounds {
        let load = ledger.load(&server.http(), CLIENTS);
        let deployment = deploy(&server);
        // as long as it takes to do something, and then a little that nobody can foresee
        let (appends, lives) = (rng.random_range(0..200), Duration::from_micros(rng.random_range(0..20_000)));
        ledger.progress(appends).await;
        tokio::time::sleep(lives).await;
        server.kill_host();
        load.stop().await;
        deployed.extend(deployment.await.unwrap());
        if rng.random_bool(0.3) {
            // die once more while the log is replayed
            server.start_host();
            tokio::time::sleep(Duration::from_millis(rng.random_range(5..400))).await;
            server.kill_host();
        }
        server.launch().await;
        ledger.check().await;
        println!(
            "round {round}: killed after {appends} appends and {lives:?}, {} acknowledged so far",
            ledger.acknowledged()
        );
    }
    for name in deployed {
        server.http().get(format!("/api/v1/classes/{name}")).send().await.expect(200);
    }
    assert!(
        ledger.acknowledged() > rounds * CLIENTS,
        "too little was acknowledged: the rounds proved nothing"
    );
    // and once more in order
    assert!(server.stop().await.success());
    server.launch().await;
    ledger.check().await;
}

/// Deploys classes until the server is gone; gives those that were acknowledged.
fn deploy(server: &Server) -> tokio::task::JoinHandle<Vec<String>> {
    let http = server.http();
    tokio::spawn(async move {
        let mut deployed = Vec::new();
        loop {
            let class = Class { http: http.clone(), name: unique("Late") };
            let upload = class.upload(guests::counter(), None).header("x-request-timeout-ms", 2000);
            match upload.try_send().await {
                Ok(reply) if reply.status == 201 => deployed.push(class.name),
                _ => return deployed,
            }
        }
    })
}

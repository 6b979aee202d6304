//! A write that the disk refuses stops the node, which says why; it never carries on. What was acknowledged before is
//! there after a restart.

use oprc_tests::{Kind, Ledger, STOP_PATIENCE, Server, run};
use serde_json::json;

#[test]
fn a_failed_write_stops_the_node() {
    for kind in [Kind::Embedded, Kind::Apart] {
        run(async {
            let server = Server::start(kind).await;
            let _shown = server.show_logs_on_panic();
            let ledger = Ledger::open(&server).await;
            let load = ledger.load(&server.http(), 8);
            ledger.progress(100).await;
            let mut host = server.take_host();
            if !host.limit_files(512 * 1024) {
                println!("skipped: prlimit is not installed");
                load.stop().await;
                return;
            }
            // fill the log up to the limit
            let big = ledger.class.object("big");
            let mut written = 0;
            for n in 0..100 {
                let call = big.field("PUT", &format!("k{n}")).octets(vec![b'x'; 100_000]);
                match call.header("x-request-timeout-ms", 5000).try_send().await {
                    Ok(reply) if reply.status < 300 => written = n + 1,
                    Ok(reply) => {
                        assert!([503, 504].contains(&reply.status), "{reply:?}");
                        break;
                    }
                    Err(_) => break,
                }
            }
            assert!(written < 100, "no write failed");
            let status = host.ended(STOP_PATIENCE).await;
            assert_eq!(
                status.code(),
                Some(1),
                "the process ends, and not as if all were well\n{}",
                host.log()
            );
            load.stop().await;
            assert!(host.log().contains("storage failed"), "it says why:\n{}", host.log());
            assert!(!host.log().contains("panicked"), "{}", host.log());
            drop(host);

            server.launch().await;
            ledger.check().await;
            for n in 0..written {
                let value = big.field("GET", &format!("k{n}")).send().await.expect(200);
                assert_eq!(value.body.len(), 100_000);
            }
            assert_eq!(
                ledger.class.object("after").invoke("add", json!({ "by": 1 })).await.expect(200).json(),
                1
            );
        });
    }
}

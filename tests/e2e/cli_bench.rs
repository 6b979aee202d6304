//! `oprc bench` measures what it says: its figures fit together, and the increments that it counts are there.

use oprc_tests::{Class, Server, both, guests};
use serde_json::Value;

both!(figures, nobody_to_measure);

async fn figures(server: Server) {
    let folder = server.scratch().join(oprc_tests::unique("bench"));
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("echo.wasm"), guests::echo()).unwrap();
    std::fs::write(folder.join("counter.wasm"), guests::counter()).unwrap();
    let (echo, counter) = (oprc_tests::unique("BenchEcho"), oprc_tests::unique("BenchCounter"));
    let classes = ["--guests", folder.to_str().unwrap(), "--echo-class", &echo, "--counter-class", &counter];
    let bounds = ["--clients", "1,4", "--requests", "200", "--seconds", "20", "--objects", "5"];
    let args = [&["bench"][..], &classes, &bounds, &["--output", "json"]].concat();
    let document = server.cli(&args).await.json();
    let results = document["results"].as_array().unwrap();
    let measured: Vec<_> = results
        .iter()
        .map(|result| (result["workload"].as_str().unwrap(), result["clients"].as_u64().unwrap()))
        .collect();
    let mut expected = Vec::new();
    for workload in ["echo", "read", "increment", "hot"] {
        expected.extend([(workload, 1), (workload, 4)]);
    }
    assert_eq!(measured, expected);
    for result in results {
        let [ours, bare] = ["ours", "bare"].map(|side| &result[side]);
        let rate = |side: &Value| side["requests_per_s"].as_f64().unwrap();
        for side in [ours, bare] {
            assert_eq!((&side["succeeded"], &side["failed"]), (&200.into(), &0.into()), "{result}");
            let rated = 200.0 / side["seconds"].as_f64().unwrap();
            assert!((rate(side) / rated - 1.0).abs() < 0.01, "{result}");
            let latency = |name: &str| side["latency_us"][name].as_f64().unwrap();
            assert!(latency("p50") <= latency("p99") && latency("p99") <= latency("p99_9"), "{result}");
        }
        let ratio = result["ratio"].as_f64().unwrap();
        assert!((ratio / (rate(ours) / rate(bare)) - 1.0).abs() < 0.01, "{result}");
    }
    // two measurements of 200 increments each of many objects and of one; warming up may have added some
    let class = Class { http: server.http(), name: counter.clone() };
    let listed = class.http.get(format!("{}/objects", class.path())).send().await.expect(200).json();
    let commits: u64 =
        listed["items"].as_array().unwrap().iter().map(|item| item["version"].as_u64().unwrap()).sum();
    assert!((800..4000).contains(&commits), "{commits} commits of 800 increments");
    let table = server.cli(&[&["bench", "echo"][..], &classes, &bounds].concat()).await.ok();
    assert!(table.contains("echo") && table.contains("p99"), "{table}");
}

async fn nobody_to_measure(server: Server) {
    let complaint =
        server.cli(&["bench", "echo", "--echo-class", "NoSuchClass", "--requests", "10"]).await.fails(1);
    assert!(complaint.contains("NoSuchClass"), "{complaint}");
    for args in [["--clients", "0"], ["--seconds", "0"], ["--objects", "0"]] {
        server.cli(&[&["bench", "echo"][..], &args].concat()).await.fails(2);
    }
}

//! The cluster's state and the gateway's own health.

use serde_json::json as value;

use crate::fake::{NODE, PARTITIONS};
use crate::running::{Running, check_problem, cluster, json, serve, start};

fn url(server: &Running, path: &str) -> String {
    format!("http://{}{path}", server.address)
}

#[tokio::test]
async fn the_cluster_shows_who_leads_and_who_lags() {
    let server = start().await;
    let cluster = json(server.get("/cluster"), 200).await;
    let node = NODE.to_string();
    let work = value!({"commits": 0, "fsyncs": 0, "entries": 0, "bytes": 0});
    assert_eq!(
        cluster["nodes"],
        value!([{
            "id": node, "zone": "here", "state": "alive", "leads": PARTITIONS, "holds": PARTITIONS, "work": work
        }])
    );
    assert_eq!(
        cluster["catalog"],
        value!({"leader": node, "term": 2, "applied": 9, "replicas": [{"node": node, "lag": 0}]})
    );
    assert_eq!(cluster["grids"], value!([{"name": "default", "partitions": PARTITIONS, "replicas": 1}]));
    assert_eq!(cluster["partitions"].as_array().unwrap().len(), PARTITIONS as usize);
    assert_eq!(
        cluster["partitions"][1],
        value!({
            "grid": "default",
            "partition": 1,
            "group": 2,
            "leader": node,
            "term": 3,
            "applied": 40,
            "replicas": [{"node": node, "lag": 2}]
        })
    );
}

#[tokio::test]
async fn a_lost_host_shows_as_lost_and_fails_readiness() {
    let server = start().await;
    assert_eq!(server.client.get(url(&server, "/readyz")).send().await.unwrap().status(), 200);
    server.mesh.directory().lose_node(NODE);
    let cluster = json(server.get("/cluster"), 200).await;
    assert_eq!(cluster["nodes"][0]["state"], "lost");
    assert_eq!(cluster["partitions"][0]["applied"], value!(null));
    let response = server.client.get(url(&server, "/readyz")).send().await.unwrap();
    check_problem(response, 503, "unavailable").await;
    assert_eq!(server.client.get(url(&server, "/healthz")).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_gateway_that_knows_no_catalog_is_up_but_not_ready() {
    let (mesh, fake) = cluster().await;
    let server = serve(oprc_gateway::GatewayConfig::default(), mesh, fake).await;
    let response = server.client.get(url(&server, "/readyz")).send().await.unwrap();
    check_problem(response, 503, "unavailable").await;
    assert_eq!(server.client.head(url(&server, "/healthz")).send().await.unwrap().status(), 200);
    server.mesh.announce_catalog(server.fake.view().into());
    assert_eq!(server.client.get(url(&server, "/readyz")).send().await.unwrap().status(), 200);
}

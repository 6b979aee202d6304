//! `If-None-Match: *` under a crowd: one creates the object, everybody else hears that it is there.

use oprc_mesh::outcome::Code;
use oprc_tests::{Class, Server, both, guests};
use serde_json::json;
use tokio::task::JoinSet;

both!(one_of_many_creates);

async fn one_of_many_creates(server: Server) {
    let class = Class::deploy(&server, "Once", guests::prober(), "").await;
    for round in 0..10 {
        let mut clients = JoinSet::new();
        for client in 0..24 {
            let object = class.object(format!("o{round}"));
            clients.spawn(async move {
                let put = object.put(&json!({ "winner": client })).header("if-none-match", "*");
                let reply = put.send().await;
                if reply.status == 201 {
                    return Some(client);
                }
                reply.problem(Code::VersionMismatch);
                None
            });
        }
        let winners: Vec<_> = clients.join_all().await.into_iter().flatten().collect();
        assert_eq!(winners.len(), 1, "{winners:?}");
        let document = class.object(format!("o{round}")).get().await.expect(200).json();
        assert_eq!((&document["fields"]["winner"], &document["version"]), (&json!(winners[0]), &json!(1)));
    }
}

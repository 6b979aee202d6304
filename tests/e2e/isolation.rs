//! Nothing leaks: not from one turn into the next, and not from the machine into a guest.

use oprc_tests::{Class, Server, both, guests};
use serde_json::json;
use tokio::task::JoinSet;

both!(a_fresh_instance_each_time, nothing_but_what_is_given, after_faults);

async fn a_fresh_instance_each_time(server: Server) {
    let class = Class::deploy(&server, "Fresh", guests::prober(), "readonly = [\"touch\"]").await;
    let other = Class::deploy(&server, "Fresh", guests::prober(), "").await;
    let mut calls = JoinSet::new();
    for n in 0..60 {
        let object = [&class, &other][n % 2].object(format!("o{}", n % 3));
        let function = class.function("touch");
        calls.spawn(async move {
            assert_eq!(object.invoke("touch", json!({})).await.expect(200).json(), 1);
            assert_eq!(function.send().await.expect(200).json(), 1);
        });
    }
    calls.join_all().await;
}

async fn nothing_but_what_is_given(server: Server) {
    let class = Class::deploy(&server, "Alone", guests::prober(), "").await;
    let seen = class.object("o").invoke("look-around", json!({})).await.expect(200).json();
    assert_eq!(
        seen,
        json!({
            "environment": [], "arguments": [], "can-read-files": false, "can-write-files": false,
            "clock-moves": true, "random-differs": true
        })
    );
}

/// Memory that a failed turn has filled is not the next one's.
async fn after_faults(server: Server) {
    let class =
        Class::deploy(&server, "Fresh", guests::prober(), "[class.limits]\nmemory_mib = 32\ncpu_ms = 300")
            .await;
    for _ in 0..20 {
        for (method, arguments) in
            [("explode", json!({})), ("hoard", json!({ "mib": 40 })), ("overflow-stack", json!([1]))]
        {
            let reply = class.object("o").invoke(method, arguments).await;
            assert_eq!(reply.status, 500, "{reply:?}");
        }
        assert_eq!(class.object("o").invoke("hoard", json!({ "mib": 16 })).await.expect(200).json(), 16);
        assert_eq!(class.object("o").invoke("touch", json!({})).await.expect(200).json(), 1);
    }
}

//! What a class serves itself: one request to a host, whatever its method and path, and its answer as it is.

use oprc_mesh::wire::{HandleHttp, Op};
use reqwest::Method;

use crate::running::{Running, problem, start};

fn asked(server: &Running) -> Vec<HandleHttp> {
    let seen = server.fake.seen.lock().unwrap();
    seen.iter()
        .filter_map(|op| if let Op::HandleHttp(asked) = op { Some(asked.clone()) } else { None })
        .collect()
}

#[tokio::test]
async fn a_request_is_handed_on_whole_and_once() {
    let server = start().await;
    for (method, path, below) in [
        ("GET", "/classes/Counter/http", "/"),
        ("PURGE", "/classes/Counter/http/a/%2F/b?x=1&x=2", "/a/%2F/b?x=1&x=2"),
        ("POST", "/classes/Counter/http?nonsense=1", "/?nonsense=1"),
    ] {
        let method: Method = method.parse().unwrap();
        let request = server.request(method.clone(), path).header("x-own", "1").body("body");
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 200);
        assert_eq!(answer.headers()["x-own"], "1");
        let id = answer.headers()["oprc-invocation-id"].to_str().unwrap().to_owned();
        assert_eq!(answer.text().await.unwrap(), "body");
        let last = asked(&server).pop().unwrap();
        assert_eq!((last.method.as_str(), last.path.as_str()), (method.as_str(), below));
        assert_eq!((last.invocation, last.authority), (id, server.address.to_string()));
        assert!(
            !last.headers.iter().any(|header| ["host", "content-length"].contains(&header.name.as_str()))
        );
    }
    assert_eq!(asked(&server).len(), 3);
    problem(server.get("/classes/Nowhere/http/x"), 404, "not-found").await;
    assert_eq!(asked(&server).len(), 3);
}

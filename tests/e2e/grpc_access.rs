//! gRPC asks for the same keys as REST, and lets as much be done with them.

use oprc_mesh::outcome::Code as Ours;
use oprc_tests::grpc::{Grpc, call, json_of, pb, problem_of};
use oprc_tests::{Class, Kind, guests, run};
use serde_json::json;
use tonic::{Code, Request, Status};

use crate::access::{closed, key};

/// One call of each kind, with what it needs in the class.
async fn each(grpc: &Grpc, class: &Class, shown: Option<&str>) -> Vec<(&'static str, Option<Status>)> {
    fn with<T>(message: T, shown: Option<&str>) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(token) = shown {
            let value = format!("Bearer {token}").parse().unwrap();
            request.metadata_mut().insert("authorization", value);
        }
        request
    }
    let name = || class.name.clone();
    let object = || "o".to_owned();
    let add = || call(class, Some("o"), "add", &json!({ "by": 1 }));
    let (mut calls, mut objects, mut events) =
        (grpc.invocations.clone(), grpc.objects.clone(), grpc.events.clone());
    let invoke = pb::InvokeRequest { call: Some(add()), consistency: 0 };
    let submit = pb::SubmitRequest { call: Some(add()) };
    let get = pb::GetRequest { class_name: name(), object: object(), ..Default::default() };
    let field = pb::GetFieldRequest {
        class_name: name(),
        object: object(),
        key: "n".to_owned(),
        ..Default::default()
    };
    let put = pb::PutFieldRequest {
        class_name: name(),
        object: object(),
        key: "x".to_owned(),
        value: "1".into(),
        ..Default::default()
    };
    let delete = pb::DeleteRequest { class_name: name(), object: object(), ..Default::default() };
    let list = pb::ListRequest { class_name: name(), ..Default::default() };
    let fields = pb::ListFieldsRequest { class_name: name(), object: object(), ..Default::default() };
    let watch = pb::WatchRequest { class_name: name(), ..Default::default() };
    vec![
        ("invoke", calls.invoke(with(invoke, shown)).await.err()),
        ("invoke", calls.submit(with(submit, shown)).await.err()),
        ("read", objects.get(with(get, shown)).await.err()),
        ("read", objects.get_field(with(field, shown)).await.err()),
        ("invoke", objects.put_field(with(put, shown)).await.err()),
        ("read", objects.list(with(list, shown)).await.err()),
        ("read", objects.list_fields(with(fields, shown)).await.err()),
        ("read", events.watch(with(watch, shown)).await.err()),
        ("invoke", objects.delete(with(delete, shown)).await.err()),
    ]
}

async fn keys_count(kind: Kind) {
    let (server, root) = closed(kind).await;
    let _shown = server.show_logs_on_panic();
    let class = Class::deploy(&root, "Closed", guests::prober(), "").await;
    let absent = Class { name: "Absent".to_owned(), ..class.clone() };
    class.object("o").invoke("add", json!({ "by": 1 })).await.expect(200);
    let grpc = Grpc::to(&server).await;
    let token = |client: &oprc_tests::Http| client.authorization().unwrap()["Bearer ".len()..].to_owned();
    let (_, gone) = key(&root, &["admin".to_owned()]).await;
    let keys = root.get("/api/v1/keys").send().await.expect(200).json();
    let name = keys["items"][0]["name"].as_str().unwrap().to_owned();
    root.delete(format!("/api/v1/keys/{name}")).send().await.expect(204);
    for shown in [None, Some("oprc_1_2"), Some(token(&gone).as_str())] {
        for class in [&class, &absent] {
            for (_, refused) in each(&grpc, class, shown).await {
                let status = refused.expect("nothing is done without a key");
                assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
                assert_eq!(problem_of(&status).code, Ours::Unauthenticated.as_str());
            }
        }
    }
    assert_eq!(class.object("o").fields().await["n"], 1, "nothing was done");
    for action in ["read", "invoke"] {
        let (_, client) = key(&root, &[format!("{action}:{}", class.name)]).await;
        for (needs, refused) in each(&grpc, &class, Some(&token(&client))).await {
            match refused {
                None => assert_eq!(needs, action),
                Some(status) => {
                    assert_ne!(needs, action, "{status:?}");
                    assert_eq!(status.code(), Code::PermissionDenied, "{status:?}");
                }
            }
        }
        for (_, refused) in each(&grpc, &absent, Some(&token(&client))).await {
            assert_eq!(refused.expect("it is not of its classes").code(), Code::PermissionDenied);
        }
    }
    // the guest is told who calls
    let mut request = Request::new(pb::InvokeRequest {
        call: Some(call(&class, Some("o"), "circumstances-of-call", &json!({}))),
        consistency: 0,
    });
    request.metadata_mut().insert("authorization", root.authorization().unwrap().parse().unwrap());
    let told = grpc.invocations.clone().invoke(request).await.unwrap().into_inner();
    assert_eq!(json_of(&told)["caller"], "key:root");
}

#[test]
fn keys_count_embedded() {
    run(keys_count(Kind::Embedded));
}

#[test]
fn keys_count_apart() {
    run(keys_count(Kind::Apart));
}

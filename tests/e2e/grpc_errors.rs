//! One table for every protocol: the same call fails with the same code by REST, by gRPC and by the command, each told in
//! its own way, and with all that the function said.

use oprc_mesh::outcome::Code;
use oprc_tests::grpc::{Grpc, call, problem_of};
use oprc_tests::{Class, Server, both, guests};
use serde_json::{Value, json};
use tonic_types::StatusExt as _;

both!(the_same_everywhere, of_objects, own_words);

/// Small, so that passing them is quick.
const LIMITS: &str = "[class.limits]
cpu_ms = 300
wall_ms = 5000
memory_mib = 16
payload_kib = 64
write_keys = 100";

async fn the_same_everywhere(server: Server) {
    let class = Class::deploy(&server, "Table", guests::prober(), LIMITS).await;
    let nobody = Class { name: "Nobody".to_owned(), ..class.clone() };
    let refuse = json!({ "reason": "not today", "balance": -7 });
    for (class, object, method, arguments, code) in [
        (&class, Some("o"), "add", json!({ "by": "x" }), Code::Invalid),
        (&class, Some("o"), "add", json!({ "unknown": 1 }), Code::Invalid),
        (&class, Some("o"), "nothing", json!({}), Code::NotFound),
        (&class, None, "nothing", json!({}), Code::NotFound),
        (&nobody, Some("o"), "add", json!({ "by": 1 }), Code::NotFound),
        (&class, Some("o"), "refuse", refuse, Code::FunctionError),
        (&class, Some("o"), "explode", json!({}), Code::Trap),
        (&class, Some("o"), "spin", json!({}), Code::CpuLimit),
        (&class, Some("o"), "nap", json!({ "ms": 60_000 }), Code::WallLimit),
        (&class, Some("o"), "hoard", json!({ "mib": 17 }), Code::MemoryLimit),
        (
            &class,
            Some("o"),
            "write-many",
            json!({ "count": 101, "bytes": 1, "at-once": true }),
            Code::WriteLimit,
        ),
        (&class, Some("o"), "blob", json!({ "bytes": 65 * 1024 }), Code::PayloadTooLarge),
    ] {
        same(&server, class, object, method, &arguments, code).await;
    }
    class.object("o").get().await.problem(Code::NotFound);
}

/// Fails in three ways and compares what is told.
async fn same(
    server: &Server,
    class: &Class,
    object: Option<&str>,
    method: &str,
    arguments: &Value,
    code: Code,
) {
    let rest = match object {
        Some(object) => class.object(object).method(method),
        None => class.function(method),
    };
    let rest = rest.json(arguments).send().await.problem(code);
    let status = Grpc::to(server).await.invoke(call(class, object, method, arguments)).await.unwrap_err();
    assert_eq!(status.code() as i32, code.grpc_code(), "{method}: {status:?}");
    let problem = problem_of(&status);
    let text = |member: &str| rest[member].as_str().unwrap_or_default().to_owned();
    assert_eq!(problem.code, code.as_str(), "{method}");
    assert_eq!(problem.status, u32::from(code.http_status()), "{method}");
    for (member, told) in [
        ("title", &problem.title),
        ("operation", &problem.operation),
        ("subject", &problem.subject),
        ("hint", &problem.hint),
    ] {
        assert_eq!(&text(member), told, "{method}: {member}");
    }
    let error =
        if problem.error.is_empty() { Value::Null } else { serde_json::from_str(&problem.error).unwrap() };
    assert_eq!(error, rest["error"], "{method}");
    let details = status.get_error_details();
    let info = details.error_info().expect("a status says its reason");
    assert_eq!((info.reason.as_str(), info.domain.as_str()), (code.as_str(), "oprc"), "{method}");
    assert_eq!(info.metadata["subject"], problem.subject, "{method}");
    assert_eq!(details.debug_info().is_some(), rest["backtrace"].is_string(), "{method}");
    let address = object.map_or_else(|| class.name.clone(), |object| format!("{}/{object}", class.name));
    let arguments = arguments.to_string();
    let command = server.cli(&["invoke", &address, method, &arguments, "--output", "json"]).await.fails(1);
    let command: Value =
        serde_json::from_str(&command).unwrap_or_else(|error| panic!("{error} in {command}"));
    for member in ["code", "status", "operation", "subject", "error", "outcome"] {
        assert_eq!(command[member], rest[member], "{method}: {member}");
    }
}

async fn of_objects(server: Server) {
    let class = Class::deploy(&server, "Table", guests::counter(), "").await;
    let object = class.object("o");
    object.put(&json!({ "a": 1 })).send().await.expect(201);
    let mut objects = Grpc::to(&server).await.objects;
    let get = |object: &str| oprc_tests::grpc::pb::GetRequest {
        class_name: class.name.clone(),
        object: object.to_owned(),
        ..Default::default()
    };
    let rest = class.object("none").get().await.problem(Code::NotFound);
    let problem = problem_of(&objects.get(get("none")).await.unwrap_err());
    assert_eq!(
        (rest["operation"].as_str(), rest["subject"].as_str()),
        (Some(&*problem.operation), Some(&*problem.subject))
    );
    assert_eq!(rest["detail"], problem.detail.as_str());
    let status = objects.get(get(".bad")).await.unwrap_err();
    assert_eq!(status.code() as i32, Code::Invalid.grpc_code());
    let rest = class.object(".bad").get().await.problem(Code::Invalid);
    assert_eq!(rest["detail"], problem_of(&status).detail.as_str());
}

/// A function's own error, and the backtrace of one that trapped, come whole as far as a header goes.
async fn own_words(server: Server) {
    let class = Class::deploy(&server, "Words", guests::prober(), "").await;
    let grpc = Grpc::to(&server).await;
    let trapped = grpc.invoke(call(&class, Some("o"), "explode", &json!({}))).await.unwrap_err();
    let frames = trapped.get_error_details().debug_info().unwrap().stack_entries.clone();
    assert!(frames.iter().any(|frame| frame.contains("explode")), "{frames:?}");
    let long = json!({ "reason": "x".repeat(20_000), "balance": 1 });
    let refused = grpc.invoke(call(&class, Some("o"), "refuse", &long)).await.unwrap_err();
    let problem = problem_of(&refused);
    assert!(problem.shortened && problem.error.starts_with("{\"reason\":\"xxx"), "{problem:?}");
    let short = json!({ "reason": "no", "balance": 1 });
    let refused = grpc.invoke(call(&class, Some("o"), "refuse", &short)).await.unwrap_err();
    assert!(!problem_of(&refused).shortened);
}

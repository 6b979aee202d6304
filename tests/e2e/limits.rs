//! Every limit holds exactly: what is at it passes, one more does not.

use oprc_mesh::limits::{DEADLINE_MS_MAX, FIELD_VALUE_BYTES_MAX, PAYLOAD_KIB, REQUEST_BYTES_MAX, SETTINGS};
use oprc_mesh::outcome::Code;
use oprc_tests::{Class, Server, both, guests, tag};
use serde_json::json;

both!(
    request_bytes,
    default_request_bytes,
    largest_payloads,
    result_bytes,
    write_keys,
    write_bytes,
    field_bytes,
    memory_pages,
    body_bytes,
    settings_up_to_their_caps,
);

const KIB: usize = 1024;

async fn request_bytes(server: Server) {
    let class = Class::deploy(&server, "Limits", guests::prober(), "[class.limits]\npayload_kib = 64").await;
    let object = class.object("o");
    for (bytes, passes) in [(64 * KIB - 1, true), (64 * KIB, true), (64 * KIB + 1, false)] {
        let reply = object.method("swallow").octets(vec![7; bytes]).send().await;
        if passes {
            assert_eq!(reply.expect(200).json(), bytes);
        } else {
            reply.problem(Code::PayloadTooLarge);
        }
    }
    // a JSON body counts as it is sent
    let body = |bytes: usize| format!("{{\"data\":\"\"{}}}", " ".repeat(bytes - 11));
    object.method("swallow").json_text(&body(64 * KIB)).send().await.expect(200);
    object.method("swallow").json_text(&body(64 * KIB + 1)).send().await.problem(Code::PayloadTooLarge);
}

async fn default_request_bytes(server: Server) {
    let class = Class::deploy(&server, "Limits", guests::prober(), "").await;
    let most = PAYLOAD_KIB.default as usize * KIB;
    let object = class.object("o");
    assert_eq!(object.method("swallow").octets(vec![7; most]).send().await.expect(200).json(), most);
    object.method("swallow").octets(vec![7; most + 1]).send().await.problem(Code::PayloadTooLarge);
}

/// The most that any class may allow goes through every part of the house, both ways.
async fn largest_payloads(server: Server) {
    let limits =
        format!("[class.limits]\npayload_kib = {}\nmemory_mib = 256\ncpu_ms = 10000", PAYLOAD_KIB.cap);
    let class = Class::deploy(&server, "Limits", guests::prober(), &limits).await;
    let most = PAYLOAD_KIB.cap as usize * KIB;
    let object = class.object("o");
    assert_eq!(object.method("swallow").octets(vec![7; most]).send().await.expect(200).json(), most);
    object.method("swallow").octets(vec![7; most + 1]).send().await.problem(Code::PayloadTooLarge);
    let blob =
        object.method("blob").json(&json!({ "bytes": most })).header("accept", "application/octet-stream");
    assert!(blob.send().await.expect(200).body.iter().eq(std::iter::repeat_n(&7, most)), "all of it arrives");
}

async fn result_bytes(server: Server) {
    let class = Class::deploy(&server, "Limits", guests::prober(), "[class.limits]\npayload_kib = 64").await;
    let blob = |bytes: usize| class.object("o").method("blob").json(&json!({ "bytes": bytes }));
    let raw = |bytes| blob(bytes).header("accept", "application/octet-stream");
    let reply = raw(64 * KIB).send().await.expect(200);
    assert_eq!(
        (reply.body.len(), reply.header("content-type")),
        (64 * KIB, Some("application/octet-stream"))
    );
    raw(64 * KIB + 1).send().await.problem(Code::PayloadTooLarge);
    // two bytes of quotes, none escaped
    let letters = |bytes: usize| class.object("o").method("letters").json(&json!({ "bytes": bytes }));
    letters(64 * KIB - 2).send().await.expect(200);
    letters(64 * KIB + 1).send().await.problem(Code::PayloadTooLarge);
}

async fn write_keys(server: Server) {
    let class = Class::deploy(&server, "Limits", guests::prober(), "[class.limits]\nwrite_keys = 100").await;
    let object = class.object("o");
    for at_once in [false, true] {
        let arguments = |count: u32| json!({ "count": count, "bytes": 1, "at-once": at_once });
        object.invoke("write-many", arguments(100)).await.expect(204);
        object.invoke("write-many", arguments(101)).await.problem(Code::WriteLimit);
    }
    // a field written many times is one field
    let steps: Vec<_> = (0..101).map(|n| json!({ "set": ["same", n.to_string()] })).collect();
    object.invoke("run", json!([steps])).await.expect(200);
    assert_eq!(object.fields().await["same"], 100);
}

async fn write_bytes(server: Server) {
    let class = Class::deploy(&server, "Limits", guests::prober(), "[class.limits]\nwrite_kib = 64").await;
    let object = class.object("o");
    // one key of 10 bytes, and its value
    for at_once in [false, true] {
        let arguments = |bytes: usize| json!({ "count": 1, "bytes": bytes - 10, "at-once": at_once });
        object.invoke("write-many", arguments(64 * KIB)).await.expect(204);
        object.invoke("write-many", arguments(64 * KIB + 1)).await.problem(Code::WriteLimit);
    }
}

async fn field_bytes(server: Server) {
    let class = Class::deploy(&server, "Limits", guests::prober(), "").await;
    let object = class.object("o");
    let write = |bytes: usize| json!({ "key": "from-inside", "bytes": bytes });
    object.invoke("write-one", write(FIELD_VALUE_BYTES_MAX)).await.expect(204);
    object.invoke("write-one", write(FIELD_VALUE_BYTES_MAX + 1)).await.problem(Code::PayloadTooLarge);
    let put = |bytes: usize| object.field("PUT", "from-outside").octets(vec![7; bytes]);
    put(FIELD_VALUE_BYTES_MAX).send().await.ok();
    put(FIELD_VALUE_BYTES_MAX + 1).send().await.problem(Code::PayloadTooLarge);
    for key in ["from-inside", "from-outside"] {
        let reply = object.field("GET", key).send().await.expect(200);
        assert_eq!(reply.body.len(), FIELD_VALUE_BYTES_MAX, "{key}");
    }
    assert_eq!(tag(&object.field("GET", "from-inside").send().await.etag()).1, 2, "the others wrote nothing");
}

async fn memory_pages(server: Server) {
    let class = Class::deploy(&server, "Limits", guests::prober(), "[class.limits]\nmemory_mib = 16").await;
    let object = class.object("o");
    assert_eq!(object.invoke("grow-to", json!({ "pages": 256 })).await.expect(200).json(), 256);
    // WebAssembly lets a guest ask and hear no; it then has what it had. One that cannot go on is in `faults`.
    let asked = object.invoke("grow-to", json!({ "pages": 257 })).await;
    if asked.status == 200 {
        assert!(asked.json().as_u64() <= Some(256), "{asked:?}");
    } else {
        asked.problem(Code::MemoryLimit);
    }
}

/// What no class could allow is refused by its size, before it is read to the end.
async fn body_bytes(server: Server) {
    let class = Class::deploy(&server, "Limits", guests::prober(), "").await;
    let object = class.object("o");
    object
        .method("swallow")
        .octets(vec![7; REQUEST_BYTES_MAX + 1])
        .send()
        .await
        .problem(Code::PayloadTooLarge);
    let object_body = format!("{{\"fields\":{{}}{}}}", " ".repeat(REQUEST_BYTES_MAX));
    let put = server.http().put(object.path()).json_text(&object_body);
    put.send().await.problem(Code::PayloadTooLarge);
    object.get().await.problem(Code::NotFound);
}

/// A manifest may set each limit up to its cap, and not past it.
async fn settings_up_to_their_caps(server: Server) {
    let class = Class::deploy(&server, "Limits", guests::prober(), "").await;
    for setting in SETTINGS {
        // a burst stands beside a rate
        let beside = if setting.key == "burst" { "calls_per_s = 1000\n" } else { "" };
        let at = |value: u64| format!("[class.limits]\n{beside}{} = {value}", setting.key);
        class.redeploy(guests::prober(), &at(setting.cap)).await.expect(201);
        class.object("o").invoke("add", json!({ "by": 1 })).await.expect(200);
        for bad in [setting.cap + 1, 0, u64::from(u32::MAX) * 4] {
            let problem = class.redeploy(guests::prober(), &at(bad)).await.problem(Code::Invalid);
            assert!(
                problem["detail"].as_str().unwrap().contains(setting.key),
                "it names the setting: {problem}"
            );
        }
    }
    let timeout = |ms: u64| class.object("o").method("value").header("x-request-timeout-ms", ms);
    timeout(DEADLINE_MS_MAX).send().await.expect(200);
    timeout(DEADLINE_MS_MAX + 1).send().await.problem(Code::Invalid);
    timeout(0).send().await.problem(Code::Invalid);
}

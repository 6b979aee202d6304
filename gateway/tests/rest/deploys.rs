//! Deploying: plain and multipart bodies, manifests, sizes.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures::stream;
use oprc_mesh::id::Digest;
use oprc_mesh::limits::COMPONENT_BYTES_MAX;
use oprc_mesh::wire::Op;
use reqwest::Body;
use reqwest::header::CONTENT_TYPE;

use crate::fake::settings;
use crate::running::{Running, json, problem, start, text};

/// The sizes of the pieces that the host got, in order.
fn chunks(server: &Running) -> Vec<(u64, u64)> {
    let seen = server.fake.seen.lock().unwrap();
    let chunk = |op: &Op| if let Op::PutChunk(chunk) = op { Some((chunk.offset, chunk.size)) } else { None };
    seen.iter().filter_map(chunk).collect()
}

/// A body of `bytes` bytes that does not say how long it is.
fn undeclared(bytes: usize) -> Body {
    let frame = Bytes::from(vec![b'w'; 100_000]);
    let frames = (0..bytes)
        .step_by(frame.len())
        .map(move |at| Ok::<_, std::io::Error>(frame.slice(..frame.len().min(bytes - at))));
    Body::wrap_stream(stream::iter(frames))
}

#[tokio::test]
async fn a_deployed_class_is_there_when_the_answer_comes() {
    let server = start().await;
    let component = b"\0asm new".to_vec();
    let answer =
        json(server.put("/classes/New", component.clone()).header(CONTENT_TYPE, "application/wasm"), 201)
            .await;
    assert_eq!((&answer["class"], &answer["version"]), (&"New".into(), &1.into()));
    assert_eq!(answer["digest"], Digest::of(&component).to_string());
    assert_eq!(answer["methods"][0]["signature"], "increment: func(by: u64) -> u64");
    text(server.post("/classes/New/objects/a/invoke/echo", "1"), 200).await;
    // once more: nothing changed
    assert_eq!(json(server.put("/classes/New", component), 200).await["version"], 1);
    assert_eq!(json(server.put("/classes/New", "other"), 201).await["version"], 2);
}

#[tokio::test]
async fn the_answer_waits_for_this_gateways_own_view() {
    let server = start().await;
    server.fake.silent.store(true, Ordering::Relaxed);
    let before = server.mesh.directory().view().revision;
    json(server.put("/classes/New", "component"), 201).await;
    assert!(server.mesh.directory().view().revision > before);
    assert!(server.mesh.directory().view().class("New").is_some());
}

#[tokio::test]
async fn settings_may_come_in_the_query() {
    let server = start().await;
    json(server.put("/classes/New?readonly=value&cpu_ms=800&partitions=2&replicas=1", "component"), 201)
        .await;
    let seen = server.fake.seen.lock().unwrap();
    let Some(Op::Deploy(deploy)) = seen.iter().find(|op| matches!(op, Op::Deploy(_))) else {
        panic!("no deploy")
    };
    assert_eq!(deploy.settings.readonly, ["value"]);
    assert_eq!(deploy.settings.limits.cpu_ms, 800);
    assert_eq!(deploy.settings.own_grid.unwrap().partitions, 2);
}

#[tokio::test]
async fn bad_settings_are_refused_before_anything_is_sent() {
    let server = start().await;
    for query in
        ["cpu=5", "cpu_ms=10001", "readonly=1", "grid=mine", "manifest=%5Bclass%5D%0Aname=%22Other%22"]
    {
        problem(server.put(&format!("/classes/New?{query}"), "component"), 400, "invalid").await;
    }
    assert!(chunks(&server).is_empty());
    problem(server.put("/classes/New", "component").header(CONTENT_TYPE, "text/html"), 415, "invalid").await;
    problem(server.put("/classes/New", ""), 422, "invalid-component").await;
    let refused = problem(server.put("/classes/New", "bad"), 422, "invalid-component").await;
    assert_eq!((&refused["operation"], &refused["subject"]), (&"deploy".into(), &"New".into()));
}

#[tokio::test]
async fn a_component_may_be_64_mib_and_no_more() {
    let server = start().await;
    json(server.put("/classes/Large", undeclared(COMPONENT_BYTES_MAX)), 201).await;
    let sent = chunks(&server);
    let mib = 1u64 << 20;
    let expected: Vec<_> = (0..64).map(|n| (n * mib, COMPONENT_BYTES_MAX as u64)).collect();
    assert_eq!(sent, expected);
    server.fake.seen.lock().unwrap().clear();
    problem(server.put("/classes/Large", undeclared(COMPONENT_BYTES_MAX + 1)), 413, "payload-too-large")
        .await;
    // declared: refused before it is read, and the client still gets to see the refusal
    let declared = vec![b'w'; COMPONENT_BYTES_MAX + 1];
    problem(server.put("/classes/Large", declared), 413, "payload-too-large").await;
    problem(server.put("/classes/Large", vec![b'w'; 65 << 20]), 413, "payload-too-large").await;
    assert!(chunks(&server).is_empty(), "nothing of a refused component reaches a host");
}

#[tokio::test]
async fn a_refusal_comes_before_the_body_for_those_who_wait_for_it() {
    let server = start().await;
    let head = "PUT /api/v1/classes/Large HTTP/1.1\r\nHost: x\r\nContent-Length: 68157440\r\n\
                Expect: 100-continue\r\nConnection: close\r\n\r\n";
    let answer = server.raw(head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

fn multipart(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, content) in parts {
        body.extend_from_slice(b"--frontier\r\nContent-Disposition: form-data; name=\"");
        body.extend_from_slice(name.as_bytes());
        body.extend_from_slice(b"\"; filename=\"x\"\r\nContent-Type: application/octet-stream\r\n\r\n");
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--frontier--\r\n");
    body
}

fn put_parts(server: &Running, body: Vec<u8>) -> reqwest::RequestBuilder {
    server.put("/classes/New", body).header(CONTENT_TYPE, "multipart/form-data; boundary=frontier")
}

#[tokio::test]
async fn component_and_manifest_may_come_as_parts_in_any_order() {
    let component = vec![b'\r'; (3 << 20) + 17]; // looks like the beginning of a boundary all the way
    let manifest: &[u8] = b"[class]\nname = \"New\"\nreadonly = [\"value\"]\n";
    for parts in [
        [("component", &component[..]), ("manifest", manifest)],
        [("manifest", manifest), ("component", &component)],
    ] {
        let server = start().await;
        let answer = json(put_parts(&server, multipart(&parts)), 201).await;
        assert_eq!(answer["digest"], Digest::of(&component).to_string());
        assert_eq!(server.fake.view().class("New").unwrap().settings.readonly, ["value"]);
        assert_eq!(chunks(&server).len(), 4);
    }
    let server = start().await;
    json(put_parts(&server, multipart(&[("component", &component)])), 201).await;
    assert_eq!(server.fake.view().class("New").unwrap().settings, settings());
}

#[tokio::test]
async fn what_is_no_such_multipart_body_is_refused() {
    let server = start().await;
    let bodies: [(Vec<u8>, u16, &str); 8] = [
        (Vec::new(), 400, "invalid"),
        (b"--frontier--\r\n".to_vec(), 400, "invalid"),
        (multipart(&[("manifest", b"")]), 400, "invalid"),
        (multipart(&[("component", b"x"), ("component", b"x")]), 400, "invalid"),
        (multipart(&[("component", b"x"), ("comment", b"x")]), 400, "invalid"),
        (multipart(&[("component", b"x"), ("manifest", b"[class]\nname=\"Other\"")]), 400, "invalid"),
        (multipart(&[("component", b"")]), 422, "invalid-component"),
        (multipart(&[("manifest", &vec![b'#'; 65 * 1024])]), 413, "payload-too-large"),
    ];
    for (body, status, code) in bodies {
        problem(put_parts(&server, body), status, code).await;
    }
    let mut truncated = multipart(&[("component", b"component")]);
    truncated.truncate(truncated.len() - 20);
    problem(put_parts(&server, truncated), 400, "invalid").await;
    let request = server.put("/classes/New", multipart(&[])).header(CONTENT_TYPE, "multipart/form-data");
    problem(request, 400, "invalid").await;
    // a parser that waits for a boundary may not gather the whole body
    problem(put_parts(&server, vec![b'x'; 8 << 20]), 400, "invalid").await;
    assert!(chunks(&server).is_empty());
}

#[tokio::test]
async fn a_component_as_a_part_may_be_64_mib_and_no_more() {
    let server = start().await;
    let component = vec![b'w'; COMPONENT_BYTES_MAX + 1];
    json(put_parts(&server, multipart(&[("component", &component[1..])])), 201).await;
    problem(put_parts(&server, multipart(&[("component", &component)])), 413, "payload-too-large").await;
}

//! Uploads: plain and multipart, large and broken, and the same one twice.

use std::time::Duration;

use bytes::Bytes;
use oprc_mesh::limits::{COMPONENT_BYTES_MAX, MANIFEST_BYTES_MAX};
use oprc_mesh::outcome::Code;
use oprc_tests::{Class, Server, both, guests, multipart, raw, unique};
use serde_json::json;

both!(too_large, as_large_as_allowed, plain_and_multipart, same_again, bad_forms, bad_manifests, broken_off);

const MIB: usize = 1024 * 1024;

fn fresh(server: &Server) -> Class {
    Class { http: server.http(), name: unique("Upload") }
}

/// A component of exactly so many bytes: the counter, with a custom section that means nothing behind it.
fn padded(bytes: usize) -> Bytes {
    let mut component = guests::counter().to_vec();
    // section 0, its size in five LEB128 bytes, a name of one letter, content
    let content = bytes - component.len() - 1 - 5;
    component.push(0);
    for shift in 0..5 {
        let more = if shift < 4 { 0x80 } else { 0 };
        component.push((content >> (7 * shift) & 0x7f) as u8 | more);
    }
    component.extend_from_slice(&[1, b'x']);
    component.resize(bytes, 0);
    component.into()
}

async fn too_large(server: Server) {
    let class = fresh(&server);
    for bytes in [COMPONENT_BYTES_MAX + 1, 65 * MIB] {
        class.upload(padded(bytes), None).send().await.problem(Code::PayloadTooLarge);
        let manifest = format!("[class]\nname = \"{}\"\n", class.name);
        class.upload(padded(bytes), Some(&manifest)).send().await.problem(Code::PayloadTooLarge);
    }
    server.http().get(class.path()).send().await.problem(Code::NotFound);
}

async fn as_large_as_allowed(server: Server) {
    let class = fresh(&server);
    class.upload(padded(COMPONENT_BYTES_MAX), None).send().await.expect(201);
    assert_eq!(class.object("o").invoke("increment", json!({ "by": 1 })).await.expect(200).json(), 1);
}

async fn plain_and_multipart(server: Server) {
    let plain = fresh(&server);
    let document = plain.upload(guests::counter(), None).send().await.expect(201).json();
    let digest = document["digest"].as_str().unwrap();
    assert!(digest.trim_start_matches("sha256:").len() == 64, "{document}");
    assert_eq!((&document["class"], &document["version"]), (&json!(plain.name), &json!(1)));
    let names: Vec<_> =
        document["methods"].as_array().unwrap().iter().map(|method| &method["name"]).collect();
    assert!(names.contains(&&json!("increment")) && names.contains(&&json!("value")), "{document}");

    // the manifest may come first, and its name may be left out
    for manifest in
        [format!("[class]\nname = \"{}\"", plain.name), "[class]\nreadonly = [\"value\"]".to_owned()]
    {
        let class = if manifest.contains("name") { plain.clone() } else { fresh(&server) };
        let parts: [(&str, &[u8]); 2] =
            [("manifest", manifest.as_bytes()), ("component", &guests::counter())];
        multipart(server.http().put(class.path()), &parts).send().await.ok();
    }
    // a component alone needs no manifest
    let alone = fresh(&server);
    multipart(server.http().put(alone.path()), &[("component", &guests::counter())]).send().await.expect(201);

    // the manifest as a query
    let query = fresh(&server);
    let manifest = oprc_tests::encode("[class]\nreadonly = [\"value\"]\n[class.limits]\npayload_kib = 1\n");
    let call = server.http().put(format!("{}?manifest={manifest}", query.path()));
    call.body("application/wasm", guests::prober()).send().await.expect(201);
    query.object("o").method("swallow").octets(vec![1; 1025]).send().await.problem(Code::PayloadTooLarge);
}

/// The same component with the same manifest is no new version; either of them changed is one.
async fn same_again(server: Server) {
    let class = fresh(&server);
    let readonly = "readonly = [\"value\"]";
    let first = class.redeploy(guests::counter(), "").await.expect(201).json();
    let again = class.redeploy(guests::counter(), "").await.expect(200).json();
    assert_eq!(first, again);
    let plain = class.upload(guests::counter(), None).send().await.expect(200).json();
    assert_eq!(first, plain, "an absent manifest is the default manifest");
    let other = class.redeploy(guests::counter(), readonly).await.expect(201).json();
    assert_eq!((&other["version"], &other["digest"]), (&json!(2), &first["digest"]));
    class.redeploy(guests::counter(), readonly).await.expect(200);
    let third = class.redeploy(guests::kv(), "").await.expect(201).json();
    assert_eq!(third["version"], 3);
    assert_ne!(third["digest"], first["digest"]);
    // back to what it was is a new version too
    assert_eq!(class.redeploy(guests::counter(), "").await.expect(201).json()["version"], 4);
}

async fn bad_forms(server: Server) {
    let class = fresh(&server);
    let put = || server.http().put(class.path());
    let manifest = format!("[class]\nname = \"{}\"", class.name);
    let component = guests::counter();
    let cut = "--b\r\nContent-Disposition: form-data; name=\"component\"\r\n\r\nabc";
    for call in [
        multipart(put(), &[("manifest", manifest.as_bytes())]),
        multipart(put(), &[("component", &component), ("component", &component)]),
        multipart(put(), &[("component", &component), ("surprise", b"x")]),
        multipart(put(), &[]),
        put().body("multipart/form-data", "no boundary"),
        put().body("multipart/form-data; boundary=b", cut),
    ] {
        call.send().await.problem(Code::Invalid);
    }
    for call in [put().json(&json!({ "component": "AGFzbQ==" })), put().body("text/html", "<html>")] {
        call.send().await.problem_with(Code::Invalid, 415);
    }
    server.http().get(class.path()).send().await.problem(Code::NotFound);
}

async fn bad_manifests(server: Server) {
    let class = fresh(&server);
    for (manifest, named) in [
        ("[class", ""),
        ("[class]\nname = 1", "name"),
        ("[class]\nnaem = \"A\"", "naem"),
        ("[class]\nname = \"Other\"", "Other"),
        ("[class]\nname = \"1\"", "class name"),
        ("[klass]\nname = \"A\"", "klass"),
        ("[class.limits]\ncpu = 1", "cpu"),
        ("[class.limits]\ncpu_ms = \"1\"", "cpu_ms"),
        ("[class.limits]\ncpu_ms = -1", "cpu_ms"),
        ("[class.limits]\ncpu_ms = 1.5", "cpu_ms"),
        ("[class]\nreadonly = \"value\"", "readonly"),
        ("[class]\nreadonly = [\"a b\"]", "a b"),
        ("[class]\ngrid = \"elsewhere\"", "elsewhere"),
        ("[class]\ngrid = { partitions = 0, replicas = 1 }", "partitions"),
        ("[class]\ngrid = { partitions = 257, replicas = 1 }", "partitions"),
        ("[class]\ngrid = { partitions = 4 , replicas = 0 }", "replicas"),
        ("[class]\ngrid = { partitions = 4, shards = 1 }", "shards"),
    ] {
        let problem = class.upload(guests::counter(), Some(manifest)).send().await.problem(Code::Invalid);
        assert!(
            problem["detail"].as_str().unwrap().contains(named),
            "{manifest}: {named} is named: {problem}"
        );
    }
    let long = format!("# {}", "x".repeat(MANIFEST_BYTES_MAX));
    class.upload(guests::counter(), Some(&long)).send().await.problem(Code::PayloadTooLarge);
    let bytes: [(&str, &[u8]); 2] =
        [("component", &guests::counter()), ("manifest", b"[class]\nname = \"\xff\"")];
    multipart(server.http().put(class.path()), &bytes).send().await.problem(Code::Invalid);
    server.http().get(class.path()).send().await.problem(Code::NotFound);
}

/// An upload that breaks off, or whose time is up, deploys nothing, and does not stand in the way of the next.
async fn broken_off(server: Server) {
    let class = fresh(&server);
    let port: u16 = server.url().rsplit(':').next().unwrap().parse().unwrap();
    let component = guests::counter();
    let head = format!(
        "PUT {} HTTP/1.1\r\nHost: x\r\nContent-Type: application/wasm\r\nContent-Length: {}\r\n\r\n",
        class.path(),
        component.len()
    );
    for bytes in [0, 1, component.len() / 2, component.len() - 1] {
        let request = [head.as_bytes(), &component[..bytes]].concat();
        raw::exchange(port, &request, Duration::from_millis(200)).await;
    }
    let hasty = class.upload(padded(8 * MIB), None).header("x-request-timeout-ms", 1).send().await;
    hasty.problem(Code::Deadline);
    server.http().get(class.path()).send().await.problem(Code::NotFound);
    class.upload(component, None).send().await.expect(201);
}

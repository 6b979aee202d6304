//! An object as JSON: what is read can be written back and gives the same bytes; forms that are reserved are refused
//! rather than stored as something else.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oprc_mesh::outcome::Code;
use oprc_tests::{Class, Object, Server, both, guests, seed};
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, RngCore as _};
use serde_json::{Value, json};

both!(shown, taken, there_and_back, refused, merged, documents_of_another_object);

async fn fresh(server: &Server) -> Object {
    Class::deploy(server, "Forms", guests::prober(), "").await.object("o")
}

async fn shown(server: Server) {
    let object = fresh(&server).await;
    for (bytes, form) in [
        (&b"5"[..], json!(5)),
        (b"null", json!(null)),
        (b"\"text\"", json!("text")),
        (b"{\"a\":[1,true]}", json!({ "a": [1, true] })),
        (b"{\"$a\":1,\"b\":2}", json!({ "$a": 1, "b": 2 })),
        (b"text", json!({ "$text": "text" })),
        (b"", json!({ "$text": "" })),
        (b"{", json!({ "$text": "{" })),
        (b"NaN", json!({ "$text": "NaN" })),
        ("größe".as_bytes(), json!({ "$text": "größe" })),
        (b"\xff\x00", json!({ "$base64": "/wA=" })),
        (b"\xc3", json!({ "$base64": "ww==" })),
        (b"{\"$text\":\"x\"}", json!({ "$text": "{\"$text\":\"x\"}" })),
        (b"{\"$base64\":\"\"}", json!({ "$text": "{\"$base64\":\"\"}" })),
        (b"{\"$delete\":true}", json!({ "$text": "{\"$delete\":true}" })),
        (b"{\"$other\":1}", json!({ "$text": "{\"$other\":1}" })),
        (b" {\"$x\" :1} ", json!({ "$text": " {\"$x\" :1} " })),
    ] {
        object.field("PUT", "k").octets(bytes).send().await.ok();
        assert_eq!(object.fields().await, json!({ "k": form }));
        let page = object.class.http.get(format!("{}/fields", object.path())).send().await.expect(200).json();
        assert_eq!(page["items"], json!([{ "key": "k", "value": form }]));
        let raw = object.field("GET", "k").send().await.expect(200);
        assert_eq!(raw.body, bytes, "the field alone is its bytes");
    }
    // verbatim: not parsed and written anew
    for text in
        ["1.50", "1e400", "{\"b\":1,\"a\":2}", "[1, 2]", "12345678901234567890123", "{\"a\":1,\"a\":2}"]
    {
        object.field("PUT", "k").octets(text).send().await.ok();
        let body = object.get().await.expect(200).body;
        let body = std::str::from_utf8(&body).unwrap();
        assert!(body.contains(&format!("\"k\":{text}}}")), "{text} in {body}");
    }
}

async fn taken(server: Server) {
    let object = fresh(&server).await;
    for (form, bytes) in [
        ("5", &b"5"[..]),
        ("1.50", b"1.50"),
        ("null", b"null"),
        ("{\"b\":1, \"a\":2}", b"{\"b\":1, \"a\":2}"),
        ("{\"$text\":\"text\"}", b"text"),
        ("{\"$text\":\"\"}", b""),
        ("{\"$text\":\"5\"}", b"5"),
        ("{\"$text\":\"\\u00e9\\n\"}", b"\xc3\xa9\n"),
        ("{\"$base64\":\"/wA=\"}", b"\xff\x00"),
        ("{\"$base64\":\"\"}", b""),
        ("{\"$text\":\"{\\\"$text\\\":1}\"}", b"{\"$text\":1}"),
        ("{\"$a\":1,\"b\":2}", b"{\"$a\":1,\"b\":2}"),
        ("[{\"$text\":\"x\"}]", b"[{\"$text\":\"x\"}]"),
    ] {
        for method in ["PUT", "PATCH"] {
            let body = format!("{{\"fields\":{{\"k\":{form}}}}}");
            object.class.http.call(method, object.path()).json_text(&body).send().await.ok();
            let raw = object.field("GET", "k").send().await.expect(200);
            assert_eq!(raw.body, bytes, "{method} {form}");
        }
    }
}

/// Whatever bytes fields hold: the document that is read, written to another object, makes it equal.
async fn there_and_back(server: Server) {
    let class = Class::deploy(&server, "Forms", guests::prober(), "").await;
    let mut rng = seed::rng("there_and_back");
    let pieces: &[&[u8]] = &[
        b"{",
        b"}",
        b"\"",
        b"$text",
        b"$delete",
        b":",
        b"[1",
        b"]",
        b"null",
        b"5",
        b"\xff",
        b"\xc3\xa9",
        b"\\",
        b"\0",
        b"a",
    ];
    for round in 0..30 {
        let (from, to) = (class.object(format!("from{round}")), class.object(format!("to{round}")));
        let mut values = Vec::new();
        for key in 0..8 {
            let mut value = Vec::new();
            for _ in 0..rng.random_range(0..8) {
                value.extend_from_slice(pieces.choose(&mut rng).unwrap());
            }
            if rng.random_bool(0.2) {
                value.resize(rng.random_range(0..2000), 0);
                rng.fill_bytes(&mut value);
            }
            from.field("PUT", &format!("k{key}")).octets(value.clone()).send().await.ok();
            values.push(value);
        }
        let mut document = from.get().await.expect(200).json();
        document["id"] = json!(to.id);
        class.http.put(to.path()).json(&document).send().await.ok();
        for (key, value) in values.iter().enumerate() {
            let copy = to.field("GET", &format!("k{key}")).send().await.expect(200);
            let white = value.trim_ascii() != value.as_slice() || value.is_empty();
            let same = copy.body == value || white && copy.body.trim_ascii() == value.trim_ascii();
            assert!(same, "{:?} came back as {:?}", STANDARD.encode(value), STANDARD.encode(&copy.body));
        }
    }
}

async fn refused(server: Server) {
    let object = fresh(&server).await;
    object.put(&json!({ "kept": 1 })).send().await.ok();
    let before = object.get().await.expect(200);
    for form in [
        json!({ "$other": 1 }),
        json!({ "$": 1 }),
        json!({ "$text": 1 }),
        json!({ "$text": null }),
        json!({ "$base64": "!" }),
        json!({ "$base64": "/wA" }),
        json!({ "$base64": 1 }),
        json!({ "$delete": false }),
        json!({ "$delete": 1 }),
    ] {
        for call in
            [object.put(&json!({ "fine": 1, "k": form })), object.patch(&json!({ "fine": 1, "k": form }))]
        {
            let problem = call.send().await.problem(Code::Invalid);
            assert!(problem["detail"].as_str().unwrap().contains('k'), "the field is named: {problem}");
        }
    }
    object.put(&json!({ "k": { "$delete": true } })).send().await.problem(Code::Invalid);
    for body in [
        "",
        "[]",
        "5",
        "{}",
        "{\"fields\":[]}",
        "{\"fields\":null}",
        "{\"fields\":{\"a\":1,\"a\":2}}",
        "{\"feilds\":{}}",
        "{\"fields\":{}",
        "{\"a\":1}",
        "{\"fields\":{\"a\":}}",
        "{\"fields\":{\"a\":nul}}",
        "{\"fields\":{\"a\":\"\\ud800\"}, \"fields\":{}}",
    ] {
        for method in ["PUT", "PATCH"] {
            object.class.http.call(method, object.path()).json_text(body).send().await.problem(Code::Invalid);
        }
    }
    for method in ["PUT", "PATCH"] {
        let call = object.class.http.call(method, object.path()).body("text/plain", "{\"fields\":{}}");
        call.send().await.problem_with(Code::Invalid, 415);
    }
    let after = object.get().await.expect(200);
    assert_eq!((before.json(), before.etag()), (after.json(), after.etag()), "nothing was half written");
}

async fn merged(server: Server) {
    let object = fresh(&server).await;
    let patch = |fields: Value| {
        let object = object.clone();
        async move {
            object.patch(&fields).send().await.ok();
            object.fields().await
        }
    };
    assert_eq!(patch(json!({ "a": 1, "b": 2 })).await, json!({ "a": 1, "b": 2 }), "a first PATCH creates");
    assert_eq!(patch(json!({ "b": 3, "c": null })).await, json!({ "a": 1, "b": 3, "c": null }));
    assert_eq!(patch(json!({ "a": { "$delete": true } })).await, json!({ "b": 3, "c": null }));
    assert_eq!(
        patch(json!({ "gone": { "$delete": true }, "d": 4 })).await,
        json!({ "b": 3, "c": null, "d": 4 })
    );
    object.put(&json!({ "only": 1 })).send().await.ok();
    assert_eq!(object.fields().await, json!({ "only": 1 }), "PUT replaces");
    assert_eq!(
        patch(json!({ "only": { "$delete": true } })).await,
        json!({}),
        "an object without fields is an object"
    );
    assert_eq!(object.version().await, 6);
    object.put(&json!({})).send().await.ok();
    assert_eq!(object.version().await, 7);
}

async fn documents_of_another_object(server: Server) {
    let object = fresh(&server).await;
    let put = |body: Value| object.class.http.put(object.path()).json(&body).send();
    put(json!({ "class": object.class.name, "id": "o", "version": 99, "fields": { "a": 1 } })).await.ok();
    assert_eq!(object.version().await, 1, "the version that a document tells of is not taken over");
    put(json!({ "class": object.class.name, "id": "p", "fields": {} })).await.problem(Code::Invalid);
    put(json!({ "class": "Other", "id": "o", "fields": {} })).await.problem(Code::Invalid);
    assert_eq!(object.version().await, 1);
}

//! Identifiers at and past each limit, and everything that no identifier may hold. What is refused is refused with what
//! is allowed; nothing is normalised.

use oprc_mesh::limits::{CLASS_NAME_BYTES_MAX, FIELD_KEY_BYTES_MAX, OBJECT_ID_BYTES_MAX};
use oprc_mesh::outcome::Code;
use oprc_tests::{Class, Server, both, encode, guests, unique};
use serde_json::json;

both!(object_ids, field_keys, class_names, method_names, keys_from_inside, broken_escapes);

async fn object_ids(server: Server) {
    let class = Class::deploy(&server, "Ids", guests::prober(), "").await;
    let longest = "z".repeat(OBJECT_ID_BYTES_MAX);
    let good = ["a", "0", "_", "_.", "a.b:c@d~e+f=g-h", "A", "a..", "a:", "user@example.com", &longest];
    for (number, id) in good.iter().enumerate() {
        let object = class.object(encode(id));
        object.put(&json!({ "number": number })).send().await.ok();
        let document = object.get().await.expect(200).json();
        assert_eq!((&document["id"], &document["fields"]["number"]), (&json!(id), &json!(number)));
        assert_eq!(object.invoke("value", json!({})).await.expect(200).json(), 0);
    }
    let listed = server.http().get(format!("{}/objects", class.path())).send().await.expect(200).json();
    let mut expected = good.map(str::to_owned).to_vec();
    expected.sort();
    let ids: Vec<_> =
        listed["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect();
    assert_eq!(ids, expected, "each is an object of its own, in byte order");

    // letters, digits and `.:@~+=-` need no escapes
    let plain = class.object("a.b:c@d~e+f=g-h").get().await.expect(200).json();
    assert_eq!(plain["id"], "a.b:c@d~e+f=g-h");

    let too_long = "z".repeat(OBJECT_ID_BYTES_MAX + 1);
    let bad = [
        ".",
        "..",
        ".a",
        "-a",
        ":a",
        "@",
        "~",
        "+",
        "=",
        "a b",
        "a/b",
        "a\\b",
        "a\0b",
        "é",
        "日本",
        "a\nb",
        " a",
        "a ",
        "a%b",
        "a?b",
        "a#b",
        "a,b",
        "a'b",
        "a\"b",
        "a*",
        "a(b)",
        "\u{202e}a",
        "ａ",
        &too_long,
    ];
    for id in bad {
        let object = class.object(encode(id));
        for reply in [
            object.get().await,
            object.put(&json!({})).send().await,
            object.patch(&json!({})).send().await,
            object.delete().send().await,
            object.invoke("add", json!({ "by": 1 })).await,
            object.field("GET", "n").send().await,
            object.field("PUT", "n").octets("1").send().await,
        ] {
            let problem = reply.problem(Code::Invalid);
            let detail = problem["detail"].as_str().unwrap();
            assert!(
                detail.contains("object id") && detail.contains("159"),
                "{id:?}: it says what is allowed: {detail}"
            );
        }
    }
    let after = server.http().get(format!("{}/objects", class.path())).send().await.expect(200).json();
    assert_eq!(after["items"].as_array().unwrap().len(), good.len(), "nothing was made of the bad ones");
}

async fn field_keys(server: Server) {
    let class = Class::deploy(&server, "Keys", guests::prober(), "").await;
    let object = class.object("o");
    let longest = "k".repeat(FIELD_KEY_BYTES_MAX);
    let longest_wide = "é".repeat(FIELD_KEY_BYTES_MAX / 2);
    let good = [
        "a",
        " ",
        "a b",
        "größe/日本",
        "/",
        "//",
        "a/b/c",
        ".",
        "..",
        "%",
        "%41",
        "A",
        "é",
        "e\u{301}",
        "🦀",
        "$delete",
        "$text",
        "+",
        "?",
        "#",
        "&",
        "=",
        "\"",
        "\\",
        "'",
        "<>",
        "\u{a0}",
        "\u{202e}",
        "\u{feff}",
        "\u{10ffff}",
        &longest,
        &longest_wide,
    ];
    for (number, key) in good.iter().enumerate() {
        object.field("PUT", key).octets(number.to_string()).send().await.ok();
    }
    for (number, key) in good.iter().enumerate() {
        let reply = object.field("GET", key).send().await.expect(200);
        assert_eq!(reply.body, number.to_string(), "{key:?} is a key of its own, as it was written");
    }
    let fields = object.fields().await;
    let fields = fields.as_object().unwrap();
    assert_eq!(fields.len(), good.len());
    for (number, key) in good.iter().enumerate() {
        assert_eq!(fields[*key], number, "{key:?}");
    }
    let version = object.version().await;

    let too_long = "k".repeat(FIELD_KEY_BYTES_MAX + 1);
    let too_long_wide = "é".repeat(FIELD_KEY_BYTES_MAX / 2 + 1);
    for key in ["a\0", "\n", "a\tb", "\r", "\u{7f}", "\u{80}", "\u{85}", "\u{9f}", &too_long, &too_long_wide]
    {
        for reply in [
            object.field("PUT", key).octets("x").send().await,
            object.field("GET", key).send().await,
            object.field("DELETE", key).send().await,
            object.put(&json!({ key: 1 })).send().await,
            object.patch(&json!({ "fine": 1, key: 1 })).send().await,
        ] {
            let problem = reply.problem(Code::Invalid);
            assert!(
                problem["detail"].as_str().unwrap().contains("256"),
                "{key:?}: it says what is allowed: {problem}"
            );
        }
    }
    for reply in [object.put(&json!({ "": 1 })).send().await, object.patch(&json!({ "": 1 })).send().await] {
        reply.problem(Code::Invalid);
    }
    assert_eq!(object.version().await, version, "nothing was written with the bad ones");
}

async fn class_names(server: Server) {
    let http = server.http();
    let longest = format!("{:x<64}", unique("L"));
    assert_eq!(longest.len(), CLASS_NAME_BYTES_MAX);
    for name in [longest.as_str(), &unique("a_B-9")] {
        let class = Class { http: http.clone(), name: name.to_owned() };
        class.upload(guests::counter(), None).send().await.expect(201);
        class.object("o").invoke("increment", json!({ "by": 1 })).await.expect(200);
    }
    let too_long = format!("{longest}x");
    for name in
        ["1a", "_a", "-a", "a.b", "a b", "a%2Fb", "%C3%A9", "a%00", ".", "%2E%2E", "a+b", too_long.as_str()]
    {
        let class = Class { http: http.clone(), name: name.replace(' ', "%20").replace('.', "%2E") };
        for reply in [
            class.upload(guests::counter(), None).send().await,
            http.get(class.path()).send().await,
            http.delete(class.path()).send().await,
            http.get(format!("{}/versions", class.path())).send().await,
            http.get(format!("{}/objects", class.path())).send().await,
            class.object("o").get().await,
            class.object("o").invoke("value", json!({})).await,
        ] {
            let problem = reply.problem(Code::Invalid);
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains("class name") && detail.contains("63"), "{name:?}: {detail}");
        }
    }
}

async fn method_names(server: Server) {
    let class = Class::deploy(&server, "Methods", guests::prober(), "").await;
    let generic = Class::deploy(&server, "Kv", guests::kv(), "").await;
    for name in ["1a", "_a", "a.b", "a%20b", "%C3%A9", "a%0A", &"m".repeat(65)] {
        for class in [&class, &generic] {
            let problem = class.object("o").invoke(name, json!({})).await.problem(Code::Invalid);
            assert!(problem["detail"].as_str().unwrap().contains("method name"), "{name:?}: {problem}");
            class.function(name).json(&json!({})).send().await.problem(Code::Invalid);
        }
    }
    for name in ["Value", "values", "valu", "cabi_realloc", "memory", "_start", &"m".repeat(64)] {
        if name.starts_with('_') {
            continue;
        }
        let problem = class.object("o").invoke(name, json!({})).await.problem(Code::NotFound);
        assert!(problem["subject"].as_str().unwrap().contains(name), "it names what is not there: {problem}");
    }
    class.object("o").get().await.expect(404);
}

/// A guest that uses a bad key ends its turn; it cannot go on as if nothing had been.
async fn keys_from_inside(server: Server) {
    let class = Class::deploy(&server, "Inside", guests::prober(), "").await;
    let object = class.object("o");
    object.put(&json!({ "kept": 1 })).send().await.ok();
    let longest = "é".repeat(FIELD_KEY_BYTES_MAX / 2);
    object.invoke("run", json!([[{ "set": [longest, "x"] }, { "delete": longest }]])).await.expect(200);
    let version = object.version().await;
    for key in ["", "a\nb", "\u{80}", &"k".repeat(FIELD_KEY_BYTES_MAX + 1)] {
        for step in [
            json!({ "set": [key, "x"] }),
            json!({ "set-many": [["fine", "x"], [key, "x"]] }),
            json!({ "get": key }),
            json!({ "get-many": ["fine", key] }),
            json!({ "delete": key }),
            json!({ "increment": [key, 1] }),
        ] {
            let problem =
                object.invoke("run", json!([[{ "set": ["dirty", "1"] }, step]])).await.problem(Code::Invalid);
            assert!(
                problem["detail"].as_str().unwrap().contains("256"),
                "{step}: it says what is allowed: {problem}"
            );
        }
    }
    for limit in [0, 1001, u32::MAX] {
        let steps = json!([[{ "set": ["dirty", "1"] }, { "scan": ["", "", limit] }]]);
        object.invoke("run", steps).await.problem(Code::Invalid);
    }
    assert_eq!(object.fields().await, json!({ "kept": 1 }));
    assert_eq!(object.version().await, version);
}

async fn broken_escapes(server: Server) {
    let class = Class::deploy(&server, "Escapes", guests::prober(), "").await;
    let http = server.http();
    class.object("o").put(&json!({ "a": 1 })).send().await.ok();
    for path in
        ["/objects/%FF", "/objects/o/fields/%FF", "/objects/o/fields/%C3%28", "/objects/o/fields/%ED%A0%80"]
    {
        http.get(format!("{}{path}", class.path())).send().await.problem(Code::Invalid);
    }
    // a key whose escape is itself escaped is another key
    class.object("o").field("GET", "%61").send().await.problem(Code::NotFound);
    http.get(format!("{}/objects/o/fields/%61", class.path())).send().await.expect(200);
}

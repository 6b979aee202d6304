//! An object is read whole up to a number of fields and of bytes; past either it is listed instead.

use oprc_mesh::limits::{OBJECT_READ_BYTES_MAX, OBJECT_READ_FIELDS_MAX};
use oprc_mesh::outcome::Code;
use oprc_tests::{Class, Server, both, guests};
use serde_json::{Value, json};

both!(fields, bytes, many_fields_replaced);

async fn fields(server: Server) {
    let object = Class::deploy(&server, "Size", guests::prober(), "").await.object("o");
    let all: Value = (0..OBJECT_READ_FIELDS_MAX).map(|n| (format!("k{n:04}"), json!(n))).collect();
    object.put(&all).send().await.ok();
    assert_eq!(object.fields().await, all);
    object.field("PUT", "one more").octets("1").send().await.ok();
    let problem = object.get().await.problem(Code::ObjectTooLarge);
    assert!(problem["hint"].as_str().unwrap().contains("fields"), "it says what to do: {problem}");
    // its parts are still there
    let page =
        object.class.http.get(format!("{}/fields?limit=1000", object.path())).send().await.expect(200).json();
    assert_eq!(page["items"].as_array().unwrap().len(), 1000);
    assert!(page["next"].is_string());
    object.field("DELETE", "one more").send().await.ok();
    object.get().await.expect(200);
}

async fn bytes(server: Server) {
    let object = Class::deploy(&server, "Size", guests::prober(), "").await.object("o");
    // keys count: two of one byte each
    let half = OBJECT_READ_BYTES_MAX / 2;
    object.field("PUT", "a").octets(vec![b'1'; half - 1]).send().await.ok();
    object.field("PUT", "b").octets(vec![b'1'; half - 1]).send().await.ok();
    let document = object.get().await.expect(200);
    assert!(document.body.len() > OBJECT_READ_BYTES_MAX);
    object.field("PUT", "b").octets(vec![b'1'; half]).send().await.ok();
    object.get().await.problem(Code::ObjectTooLarge);
    assert_eq!(object.field("GET", "b").send().await.expect(200).body.len(), half);
}

/// Replacing an object with many fields leaves none of them.
async fn many_fields_replaced(server: Server) {
    let object = Class::deploy(&server, "Size", guests::prober(), "").await.object("o");
    for batch in 0..4 {
        let fields: Value = (0..900).map(|n| (format!("k{batch}-{n:04}"), json!(n))).collect();
        object.patch(&fields).send().await.ok();
    }
    object.get().await.problem(Code::ObjectTooLarge);
    object.put(&json!({ "only": 1 })).send().await.ok();
    let document = object.get().await.expect(200).json();
    assert_eq!((&document["fields"], &document["version"]), (&json!({ "only": 1 }), &json!(5)));
    object.field("GET", "k0-0001").send().await.problem(Code::NotFound);
    assert_eq!(
        object.invoke("run", json!([[{ "scan": ["", "", 1000] }]])).await.expect(200).json(),
        json!(["only=1"])
    );
}

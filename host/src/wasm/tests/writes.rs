//! What a turn reads and writes through its imports, and how misuse ends it.

use bytes::Bytes;
use oprc_mesh::limits::{FIELD_VALUE_BYTES_MAX, PAGE_ITEMS_MAX};
use oprc_mesh::outcome::Code;
use oprc_mesh::wire::Header;

use super::{Call, Fields, fails, gives, json, types};

#[tokio::test]
async fn writes_stay_in_the_access_that_comes_back() {
    let (_fixture, module) = types().await;
    let (result, fields) = module.call(json("increment", "[1]"), Fields::default()).await;
    assert_eq!(result.unwrap().payload.unwrap(), "42");
    assert_eq!(fields.map["count"], "42");
    let (result, fields) = module.call(json("put", "[\"k\",\"v\"]"), fields).await;
    assert_eq!(result.unwrap().payload, None);
    let (result, fields) = module.call(json("get", "[\"k\"]"), fields).await;
    assert_eq!(result.unwrap().payload.unwrap(), "\"v\"");
    let (result, fields) = module.call(json("discard", "[\"k\"]"), fields).await;
    assert_eq!(result.unwrap().payload.unwrap(), "true");
    let (result, fields) = module.call(json("wipe", ""), fields).await;
    assert!(result.is_ok() && fields.map.is_empty());
    let (result, fields) = module.call(json("increment", "[-3]"), fields).await;
    assert_eq!(result.unwrap().payload.unwrap(), "-3");
    assert_eq!(fields.map["count"], "-3");
}

#[tokio::test]
async fn nothing_of_one_turn_is_seen_by_the_next() {
    let (_fixture, module) = types().await;
    for _ in 0..3 {
        // A guest that kept its memory would find the field in its own heap; the object is fresh each time.
        assert_eq!(gives(&module, "increment", "[1]").await, "42");
    }
}

#[tokio::test]
async fn increment_takes_its_own_numbers_only() {
    let (_fixture, module) = types().await;
    for (content, by, says) in [
        ("x", "1", "field \"count\" holds \"x\", which is no decimal number within s64"),
        ("+1", "1", "field \"count\" holds \"+1\", which is no decimal number within s64"),
        ("", "1", "field \"count\" holds \"\", which is no decimal number within s64"),
        ("9223372036854775807", "1", "holds 9223372036854775807; adding 1 leaves the range of s64"),
        ("-9223372036854775808", "-1", "holds -9223372036854775808; adding -1 leaves the range of s64"),
    ] {
        let mut fields = Fields::default();
        fields.map.insert("count".into(), Bytes::copy_from_slice(content.as_bytes()));
        let (result, fields) = module.call(json("increment", &format!("[{by}]")), fields).await;
        let problem = result.unwrap_err();
        assert_eq!(problem.kind(), Code::Invalid);
        assert!(problem.detail.contains(says), "{problem}");
        assert_eq!(fields.map["count"], content);
    }
}

#[tokio::test]
async fn pages_follow_one_another() {
    let (_fixture, module) = types().await;
    let map = (0..5).map(|n| (format!("k{n}"), Bytes::new())).collect();
    let fields = Fields { map, ..Fields::default() };
    let (result, fields) = module.call(json("page", "[\"k\",\"\",3]"), fields).await;
    assert_eq!(result.unwrap().payload.unwrap(), "[[\"k0\",\"k1\",\"k2\"],true]");
    let (result, _) = module.call(json("page", "[\"k\",\"k2\",3]"), fields).await;
    assert_eq!(result.unwrap().payload.unwrap(), "[[\"k3\",\"k4\"],false]");
}

#[tokio::test]
async fn many_fields_at_once_up_to_the_page_limit() {
    let (_fixture, module) = types().await;
    assert_eq!(gives(&module, "many", &format!("[{PAGE_ITEMS_MAX}]")).await, PAGE_ITEMS_MAX.to_string());
    let problem = fails(&module, json("many", &format!("[{}]", PAGE_ITEMS_MAX + 1)), Code::Invalid).await;
    assert_eq!(problem.detail, "the function misused fields.get-many: 1001 keys; allowed are 1000");
}

#[tokio::test]
async fn misuse_ends_the_turn_and_says_why() {
    let (_fixture, module) = types().await;
    let long = format!("[\"{}\",\"v\"]", "k".repeat(257));
    for (method, body, says) in [
        ("get", "[\"\"]", "the function misused fields.get: \"\" is not a valid field key"),
        ("put", "[\"a\\nb\",\"v\"]", "the function misused fields.set: \"a\\nb\" is not a valid field key"),
        ("put", long.as_str(), "is not a valid field key: allowed is 1 to 256 bytes"),
        ("page", "[\"\",\"\",0]", "fields.list: a limit of 0; allowed is 1 to 1000"),
        ("page", "[\"\",\"\",1001]", "fields.list: a limit of 1001; allowed is 1 to 1000"),
        ("other", "[\"1\",\"a\",\"k\"]", "objects.get: \"1\" is not a valid class name"),
        ("other", "[\"A\",\"/\",\"k\"]", "objects.get: \"/\" is not a valid object id"),
    ] {
        let problem = fails(&module, json(method, body), Code::Invalid).await;
        assert!(problem.detail.contains(says), "{problem}");
    }
    assert_eq!(gives(&module, "other", "[\"A\",\"a\",\"k\"]").await, "\"a/k\"");
}

#[tokio::test]
async fn a_value_holds_at_its_limit_and_not_past_it() {
    let (_fixture, module) = types().await;
    let (result, fields) =
        module.call(json("put-big", &format!("[{FIELD_VALUE_BYTES_MAX}]")), Fields::default()).await;
    assert!(result.is_ok());
    assert_eq!(fields.map["big"].len(), FIELD_VALUE_BYTES_MAX);
    let call = json("put-big", &format!("[{}]", FIELD_VALUE_BYTES_MAX + 1));
    let problem = fails(&module, call, Code::PayloadTooLarge).await;
    assert_eq!(
        problem.detail,
        "the function set field \"big\" to 1048577 bytes; a value has at most 1048576"
    );
}

#[tokio::test]
async fn a_function_has_no_fields() {
    let (_fixture, module) = types().await;
    let unbound = || Fields { object: None, ..Fields::default() };
    for (method, body) in [("get", "[\"k\"]"), ("put", "[\"k\",\"v\"]"), ("increment", "[1]"), ("wipe", "")] {
        let problem = module.call(json(method, body), unbound()).await.0.unwrap_err();
        assert_eq!(problem.kind(), Code::Invalid);
        assert!(problem.detail.ends_with("no object is bound: it was called as a function"), "{problem}");
        assert_eq!(problem.subject, format!("Bench.{method}"));
    }
    let output = module.call(json("who", ""), unbound()).await.0.unwrap();
    assert_eq!(output.payload.unwrap(), "\"nobody v0 who invocation-1 None []\"");
}

#[tokio::test]
async fn what_the_access_refuses_ends_the_turn_as_it_says() {
    let (_fixture, module) = types().await;
    let readonly = Fields { readonly: true, ..Fields::default() };
    let (result, fields) = module.call(json("put", "[\"k\",\"v\"]"), readonly).await;
    assert_eq!(result.unwrap_err().detail, "a write in a read-only method");
    assert!(!fields.map.contains_key("k"));
}

#[tokio::test]
async fn the_context_is_the_calls_own() {
    let (_fixture, module) = types().await;
    let header = Header { name: "x-a".into(), value: "1".into() };
    let call = Call { caller: "ann".into(), headers: vec![header], ..json("who", "") };
    let output = module.call(call, Fields::default()).await.0.unwrap();
    let expected = "\"Bench/object v7 who invocation-1 Some(\\\"ann\\\") [(\\\"x-a\\\", \\\"1\\\")]\"";
    assert_eq!(output.payload.unwrap(), expected);
    let left: u64 = gives(&module, "time-left", "").await.parse().unwrap();
    assert!((1..=5_000).contains(&left), "{left}");
}

#[tokio::test]
async fn a_trap_or_an_error_after_a_write_is_reported_as_such() {
    let (_fixture, module) = types().await;
    let problem = fails(&module, json("put-then-trap", "[\"k\"]"), Code::Trap).await;
    assert!(problem.detail.contains("unreachable"), "{problem}");
    let problem = fails(&module, json("put-then-err", "[\"k\"]"), Code::FunctionError).await;
    assert_eq!(problem.error, "\"refused\"");
}

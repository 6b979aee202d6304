//! Listings: everything once and in order, page by page, over all partitions and while writes go on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use oprc_mesh::limits::{PAGE_ITEMS_DEFAULT, PAGE_ITEMS_MAX};
use oprc_mesh::outcome::Code;
use oprc_tests::{Class, Http, Server, both, encode, guests, seed};
use rand::Rng as _;
use rand::seq::SliceRandom as _;
use serde_json::{Value, json};
use tokio::task::JoinSet;

both!(
    objects_over_all_partitions,
    while_writes_go_on,
    prefixes,
    fields,
    large_fields,
    fields_while_writes_go_on,
    classes,
    versions,
    bad_pages,
    from_inside,
);

/// All items of a listing, page by page; checks each page on the way.
async fn all(http: &Http, path: &str, query: &str, limit: usize) -> Vec<Value> {
    let mut items = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = http.get(format!("{path}?limit={limit}&{query}{cursor}")).send().await.expect(200).json();
        let some = page["items"].as_array().unwrap();
        assert!(some.len() <= limit, "{} items where {limit} were asked for", some.len());
        items.extend(some.iter().cloned());
        match &page["next"] {
            Value::Null => return items,
            Value::String(next) => {
                assert!(!some.is_empty(), "a page that is followed by another holds something");
                cursor = format!("&cursor={}", encode(next));
            }
            other => panic!("next is {other}"),
        }
    }
}

fn ids(items: &[Value]) -> Vec<String> {
    items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

/// Creates objects with `ids`, many at a time.
async fn create(class: &Class, ids: &[String]) {
    let mut tasks = JoinSet::new();
    for chunk in ids.chunks(ids.len().div_ceil(16)) {
        let (class, chunk) = (class.clone(), chunk.to_vec());
        tasks.spawn(async move {
            for id in chunk {
                class.object(encode(&id)).put(&json!({ "id": id })).send().await.expect(201);
            }
        });
    }
    tasks.join_all().await;
}

async fn objects_over_all_partitions(server: Server) {
    let class = Class::deploy(&server, "List", guests::prober(), "").await;
    let other = Class { http: class.http.clone(), name: format!("{}x", class.name) };
    other.upload(guests::prober(), None).send().await.expect(201);
    let path = format!("{}/objects", class.path());
    assert_eq!(all(&class.http, &path, "", 10).await, Vec::<Value>::new());

    let mut rng = seed::rng("objects_over_all_partitions");
    let alphabet: Vec<char> =
        ('0'..='9').chain('A'..='Z').chain('a'..='z').chain("._:@~+=-".chars()).collect();
    let mut expected = BTreeSet::new();
    while expected.len() < PAGE_ITEMS_MAX + 50 {
        let tail: String =
            (0..rng.random_range(0..6)).map(|_| alphabet[rng.random_range(0..alphabet.len())]).collect();
        expected.insert(format!("{}{tail}", alphabet[rng.random_range(0..62)]));
    }
    let mut order: Vec<String> = expected.iter().cloned().collect();
    order.shuffle(&mut rng);
    create(&class, &order).await;
    create(&other, &order[..20]).await;

    let expected: Vec<String> = expected.into_iter().collect();
    for limit in [1000, 999, 333, 7] {
        let items = all(&class.http, &path, "", limit).await;
        assert_eq!(ids(&items), expected, "in byte order, each once, with pages of {limit}");
        assert!(items.iter().all(|item| item["version"] == 1), "{:?}", items[0]);
    }
    let first = class.http.get(&path).send().await.expect(200).json();
    assert_eq!(first["items"].as_array().unwrap().len(), PAGE_ITEMS_DEFAULT);
    // one that ends exactly with a page
    let exact = all(&other.http, &format!("{}/objects", other.path()), "", 20).await;
    assert_eq!(exact.len(), 20);
}

/// Objects that are there from before to after are listed exactly once, whatever comes and goes beside them.
async fn while_writes_go_on(server: Server) {
    let class = Class::deploy(&server, "List", guests::prober(), "").await;
    let stable: Vec<String> = (0..200).map(|n| format!("s{n:03}")).collect();
    create(&class, &stable).await;
    let over = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for writer in 0..4u32 {
        let (class, over) = (class.clone(), Arc::clone(&over));
        writers.spawn(async move {
            let mut n = 0;
            while !over.load(Ordering::SeqCst) {
                let passing = class.object(format!("s{:03}x{writer}", n % 200));
                passing.put(&json!({})).send().await.ok();
                class
                    .object(format!("s{n:03}", n = n % 200))
                    .patch(&json!({ "touched": n }))
                    .send()
                    .await
                    .ok();
                passing.delete().send().await.ok();
                n += 7;
            }
            n
        });
    }
    let path = format!("{}/objects", class.path());
    for limit in [3, 17, 50, 150, 1000].into_iter().cycle().take(15) {
        let listed = ids(&all(&class.http, &path, "", limit).await);
        assert!(listed.is_sorted_by(|a, b| a < b), "in order, none twice: {listed:?}");
        let of_stable: Vec<_> = listed.into_iter().filter(|id| !id.contains('x')).collect();
        assert_eq!(of_stable, stable, "none is missing");
    }
    over.store(true, Ordering::SeqCst);
    assert!(writers.join_all().await.into_iter().all(|n| n > 0), "each writer wrote meanwhile");
    assert_eq!(ids(&all(&class.http, &path, "", 1000).await), stable);
}

async fn prefixes(server: Server) {
    let class = Class::deploy(&server, "List", guests::prober(), "").await;
    let ids_made = ["a", "a.1", "a.2", "a~", "aa", "ab", "b", "B", "a.10"].map(str::to_owned);
    create(&class, &ids_made).await;
    let path = format!("{}/objects", class.path());
    for (prefix, expected) in [
        ("a.", vec!["a.1", "a.10", "a.2"]),
        ("a", vec!["a", "a.1", "a.10", "a.2", "aa", "ab", "a~"]),
        ("a~", vec!["a~"]),
        ("B", vec!["B"]),
        ("c", vec![]),
        ("a.1000", vec![]),
        ("", vec!["B", "a", "a.1", "a.10", "a.2", "aa", "ab", "a~", "b"]),
    ] {
        for limit in [1, 2, 100] {
            let listed = all(&class.http, &path, &format!("prefix={}", encode(prefix)), limit).await;
            assert_eq!(ids(&listed), expected, "prefix {prefix:?}, pages of {limit}");
        }
    }
}

async fn fields(server: Server) {
    let class = Class::deploy(&server, "Fields", guests::prober(), "").await;
    let object = class.object("o");
    let mut expected = BTreeMap::new();
    for batch in 0..3 {
        let fields: BTreeMap<String, Value> =
            (0..700).map(|n| (format!("{}/é{:04}", ["a", "b", "日"][batch], n), json!([batch, n]))).collect();
        object.patch(&json!(fields)).send().await.ok();
        expected.extend(fields);
    }
    // a neighbour whose id begins alike, and the same keys elsewhere
    class.object("o2").put(&json!({ "a/x": 1 })).send().await.ok();
    let path = format!("{}/fields", object.path());
    let pair = |item: &Value| (item["key"].as_str().unwrap().to_owned(), item["value"].clone());
    for limit in [1000, 700, 699, 41] {
        let listed: Vec<_> = all(&class.http, &path, "", limit).await.iter().map(pair).collect();
        assert!(
            listed.iter().cloned().eq(expected.clone()),
            "in byte order, each once, with pages of {limit}"
        );
    }
    for (prefix, count) in [("a/", 700), ("日", 700), ("b/é000", 10), ("b/é0001", 1), ("x", 0), ("a/é", 700)]
    {
        let listed = all(&class.http, &path, &format!("prefix={}", encode(prefix)), 300).await;
        assert_eq!(listed.len(), count, "{prefix}");
        assert!(listed.iter().all(|item| item["key"].as_str().unwrap().starts_with(prefix)));
    }
    let page = class.http.get(format!("{path}?limit=1")).send().await.expect(200);
    assert_eq!(
        page.etag(),
        object.field("GET", "a/é0000").send().await.etag(),
        "a page tells the object's version"
    );
    class.http.get(format!("{}/fields", class.object("absent").path())).send().await.problem(Code::NotFound);
}

/// A page of large values ends early, but never without an item.
async fn large_fields(server: Server) {
    let object = Class::deploy(&server, "Fields", guests::prober(), "").await.object("o");
    for n in 0..6 {
        object.field("PUT", &format!("k{n}")).octets(vec![b'x'; 400_000]).send().await.ok();
    }
    object.field("PUT", "k6").octets(vec![b'x'; 1024 * 1024]).send().await.ok();
    let path = format!("{}/fields", object.path());
    let first = object.class.http.get(format!("{path}?limit=1000")).send().await.expect(200).json();
    let count = first["items"].as_array().unwrap().len();
    assert!((1..=3).contains(&count), "{count} values of 400 kB on a page");
    let listed = all(&object.class.http, &path, "", 1000).await;
    let keys: Vec<_> = listed.iter().map(|item| item["key"].as_str().unwrap()).collect();
    assert_eq!(keys, ["k0", "k1", "k2", "k3", "k4", "k5", "k6"]);
    // a guest sees them so, too
    let steps = json!([[{ "scan": ["k6", "", 10] }]]);
    let limits = "[class.limits]\npayload_kib = 4096";
    object.class.redeploy(guests::prober(), limits).await.ok();
    let seen = object.invoke("run", steps).await.expect(200).json();
    assert_eq!(seen[0].as_str().unwrap().len(), 1024 * 1024 + 3);
}

async fn fields_while_writes_go_on(server: Server) {
    let object = Class::deploy(&server, "Fields", guests::prober(), "").await.object("o");
    let stable: Value = (0..300).map(|n| (format!("s{n:03}"), json!(n))).collect();
    object.put(&stable).send().await.ok();
    let over = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (object, over) = (object.clone(), Arc::clone(&over));
        async move {
            let mut n = 0;
            while !over.load(Ordering::SeqCst) {
                let key = format!("s{:03}x", n % 300);
                object.field("PUT", &key).octets("1").send().await.ok();
                object.field("DELETE", &key).send().await.ok();
                n += 7;
            }
        }
    });
    let path = format!("{}/fields", object.path());
    for limit in [5, 70, 299].into_iter().cycle().take(9) {
        let listed = all(&object.class.http, &path, "", limit).await;
        let keys: Vec<_> = listed.iter().map(|item| item["key"].as_str().unwrap()).collect();
        assert!(keys.is_sorted_by(|a, b| a < b), "in order, none twice");
        assert_eq!(keys.iter().filter(|key| !key.contains('x')).count(), 300, "none is missing");
    }
    over.store(true, Ordering::SeqCst);
    writer.await.unwrap();
}

async fn classes(server: Server) {
    let http = server.http();
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(Class::deploy(&server, "Listed", guests::counter(), "").await.name);
    }
    let names = |items: Vec<Value>| -> Vec<String> {
        items.iter().map(|item| item["class"].as_str().unwrap().to_owned()).collect()
    };
    for limit in [1000, 2] {
        let listed = names(all(&http, "/api/v1/classes", "prefix=Listed", limit).await);
        assert!(listed.is_sorted_by(|a, b| a < b));
        assert!(made.iter().all(|name| listed.contains(name)), "{made:?} in {listed:?}");
    }
    let one = names(all(&http, "/api/v1/classes", &format!("prefix={}", made[0]), 10).await);
    assert!(one.contains(&made[0]));
}

async fn versions(server: Server) {
    let class = Class::deploy(&server, "Versions", guests::prober_generation(1), "").await;
    for generation in 2..=5 {
        class.redeploy(guests::prober_generation(generation), "").await.expect(201);
    }
    let path = format!("{}/versions", class.path());
    for limit in [1000, 2] {
        let listed = all(&class.http, &path, "", limit).await;
        let numbers: Vec<_> = listed.iter().map(|item| item["version"].as_u64().unwrap()).collect();
        let digests: BTreeSet<_> = listed.iter().map(|item| item["digest"].as_str().unwrap()).collect();
        assert!(numbers == [1, 2, 3, 4, 5] || numbers == [5, 4, 3, 2, 1], "{numbers:?}");
        assert_eq!(digests.len(), 5);
    }
}

async fn bad_pages(server: Server) {
    let class = Class::deploy(&server, "Pages", guests::prober(), "").await;
    create(&class, &["a".to_owned(), "b".to_owned()]).await;
    class.object("a").put(&json!({ "k": 1, "l": 2 })).send().await.ok();
    let objects = format!("{}/objects", class.path());
    let fields = format!("{}/objects/a/fields", class.path());
    let next = class.http.get(format!("{objects}?limit=1")).send().await.expect(200).json()["next"].clone();
    let next = next.as_str().unwrap();
    for path in [&objects, &fields] {
        for query in [
            "limit=0",
            "limit=1001",
            "limit=-1",
            "limit=x",
            "limit=",
            "limit=1&limit=2",
            "limit=99999999999999999999",
            "limt=1",
            "cursor=",
            "cursor=x",
            "cursor=AAAA",
            "cursor=%FF",
            "prefix=%C3",
        ] {
            class.http.get(format!("{path}?{query}")).send().await.problem(Code::Invalid);
        }
        for limit in [1, PAGE_ITEMS_MAX] {
            class.http.get(format!("{path}?limit={limit}")).send().await.expect(200);
        }
    }
    class.http.get(format!("{fields}?cursor={next}")).send().await.problem(Code::Invalid);
    class.http.get(format!("{objects}?cursor={next}")).send().await.expect(200);
    class.http.get("/api/v1/classes/NoSuchClass/objects").send().await.problem(Code::NotFound);
}

/// A guest lists its own fields and the objects of a class in the same way.
async fn from_inside(server: Server) {
    let class = Class::deploy(&server, "Inside", guests::prober(), "").await;
    let made: Vec<String> = (0..30).map(|n| format!("p{n:02}")).collect();
    create(&class, &made).await;
    class.object("p07").patch(&json!({ "b": 1 })).send().await.ok();
    let mut listed: Vec<(String, u64)> = Vec::new();
    loop {
        let after = listed.last().map_or("", |(id, _)| id);
        let arguments = json!({ "class": class.name, "prefix": "p", "after": after, "limit": 7 });
        let page = class.function("roll-call").json(&arguments).send().await.expect(200).json();
        let mut page: Vec<(String, u64)> = serde_json::from_value(page).unwrap();
        let more = page.pop_if(|(id, _)| id == "+").is_some();
        listed.extend(page);
        if !more {
            break;
        }
    }
    let expected: Vec<_> = made.iter().map(|id| (id.clone(), if id == "p07" { 2 } else { 1 })).collect();
    assert_eq!(listed, expected);

    let peek = |id: &str, key: &str| {
        class.function("peek").json(&json!({ "class": class.name, "id": id, "key": key })).send()
    };
    assert_eq!(peek("p07", "b").await.expect(200).json(), "1");
    assert_eq!(peek("p07", "c").await.expect(200).json(), Value::Null);
    assert_eq!(peek("absent", "b").await.expect(200).json(), Value::Null);
}

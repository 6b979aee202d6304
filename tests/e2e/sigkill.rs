//! SIGKILL under load, again and again: after each restart every acknowledged write is there, and none is there twice.
//!
//! Each attempt carries a token of its own. `append` stores the token as a field and adds one to a count in the same
//! turn, so an object whose count, version and number of tokens agree holds each of its tokens once; a token that nobody
//! sent, or an acknowledged one that is missing, is seen as such.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use oprc_tests::{Class, Kind, Server, encode, guests, run, seed, unique};
use rand::Rng as _;
use serde_json::{Value, json};
use tokio::task::JoinSet;

const ROUNDS: usize = 24;
const OBJECTS: usize = 6;
const CLIENTS: usize = 12;

/// What clients know of one object.
#[derive(Default)]
struct Known {
    attempted: BTreeSet<String>,
    acknowledged: BTreeSet<String>,
}

type Book = Arc<Vec<Mutex<Known>>>;

#[test]
fn everything_in_one_process() {
    run(rounds(Kind::Embedded, ROUNDS));
}

/// The host dies, the gateway stays.
#[test]
fn the_host_alone() {
    run(rounds(Kind::Apart, 8));
}

async fn rounds(kind: Kind, rounds: usize) {
    let mut rng = seed::rng("sigkill");
    let server = Server::start(kind).await;
    let _shown = server.show_logs_on_panic();
    let class = Class::deploy(&server, "Ledger", guests::prober(), "").await;
    let book: Book = Arc::new((0..OBJECTS).map(|_| Mutex::default()).collect());
    let mut deployed = BTreeSet::new();
    for round in 0..rounds {
        let clients = load(&class, &book, round);
        let deployment = deploy(&server);
        let lives = Duration::from_millis(rng.random_range(20..300));
        tokio::time::sleep(lives).await;
        server.kill_host();
        clients.join_all().await;
        deployed.extend(deployment.await.unwrap());
        if rng.random_bool(0.3) {
            // die once more while the log is replayed
            server.start_host();
            tokio::time::sleep(Duration::from_millis(rng.random_range(5..400))).await;
            server.kill_host();
        }
        server.launch().await;
        let mut acknowledged = 0;
        for number in 0..OBJECTS {
            acknowledged += check(&class, number, &book).await;
        }
        println!("round {round}: lived {lives:?}, {acknowledged} acknowledged so far");
    }
    for name in deployed {
        server.http().get(format!("/api/v1/classes/{name}")).send().await.expect(200);
    }
    let acknowledged: usize = book.iter().map(|known| known.lock().unwrap().acknowledged.len()).sum();
    assert!(acknowledged > rounds, "only {acknowledged} writes were acknowledged: the rounds proved nothing");
    // and once more in order
    assert!(server.stop().await.success());
    server.launch().await;
    for number in 0..OBJECTS {
        check(&class, number, &book).await;
    }
}

/// Clients that append until the server is gone.
fn load(class: &Class, book: &Book, round: usize) -> JoinSet<()> {
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let (class, book) = (class.clone(), Arc::clone(book));
        clients.spawn(async move {
            for attempt in 0.. {
                let number = (client + attempt) % OBJECTS;
                let token = format!("{round}-{client}-{attempt}");
                book[number].lock().unwrap().attempted.insert(token.clone());
                let object = class.object(format!("o{number}"));
                let call = object
                    .method("append")
                    .json(&json!({ "token": token }))
                    .header("x-request-timeout-ms", 2000);
                match call.try_send().await {
                    Ok(reply) if reply.status == 200 => {
                        book[number].lock().unwrap().acknowledged.insert(token);
                    }
                    // dead, or a gateway that lost its host: whether it took effect is unknown
                    Ok(reply) => {
                        assert!([503, 504].contains(&reply.status), "{reply:?}");
                        return;
                    }
                    Err(_) => return,
                }
            }
        });
    }
    clients
}

/// Deploys classes until the server is gone; gives those that were acknowledged.
fn deploy(server: &Server) -> tokio::task::JoinHandle<Vec<String>> {
    let http = server.http();
    tokio::spawn(async move {
        let mut deployed = Vec::new();
        loop {
            let class = Class { http: http.clone(), name: unique("Late") };
            let upload = class.upload(guests::counter(), None).header("x-request-timeout-ms", 2000);
            match upload.try_send().await {
                Ok(reply) if reply.status == 201 => deployed.push(class.name),
                _ => return deployed,
            }
        }
    })
}

/// Compares the object with the book; gives how many acknowledged tokens it holds.
async fn check(class: &Class, number: usize, book: &Book) -> usize {
    let object = class.object(format!("o{number}"));
    let (fields, version) = contents(class, &object.id).await;
    let known = book[number].lock().unwrap();
    let tokens: BTreeSet<String> =
        fields.keys().filter_map(|key| key.strip_prefix("t/")).map(str::to_owned).collect();
    let lost: Vec<_> = known.acknowledged.difference(&tokens).collect();
    assert!(lost.is_empty(), "o{number}: acknowledged and lost: {lost:?}");
    let made_up: Vec<_> = tokens.difference(&known.attempted).collect();
    assert!(made_up.is_empty(), "o{number}: nobody sent {made_up:?}");
    let count = fields.get("n").map_or(0, |n| n.as_u64().unwrap());
    assert_eq!(count, tokens.len() as u64, "o{number}: an append took effect twice, or by half");
    assert_eq!(version, tokens.len() as u64, "o{number}: a version is one commit");
    known.acknowledged.len()
}

/// All fields and the version of an object; none and 0 when it does not exist.
async fn contents(class: &Class, id: &str) -> (BTreeMap<String, Value>, u64) {
    let mut fields = BTreeMap::new();
    let mut cursor = String::new();
    loop {
        let path = format!("{}/objects/{id}/fields?limit=1000{cursor}", class.path());
        let reply = class.http.get(path).send().await;
        if reply.status == 404 {
            return (fields, 0);
        }
        let page = reply.clone().expect(200).json();
        for item in page["items"].as_array().unwrap() {
            fields.insert(item["key"].as_str().unwrap().to_owned(), item["value"].clone());
        }
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={}", encode(next)),
            None => return (fields, oprc_tests::tag(&reply.etag()).1),
        }
    }
}

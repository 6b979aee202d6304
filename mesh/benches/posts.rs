//! What a small message costs from one session to another over loopback TCP: gathered into frames by the mesh, and beside
//! it one Zenoh publication for each.

#![allow(clippy::unwrap_used, missing_docs)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use oprc_mesh::id::NodeId;
use oprc_mesh::{Lane, Mesh, MeshConfig, MeshError, Peers as _, Receiver};
use zenoh::Wait as _;
use zenoh::qos::{CongestionControl, Priority};

const ONE: NodeId = NodeId(1);
const TWO: NodeId = NodeId(2);
const MESSAGES: usize = 20_000;

#[derive(Default)]
struct Counter(AtomicUsize);

impl Receiver for Counter {
    fn receive(&self, _from: NodeId, _lane: Lane, _message: Bytes) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Counter {
    fn wait(&self, count: usize) {
        while self.0.load(Ordering::Relaxed) < count {
            std::thread::sleep(Duration::from_micros(20));
        }
    }
}

fn free_endpoint() -> String {
    format!("tcp/{}", std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap())
}

async fn pair() -> (Mesh, Mesh, Arc<Counter>) {
    let endpoint = vec![free_endpoint()];
    let listen = MeshConfig { node: Some(ONE), listen: endpoint.clone(), ..MeshConfig::default() };
    let connect = MeshConfig { node: Some(TWO), connect: endpoint, ..MeshConfig::default() };
    let (one, two) = (Mesh::open(listen).await.unwrap(), Mesh::open(connect).await.unwrap());
    let counter = Arc::<Counter>::default();
    two.receive_posts(counter.clone()).await.unwrap();
    while counter.0.load(Ordering::Relaxed) == 0 {
        one.post(TWO, Lane::Data, Bytes::from_static(b"hello")).unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    (one, two, counter)
}

/// Posts one, after what is queued, if anything, has made room.
fn post(mesh: &Mesh, message: &Bytes) {
    while let Err(error) = mesh.post(TWO, Lane::Data, message.clone()) {
        assert!(matches!(error, MeshError::Congested { .. }), "{error}");
        std::thread::sleep(Duration::from_micros(50));
    }
}

fn session(listen: &[String], connect: &[String]) -> zenoh::Session {
    let mut config = zenoh::Config::default();
    for (key, value) in [
        ("scouting/multicast/enabled", "false".to_owned()),
        ("listen/endpoints", format!("{listen:?}")),
        ("connect/endpoints", format!("{connect:?}")),
    ] {
        config.insert_json5(key, &value).unwrap();
    }
    zenoh::open(config).wait().unwrap()
}

/// How long it takes until `count` has counted the messages that `send` sends.
fn measure(rounds: u64, counter: &Counter, mut send: impl FnMut()) -> Duration {
    let begin = Instant::now();
    for _ in 0..rounds {
        let until = counter.0.load(Ordering::Relaxed) + MESSAGES;
        (0..MESSAGES).for_each(|_| send());
        counter.wait(until);
    }
    begin.elapsed()
}

fn posts(criterion: &mut Criterion) {
    let message = Bytes::from(vec![7; 200]);
    let mut group = criterion.benchmark_group("posts of 200 B");
    group.throughput(Throughput::Elements(MESSAGES as u64)).sample_size(10);

    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (one, two, counter) = runtime.block_on(pair());
    group.bench_function("gathered into frames", |bencher| {
        bencher.iter_custom(|rounds| measure(rounds, &counter, || post(&one, &message)));
    });
    runtime.block_on(async {
        one.close().await;
        two.close().await;
    });

    let endpoint = [free_endpoint()];
    let (one, two) = (session(&endpoint, &[]), session(&[], &endpoint));
    let counter = Arc::<Counter>::default();
    let counting = counter.clone();
    let count = move |_| {
        counting.0.fetch_add(1, Ordering::Relaxed);
    };
    two.declare_subscriber("posts").callback(count).background().wait().unwrap();
    let publisher = one.declare_publisher("posts");
    let publisher = publisher.congestion_control(CongestionControl::Block).priority(Priority::DataHigh);
    let publisher = publisher.wait().unwrap();
    while counter.0.load(Ordering::Relaxed) == 0 {
        publisher.put("hello").wait().unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    group.bench_function("a publication for each", |bencher| {
        bencher.iter_custom(|rounds| {
            measure(rounds, &counter, || publisher.put(message.to_vec()).wait().unwrap())
        });
    });
    group.finish();
}

criterion_group!(benches, posts);
criterion_main!(benches);

//! A turn that fails leaves no trace: fields and version stay as they were, an object that was not there is still not
//! there. The process stays up, and other objects keep answering meanwhile. Each way to fail has its own code.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use oprc_mesh::outcome::Code;
use oprc_tests::{Class, Object, Reply, Server, both, guests};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

both!(
    trap,
    stack_overflow,
    endless_loop,
    long_loop,
    long_sleep,
    endless_allocation,
    large_allocation,
    large_result,
    large_text,
    large_request,
    many_keys,
    many_bytes,
    large_value,
    own_error,
    not_a_number,
    many_endless_loops
);

/// Small limits, so that passing them is quick. The wall limit is far away: on a busy machine little processor time takes
/// long.
const LIMITS: &str = "[class.limits]
cpu_ms = 300
wall_ms = 60000
memory_mib = 16
payload_kib = 64
write_kib = 64
write_keys = 100";

async fn trap(server: Server) {
    let problem = fails(&server, "explode", json!({}), Code::Trap).await;
    let backtrace = problem["backtrace"].as_str().expect("a trap shows the backtrace");
    assert!(backtrace.contains("explode"), "the backtrace names the guest's function: {backtrace}");
}

async fn stack_overflow(server: Server) {
    let problem = fails(&server, "overflow-stack", json!({ "seed": 1 }), Code::Trap).await;
    assert!(problem["backtrace"].as_str().is_some_and(|trace| trace.contains("recurse")), "{problem}");
}

async fn endless_loop(server: Server) {
    fails(&server, "spin", json!({}), Code::CpuLimit).await;
}

/// Less than the wall limit, more than the limit of processor time.
async fn long_loop(server: Server) {
    fails(&server, "burn", json!({ "ms": 30_000 }), Code::CpuLimit).await;
}

/// Waiting in the host uses no processor time.
async fn long_sleep(server: Server) {
    let limits = "[class.limits]\ncpu_ms = 300\nwall_ms = 1500";
    fails_under(&server, limits, "nap", json!({ "ms": 60_000 }), Code::WallLimit).await;
}

async fn endless_allocation(server: Server) {
    fails(&server, "hoard-without-end", json!({}), Code::MemoryLimit).await;
}

async fn large_allocation(server: Server) {
    fails(&server, "hoard", json!({ "mib": 17 }), Code::MemoryLimit).await;
}

async fn large_result(server: Server) {
    fails(&server, "blob", json!({ "bytes": 64 * 1024 + 1 }), Code::PayloadTooLarge).await;
}

async fn large_text(server: Server) {
    fails(&server, "letters", json!({ "bytes": 64 * 1024 + 1 }), Code::PayloadTooLarge).await;
}

async fn large_request(server: Server) {
    let data = "A".repeat(88 * 1024);
    fails(&server, "swallow", json!({ "data": data }), Code::PayloadTooLarge).await;
}

async fn many_keys(server: Server) {
    for at_once in [false, true] {
        let arguments = json!({ "count": 101, "bytes": 1, "at-once": at_once });
        fails(&server, "write-many", arguments, Code::WriteLimit).await;
    }
}

async fn many_bytes(server: Server) {
    for at_once in [false, true] {
        let arguments = json!({ "count": 70, "bytes": 1000, "at-once": at_once });
        fails(&server, "write-many", arguments, Code::WriteLimit).await;
    }
}

/// The value is past the limit of one field; the limits of the turn are far away.
async fn large_value(server: Server) {
    let limits = "[class.limits]\nwrite_kib = 8192";
    let arguments = json!({ "key": "large", "bytes": 1024 * 1024 + 1 });
    fails_under(&server, limits, "write-one", arguments, Code::PayloadTooLarge).await;
}

async fn own_error(server: Server) {
    let arguments = json!({ "reason": "not today", "balance": -7 });
    let problem = fails(&server, "refuse", arguments, Code::FunctionError).await;
    assert_eq!(problem["error"], json!({ "reason": "not today", "balance": -7 }));
}

/// A field that is no number cannot be incremented.
async fn not_a_number(server: Server) {
    for (content, by) in [("x", 1), ("", 1), ("1.0", 1), (" 1", 1), ("9223372036854775807", 1)] {
        let class = Class::deploy(&server, "Faulty", guests::prober(), "").await;
        let object = class.object("o");
        object.field("PUT", "n").octets(content).send().await.ok();
        let before = object.get().await.expect(200);
        let steps = json!([[{ "set": ["dirty", "1"] }, { "increment": ["n", by] }]]);
        object.invoke("run", steps).await.problem(Code::Invalid);
        assert_unchanged(&before, &object.get().await.expect(200));
    }
}

/// More guests that loop than there are cores: all end by their limit, and others get their share meanwhile.
async fn many_endless_loops(server: Server) {
    let class =
        Class::deploy(&server, "Faulty", guests::prober(), "[class.limits]\ncpu_ms = 200\nwall_ms = 60000")
            .await;
    let bystander = Bystander::start(class.object("bystander")).await;
    let mut loops = tokio::task::JoinSet::new();
    let begin = Instant::now();
    for n in 0..16 {
        loops.spawn(
            class.object(format!("o{n}")).method("spin").header("x-request-timeout-ms", 60_000).send(),
        );
    }
    for reply in loops.join_all().await {
        reply.problem(Code::CpuLimit);
    }
    bystander.stop(begin.elapsed()).await;
}

async fn fails(server: &Server, method: &str, arguments: Value, code: Code) -> Value {
    fails_under(server, LIMITS, method, arguments, code).await
}

/// The invariant: the call fails with `code`; the object is as before; one that did not exist still does not; another
/// object of the same class answers all the while.
async fn fails_under(server: &Server, limits: &str, method: &str, arguments: Value, code: Code) -> Value {
    let class = Class::deploy(server, "Faulty", guests::prober(), limits).await;
    let object = class.object("there");
    object.put(&json!({ "kept": [1, 2], "n": 5 })).send().await.ok();
    let before = object.get().await.expect(200);
    let bystander = Bystander::start(class.object("bystander")).await;

    let absent = class.object("absent");
    let call = |object: &Object| {
        object.method(method).json(&arguments).header("x-request-timeout-ms", 60_000).send()
    };
    let begin = Instant::now();
    let (hit, missed) = tokio::join!(call(&object), call(&absent));
    let took = begin.elapsed();
    let problem = hit.problem(code);
    missed.problem(code);
    bystander.stop(took).await;

    assert_eq!(problem["subject"], format!("{}/there.{method}", class.name), "{problem}");
    assert_unchanged(&before, &object.get().await.expect(200));
    absent.get().await.problem(Code::NotFound);
    // and it goes on from where it was
    assert_eq!(object.invoke("add", json!({ "by": 1 })).await.expect(200).json(), 6);
    assert_eq!(object.version().await, 2);
    problem
}

fn assert_unchanged(before: &Reply, after: &Reply) {
    assert_eq!(before.json(), after.json());
    assert_eq!(before.etag(), after.etag());
}

/// A client of an object that has nothing to do with the fault: every one of its calls must succeed.
struct Bystander {
    over: Arc<AtomicBool>,
    task: JoinHandle<u64>,
}

impl Bystander {
    async fn start(object: Object) -> Self {
        object.invoke("add", json!({ "by": 1 })).await.expect(200);
        let over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&over);
        let task = tokio::spawn(async move {
            let mut calls = 0;
            while !seen.load(Ordering::SeqCst) || calls == 0 {
                object.invoke("add", json!({ "by": 1 })).await.expect(200);
                calls += 1;
            }
            assert_eq!(object.version().await, calls + 1);
            calls
        });
        Self { over, task }
    }

    async fn stop(self, took: Duration) {
        self.over.store(true, Ordering::SeqCst);
        let calls = self.task.await.expect("the other object answered all the while");
        assert!(took < Duration::from_secs(1) || calls >= 3, "only {calls} calls answered in {took:?}");
    }
}

//! Every limit, with its own problem; and others go on meanwhile.

use std::time::{Duration, Instant};

use oprc_mesh::outcome::{Code, Effect};

use super::{Call, Fixture, fails, gives, guest, json, raw, run, types};

fn limited(mut call: Call, change: impl FnOnce(&mut Call)) -> Call {
    change(&mut call);
    call
}

#[tokio::test]
async fn a_loop_ends_at_its_processor_time() {
    let (_fixture, module) = types().await;
    let call = limited(json("spin", ""), |call| {
        call.limits.cpu_ms = 50;
        // on a busy machine 50 ms of processor time may take long
        call.limits.wall_ms = 60_000;
    });
    let problem = fails(&module, call, Code::CpuLimit).await;
    assert_eq!(problem.detail, "the function used up its processor time of 50 ms");
    // The same component still answers.
    assert_eq!(gives(&module, "increment", "[1]").await, "42");
}

#[tokio::test]
async fn waiting_uses_no_processor_time() {
    let (_fixture, module) = types().await;
    let call = limited(json("sleep-for", "[150]"), |call| call.limits.cpu_ms = 50);
    let begun = Instant::now();
    assert!(run(&module, call).await.is_ok());
    assert!(begun.elapsed() >= Duration::from_millis(150));
}

#[tokio::test]
async fn a_turn_ends_at_its_wall_time_waiting_or_running() {
    let (_fixture, module) = types().await;
    for (method, body) in [("sleep-for", "[60000]"), ("spin", "")] {
        let call = limited(json(method, body), |call| {
            call.limits.wall_ms = 50;
            call.limits.cpu_ms = 10_000;
        });
        let problem = fails(&module, call, Code::WallLimit).await;
        assert_eq!(problem.detail, "the function took longer than 50 ms");
    }
}

#[tokio::test]
async fn a_turn_ends_at_its_callers_deadline() {
    let (_fixture, module) = types().await;
    let soon = |ms| tokio::time::Instant::now() + Duration::from_millis(ms);
    // late enough that the function has certainly begun
    let call = limited(json("sleep-for", "[60000]"), |call| call.deadline = soon(1000));
    let problem = fails(&module, call, Code::Deadline).await;
    assert_eq!(problem.effect, Effect::Unsaid as i32);
    let call = limited(json("sleep-for", "[1]"), |call| call.deadline = soon(0));
    let problem = fails(&module, call, Code::Deadline).await;
    assert_eq!(problem.effect, Effect::NotRun as i32);
}

#[tokio::test(flavor = "current_thread")]
async fn a_loop_lets_others_run_on_the_same_thread() {
    let (_fixture, module) = types().await;
    let over = std::cell::Cell::new(false);
    let spinning = async {
        let call = limited(json("spin", ""), |call| {
            call.limits.cpu_ms = 300;
            call.limits.wall_ms = 60_000;
        });
        let spun = run(&module, call).await;
        over.set(true);
        spun
    };
    let others = async {
        let mut done = 0;
        while !over.get() {
            assert_eq!(gives(&module, "increment", "[1]").await, "42");
            tokio::task::yield_now().await;
            done += 1;
        }
        done
    };
    let (spun, done) = tokio::join!(spinning, others);
    assert_eq!(spun.unwrap_err().kind(), Code::CpuLimit);
    assert!(done >= 5, "only {done} turns ran beside the loop");
}

#[tokio::test]
async fn memory_ends_at_its_limit() {
    let (_fixture, module) = types().await;
    let call = limited(json("hog", ""), |call| call.limits.memory_mib = 16);
    let problem = fails(&module, call, Code::MemoryLimit).await;
    assert_eq!(problem.detail, "the function wanted more memory than its 16 MiB");
    // A guest that takes no for an answer goes on.
    assert_eq!(gives(&module, "hog-politely", "").await, "true");
}

#[tokio::test]
async fn a_component_that_begins_with_too_much_memory_is_over_its_limit() {
    let fixture = Fixture::new();
    let module = fixture
        .text(
            r#"(component
                (core module $m (memory 1024) (func (export "f")))
                (core instance $i (instantiate $m))
                (func (export "run") (canon lift (core func $i "f"))))"#,
        )
        .await
        .unwrap();
    assert!(run(&module, json("run", "")).await.is_ok());
    let call = limited(json("run", ""), |call| call.limits.memory_mib = 63);
    fails(&module, call, Code::MemoryLimit).await;
}

#[tokio::test]
async fn payloads_hold_at_their_limit_and_not_past_it() {
    let (_fixture, module) = types().await;
    let small = |call| limited(call, |call| call.limits.payload_kib = 4);
    assert!(run(&module, small(raw("echo-bytes", &[1; 4096]))).await.is_ok());
    let problem = fails(&module, small(raw("echo-bytes", &[1; 4097])), Code::PayloadTooLarge).await;
    assert_eq!(problem.detail, "the request has 4097 bytes; the class allows 4096");
    let raw_result = |bytes: u32| {
        small(Call { accept: oprc_mesh::wire::Form::Raw, ..json("give", &format!("[{bytes}]")) })
    };
    assert!(run(&module, raw_result(4096)).await.is_ok());
    let problem = fails(&module, raw_result(4097), Code::PayloadTooLarge).await;
    assert_eq!(problem.detail, "the result has 4097 bytes; the class allows 4096");
}

#[tokio::test]
async fn a_result_far_past_its_limit_does_not_fill_the_host() {
    let (_fixture, module) = types().await;
    let call = limited(json("give", "[50000000]"), |call| {
        call.limits.payload_kib = 4;
        call.limits.memory_mib = 128;
    });
    let problem = fails(&module, call, Code::PayloadTooLarge).await;
    assert_eq!(problem.detail, "the function passed more data at once than is allowed");
}

#[tokio::test]
async fn a_payload_as_large_as_can_be_passes() {
    let (_fixture, module) = types().await;
    let mut call = raw("echo-bytes", &vec![7; 16 * 1024 * 1024]);
    call.limits.payload_kib = 16_384;
    call.limits.memory_mib = 256;
    assert_eq!(run(&module, call).await.unwrap().payload.unwrap().len(), 16 * 1024 * 1024);
}

#[tokio::test]
async fn a_trap_shows_its_backtrace() {
    let (_fixture, module) = types().await;
    let problem = fails(&module, json("panic-with", "[\"oh no\"]"), Code::Trap).await;
    assert_eq!(problem.detail, "the function trapped: wasm `unreachable` instruction executed");
    assert!(problem.backtrace.contains("panic"), "{}", problem.backtrace);
    let problem = fails(&module, json("recurse", "[100000000]"), Code::Trap).await;
    assert!(
        problem.detail.contains("call stack exhausted") || problem.detail.contains("out of bounds"),
        "{problem}"
    );
    let problem = fails(&module, json("quit", ""), Code::Trap).await;
    assert!(problem.detail.starts_with("the function called exit"), "{problem}");
}

#[tokio::test]
async fn more_turns_than_slots_are_overloaded() {
    let (_fixture, module) = types().await;
    let sleeps = (0..12).map(|_| run(&module, json("sleep-for", "[200]")));
    let results = futures::future::join_all(sleeps).await;
    let refused: Vec<_> = results.into_iter().filter_map(Result::err).collect();
    assert_eq!(refused.len(), 4, "eight slots, twelve turns");
    for problem in refused {
        assert_eq!((problem.kind(), problem.effect), (Code::Overloaded, Effect::NotRun as i32));
        assert!(problem.retry_after_ms > 0);
    }
    assert_eq!(gives(&module, "increment", "[1]").await, "42");
}

#[tokio::test]
async fn nothing_of_the_machine_is_to_be_seen() {
    let (_fixture, module) = types().await;
    let seen = gives(&module, "peek", "").await;
    assert!(seen.starts_with("\"0 Err(") && seen.ends_with(" 0\""), "{seen}");
    assert!(!seen.contains("Ok("), "{seen}");
}

#[tokio::test]
async fn a_dropped_call_leaves_the_module_whole() {
    let (_fixture, module) = types().await;
    let call = run(&module, json("sleep-for", "[60000]"));
    assert!(tokio::time::timeout(Duration::from_millis(20), call).await.is_err());
    let handler = Fixture::new();
    let handler = handler.module(&guest("guest_handler")).await.unwrap();
    assert!(run(&handler, raw("echo", b"x")).await.is_ok());
    assert_eq!(gives(&module, "increment", "[1]").await, "42");
}

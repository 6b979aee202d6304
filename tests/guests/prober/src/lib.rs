//! Does what `wit/world.wit` says of each function, and nothing to soften it.

use std::hint::black_box;
use std::time::{Duration, Instant};

use oprc::odgm::types::ObjectRef;
use oprc::odgm::{context, events, fields, objects};

wit_bindgen::generate!({ path: ["../../../wit", "wit"], world: "test:prober/prober", generate_all });

/// The tests write other digits over these to make other code of it; the length stays.
#[used]
static GENERATION: &str = "test-generation-000000";

struct Prober;

fn dirty() {
    fields::set("dirty", b"1");
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

fn option(value: Option<Vec<u8>>) -> String {
    value.map_or_else(|| "none".to_owned(), |value| format!("some {}", text(value)))
}

fn field((key, value): (String, String)) -> fields::Field {
    fields::Field { key, value: value.into_bytes() }
}

fn step(step: Step) -> String {
    match step {
        Step::Get(key) => option(fields::get(&key)),
        Step::GetMany(keys) => fields::get_many(&keys).into_iter().map(option).collect::<Vec<_>>().join(","),
        Step::Set((key, value)) => {
            fields::set(&key, value.as_bytes());
            "ok".to_owned()
        }
        Step::SetMany(pairs) => {
            fields::set_many(&pairs.into_iter().map(field).collect::<Vec<_>>());
            "ok".to_owned()
        }
        Step::Delete(key) => fields::delete(&key).to_string(),
        Step::Scan((prefix, after, limit)) => {
            let page = fields::list(&prefix, &after, limit);
            let items = page.items.into_iter().map(|field| format!("{}={}", field.key, text(field.value)));
            let line = items.collect::<Vec<_>>().join(",");
            if page.more { line + "+" } else { line }
        }
        Step::Increment((key, delta)) => fields::increment(&key, delta).to_string(),
        Step::Clear(_) => {
            fields::clear();
            "ok".to_owned()
        }
        Step::Emit((topic, payload)) => {
            events::emit(&topic, payload.as_bytes());
            "ok".to_owned()
        }
    }
}

#[inline(never)]
fn recurse(depth: u64) -> u64 {
    let room = black_box([depth; 64]);
    if depth == u64::MAX { 0 } else { recurse(depth + 1).wrapping_add(black_box(room)[(depth % 64) as usize]) }
}

impl Guest for Prober {
    fn add(by: i64) -> i64 {
        fields::increment("n", by)
    }

    fn value() -> i64 {
        fields::get("n").map_or(0, |bytes| text(bytes).parse().expect("a number"))
    }

    fn append(token: String) -> i64 {
        fields::set(&format!("t/{token}"), b"1");
        fields::increment("n", 1)
    }

    fn stamp() -> Stamped {
        let generation = Self::generation();
        fields::set("generation", generation.as_bytes());
        Stamped { n: fields::increment("n", 1), generation }
    }

    fn generation() -> String {
        black_box(GENERATION).to_owned()
    }

    fn run(steps: Vec<Step>) -> Vec<String> {
        steps.into_iter().map(step).collect()
    }

    fn explode() {
        dirty();
        panic!("the prober exploded");
    }

    fn overflow_stack(seed: u64) -> u64 {
        dirty();
        recurse(seed)
    }

    fn spin() {
        dirty();
        let mut turns = 0u64;
        loop {
            turns = black_box(turns.wrapping_add(1));
        }
    }

    fn burn(ms: u64) {
        dirty();
        println!("burning for {ms} ms in {}", context::invocation_id());
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(ms) {
            black_box((0..10_000u64).sum::<u64>());
        }
    }

    fn nap(ms: u64) {
        dirty();
        println!("napping for {ms} ms in {}", context::invocation_id());
        std::thread::sleep(Duration::from_millis(ms));
    }

    fn hoard(mib: u32) -> u32 {
        dirty();
        let room = black_box(vec![1u8; mib as usize * 1024 * 1024]);
        room.iter().step_by(4096).map(|byte| u32::from(*byte)).sum::<u32>().div_ceil(256)
    }

    fn hoard_without_end() {
        dirty();
        let mut all = Vec::new();
        loop {
            all.push(black_box(vec![1u8; 1024 * 1024]));
        }
    }

    fn grow_to(pages: u32) -> u32 {
        dirty();
        let there = core::arch::wasm32::memory_size(0);
        core::arch::wasm32::memory_grow(0, pages as usize - there);
        core::arch::wasm32::memory_size(0) as u32
    }

    fn refuse(reason: String, balance: i64) -> Result<i64, Refusal> {
        dirty();
        Err(Refusal { reason, balance })
    }

    fn blob(bytes: u32) -> Vec<u8> {
        dirty();
        vec![7; bytes as usize]
    }

    fn letters(bytes: u32) -> String {
        dirty();
        "x".repeat(bytes as usize)
    }

    fn swallow(data: Vec<u8>) -> u32 {
        dirty();
        data.len() as u32
    }

    fn write_many(count: u32, bytes: u32, at_once: bool) {
        let field = |n| fields::Field { key: format!("k/{n:08}"), value: vec![7; bytes as usize] };
        if at_once {
            fields::set_many(&(1..=count).map(field).collect::<Vec<_>>());
        } else {
            for field in (1..=count).map(field) {
                fields::set(&field.key, &field.value);
            }
        }
    }

    fn write_one(key: String, bytes: u32) {
        fields::set(&key, &vec![7; bytes as usize]);
    }

    fn emit_many(count: u32, bytes: u32) {
        for _ in 0..count {
            events::emit("t", &vec![b'x'; bytes as usize]);
        }
    }

    fn touch() -> u32 {
        use std::sync::atomic::{AtomicU32, Ordering};
        static TOUCHED: AtomicU32 = AtomicU32::new(0);
        TOUCHED.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn say(out: String, err: String) {
        println!("{out}");
        eprintln!("{err}");
    }

    fn circumstances_of_call() -> Circumstances {
        Circumstances {
            object: context::self_().map(|object| (object.class, object.id)),
            invocation_id: context::invocation_id(),
            method: context::method(),
            caller: context::caller(),
            deadline: context::deadline(),
            headers: context::headers(),
            version: context::version(),
        }
    }

    fn look_around() -> Surroundings {
        use std::hash::{BuildHasher as _, RandomState};
        let start = Instant::now();
        std::thread::sleep(Duration::from_millis(2));
        let random = || RandomState::new().hash_one(0);
        Surroundings {
            environment: std::env::vars().collect(),
            arguments: std::env::args().collect(),
            can_read_files: std::fs::read_dir("/").is_ok() || std::fs::read("/etc/hostname").is_ok(),
            can_write_files: std::fs::write("/tmp/oprc-prober", "x").is_ok(),
            clock_moves: start.elapsed() >= Duration::from_millis(1),
            random_differs: random() != random(),
        }
    }

    fn peek(class: String, id: String, key: String) -> Option<String> {
        objects::get(&ObjectRef { class, id }, &key).map(text)
    }

    fn roll_call(class: String, prefix: String, after: String, limit: u32) -> Vec<(String, u64)> {
        let page = objects::list(&class, &prefix, &after, limit);
        let more = page.more.then(|| ("+".to_owned(), 0));
        page.items.into_iter().map(|entry| (entry.id, entry.version)).chain(more).collect()
    }

    fn peek_twice(class: String, id: String, key: String, ms: u64) -> (Option<String>, Option<String>) {
        let first = Self::peek(class.clone(), id.clone(), key.clone());
        std::thread::sleep(Duration::from_millis(ms));
        (first, Self::peek(class, id, key))
    }
}

export!(Prober);

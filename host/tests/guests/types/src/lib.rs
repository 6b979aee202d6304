//! Functions of every type and every bad manner.

wit_bindgen::generate!({
    path: ["../../../../wit", "wit"],
    world: "test:types/types",
    generate_all,
});

use std::time::{Duration, Instant};

use exports::test::types::echo::{Color, Guest as Echo, Point, Rights, Shape};
use oprc::odgm::types::ObjectRef;
use oprc::odgm::{context, fields, objects};

struct Types;

macro_rules! echo {
    ($($name:ident: $ty:ty),* $(,)?) => { $(fn $name(v: $ty) -> $ty { v })* };
}

impl Echo for Types {
    echo! {
        echo_bool: bool, echo_s8: i8, echo_u8: u8, echo_s16: i16, echo_u16: u16, echo_s32: i32, echo_u32: u32,
        echo_s64: i64, echo_u64: u64, echo_f32: f32, echo_f64: f64, echo_char: char, echo_string: String,
        echo_bytes: Vec<u8>, echo_list: Vec<u32>, echo_blobs: Vec<Vec<u8>>, echo_tuple: (u8, String, bool),
        echo_record: Point, echo_variant: Shape, echo_enum: Color, echo_flags: Rights, echo_option: Option<u32>,
        echo_nested_option: Option<Option<u32>>, echo_nested_result: (Result<u32, String>,),
    }

    fn echo_two(a: u64, b: Option<String>) -> String {
        format!("{a} {b:?}")
    }

    fn top_result(fail: bool) -> Result<u32, Shape> {
        if fail { Err(Shape::Circle(1.5)) } else { Ok(7) }
    }

    fn top_unit_result(fail: bool) -> Result<(), ()> {
        if fail { Err(()) } else { Ok(()) }
    }

    fn top_bytes_result(v: Vec<u8>) -> Result<Vec<u8>, String> {
        if v.is_empty() { Err("empty".into()) } else { Ok(v) }
    }

    fn not_a_number() -> f64 {
        f64::NAN
    }

    fn nothing() {}
}

fn text(value: Vec<u8>) -> String {
    String::from_utf8(value).expect("only text is stored here")
}

impl Guest for Types {
    fn increment(by: i64) -> i64 {
        fields::increment("count", by)
    }

    fn put(key: String, value: String) {
        fields::set(&key, value.as_bytes());
    }

    fn put_big(bytes: u32) {
        fields::set("big", &vec![7; bytes as usize]);
    }

    fn get(key: String) -> Option<String> {
        fields::get(&key).map(text)
    }

    fn discard(key: String) -> bool {
        fields::delete(&key)
    }

    fn page(prefix: String, after: String, limit: u32) -> (Vec<String>, bool) {
        let page = fields::list(&prefix, &after, limit);
        (page.items.into_iter().map(|field| field.key).collect(), page.more)
    }

    fn wipe() {
        fields::clear();
    }

    fn put_then_trap(key: String) {
        fields::set(&key, b"lost");
        panic!("after the write");
    }

    fn put_then_err(key: String) -> Result<(), String> {
        fields::set(&key, b"lost");
        Err("refused".into())
    }

    fn other(class: String, id: String, key: String) -> Option<String> {
        objects::get(&ObjectRef { class, id }, &key).map(text)
    }

    fn who() -> String {
        let object =
            context::self_().map_or("nobody".into(), |object| format!("{}/{}", object.class, object.id));
        format!(
            "{object} v{} {} {} {:?} {:?}",
            context::version(),
            context::method(),
            context::invocation_id(),
            context::caller(),
            context::headers()
        )
    }

    fn time_left() -> u64 {
        context::deadline()
    }

    fn many(count: u32) -> u32 {
        let items: Vec<_> = (0..count)
            .map(|n| fields::Field { key: format!("k{n}"), value: n.to_string().into_bytes() })
            .collect();
        fields::set_many(&items);
        let keys: Vec<_> = items.iter().map(|field| field.key.clone()).collect();
        fields::get_many(&keys).into_iter().flatten().count() as u32
    }

    fn spin() {
        loop {
            std::hint::black_box(0);
        }
    }

    fn spin_for(ms: u64) -> u64 {
        let begun = Instant::now();
        let mut rounds = 0;
        while begun.elapsed() < Duration::from_millis(ms) {
            rounds += 1;
        }
        rounds
    }

    fn sleep_for(ms: u64) {
        std::thread::sleep(Duration::from_millis(ms));
    }

    fn hog() {
        let mut all = Vec::new();
        loop {
            all.push(vec![1_u8; 1 << 20]);
            std::hint::black_box(&all);
        }
    }

    fn hog_politely() -> bool {
        Vec::<u8>::new().try_reserve_exact(1 << 30).is_err()
    }

    fn recurse(depth: u64) -> u64 {
        if depth == 0 { 0 } else { std::hint::black_box(Self::recurse(depth - 1)) + 1 }
    }

    fn give(bytes: u32) -> Vec<u8> {
        vec![b'x'; bytes as usize]
    }

    fn say(out: String, err: String) {
        println!("{out}");
        eprintln!("{err}");
    }

    fn panic_with(text: String) {
        panic!("{text}");
    }

    fn quit() {
        std::process::exit(3);
    }

    fn peek() -> String {
        let files = std::fs::read_dir("/").map(Iterator::count).map_err(|error| error.kind());
        let network = std::net::TcpStream::connect("127.0.0.1:22").map(drop).map_err(|error| error.kind());
        format!("{:?} {files:?} {network:?} {:?}", std::env::vars().count(), std::env::args().count())
    }
}

export!(Types);

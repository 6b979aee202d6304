//! As small as a Rust component gets: for measuring what a turn costs by itself, and one read of a field.

wit_bindgen::generate!({
    path: ["../../../../wit", "wit"],
    world: "test:empty/empty",
    generate_all,
});

struct Empty;

impl Guest for Empty {
    fn noop() {}

    fn add(a: u64, b: u64) -> u64 {
        a.wrapping_add(b)
    }

    fn echo(payload: Vec<u8>) -> Vec<u8> {
        payload
    }

    fn reads(count: u32) -> u64 {
        (0..count).map(|_| oprc::odgm::fields::get("count").map_or(0, |value| value.len() as u64)).sum()
    }
}

export!(Empty);

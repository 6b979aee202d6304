//! A counter per object, kept in its field `count` as decimal text.

use oprc::odgm::fields;

wit_bindgen::generate!({ path: ["../../wit", "counter.wit"], world: "example:counter/counter", generate_all });

const COUNT: &str = "count";

struct Counter;

impl Guest for Counter {
    fn increment(by: u64) -> u64 {
        // Past the range of the field the turn ends with an error and nothing is written, so no overflow goes unseen.
        let by = i64::try_from(by).expect("`by` is at most 9223372036854775807");
        fields::increment(COUNT, by).unsigned_abs()
    }

    fn value() -> u64 {
        let Some(text) = fields::get(COUNT) else { return 0 };
        let text = String::from_utf8(text).expect("the count is text");
        text.parse().expect("the count is a number")
    }
}

export!(Counter);

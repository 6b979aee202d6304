//! A count per object, kept in its field `count` as decimal text.

use oprc::odgm::fields;

wit_bindgen::generate!({ path: "wit", world: "guest", generate_all });

const COUNT: &str = "count";

struct Component;

impl Guest for Component {
    fn increment(by: u64) -> Result<u64, String> {
        let count = add(stored(), by)?;
        fields::set(COUNT, count.to_string().as_bytes());
        Ok(count)
    }

    fn value() -> u64 {
        stored()
    }
}

export!(Component);

/// The count of the object that the method is called on.
fn stored() -> u64 {
    fields::get(COUNT).map_or(0, |text| parse(&text))
}

/// A panic ends the turn: the caller gets an error and nothing is written.
fn parse(text: &[u8]) -> u64 {
    let text = std::str::from_utf8(text).expect("the count is text");
    text.parse().expect("the count is a number")
}

fn add(count: u64, by: u64) -> Result<u64, String> {
    count.checked_add(by).ok_or_else(|| format!("{count} and {by} are more than a count can hold"))
}

/// What does not touch the object is plain code, and is tested like any other.
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up() {
        assert_eq!(add(2, 3), Ok(5));
    }

    #[test]
    fn a_count_does_not_wrap_around() {
        assert!(add(u64::MAX, 1).is_err());
    }

    #[test]
    fn a_count_is_read_as_it_is_written() {
        assert_eq!(parse(add(40, 2).unwrap().to_string().as_bytes()), 42);
    }
}

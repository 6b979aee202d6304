//! A log per object. Its fields `entry/00000001` and on hold a line for each event that triggers have told.

use oprc::odgm::fields;

wit_bindgen::generate!({ path: ["../../wit", "audit.wit"], world: "example:audit/log", generate_all });

struct Audit;

fn text(value: Option<Vec<u8>>) -> String {
    value.map_or_else(|| "nothing".to_owned(), |value| String::from_utf8_lossy(&value).into_owned())
}

impl Guest for Audit {
    fn record(event: Change) {
        let subject = event.key.or(event.method).unwrap_or_default();
        let line = format!(
            "{}/{} version {}: {subject} from {} to {}",
            event.class,
            event.object,
            event.version,
            text(event.old),
            text(event.new)
        );
        let number = fields::increment("entries", 1);
        fields::set(&format!("entry/{number:08}"), line.as_bytes());
    }
}

export!(Audit);

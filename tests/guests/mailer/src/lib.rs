//! Does what `wit/world.wit` says of each function.

use oprc::odgm::messages::{self, Due, Options};
use oprc::odgm::triggers::Action;
use oprc::odgm::types::ObjectRef;
use oprc::odgm::{context, fields};

wit_bindgen::generate!({ path: ["../../../wit", "wit"], world: "test:mailer/mailer", generate_all });

struct Mailer;

fn now() -> Options {
    Options { due: Due::Now, key: None }
}

fn to(class: &str, id: &str) -> ObjectRef {
    ObjectRef { class: class.to_owned(), id: id.to_owned() }
}

fn number(n: u32) -> String {
    format!("{{\"n\": {n}}}")
}

fn text(value: Option<Vec<u8>>) -> String {
    value.map_or_else(|| "-".to_owned(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
}

impl Guest for Mailer {
    fn post(class: String, id: String, method: String, payload: String, delay: u64, key: Option<String>) {
        let due = if delay == 0 { Due::Now } else { Due::Delay(delay) };
        messages::send(&to(&class, &id), &method, payload.as_bytes(), &Options { due, key });
        fields::increment("sent", 1);
    }

    fn post_at(class: String, id: String, method: String, payload: String, at: u64, key: Option<String>) {
        messages::send(&to(&class, &id), &method, payload.as_bytes(), &Options { due: Due::At(at), key });
        fields::increment("sent", 1);
    }

    fn send_many(class: String, ids: Vec<String>, first: u32, count: u32) {
        for n in first..first + count {
            for id in &ids {
                messages::send(&to(&class, id), "note", number(n).as_bytes(), &now());
            }
        }
        fields::increment("sent", i64::from(count) * ids.len() as i64);
    }

    fn send_to_function(class: String, function: String, payload: String) {
        messages::send_to_function(&class, &function, payload.as_bytes(), &now());
    }

    fn cancel(key: String) -> bool {
        messages::cancel(&key)
    }

    fn send_and_fail(class: String, id: String) -> Result<(), String> {
        messages::send(&to(&class, &id), "note", number(1).as_bytes(), &now());
        Err("on purpose".to_owned())
    }

    fn note(n: u32) {
        let count = fields::increment("count", 1);
        fields::set(&format!("note/{count:06}"), n.to_string().as_bytes());
    }

    fn relay(n: u32, class: String, id: String) {
        Self::note(n);
        messages::send(&to(&class, &id), "note", number(n).as_bytes(), &now());
    }

    fn stubborn(n: u32) -> Result<(), String> {
        if fields::get("ok").is_none() {
            return Err("not yet".to_owned());
        }
        Self::note(n);
        Ok(())
    }

    fn record(event: Change) {
        let action = match event.action {
            Action::Create => "create",
            Action::Update => "update",
            Action::Delete => "delete",
            Action::Complete => "complete",
            Action::Error => "error",
        };
        let subject = event.key.or(event.method).unwrap_or_default();
        let line = format!(
            "{} {action} {subject} v{} {} {} {}",
            event.object,
            event.version,
            text(event.old),
            text(event.new),
            event.problem.unwrap_or_else(|| "-".to_owned()),
        );
        let count = fields::increment("count", 1);
        fields::set(&format!("event/{count:06}"), line.as_bytes());
    }

    fn bump() {
        fields::increment("n", 1);
    }

    fn tick(left: u32, delay: u64) {
        fields::increment("count", 1);
        if left == 0 {
            return;
        }
        let me = context::self_().expect("a method has an object");
        let payload = format!("{{\"left\": {}, \"delay\": {delay}}}", left - 1);
        let options = Options { due: Due::Delay(delay), key: Some("tick".to_owned()) };
        messages::send(&me, "tick", payload.as_bytes(), &options);
    }

    fn shout(text: String) {
        println!("shouted {text} in {}", context::invocation_id());
    }

    fn count() -> i64 {
        fields::get("count").map_or(0, |bytes| text(Some(bytes)).parse().expect("a number"))
    }
}

export!(Mailer);

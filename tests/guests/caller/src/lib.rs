//! Does what `wit/world.wit` says of each function.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use oprc::odgm::objects::{self, Error};
use oprc::odgm::types::ObjectRef;
use oprc::odgm::{context, fields};

wit_bindgen::generate!({ path: ["../../../wit", "wit"], world: "test:caller/caller", generate_all });

struct Caller;

fn told(called: Result<Vec<u8>, Error>) -> String {
    match called {
        Ok(result) => String::from_utf8_lossy(&result).into_owned(),
        Err(Error::Failed(error)) => format!("failed: {error}"),
        Err(Error::Problem(problem)) => problem.code,
    }
}

fn call(class: &str, id: &str, method: &str, payload: &str) -> String {
    let object = ObjectRef { class: class.to_owned(), id: id.to_owned() };
    told(objects::invoke(&object, method, payload.as_bytes()))
}

impl Guest for Caller {
    fn ask(class: String, id: String, method: String, payload: String) -> String {
        let told = call(&class, &id, &method, &payload);
        fields::increment("calls", 1);
        told
    }

    fn ask_only(class: String, id: String, method: String, payload: String) -> String {
        call(&class, &id, &method, &payload)
    }

    fn peek(class: String, id: String, method: String, payload: String) -> String {
        call(&class, &id, &method, &payload)
    }

    fn peek_function(class: String, function: String) -> String {
        told(objects::call(&class, &function, b""))
    }

    fn ask_function(class: String, function: String, payload: String) -> String {
        let told = told(objects::call(&class, &function, payload.as_bytes()));
        fields::increment("calls", 1);
        told
    }

    fn ask_and_fail(class: String, id: String, method: String, payload: String) -> Result<(), String> {
        Err(call(&class, &id, &method, &payload))
    }

    fn walk(class: String, path: Vec<String>) -> String {
        let Some((first, rest)) = path.split_first() else {
            fields::increment("calls", 1);
            return "1".to_owned();
        };
        let rest: Vec<String> = rest.iter().map(|id| format!("{id:?}")).collect();
        let payload = format!("{{\"class\": {class:?}, \"path\": [{}]}}", rest.join(", "));
        let told = call(&class, first, "walk", &payload);
        fields::increment("calls", 1);
        let told = told.trim_matches('"');
        told.parse::<u32>().map_or_else(|_| told.to_owned(), |count| (count + 1).to_string())
    }

    fn roll(class: String, id: String) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is set");
        let told = call(&class, &id, "add", &format!("{{\"by\": {}}}", now.as_nanos() % 1_000_000_000 + 1));
        fields::increment("calls", 1);
        told
    }

    fn add(by: i64) -> i64 {
        fields::increment("n", by)
    }

    fn value() -> i64 {
        let Some(n) = fields::get("n") else { return 0 };
        String::from_utf8(n).expect("text").parse().expect("a number")
    }

    fn refuse(code: u32) -> Result<(), Refusal> {
        fields::increment("n", 1);
        Err(Refusal { code })
    }

    fn explode() {
        fields::increment("n", 1);
        panic!("on purpose");
    }

    fn linger(ms: u64) {
        std::thread::sleep(Duration::from_millis(ms));
        fields::increment("n", 1);
    }

    fn who() -> String {
        context::invocation_id()
    }

    fn ask_after(class: String, id: String, third: String) -> String {
        call(&class, &third, "linger", "{\"ms\": 300}");
        fields::increment("calls", 1);
        call(&class, &id, "add", "{\"by\": 1}")
    }

    fn relay(class: String, id: String, method: String, payload: String) -> String {
        call(&class, &id, &method, &payload)
    }
}

export!(Caller);

//! A webhook: `POST .../http/{source}` with a header `x-delivery-id` is kept in the object of that source.
//!
//! The handler is a function, without an object: it may run more than once for one delivery, and whoever delivers tries
//! again when no answer comes. What must happen once happens in a method of an object, which notes each delivery by its id.

use exports::wasi::http::incoming_handler;
use oprc::odgm::fields;
use oprc::odgm::objects::{self, Error, ObjectRef};
use wasi::http::types::{
    Fields, IncomingBody, IncomingRequest, Method, OutgoingBody, OutgoingResponse, ResponseOutparam,
};
use wasi::io::streams::StreamError;

wit_bindgen::generate!({
    path: ["../wasi", "../../wit", "webhook.wit"],
    world: "example:webhook/webhook",
    generate_all,
});

/// The class under which this is deployed: its objects are called by it.
const CLASS: &str = "Webhook";
const COUNT: &str = "count";
const LAST: &str = "last";

struct Webhook;

/// What is answered: a status and a line of text.
type Answer = (u16, String);

impl incoming_handler::Guest for Webhook {
    fn handle(request: IncomingRequest, answer: ResponseOutparam) {
        let (status, text) = taken(&request).unwrap_or_else(|refused| refused);
        respond(answer, status, &text);
    }
}

fn taken(request: &IncomingRequest) -> Result<Answer, Answer> {
    let path = request.path_with_query().unwrap_or_default();
    let source = path.trim_start_matches('/');
    if source.is_empty() || source.contains(['/', '?']) {
        return Err((404, "deliver to /{source}\n".to_owned()));
    }
    if !matches!(request.method(), Method::Post) {
        return Err((405, "deliver with POST\n".to_owned()));
    }
    let ids = request.headers().get("x-delivery-id");
    let delivery = ids.first().and_then(|id| String::from_utf8(id.clone()).ok());
    let delivery = delivery.ok_or((400, "name the delivery in x-delivery-id\n".to_owned()))?;
    let text = body(request).ok_or((400, "deliver text\n".to_owned()))?;
    let object = ObjectRef { class: CLASS.to_owned(), id: source.to_owned() };
    match objects::invoke(&object, "receive", &arguments(&delivery, &text)) {
        Ok(count) => Ok((202, format!("{}\n", String::from_utf8_lossy(&count)))),
        Err(Error::Failed(why)) => Err((422, why)),
        Err(Error::Problem(problem)) if problem.code == "invalid" => Err((400, problem.detail)),
        Err(Error::Problem(problem)) => Err((502, problem.detail)),
    }
}

/// The two arguments as JSON text.
fn arguments(delivery: &str, text: &str) -> Vec<u8> {
    let quoted = |text: &str| {
        let escaped = text.chars().map(|c| match c {
            '"' => "\\\"".to_owned(),
            '\\' => "\\\\".to_owned(),
            c if u32::from(c) < 0x20 => format!("\\u{:04x}", u32::from(c)),
            c => c.to_string(),
        });
        format!("\"{}\"", escaped.collect::<String>())
    };
    format!("[{}, {}]", quoted(delivery), quoted(text)).into_bytes()
}

fn body(request: &IncomingRequest) -> Option<String> {
    let incoming = request.consume().ok()?;
    let stream = incoming.stream().ok()?;
    let mut bytes = Vec::new();
    let whole = loop {
        match stream.blocking_read(64 * 1024) {
            Ok(piece) => bytes.extend_from_slice(&piece),
            Err(StreamError::Closed) => break true,
            Err(StreamError::LastOperationFailed(_)) => break false,
        }
    };
    drop(stream);
    drop(IncomingBody::finish(incoming));
    String::from_utf8(bytes).ok().filter(|_| whole)
}

fn respond(answer: ResponseOutparam, status: u16, text: &str) {
    let response = OutgoingResponse::new(Fields::new());
    let _ = response.set_status_code(status);
    let Ok(body) = response.body() else { return };
    ResponseOutparam::set(answer, Ok(response));
    if let Ok(stream) = body.write() {
        let _ = stream.blocking_write_and_flush(&text.as_bytes()[..text.len().min(4096)]);
    }
    let _ = OutgoingBody::finish(body, None);
}

impl Guest for Webhook {
    fn receive(delivery: String, text: String) -> u64 {
        let seen = format!("delivery/{delivery}");
        if fields::get(&seen).is_none() {
            fields::set(&seen, text.as_bytes());
            fields::set(LAST, text.as_bytes());
            fields::increment(COUNT, 1);
        }
        count()
    }

    fn summary() -> Overview {
        let last = fields::get(LAST).and_then(|text| String::from_utf8(text).ok());
        Overview { count: count(), last }
    }
}

fn count() -> u64 {
    let text = fields::get(COUNT).and_then(|text| String::from_utf8(text).ok());
    text.and_then(|text| text.parse().ok()).unwrap_or_default()
}

export!(Webhook);

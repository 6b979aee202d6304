//! What the class serves: a path for each thing that a test wants to see.

use std::fmt::Write as _;
use std::time::Duration;

use crate::Wish;
use crate::oprc::odgm::context;
use crate::oprc::odgm::objects::{self, ObjectRef};
use crate::send;
use crate::wasi::http::types::{
    ErrorCode, Fields, IncomingBody, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

pub fn serve(request: IncomingRequest, answer: ResponseOutparam) {
    let path = request.path_with_query().unwrap_or_default();
    let bare = path.split('?').next().unwrap_or_default();
    let parts: Vec<&str> = bare.split('/').skip(1).collect();
    match parts.as_slice() {
        ["echo", ..] => echo(&request, answer),
        ["plain"] => {
            let kind = ("content-type".to_owned(), "application/octet-stream".to_owned());
            respond(answer, 200, &[kind], b"x");
        }
        ["headers"] => respond(answer, 200, &[], shown(&request).as_bytes()),
        ["status", status] => respond(answer, status.parse().unwrap(), &[], b""),
        ["big", bytes] => respond(answer, 200, &[], &vec![b'x'; bytes.parse().unwrap()]),
        ["fields", count, bytes] => {
            let value = "v".repeat(bytes.parse().unwrap());
            let fields: Vec<_> = (0..count.parse().unwrap()).map(|n| (format!("x-{n}"), value.clone())).collect();
            respond(answer, 200, &fields, b"");
        }
        ["slow", ms] => {
            std::thread::sleep(Duration::from_millis(ms.parse().unwrap()));
            respond(answer, 200, &[], b"");
        }
        ["who"] => respond(answer, 200, &[], who().as_bytes()),
        ["store", class, id] => store(&request, answer, class, id),
        ["relay"] => {
            let url = path.split_once("?").map(|(_, url)| url).unwrap_or_default();
            let wish = Wish {
                method: "GET".into(),
                url: url.into(),
                headers: vec![],
                body: String::new(),
                timeout_ms: None,
            };
            respond(answer, 200, &[], send::told(&wish).as_bytes());
        }
        ["trap"] => panic!("as asked"),
        ["after"] => {
            respond(answer, 200, &[], b"too soon");
            panic!("after the answer");
        }
        ["silent"] => drop(answer),
        ["gives-up"] => ResponseOutparam::set(answer, Err(ErrorCode::LoopDetected)),
        ["unfinished"] => unfinished(answer),
        _ => respond(answer, 404, &[], format!("nothing at {path}").as_bytes()),
    }
}

/// Method, path and host in headers; the body as it came.
fn echo(request: &IncomingRequest, answer: ResponseOutparam) {
    let body = body_of(request);
    let method = format!("{:?}", request.method());
    let fields = [
        ("x-method", method),
        ("x-path", request.path_with_query().unwrap_or_default()),
        ("x-authority", request.authority().unwrap_or_default()),
        ("x-scheme", format!("{:?}", request.scheme())),
        ("content-type", "application/octet-stream".to_owned()),
    ];
    let fields: Vec<_> = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    respond(answer, 200, &fields, &body);
}

fn body_of(request: &IncomingRequest) -> Vec<u8> {
    let incoming = request.consume().unwrap();
    let stream = incoming.stream().unwrap();
    let mut body = Vec::new();
    send::drain(&stream, |piece| body.extend_from_slice(piece)).unwrap();
    drop(stream);
    drop(IncomingBody::finish(incoming));
    body
}

fn shown(request: &IncomingRequest) -> String {
    let mut text = String::new();
    for (name, value) in request.headers().entries() {
        let _ = writeln!(text, "{name}: {}", String::from_utf8_lossy(&value));
    }
    text
}

fn who() -> String {
    let headers: Vec<_> = context::headers().into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    let object = context::self_().map(|object| object.id);
    format!(
        "{:?} {:?} {} {} {}",
        context::caller(),
        object,
        context::method(),
        context::invocation_id(),
        headers.join(",")
    )
}

/// Puts the body into the field `body` of an object.
fn store(request: &IncomingRequest, answer: ResponseOutparam, class: &str, id: &str) {
    let object = ObjectRef { class: class.to_owned(), id: id.to_owned() };
    let body = String::from_utf8(body_of(request)).unwrap();
    match objects::invoke(&object, "put", format!("[\"body\", {body:?}]").as_bytes()) {
        Ok(_) => respond(answer, 201, &[("location".to_owned(), format!("/objects/{id}"))], b""),
        Err(error) => respond(answer, 502, &[], format!("{error:?}").as_bytes()),
    }
}

fn unfinished(answer: ResponseOutparam) {
    let fields = Fields::from_list(&[("content-length".to_owned(), b"10".to_vec())]).unwrap();
    let response = OutgoingResponse::new(fields);
    let body = response.body().unwrap();
    ResponseOutparam::set(answer, Ok(response));
    let stream = body.write().unwrap();
    let _ = stream.blocking_write_and_flush(b"half");
    drop(stream);
    drop(body);
}

fn respond(answer: ResponseOutparam, status: u16, fields: &[(String, String)], bytes: &[u8]) {
    let fields: Vec<_> =
        fields.iter().map(|(name, value)| (name.clone(), value.clone().into_bytes())).collect();
    let response = OutgoingResponse::new(Fields::from_list(&fields).unwrap());
    response.set_status_code(status).unwrap();
    let body = response.body().unwrap();
    ResponseOutparam::set(answer, Ok(response));
    let stream = body.write().unwrap();
    for piece in bytes.chunks(4096) {
        if stream.blocking_write_and_flush(piece).is_err() {
            return;
        }
    }
    drop(stream);
    let _ = OutgoingBody::finish(body, None);
}

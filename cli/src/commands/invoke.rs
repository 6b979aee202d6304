//! `oprc invoke`: calls a method of an object or a function of a class, and prints its result.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};

use crate::address::Source;
use crate::args::{Format, InvokeArgs};
use crate::client::{Answer, Client, JSON, OCTETS};
use crate::commands::input;
use crate::failure::Failure;
use crate::output;

pub(crate) async fn run(args: InvokeArgs) -> Result<(), Failure> {
    let client = Client::new(&args.client.server)?;
    let (class, method) = (args.address.class.as_str(), args.method.as_str());
    let media = if args.raw { OCTETS } else { JSON };
    let request = match &args.address.object {
        Some(object) => {
            let path = ["classes", class, "objects", object.as_str(), "invoke", method];
            client.request_as(Method::POST, &path, media)
        }
        None => client.request_as(Method::POST, &["classes", class, "functions", method], media),
    };
    let mut request = request.header(CONTENT_TYPE, media);
    if let Some(key) = &args.idempotency_key {
        request = request.header("Idempotency-Key", key);
    }
    if let Some(timeout) = args.timeout {
        request = request.header("X-Request-Timeout-Ms", timeout.as_millis().max(1).to_string());
    }
    if let Some(payload) = args.payload.as_deref() {
        request = request.body(input::read(Source::payload(payload))?);
    }
    let answer = client.send(request).await?;
    match args.client.output {
        Format::Json => output::json(&result(&answer)),
        Format::Table if answer.is_json() => output::line(&String::from_utf8_lossy(&answer.body)),
        Format::Table => output::raw(&answer.body),
    }
}

/// The result as one JSON value: null for none, `$base64` for bytes.
fn result(answer: &Answer) -> Value {
    if answer.is_json() {
        return answer.document();
    }
    match answer.body.as_ref() {
        [] => Value::Null,
        bytes => json!({ "$base64": STANDARD.encode(bytes) }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use bytes::Bytes;
    use reqwest::StatusCode;
    use reqwest::header::HeaderMap;

    fn answer(media: &str, body: &'static [u8]) -> Answer {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, media.parse().unwrap())]);
        Answer { status: StatusCode::OK, headers, body: Bytes::from_static(body) }
    }

    #[test]
    fn every_result_is_one_json_value() {
        assert_eq!(result(&answer(JSON, b"5")), json!(5));
        assert_eq!(result(&answer(OCTETS, &[0, 255])), json!({ "$base64": "AP8=" }));
        let nothing =
            Answer { status: StatusCode::NO_CONTENT, headers: HeaderMap::new(), body: Bytes::new() };
        assert_eq!(result(&nothing), Value::Null);
    }
}

//! `oprc invoke`: calls a method of an object or a function of a class, and prints its result.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};

use crate::address::Source;
use crate::args::{Format, InvokeArgs};
use crate::client::{Client, JSON, OCTETS};
use crate::commands::{input, invocation};
use crate::failure::Failure;
use crate::output;

pub(crate) async fn run(args: InvokeArgs) -> Result<(), Failure> {
    let client = Client::new(&args.client)?;
    let (class, method) = (args.address.class.as_str(), args.method.as_str());
    let media = if args.raw { OCTETS } else { JSON };
    let request = match &args.address.object {
        Some(object) => {
            let path = ["classes", class, "objects", object.as_str(), "invoke", method];
            client.request_as(Method::POST, &path, media)
        }
        None => client.request_as(Method::POST, &["classes", class, "functions", method], media),
    };
    let mut request = request.query(args.consistency.query().as_slice()).header(CONTENT_TYPE, media);
    if let Some(key) = &args.idempotency_key {
        request = request.header("Idempotency-Key", key);
    }
    if let Some(timeout) = args.timeout {
        request = request.header("X-Request-Timeout-Ms", timeout.as_millis().max(1).to_string());
    }
    if args.later {
        request = request.header("Prefer", "respond-async");
    }
    if let Some(payload) = args.payload.as_deref() {
        request = request.body(input::read(Source::payload(payload))?);
    }
    let answer = client.send(request).await?;
    if args.later {
        return invocation::accepted(&client, args.client.output, &answer);
    }
    output::note_staleness(args.client.output, args.consistency, &answer);
    match args.client.output {
        Format::Table if !answer.is_json() => output::raw(&answer.body),
        Format::Json if !answer.is_json() && !answer.body.is_empty() => {
            output::json(&bytes_form(&answer.body))
        }
        Format::Table | Format::Json => output::json_text(&answer.body),
    }
}

/// Bytes as one JSON value.
fn bytes_form(bytes: &[u8]) -> Value {
    json!({ "$base64": STANDARD.encode(bytes) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_one_json_value_too() {
        assert_eq!(bytes_form(&[0, 255]), json!({ "$base64": "AP8=" }));
    }
}

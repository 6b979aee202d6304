//! `oprc set`: sets fields of an object, all in one turn.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Map, Value, json};

use crate::address::{Assignment, ObjectAddress};
use crate::args::{Format, SetArgs};
use crate::client::{Client, JSON};
use crate::commands::input;
use crate::failure::Failure;
use crate::output;

pub(crate) async fn run(args: SetArgs) -> Result<(), Failure> {
    let client = Client::new(&args.client)?;
    let ObjectAddress { class, object } = &args.address;
    let fields = document(args.assignments)?;
    let request = client
        .request(Method::PATCH, &["classes", class.as_str(), "objects", object.as_str()])
        .header(CONTENT_TYPE, JSON)
        .body(json!({ "fields": fields }).to_string());
    let answer = client.send(request).await?;
    match args.client.output {
        Format::Table => Ok(()),
        Format::Json => output::json_text(&answer.body),
    }
}

/// The fields in the forms that keep exactly the bytes that were given.
fn document(assignments: Vec<Assignment>) -> Result<Map<String, Value>, Failure> {
    let mut fields = Map::new();
    for Assignment { field, value } in assignments {
        let bytes = input::read(value)?;
        let form = match std::str::from_utf8(&bytes) {
            Ok(text) => json!({ "$text": text }),
            Err(_) => json!({ "$base64": STANDARD.encode(&bytes) }),
        };
        if fields.insert(field.as_str().to_owned(), form).is_some() {
            return Err(Failure::Usage(format!("field {:?} is set twice", field.as_str())));
        }
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn assignments(texts: &[&str]) -> Vec<Assignment> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn values_are_stored_as_they_stand() {
        let fields = document(assignments(&["count=5", "name=\"x\"", "empty="])).unwrap();
        let expected =
            json!({ "count": { "$text": "5" }, "name": { "$text": "\"x\"" }, "empty": { "$text": "" } });
        assert_eq!(Value::Object(fields), expected);
    }

    #[test]
    fn a_field_is_set_once() {
        assert!(matches!(document(assignments(&["a=1", "a=2"])), Err(Failure::Usage(_))));
    }
}

//! `oprc get`: an object as JSON, or one field's bytes.

use oprc_mesh::id::FieldKey;
use reqwest::Method;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::address::ObjectAddress;
use crate::args::{Format, GetArgs};
use crate::client::{Client, OCTETS};
use crate::commands::classes::Page;
use crate::failure::Failure;
use crate::output;

pub(crate) async fn run(args: GetArgs) -> Result<(), Failure> {
    let client = Client::new(&args.client)?;
    let ObjectAddress { class, object } = &args.address;
    let object = ["classes", class.as_str(), "objects", object.as_str()];
    let query = args.consistency.query();
    let Some(field) = &args.field else {
        let answer = client.get(&object, query.as_slice()).await?;
        output::note_staleness(args.client.output, args.consistency, &answer);
        return output::json_text(&answer.body);
    };
    let path = field_path(&object, field)?;
    let request = client.request_as(Method::GET, &path, OCTETS).query(query.as_slice());
    let answer = client.send(request).await?;
    output::note_staleness(args.client.output, args.consistency, &answer);
    match args.client.output {
        Format::Table => output::raw(&answer.body),
        Format::Json => output::json(&form(&client, &object, field, query).await?),
    }
}

/// The path of a field. A URL cannot name one called `.` or `..`: every client folds those away.
pub(crate) fn field_path<'a>(object: &[&'a str; 4], field: &'a FieldKey) -> Result<[&'a str; 6], Failure> {
    if matches!(field.as_str(), "." | "..") {
        let reason = format!(
            "a field called {field} has no URL of its own; use `oprc get` or `oprc set` on the object"
        );
        return Err(Failure::Usage(reason));
    }
    let [a, b, c, d] = *object;
    Ok([a, b, c, d, "fields", field.as_str()])
}

/// The field's value in the form that it has within its object's JSON: the first with its key as the prefix.
async fn form(
    client: &Client,
    object: &[&str; 4],
    field: &FieldKey,
    consistency: Option<(&str, &str)>,
) -> Result<Box<RawValue>, Failure> {
    #[derive(Deserialize)]
    struct Item {
        value: Box<RawValue>,
    }
    let path = [&object[..], &["fields"]].concat();
    let mut query = vec![("prefix", field.as_str()), ("limit", "1")];
    query.extend(consistency);
    let answer = client.get(&path, &query).await?;
    let page: Page = client.understand(&answer.body)?;
    // it may have gone since its bytes were read
    let item = page.items.first().map_or("{\"value\":null}", |item| item.get());
    Ok(client.understand::<Item>(item.as_bytes())?.value)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_field_that_has_no_url_is_refused() {
        let object = ["classes", "A", "objects", "b"];
        let path = |key| field_path(&object, &FieldKey::parse(key).unwrap()).is_ok();
        assert!(path("count") && path("...") && path("a/.."));
        assert!(!path(".") && !path(".."));
    }
}

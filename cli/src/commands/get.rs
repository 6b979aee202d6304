//! `oprc get`: an object as JSON, or one field's bytes.

use oprc_mesh::id::FieldKey;
use reqwest::Method;
use serde_json::Value;

use crate::address::ObjectAddress;
use crate::args::{Format, GetArgs};
use crate::client::{Client, OCTETS};
use crate::commands::classes::Page;
use crate::failure::Failure;
use crate::output;

pub(crate) async fn run(args: GetArgs) -> Result<(), Failure> {
    let client = Client::new(&args.client.server)?;
    let ObjectAddress { class, object } = &args.address;
    let object = ["classes", class.as_str(), "objects", object.as_str()];
    let Some(field) = &args.field else {
        return output::json(&client.get_json::<Value>(&object, &[]).await?);
    };
    let path = field_path(&object, field)?;
    let bytes = client.send(client.request_as(Method::GET, &path, OCTETS)).await?.body;
    match args.client.output {
        Format::Table => output::raw(&bytes),
        Format::Json => output::json(&form(&client, &object, field).await?),
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
async fn form(client: &Client, object: &[&str; 4], field: &FieldKey) -> Result<Value, Failure> {
    let path = [&object[..], &["fields"]].concat();
    let page: Page = client.get_json(&path, &[("prefix", field.as_str()), ("limit", "1")]).await?;
    Ok(page.items.into_iter().next().map(|mut item| item["value"].take()).unwrap_or_default())
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

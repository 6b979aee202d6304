//! `oprc classes`, `oprc describe`, `oprc versions`.

use std::fmt::Write as _;

use oprc_mesh::clock::now_ms;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::args::{ClassArgs, ClientArgs, Format};
use crate::client::Client;
use crate::failure::Failure;
use crate::output;

/// Digits of a digest that tell components apart in a table.
const DIGEST_DIGITS: usize = 12;

/// A class in a listing or a history.
#[derive(Debug, Deserialize)]
struct Entry {
    #[serde(rename = "class")]
    name: String,
    version: u64,
    digest: String,
    deployed_at_ms: u64,
    canary: Option<Canary>,
}

/// Other code that serves a share of a class's objects.
#[derive(Debug, Deserialize)]
struct Canary {
    version: u64,
    digest: String,
    /// In percent.
    share: u32,
    deployed_at_ms: u64,
}

/// A class in full; what only programs need stays in the document.
#[derive(Debug, Deserialize)]
struct Description {
    #[serde(flatten)]
    entry: Entry,
    grid: String,
    limits: Map<String, Value>,
    #[serde(default)]
    http_origins: Vec<String>,
    #[serde(default)]
    http_networks: Vec<String>,
    #[serde(flatten)]
    methods: Methods,
}

/// The methods of a class, as descriptions and deployments tell them.
#[derive(Debug, Deserialize)]
pub(crate) struct Methods {
    #[serde(default)]
    generic: bool,
    #[serde(default)]
    serves_http: bool,
    #[serde(rename = "methods")]
    listed: Vec<Method>,
}

#[derive(Debug, Deserialize)]
struct Method {
    signature: String,
    readonly: bool,
}

/// A page of a listing.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Page {
    pub(crate) items: Vec<Box<RawValue>>,
    pub(crate) next: Option<String>,
}

impl Methods {
    /// The methods with their signatures, and what stands in their place.
    pub(crate) fn table(&self) -> String {
        let kind = |method: &Method| if method.readonly { "read-only" } else { "" }.to_owned();
        let rows = self.listed.iter().map(|method| [method.signature.clone(), kind(method)]);
        let mut parts = Vec::new();
        if !self.listed.is_empty() {
            parts.push(output::table(["method", ""], rows));
        }
        // older servers do not say it
        if self.generic || self.listed.is_empty() && !self.serves_http {
            parts.push("any method goes to its handler".to_owned());
        }
        if self.serves_http {
            parts.push("requests below /api/v1/classes/.../http go to its HTTP handler".to_owned());
        }
        parts.join("\n\n")
    }
}

impl Entry {
    /// As lines of a table: the class, and its canary below it.
    fn rows(self) -> impl Iterator<Item = [String; 4]> {
        let short = |digest: String| digest.chars().take(DIGEST_DIGITS).collect();
        let canary = self.canary.map(|canary| {
            let version = format!("{} (canary {}%)", canary.version, canary.share);
            [self.name.clone(), version, short(canary.digest), age(canary.deployed_at_ms)]
        });
        let itself = [self.name, self.version.to_string(), short(self.digest), age(self.deployed_at_ms)];
        std::iter::once(itself).chain(canary)
    }
}

impl Description {
    fn text(&self) -> String {
        let Entry { name, version, digest, deployed_at_ms, canary } = &self.entry;
        let canary = canary.as_ref().map(|canary| {
            let Canary { version, digest, share, deployed_at_ms } = canary;
            format!(
                "canary     version {version} for {share}%, deployed {} ago: {digest}\n",
                age(*deployed_at_ms)
            )
        });
        let limits: Vec<_> = self.limits.iter().map(|(key, value)| format!("{key} {value}")).collect();
        let mut text = format!(
            "{name} version {version}, deployed {} ago\ncomponent  {digest}\n{}grid       {}\nlimits     {}\n",
            age(*deployed_at_ms),
            canary.unwrap_or_default(),
            self.grid,
            limits.join(", "),
        );
        for (name, allowed) in [("http to", &self.http_origins), ("networks", &self.http_networks)] {
            if !allowed.is_empty() {
                let _ = writeln!(text, "{name:<11}{}", allowed.join(", ")); // writing to a String cannot fail
            }
        }
        text + "\n" + &self.methods.table()
    }
}

pub(crate) async fn list(args: ClientArgs) -> Result<(), Failure> {
    let client = Client::new(&args)?;
    let page = all(&client, &["classes"]).await?;
    show(&client, args.output, &page)?;
    if page.items.is_empty() && args.output == Format::Table {
        eprintln!("nothing is deployed yet: `oprc new` makes a project, `oprc deploy` uploads a component");
    }
    Ok(())
}

pub(crate) async fn versions(args: ClassArgs) -> Result<(), Failure> {
    let client = Client::new(&args.client)?;
    let page = all(&client, &["classes", args.class.as_str(), "versions"]).await?;
    show(&client, args.client.output, &page)
}

pub(crate) async fn describe(args: ClassArgs) -> Result<(), Failure> {
    let client = Client::new(&args.client)?;
    let answer = client.get(&["classes", args.class.as_str()], &[]).await?;
    match args.client.output {
        Format::Json => output::json_text(&answer.body),
        Format::Table => output::line(&client.understand::<Description>(&answer.body)?.text()),
    }
}

/// Every page of a listing of classes or versions: there are as many as people deployed.
async fn all(client: &Client, path: &[&str]) -> Result<Page, Failure> {
    let mut all = Page { items: Vec::new(), next: None };
    loop {
        let cursor = all.next.take();
        let query: Vec<_> = cursor.as_deref().map(|cursor| ("cursor", cursor)).into_iter().collect();
        let page: Page = client.understand(&client.get(path, &query).await?.body)?;
        all.items.extend(page.items);
        all.next = page.next;
        if all.next.is_none() {
            return Ok(all);
        }
    }
}

fn show(client: &Client, format: Format, page: &Page) -> Result<(), Failure> {
    if format == Format::Json {
        return output::json(page);
    }
    let mut rows = Vec::new();
    for item in &page.items {
        rows.extend(client.understand::<Entry>(item.get().as_bytes())?.rows());
    }
    output::line(&output::table(["class", "version", "component", "age"], rows))
}

/// How long ago something was, by this machine's clock.
pub(crate) fn age(at_ms: u64) -> String {
    span((now_ms() / 1_000).saturating_sub(at_ms / 1_000))
}

/// A time in the largest unit of which it is at least two.
pub(crate) fn span(seconds: u64) -> String {
    let units = [(86_400, 'd'), (3_600, 'h'), (60, 'm')];
    let unit = units.into_iter().find(|(length, _)| seconds >= 2 * length);
    unit.map_or_else(|| format!("{seconds}s"), |(length, name)| format!("{}{name}", seconds / length))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn a_class_is_told_with_its_methods() {
        let description: Description = serde_json::from_value(json!({
            "class": "Counter", "version": 2, "digest": "ba7816bf", "deployed_at_ms": 0, "grid": "default",
            "generic": false, "readonly": ["value"], "limits": { "cpu_ms": 500, "wall_ms": 5000 },
            "methods": [{ "name": "increment", "signature": "increment: func(by: u64) -> u64", "readonly": false },
                        { "name": "value", "signature": "value: func() -> u64", "readonly": true }] }))
        .unwrap();
        let text = description.text();
        assert!(text.starts_with("Counter version 2, deployed "), "{text}");
        assert!(text.contains("\nlimits     cpu_ms 500, wall_ms 5000\n"), "{text}");
        let methods =
            "\n\nmethod\nincrement: func(by: u64) -> u64\nvalue: func() -> u64             read-only";
        assert!(text.ends_with(methods), "{text}");
    }

    #[test]
    fn a_canary_is_told_with_its_class() {
        let mut entry =
            json!({ "class": "Counter", "version": 3, "digest": "ba7816bf8f01cfea", "deployed_at_ms": 0 });
        let rows = |entry: &serde_json::Value| -> Vec<_> {
            serde_json::from_value::<Entry>(entry.clone())
                .unwrap()
                .rows()
                .map(|row| row[..3].join(" "))
                .collect()
        };
        assert_eq!(rows(&entry), ["Counter 3 ba7816bf8f01"]);
        entry["canary"] =
            json!({ "version": 4, "digest": "cafe00000000beef", "share": 10, "deployed_at_ms": 0 });
        assert_eq!(rows(&entry), ["Counter 3 ba7816bf8f01", "Counter 4 (canary 10%) cafe00000000"]);
        let more = json!({ "grid": "default", "limits": {}, "methods": [] });
        entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let text = serde_json::from_value::<Description>(entry).unwrap().text();
        assert!(text.contains("\ncanary     version 4 for 10%, deployed "), "{text}");
        assert!(text.contains(" ago: cafe00000000beef\ngrid       default\n"), "{text}");
    }

    #[test]
    fn a_class_without_methods_takes_any() {
        let told = |generic, serves_http| Methods { generic, serves_http, listed: Vec::new() }.table();
        let handler = "any method goes to its handler";
        assert_eq!((told(true, false).as_str(), told(false, false).as_str()), (handler, handler));
        let http = "requests below /api/v1/classes/.../http go to its HTTP handler";
        assert_eq!((told(false, true), told(true, true)), (http.to_owned(), format!("{handler}\n\n{http}")));
    }

    #[test]
    fn ages_are_short() {
        for (seconds, text) in [(0, "0s"), (119, "119s"), (120, "2m"), (7_200, "2h"), (172_800, "2d")] {
            assert_eq!(span(seconds), text);
        }
    }
}

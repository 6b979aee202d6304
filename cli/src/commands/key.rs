//! `oprc key`: keys of those who may use the cluster.

use std::fmt;
use std::time::Duration;

use oprc_mesh::access::Token;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::args::{ClientArgs, CreateKeyArgs, Format, KeyArgs, KeyWish, RevokeKeyArgs, RotateKeyArgs};
use crate::client::Client;
use crate::commands::classes::{age, span};
use crate::failure::Failure;
use crate::output;

#[derive(Debug, Deserialize, Serialize)]
struct Keys {
    items: Vec<Key>,
    next: Option<String>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Key {
    name: String,
    scopes: Vec<String>,
    created_at_ms: u64,
    expires_at_ms: Option<u64>,
    /// Servers of before there were any tell nothing.
    #[serde(default)]
    limits: Limits,
    tokens: Vec<TokenShown>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Limits {
    #[serde(skip_serializing_if = "Option::is_none")]
    calls_per_s: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    burst: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    concurrency: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_kib: Option<u64>,
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = self.calls_per_s.map(|calls| match self.burst {
            Some(burst) => format!("{calls}/s (burst {burst})"),
            None => format!("{calls}/s"),
        });
        let concurrency = self.concurrency.map(|calls| format!("{calls} at once"));
        let payload = self.payload_kib.map(|kib| format!("{kib} KiB"));
        let said: Vec<_> = [rate, concurrency, payload].into_iter().flatten().collect();
        f.write_str(if said.is_empty() { "none" } else { "" })?;
        f.write_str(&said.join(", "))
    }
}

#[derive(Debug, Deserialize, Serialize)]
struct TokenShown {
    id: String,
    until_ms: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Made {
    token: String,
}

pub(crate) async fn run(args: KeyArgs) -> Result<(), Failure> {
    match args.wish {
        KeyWish::Create(args) => create(args).await,
        KeyWish::Ls(client) => list(client).await,
        KeyWish::Rotate(args) => rotate(args).await,
        KeyWish::Revoke(args) => revoke(args).await,
        KeyWish::Token => output::line(new_token()?.reveal()),
    }
}

/// A token that nobody knows yet.
pub(crate) fn new_token() -> Result<Token, Failure> {
    let failed = |error| Failure::role("getting random numbers from the system", error);
    oprc_gateway::new_token().map_err(failed)
}

async fn create(args: CreateKeyArgs) -> Result<(), Failure> {
    let client = Client::new(&args.client)?;
    let body = json!({
        "name": args.name.as_str(),
        "scopes": args.scopes,
        "expires_in_s": args.expires_in.map(|time| time.as_secs()),
        "limits": Limits {
            calls_per_s: args.rate,
            burst: args.burst,
            concurrency: args.concurrency,
            payload_kib: args.payload_kib,
        },
    });
    let answer = client.send(client.request(Method::POST, &["keys"]).json(&body)).await?;
    show_token(&client, &args.client, &answer.body)
}

async fn rotate(args: RotateKeyArgs) -> Result<(), Failure> {
    let client = Client::new(&args.client)?;
    let body = json!({ "grace_s": args.grace.as_ref().map_or(0, Duration::as_secs) });
    let path = ["keys", args.name.as_str(), "rotate"];
    let answer = client.send(client.request(Method::POST, &path).json(&body)).await?;
    show_token(&client, &args.client, &answer.body)
}

/// The token alone on standard output, so that it can go into a file or a variable.
fn show_token(client: &Client, args: &ClientArgs, body: &[u8]) -> Result<(), Failure> {
    match args.output {
        Format::Json => output::json_text(body),
        Format::Table => {
            let made: Made = client.understand(body)?;
            eprintln!("this token is shown once; clients send it as OPRC_KEY or `Authorization: Bearer`:");
            output::line(&made.token)
        }
    }
}

async fn list(args: ClientArgs) -> Result<(), Failure> {
    let client = Client::new(&args)?;
    let keys: Keys = client.understand(&client.get(&["keys"], &[]).await?.body)?;
    if args.output == Format::Json {
        return output::json(&keys);
    }
    let rows = keys.items.iter().map(|key| {
        let expires = key.expires_at_ms.map_or_else(|| "never".to_owned(), left);
        let tokens: Vec<_> = key.tokens.iter().map(|token| token.id.as_str()).collect();
        let limits = key.limits.to_string();
        [key.name.clone(), key.scopes.join(" "), limits, age(key.created_at_ms), expires, tokens.join(" ")]
    });
    output::line(&output::table(
        ["name", "scopes", "limits", "age", "expires", "tokens"],
        rows.collect::<Vec<_>>(),
    ))
}

/// How long it is until then.
fn left(at_ms: u64) -> String {
    match at_ms.checked_sub(oprc_mesh::clock::now_ms()) {
        None | Some(0) => "expired".to_owned(),
        Some(ms) => format!("in {}", span(ms.div_ceil(1_000))),
    }
}

async fn revoke(args: RevokeKeyArgs) -> Result<(), Failure> {
    let client = Client::new(&args.client)?;
    client.send(client.request(Method::DELETE, &["keys", args.name.as_str()])).await?;
    match args.client.output {
        Format::Table => output::line(&format!("{}: revoked", args.name)),
        Format::Json => output::json(&json!({ "name": args.name.as_str() })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_shown_as_they_are_said() {
        let limits =
            Limits { calls_per_s: Some(100), burst: Some(200), concurrency: Some(20), payload_kib: Some(64) };
        assert_eq!(limits.to_string(), "100/s (burst 200), 20 at once, 64 KiB");
        assert_eq!(Limits { calls_per_s: Some(5), ..Limits::default() }.to_string(), "5/s");
        assert_eq!(Limits::default().to_string(), "none");
    }
}

//! `oprc dead`: messages that are tried no more.

use reqwest::Method;
use serde::Deserialize;

use crate::args::{DeadArgs, DeadWish, Format};
use crate::client::Client;
use crate::commands::classes::{Page, age};
use crate::failure::Failure;
use crate::output;

/// Letters that are shown, at the most.
const SHOWN_MAX: usize = 1_000;

#[derive(Debug, Deserialize)]
struct Letter {
    id: String,
    object: Option<String>,
    method: String,
    sender: Option<Sender>,
    attempts: u32,
    problem: Problem,
    dead_at_ms: u64,
}

#[derive(Debug, Deserialize)]
struct Sender {
    class: String,
    object: String,
}

#[derive(Debug, Deserialize)]
struct Problem {
    code: String,
    detail: String,
}

#[derive(Debug, Deserialize)]
struct Changed {
    count: u64,
}

pub(crate) async fn run(args: DeadArgs) -> Result<(), Failure> {
    let client = Client::new(&args.client)?;
    match args.wish {
        DeadWish::Ls => list(&client, &args).await,
        DeadWish::Retry => change(&client, &args, "retry", "tried again").await,
        DeadWish::Purge => change(&client, &args, "purge", "forgotten").await,
    }
}

async fn list(client: &Client, args: &DeadArgs) -> Result<(), Failure> {
    let path = ["classes", args.class.as_str(), "dead-letters"];
    let mut all = Page { items: Vec::new(), next: None };
    loop {
        let cursor = all.next.take();
        let query: Vec<_> = cursor.as_deref().map(|cursor| ("cursor", cursor)).into_iter().collect();
        let page: Page = client.understand(&client.get(&path, &query).await?.body)?;
        all.items.extend(page.items);
        all.next = page.next;
        if all.next.is_none() || all.items.len() >= SHOWN_MAX {
            break;
        }
    }
    if args.client.output == Format::Json {
        return output::json(&all);
    }
    let mut rows = Vec::new();
    for item in &all.items {
        let letter: Letter = client.understand(item.get().as_bytes())?;
        if args.ids.is_empty() || args.ids.contains(&letter.id) {
            rows.push(row(letter));
        }
    }
    output::line(&output::table(["id", "for", "from", "attempts", "age", "problem"], rows))?;
    if all.next.is_some() {
        eprintln!("more follow: these are the first {SHOWN_MAX}");
    }
    Ok(())
}

fn row(letter: Letter) -> [String; 6] {
    let target = match &letter.object {
        Some(object) => format!("{object}.{}", letter.method),
        None => letter.method.clone(),
    };
    let sender = letter
        .sender
        .map_or_else(|| "(a client)".to_owned(), |sender| format!("{}/{}", sender.class, sender.object));
    let problem = format!("{}: {}", letter.problem.code, letter.problem.detail);
    [letter.id, target, sender, letter.attempts.to_string(), age(letter.dead_at_ms), problem]
}

async fn change(client: &Client, args: &DeadArgs, wish: &str, done: &str) -> Result<(), Failure> {
    let path = ["classes", args.class.as_str(), "dead-letters", wish];
    let ids: Vec<_> = args.ids.iter().map(|id| ("id", id.as_str())).collect();
    let answer = client.send(client.request(Method::POST, &path).query(&ids)).await?;
    match args.client.output {
        Format::Json => output::json_text(&answer.body),
        Format::Table => {
            let Changed { count } = client.understand(&answer.body)?;
            let letters = if count == 1 { "message" } else { "messages" };
            output::line(&format!("{count} {letters} {done}"))
        }
    }
}

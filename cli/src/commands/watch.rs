//! `oprc watch`: live events of an object or a class. A stream that breaks is taken up where it was, again and again.

use std::time::Duration;

use serde::Deserialize;
use tokio::time::sleep;

use crate::args::{Format, WatchArgs};
use crate::client::{Block, Client};
use crate::failure::Failure;
use crate::output;

/// The pause before a stream that broke is taken up.
const PAUSE: Duration = Duration::from_secs(1);

pub(crate) async fn run(args: WatchArgs) -> Result<(), Failure> {
    if args.prefix.is_some() && args.address.object.is_some() {
        return Err(Failure::Usage("--prefix is for a class: it names the beginnings of ids".into()));
    }
    let client = Client::streaming(&args.client)?;
    let mut progress = Progress { last: args.since.clone(), left: args.limit };
    let mut begun = false;
    loop {
        match once(&client, &args, &mut progress, &mut begun).await {
            Ok(None) => return Ok(()),
            Ok(Some(why)) => eprintln!("{why}; going on"),
            // a server that was there may come back, and one that is overloaded will have room
            Err(failure) if begun && failure.may_pass() => eprintln!("{failure}; trying again"),
            Err(failure) => return Err(failure),
        }
        sleep(PAUSE).await;
    }
}

struct Progress {
    /// Where to go on.
    last: Option<String>,
    /// How many events are still wanted.
    left: Option<u64>,
}

impl Progress {
    /// Takes note of a block that was shown; whether there were enough.
    fn take(&mut self, block: Block) -> bool {
        self.last = block.id.or(self.last.take());
        if block.data.is_empty() || block.name == "gap" {
            return false;
        }
        self.left = self.left.map(|left| left - 1);
        self.left == Some(0)
    }
}

/// Follows one stream until there were enough events, or to its end: then why.
async fn once(
    client: &Client,
    args: &WatchArgs,
    progress: &mut Progress,
    begun: &mut bool,
) -> Result<Option<String>, Failure> {
    let class = args.address.class.as_str();
    let path = match &args.address.object {
        Some(object) => vec!["classes", class, "objects", object.as_str(), "events"],
        None => vec!["classes", class, "events"],
    };
    let since = progress.last.clone();
    let mut query = Vec::new();
    query.extend(args.prefix.as_ref().map(|prefix| ("prefix", prefix.as_str())));
    query.extend(args.keys.as_ref().map(|keys| ("keys", keys.as_str())));
    query.extend(since.as_deref().map(|since| ("since", since)));
    let announce = || {
        if !std::mem::replace(begun, true) && args.client.output == Format::Table {
            eprintln!("watching {}", args.address);
        }
    };
    let take = |block: Block| {
        if !block.data.is_empty() {
            print(client, args.client.output, &block)?;
        }
        Ok(progress.take(block))
    };
    client.follow(&path, &query, announce, take).await
}

fn print(client: &Client, form: Format, block: &Block) -> Result<(), Failure> {
    match (form, block.name.as_str()) {
        // one document a line, whoever looks on
        (Format::Json, _) => output::line(&block.data),
        (Format::Table, "gap") => {
            let gap: Missed = client.understand(block.data.as_bytes())?;
            output::line(&format!("(events are missing here: {})", gap.reason))
        }
        (Format::Table, _) => {
            let event: Event<'_> = client.understand_borrowed(&block.data)?;
            output::line(&event.line())
        }
    }
}

#[derive(Deserialize)]
struct Missed {
    reason: String,
}

/// An event, as far as people see it.
#[derive(Deserialize)]
struct Event<'a> {
    class: String,
    object: String,
    version: u64,
    action: String,
    changes: Vec<Change>,
    #[serde(default)]
    unlisted: u64,
    #[serde(borrow)]
    emitted: Vec<Emitted<'a>>,
}

#[derive(Deserialize)]
struct Change {
    key: String,
    action: String,
}

#[derive(Deserialize)]
struct Emitted<'a> {
    topic: String,
    #[serde(borrow)]
    payload: &'a serde_json::value::RawValue,
}

impl Event<'_> {
    /// One line: `Counter/alice 3 update +new ~changed -gone topic={"a":1}`.
    fn line(&self) -> String {
        let mut words = vec![format!("{}/{}", self.class, self.object), self.version.to_string()];
        if self.action != "none" {
            words.push(self.action.clone());
        }
        words.extend(self.changes.iter().map(|change| {
            let mark = match change.action.as_str() {
                "create" => '+',
                "delete" => '-',
                _ => '~',
            };
            format!("{mark}{}", change.key)
        }));
        if self.unlisted > 0 {
            words.push(format!("and {} more", self.unlisted));
        }
        words.extend(
            self.emitted.iter().map(|emitted| format!("{}={}", emitted.topic, emitted.payload.get())),
        );
        words.join(" ")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_event_is_one_line() {
        let line = |text: &str| serde_json::from_str::<Event<'_>>(text).unwrap().line();
        let text = r#"{"id":"X","class":"C","object":"o","version":3,"incarnation":1,"action":"update","changes":[
            {"key":"a","action":"create"},{"key":"b","action":"update"},{"key":"c","action":"delete"}],"unlisted":2,
            "emitted":[{"topic":"t","payload":{"x": 1}}]}"#;
        assert_eq!(line(text), "C/o 3 update +a ~b -c and 2 more t={\"x\": 1}");
        let text = r#"{"class":"C","object":"o","version":0,"action":"none","changes":[],"emitted":[{"topic":"t","payload":1}]}"#;
        assert_eq!(line(text), "C/o 0 t=1");
    }
}

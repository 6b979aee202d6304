//! `oprc logs`: what a class's guests print. A stream that breaks is taken up again; what came in between may be missing, and
//! is said to be.

use std::time::Duration;

use serde::Deserialize;
use tokio::time::sleep;

use crate::args::{Format, LogsArgs};
use crate::client::{Block, Client};
use crate::failure::Failure;
use crate::output;

/// The pause before a stream that broke is taken up.
const PAUSE: Duration = Duration::from_secs(1);

pub(crate) async fn run(args: LogsArgs) -> Result<(), Failure> {
    if args.follow { follow(&args).await } else { read(&args).await }
}

async fn read(args: &LogsArgs) -> Result<(), Failure> {
    let client = Client::new(&args.client)?;
    let tail = args.tail.to_string();
    let answer = client.get(&path(args), &query(args, &tail)).await?;
    if args.client.output == Format::Json {
        return output::json_text(&answer.body);
    }
    let lines: Lines = client.understand(&answer.body)?;
    for line in &lines.items {
        output::line(&line.shown())?;
    }
    if !lines.missing.is_empty() {
        eprintln!("hosts that did not answer: {}", lines.missing.join(", "));
    }
    Ok(())
}

async fn follow(args: &LogsArgs) -> Result<(), Failure> {
    let client = Client::streaming(&args.client)?;
    let mut tail = args.tail.to_string();
    let mut begun = false;
    loop {
        let take = |block| show(&client, args.client.output, &block).map(|()| false);
        match client.follow(&path(args), &query(args, &tail), || begun = true, take).await {
            Ok(None) => return Ok(()), // there is never enough
            Ok(Some(why)) => eprintln!("{why}; going on, lines may be missing here"),
            Err(failure) if begun && failure.may_pass() => eprintln!("{failure}; trying again"),
            Err(failure) => return Err(failure),
        }
        "0".clone_into(&mut tail); // the newest were shown
        sleep(PAUSE).await;
    }
}

fn show(client: &Client, form: Format, block: &Block) -> Result<(), Failure> {
    if block.data.is_empty() {
        return Ok(());
    }
    match (form, block.name.as_str()) {
        // one document a line, whoever looks on
        (Format::Json, _) => output::line(&block.data),
        (Format::Table, "gap") => {
            output::line("(lines are missing here: they came faster than they were read)")
        }
        (Format::Table, _) => {
            let line: Line = client.understand(block.data.as_bytes())?;
            output::line(&line.shown())
        }
    }
}

fn path(args: &LogsArgs) -> [&str; 3] {
    ["classes", args.class.as_str(), "logs"]
}

fn query<'a>(args: &'a LogsArgs, tail: &'a str) -> Vec<(&'a str, &'a str)> {
    let object = args.object.as_ref().map(|object| ("object", object.as_str()));
    std::iter::once(("tail", tail)).chain(object).collect()
}

#[derive(Deserialize)]
struct Lines {
    items: Vec<Line>,
    missing: Vec<String>,
}

#[derive(Deserialize)]
struct Line {
    time_us: u64,
    #[serde(default)]
    object: Option<String>,
    method: String,
    stream: String,
    #[serde(rename = "line")]
    text: String,
}

impl Line {
    /// `14:03:07.123456 alice.increment stderr: what it printed`, in UTC. What a guest prints does not steer a terminal.
    fn shown(&self) -> String {
        let Self { object, method, stream, text, .. } = self;
        let of = object.as_ref().map_or_else(|| method.clone(), |object| format!("{object}.{method}"));
        let text: String =
            text.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect();
        format!("{} {of} {stream}: {text}", time_of_day(self.time_us))
    }
}

fn time_of_day(us: u64) -> String {
    let (seconds, us) = (us / 1_000_000 % 86_400, us % 1_000_000);
    format!("{:02}:{:02}:{:02}.{us:06}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_line_says_when_who_and_what() {
        let shown = |text: &str| serde_json::from_str::<Line>(text).unwrap().shown();
        let of_object = r#"{"time_us":1764165787123456,"node":"1","class":"C","object":"alice","method":"say","invocation":"i",
            "stream":"stdout","line":"a\tb\u001b[31m"}"#;
        assert_eq!(shown(of_object), "14:03:07.123456 alice.say stdout: a\tb\u{fffd}[31m");
        let of_function =
            r#"{"time_us":0,"method":"f","invocation":"i","stream":"stderr","line":"x","trace_id":"t"}"#;
        assert_eq!(shown(of_function), "00:00:00.000000 f stderr: x");
    }
}

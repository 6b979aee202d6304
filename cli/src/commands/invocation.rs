//! `oprc invocation`: where an asynchronous call stands, and its result once it has one.

use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::args::{Format, InvocationArgs};
use crate::client::{Answer, Client};
use crate::failure::Failure;
use crate::output;
use crate::problem::Problem;

/// The server waits so long at once; a longer wait asks again.
const WAIT_MAX: Duration = Duration::from_secs(30);

#[derive(Deserialize)]
struct Accepted<'a> {
    id: &'a str,
}

#[derive(Deserialize)]
struct Invocation<'a> {
    #[serde(borrow)]
    state: &'a str,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    problem: Option<&'a RawValue>,
}

/// A call was accepted: prints its id.
pub(crate) fn accepted(client: &Client, format: Format, answer: &Answer) -> Result<(), Failure> {
    match format {
        Format::Json => output::json_text(&answer.body),
        Format::Table => output::line(client.understand_borrowed::<Accepted<'_>>(text(client, answer)?)?.id),
    }
}

pub(crate) async fn run(args: InvocationArgs) -> Result<(), Failure> {
    let client = Client::new(&args.client)?;
    let until = Instant::now() + args.wait.unwrap_or_default();
    loop {
        let left = until.saturating_duration_since(Instant::now()).min(WAIT_MAX);
        let wait = format!("{}ms", left.as_millis());
        let query = [("wait", wait.as_str())];
        let query = if left.is_zero() { &[][..] } else { &query[..] };
        let answer = client.get(&["invocations", &args.id], query).await?;
        let invocation: Invocation<'_> = client.understand_borrowed(text(&client, &answer)?)?;
        let decided = matches!(invocation.state, "done" | "failed");
        if decided || Instant::now() >= until {
            return show(args.client.output, &answer, &invocation);
        }
    }
}

/// A call that failed is a failure here too, as if it had been waited for. One that is done may have a problem as well: its
/// result was not kept.
fn show(format: Format, answer: &Answer, invocation: &Invocation<'_>) -> Result<(), Failure> {
    match format {
        Format::Json => output::json_text(&answer.body)?,
        Format::Table => {
            output::line(invocation.state)?;
            if let Some(result) = invocation.result {
                output::json_text(result.get().as_bytes())?;
            }
        }
    }
    let problem = invocation.problem.and_then(|problem| Problem::parse(problem.get().as_bytes()));
    match problem {
        Some(problem) if invocation.state == "failed" => Err(Failure::Problem(Box::new(problem))),
        Some(problem) if format == Format::Table => {
            eprintln!("note: {problem}");
            Ok(())
        }
        _ => Ok(()),
    }
}

fn text<'a>(client: &Client, answer: &'a Answer) -> Result<&'a str, Failure> {
    std::str::from_utf8(&answer.body).map_err(|error| client.misunderstood(&error.to_string()))
}

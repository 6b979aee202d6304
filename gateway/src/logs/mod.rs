//! What a class's guests print: every host remembers its own newest lines, and here they are put together.
//!
//! Who reads them needs `deploy` in the class, and not `read`: a guest may print what no caller is given, a secret or another
//! caller's data, and whoever may replace the guest can have it print anything.

mod follow;
mod line;

use std::time::Duration;

use futures::future::join_all;
use hyper::StatusCode;
use hyper::header::{ACCEPT, CACHE_CONTROL, HeaderValue};
use oprc_mesh::id::{ClassName, NodeId, ObjectId};
use oprc_mesh::limits::{LOG_TAIL_DEFAULT, LOG_TAIL_MAX};
use oprc_mesh::wire::{Answer, LogPage, Op, ReadLogs};
use schemars::JsonSchema;
use serde::Serialize;
use tokio::time::Instant;

use self::line::{Line, merged};
use crate::app::App;
use crate::call::Call;
use crate::problem::Refusal;
use crate::query::Query;
use crate::reply::{Reply, events, json};

/// How long a host may take to give its lines.
const ANSWER_MS: u64 = 2_000;

/// Which lines are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Asked {
    /// Of the newest, so many at the most.
    tail: usize,
    object: Option<ObjectId>,
}

impl Asked {
    fn parse(query: Option<&str>) -> Result<Self, Refusal> {
        let query = Query::parse(query, &["tail", "object"])?;
        let tail = query.number("tail")?.unwrap_or(LOG_TAIL_DEFAULT as u64);
        if tail > LOG_TAIL_MAX as u64 {
            let detail = format!("tail = {tail} is not allowed; it may be 0 to {LOG_TAIL_MAX}");
            return Err(Refusal::invalid(detail));
        }
        let object = query.one("object")?.map(ObjectId::parse).transpose()?;
        Ok(Self { tail: tail as usize, object })
    }

    fn read(&self, class: &ClassName) -> ReadLogs {
        ReadLogs {
            class: class.as_str().to_owned(),
            object: self.object.as_ref().map(|object| object.as_str().to_owned()),
            tail: self.tail as u32,
            ..ReadLogs::default()
        }
    }
}

/// The newest lines of all hosts.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ListOfLogLine")]
pub(crate) struct Lines {
    /// Oldest first, by the hosts' clocks.
    items: Vec<Line>,
    /// Hosts that did not give theirs in time.
    missing: Vec<String>,
}

/// `GET /classes/{class}/logs`.
pub(crate) async fn read(call: &Call<'_>, class: &ClassName) -> Result<Reply, Refusal> {
    let asked = Asked::parse(call.query())?;
    call.app.class(class, call.deadline.at).await?;
    if wants_stream(call) {
        return Ok(events(follow::begin(call, class, asked)?));
    }
    let deadline = call.deadline.at.min(Instant::now() + Duration::from_millis(ANSWER_MS));
    let read = asked.read(class);
    let told = call.app.alive().into_iter().map(|node| ask(call.app, node, read.clone(), deadline));
    let (mut pages, mut missing) = (Vec::new(), Vec::new());
    for (node, page) in join_all(told).await {
        match page {
            Some(page) => pages.push((node, page)),
            None => missing.push(node.to_string()),
        }
    }
    let lines = Lines { items: merged(class, pages, asked.tail), missing };
    let mut reply = json(StatusCode::OK, &lines)?;
    // they may hold secrets, and are of this moment
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(reply)
}

/// Asks a host for lines; none when it does not give any.
async fn ask(app: &App, node: NodeId, read: ReadLogs, deadline: Instant) -> (NodeId, Option<LogPage>) {
    let page = match app.mesh.call(node, Op::ReadLogs(read), deadline).await {
        Ok(Answer::Logs(page)) => Some(page),
        Ok(_) => None,
        Err(problem) => {
            tracing::debug!(%node, %problem, "a host did not give its guests' lines");
            None
        }
    };
    (node, page)
}

/// Whether a stream is asked for, and not a document.
fn wants_stream(call: &Call<'_>) -> bool {
    let accepted = call.headers().get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|range| {
        range.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/event-stream"))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_asked_for_is_checked() {
        let asked = |query: &str| Asked::parse(Some(query));
        assert_eq!(asked("").unwrap(), Asked { tail: LOG_TAIL_DEFAULT, object: None });
        let one = asked(&format!("tail={LOG_TAIL_MAX}&object=alice")).unwrap();
        assert_eq!((one.tail, one.object.unwrap().as_str()), (LOG_TAIL_MAX, "alice"));
        assert_eq!(asked("tail=0").unwrap().tail, 0);
        for bad in [&format!("tail={}", LOG_TAIL_MAX + 1), "tail=x", "object=.", "object=", "since=1"] {
            assert!(asked(bad).is_err(), "{bad}");
        }
    }
}

//! `.../classes/{class}/dead-letters`: messages to the class that are tried no more. They lie in the partitions where they
//! failed, which need not be of the class's own grid, and they outlive the class: so every partition is asked.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::StatusCode;
use oprc_mesh::id::ClassName;
use oprc_mesh::retry::Repeat;
use oprc_mesh::wire::{Answer, ChangeDeadLetters, DeadLetter, DeadLetterPage, LetterId, ListDeadLetters, Op};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json as document};

use crate::call::Call;
use crate::cursor::{self, Kind};
use crate::listing::Listing;
use crate::problem::Refusal;
use crate::query::{Page, Query};
use crate::reply::{Reply, json};
use crate::route::Target;

/// What is to become of dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeadWish {
    Retry,
    Purge,
}

impl DeadWish {
    /// The one that a path names.
    pub(crate) fn parse(segment: &str) -> Option<Self> {
        match segment {
            "retry" => Some(Self::Retry),
            "purge" => Some(Self::Purge),
            _ => None,
        }
    }
}

/// A dead letter's name in the whole cluster: its partition's group, and its name there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Id {
    group: u64,
    letter: LetterId,
}

impl Id {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-').map(|part| u64::from_str_radix(part, 16).ok());
        let (group, index, nth) = (parts.next()??, parts.next()??, parts.next()??);
        let id = Self { group, letter: LetterId { index, nth: nth.try_into().ok()? } };
        (parts.next().is_none() && id.text() == text).then_some(id)
    }

    fn text(self) -> String {
        format!("{:x}-{:x}-{:x}", self.group, self.letter.index, self.letter.nth)
    }
}

/// A message that is tried no more.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DeadLetter")]
pub(crate) struct Item {
    id: String,
    message: String,
    /// Null for a function.
    object: Option<String>,
    method: String,
    /// JSON as it is, other bytes in the forms of field values.
    #[schemars(with = "Value")]
    payload: Payload,
    /// Null for a client's asynchronous call.
    sender: Option<Sender>,
    /// A trigger sent it.
    triggered: bool,
    attempts: u32,
    problem: Told,
    sent_at_ms: u64,
    dead_at_ms: u64,
}

/// Why a message failed.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Failure")]
struct Told {
    #[schemars(extend("enum" = crate::problem::codes()))]
    code: &'static str,
    detail: String,
    /// The function's own error.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Value")]
    error: Option<Value>,
}

/// The object that sent a message.
#[derive(Serialize, JsonSchema)]
struct Sender {
    class: String,
    object: String,
}

/// JSON text as it is, other bytes in the forms of field values.
#[derive(Serialize)]
#[serde(untagged)]
enum Payload {
    Json(Box<RawValue>),
    Wrapped(Value),
}

impl Payload {
    fn of(bytes: &Bytes) -> Self {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return Self::Wrapped(document!({ "$base64": STANDARD.encode(bytes) }));
        };
        match RawValue::from_string(text.to_owned()) {
            Ok(raw) => Self::Json(raw),
            Err(_) => Self::Wrapped(document!({ "$text": text })),
        }
    }
}

fn item(group: u64, letter: DeadLetter) -> Item {
    let problem = &letter.problem;
    let told = Told {
        code: problem.kind().as_str(),
        detail: problem.detail.clone(),
        error: serde_json::from_str(&problem.error).ok(),
    };
    Item {
        id: Id { group, letter: letter.id }.text(),
        message: letter.message,
        object: Some(letter.object).filter(|object| !object.is_empty()),
        method: letter.method,
        payload: Payload::of(&letter.payload),
        sender: Some(Sender { class: letter.from_class, object: letter.from_object })
            .filter(|sender| !sender.class.is_empty()),
        triggered: letter.triggered,
        attempts: letter.attempts,
        problem: told,
        sent_at_ms: letter.sent_ms,
        dead_at_ms: letter.dead_ms,
    }
}

/// `GET .../dead-letters`: by partition, oldest first in each.
pub(crate) async fn list(call: &Call<'_>, class: &ClassName) -> Result<Reply, Refusal> {
    let page = Page::parse(call.query(), Kind::DeadLetter)?;
    let mut after = match page.after.as_str() {
        "" => None,
        text => Some(Id::parse(text).ok_or_else(|| Refusal::invalid("the cursor is not from this listing"))?),
    };
    let mut items: Vec<Item> = Vec::new();
    let mut more = false;
    let first = after.map_or(0, |after| after.group);
    for group in groups(call).await?.into_iter().filter(|group| *group >= first) {
        loop {
            if items.len() == page.limit {
                more = true;
                break;
            }
            let within = after.filter(|after| after.group == group).map(|after| after.letter);
            let answer = ask(call, class, group, within, page.limit - items.len()).await?;
            after = answer.items.last().map(|letter| Id { group, letter: letter.id }).or(after);
            items.extend(answer.items.into_iter().map(|letter| item(group, letter)));
            if !answer.more {
                break;
            }
        }
    }
    let next = items.last().filter(|_| more).map(|last| cursor::encode(Kind::DeadLetter, &last.id));
    Ok(json(StatusCode::OK, &Listing { items, next })?)
}

async fn ask(
    call: &Call<'_>,
    class: &ClassName,
    group: u64,
    after: Option<LetterId>,
    limit: usize,
) -> Result<DeadLetterPage, Refusal> {
    let class = class.as_str();
    let operation = |_| {
        Op::ListDeadLetters(ListDeadLetters { class: class.to_owned(), group, after, limit: limit as u32 })
    };
    match call.app.ask(Target::Group(group), call.deadline.at, Repeat::Harmless, operation).await? {
        Answer::DeadLetters(page) => Ok(page),
        _ => Err(Refusal::misanswered()),
    }
}

/// Every partition's group, in their order.
async fn groups(call: &Call<'_>) -> Result<Vec<u64>, Refusal> {
    let view = call.app.known_view(call.deadline.at).await?;
    let mut groups: Vec<u64> = view.partitions().map(|partition| partition.group).collect();
    groups.sort_unstable();
    Ok(groups)
}

/// How many dead letters were dealt with.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DeadLettersChanged")]
pub(crate) struct Changed {
    /// How many there were.
    count: u64,
}

/// `POST .../dead-letters/retry` and `.../purge`: those named by `id`, or all.
pub(crate) async fn change(call: &Call<'_>, class: &ClassName, wish: DeadWish) -> Result<Reply, Refusal> {
    let query = Query::parse(call.query(), &["id"])?;
    let parse = |text: &str| {
        Id::parse(text).ok_or_else(|| Refusal::invalid(format!("{text:?} is not the id of a dead letter")))
    };
    let ids: Vec<Id> = query.all("id").map(parse).collect::<Result<_, _>>()?;
    let mut count = 0;
    for group in groups(call).await? {
        let named = ids.iter().filter(|id| id.group == group);
        let letters: Vec<LetterId> = named.map(|id| id.letter).collect();
        if letters.is_empty() && !ids.is_empty() {
            continue;
        }
        let change = ChangeDeadLetters {
            class: class.as_str().to_owned(),
            group,
            letters,
            purge: wish == DeadWish::Purge,
        };
        let operation = |_| Op::ChangeDeadLetters(change.clone());
        // to say it twice does it once: what was dealt with is there no more
        match call.app.ask(Target::Group(group), call.deadline.at, Repeat::Harmless, operation).await? {
            Answer::DeadLettersChanged(changed) => count += changed.count,
            _ => return Err(Refusal::misanswered()),
        }
    }
    Ok(json(StatusCode::OK, &Changed { count })?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn ids_read_back_and_nothing_else_is_one() {
        let id = Id { group: 17, letter: LetterId { index: u64::MAX, nth: 255 } };
        assert_eq!(id.text(), "11-ffffffffffffffff-ff");
        assert_eq!(Id::parse(&id.text()), Some(id));
        for bad in ["", "1", "1-2", "1-2-3-4", "1-2-x", "01-2-3", "1-2-100000000", "1-+2-3", "1-2-3 "] {
            assert_eq!(Id::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_payload_shows_as_a_field_would() {
        let shown =
            |bytes: &'static [u8]| serde_json::to_string(&Payload::of(&Bytes::from_static(bytes))).unwrap();
        assert_eq!(shown(b"{\"by\": 5}"), "{\"by\": 5}");
        assert_eq!(shown(b"plain"), "{\"$text\":\"plain\"}");
        assert_eq!(shown(&[0xff]), "{\"$base64\":\"/w==\"}");
    }
}

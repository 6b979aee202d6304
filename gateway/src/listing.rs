//! Listings of a class's objects: every partition of its grid is asked, and the answers merged in id order.

use futures::StreamExt as _;
use futures::stream;
use hyper::StatusCode;
use oprc_mesh::id::{ClassName, ObjectId};
use oprc_mesh::outcome::Code;
use oprc_mesh::retry::Repeat;
use oprc_mesh::wire::{Answer, ListObjects, ObjectEntry, ObjectPage, Op};
use schemars::JsonSchema;
use serde::Serialize;
use tokio::time::Instant;

use crate::app::App;
use crate::call::Call;
use crate::cursor::{self, Kind};
use crate::merge::{Merge, Step, Stuck};
use crate::problem::Refusal;
use crate::query::Page;
use crate::reply::{Reply, dated, json};
use crate::route::Target;

/// Partitions asked at once for one listing.
const ASKED_AT_ONCE: usize = 32;
/// What a partition is asked for beyond its even share of a page, so that a second question is rare.
const SPARE_ITEMS: usize = 8;

/// One page of any listing.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ListOf{T}")]
pub(crate) struct Listing<T> {
    pub(crate) items: Vec<T>,
    /// Where the next page begins; null at the end.
    pub(crate) next: Option<String>,
}

/// An object in a listing.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ObjectEntry")]
pub(crate) struct Item {
    id: String,
    version: u64,
}

/// `GET .../objects`.
pub(crate) async fn objects(call: &Call<'_>, class: &ClassName) -> Result<Reply, Refusal> {
    let Found { items, more, stale_ms } =
        page(call.app, call.deadline.at, class, &Page::parse(call.query(), Kind::Object)?).await?;
    let next = items.last().filter(|_| more).map(|last| cursor::encode(Kind::Object, &last.id));
    let items = items.into_iter().map(|entry| Item { id: entry.id, version: entry.tag.version }).collect();
    Ok(dated(json(StatusCode::OK, &Listing { items, next })?, stale_ms))
}

/// A page of objects.
pub(crate) struct Found {
    pub(crate) items: Vec<ObjectEntry>,
    /// More follow after the last item.
    pub(crate) more: bool,
    pub(crate) stale_ms: Option<u64>,
}

/// The page that is wanted of a class's objects.
pub(crate) async fn page(
    app: &App,
    deadline: Instant,
    class: &ClassName,
    page: &Page,
) -> Result<Found, Refusal> {
    if !page.prefix.is_empty() {
        ObjectId::parse(&page.prefix)?; // the beginning of an id is itself one
    }
    let (view, deployed) = app.class(class, deadline).await?;
    let grid = view.grid(&deployed.grid).ok_or_else(|| {
        Refusal::new(Code::Internal, format!("the catalog has no grid {:?} for the class", deployed.grid))
    })?;
    let groups: Vec<u64> = grid.partitions.iter().map(|partition| partition.group).collect();
    let mut merge = Merge::new(groups.len(), &page.after);
    let mut taken: Vec<ObjectEntry> = Vec::new();
    let mut age = Age::default();
    while taken.len() < page.limit {
        match merge.step() {
            Step::End => break,
            Step::Item(item) => taken.push(item),
            Step::Fill(lanes) => {
                let wanted = page.limit - taken.len();
                fill((app, deadline), class, page, &groups, wanted, lanes, &mut merge, &mut age).await?;
            }
        }
    }
    Ok(Found { items: taken, more: merge.more(), stale_ms: age.stale_ms() })
}

/// How stale what several partitions told may be: as the stalest of them, and unknown as soon as it is of one.
#[derive(Debug, Default)]
struct Age {
    oldest_ms: u64,
    known: usize,
    asked: usize,
}

impl Age {
    fn add(&mut self, stale_ms: Option<u64>) {
        self.asked += 1;
        if let Some(ms) = stale_ms {
            self.known += 1;
            self.oldest_ms = self.oldest_ms.max(ms);
        }
    }

    fn stale_ms(&self) -> Option<u64> {
        (self.asked > 0 && self.known == self.asked).then_some(self.oldest_ms)
    }
}

/// Asks the partitions of `lanes` for what comes next in each.
#[allow(clippy::too_many_arguments, reason = "a step of one loop, and these are its variables")]
async fn fill(
    (app, deadline): (&App, Instant),
    class: &ClassName,
    page: &Page,
    groups: &[u64],
    wanted: usize,
    lanes: Vec<usize>,
    merge: &mut Merge,
    age: &mut Age,
) -> Result<(), Refusal> {
    let share = if lanes.len() == 1 { wanted } else { wanted.min(2 * wanted / groups.len() + SPARE_ITEMS) };
    let questions: Vec<_> = lanes
        .into_iter()
        .map(|at| {
            let question = ListObjects {
                class: class.as_str().to_owned(),
                group: groups[at],
                prefix: page.prefix.clone(),
                after: merge.after(at).to_owned(),
                limit: share as u32,
                consistency: page.consistency as i32,
                revision: 0,
            };
            async move { (at, ask(app, deadline, class, question).await) }
        })
        .collect();
    let mut answers = stream::iter(questions).buffer_unordered(ASKED_AT_ONCE);
    while let Some((at, answer)) = answers.next().await {
        let ObjectPage { items, more, stale_ms } = answer?;
        age.add(stale_ms);
        merge.fill(at, items, more).map_err(|Stuck| {
            Refusal::new(
                Code::Internal,
                format!("partition {} said that there is more and gave nothing", groups[at]),
            )
        })?;
    }
    Ok(())
}

async fn ask(
    app: &App,
    deadline: Instant,
    class: &ClassName,
    question: ListObjects,
) -> Result<ObjectPage, Refusal> {
    let target = Target::reading_all(class, question.group, question.consistency());
    let operation = |revision| Op::ListObjects(ListObjects { revision, ..question.clone() });
    match app.ask(target, deadline, Repeat::Harmless, operation).await? {
        Answer::Objects(page) => Ok(page),
        _ => Err(Refusal::misanswered()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_is_as_stale_as_its_stalest_part() {
        let age = |parts: &[Option<u64>]| {
            let mut age = Age::default();
            for part in parts {
                age.add(*part);
            }
            age.stale_ms()
        };
        assert_eq!(age(&[]), None);
        assert_eq!(age(&[Some(0), Some(40), Some(7)]), Some(40));
        assert_eq!(age(&[Some(0), None]), None);
    }
}

//! Listings of a class's objects: every partition of its grid is asked, and the answers merged in id order.

use futures::StreamExt as _;
use futures::stream;
use hyper::StatusCode;
use oprc_mesh::id::{ClassName, ObjectId};
use oprc_mesh::outcome::Code;
use oprc_mesh::wire::{Answer, ListObjects, ObjectEntry, ObjectPage, Op};
use serde::Serialize;

use crate::call::Call;
use crate::cursor::{self, Kind};
use crate::merge::{Merge, Step, Stuck};
use crate::problem::Refusal;
use crate::query::Page;
use crate::reply::{Reply, json};
use crate::route::Target;

/// Partitions asked at once for one listing.
const ASKED_AT_ONCE: usize = 32;
/// What a partition is asked for beyond its even share of a page, so that a second question is rare.
const SPARE_ITEMS: usize = 8;

/// One page of any listing.
#[derive(Serialize)]
pub(crate) struct Listing<T> {
    pub(crate) items: Vec<T>,
    /// Where the next page begins; null at the end.
    pub(crate) next: Option<String>,
}

#[derive(Serialize)]
struct Item {
    id: String,
    version: u64,
}

/// `GET .../objects`.
pub(crate) async fn objects(call: &Call<'_>, class: &ClassName) -> Result<Reply, Refusal> {
    let page = Page::parse(call.query(), Kind::Object)?;
    if !page.prefix.is_empty() {
        ObjectId::parse(&page.prefix)?; // the beginning of an id is itself one
    }
    let (view, deployed) = call.app.class(class, call.deadline.at).await?;
    let grid = view.grid(&deployed.grid).ok_or_else(|| {
        Refusal::new(Code::Internal, format!("the catalog has no grid {:?} for the class", deployed.grid))
    })?;
    let groups: Vec<u64> = grid.partitions.iter().map(|partition| partition.group).collect();
    let mut merge = Merge::new(groups.len(), &page.after);
    let mut taken: Vec<ObjectEntry> = Vec::new();
    while taken.len() < page.limit {
        match merge.step() {
            Step::End => break,
            Step::Item(item) => taken.push(item),
            Step::Fill(lanes) => {
                fill(call, class, &page, &groups, page.limit - taken.len(), lanes, &mut merge).await?;
            }
        }
    }
    let next = taken.last().filter(|_| merge.more()).map(|last| cursor::encode(Kind::Object, &last.id));
    let items = taken.into_iter().map(|entry| Item { id: entry.id, version: entry.tag.version }).collect();
    Ok(json(StatusCode::OK, &Listing { items, next })?)
}

/// Asks the partitions of `lanes` for what comes next in each.
async fn fill(
    call: &Call<'_>,
    class: &ClassName,
    page: &Page,
    groups: &[u64],
    wanted: usize,
    lanes: Vec<usize>,
    merge: &mut Merge,
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
            };
            async move { (at, ask(call, class, question).await) }
        })
        .collect();
    let mut answers = stream::iter(questions).buffer_unordered(ASKED_AT_ONCE);
    while let Some((at, answer)) = answers.next().await {
        let ObjectPage { items, more } = answer?;
        merge.fill(at, items, more).map_err(|Stuck| {
            Refusal::new(
                Code::Internal,
                format!("partition {} said that there is more and gave nothing", groups[at]),
            )
        })?;
    }
    Ok(())
}

async fn ask(call: &Call<'_>, class: &ClassName, question: ListObjects) -> Result<ObjectPage, Refusal> {
    let target = Target::Partition(class, question.group);
    let operation = || Op::ListObjects(question.clone());
    match call.app.ask(target, call.deadline.at, true, operation).await? {
        Answer::Objects(page) => Ok(page),
        _ => Err(Refusal::misanswered()),
    }
}

//! Listings as streams over all pages. A page is asked for when the one before is taken, so a reader that stops costs a
//! page's memory and a seat, and no call's place.

use std::sync::Arc;

use futures::stream::{BoxStream, StreamExt as _, try_unfold};
use oprc_mesh::access::Action;
use oprc_mesh::id::{ClassName, ObjectId};
use oprc_mesh::limits::DEADLINE_MS_DEFAULT;
use oprc_mesh::outcome::{Code, Effect};
use tonic::Status;

use super::objects::{fields_of, state};
use super::parse::{self, Asked};
use super::{pb, status};
use crate::access::{Identity, Need};
use crate::admission::Deadline;
use crate::app::App;
use crate::problem::Refusal;
use crate::query::Page;
use crate::stream::Seat;
use crate::{fields as one, listing};

type Pages<T> = BoxStream<'static, Result<T, Status>>;

/// All fields of an object.
pub(super) fn fields(
    app: Arc<App>,
    asked: Asked<pb::ListFieldsRequest>,
) -> Result<Pages<pb::ListFieldsResponse>, Status> {
    let pb::ListFieldsRequest { class_name: class, object, prefix, after, page_size, consistency } =
        asked.message;
    let subject = format!("{class}/{object}");
    let begun = || {
        let names = (ClassName::parse(&class)?, ObjectId::parse(&object)?);
        asked.identity.check(Need::In(Action::Read, &names.0))?;
        let page = parse::page(prefix, after, page_size, consistency)?;
        Ok::<_, Refusal>((names, Lister::begin(app, (asked.identity, asked.deadline), page)?))
    };
    let told = refused("list fields", subject);
    let ((class, object), lister) = begun().map_err(&told)?;
    let pages = try_unfold(Some(lister), move |lister| {
        let (class, object) = (class.clone(), object.clone());
        async move {
            let Some(lister) = lister else { return Ok(None) };
            lister.may_go_on(&class)?;
            let found = one::page(&lister.app, lister.until(), &class, &object, &lister.page).await?;
            let next = found.items.last().filter(|_| found.more).map(|last| last.key.clone());
            let answer = pb::ListFieldsResponse {
                state: Some(state(found.tag)?),
                fields: fields_of(found.items),
                stale_ms: found.stale_ms,
            };
            Ok::<_, Refusal>(Some((answer, next.map(|after| lister.after(after)).transpose()?)))
        }
    });
    Ok(pages.map(move |page| page.map_err(&told)).boxed())
}

/// All objects of a class.
pub(super) fn objects(
    app: Arc<App>,
    asked: Asked<pb::ListRequest>,
) -> Result<Pages<pb::ListResponse>, Status> {
    let pb::ListRequest { class_name: class, prefix, after, page_size, consistency } = asked.message;
    let told = refused("list objects", class.clone());
    let begun = || {
        let class = ClassName::parse(&class)?;
        asked.identity.check(Need::In(Action::Read, &class))?;
        let page = parse::page(prefix, after, page_size, consistency)?;
        Ok::<_, Refusal>((class, Lister::begin(app, (asked.identity, asked.deadline), page)?))
    };
    let (class, lister) = begun().map_err(&told)?;
    let pages = try_unfold(Some(lister), move |lister| {
        let class = class.clone();
        async move {
            let Some(lister) = lister else { return Ok(None) };
            lister.may_go_on(&class)?;
            let found = listing::page(&lister.app, lister.until(), &class, &lister.page).await?;
            let next = found.items.last().filter(|_| found.more).map(|last| last.id.clone());
            let entries = found.items.into_iter().map(|entry| {
                Ok::<_, Refusal>(pb::ListedObject { id: entry.id, state: Some(state(entry.tag)?) })
            });
            let objects = entries.collect::<Result<_, _>>()?;
            let answer = pb::ListResponse { objects, stale_ms: found.stale_ms };
            Ok::<_, Refusal>(Some((answer, next.map(|after| lister.after(after)).transpose()?)))
        }
    });
    Ok(pages.map(move |page| page.map_err(&told)).boxed())
}

/// A listing under way.
struct Lister {
    app: Arc<App>,
    page: Page,
    identity: Identity,
    deadline: Deadline,
    _seat: Seat,
}

impl Lister {
    fn begin(app: Arc<App>, (identity, deadline): (Identity, Deadline), page: Page) -> Result<Self, Refusal> {
        let seat = app.hubs.seat().ok_or_else(|| {
            let detail =
                format!("{} streams are read, as many as this gateway takes", app.hubs.readers_max());
            Refusal::new(Code::Overloaded, detail).effect(Effect::NotRun)
        })?;
        Ok(Self { app, page, identity, deadline, _seat: seat })
    }

    /// Until when the next page must be there: a client that chose no time has the usual one for each.
    fn until(&self) -> tokio::time::Instant {
        self.deadline.or_longer(DEADLINE_MS_DEFAULT)
    }

    /// A key may have been revoked since the page before.
    fn may_go_on(&self, class: &ClassName) -> Result<(), Refusal> {
        self.app.guard.still(&self.identity, &self.app.view())?.check(Need::In(Action::Read, class))
    }

    /// What comes after a page that is not the last.
    fn after(mut self, last: String) -> Result<Self, Refusal> {
        if self.app.stopping.is_cancelled() {
            return Err(
                Refusal::new(Code::Unavailable, "the gateway is stopping").hint("go on after the last item")
            );
        }
        self.page.after = last;
        Ok(self)
    }
}

fn refused(operation: &'static str, subject: String) -> impl Fn(Refusal) -> Status + Send + Sync + 'static {
    move |refusal| status::of(refusal.on(operation, &subject))
}

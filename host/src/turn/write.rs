//! Writes of objects from outside, without code. A write is a turn like any other: in the object's mailbox, fenced, one
//! commit.

use oprc_mesh::id::{ClassName, FieldKey, ObjectId};
use oprc_mesh::limits::FIELD_VALUE_BYTES_MAX;
use oprc_mesh::outcome::{Code, Problem};
use oprc_mesh::wire::{Consistency, FieldWrite, Precondition, Tag, WriteMode, WriteObject, Written};
use oprc_odgm::{Change, Rejection, Told};
use tokio::time::Instant;

use super::access::Bound;
use super::commit::{Committed, Stage, Work};
use super::effects::of_write;
use super::gate::Looked;
use super::mailbox::Place;
use super::once::{CallId, written_again};
use super::run::{Home, RUNS_MAX, Turns, before, moving};

impl Turns {
    /// Changes an object's fields, or deletes it.
    ///
    /// # Errors
    /// `invalid` for names, `version-mismatch`, `not-found` when there is nothing to delete or to merge into,
    /// `payload-too-large`, `write-limit`, and what a commit may fail with.
    pub(super) async fn write_now(&self, write: WriteObject, deadline: Instant) -> Result<Written, Problem> {
        let class = ClassName::parse(&write.class)?;
        let object = ObjectId::parse(&write.object)?;
        check_fields(&write.fields)?;
        self.classes.catch_up(&class, write.revision, deadline).await?;
        let home = self.home(&class, &object)?;
        home.partition.leadership()?; // who does not lead keeps nobody waiting
        let mut place = self.mailboxes.enter(home.class, &object).await?;
        let id = CallId::of_write(&write, deadline);
        for _ in 0..RUNS_MAX {
            place.take_turn().await;
            let ahead = home.while_serving(place.chain().ready()).await?;
            let home = self.home(&class, &object)?;
            // before any state is read, as in a turn
            let term = home.partition.leadership()?;
            before(deadline)?;
            let stage = Stage { home: &home, term, object: &object, ahead };
            match stage.look(&mut place, id.as_ref()).await? {
                Looked::New => {}
                Looked::Known(known) => return written_again(*known),
                Looked::Again => continue,
            }
            match self.write_once(&class, &stage, &mut place, (&write, id.as_ref())).await? {
                Ok(written) => return Ok(written),
                Err(rejection) => self.settle(&home, term, rejection, deadline).await?,
            }
        }
        Err(moving())
    }

    async fn write_once(
        &self,
        class: &ClassName,
        stage: &Stage<'_>,
        place: &mut Place,
        (write, id): (&WriteObject, Option<&CallId<'_>>),
    ) -> Result<Result<Written, Rejection>, Problem> {
        let (home, head) = (stage.home, stage.head()?);
        let object = Bound {
            class: class.clone(),
            class_id: home.class,
            object: stage.object.clone(),
            reader: home.partition.reader(),
            head,
            ahead: stage.ahead.clone(),
            led: None, // no code runs that could call
        };
        let base = head.map(|head| head.tag);
        let planned = check(write.precondition.as_ref(), base)
            .and_then(|()| plan(write, &object))
            .and_then(|planned| planned.map(|change| work(home, class, &object, change)).transpose());
        let Ok(Some(work)) = planned else {
            // an answer that rests on what was read, and is gated as a turn's is that wrote nothing
            let base_tag = base.unwrap_or_default();
            if !stage.stands(place, base_tag, Consistency::Lease).await? {
                return Ok(Err(Rejection::Base { current: base_tag }));
            }
            return planned.map(|_| Ok(Written { tag: base, ..Written::default() }));
        };
        let created = base.is_none() && work.change != Change::Delete;
        let told = Told::Written(Written { created, ..Written::default() });
        let kept = id.map(|id| (id, id.outcome(told, &home.limits)));
        match self.commit(place, stage, head, work, kept).await? {
            Committed::Done(tag) => {
                self.count_commit();
                Ok(Ok(Written { tag, created, ..Written::default() }))
            }
            Committed::Before(known) => written_again(*known).map(Ok),
            Committed::Again(rejection) => Ok(Err(rejection)),
        }
    }
}

/// What a planned change is as a commit.
fn work(
    home: &Home,
    class: &ClassName,
    object: &Bound,
    (change, writes): (Change, Vec<FieldWrite>),
) -> Result<Work, Problem> {
    check_size(&writes, &home.limits)?;
    let post = of_write(home, class, object, change, &writes)?;
    Ok(Work { change, writes, emitted: Vec::new(), post })
}

fn check_fields(fields: &[FieldWrite]) -> Result<(), Problem> {
    for field in fields {
        FieldKey::parse(&field.key)?;
        let bytes = field.value.as_ref().map_or(0, bytes::Bytes::len);
        if bytes > FIELD_VALUE_BYTES_MAX {
            let key = &field.key;
            let detail = format!("{key}: a value of {bytes} bytes; a field may have {FIELD_VALUE_BYTES_MAX}");
            return Err(Problem::new(Code::PayloadTooLarge, detail));
        }
    }
    Ok(())
}

fn check_size(writes: &[FieldWrite], limits: &oprc_mesh::catalog::ClassLimits) -> Result<(), Problem> {
    let bytes: usize =
        writes.iter().map(|write| write.key.len() + write.value.as_ref().map_or(0, bytes::Bytes::len)).sum();
    if writes.len() as u64 > limits.write_keys || bytes as u64 > limits.write_kib * 1024 {
        let detail = format!(
            "the write has {} fields and {bytes} bytes; the class allows {} fields and {} KiB at once",
            writes.len(),
            limits.write_keys,
            limits.write_kib
        );
        return Err(Problem::new(Code::WriteLimit, detail));
    }
    Ok(())
}

fn check(precondition: Option<&Precondition>, at: Option<Tag>) -> Result<(), Problem> {
    let Some(precondition) = precondition else { return Ok(()) };
    let fails = if precondition.absent && at.is_some() {
        "the object exists"
    } else if precondition.present && at.is_none() {
        "the object does not exist"
    } else if !precondition.tags.is_empty() && !at.is_some_and(|at| precondition.tags.contains(&at)) {
        "the object is at another version"
    } else {
        return Ok(());
    };
    let at = at.map_or_else(|| "absent".to_owned(), |tag| format!("\"{}.{}\"", tag.incarnation, tag.version));
    Err(Problem::new(Code::VersionMismatch, format!("{fails}; its ETag is {at}")))
}

/// What to commit; none when the object is already so.
fn plan(write: &WriteObject, object: &Bound) -> Result<Option<(Change, Vec<FieldWrite>)>, Problem> {
    let absent = || Problem::new(Code::NotFound, "no such object");
    let exists = object.head.is_some();
    match write.mode() {
        WriteMode::Delete if exists => Ok(Some((Change::Delete, Vec::new()))),
        WriteMode::Delete => Err(absent()),
        WriteMode::Replace => {
            let sets = write.fields.iter().filter(|field| field.value.is_some()).cloned().collect();
            Ok(Some((Change::Replace, sets)))
        }
        mode @ (WriteMode::Merge | WriteMode::DeleteField) => {
            let mut writes = Vec::with_capacity(write.fields.len());
            for field in &write.fields {
                if field.value.is_some() || object.field(&FieldKey::parse(&field.key)?)?.is_some() {
                    writes.push(field.clone());
                } else if mode == WriteMode::DeleteField {
                    return Err(Problem::new(
                        Code::NotFound,
                        format!("the object has no field {}", field.key),
                    ));
                }
            }
            match (writes.is_empty(), exists) {
                (true, false) => Err(absent()),
                (true, true) => Ok(None),
                (false, _) => Ok(Some((Change::Merge, writes))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Tag = Tag { incarnation: 7, version: 3 };

    #[test]
    fn preconditions_hold_or_say_where_the_object_stands() {
        let tags = |tags: &[Tag]| Precondition { tags: tags.to_vec(), ..Precondition::default() };
        let absent = Precondition { absent: true, ..Precondition::default() };
        let present = Precondition { present: true, ..Precondition::default() };
        let older = Tag { version: 2, ..AT };
        for (precondition, at, holds) in [
            (&tags(&[older, AT]), Some(AT), true),
            (&tags(&[older]), Some(AT), false),
            (&tags(&[AT]), None, false),
            (&absent, None, true),
            (&absent, Some(AT), false),
            (&present, Some(AT), true),
            (&present, None, false),
        ] {
            assert_eq!(check(Some(precondition), at).is_ok(), holds, "{precondition:?} at {at:?}");
        }
        let problem = check(Some(&tags(&[older])), Some(AT)).unwrap_err();
        assert!(problem.detail.contains("\"7.3\""), "{problem}");
    }
}

//! Dead letters of a partition, listed, tried again and forgotten.

use oprc_mesh::id::ClassName;
use oprc_mesh::limits::{PAGE_BYTES_MAX, PAGE_ITEMS_MAX};
use oprc_mesh::outcome::{Code, Effect, Problem};
use oprc_mesh::wire::{
    ChangeDeadLetters, Consistency, DeadLetter, DeadLetterPage, DeadLettersChanged, LetterId, ListDeadLetters,
};
use oprc_odgm::{DeadAction, DeadKey, DeadRecord, DeadStep};

use crate::turn::Turns;

/// Letters that one entry of the log changes.
const STEP_LETTERS: usize = 100;

/// A page of a class's dead letters in one partition.
///
/// # Errors
/// `invalid` for a name or limit; `not-leader`, `no-quorum`.
pub(crate) async fn list(turns: &Turns, list: &ListDeadLetters) -> Result<DeadLetterPage, Problem> {
    let class = ClassName::parse(&list.class)?;
    let limit = list.limit as usize;
    if !(1..=PAGE_ITEMS_MAX).contains(&limit) {
        let detail = format!("a page of {limit} items; it may have 1 to {PAGE_ITEMS_MAX}");
        return Err(Problem::new(Code::Invalid, detail).with_effect(Effect::NotRun));
    }
    let partition = turns.held(list.group)?;
    partition.confirm(Consistency::Lease).await?;
    let after = list.after.map(key);
    let (letters, more) = partition.dead_letters(class.as_str(), after, limit, PAGE_BYTES_MAX)?;
    Ok(DeadLetterPage { items: letters.into_iter().map(letter).collect(), more })
}

/// Tries dead letters again or forgets them: those that are named, or all that there are now.
///
/// # Errors
/// As [`list`]; an error may come after some are done.
pub(crate) async fn change(turns: &Turns, change: &ChangeDeadLetters) -> Result<DeadLettersChanged, Problem> {
    let class = ClassName::parse(&change.class)?;
    let partition = turns.held(change.group)?;
    let action = if change.purge { DeadAction::Purge } else { DeadAction::Retry } as i32;
    let step = |letters| DeadStep { class: class.as_str().to_owned(), letters, action };
    let mut count = 0;
    if !change.letters.is_empty() {
        for some in change.letters.chunks(STEP_LETTERS) {
            count += partition.change_dead_letters(step(some.iter().copied().map(key).collect())).await?;
        }
        return Ok(DeadLettersChanged { count });
    }
    partition.confirm(Consistency::Lease).await?;
    // those that fail again become dead letters of a later entry, and are left alone
    let last = partition.status().applied;
    let mut after = None;
    loop {
        let (page, more) = partition.dead_letters(class.as_str(), after, STEP_LETTERS, PAGE_BYTES_MAX)?;
        let keys: Vec<DeadKey> = page.iter().map(|(key, _)| *key).filter(|key| key.index <= last).collect();
        after = keys.last().copied();
        if keys.is_empty() {
            return Ok(DeadLettersChanged { count });
        }
        count += partition.change_dead_letters(step(keys)).await?;
        if !more {
            return Ok(DeadLettersChanged { count });
        }
    }
}

fn key(id: LetterId) -> DeadKey {
    DeadKey { index: id.index, nth: id.nth }
}

fn letter((key, record): (DeadKey, DeadRecord)) -> DeadLetter {
    let DeadRecord { message, attempts, problem, dead_ms } = record;
    DeadLetter {
        id: LetterId { index: key.index, nth: key.nth },
        message: message.id,
        from_class: message.from_class,
        from_object: message.from_object,
        object: message.object,
        method: message.method,
        payload: message.payload,
        triggered: message.triggered,
        attempts,
        problem,
        sent_ms: message.sent_ms,
        dead_ms,
    }
}

//! Canaries: other code of a class, for a share of its objects. A canary is part of the class's current version, and every
//! change of it is a revision, so that partitions fence it like a deployment. It has a version number of its own from the
//! beginning, which it keeps when it becomes the class.

use oprc_mesh::canary::SHARE_MAX;
use oprc_mesh::catalog::{Canary, Class};
use oprc_mesh::outcome::{Code, Problem};
use oprc_mesh::wire::Deployed;

use super::classes::{class_of, is_same, keep_grid, supersede};
use super::draft::{Decision, Draft};
use super::state::{CatalogState, ClassEntry};
use super::{CatalogEffect, CatalogReply, promises};
use crate::record::{CanaryRecord, CatalogItem, ClassRecord, PromoteRecord};

/// Gives a class a canary; or its canary another share, or other code.
pub(super) fn deploy(state: &CatalogState, record: &CanaryRecord, index: u64) -> Decision {
    let CanaryRecord { deploy, share } = record;
    let (entry, stable) = running(state, &deploy.class)?;
    check(stable, record)?;
    let grid = keep_grid(stable, &deploy.settings)?;
    let mut draft = Draft::new(state, index);
    let known = stable.canary.as_deref().filter(|canary| is_same(&canary.class, deploy));
    let class = match known {
        Some(canary) if canary.share == *share => return Ok(unchanged(state, canary)),
        Some(canary) => Class { revision: index, ..canary.class.clone() },
        None => {
            if deploy.keep_methods {
                promises::check(stable, deploy)?;
            }
            let record = ClassRecord { version: entry.record.version + 1, ..entry.record.clone() };
            let class = class_of(deploy, &record, grid, index);
            draft.put(CatalogItem::Class(record));
            class
        }
    };
    let replaced = stable.canary.as_ref().filter(|_| known.is_none());
    let ended = replaced.map_or(0, |canary| canary.class.version);
    let canary = Some(Box::new(Canary { share: *share, class: class.clone() }));
    draft.put(CatalogItem::Version(Class { revision: index, canary, ..stable.clone() }));
    let deployed = Deployed { class, unchanged: false, revision: index, canary: *share, ended };
    Ok(draft.finish(CatalogReply::Deployed(Box::new(deployed))))
}

/// Makes the canary the class. It keeps its version; the one before it can be gone back to.
pub(super) fn promote(state: &CatalogState, promote: &PromoteRecord, index: u64) -> Decision {
    let (entry, stable) = running(state, &promote.class)?;
    let canary = stable.canary.as_deref().ok_or_else(|| {
        Problem::new(Code::Conflict, format!("class {} has no canary", stable.name))
            .hint("deploy one first: oprc deploy --canary PERCENT")
    })?;
    let mut draft = Draft::new(state, index);
    let class = Class { revision: index, deployed_at_ms: promote.at_ms, ..canary.class.clone() };
    supersede(&mut draft, Some(entry), class.clone());
    let deployed = Deployed { class, revision: index, ..Deployed::default() };
    Ok(draft.finish(CatalogReply::Deployed(Box::new(deployed))))
}

/// Ends the canary of `stable`, a class's current version, which serves all objects again.
pub(super) fn end(state: &CatalogState, stable: &Class, index: u64) -> (Vec<CatalogEffect>, CatalogReply) {
    let mut draft = Draft::new(state, index);
    let class = Class { revision: index, canary: None, ..stable.clone() };
    draft.put(CatalogItem::Version(class.clone()));
    let ended = stable.canary.as_ref().map_or(0, |canary| canary.class.version);
    let deployed = Deployed { class, revision: index, ended, ..Deployed::default() };
    draft.finish(CatalogReply::Deployed(Box::new(deployed)))
}

fn running<'s>(state: &'s CatalogState, name: &str) -> Result<(&'s ClassEntry, &'s Class), Problem> {
    let entry = state.classes.get(name);
    entry.and_then(|entry| Some((entry, entry.running()?))).ok_or_else(|| {
        Problem::new(Code::NotFound, format!("there is no class {name}"))
            .hint("a canary stands beside a class that is deployed: deploy it without one first")
    })
}

/// What must hold whatever canary there is.
fn check(stable: &Class, CanaryRecord { deploy, share }: &CanaryRecord) -> Result<(), Problem> {
    if !(1..=SHARE_MAX).contains(share) {
        let detail = format!(
            "a canary of class {} for {share}% of its objects; 1 to {SHARE_MAX} are allowed",
            stable.name
        );
        return Err(Problem::new(Code::Invalid, detail)
            .hint("end a canary with a rollback, and make it the class with a promotion"));
    }
    if is_same(stable, deploy) {
        let detail = format!(
            "class {} runs this component with this manifest already, as version {}",
            stable.name, stable.version
        );
        return Err(Problem::new(Code::Conflict, detail)
            .hint("a canary is other code; a rollback ends the one that runs (oprc rollback)"));
    }
    Ok(())
}

fn unchanged(state: &CatalogState, canary: &Canary) -> (Vec<CatalogEffect>, CatalogReply) {
    let (class, revision) = (canary.class.clone(), state.counters.revision);
    let deployed = Deployed { class, unchanged: true, revision, canary: canary.share, ended: 0 };
    (Vec::new(), CatalogReply::Deployed(Box::new(deployed)))
}

//! Rolling back: what an earlier version of a class was made of is deployed again, as a new version. While the class has a
//! canary, going back is first of all to end that.

use oprc_mesh::catalog::Class;
use oprc_mesh::outcome::{Code, Problem};

use super::draft::Decision;
use super::state::{CatalogState, ClassEntry};
use super::{canary, classes};
use crate::record::{DeployRecord, RollbackRecord};

pub(super) fn rollback(state: &CatalogState, rollback: &RollbackRecord, index: u64) -> Decision {
    let target = target(state, &rollback.class, rollback.to)?;
    let deploy = DeployRecord {
        class: target.name.clone(),
        digest: target.digest.clone(),
        settings: target.settings.clone(),
        methods: target.methods.clone(),
        generic: target.generic,
        serves_http: target.serves_http,
        deployed_at_ms: rollback.at_ms,
        // who goes back wants what was there, whatever was added since
        keep_methods: false,
    };
    let current = state.classes.get(&rollback.class).and_then(ClassEntry::running);
    match current.filter(|current| current.canary.is_some()) {
        // also when another version of the same is asked for
        Some(current) if classes::is_same(current, &deploy) => Ok(canary::end(state, current, index)),
        Some(_) => classes::replace(state, &deploy, index),
        None => classes::deploy(state, &deploy, index),
    }
}

/// The version that a rollback brings back: `to`; or, if that is 0, the current one while it has a canary, else the one before.
pub(super) fn target<'s>(state: &'s CatalogState, class: &str, to: u64) -> Result<&'s Class, Problem> {
    let deployed = state.classes.get(class).and_then(|entry| Some((entry, entry.running()?)));
    let absent = || Problem::new(Code::NotFound, format!("there is no class {class}"));
    let (ClassEntry { versions, .. }, current) = deployed.ok_or_else(absent)?;
    if to == 0 {
        if current.canary.is_some() {
            return Ok(current);
        }
        let only = || {
            Problem::new(Code::Conflict, format!("class {class} has no version before its current one"))
                .hint("deploy the component that is wanted")
        };
        return versions.iter().rev().nth(1).ok_or_else(only);
    }
    if current.canary.as_ref().is_some_and(|canary| canary.class.version == to) {
        let detail = format!("version {to} of class {class} is its canary");
        return Err(Problem::new(Code::Conflict, detail).hint("`oprc promote` makes a canary the class"));
    }
    let known = versions.iter().find(|version| version.version == to);
    known.ok_or_else(|| {
        let ends = versions.first().zip(versions.last());
        let kept = ends.map_or(String::new(), |(first, last)| {
            format!(": versions {} to {} are remembered", first.version, last.version)
        });
        Problem::new(Code::NotFound, format!("class {class} has no version {to}{kept}"))
            .hint("`oprc versions` lists the versions of a class")
    })
}

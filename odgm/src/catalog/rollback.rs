//! Rolling back: what an earlier version of a class was made of is deployed again, as a new version.

use oprc_mesh::catalog::Class;
use oprc_mesh::outcome::{Code, Problem};

use super::classes;
use super::draft::Decision;
use super::state::CatalogState;
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
    classes::deploy(state, &deploy, index)
}

/// The version that a rollback brings back: `to`, or the one before the current one if that is 0.
pub(super) fn target<'s>(state: &'s CatalogState, class: &str, to: u64) -> Result<&'s Class, Problem> {
    let deployed = state.classes.get(class).filter(|entry| !entry.record.removed);
    let absent = || Problem::new(Code::NotFound, format!("there is no class {class}"));
    let versions = &deployed.ok_or_else(absent)?.versions;
    if to == 0 {
        let only = || {
            Problem::new(Code::Conflict, format!("class {class} has no version before its current one"))
                .hint("deploy the component that is wanted")
        };
        return versions.iter().rev().nth(1).ok_or_else(only);
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

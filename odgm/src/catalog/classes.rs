//! Classes: deployed, redeployed, removed, purged.

use oprc_mesh::catalog::{Canary, Class, ClassSettings, NodeState, OwnGrid};
use oprc_mesh::limits::GRID_PARTITIONS_MAX;
use oprc_mesh::outcome::{Code, Problem};
use oprc_mesh::wire::Deployed;

use super::draft::{Decision, Draft};
use super::keys::CatalogKey;
use super::state::{CatalogState, ClassEntry};
use super::{CatalogReply, DEFAULT_GRID, promises};
use crate::record::{CatalogItem, ClassRecord, DeployRecord, RemoveRecord};

/// Deployments of a class that are remembered; older ones are forgotten.
pub(super) const VERSIONS_KEPT_MAX: usize = 256;

pub(super) fn deploy(state: &CatalogState, deploy: &DeployRecord, index: u64) -> Decision {
    // a class that was removed has no callers to break
    let running = state.classes.get(&deploy.class).and_then(ClassEntry::running);
    if let Some(class) = running.filter(|class| class.canary.is_some()) {
        return Err(has_canary(class));
    }
    if let Some(class) = running.filter(|class| is_same(class, deploy)) {
        let (class, revision) = (class.clone(), state.counters.revision);
        let deployed = Deployed { class, unchanged: true, revision, ..Deployed::default() };
        return Ok((Vec::new(), CatalogReply::Deployed(Box::new(deployed))));
    }
    if let Some(before) = running.filter(|_| deploy.keep_methods) {
        promises::check(before, deploy)?;
    }
    replace(state, deploy, index)
}

/// Makes what is to be deployed the class's current version, whatever that is now; a canary ends with it.
pub(super) fn replace(state: &CatalogState, deploy: &DeployRecord, index: u64) -> Decision {
    let known = state.classes.get(&deploy.class);
    let mut draft = Draft::new(state, index);
    let grid = match known.and_then(|entry| entry.versions.last()) {
        Some(before) => keep_grid(before, &deploy.settings)?,
        None => new_grid(state, &mut draft, deploy)?,
    };
    let record = known.map_or_else(
        || ClassRecord {
            id: draft.counters.next_class,
            name: deploy.class.clone(),
            ..ClassRecord::default()
        },
        |entry| entry.record.clone(),
    );
    draft.counters.next_class = draft.counters.next_class.max(record.id + 1);
    let record = ClassRecord { version: record.version + 1, removed: false, ..record };
    let class = class_of(deploy, &record, grid, index);
    draft.put(CatalogItem::Class(record));
    let ended = supersede(&mut draft, known, class.clone()).map_or(0, |canary| canary.class.version);
    let deployed = Deployed { class, revision: index, ended, ..Deployed::default() };
    Ok(draft.finish(CatalogReply::Deployed(Box::new(deployed))))
}

/// Puts `class` in the place of the current version, which stays in the history without its canary; what is too old goes.
/// Gives that canary.
pub(super) fn supersede<'s>(
    draft: &mut Draft,
    known: Option<&'s ClassEntry>,
    class: Class,
) -> Option<&'s Canary> {
    if let Some(oldest) = known.filter(|entry| entry.versions.len() >= VERSIONS_KEPT_MAX) {
        draft.drop_record(CatalogKey::Version { class: class.id, version: oldest.versions[0].version });
    }
    let before = known.and_then(|entry| entry.versions.last()).filter(|before| before.canary.is_some());
    if let Some(before) = before {
        draft.put(CatalogItem::Version(Class { canary: None, ..before.clone() }));
    }
    draft.put(CatalogItem::Version(class));
    before?.canary.as_deref()
}

/// The version that `record` counts.
pub(super) fn class_of(deploy: &DeployRecord, record: &ClassRecord, grid: String, index: u64) -> Class {
    Class {
        id: record.id,
        name: record.name.clone(),
        grid,
        revision: index,
        version: record.version,
        digest: deploy.digest.clone(),
        settings: deploy.settings.clone(),
        methods: deploy.methods.clone(),
        generic: deploy.generic,
        serves_http: deploy.serves_http,
        deployed_at_ms: deploy.deployed_at_ms,
        canary: None,
    }
}

/// `deploy` asks for the very same.
pub(super) fn is_same(class: &Class, deploy: &DeployRecord) -> bool {
    class.digest == deploy.digest
        && class.settings == deploy.settings
        && class.methods == deploy.methods
        && class.generic == deploy.generic
        && class.serves_http == deploy.serves_http
}

/// Whether the canary is to go on, or to go, is for somebody to say.
fn has_canary(class: &Class) -> Problem {
    let shown = class.canary.as_ref().map_or_else(String::new, |canary| {
        format!(": version {} serves {}% of its objects", canary.class.version, canary.share)
    });
    Problem::new(Code::Conflict, format!("class {} has a canary{shown}", class.name)).hint(
        "make it the class (oprc promote), or end it (oprc rollback), and deploy then; or deploy another canary in its place \
         (oprc deploy --canary)",
    )
}

/// A class stays in its grid while it exists, removed or not: its objects are there.
pub(super) fn keep_grid(before: &Class, settings: &ClassSettings) -> Result<String, Problem> {
    if before.settings.own_grid == settings.own_grid {
        return Ok(before.grid.clone());
    }
    let detail =
        format!("class {} lives in the grid {} and cannot move to another", before.name, before.grid);
    Err(Problem::new(Code::Conflict, detail)
        .hint("keep `grid` in the manifest as it was, or remove the class with its objects first (purge)"))
}

fn new_grid(state: &CatalogState, draft: &mut Draft, deploy: &DeployRecord) -> Result<String, Problem> {
    let Some(shape) = deploy.settings.own_grid else { return Ok(DEFAULT_GRID.to_owned()) };
    let live: Vec<_> = state.live().collect();
    // a host that is away for a while still counts: what it should hold waits for it, or moves on
    let hosts = state.nodes.values().filter(|node| node.state() != NodeState::Removed).count();
    check_shape(&deploy.class, shape, hosts)?;
    if live.is_empty() {
        return Err(Problem::new(Code::Unavailable, "there is no live host to lay the grid on"));
    }
    if state.grids.contains_key(&deploy.class) {
        let detail =
            format!("the name of class {} is the name of a grid that is there already", deploy.class);
        return Err(Problem::new(Code::Conflict, detail).hint("deploy the class under another name"));
    }
    draft.add_grid(&deploy.class, shape.partitions, shape.replicas, &live);
    Ok(deploy.class.clone())
}

fn check_shape(class: &str, shape: OwnGrid, hosts: usize) -> Result<(), Problem> {
    if !(1..=GRID_PARTITIONS_MAX).contains(&shape.partitions) {
        let detail = format!(
            "the grid of class {class} has {} partitions, allowed is 1 to {GRID_PARTITIONS_MAX}",
            shape.partitions
        );
        return Err(Problem::new(Code::Invalid, detail));
    }
    if shape.replicas == 0 || shape.replicas as usize > hosts {
        let hosts =
            if hosts == 1 { "there is 1 host".to_owned() } else { format!("there are {hosts} hosts") };
        let detail = format!("the grid of class {class} wants {} replicas, but {hosts}", shape.replicas);
        return Err(Problem::new(Code::Invalid, detail)
            .hint("ask for between one replica and as many as there are hosts"));
    }
    Ok(())
}

pub(super) fn remove(state: &CatalogState, remove: &RemoveRecord, index: u64) -> Decision {
    let absent = || Problem::new(Code::NotFound, format!("there is no class {}", remove.class));
    // a removed class can still be purged
    let entry = state.classes.get(&remove.class).ok_or_else(absent)?;
    let mut draft = Draft::new(state, index);
    if remove.purge {
        for version in &entry.versions {
            draft.drop_record(CatalogKey::Version { class: version.id, version: version.version });
        }
        if entry.versions.iter().any(|version| version.settings.own_grid.is_some()) {
            draft.drop_record(CatalogKey::Grid(remove.class.clone()));
        }
        draft.drop_record(CatalogKey::Class(remove.class.clone()));
    } else if entry.record.removed {
        return Err(absent());
    } else {
        draft.put(CatalogItem::Class(ClassRecord { removed: true, ..entry.record.clone() }));
        // it comes back as what it was, not as what it might have become
        if let Some(current) = entry.versions.last().filter(|current| current.canary.is_some()) {
            draft.put(CatalogItem::Version(Class { canary: None, ..current.clone() }));
        }
    }
    draft.changed()
}

//! Classes: deployed, redeployed, removed, purged.

use oprc_mesh::catalog::{Class, ClassSettings, NodeState, OwnGrid};
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
    let known = state.classes.get(&deploy.class);
    if let Some(class) = known.and_then(|entry| unchanged(entry, deploy)) {
        let deployed = Deployed { class: class.clone(), unchanged: true, revision: state.counters.revision };
        return Ok((Vec::new(), CatalogReply::Deployed(Box::new(deployed))));
    }
    // a class that was removed has no callers to break
    let running = known.filter(|entry| deploy.keep_methods && !entry.record.removed);
    if let Some(before) = running.and_then(|entry| entry.versions.last()) {
        promises::check(before, deploy)?;
    }
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
    if let Some(oldest) = known.filter(|entry| entry.versions.len() >= VERSIONS_KEPT_MAX) {
        draft.drop_record(CatalogKey::Version { class: class.id, version: oldest.versions[0].version });
    }
    draft.put(CatalogItem::Version(class.clone()));
    let deployed = Deployed { class, unchanged: false, revision: index };
    Ok(draft.finish(CatalogReply::Deployed(Box::new(deployed))))
}

fn class_of(deploy: &DeployRecord, record: &ClassRecord, grid: String, index: u64) -> Class {
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
    }
}

/// The current deployment, when it is deployed and `deploy` asks for the very same.
fn unchanged<'s>(entry: &'s ClassEntry, deploy: &DeployRecord) -> Option<&'s Class> {
    let class = entry.versions.last().filter(|_| !entry.record.removed)?;
    let same = class.digest == deploy.digest
        && class.settings == deploy.settings
        && class.methods == deploy.methods
        && class.generic == deploy.generic
        && class.serves_http == deploy.serves_http;
    same.then_some(class)
}

/// A class stays in its grid while it exists, removed or not: its objects are there.
fn keep_grid(before: &Class, settings: &ClassSettings) -> Result<String, Problem> {
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
    }
    draft.changed()
}

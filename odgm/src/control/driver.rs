//! The loop that carries out what [`super::plan`] and [`super::steps`] decide, for the groups that this host leads. It
//! only gathers what they look at and runs what they say: one step per group at a time, a failed one again after a pause.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use oprc_mesh::catalog::{CatalogView, PartitionInfo};
use oprc_mesh::id::NodeId;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::plan::{Rules, plan};
use super::sightings::Sightings;
use super::steered::{Registry, Steered};
use super::steps::{Goal, Recorded, Sight, Step, next_step};
use crate::catalog::CATALOG_GROUP;
use crate::placement::catalog_members;
use crate::record::{CatalogCommand, SettleRecord};

/// Between two looks when nothing happens ...
const LOOK_MS: u64 = 1_000;
/// ... of which every so many is one at all groups: what changes a group's members is told, or waited for.
const LOOKS_PER_ROUND: u32 = 5;
/// The same while something waits, for example for a replica to catch up: that makes no noise.
const LOOK_WAITING_MS: u64 = 200;
/// Between two looks at the least, however much happens.
const LOOK_MIN_MS: u64 = 5;
/// After a step that failed.
const PAUSE_MS: u64 = 500;
/// Steps of all groups under way at once.
const STEPS_MAX: usize = 32;
/// A host takes its preferred leaderships back once it was seen for so long,
const PREFERRED_SEEN_MS: u64 = 10_000;
/// from a leader that has led for so long.
const PREFERRED_LED_MS: u64 = 30_000;
/// A handed-over leadership should be gone after this.
const TRANSFER_MS: u64 = 2_000;
/// The key of the catalog's own changes among the groups that are busy.
const PLANNING: u64 = u64::MAX;

/// What wakes the driver.
pub(crate) struct Signals {
    pub(crate) views: watch::Receiver<Arc<CatalogView>>,
    pub(crate) nodes: watch::Receiver<BTreeSet<NodeId>>,
    /// This host came to lead a group, or ceased to.
    pub(crate) standings: Arc<Notify>,
}

/// See the module.
pub(crate) struct Driver<R, F> {
    me: u64,
    registry: Arc<R>,
    /// The groups that run on this host, the catalog's included.
    groups: F,
    rules: Rules,
    sightings: Sightings,
    led_since: BTreeMap<u64, (u64, Instant)>,
    busy: BTreeSet<u64>,
    paused: BTreeMap<u64, Instant>,
    transferring: bool,
    steps: JoinSet<Done>,
}

struct Done {
    group: u64,
    transfer: bool,
    failed: Option<String>,
}

impl<R, F> Driver<R, F>
where
    R: Registry,
    F: Fn() -> Vec<Arc<dyn Steered>> + Send,
{
    pub(crate) fn new(me: NodeId, registry: Arc<R>, groups: F, rules: Rules) -> Self {
        Self {
            me: me.0,
            registry,
            groups,
            rules,
            sightings: Sightings::new(Instant::now()),
            led_since: BTreeMap::new(),
            busy: BTreeSet::new(),
            paused: BTreeMap::new(),
            transferring: false,
            steps: JoinSet::new(),
        }
    }

    /// Runs until `stop`; steps under way are given up then, which leaves groups as consistent as a crash would.
    pub(crate) async fn run(mut self, mut signals: Signals, stop: CancellationToken) {
        let mut idle = 0;
        loop {
            let alive = signals.nodes.borrow_and_update().iter().map(|node| node.0).collect();
            self.sightings.take(&alive, Instant::now());
            let view = signals.views.borrow_and_update().clone();
            let waiting = idle == 0 && self.look(&view);
            self.look_at_catalog(&view);
            let next = Duration::from_millis(if waiting { LOOK_WAITING_MS } else { LOOK_MS });
            let rested = tokio::time::sleep(Duration::from_millis(LOOK_MIN_MS));
            let mut quiet = false;
            tokio::select! {
                changed = signals.views.changed() => if changed.is_err() { return },
                changed = signals.nodes.changed() => if changed.is_err() { return },
                () = signals.standings.notified() => {}
                Some(done) = self.steps.join_next() => self.finish(done),
                () = tokio::time::sleep(next) => quiet = !waiting,
                () = stop.cancelled() => return,
            }
            idle = if quiet { (idle + 1) % LOOKS_PER_ROUND } else { 0 };
            rested.await;
            while let Some(done) = self.steps.try_join_next() {
                self.finish(done);
                idle = 0;
            }
        }
    }

    fn finish(&mut self, done: Result<Done, tokio::task::JoinError>) {
        let Ok(done) = done else { return self.recover() };
        self.busy.remove(&done.group);
        self.transferring &= !done.transfer;
        if let Some(reason) = done.failed {
            tracing::debug!(group = done.group, %reason, "a step of a group's membership is tried again later");
            self.paused.insert(done.group, Instant::now() + Duration::from_millis(PAUSE_MS));
        }
    }

    /// A step panicked, and nobody knows whose it was: all are taken for over and looked at anew after a pause.
    fn recover(&mut self) {
        let until = Instant::now() + Duration::from_millis(PAUSE_MS);
        self.paused.extend(std::mem::take(&mut self.busy).into_iter().map(|group| (group, until)));
        self.steps.abort_all();
        self.transferring = false;
    }

    /// Looks at all groups and starts every step that is due; says whether something waits.
    fn look(&mut self, view: &Arc<CatalogView>) -> bool {
        let now = Instant::now();
        self.paused.retain(|_, until| *until > now);
        let groups: BTreeMap<u64, Arc<dyn Steered>> =
            (self.groups)().into_iter().map(|group| (group.group(), group)).collect();
        self.note_terms(&groups, now);
        let infos: BTreeMap<u64, &PartitionInfo> = view.partitions().map(|info| (info.group, info)).collect();
        let mut waiting = !self.paused.is_empty() || !self.busy.is_empty();
        for (id, group) in groups {
            if !self.led_since.contains_key(&id) || self.is_occupied(id) {
                continue;
            }
            let info = infos.get(&id).copied();
            let sight = self.sight(&*group);
            let Some(goal) = goal(info, id, view, &sight) else { continue };
            match next_step(&goal, &sight) {
                Some(step) => self.start(group, step, info),
                None if is_reached(&goal, &sight) => {
                    if let Some(heir) = info.and_then(|info| self.preferred(info, &sight, now)) {
                        self.start(group, Step::Transfer(heir), info);
                    }
                }
                None => waiting = true,
            }
        }
        waiting || !self.busy.is_empty()
    }

    /// Plans, if this host leads the catalog: time alone may call for something.
    fn look_at_catalog(&mut self, view: &Arc<CatalogView>) {
        if self.led_since.contains_key(&CATALOG_GROUP) && !self.is_occupied(PLANNING) {
            self.start_plan(view, Instant::now());
        }
    }

    fn is_occupied(&self, id: u64) -> bool {
        self.busy.contains(&id) || self.paused.contains_key(&id) || self.busy.len() >= STEPS_MAX
    }

    fn note_terms(&mut self, groups: &BTreeMap<u64, Arc<dyn Steered>>, now: Instant) {
        let led = groups.iter().filter_map(|(id, group)| Some((*id, group.leads()?)));
        let before = std::mem::take(&mut self.led_since);
        self.led_since = led
            .map(|(id, term)| {
                let since = before.get(&id).filter(|(known, _)| *known == term).map(|(_, since)| *since);
                (id, (term, since.unwrap_or(now)))
            })
            .collect();
    }

    fn sight(&self, group: &dyn Steered) -> Sight {
        Sight {
            me: self.me,
            members: group.members(),
            last: group.last_index(),
            matched: group.matched(),
            alive: self.sightings.alive().chain([self.me]).collect(),
        }
    }

    /// Who should take over from this host, now that nothing else is to be done.
    fn preferred(&self, info: &PartitionInfo, sight: &Sight, now: Instant) -> Option<u64> {
        let preferred = *info.nodes.first()?;
        let (_, since) = self.led_since.get(&info.group)?;
        let settled = now.saturating_duration_since(*since) >= Duration::from_millis(PREFERRED_LED_MS);
        let seen = self.sightings.alive_for(preferred, now) >= Duration::from_millis(PREFERRED_SEEN_MS);
        let able = sight.members.voters.contains(&preferred) && sight.is_caught_up(preferred);
        (preferred != self.me && settled && seen && able && !self.transferring).then_some(preferred)
    }

    fn start(&mut self, group: Arc<dyn Steered>, step: Step, info: Option<&PartitionInfo>) {
        let transfer = matches!(step, Step::Transfer(_));
        if transfer && self.transferring {
            return;
        }
        self.transferring |= transfer;
        let id = group.group();
        self.busy.insert(id);
        let (registry, placed) = (self.registry.clone(), info.map_or(0, |info| info.placed));
        tracing::debug!(group = id, ?step, "changing a group's membership");
        self.steps.spawn(async move {
            let failed = match step {
                Step::Settle(members) => {
                    let members = members.into_iter().collect();
                    let settle = SettleRecord { group: id, members, placed };
                    registry.change(CatalogCommand::Settle(settle)).await.err()
                }
                Step::Transfer(to) => hand_over(&*group, to).await.err(),
                Step::ChangeVoters(voters) if id == CATALOG_GROUP => {
                    change_catalog_voters(&*registry, &*group, voters).await.err()
                }
                other => group.take(other).await.err().map(|error| error.to_string()),
            };
            Done { group: id, transfer, failed }
        });
    }

    fn start_plan(&mut self, view: &Arc<CatalogView>, now: Instant) {
        let commands = plan(view, self.me, &self.sightings, self.rules, now);
        if commands.is_empty() {
            return;
        }
        self.busy.insert(PLANNING);
        let registry = self.registry.clone();
        self.steps.spawn(async move {
            let mut failed = None;
            for command in commands {
                tracing::info!(?command, "the catalog's leader decides");
                failed = registry.change(command).await.err();
                if failed.is_some() {
                    break;
                }
            }
            Done { group: PLANNING, transfer: false, failed }
        });
    }
}

/// Where a group should be; none while the catalog does not know it, or no hosts.
fn goal(info: Option<&PartitionInfo>, group: u64, view: &CatalogView, sight: &Sight) -> Option<Goal> {
    if group == CATALOG_GROUP {
        let catalog = catalog_members(&view.nodes, &sight.members.voters);
        let goal = Goal { voters: catalog.voters, learners: catalog.learners, record: None };
        return (!goal.voters.is_empty()).then_some(goal);
    }
    let info = info?;
    let record = Recorded { held: info.held.iter().copied().collect(), founded: info.founded };
    let voters = info.nodes.iter().copied().collect();
    Some(Goal { voters, learners: BTreeSet::new(), record: Some(record) })
}

fn is_reached(goal: &Goal, sight: &Sight) -> bool {
    let members = &sight.members;
    members.committed && !members.joint && members.voters == goal.voters
        // a learner that is away is waited for without haste
        && members.learners.is_subset(&goal.learners)
}

/// Whoever is to vote in the catalog's group has its components first.
async fn change_catalog_voters<R: Registry>(
    registry: &R,
    group: &dyn Steered,
    voters: BTreeSet<u64>,
) -> Result<(), String> {
    let before = group.members().voters;
    for newcomer in voters.difference(&before) {
        registry.equip(*newcomer).await?;
    }
    group.take(Step::ChangeVoters(voters)).await.map_err(|error| error.to_string())
}

/// Hands a leadership over and waits until it is gone.
async fn hand_over(group: &dyn Steered, to: u64) -> Result<(), String> {
    group.take(Step::Transfer(to)).await.map_err(|error| error.to_string())?;
    let end = Instant::now() + Duration::from_millis(TRANSFER_MS);
    while group.leads().is_some() {
        if Instant::now() >= end {
            return Err(format!("{} did not take over", NodeId(to)));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

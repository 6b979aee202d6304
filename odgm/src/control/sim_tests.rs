//! A whole cluster in one thread: the catalog's commands, the plan, and the steps of every group, on hosts that come, die,
//! return and are drained at random. Raft is a model: members and how far each host has the log.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use oprc_mesh::catalog::{CatalogView, Founding, Node, NodeState, OwnGrid};
use proptest::prelude::*;
use tokio::time::Instant;

use super::plan::{Rules, plan};
use super::sightings::Sightings;
use super::steps::{Goal, Recorded, Sight, Step, next_step};
use crate::catalog::simulated::Simulated;
use crate::placement::catalog_members;
use crate::raft::Members;
use crate::record::{CatalogCommand, DeployRecord, SettleRecord, StateChange};

const RULES: Rules = Rules { grace: Duration::from_mins(5), moves_max: 2 };
const LAST: u64 = 100_000;

/// One Raft group.
#[derive(Debug, Clone, Default)]
struct Model {
    voters: BTreeSet<u64>,
    learners: BTreeSet<u64>,
    leader: Option<u64>,
    /// How far each host that follows has the log.
    matched: BTreeMap<u64, u64>,
}

struct World {
    catalog: Simulated,
    groups: BTreeMap<u64, Model>,
    alive: BTreeSet<u64>,
    sightings: Sightings,
    now: Instant,
}

impl World {
    fn new(hosts: u64) -> Self {
        let mut catalog = Simulated::default();
        let founding = Founding { cluster: 7, expect: hosts as u32, replicas: 3 };
        catalog.run(&CatalogCommand::Found(founding)).unwrap();
        let group = Model { voters: [1].into(), leader: Some(1), ..Model::default() };
        let now = Instant::now();
        let mut world = Self {
            catalog,
            groups: BTreeMap::from([(0, group)]),
            alive: BTreeSet::new(),
            sightings: Sightings::new(now),
            now,
        };
        (1..=hosts).for_each(|id| world.join(id));
        world
    }

    fn view(&self) -> CatalogView {
        self.catalog.view()
    }

    fn join(&mut self, id: u64) {
        self.alive.insert(id);
        let _ = self.catalog.run(&CatalogCommand::SetNode(Node { id, ..Node::default() }));
    }

    fn set_state(&mut self, node: u64, state: NodeState) {
        let change = StateChange { node, state: state as i32, from: None };
        // refused when it cannot be
        let _ = self.catalog.run(&CatalogCommand::SetState(change));
    }

    fn state(&self, id: u64) -> NodeState {
        self.view().nodes.iter().find(|node| node.id == id).unwrap().state()
    }

    fn has_quorum(&self, voters: &BTreeSet<u64>) -> bool {
        voters.intersection(&self.alive).count() * 2 > voters.len()
    }

    /// Elections, founding and catching up.
    fn raft(&mut self) {
        for info in self.view().partitions() {
            if !info.founded && !self.groups.contains_key(&info.group) && self.alive.contains(&info.founder) {
                let voters = info.nodes.iter().copied().collect();
                self.groups.insert(info.group, Model { voters, ..Model::default() });
            }
        }
        let view = self.view();
        self.groups.retain(|id, _| *id == 0 || view.partition(*id).is_some());
        let alive = self.alive.clone();
        for (id, group) in &mut self.groups {
            let leads = |id: &u64| alive.contains(id) && group.voters.contains(id);
            let quorum = group.voters.intersection(&alive).count() * 2 > group.voters.len();
            group.leader = group.leader.filter(leads);
            if !quorum {
                group.leader = None;
            } else if group.leader.is_none() {
                group.leader = group.voters.intersection(&alive).next().copied();
            }
            let members = group.voters.union(&group.learners).copied().collect::<BTreeSet<_>>();
            group.matched.retain(|id, _| members.contains(id));
            let runs = |host: &u64| {
                alive.contains(host)
                    && (*id == 0 || view.partition(*id).is_some_and(|info| info.held.contains(host)))
            };
            if group.leader.is_some() {
                for host in members.into_iter().filter(runs) {
                    let matched = group.matched.entry(host).or_insert(0);
                    *matched = (*matched + LAST / 2).min(LAST);
                }
            }
        }
    }

    /// What every group's leader and the catalog's leader do in one look.
    fn act(&mut self) {
        self.sightings.take(&self.alive, self.now);
        self.raft();
        let Some(leader) = self.groups[&0].leader else { return };
        for command in plan(&self.view(), leader, &self.sightings, RULES, self.now) {
            self.check_place(&command);
            // what was decided on may have changed since
            let _ = self.catalog.run(&command);
        }
        self.check_held();
        let ids: Vec<u64> = self.groups.keys().copied().collect();
        for id in ids {
            self.step(id);
            self.check_held();
        }
    }

    fn step(&mut self, id: u64) {
        let view = self.view();
        let group = self.groups[&id].clone();
        let Some(me) = group.leader else { return };
        let goal = if id == 0 {
            let members = catalog_members(&view.nodes, &group.voters);
            Goal { voters: members.voters, learners: members.learners, record: None }
        } else {
            let info = view.partition(id).unwrap();
            let record = Recorded { held: info.held.iter().copied().collect(), founded: info.founded };
            let voters = info.nodes.iter().copied().collect();
            Goal { voters, learners: BTreeSet::new(), record: Some(record) }
        };
        let members = Members {
            voters: group.voters.clone(),
            learners: group.learners.clone(),
            joint: false,
            committed: true,
        };
        let sight =
            Sight { me, members, last: LAST, matched: group.matched.clone(), alive: self.alive.clone() };
        let Some(step) = next_step(&goal, &sight) else { return };
        let placed = view.partition(id).map_or(0, |info| info.placed);
        self.take(id, step, placed);
    }

    fn take(&mut self, id: u64, step: Step, placed: u64) {
        let (alive, states) = (self.alive.clone(), self.view());
        let group = self.groups.get_mut(&id).unwrap();
        match step {
            Step::AddLearner(host) => assert!(group.learners.insert(host) && !group.voters.contains(&host)),
            Step::DropLearners(hosts) => group.learners.retain(|host| !hosts.contains(host)),
            Step::Transfer(to) => {
                assert!(group.voters.contains(&to) && alive.contains(&to));
                group.leader = Some(to);
            }
            Step::ChangeVoters(voters) => {
                let known = |id: &u64| group.voters.contains(id) || group.learners.contains(id);
                assert!(voters.iter().all(known), "openraft refuses voters that do not follow yet");
                assert!(voters.iter().filter(|id| alive.contains(id)).count() * 2 > voters.len());
                let fewest = if let Some(info) = states.partition(id) {
                    // fewer than before only as far as the placement asked for it: see `check_place`
                    info.nodes.len()
                } else {
                    // the catalog makes an even number of voters odd
                    let lost = leaving(&states, group.voters.iter()) + usize::from(voters.len() % 2 == 1);
                    group.voters.len().saturating_sub(lost)
                };
                assert!(voters.len() >= fewest, "{:?} -> {voters:?}", group.voters);
                for id in &voters {
                    assert!(group.voters.contains(id) || group.matched[id] == LAST);
                }
                group.learners.retain(|id| !voters.contains(id));
                group.voters = voters;
            }
            Step::Settle(members) => {
                let members = members.into_iter().collect();
                self.catalog
                    .run(&CatalogCommand::Settle(SettleRecord { group: id, members, placed }))
                    .unwrap();
            }
        }
    }

    /// No copy is given up but of a host that is to leave.
    fn check_place(&self, command: &CatalogCommand) {
        let CatalogCommand::Place(place) = command else { return };
        let view = self.view();
        let before = &view.partition(place.group).unwrap().nodes;
        let leaving = leaving(&view, before.iter());
        assert!(place.nodes.len() + leaving >= before.len(), "{before:?} -> {:?}", place.nodes);
    }

    /// Whoever is a member may hold it: else its host would stop it.
    fn check_held(&self) {
        let view = self.view();
        for (id, group) in self.groups.iter().filter(|(id, _)| **id != 0) {
            let Some(info) = view.partition(*id) else { continue };
            for host in group.voters.union(&group.learners) {
                assert!(
                    info.held.contains(host),
                    "group {id}: {host} is a member and {:?} hold it",
                    info.held
                );
            }
        }
    }

    fn run(&mut self, rounds: usize) {
        for _ in 0..rounds {
            self.now += Duration::from_secs(10);
            self.act();
        }
    }

    /// Everything is where it should be.
    fn check_settled(&self) {
        let view = self.view();
        let live: BTreeSet<u64> =
            view.nodes.iter().filter(|node| node.state() == NodeState::Live).map(|node| node.id).collect();
        let mut copies: BTreeMap<u64, usize> = live.iter().map(|id| (*id, 0)).collect();
        for info in view.partitions() {
            let group = &self.groups[&info.group];
            assert!(info.is_settled(), "{info:?} {group:?} {:?}", view.nodes);
            assert_eq!(group.voters, info.nodes.iter().copied().collect());
            assert!(group.learners.is_empty() && self.has_quorum(&group.voters));
            info.nodes.iter().for_each(|id| *copies.entry(*id).or_default() += 1);
        }
        if live.len() >= 3 && copies.keys().all(|id| live.contains(id)) {
            let range = copies.values().max().unwrap() - copies.values().min().unwrap();
            assert!(range <= 1, "{copies:?}");
        }
        let catalog = &self.groups[&0];
        assert!(self.has_quorum(&catalog.voters), "{catalog:?}");
        assert!(catalog.voters.union(&catalog.learners).count() >= live.len());
    }
}

/// How many of these hosts are to leave.
fn leaving<'a>(view: &CatalogView, hosts: impl Iterator<Item = &'a u64>) -> usize {
    let state = |id: &u64| view.nodes.iter().find(|node| node.id == *id).unwrap().state();
    hosts.filter(|id| !matches!(state(id), NodeState::Live | NodeState::Down)).count()
}

fn deploy_grid(world: &mut World, partitions: u32) {
    let mut deploy = DeployRecord { class: "A".into(), ..DeployRecord::default() };
    deploy.settings.own_grid = Some(OwnGrid { partitions, replicas: 3 });
    world.catalog.run(&CatalogCommand::Deploy(deploy)).unwrap();
}

#[test]
fn from_one_host_to_five_and_back_to_three() {
    let mut world = World::new(1);
    world.run(30);
    world.check_settled();
    for id in 2..=5 {
        world.join(id);
        world.run(400);
        world.check_settled();
    }
    assert_eq!(world.groups[&0].voters.len(), 5);
    deploy_grid(&mut world, 7);
    world.run(100);
    world.check_settled();
    // one is drained and removed, one dies for good
    world.set_state(1, NodeState::Draining);
    world.run(400);
    world.check_settled();
    assert!(world.view().partitions().all(|info| !info.held.contains(&1)));
    world.set_state(1, NodeState::Removed);
    assert_eq!(world.state(1), NodeState::Removed);
    world.alive.remove(&2);
    world.run(400);
    world.check_settled();
    assert_eq!(world.state(2), NodeState::Down);
    assert!(world.view().partitions().all(|info| info.nodes.iter().all(|id| (3..=5).contains(id))));
    assert_eq!(world.groups[&0].voters, BTreeSet::from([3, 4, 5]));
}

#[test]
fn few_partitions_move_at_once() {
    let mut world = World::new(3);
    world.run(30);
    world.join(4);
    for _ in 0..200 {
        world.run(1);
        let view = world.view();
        assert!(view.partitions().filter(|info| !info.is_settled()).count() <= RULES.moves_max);
    }
    world.check_settled();
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Join,
    Die(prop::sample::Index),
    Return,
    Drain(prop::sample::Index),
    Undrain,
    Wait(u8),
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        Just(Event::Join),
        any::<prop::sample::Index>().prop_map(Event::Die),
        Just(Event::Return),
        any::<prop::sample::Index>().prop_map(Event::Drain),
        Just(Event::Undrain),
        (1..40_u8).prop_map(Event::Wait),
    ]
}

fn happen(world: &mut World, event: Event, hosts: &mut u64) {
    let known: Vec<u64> = (1..=*hosts).collect();
    match event {
        Event::Join if *hosts < 7 => {
            *hosts += 1;
            world.join(*hosts);
        }
        Event::Join => {}
        Event::Die(index) => {
            world.alive.remove(&known[index.index(known.len())]);
        }
        Event::Return => {
            if let Some(id) = known.iter().find(|id| !world.alive.contains(id)) {
                world.alive.insert(*id);
            }
        }
        Event::Drain(index) => world.set_state(known[index.index(known.len())], NodeState::Draining),
        Event::Undrain => {
            if let Some(id) = known.iter().find(|id| world.state(**id) == NodeState::Draining) {
                world.set_state(*id, NodeState::Live);
            }
        }
        Event::Wait(rounds) => world.run(rounds.into()),
    }
    world.run(1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Every step keeps what must hold (see the assertions on the way); and once all hosts are back, all settles.
    #[test]
    fn whatever_happens_to_hosts_it_settles(
        start in 1..5_u64,
        events in proptest::collection::vec(any_event(), 0..24),
    ) {
        let mut world = World::new(start);
        let mut hosts = start;
        world.run(10);
        for event in events {
            happen(&mut world, event, &mut hosts);
        }
        world.alive = (1..=hosts).collect();
        world.run(600);
        world.check_settled();
    }
}

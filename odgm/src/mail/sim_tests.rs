//! Partitions that send each other messages over a network that loses, doubles and reorders, by couriers that crash and
//! forget, with turns that fail: each message takes effect exactly once, and each pair of objects keeps its order.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::tests::{Boxes, outgoing, settle};
use super::*;

const GROUPS: u64 = 3;
const OBJECTS: u64 = 4;
const BATCH: usize = 3;

/// What happens next; numbers choose among what there is.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// An object sends, at once or later, in one entry.
    Send { from: u64, to: u64, delay: u64, count: u8 },
    /// A courier puts a batch on the network.
    Carry { from: u64, to: u64 },
    /// The network delivers some message of those under way; it stays, so that it may come again.
    Deliver { which: usize },
    /// The network forgets a message.
    Lose { which: usize },
    /// A courier learns of a mark and trims.
    Trim { from: u64, to: u64 },
    /// A courier crashes: all that it knows is what is stored.
    Forget { from: u64, to: u64 },
    /// Time passes and some timers go off.
    Tick { group: u64, ms: u64 },
    /// A ready message is run; it may fail, and the word of it may come twice.
    Run { group: u64, which: usize, fails: bool, twice: bool },
}

fn event() -> impl Strategy<Value = Event> {
    let group = 0..GROUPS;
    prop_oneof![
        3 => (0..OBJECTS, 0..OBJECTS, prop_oneof![Just(0), 1..20_u64], 1..4_u8)
            .prop_map(|(from, to, delay, count)| Event::Send { from, to, delay, count }),
        4 => (group.clone(), group.clone()).prop_map(|(from, to)| Event::Carry { from, to }),
        4 => any::<usize>().prop_map(|which| Event::Deliver { which }),
        1 => any::<usize>().prop_map(|which| Event::Lose { which }),
        2 => (group.clone(), group.clone()).prop_map(|(from, to)| Event::Trim { from, to }),
        1 => (group.clone(), group.clone()).prop_map(|(from, to)| Event::Forget { from, to }),
        2 => (group.clone(), 0..9_u64).prop_map(|(group, ms)| Event::Tick { group, ms }),
        4 => (group, any::<usize>(), any::<bool>(), any::<bool>())
            .prop_map(|(group, which, fails, twice)| Event::Run { group, which, fails, twice }),
    ]
}

struct World {
    boxes: Vec<Boxes>,
    now: u64,
    network: Vec<(u64, Take)>,
    /// What each courier believes was taken, by (from, to).
    sent: BTreeMap<(u64, u64), u64>,
    /// Due time and text of what was sent, in the order of sending, by pair of objects.
    expected: BTreeMap<(u64, u64), Vec<(u64, String)>>,
    /// What took effect, in that order.
    seen: BTreeMap<(u64, u64), Vec<String>>,
    counter: u64,
}

/// An object's partition.
fn group_of(object: u64) -> u64 {
    object % GROUPS
}

impl World {
    fn new() -> Self {
        Self {
            boxes: (0..GROUPS).map(Boxes::new).collect(),
            now: 1,
            network: Vec::new(),
            sent: BTreeMap::new(),
            expected: BTreeMap::new(),
            seen: BTreeMap::new(),
            counter: 0,
        }
    }

    fn at(&mut self, group: u64) -> &mut Boxes {
        &mut self.boxes[group as usize]
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Send { from, to, delay, count } => self.send(from, to, delay, count),
            Event::Carry { from, to } => self.carry(from, to),
            Event::Deliver { which } => self.deliver(which),
            Event::Lose { which } if !self.network.is_empty() => {
                let which = which % self.network.len();
                self.network.remove(which);
            }
            Event::Lose { .. } => {}
            Event::Trim { from, to } => {
                let upto = self.sent.get(&(from, to)).copied().unwrap_or(0);
                self.at(from).step(1, MailStep::Trim(Trim { to_group: to, upto }));
            }
            Event::Forget { from, to } => drop(self.sent.remove(&(from, to))),
            Event::Tick { group, ms } => {
                self.now += ms;
                let now = self.now;
                self.at(group).tick(now, 2);
            }
            Event::Run { group, which, fails, twice } => self.run(group, which, fails, twice),
        }
    }

    fn send(&mut self, from: u64, to: u64, delay: u64, count: u8) {
        let (now, group) = (self.now, group_of(from));
        let mut batch = Vec::new();
        for _ in 0..count {
            self.counter += 1;
            let said = format!("{from}>{to}:{}", self.counter);
            let due = if delay == 0 { 0 } else { now + delay };
            batch.push(Outgoing {
                due_ms: due,
                ..outgoing(&from.to_string(), &to.to_string(), group_of(to), &said)
            });
            self.expected.entry((from, to)).or_default().push((due.max(now), said));
        }
        self.at(group).entry(now, |desk| {
            for outgoing in &batch {
                desk.send(1, outgoing).unwrap();
            }
        });
    }

    fn carry(&mut self, from: u64, to: u64) {
        let sent = self.sent.get(&(from, to)).copied().unwrap_or_else(|| self.trimmed(from, to));
        let messages = self.at(from).outbox(to, sent + 1, BATCH);
        if !messages.is_empty() {
            self.network.push((to, Take { from_group: from, first: sent + 1, messages }));
        }
    }

    fn trimmed(&self, from: u64, to: u64) -> u64 {
        let out = self.boxes[from as usize].get(&filled(to)).unwrap();
        out.map_or(0, |bytes| <OutRecord as prost::Message>::decode(&*bytes).unwrap().trimmed)
    }

    fn deliver(&mut self, which: usize) {
        if self.network.is_empty() {
            return;
        }
        let (to, take) = self.network[which % self.network.len()].clone();
        let from = take.from_group;
        let now = self.now;
        let MailReply::Taken(mark) = self.at(to).step(now, MailStep::Take(take)) else { panic!("no mark") };
        // the word of it may be an old one: what is known never shrinks
        let known = self.sent.entry((from, to)).or_insert(0);
        *known = mark.max(*known);
    }

    fn run(&mut self, group: u64, which: usize, fails: bool, twice: bool) {
        let now = self.now;
        let ready = self.at(group).ready(now);
        if ready.is_empty() {
            return;
        }
        let (key, said, _) = ready[which % ready.len()].clone();
        let verdict = if fails { Verdict::Retry } else { Verdict::Consumed };
        for _ in 0..=u8::from(twice) {
            let settle = Settle { at_ms: now + 2, ..settle(key, verdict) };
            let done = self.at(group).entry(now, |desk| {
                let there = desk.is_ready(key).unwrap();
                desk.settle(&settle).unwrap();
                there
            });
            if done && !fails {
                let (pair, _) = said.split_once(':').unwrap();
                let (from, to) = pair.split_once('>').unwrap();
                let pair = (from.parse().unwrap(), to.parse().unwrap());
                self.seen.entry(pair).or_default().push(said.clone());
            }
        }
    }

    /// The network is good from now on, and everything comes to rest.
    fn rest(&mut self) {
        self.now += 1_000;
        for _ in 0..10_000 {
            for from in 0..GROUPS {
                let now = self.now;
                self.at(from).tick(now, 99);
                for to in 0..GROUPS {
                    self.carry(from, to);
                    while !self.network.is_empty() {
                        self.deliver(0);
                        self.network.remove(0);
                    }
                    self.happen(Event::Trim { from, to });
                }
                self.run(from, 0, false, false);
            }
            if self.boxes.iter().all(|boxes| boxes.left() == 0) {
                return;
            }
        }
        panic!("it does not come to rest");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn each_message_takes_effect_once_and_pairs_keep_their_order(
        events in proptest::collection::vec(event(), 0..120)
    ) {
        let mut world = World::new();
        for event in events {
            world.happen(event);
        }
        world.rest();
        let mut expected = std::mem::take(&mut world.expected);
        for sent in expected.values_mut() {
            sent.sort_by_key(|(due, _)| *due); // stable: by due time, then in the order of sending
        }
        let expected: BTreeMap<_, Vec<String>> = expected
            .into_iter()
            .map(|(pair, sent)| (pair, sent.into_iter().map(|(_, said)| said).collect()))
            .collect();
        prop_assert_eq!(world.seen, expected);
    }
}

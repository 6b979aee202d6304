//! Who founds, who joins, and that however messages are delayed or lost the hosts that are expected found one cluster.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::moves::*;
use oprc_mesh::wire::Greeting;

fn host(node: u64) -> Greeting {
    Greeting { node, expect: 3, ..Greeting::default() }
}

fn stands(node: u64, founder: u64, attempt: u64) -> Greeting {
    Greeting { founder, attempt, ..host(node) }
}

fn waits(me: Greeting, others: &[Greeting]) -> bool {
    matches!(next_move(&me, others), Move::Wait(_))
}

#[test]
fn a_cluster_that_is_there_is_joined_and_two_are_refused() {
    let of = |node, cluster| Greeting { cluster, ..host(node) };
    assert_eq!(next_move(&host(1), &[host(2), of(3, 7)]), Move::Join(7));
    let joins = Greeting { expect: 0, ..host(9) };
    assert_eq!(next_move(&joins, &[of(3, 7)]), Move::Join(7));
    assert!(waits(joins, &[host(1), host(2)]));
    let Move::Refuse(says) = next_move(&host(1), &[of(2, 7), of(3, 8)]) else { panic!() };
    assert!(says.contains("0000000000000007") && says.contains("0000000000000008"), "{says}");
}

#[test]
fn the_lowest_gathers_the_others_and_founds_with_all() {
    assert!(waits(host(1), &[host(2)]));
    // one that only joins is not waited for, nor asked
    assert!(waits(host(1), &[host(2), Greeting { expect: 0, ..host(3) }]));
    assert_eq!(next_move(&host(1), &[host(2), host(3)]), Move::Begin);
    let me = stands(1, 1, 5);
    assert_eq!(next_move(&me, &[host(2), host(3)]), Move::Enlist([2, 3].into()));
    assert_eq!(next_move(&me, &[stands(2, 1, 5), stands(3, 1, 4)]), Move::Enlist([3].into()));
    assert!(waits(me, &[stands(2, 1, 5), stands(3, 2, 9)]));
    assert_eq!(next_move(&me, &[stands(2, 1, 5), stands(3, 1, 5)]), Move::Found);
}

#[test]
fn others_wait_and_give_way() {
    assert!(waits(host(2), &[host(1), host(3)]));
    assert!(waits(stands(2, 1, 5), &[stands(1, 1, 5), host(3)]));
    let gave = next_move(&stands(2, 2, 6), &[host(1), stands(3, 2, 6)]);
    assert_eq!(gave, Move::Withdraw { own: true, others: vec![(3, 6)] });
    // one that a late message enlisted
    let gave = next_move(&host(2), &[host(1), stands(3, 2, 6)]);
    assert_eq!(gave, Move::Withdraw { own: false, others: vec![(3, 6)] });
}

/// A message on its way; it may arrive late, or twice.
#[derive(Debug, Clone, Copy)]
struct Letter {
    from: u64,
    to: u64,
    attempt: u64,
    withdraw: bool,
}

#[derive(Default)]
struct World {
    hosts: BTreeMap<u64, Greeting>,
    letters: Vec<Letter>,
    attempts: u64,
    founded: Vec<u64>,
}

impl World {
    fn new(count: u64) -> Self {
        let hosts = (1..=count).map(|id| (id, Greeting { expect: count as u32, ..host(id) }));
        Self { hosts: hosts.collect(), ..Self::default() }
    }

    /// One round of one host, which sees some of the others.
    fn act(&mut self, id: u64, sees: impl Fn(u64) -> bool) {
        let me = self.hosts[&id];
        if me.cluster != 0 {
            return;
        }
        let others: Vec<_> =
            self.hosts.values().filter(|other| other.node != id && sees(other.node)).copied().collect();
        let mine = self.hosts.get_mut(&id).unwrap();
        match next_move(&me, &others) {
            Move::Wait(_) => {}
            Move::Join(cluster) => mine.cluster = cluster,
            Move::Begin => {
                self.attempts += 1;
                (mine.founder, mine.attempt) = (id, self.attempts);
            }
            Move::Enlist(hosts) => {
                let attempt = me.attempt;
                let letters = hosts.into_iter().map(|to| Letter { from: id, to, attempt, withdraw: false });
                self.letters.extend(letters);
            }
            Move::Withdraw { own, others } => {
                if own {
                    (mine.founder, mine.attempt) = (0, 0);
                }
                let letters =
                    others.into_iter().map(|(to, attempt)| Letter { from: id, to, attempt, withdraw: true });
                self.letters.extend(letters);
            }
            Move::Found => {
                mine.cluster = id;
                self.founded.push(id);
            }
            Move::Refuse(detail) => panic!("{detail}"),
        }
    }

    /// What `Identity` does with it.
    fn deliver(&mut self, letter: Letter) {
        let host = self.hosts.get_mut(&letter.to).unwrap();
        if host.cluster != 0 {
            return;
        }
        if letter.withdraw {
            if (host.founder, host.attempt) == (letter.from, letter.attempt) {
                (host.founder, host.attempt) = (0, 0);
            }
        } else if host.founder == 0 || host.founder == letter.from {
            (host.founder, host.attempt) = (letter.from, letter.attempt);
        }
    }
}

proptest! {
    #[test]
    fn one_cluster_comes_to_be(
        count in 2..6_u64,
        chaos in proptest::collection::vec((1..6_u64, any::<u8>(), any::<prop::sample::Index>(), 0..4_u8), 0..200),
    ) {
        let mut world = World::new(count);
        for (id, sight, pick, what) in chaos {
            match what {
                // delivered, and perhaps once more later
                0 | 1 if !world.letters.is_empty() => {
                    let at = pick.index(world.letters.len());
                    let letter = world.letters[at];
                    if what == 0 {
                        world.letters.swap_remove(at);
                    }
                    world.deliver(letter);
                }
                _ => world.act(1 + id % count, |other| sight & (1 << other) != 0),
            }
        }
        // then everybody sees everybody and messages arrive
        for _ in 0..20 {
            for letter in std::mem::take(&mut world.letters) {
                world.deliver(letter);
            }
            (1..=count).for_each(|id| world.act(id, |_| true));
        }
        prop_assert_eq!(world.founded.len(), 1, "{:?}", world.hosts);
        prop_assert!(world.hosts.values().all(|host| host.cluster == world.founded[0]));
    }
}

//! What a host that belongs to no cluster does next.
//!
//! Of the hosts that are to found one, the lowest id gathers the others: each stands by one founder at a time and says so
//! only once that is on its disk. A founder that has as many as it expects founds. One that finds a lower id gives its
//! attempt up first: it counts none of that attempt's hosts any more, and a withdrawal names the attempt, so that a late
//! one frees nobody of a later one. So with as many hosts as are expected, two clusters never come to be.

use std::collections::BTreeSet;

use oprc_mesh::id::NodeId;
use oprc_mesh::wire::Greeting;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Move {
    /// Nothing, for this reason.
    Wait(String),
    /// Belong to this cluster, which is there.
    Join(u64),
    /// Begin to gather: stand by oneself, in a new attempt.
    Begin,
    /// Ask these to stand by this host.
    Enlist(BTreeSet<u64>),
    /// Give the attempt up, and free these from it, or from an earlier one.
    Withdraw { own: bool, others: Vec<(u64, u64)> },
    /// All are here: found the cluster.
    Found,
    /// It cannot be known what to join.
    Refuse(String),
}

/// The next move of `me`, which belongs to no cluster, after `others` have answered.
pub(crate) fn next_move(me: &Greeting, others: &[Greeting]) -> Move {
    let clusters: BTreeSet<u64> =
        others.iter().map(|other| other.cluster).filter(|cluster| *cluster != 0).collect();
    match clusters.len() {
        0 => {}
        1 => return clusters.first().map_or(Move::Begin, |cluster| Move::Join(*cluster)),
        _ => return Move::Refuse(two_clusters(&clusters)),
    }
    if me.expect == 0 {
        return Move::Wait("no host of a cluster is in sight to be joined".into());
    }
    if me.founder != 0 && me.founder != me.node {
        let founder = NodeId(me.founder);
        return Move::Wait(format!("standing by host {founder}, which founds the cluster"));
    }
    let founders: Vec<&Greeting> = others.iter().filter(|other| other.expect > 0).collect();
    if let Some(lower) = founders.iter().map(|other| other.node).filter(|node| *node < me.node).min() {
        return give_way(me, &founders, lower);
    }
    let there = founders.len() + 1;
    if there < me.expect as usize {
        return Move::Wait(format!("{there} of {} hosts are in sight", me.expect));
    }
    if me.founder == 0 {
        return Move::Begin;
    }
    let stands = |other: &&&Greeting| other.founder == me.node && other.attempt == me.attempt;
    if founders.iter().filter(stands).count() + 1 >= me.expect as usize {
        return Move::Found;
    }
    let free: BTreeSet<u64> = founders
        .iter()
        .filter(|other| other.founder == 0 || other.founder == me.node)
        .filter(|other| !stands(other))
        .map(|other| other.node)
        .collect();
    if free.is_empty() {
        return Move::Wait("hosts in sight stand by another founder".into());
    }
    Move::Enlist(free)
}

fn give_way(me: &Greeting, founders: &[&Greeting], lower: u64) -> Move {
    let others: Vec<(u64, u64)> = founders
        .iter()
        .filter(|other| other.founder == me.node)
        .map(|other| (other.node, other.attempt))
        .collect();
    let own = me.founder == me.node;
    if own || !others.is_empty() {
        return Move::Withdraw { own, others };
    }
    Move::Wait(format!("host {} is to found the cluster", NodeId(lower)))
}

fn two_clusters(clusters: &BTreeSet<u64>) -> String {
    let names: Vec<String> = clusters.iter().map(|cluster| format!("{cluster:016x}")).collect();
    format!(
        "hosts of the clusters {} are on this mesh: give each its own --cluster name",
        names.join(" and ")
    )
}

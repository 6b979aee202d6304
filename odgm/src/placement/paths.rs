//! Levels how much each host holds: as long as one holds at least two more than another, something is passed on between
//! them, directly or over others, by the shortest way. What is left then differs by one at the most wherever the rules
//! allow it, because any better arrangement could be reached by such a way.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::board::Board;

/// One thing passed on: partition `at` from one host to the next.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hop {
    pub(super) at: usize,
    pub(super) from: u64,
    pub(super) to: u64,
}

/// The shortest way from the most to the least loaded host that are at least two apart. `next` gives what a host can pass
/// on, and to whom.
pub(super) fn relief(
    loads: &BTreeMap<u64, usize>,
    next: impl Fn(u64) -> Vec<(usize, u64)>,
) -> Option<Vec<Hop>> {
    let mut sources: Vec<(usize, u64)> = loads.iter().map(|(id, load)| (*load, *id)).collect();
    sources.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    let least = sources.last()?.0;
    let heavy = sources.into_iter().take_while(|(load, _)| *load >= least + 2);
    heavy.into_iter().find_map(|(load, source)| way_from(source, load, loads, &next))
}

fn way_from(
    source: u64,
    load: usize,
    loads: &BTreeMap<u64, usize>,
    next: &impl Fn(u64) -> Vec<(usize, u64)>,
) -> Option<Vec<Hop>> {
    let mut came: BTreeMap<u64, Hop> = BTreeMap::new();
    let mut seen = BTreeSet::from([source]);
    let mut layer = VecDeque::from([source]);
    while !layer.is_empty() {
        let mut ends = Vec::new();
        for from in std::mem::take(&mut layer) {
            for (at, to) in next(from) {
                if !seen.insert(to) {
                    continue;
                }
                came.insert(to, Hop { at, from, to });
                layer.push_back(to);
                if loads.get(&to).is_some_and(|other| other + 2 <= load) {
                    ends.push((loads[&to], to));
                }
            }
        }
        // the least loaded of the nearest
        if let Some((_, end)) = ends.into_iter().min() {
            return Some(back_from(end, source, &came));
        }
    }
    None
}

fn back_from(end: u64, source: u64, came: &BTreeMap<u64, Hop>) -> Vec<Hop> {
    let mut hops = Vec::new();
    let mut at = end;
    while at != source {
        let Some(hop) = came.get(&at) else { break };
        hops.push(*hop);
        at = hop.from;
    }
    hops
}

/// Moves copies from hosts that hold more than their share: first those that are to be made anyway, which costs nothing,
/// then those that are there.
pub(super) fn level_copies(board: &mut Board<'_>) {
    level(board, Which::New);
    level(board, Which::All);
}

/// The copies that may be moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    New,
    All,
}

fn level(board: &mut Board<'_>, which: Which) {
    loop {
        let loads: BTreeMap<u64, usize> = board.live().map(|id| (id, board.load(id))).collect();
        let Some(hops) = relief(&loads, |from| passed_on(board, from, which)) else { return };
        let spread: Vec<usize> = hops.iter().map(|hop| board.spread_of(hop.at)).collect();
        for hop in &hops {
            board.shift(hop.at, hop.from, hop.to);
        }
        // two copies of one partition may each keep its zones apart and not both together
        if hops.iter().zip(spread).any(|(hop, before)| board.spread_of(hop.at) < before) {
            for hop in &hops {
                board.shift(hop.at, hop.to, hop.from);
            }
            return;
        }
    }
}

/// What a host can hand over to each other one, of several the one that it does not lead.
fn passed_on(board: &Board<'_>, from: u64, which: Which) -> Vec<(usize, u64)> {
    let mut best: BTreeMap<u64, (bool, usize)> = BTreeMap::new();
    for (at, set) in board.sets.iter().enumerate() {
        let before = &board.placed(at).nodes;
        let may = which == Which::All || !before.contains(&from);
        if !may || !set.contains(&from) || !board.is_free(at) || board.moves_away(set) {
            continue;
        }
        let cost = (before.first() == Some(&from), at);
        for to in board.live().filter(|to| !set.contains(to)) {
            if best.get(&to).is_none_or(|known| cost < *known) && board.keeps_spread(at, from, to) {
                best.insert(to, cost);
            }
        }
    }
    best.into_iter().map(|(to, (_, at))| (at, to)).collect()
}

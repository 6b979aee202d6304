//! Who should lead each partition: one of its live hosts, the one of before as far as all lead about as many.

use std::collections::BTreeMap;

use super::Freedom;
use super::board::Board;
use super::paths::relief;

/// The preferred leader of each set; none for a set without a live host.
pub(super) fn choose(board: &Board<'_>) -> Vec<Option<u64>> {
    let mut leads: BTreeMap<u64, usize> = board.live().map(|id| (id, 0)).collect();
    let mut leaders: Vec<Option<u64>> = Vec::with_capacity(board.sets.len());
    for (at, set) in board.sets.iter().enumerate() {
        let before = board.placed(at).nodes.first().copied();
        leaders.push(before.filter(|id| set.contains(id) && board.is_live(*id)));
        leaders[at].into_iter().for_each(|id| *leads.entry(id).or_default() += 1);
    }
    for (at, set) in board.sets.iter().enumerate() {
        if leaders[at].is_none() {
            let live = set.iter().copied().filter(|id| board.is_live(*id));
            leaders[at] = live.min_by_key(|id| (leads.get(id).copied().unwrap_or(0), *id));
            leaders[at].into_iter().for_each(|id| *leads.entry(id).or_default() += 1);
        }
    }
    while let Some(hops) = relief(&leads, |from| passed_on(board, &leaders, from)) {
        for hop in hops {
            leaders[hop.at] = Some(hop.to);
            leads.entry(hop.from).and_modify(|count| *count -= 1);
            leads.entry(hop.to).and_modify(|count| *count += 1);
        }
    }
    leaders
}

/// The partitions that a host leads, with those who could instead.
fn passed_on(board: &Board<'_>, leaders: &[Option<u64>], from: u64) -> Vec<(usize, u64)> {
    let led = leaders.iter().enumerate().filter(|(_, leader)| **leader == Some(from)).map(|(at, _)| at);
    let movable = led.filter(|at| board.placed(*at).freedom != Freedom::Fixed);
    movable
        .flat_map(|at| {
            let others = board.sets[at].iter().copied().filter(|id| *id != from && board.is_live(*id));
            others.map(move |to| (at, to))
        })
        .collect()
}

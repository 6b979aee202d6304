//! What the grid of a host tells Prometheus. Groups may be a thousand, so what is told of them is told together, for the
//! host and for each grid; single partitions only up to a bound.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use oprc_mesh::catalog::CatalogView;
use oprc_mesh::clock::now_ms;
use oprc_mesh::metrics::{OTHER, Sheet, Source};

use crate::node::Odgm;
use crate::raft::Group;
use crate::store::Depths;

/// Partitions that are told of one by one: the first ones by group.
const PARTITIONS_MAX: usize = 256;
/// Grids with series of their own, by name.
const GRIDS_MAX: usize = 256;
/// Messages, timers and dead letters that are counted for one page; where more lie, the sum says so many or a little more.
const COUNTED_MAX: u64 = 100_000;
/// Of one kind in one partition.
const COUNTED_IN_PARTITION_MAX: u64 = 10_000;

impl Source for Odgm {
    fn tell(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        self.tell_log(sheet)?;
        self.tell_state(sheet)?;
        let groups = self.groups();
        tell_groups(&groups, sheet)?;
        let changes = self.parts().1.changes();
        sheet.counter(
            "oprc_odgm_leader_changes",
            "How often a group held here got a leader, or another one.",
            changes,
        )?;
        tell_grids(&Grids::of(&self.catalog().view(), &groups[1..]), sheet)?;
        self.tell_messages(sheet)
    }
}

impl Odgm {
    /// The catalog's group, then those of all partitions.
    fn groups(&self) -> Vec<Seen> {
        let (.., catalog) = self.parts();
        let partitions = self.partitions();
        let all = [catalog].into_iter().chain(partitions.iter().map(|partition| partition.raft()));
        all.map(Seen::of).collect()
    }

    fn tell_log(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let (context, ..) = self.parts();
        let (stats, syncs) = (context.writer.stats(), context.writer.syncs());
        sheet.counter("oprc_odgm_log_fsyncs", "Synced writes of the log.", stats.fsyncs)?;
        sheet.counter("oprc_odgm_log_entries", "Raft entries written to the log.", stats.entries)?;
        sheet.counter("oprc_odgm_log_written_bytes", "Bytes of those entries.", stats.bytes)?;
        let name = "oprc_odgm_log_fsync_duration_seconds";
        sheet.histogram(name, "How long a synced write of the log took.", &syncs.took)?;
        let name = "oprc_odgm_log_entries_per_fsync";
        sheet.histogram(name, "Raft entries in one synced write.", &syncs.entries)
    }

    fn tell_state(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let (context, ..) = self.parts();
        let (counts, usage) = (&context.store.state.counts, context.store.usage());
        let poisoned = u64::from(context.poison.check().is_err());
        sheet.gauge(
            "oprc_odgm_poisoned",
            "1 once storage failed: the host serves nothing more.",
            poisoned,
        )?;
        let name = "oprc_odgm_entries_applied";
        sheet.counter(name, "Raft entries applied, of all groups.", counts.entries.get())?;
        let commits =
            [("committed", &counts.committed), ("known", &counts.known), ("rejected", &counts.rejected)];
        let commits = commits.map(|(result, count)| ([("result", result)], count.get()));
        sheet.counters("oprc_odgm_commits", "Commits applied, by what became of them.", commits)?;
        let snapshots = [
            ("built", counts.built.get()),
            ("sent", context.exchange.snapshots_sent()),
            ("installed", counts.installed.get()),
        ];
        let snapshots = snapshots.map(|(step, count)| ([("step", step)], count));
        sheet.counters("oprc_odgm_snapshots", "Snapshots built, sent and installed.", snapshots)?;
        sheet.counter("oprc_odgm_block_cache_hits", "Blocks that were in the cache.", usage.hits)?;
        sheet.counter("oprc_odgm_block_cache_misses", "Blocks read from the disk.", usage.misses)?;
        sheet.gauge("oprc_odgm_block_cache_bytes", "What the cache of blocks holds.", usage.cache_bytes)?;
        let memtables = [("log", usage.log_bytes), ("state", usage.state_bytes)];
        let memtables = memtables.map(|(database, bytes)| ([("database", database)], bytes));
        sheet.gauges("oprc_odgm_memtable_bytes", "What a database holds that is not in files yet.", memtables)
    }

    #[allow(clippy::cast_precision_loss, reason = "nothing waits for 2^52 ms")]
    fn tell_messages(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let mut left = COUNTED_MAX;
        let mut all = Depths::default();
        for partition in self.partitions().iter().filter(|partition| partition.leadership().is_ok()) {
            let depths = partition.raft().state().depths(left.min(COUNTED_IN_PARTITION_MAX));
            // a database that cannot be read poisons the host, which is told
            let depths = depths.unwrap_or_default();
            left = left.saturating_sub(depths.counted());
            all = all.and(depths);
        }
        let waiting_ms = all.ready_ms.map_or(0, |ready_ms| now_ms().saturating_sub(ready_ms));
        sheet.gauge(
            "oprc_odgm_inbox_messages",
            "Messages taken and not settled, where this host leads.",
            all.inbox,
        )?;
        let name = "oprc_odgm_inbox_oldest_seconds";
        sheet.gauge(
            name,
            "How long the oldest message that may be run waits.",
            waiting_ms as f64 / 1_000.0,
        )?;
        let name = "oprc_odgm_outbox_messages";
        sheet.gauge(name, "Messages that their receivers' partitions have not all taken.", all.outbox)?;
        sheet.gauge("oprc_odgm_timers", "Messages that are not due yet.", all.timers)?;
        sheet.gauge("oprc_odgm_dead_letters", "Messages that were given up.", all.dead)
    }
}

/// A group as it stands.
struct Seen {
    group: u64,
    term: u64,
    leads: bool,
    leader: Option<u64>,
    resting: bool,
    cut_off: bool,
    /// Entries that the farthest replica lacks, and all of them together; where another host leads, what is not applied here.
    lag_max: u64,
    lag: u64,
}

impl Seen {
    fn of(group: &Arc<Group>) -> Self {
        let (leads, status) = (group.leads(), group.status());
        let last = group.last_index();
        let lags = group.progress().into_values().map(|matched| last.saturating_sub(matched));
        let (lag_max, lag) = if leads {
            lags.fold((0, 0), |(max, all), lag| (lag.max(max), all + lag))
        } else {
            let behind = status.last.saturating_sub(status.applied);
            (behind, behind)
        };
        Self {
            group: group.id(),
            term: status.term,
            leads,
            leader: group.leader(),
            resting: group.is_asleep(),
            cut_off: leads && group.is_cut_off(),
            lag_max,
            lag,
        }
    }
}

fn tell_groups(groups: &[Seen], sheet: &mut Sheet<'_>) -> fmt::Result {
    let count = |which: fn(&Seen) -> bool| groups.iter().filter(|group| which(group)).count();
    let roles = [("leader", count(|group| group.leads)), ("follower", count(|group| !group.leads))];
    let roles = roles.map(|(role, count)| ([("role", role)], count));
    sheet.gauges("oprc_odgm_groups", "Raft groups held here, the catalog's included.", roles)?;
    let resting = count(|group| group.resting);
    sheet.gauge("oprc_odgm_groups_resting", "Groups without work, whose heartbeats stand still.", resting)?;
    let leaderless = count(|group| group.leader.is_none());
    sheet.gauge("oprc_odgm_groups_leaderless", "Groups of which no leader is known here.", leaderless)?;
    let cut_off = count(|group| group.cut_off);
    sheet.gauge("oprc_odgm_groups_cut_off", "Groups led here that hear of no majority.", cut_off)?;
    let term = groups.iter().map(|group| group.term).max().unwrap_or_default();
    sheet.gauge("oprc_odgm_raft_term_max", "The highest term of all groups held here.", term)
}

/// The partitions held here, by grid.
struct Grids<'a> {
    grids: BTreeMap<&'a str, Grid>,
    /// Grid, place in it, and how it stands.
    partitions: Vec<(&'a str, String, &'a Seen)>,
}

#[derive(Default)]
struct Grid {
    led: u64,
    followed: u64,
    lag_max: u64,
    lag: u64,
}

impl<'a> Grids<'a> {
    fn of(view: &'a CatalogView, groups: &'a [Seen]) -> Self {
        let places: HashMap<u64, (&str, usize)> = view
            .grids
            .iter()
            .enumerate()
            .flat_map(|(nth, grid)| {
                let name = if nth < GRIDS_MAX { &grid.name } else { OTHER };
                let partitions = grid.partitions.iter().enumerate();
                partitions.map(move |(place, partition)| (partition.group, (name, place)))
            })
            .collect();
        let mut grids: BTreeMap<&str, Grid> = BTreeMap::new();
        let mut partitions = Vec::new();
        for group in groups {
            let Some((name, place)) = places.get(&group.group) else { continue };
            let grid = grids.entry(name).or_default();
            if group.leads {
                grid.led += 1;
                grid.lag += group.lag;
                grid.lag_max = grid.lag_max.max(group.lag_max);
            } else {
                grid.followed += 1;
            }
            // places of several grids under one name would not be told apart
            if *name != OTHER && partitions.len() < PARTITIONS_MAX {
                partitions.push((*name, place.to_string(), group));
            }
        }
        Self { grids, partitions }
    }
}

fn tell_grids(grids: &Grids<'_>, sheet: &mut Sheet<'_>) -> fmt::Result {
    let roles = grids.grids.iter().flat_map(|(name, grid)| {
        let roles = [("leader", grid.led), ("follower", grid.followed)];
        roles.map(|(role, count)| ([("grid", *name), ("role", role)], count))
    });
    sheet.gauges("oprc_odgm_grid_partitions", "Partitions held here, by grid.", roles)?;
    let lags = grids.grids.iter().map(|(name, grid)| ([("grid", *name)], grid.lag_max));
    let help = "Entries that the farthest replica of a partition led here lacks.";
    sheet.gauges("oprc_odgm_grid_lag_max_entries", help, lags)?;
    let lags = grids.grids.iter().map(|(name, grid)| ([("grid", *name)], grid.lag));
    let help = "Entries that all replicas of all partitions led here lack together.";
    sheet.gauges("oprc_odgm_grid_lag_entries", help, lags)?;
    let each = |value: fn(&Seen) -> u64| {
        let partitions = grids.partitions.iter();
        partitions
            .map(move |(grid, place, seen)| ([("grid", *grid), ("partition", place.as_str())], value(seen)))
    };
    let terms = each(|seen| seen.term);
    sheet.gauges("oprc_odgm_partition_term", "The term of a partition.", terms)?;
    let leads = each(|seen| u64::from(seen.leads));
    sheet.gauges("oprc_odgm_partition_leads", "1 where this host leads the partition.", leads)?;
    let lags = each(|seen| seen.lag_max);
    let help = "Entries that the farthest replica lacks; where another host leads, those not applied here.";
    sheet.gauges("oprc_odgm_partition_lag_entries", help, lags)
}

#[cfg(test)]
mod tests {
    use super::*;
    use oprc_mesh::catalog::{Grid as InCatalog, PartitionInfo};

    fn seen(group: u64, leads: bool, lag: u64) -> Seen {
        Seen { group, term: 1, leads, leader: None, resting: false, cut_off: false, lag_max: lag, lag }
    }

    fn grid(name: String, groups: impl Iterator<Item = u64>) -> InCatalog {
        let partition = |group| PartitionInfo { group, ..PartitionInfo::default() };
        InCatalog { name, replicas: 1, partitions: groups.map(partition).collect() }
    }

    #[test]
    fn partitions_at_the_bound_are_told_one_by_one_and_further_ones_together() {
        for count in [PARTITIONS_MAX as u64, PARTITIONS_MAX as u64 + 1] {
            let view = CatalogView { grids: vec![grid("g".into(), 1..=count)], ..CatalogView::default() };
            let groups: Vec<Seen> = (1..=count).map(|group| seen(group, group % 2 == 0, 3)).collect();
            let grids = Grids::of(&view, &groups);
            assert_eq!(grids.partitions.len(), PARTITIONS_MAX);
            let all = &grids.grids["g"];
            assert_eq!((all.led + all.followed, all.lag, all.lag_max), (count, count / 2 * 3, 3));
        }
    }

    #[test]
    fn grids_past_the_bound_are_told_as_one() {
        let names = (0..GRIDS_MAX + 2).map(|at| format!("g{at:04}"));
        let grids = (1..).zip(names).map(|(group, name)| grid(name, group..=group)).collect();
        let view = CatalogView { grids, ..CatalogView::default() };
        let groups: Vec<Seen> = (1..=GRIDS_MAX as u64 + 2).map(|group| seen(group, true, 1)).collect();
        let grids = Grids::of(&view, &groups);
        assert_eq!(grids.grids.len(), GRIDS_MAX + 1);
        assert_eq!((grids.grids[OTHER].led, grids.grids[OTHER].lag), (2, 2));
        assert!(grids.partitions.iter().all(|(name, ..)| *name != OTHER));
    }
}

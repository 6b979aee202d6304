//! Calls by class and method. Which series there are depends on the catalog and on what succeeds in being called, and
//! never on names that callers make up; and there are no more than the bounds allow.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;

use super::cell::{Bounds, Cell, OTHER, Rooms};
use super::histogram::{Histogram, SIZES};
use super::known::Known;
use super::sheet::Sheet;
use crate::catalog::CatalogView;
use crate::outcome::Code;

/// See the module. To record takes a look-up by name and three additions: no lock, and nothing is allocated but when a
/// method is called for the first time.
pub struct Calls {
    known: ArcSwap<Known>,
    /// Held while what is known is made anew.
    changing: Mutex<()>,
    rooms: Arc<Rooms>,
    strangers: Cell,
    strange_sizes: Histogram,
}

/// How calls are told: names and help texts of the families, and the label by which they came.
#[derive(Debug, Clone, Copy)]
pub struct Told {
    /// The counters.
    pub counts: (&'static str, &'static str),
    /// The histograms of how long they took.
    pub durations: (&'static str, &'static str),
    /// The label of the way by which a call came.
    pub way: &'static str,
    /// Its values, by number.
    pub ways: &'static [&'static str],
}

impl Calls {
    /// With nothing recorded.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            known: ArcSwap::default(),
            changing: Mutex::new(()),
            rooms: Rooms::new(bounds),
            strangers: Cell::of_strangers(),
            strange_sizes: Histogram::new(&SIZES),
        }
    }

    /// A call of a method of a class came by `way`, and was over after `took`. `view` says what there is.
    pub fn record(
        &self,
        view: &CatalogView,
        (class, method): (&str, &str),
        way: usize,
        failed: Option<Code>,
        took: Duration,
    ) {
        let known = self.known(view);
        let own = known.class(class).and_then(|class| class.cell(method, &self.rooms));
        let cell = own.unwrap_or(&self.strangers);
        cell.took(took);
        if !cell.count(way, failed) {
            self.strangers.count(way, failed);
        }
    }

    /// Something of a class had that size.
    pub fn size(&self, view: &CatalogView, class: &str, bytes: u64) {
        let known = self.known(view);
        let own = known.class(class).and_then(|class| class.histogram(&self.rooms));
        own.unwrap_or(&self.strange_sizes).observe(bytes);
    }

    /// Tells all calls of what is in `view`, and of strangers.
    ///
    /// # Errors
    /// What the sheet fails with.
    pub fn tell(&self, view: &CatalogView, told: &Told, sheet: &mut Sheet<'_>) -> fmt::Result {
        let known = self.known(view);
        let mut cells = known.cells();
        cells.push((OTHER, OTHER, &self.strangers));
        let counts = cells.iter().flat_map(|(class, method, cell)| {
            cell.seen().map(move |(way, outcome, count)| {
                let labels = [
                    ("class", *class),
                    ("method", *method),
                    ("outcome", outcome),
                    (told.way, told.ways.get(way).copied().unwrap_or(OTHER)),
                ];
                (labels, count)
            })
        });
        sheet.counters(told.counts.0, told.counts.1, counts)?;
        let durations = cells
            .iter()
            .map(|(class, method, cell)| ([("class", *class), ("method", *method)], cell.durations()));
        let (name, help) = told.durations;
        sheet.histograms(name, help, durations.filter(|(_, durations)| durations.count() > 0))
    }

    /// Tells all sizes.
    ///
    /// # Errors
    /// What the sheet fails with.
    pub fn tell_sizes(
        &self,
        view: &CatalogView,
        (name, help): (&str, &str),
        sheet: &mut Sheet<'_>,
    ) -> fmt::Result {
        let known = self.known(view);
        let mut sizes = known.sizes();
        sizes.push((OTHER, &self.strange_sizes));
        let series = sizes.into_iter().map(|(class, sizes)| ([("class", class)], sizes));
        sheet.histograms(name, help, series.filter(|(_, sizes)| sizes.count() > 0))
    }

    /// What may have series, as of `view` or a later one.
    fn known(&self, view: &CatalogView) -> Guard<Arc<Known>> {
        let known = self.known.load();
        if known.revision >= view.revision {
            return known;
        }
        drop(known);
        let _changing = self.changing.lock();
        let before = self.known.load_full();
        if before.revision < view.revision {
            self.known.store(Arc::new(Known::of(view, &before)));
        }
        self.known.load()
    }
}

#[cfg(test)]
#[path = "calls_tests.rs"]
mod tests;

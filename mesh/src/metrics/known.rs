//! The classes and methods that may have series: those of one revision of the catalog. What is in two revisions keeps
//! what it has; what left the catalog is dropped with all that was counted of it.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};

use super::cell::{Cell, OTHER, Rooms, Sizes};
use super::histogram::Histogram;
use crate::catalog::{CatalogView, Class};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) revision: u64,
    classes: HashMap<Box<str>, Arc<KnownClass>>,
}

/// One class.
#[derive(Debug)]
pub(super) struct KnownClass {
    id: u64,
    revision: u64,
    /// By name.
    methods: Box<[Arc<Entry>]>,
    /// For methods that it does not have, or that nobody could list.
    others: Arc<Entry>,
    sizes: Arc<OnceLock<Sizes>>,
}

/// One method. Its cell is made when it is first called.
#[derive(Debug)]
pub(super) struct Entry {
    name: Box<str>,
    cell: OnceLock<Box<Cell>>,
}

impl Known {
    /// What `view` knows, with what `before` has of it.
    pub(super) fn of(view: &CatalogView, before: &Self) -> Self {
        let classes = view.classes.iter().map(|class| {
            let kept = before.classes.get(class.name.as_str()).filter(|kept| kept.id == class.id);
            (class.name.as_str().into(), KnownClass::of(class, kept))
        });
        Self { revision: view.revision, classes: classes.collect() }
    }

    pub(super) fn class(&self, name: &str) -> Option<&KnownClass> {
        self.classes.get(name).map(|class| &**class)
    }

    /// All methods that were called, by class and name.
    pub(super) fn cells(&self) -> Vec<(&str, &str, &Cell)> {
        let mut cells: Vec<_> = self
            .classes
            .iter()
            .flat_map(|(name, class)| {
                let entries = class.methods.iter().chain([&class.others]);
                entries.filter_map(|entry| Some((&**name, &*entry.name, &**entry.cell.get()?)))
            })
            .collect();
        cells.sort_unstable_by_key(|(class, method, _)| (*class, *method));
        cells
    }

    /// The sizes of all classes that have some, by name.
    pub(super) fn sizes(&self) -> Vec<(&str, &Histogram)> {
        let sizes = self.classes.iter();
        let mut sizes: Vec<_> =
            sizes.filter_map(|(name, class)| Some((&**name, &class.sizes.get()?.histogram))).collect();
        sizes.sort_unstable_by_key(|(class, _)| *class);
        sizes
    }
}

impl KnownClass {
    fn of(class: &Class, kept: Option<&Arc<Self>>) -> Arc<Self> {
        if let Some(kept) = kept.filter(|kept| kept.revision == class.revision) {
            return kept.clone();
        }
        // a component that takes any name has none but those of its manifest
        let readonly = class.settings.readonly.iter().filter(|_| class.generic);
        let names: BTreeSet<&str> =
            class.methods.iter().map(|method| &*method.name).chain(readonly.map(|name| &**name)).collect();
        let entry = |name: &str| {
            let kept = kept.and_then(|kept| kept.find(name));
            kept.cloned().unwrap_or_else(|| Entry::new(name))
        };
        Arc::new(Self {
            id: class.id,
            revision: class.revision,
            methods: names.into_iter().map(entry).collect(),
            others: kept.map_or_else(|| Entry::new(OTHER), |kept| kept.others.clone()),
            sizes: kept.map(|kept| kept.sizes.clone()).unwrap_or_default(),
        })
    }

    fn find(&self, method: &str) -> Option<&Arc<Entry>> {
        let at = self.methods.binary_search_by(|entry| (*entry.name).cmp(method)).ok()?;
        Some(&self.methods[at])
    }

    /// The cell of a method, or of those that the class does not have; none when there is no room for one.
    pub(super) fn cell(&self, method: &str, rooms: &Arc<Rooms>) -> Option<&Cell> {
        let entry = self.find(method).unwrap_or(&self.others);
        if entry.cell.get().is_none() {
            let _ = entry.cell.set(Box::new(Cell::new(rooms)?)); // unless another call was faster
        }
        entry.cell.get().map(|cell| &**cell)
    }

    /// Its sizes; none when there is no room for them.
    pub(super) fn histogram(&self, rooms: &Arc<Rooms>) -> Option<&Histogram> {
        if self.sizes.get().is_none() {
            let _ = self.sizes.set(Sizes::new(rooms)?); // unless another call was faster
        }
        self.sizes.get().map(|sizes| &sizes.histogram)
    }
}

impl Entry {
    fn new(name: &str) -> Arc<Self> {
        Arc::new(Self { name: name.into(), cell: OnceLock::new() })
    }
}

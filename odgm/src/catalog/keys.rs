//! The catalog's records and their names within its key range.

use crate::record::CatalogItem;

const COUNTERS: u8 = 1;
const NODE: u8 = 2;
const GRID: u8 = 3;
const CLASS: u8 = 4;
const VERSION: u8 = 5;
const FOUNDING: u8 = 6;
const KEY: u8 = 7;

/// Names one record. Kinds sort so that a class comes before its versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CatalogKey {
    Counters,
    Node(u64),
    Grid(String),
    Class(String),
    Version { class: u64, version: u64 },
    Founding,
    Key(String),
}

/// One write to the catalog's records.
#[allow(clippy::large_enum_variant, reason = "few, short-lived, and almost all of them puts")]
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum CatalogEffect {
    Put(CatalogItem),
    Drop(CatalogKey),
}

impl CatalogKey {
    /// The name of `item`.
    pub(crate) fn of(item: &CatalogItem) -> Self {
        match item {
            CatalogItem::Counters(_) => Self::Counters,
            CatalogItem::Node(node) => Self::Node(node.id),
            CatalogItem::Grid(grid) => Self::Grid(grid.name.clone()),
            CatalogItem::Class(class) => Self::Class(class.name.clone()),
            CatalogItem::Version(class) => Self::Version { class: class.id, version: class.version },
            CatalogItem::Founding(_) => Self::Founding,
            CatalogItem::Key(key) => Self::Key(key.name.clone()),
        }
    }

    /// What follows the catalog's prefix in the key: the kind, then the name, which ends the key.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Counters => vec![COUNTERS],
            Self::Founding => vec![FOUNDING],
            Self::Node(id) => [&[NODE], id.to_be_bytes().as_slice()].concat(),
            Self::Grid(name) => [&[GRID], name.as_bytes()].concat(),
            Self::Key(name) => [&[KEY], name.as_bytes()].concat(),
            Self::Class(name) => [&[CLASS], name.as_bytes()].concat(),
            Self::Version { class, version } => {
                [&[VERSION], class.to_be_bytes().as_slice(), &version.to_be_bytes()].concat()
            }
        }
    }
}

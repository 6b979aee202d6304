//! What a turn has written so far, laid over what is committed. Pure: reads of the committed state come in as values.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use oprc_mesh::catalog::ClassLimits;
use oprc_mesh::id::FieldKey;
use oprc_mesh::limits::{FIELD_VALUE_BYTES_MAX, PAGE_BYTES_MAX};
use oprc_mesh::outcome::{Code, Problem};
use oprc_mesh::wire::{Field, FieldWrite};
use oprc_odgm::Change;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Overlay {
    /// The object was deleted in this turn: nothing committed shows through.
    cleared: bool,
    /// The last write of each field; none is a deletion.
    writes: BTreeMap<FieldKey, Option<Bytes>>,
    /// Keys and values in `writes`.
    bytes: usize,
}

/// What a turn sees of one field.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It is decided up here: by the turn itself, or by a commit under way.
    Here(Option<Bytes>),
    /// The committed value counts.
    Below,
}

impl Overlay {
    /// Writes that were made before and are within their limits.
    pub(crate) fn of(writes: BTreeMap<FieldKey, Option<Bytes>>) -> Self {
        Self { cleared: false, bytes: 0, writes }
    }

    /// Looks up one field.
    pub(crate) fn get(&self, key: &FieldKey) -> Seen {
        match self.writes.get(key) {
            Some(value) => Seen::Here(value.clone()),
            None if self.cleared => Seen::Here(None),
            None => Seen::Below,
        }
    }

    /// Writes one field.
    ///
    /// # Errors
    /// `payload-too-large` for a value past 1 MiB; `write-limit` past the class's `write_keys` or `write_kib`. Nothing is
    /// written then.
    pub(crate) fn set(&mut self, key: FieldKey, value: Bytes, limits: &ClassLimits) -> Result<(), Problem> {
        if value.len() > FIELD_VALUE_BYTES_MAX {
            let bytes = value.len();
            let detail = format!("{key}: a value of {bytes} bytes; a field may have {FIELD_VALUE_BYTES_MAX}");
            return Err(Problem::new(Code::PayloadTooLarge, detail));
        }
        self.put(key, Some(value), limits)
    }

    /// Deletes one field that is there. (One that is not there is nothing to write: the caller looks first.)
    ///
    /// # Errors
    /// `write-limit` past the class's `write_keys` or `write_kib`.
    pub(crate) fn delete(&mut self, key: FieldKey, limits: &ClassLimits) -> Result<(), Problem> {
        if self.cleared {
            if let Some(Some(value)) = self.writes.remove(&key) {
                self.bytes -= key.as_str().len() + value.len();
            }
            return Ok(());
        }
        self.put(key, None, limits)
    }

    fn put(&mut self, key: FieldKey, value: Option<Bytes>, limits: &ClassLimits) -> Result<(), Problem> {
        let size = |value: &Option<Bytes>| key.as_str().len() + value.as_ref().map_or(0, Bytes::len);
        let old = self.writes.get(&key);
        let keys = self.writes.len() + usize::from(old.is_none());
        let bytes = self.bytes - old.map_or(0, size) + size(&value);
        if keys as u64 > limits.write_keys {
            let detail = format!("the turn writes more than write_keys = {} fields", limits.write_keys);
            return Err(Problem::new(Code::WriteLimit, detail)
                .hint("write less per call, or raise the limit in the manifest"));
        }
        if bytes as u64 > limits.write_kib * 1024 {
            let detail = format!("the turn writes more than write_kib = {} KiB", limits.write_kib);
            return Err(Problem::new(Code::WriteLimit, detail)
                .hint("write less per call, or raise the limit in the manifest"));
        }
        self.bytes = bytes;
        self.writes.insert(key, value);
        Ok(())
    }

    /// Deletes the object: its fields and all that this turn wrote.
    pub(crate) fn clear(&mut self) {
        *self = Self { cleared: true, ..Self::default() };
    }

    /// Whether committed fields show through.
    pub(crate) fn shows_below(&self) -> bool {
        !self.cleared
    }

    /// Merges a page of committed fields (in key order, all after `after` and with `prefix`; `more` when others follow)
    /// with the writes, and gives at most `limit` items.
    pub(crate) fn merge(
        &self,
        page: &[Field],
        more: bool,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Merged {
        let horizon = if more { page.last().map(|field| field.key.as_str()) } else { None };
        let mut merged: BTreeMap<&str, Bytes> = BTreeMap::new();
        if !self.cleared {
            merged.extend(page.iter().map(|field| (field.key.as_str(), field.value.clone())));
        }
        let mut beyond = false;
        for (key, value) in self.range(prefix, after) {
            if horizon.is_some_and(|horizon| key > horizon) {
                beyond |= value.is_some();
                break;
            }
            match value {
                Some(value) => merged.insert(key, value.clone()),
                None => merged.remove(key),
            };
        }
        let found = merged.len();
        let mut bytes = 0;
        let items: Vec<Field> = merged
            .into_iter()
            .take(limit)
            .enumerate()
            .take_while(|(at, (key, value))| {
                bytes += key.len() + value.len();
                *at == 0 || bytes <= PAGE_BYTES_MAX
            })
            .map(|(_, (key, value))| Field { key: key.to_owned(), value })
            .collect();
        let whole = items.len() == found;
        let resume = horizon.filter(|_| whole && items.len() < limit).map(str::to_owned);
        Merged { more: more || beyond || !whole, items, resume }
    }

    fn range<'a>(
        &'a self,
        prefix: &'a str,
        after: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a Option<Bytes>)> + 'a {
        let start = if after >= prefix { Bound::Excluded(after) } else { Bound::Included(prefix) };
        self.writes
            .range::<str, _>((start, Bound::Unbounded))
            .map(|(key, value)| (key.as_str(), value))
            .take_while(move |(key, _)| key.starts_with(prefix))
    }

    /// What to commit for an object that does (`exists`) or does not exist; none when nothing was written.
    pub(crate) fn into_change(self, exists: bool) -> Option<(Change, Vec<FieldWrite>)> {
        let writes: Vec<_> = self
            .writes
            .into_iter()
            .map(|(key, value)| FieldWrite { key: key.as_str().to_owned(), value })
            .collect();
        match (self.cleared && exists, writes.is_empty()) {
            (true, true) => Some((Change::Delete, writes)),
            (true, false) => Some((Change::Recreate, writes)),
            (false, true) => None,
            (false, false) => Some((Change::Merge, writes)),
        }
    }
}

/// See [`Overlay::merge`].
#[derive(Debug, PartialEq)]
pub(crate) struct Merged {
    /// In key order.
    pub(crate) items: Vec<Field>,
    /// Others follow after the last item.
    pub(crate) more: bool,
    /// The page had room for more, but deletions left it short: go on after this key.
    pub(crate) resume: Option<String>,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn limits() -> ClassLimits {
        ClassLimits { write_keys: 1_000, write_kib: 4_096, ..ClassLimits::default() }
    }

    fn key(text: &str) -> FieldKey {
        FieldKey::parse(text).unwrap()
    }

    #[test]
    fn a_turn_sees_its_own_writes_over_the_committed_state() {
        let mut overlay = Overlay::default();
        assert_eq!(overlay.get(&key("a")), Seen::Below);
        overlay.set(key("a"), "1".into(), &limits()).unwrap();
        assert_eq!(overlay.get(&key("a")), Seen::Here(Some("1".into())));
        overlay.delete(key("a"), &limits()).unwrap();
        assert_eq!(overlay.get(&key("a")), Seen::Here(None));
    }

    #[test]
    fn after_clear_nothing_committed_shows_through() {
        let mut overlay = Overlay::default();
        overlay.set(key("a"), "1".into(), &limits()).unwrap();
        overlay.clear();
        assert_eq!(overlay.get(&key("a")), Seen::Here(None));
        overlay.set(key("b"), "2".into(), &limits()).unwrap();
        assert!(matches!(overlay.into_change(true), Some((Change::Recreate, writes)) if writes.len() == 1));
    }

    #[test]
    fn what_is_committed_depends_on_what_was_there() {
        assert!(Overlay::default().into_change(true).is_none());
        let cleared = || {
            let mut overlay = Overlay::default();
            overlay.clear();
            overlay
        };
        assert!(matches!(cleared().into_change(true), Some((Change::Delete, _))));
        assert!(cleared().into_change(false).is_none());
    }

    #[test]
    fn limits_hold_at_the_number_and_one_past_it() {
        let limits = ClassLimits { write_keys: 2, write_kib: 1, ..ClassLimits::default() };
        let mut overlay = Overlay::default();
        overlay.set(key("a"), vec![0; 1022].into(), &limits).unwrap();
        assert_eq!(overlay.set(key("b"), vec![0; 1].into(), &limits).unwrap_err().kind(), Code::WriteLimit);
        overlay.set(key("b"), Bytes::new(), &limits).unwrap(); // 1,024 bytes in all
        overlay.set(key("a"), Bytes::new(), &limits).unwrap(); // a smaller value gives the room back
        assert_eq!(overlay.set(key("c"), Bytes::new(), &limits).unwrap_err().kind(), Code::WriteLimit);
        let value = |bytes| Bytes::from(vec![0; bytes]);
        let limits = self::limits();
        overlay.set(key("a"), value(FIELD_VALUE_BYTES_MAX), &limits).unwrap();
        let problem = overlay.set(key("a"), value(FIELD_VALUE_BYTES_MAX + 1), &limits).unwrap_err();
        assert_eq!(problem.kind(), Code::PayloadTooLarge);
    }

    /// A store of committed fields that pages as the real one does.
    fn page_of(
        committed: &BTreeMap<String, Bytes>,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> (Vec<Field>, bool) {
        let mut rest = committed.iter().filter(|(key, _)| key.starts_with(prefix) && key.as_str() > after);
        let items: Vec<_> = rest
            .by_ref()
            .take(limit)
            .map(|(key, value)| Field { key: key.clone(), value: value.clone() })
            .collect();
        (items, rest.next().is_some())
    }

    fn list(
        overlay: &Overlay,
        committed: &BTreeMap<String, Bytes>,
        prefix: &str,
        limit: usize,
    ) -> Vec<String> {
        let (mut after, mut keys) = (String::new(), Vec::new());
        loop {
            let (page, more) = page_of(committed, prefix, &after, limit);
            let merged = overlay.merge(&page, more, prefix, &after, limit);
            assert!(merged.items.len() == limit || !merged.more || merged.resume.is_some(), "{merged:?}");
            assert!(merged.items.len() <= limit, "{merged:?}");
            keys.extend(merged.items.iter().map(|field| field.key.clone()));
            let last = merged.items.last().filter(|_| merged.more).map(|field| field.key.clone());
            let Some(next) = merged.resume.or(last) else { return keys };
            after = next;
        }
    }

    proptest! {
        /// Listing page by page gives what a map with the writes applied would give.
        #[test]
        fn listing_equals_the_map_with_the_writes_applied(
            committed in prop::collection::btree_set("[ab]{1,3}", 0..12),
            writes in prop::collection::vec(("[ab]{1,3}", any::<bool>()), 0..12),
            cleared in any::<bool>(), prefix in "[ab]{0,1}", limit in 1usize..5,
        ) {
            let committed: BTreeMap<String, Bytes> = committed.into_iter().map(|key| (key, Bytes::new())).collect();
            let mut expected = if cleared { BTreeMap::new() } else { committed.clone() };
            let mut overlay = Overlay::default();
            if cleared { overlay.clear(); }
            for (name, set) in writes {
                if set {
                    overlay.set(key(&name), Bytes::new(), &limits()).unwrap();
                    expected.insert(name, Bytes::new());
                } else {
                    overlay.delete(key(&name), &limits()).unwrap();
                    expected.remove(&name);
                }
            }
            let committed = if overlay.shows_below() { committed } else { BTreeMap::new() };
            let expected: Vec<_> = expected.into_keys().filter(|key| key.starts_with(&prefix)).collect();
            prop_assert_eq!(list(&overlay, &committed, &prefix, limit), expected);
        }
    }
}

//! Which of a partition's ready messages are being run, and from where on to look for more. Pure.

use std::collections::BTreeSet;

use oprc_odgm::ReadyKey;

/// See the module.
#[derive(Debug)]
pub(super) struct Window {
    size: usize,
    flying: BTreeSet<ReadyKey>,
    /// What is before it was seen: it is being run, or settled.
    from: ReadyKey,
}

impl Window {
    pub(super) fn new(size: usize) -> Self {
        Self { size, flying: BTreeSet::new(), from: ReadyKey::default() }
    }

    /// From where on to look, and how many at the most: those that fly may be among them.
    pub(super) fn wants(&self) -> (ReadyKey, usize) {
        (self.from, self.size + 1)
    }

    /// Takes in what was found, of which there may be more when it is `limit` long. `clock_ms` is the partition's clock from
    /// before it was looked: whatever became ready since, and will, carries no earlier time. Gives what is to be run, and the
    /// time of what is to be run next.
    pub(super) fn fill(
        &mut self,
        found: &[ReadyKey],
        limit: usize,
        clock_ms: u64,
        now_ms: u64,
    ) -> (Vec<ReadyKey>, Option<u64>) {
        let mut ready = Vec::new();
        let mut next_ms = None;
        // the first that is neither run nor flying; what is before it needs no second look
        let mut rest = (found.len() == limit).then(|| found.last().copied()).flatten();
        for key in found {
            if self.flying.contains(key) {
                continue;
            }
            if key.at_ms > now_ms {
                next_ms = Some(key.at_ms);
                rest = Some(*key);
                break;
            }
            if self.flying.len() == self.size {
                rest = Some(*key);
                break;
            }
            self.flying.insert(*key);
            ready.push(*key);
        }
        let clock = ReadyKey { at_ms: clock_ms, ..ReadyKey::default() };
        let bounds = [self.flying.first().copied(), rest, Some(clock)];
        self.from = bounds.into_iter().flatten().min().unwrap_or_default().max(self.from);
        (ready, next_ms)
    }

    /// A message flies no more: it is settled, or it is to be run again.
    pub(super) fn done(&mut self, key: ReadyKey) {
        self.flying.remove(&key);
        self.from = self.from.min(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(at_ms: u64, index: u64) -> ReadyKey {
        ReadyKey { at_ms, index, nth: 0 }
    }

    #[test]
    fn no_more_fly_than_the_window_holds() {
        let mut window = Window::new(2);
        let found = [key(1, 1), key(1, 2), key(1, 3)];
        let (from, limit) = window.wants();
        assert_eq!((from, limit), (ReadyKey::default(), 3));
        assert_eq!(window.fill(&found, limit, 9, 9), (vec![key(1, 1), key(1, 2)], None));
        assert_eq!(window.fill(&found, limit, 9, 9), (vec![], None), "none flies twice");
        window.done(key(1, 1));
        assert_eq!(window.fill(&found[1..], limit, 9, 9), (vec![key(1, 3)], None));
    }

    #[test]
    fn what_is_not_due_yet_is_waited_for() {
        let mut window = Window::new(2);
        assert_eq!(window.fill(&[key(5, 1), key(20, 2)], 3, 6, 10), (vec![key(5, 1)], Some(20)));
        window.done(key(5, 1));
        assert_eq!(window.fill(&[key(20, 2)], 3, 6, 20), (vec![key(20, 2)], None));
    }

    proptest! {
        /// Whatever becomes ready, fails, and is settled in whatever order: all of it is run, and the place to look from never
        /// passes what is still to be run.
        #[test]
        fn everything_is_run(steps in proptest::collection::vec((0..4_u8, any::<usize>(), 0..5_u64), 0..200)) {
            let mut window = Window::new(3);
            let (mut stored, mut flying) = (BTreeSet::new(), Vec::new());
            let (mut clock, mut index, mut run) = (1, 0, 0);
            let mut made = 0;
            let look = |window: &mut Window, stored: &BTreeSet<ReadyKey>, clock: u64, now: u64| {
                let (from, limit) = window.wants();
                let found: Vec<_> = stored.range(from..).take(limit).copied().collect();
                window.fill(&found, limit, clock, now).0
            };
            for (what, which, ms) in steps {
                index += 1;
                match what {
                    0 => { clock += ms; stored.insert(key(clock, index)); made += 1; }
                    1 if !flying.is_empty() => { // settled
                        let done = flying.swap_remove(which % flying.len());
                        stored.remove(&done);
                        window.done(done);
                        run += 1;
                    }
                    2 if !flying.is_empty() => { // to be run again later
                        let done = flying.swap_remove(which % flying.len());
                        stored.remove(&done);
                        stored.insert(key(clock + ms, index));
                        window.done(done);
                    }
                    _ => flying.extend(look(&mut window, &stored, clock, clock + ms)),
                }
                prop_assert!(flying.len() <= 3);
            }
            for _ in 0..=made * 2 {
                flying.extend(look(&mut window, &stored, clock, u64::MAX));
                for done in flying.drain(..) {
                    stored.remove(&done);
                    window.done(done);
                    run += 1;
                }
            }
            prop_assert_eq!((stored.len(), run), (0, made));
        }
    }
}

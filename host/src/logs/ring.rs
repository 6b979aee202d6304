//! The newest lines of one class, numbered. Pure: times come from outside.

use std::collections::VecDeque;

use oprc_mesh::limits::{LOG_BYTES_MAX, LOG_LINES_MAX};
use oprc_mesh::wire::LogPage;

use super::said::Line;

/// See the module. Numbers begin with a time, so that they go on growing when a host has forgotten everything: whoever comes
/// back with a number of before finds a gap, and not lines that it knows.
#[derive(Debug)]
pub(super) struct Ring {
    lines: VecDeque<Line>,
    bytes: usize,
    /// The number of the next line.
    next: u64,
    last_us: u64,
}

impl Ring {
    pub(super) fn new(now_us: u64) -> Self {
        Self { lines: VecDeque::new(), bytes: 0, next: now_us.max(1), last_us: now_us }
    }

    /// When the last line came.
    pub(super) fn last_us(&self) -> u64 {
        self.last_us
    }

    /// Takes a line, and forgets the oldest ones beyond the bounds.
    pub(super) fn push(&mut self, line: Line) {
        self.last_us = line.time_us;
        self.bytes += line.bytes();
        self.lines.push_back(line);
        self.next += 1;
        while self.lines.len() > LOG_LINES_MAX || (self.bytes > LOG_BYTES_MAX && self.lines.len() > 1) {
            let Some(oldest) = self.lines.pop_front() else { break };
            self.bytes -= oldest.bytes();
        }
    }

    /// The number of the oldest line.
    fn first(&self) -> u64 {
        self.next - self.lines.len() as u64
    }

    /// The newest lines: up to `count` of them, within the bound but for one.
    pub(super) fn newest(&self, count: usize, object: Option<&str>, bytes_max: usize) -> LogPage {
        let (mut items, mut bytes) = (VecDeque::new(), 0);
        for line in self.lines.iter().rev().filter(|line| line.is_of(object)).take(count) {
            bytes += line.bytes();
            if bytes > bytes_max && !items.is_empty() {
                break;
            }
            items.push_front(line.told());
        }
        LogPage { items: items.into(), upto: self.next - 1, gap: false }
    }

    /// The lines after number `after`, within the bound but for one.
    pub(super) fn after(&self, after: u64, object: Option<&str>, bytes_max: usize) -> LogPage {
        let first = self.first();
        // a number that was never given is of another life of this host, whose clock was ahead
        let is_known = after < self.next;
        let gap = !is_known || after + 1 < first;
        let skip = if gap { 0 } else { (after + 1 - first) as usize };
        let mut page = LogPage { items: Vec::new(), upto: first + skip as u64 - 1, gap };
        let mut bytes = 0;
        for line in self.lines.range(skip..) {
            if line.is_of(object) {
                bytes += line.bytes();
                if bytes > bytes_max && !page.items.is_empty() {
                    break;
                }
                page.items.push(line.told());
            }
            page.upto += 1;
        }
        page
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::logs::said::{OVERHEAD_BYTES, Origin};
    use oprc_mesh::wire::LogStream;
    use proptest::prelude::*;

    const ALL: usize = usize::MAX;

    fn line(object: &str, text: &str) -> Line {
        let origin = Arc::new(Origin { object: object.into(), ..Origin::default() });
        Line { time_us: 7, origin, stream: LogStream::Out, text: text.into() }
    }

    fn texts(page: &LogPage) -> Vec<&str> {
        page.items.iter().map(|line| line.text.as_str()).collect()
    }

    #[test]
    fn the_newest_come_in_their_order_and_by_object() {
        let mut ring = Ring::new(100);
        assert_eq!(ring.newest(5, None, ALL), LogPage { upto: 99, ..LogPage::default() });
        for (object, text) in [("a", "1"), ("b", "2"), ("a", "3")] {
            ring.push(line(object, text));
        }
        assert_eq!(texts(&ring.newest(2, None, ALL)), ["2", "3"]);
        assert_eq!(texts(&ring.newest(9, Some("a"), ALL)), ["1", "3"]);
        assert_eq!(texts(&ring.newest(9, None, 1)), ["3"], "one comes however long it is");
        assert!(ring.newest(0, None, ALL).items.is_empty());
    }

    #[test]
    fn who_goes_on_misses_nothing_and_is_told_when_it_did() {
        let mut ring = Ring::new(100);
        for text in ["1", "2", "3"] {
            ring.push(line("a", text));
        }
        let page = ring.after(100, None, ALL);
        assert_eq!((texts(&page), page.upto, page.gap), (vec!["2", "3"], 102, false));
        let page = ring.after(99, None, 1);
        assert_eq!((texts(&page), page.upto), (vec!["1"], 100), "it ends early, and says where");
        assert_eq!(ring.after(102, None, ALL), LogPage { upto: 102, ..LogPage::default() });
        let none = ring.after(99, Some("b"), ALL);
        assert_eq!((none.items.len(), none.upto, none.gap), (0, 102, false));
        // of before this host forgot everything, and of a clock that was ahead
        for strange in [5, 5_000] {
            let page = ring.after(strange, None, ALL);
            assert_eq!((texts(&page), page.gap, page.upto), (vec!["1", "2", "3"], true, 102), "{strange}");
        }
    }

    #[test]
    fn lines_and_bytes_are_bounded() {
        let mut ring = Ring::new(1);
        for at in 0..=LOG_LINES_MAX {
            ring.push(line("", &at.to_string()));
        }
        // a line takes up more than its text: the bound on bytes holds first
        assert!(ring.bytes <= LOG_BYTES_MAX && ring.lines.len() <= LOG_LINES_MAX);
        assert_eq!(texts(&ring.newest(1, None, ALL)), [LOG_LINES_MAX.to_string()]);
        let fits = LOG_BYTES_MAX / (OVERHEAD_BYTES + 256);
        let mut ring = Ring::new(1);
        for _ in 0..fits {
            ring.push(line("", &"x".repeat(256)));
        }
        assert_eq!((ring.lines.len(), ring.bytes), (fits, LOG_BYTES_MAX));
        ring.push(line("", "y"));
        assert_eq!(ring.lines.len(), fits, "one more drops the oldest");
        assert!(ring.after(0, None, ALL).gap && !ring.after(1, None, ALL).gap);
        ring.push(line("", &"z".repeat(LOG_BYTES_MAX)));
        assert_eq!(ring.lines.len(), 1, "the newest stays whatever it is");
    }

    proptest! {
        /// Read page by page in between, every line comes once and in order, or a gap is told.
        #[test]
        fn pages_are_all_lines(steps in proptest::collection::vec((0..40usize, 1..20_000usize, 1..50_000usize), 1..60)) {
            let mut ring = Ring::new(1_000);
            let (mut after, mut said, mut next) = (999, 0, 0);
            for (count, length, bytes_max) in steps {
                for _ in 0..count {
                    ring.push(line("", &format!("{said:0length$}")));
                    said += 1;
                }
                prop_assert!(ring.bytes <= LOG_BYTES_MAX);
                let page = ring.after(after, None, bytes_max);
                for item in &page.items {
                    let number: usize = item.text.parse().map_err(|_| TestCaseError::fail("a number"))?;
                    prop_assert!(number == next || page.gap && number > next);
                    next = number + 1;
                }
                after = page.upto;
            }
        }
    }
}

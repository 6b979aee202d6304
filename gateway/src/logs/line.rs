//! A guest's line as clients see it. Pure.

use oprc_mesh::id::{ClassName, NodeId};
use oprc_mesh::wire::{LogLine, LogPage};
use schemars::JsonSchema;
use serde::Serialize;

/// A line that a guest printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "LogLine")]
pub(crate) struct Line {
    /// When, in microseconds since the Unix epoch, by the host's clock.
    time_us: u64,
    /// The host.
    node: String,
    class: String,
    /// Absent for a function.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    object: Option<String>,
    /// The method or function.
    method: String,
    /// The id of the call.
    invocation: String,
    /// `host` for what the host says of a run that was cut short.
    #[schemars(extend("enum" = ["stdout", "stderr", "host"]))]
    stream: &'static str,
    /// Absent when the call was not traced.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    trace_id: Option<String>,
    /// What was printed, without the end of the line.
    #[serde(rename = "line")]
    text: String,
}

impl Line {
    pub(super) fn new(class: &ClassName, node: NodeId, told: LogLine) -> Self {
        let some = |text: String| Some(text).filter(|text| !text.is_empty());
        Self {
            time_us: told.time_us,
            node: node.to_string(),
            class: class.as_str().to_owned(),
            stream: told.stream().as_str(),
            object: some(told.object),
            method: told.method,
            invocation: told.invocation,
            trace_id: some(told.trace),
            text: told.text,
        }
    }
}

/// The newest `count` lines of all hosts, oldest first. Of one host they stay in its order.
pub(super) fn merged(class: &ClassName, pages: Vec<(NodeId, LogPage)>, count: usize) -> Vec<Line> {
    let of_host = |(node, page): (NodeId, LogPage)| {
        page.items.into_iter().map(move |line| Line::new(class, node, line))
    };
    let mut lines: Vec<Line> = pages.into_iter().flat_map(of_host).collect();
    lines.sort_by_key(|line| line.time_us);
    lines.split_off(lines.len().saturating_sub(count))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_newest_of_all_hosts_come_in_order() {
        let page = |times: &[u64]| {
            let line = |time_us: &u64| LogLine { time_us: *time_us, ..LogLine::default() };
            LogPage { items: times.iter().map(line).collect(), ..LogPage::default() }
        };
        let class = ClassName::parse("C").unwrap();
        let pages =
            vec![(NodeId(1), page(&[1, 4, 6])), (NodeId(2), page(&[2, 3, 7])), (NodeId(3), page(&[]))];
        let times = |count| -> Vec<u64> {
            merged(&class, pages.clone(), count).iter().map(|line| line.time_us).collect()
        };
        assert_eq!(times(9), [1, 2, 3, 4, 6, 7]);
        assert_eq!(times(2), [6, 7]);
        assert!(times(0).is_empty());
    }

    #[test]
    fn what_is_not_there_is_not_said() {
        let class = ClassName::parse("C").unwrap();
        let told = LogLine { text: "x".into(), method: "f".into(), stream: 1, ..LogLine::default() };
        let text = serde_json::to_string(&Line::new(&class, NodeId(1), told)).unwrap();
        assert_eq!(
            text,
            r#"{"time_us":0,"node":"0000000000000001","class":"C","method":"f","invocation":"","stream":"stderr","line":"x"}"#
        );
    }
}

//! What commands print on standard output: a table for people, or one JSON document for programs.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use comfy_table::{ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::failure::Failure;

/// Columns between table cells.
const GAP: u16 = 2;

/// Prints a JSON document; indented when a person looks on.
pub(crate) fn json(document: &impl Serialize) -> Result<(), Failure> {
    let text = if io::stdout().is_terminal() {
        serde_json::to_string_pretty(document)
    } else {
        serde_json::to_string(document)
    };
    line(&text.map_err(io::Error::from)?)
}

/// Prints a line of text.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    writeln!(io::stdout().lock(), "{text}")?;
    Ok(())
}

/// Prints bytes as they are.
pub(crate) fn raw(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()?;
    Ok(())
}

/// A table without borders, its columns as wide as their widest cell.
pub(crate) fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header);
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, GAP));
    }
    let lines: Vec<_> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

/// A bar of bytes when a person looks on, otherwise nothing.
pub(crate) fn byte_progress(what: &str) -> ProgressBar {
    progress(what, "{msg} {wide_bar} {bytes}/{total_bytes}")
}

/// A bar of steps when a person looks on, otherwise nothing.
pub(crate) fn step_progress(what: &str, steps: u64) -> ProgressBar {
    let bar = progress(what, "{wide_bar} {pos}/{len} {msg}");
    bar.set_length(steps);
    bar
}

fn progress(what: &str, template: &str) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_message(what.to_owned());
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_lines_up_without_trailing_space() {
        let rows = [["alice".to_owned(), "5".to_owned()], ["b".to_owned(), "12".to_owned()]];
        assert_eq!(table(["id", "version"], rows), "id     version\nalice  5\nb      12");
    }

    #[test]
    fn a_table_may_be_empty() {
        assert_eq!(table(["id"], []), "id");
    }
}

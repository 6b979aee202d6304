//! What commands print on standard output: a table for people, or one JSON document for programs.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use comfy_table::{ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::args::Format;
use crate::client::Answer;
use crate::consistency::Consistency;
use crate::failure::Failure;

/// Columns between table cells.
const GAP: u16 = 2;

/// Prints a JSON document.
pub(crate) fn json(document: &impl Serialize) -> Result<(), Failure> {
    json_text(&serde_json::to_vec(document).map_err(io::Error::from)?)
}

/// Prints JSON text as it came, members in their order and numbers with all their digits; indented when a person looks
/// on. No text at all is null.
pub(crate) fn json_text(text: &[u8]) -> Result<(), Failure> {
    let text = String::from_utf8_lossy(text);
    match text.trim() {
        "" => line("null"),
        text if io::stdout().is_terminal() => line(&indented(text)),
        text => line(text),
    }
}

/// Breaks JSON text into lines.
fn indented(text: &str) -> String {
    let mut out = String::with_capacity(2 * text.len());
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for c in text.chars() {
        if in_string {
            (in_string, escaped) = (escaped || c != '"', !escaped && c == '\\');
            out.push(c);
            continue;
        }
        match c {
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                // nothing inside: the brackets stay together
                if !out.ends_with(['{', '[']) {
                    break_line(&mut out, depth);
                }
            }
            c if c.is_whitespace() => continue,
            _ if out.ends_with(['{', '[', ',']) => break_line(&mut out, depth),
            _ => {}
        }
        out.push(c);
        match c {
            '"' => in_string = true,
            '{' | '[' => depth += 1,
            ':' => out.push(' '),
            _ => {}
        }
    }
    out
}

fn break_line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth));
}

/// Prints a line of text.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    writeln!(io::stdout().lock(), "{text}")?;
    Ok(())
}

/// Says to people, on standard error, how old what a stale read gave may be.
pub(crate) fn note_staleness(format: Format, asked: Consistency, answer: &Answer) {
    if format == Format::Json || asked != Consistency::Stale {
        return;
    }
    let told = answer.headers.get("oprc-stale-ms").and_then(|ms| ms.to_str().ok());
    match told {
        Some(ms) => eprintln!("at most {ms} ms behind"),
        None => eprintln!("behind by an unknown time"),
    }
}

/// Prints bytes as they are; a person's terminal gets the line ended.
pub(crate) fn raw(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    if stdout.is_terminal() && !bytes.is_empty() && !bytes.ends_with(b"\n") {
        stdout.write_all(b"\n")?;
    }
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
    fn json_is_indented_without_being_changed() {
        let text = r#"{"b":{"$text":"a,\\\"{:"},"a":[1.50,18446744073709551616],"e":[],"o":{ },"n":null}"#;
        let lines = indented(text);
        let expected = [
            "{",
            r#"  "b": {"#,
            r#"    "$text": "a,\\\"{:""#,
            "  },",
            r#"  "a": ["#,
            "    1.50,",
            "    18446744073709551616",
            "  ],",
            r#"  "e": [],"#,
            r#"  "o": {},"#,
            r#"  "n": null"#,
            "}",
        ];
        assert_eq!(lines.lines().collect::<Vec<_>>(), expected);
        assert_eq!(indented(&lines), lines);
    }

    #[test]
    fn a_table_may_be_empty() {
        assert_eq!(table(["id"], []), "id");
    }
}

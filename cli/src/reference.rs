//! The reference page of the command line, made from the declaration in [`crate::args`].

use std::fmt::Write as _;

use clap::builder::PossibleValue;
use clap::{Arg, Command, CommandFactory as _};

use crate::args::{Cli, SERVER_HEADING};
use crate::failure::Failure;
use crate::output;

const INTRODUCTION: &str = "\
<!-- made by `make docs`; a test fails when it is out of date -->
# Command line

Exit codes: 0 done, 1 the call failed, 2 wrong usage. Results go to standard output; errors, hints, progress and logs to
standard error.

Every setting comes from its flag, else from its environment variable, else from the settings file that `--config` names,
else from its default. In the settings file (TOML) a key is a flag's name without the dashes. Outside a table it holds for
every command that has the flag; in a table named after a command, for that command alone:

```toml
server = \"http://10.0.0.1:8080\"

[host]
data-dir = \"/var/lib/oprc\"
join = [\"tcp/10.0.0.2:7447\", \"tcp/10.0.0.3:7447\"]
```
";

/// Prints the page.
pub(crate) fn print() -> Result<(), Failure> {
    output::raw(page().as_bytes())
}

fn page() -> String {
    let mut root = Cli::command();
    root.build();
    let mut page = String::from(INTRODUCTION);
    page.push_str("\n## Everywhere\n\n");
    push_flags(&mut page, root.get_arguments().filter(|arg| arg.is_global_set()));
    page.push_str(
        "\n## Client commands\n\nEvery command but `up`, `host`, `gateway` and `router`, and `new`, `completions` and `man`, asks a \
         server:\n\n",
    );
    let client = root.find_subcommand("classes").into_iter().flat_map(Command::get_arguments);
    push_flags(&mut page, client.filter(|arg| of_every_client(arg)));
    for command in root.get_subcommands_mut().filter(|command| !command.is_hide_set()) {
        push_command(&mut page, command);
    }
    page
}

fn push_command(page: &mut String, command: &mut Command) {
    let usage = command.render_usage().to_string();
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    // writing to a String cannot fail, here and below
    let _ = write!(page, "\n## oprc {}\n\n{about}.\n\n```\n", command.get_name());
    let _ = writeln!(page, "{}\n```", usage.trim_start_matches("Usage: "));
    let positionals: Vec<_> = command.get_positionals().collect();
    if !positionals.is_empty() {
        page.push_str("\n| argument | meaning |\n| --- | --- |\n");
        for arg in positionals {
            let _ = writeln!(page, "| `{}` | {} |", escape(&value_name(arg)), help(arg));
        }
    }
    let own: Vec<_> = command
        .get_arguments()
        .filter(|arg| {
            !arg.is_positional() && !arg.is_global_set() && !of_every_client(arg) && arg.get_id() != "help"
        })
        .collect();
    if !own.is_empty() {
        page.push('\n');
        push_flags(page, own.into_iter());
    }
}

fn push_flags<'a>(page: &mut String, flags: impl Iterator<Item = &'a Arg>) {
    page.push_str("| flag | environment | default | meaning |\n| --- | --- | --- | --- |\n");
    for arg in flags {
        let takes_value = arg.get_action().takes_values();
        let value = if takes_value { format!(" {}", value_name(arg)) } else { String::new() };
        let flag = format!("--{}{value}", arg.get_long().unwrap_or_default());
        let env = arg.get_env().map(|name| format!("`{}`", name.to_string_lossy())).unwrap_or_default();
        let defaults: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        let default = defaults.join(",");
        let default = if takes_value && !default.is_empty() { format!("`{default}`") } else { String::new() };
        let _ = writeln!(page, "| `{}` | {env} | {default} | {} |", escape(&flag), help(arg));
    }
}

/// Told once for all client commands.
fn of_every_client(arg: &Arg) -> bool {
    arg.get_help_heading() == Some(SERVER_HEADING)
}

fn value_name(arg: &Arg) -> String {
    let names: Vec<_> = arg.get_value_names().unwrap_or_default().iter().map(ToString::to_string).collect();
    let name = names.join(" ");
    if arg.is_positional() && arg.get_num_args().is_some_and(|range| range.max_values() > 1) {
        format!("{name}...")
    } else {
        name
    }
}

/// The help text, with what an enumerated value may be.
fn help(arg: &Arg) -> String {
    let mut text = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let values = arg.get_possible_values();
    if arg.get_action().takes_values() && !values.is_empty() {
        let explain = |value: &PossibleValue| match value.get_help() {
            Some(help) => format!("`{}` ({help})", value.get_name()),
            None => format!("`{}`", value.get_name()),
        };
        let _ = write!(text, ": {}", values.iter().map(explain).collect::<Vec<_>>().join(", "));
    }
    escape(&text)
}

/// A `|` would end a table's cell.
fn escape(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_in_the_docs_is_current() {
        let kept = include_str!("../../docs/reference/cli.md");
        assert!(kept == page(), "docs/reference/cli.md is out of date: run `make docs`");
    }
}

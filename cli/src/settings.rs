//! Where settings come from: flag, else environment, else settings file, else default. The file's values become the
//! defaults of the declared flags, so there is no second list of settings to keep.
//!
//! A key is a flag's long name. Outside a table it holds for every command that has the flag; in a table named after a
//! command, for that command alone:
//!
//! ```toml
//! server = "http://10.0.0.1:8080"
//! [host]
//! data-dir = "/var/lib/oprc"
//! join = ["tcp/10.0.0.2:7447", "tcp/10.0.0.3:7447"]
//! ```

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::{fs, io};

use clap::{ArgAction, Command, CommandFactory as _, FromArgMatches as _};
use toml::{Table, Value};

use crate::args::Cli;

/// The command of which all others are parts.
const ROOT: &str = "oprc";
/// The flag that names the file cannot itself come from the file.
const CONFIG: &str = "config";

/// Why the command line is not understood.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    /// The flags, or a request for help.
    #[error(transparent)]
    Flags(#[from] clap::Error),
    /// The file cannot be read.
    #[error("cannot read the settings file {path}: {source}")]
    Read { path: String, source: io::Error },
    /// The file is not TOML.
    #[error("the settings file {path} is not valid: {source}")]
    Syntax { path: String, source: toml::de::Error },
    /// The file sets something that cannot be set.
    #[error("the settings file {path} sets {key}: {reason}")]
    Key { path: String, key: String, reason: &'static str },
}

impl SettingsError {
    /// Tells it, and gives the exit code: that of wrong usage, or of success for help.
    pub(crate) fn report(&self) -> ExitCode {
        if let Self::Flags(error) = self {
            // nothing is left to do when even this cannot be written
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
        eprintln!("error: {self}");
        ExitCode::from(2)
    }
}

/// Reads flags, environment and settings file.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Cli, SettingsError> {
    let args: Vec<_> = args.into_iter().collect();
    let mut command = Cli::command();
    if let Some(path) = config_path(&command, &args) {
        command = with_file(command, &path)?;
    }
    Ok(Cli::from_arg_matches(&command.try_get_matches_from(args)?)?)
}

/// The settings file that flag or environment name. Looked for by hand: a parser would stop at the first error, and
/// errors are for the real parse to tell.
fn config_path(command: &Command, args: &[OsString]) -> Option<PathBuf> {
    let mut args = args.iter().skip(1).take_while(|arg| *arg != "--");
    while let Some(arg) = args.next() {
        match arg.to_str().and_then(|arg| arg.strip_prefix("--config")) {
            Some("") => return args.next().map(PathBuf::from),
            Some(rest) if rest.starts_with('=') => return Some(rest[1..].into()),
            _ => {}
        }
    }
    let variable = command.get_arguments().find(|arg| arg.get_id() == CONFIG).and_then(|arg| arg.get_env());
    variable.and_then(std::env::var_os).filter(|path| !path.is_empty()).map(PathBuf::from)
}

fn with_file(command: Command, path: &PathBuf) -> Result<Command, SettingsError> {
    let shown = path.display().to_string();
    let text =
        fs::read_to_string(path).map_err(|source| SettingsError::Read { path: shown.clone(), source })?;
    let table: Table =
        text.parse().map_err(|source| SettingsError::Syntax { path: shown.clone(), source })?;
    with_table(command, &table).map_err(|(key, reason)| SettingsError::Key { path: shown, key, reason })
}

type Refusal = (String, &'static str);

/// Keys for all commands first, so that a command's own table overrides them.
fn with_table(mut command: Command, table: &Table) -> Result<Command, Refusal> {
    for (key, value) in table.iter().filter(|(_, value)| !value.is_table()) {
        let mut known = false;
        (command, known) = with_default(command, key, value, known)?;
        for name in names(&command) {
            let mut refusal = None;
            command =
                command.mut_subcommand(&name, |sub| match with_default(sub.clone(), key, value, known) {
                    Ok((sub, found)) => {
                        known = found;
                        sub
                    }
                    Err(error) => {
                        refusal = Some(error);
                        sub
                    }
                });
            refusal.map_or(Ok(()), Err)?;
        }
        if !known {
            return Err((key.clone(), "no command has such a flag"));
        }
    }
    for (name, value) in table {
        if let Value::Table(own) = value {
            command = with_own_table(command, name, own)?;
        }
    }
    Ok(command)
}

fn with_own_table(command: Command, name: &str, table: &Table) -> Result<Command, Refusal> {
    let Some(mut sub) = command.find_subcommand(name).cloned() else {
        return Err((format!("[{name}]"), "there is no such command"));
    };
    for (key, value) in table {
        let known;
        (sub, known) = with_default(sub, key, value, false)?;
        if !known {
            return Err((format!("{name}.{key}"), "the command has no such flag"));
        }
    }
    Ok(command.mut_subcommand(name, |_| sub))
}

fn names(command: &Command) -> Vec<String> {
    command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect()
}

/// Makes `value` the default of the flag `key`, if the command has it; `known` becomes true then.
fn with_default(
    mut command: Command,
    key: &str,
    value: &Value,
    mut known: bool,
) -> Result<(Command, bool), Refusal> {
    for name in names(&command) {
        if let Some(sub) = command.find_subcommand(&name).cloned().filter(|_| command.get_name() != ROOT) {
            let (sub, found) = with_default(sub, key, value, known)?;
            known = found;
            command = command.mut_subcommand(&name, |_| sub);
        }
    }
    let refuse = |reason| Err((key.to_owned(), reason));
    let Some(arg) = command.get_arguments().find(|arg| arg.get_long() == Some(key)) else {
        return Ok((command, known));
    };
    if key == CONFIG {
        return refuse("a settings file cannot name another");
    }
    let many = matches!(arg.get_action(), ArgAction::Append);
    let values: Option<Vec<_>> = match value {
        Value::Array(items) if many => items.iter().map(scalar).collect(),
        Value::Array(_) => return refuse("the flag takes one value"),
        value => scalar(value).map(|text| vec![text]),
    };
    let Some(values) = values else { return refuse("a value is a text, a number or true or false") };
    let id = arg.get_id().clone();
    Ok((command.mut_arg(id, |arg| arg.default_values(values)), true))
}

/// A value as it would stand on the command line. Leaked: clap keeps defaults for as long as the process lives.
fn scalar(value: &Value) -> Option<&'static str> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Boolean(truth) => truth.to_string(),
        Value::Datetime(_) | Value::Array(_) | Value::Table(_) => return None,
    };
    Some(text.leak())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::args::Command as Oprc;

    fn parse_with(file: &str, line: &str) -> Result<Cli, String> {
        let command = with_table(Cli::command(), &file.parse().unwrap())
            .map_err(|(key, why)| format!("{key}: {why}"))?;
        let matches = command.try_get_matches_from(line.split(' ')).map_err(|error| error.to_string())?;
        Cli::from_arg_matches(&matches).map_err(|error| error.to_string())
    }

    fn listen(file: &str, line: &str) -> String {
        match parse_with(file, line).unwrap().command {
            Oprc::Up(args) => args.listen.to_string(),
            Oprc::Gateway(args) => args.listen.to_string(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_flag_beats_the_file_and_the_file_beats_the_default() {
        let file = "listen = \"127.0.0.1:1\"\n[up]\nlisten = \"127.0.0.1:2\"";
        assert_eq!(listen("", "oprc up"), "127.0.0.1:8080");
        assert_eq!(listen(file, "oprc up"), "127.0.0.1:2");
        assert_eq!(listen(file, "oprc gateway"), "127.0.0.1:1");
        assert_eq!(listen(file, "oprc up --listen 127.0.0.1:3"), "127.0.0.1:3");
    }

    #[test]
    fn lists_numbers_and_switches_are_taken() {
        let file = "[host]\njoin = [\"tcp/a:1\", \"tcp/b:2\"]\nblock-cache-mib = 7\n[rm]\npurge = true";
        let Oprc::Host(host) = parse_with(file, "oprc host").unwrap().command else { panic!() };
        assert_eq!((host.mesh.links.join.len(), host.store.block_cache_mib), (2, 7));
        let Oprc::Rm(rm) = parse_with(file, "oprc rm A").unwrap().command else { panic!() };
        assert!(rm.purge);
    }

    #[test]
    fn what_cannot_be_set_is_named() {
        for (file, part) in [
            ("lisen = \"x\"", "lisen"),
            ("[upp]\nlisten = \"x\"", "[upp]"),
            ("[up]\nzone = \"x\"", "up.zone"),
            ("config = \"other.toml\"", "config"),
            ("listen = [\"a\", \"b\"]", "one value"),
            ("listen = 1979-05-27", "a text"),
        ] {
            let error = parse_with(file, "oprc up").unwrap_err();
            assert!(error.contains(part), "{file}: {error}");
        }
    }

    #[test]
    fn a_bad_value_is_found_like_a_bad_flag() {
        assert!(parse_with("[up]\nlisten = \"nowhere\"", "oprc up").unwrap_err().contains("nowhere"));
    }

    #[test]
    fn the_file_is_found_wherever_its_flag_stands() {
        let found = |line: &str| {
            let args: Vec<_> = line.split(' ').map(OsString::from).collect();
            config_path(&Cli::command(), &args)
        };
        for line in
            ["oprc --config a.toml up", "oprc up --config=a.toml", "oprc up --listen x --config a.toml"]
        {
            assert_eq!(found(line), Some("a.toml".into()), "{line}");
        }
        assert_eq!(found("oprc invoke A/b m -- --config"), None);
    }
}

//! Why a command failed, and how that is told: `error: ...` on standard error, with a hint where something is known to
//! help, and an exit code.

use std::error::Error;
use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use reqwest::Url;
use serde_json::{Value, json};

use crate::problem::Problem;

/// The exit code of a call that failed.
const FAILED: u8 = 1;
/// The exit code of wrong usage; the same as for a command line that does not parse.
const USAGE: u8 = 2;

/// A command that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The server refused, or the call failed.
    #[error("{0}")]
    Problem(Box<Problem>),
    /// Nobody answers there.
    #[error("cannot reach {}", shown(server))]
    Unreachable { server: Url, source: reqwest::Error },
    /// The connection broke.
    #[error("the connection to {} failed", shown(server))]
    Transport { server: Url, source: reqwest::Error },
    /// The answer is not one that this client knows.
    #[error("{} answered with {detail}", shown(server))]
    Protocol { server: Url, detail: String },
    /// An input cannot be read.
    #[error("cannot read {what}")]
    Read { what: String, source: io::Error },
    /// A file or folder cannot be made.
    #[error("cannot create {what}")]
    Create { what: String, source: io::Error },
    /// The output cannot be written.
    #[error("cannot write the output")]
    Write(#[from] io::Error),
    /// The command line parses but cannot be meant.
    #[error("{0}")]
    Usage(String),
    /// A role did not start, or ended by a fault.
    #[error("{operation}")]
    Role { operation: String, source: Box<dyn Error + Send + Sync> },
    /// A role had to stop.
    #[error("{0}")]
    Stopped(String),
    /// A measurement is not worth anything.
    #[error("{0}")]
    Bench(String),
}

impl Failure {
    /// A role's failure at `operation`.
    pub(crate) fn role(
        operation: impl Into<String>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self::Role { operation: operation.into(), source: source.into() }
    }

    /// Whether the same may succeed later: the server is away, or has too much to do.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Transport { .. } => true,
            Self::Problem(problem) => problem.may_pass(),
            _ => false,
        }
    }

    /// Tells the failure on standard error, and gives the exit code. A reader of standard output that went away is no
    /// failure.
    pub(crate) fn report(&self, as_json: bool) -> ExitCode {
        if matches!(self, Self::Write(error) if error.kind() == io::ErrorKind::BrokenPipe) {
            return ExitCode::SUCCESS;
        }
        if as_json {
            eprintln!("{}", self.document());
        } else {
            eprint!("{}", self.text());
        }
        ExitCode::from(if matches!(self, Self::Usage(_)) { USAGE } else { FAILED })
    }

    /// For people.
    fn text(&self) -> String {
        if let Self::Problem(problem) = self {
            return format!("error: {}\n", problem.text());
        }
        let mut text = format!("error: {}\n", self.with_causes());
        if let Some(hint) = self.hint() {
            let _ = writeln!(text, "hint: {hint}"); // writing to a String cannot fail, here and below
        }
        text
    }

    /// For programs: the server's problem document as it is, or one in its form.
    fn document(&self) -> Value {
        match self {
            Self::Problem(problem) => problem.document(),
            _ => json!({ "code": self.code(), "detail": self.with_causes(), "hint": self.hint() }),
        }
    }

    /// The sentence with the sentences of all that caused it; of a network's layers only the innermost says something.
    fn with_causes(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        if matches!(self, Self::Unreachable { .. } | Self::Transport { .. }) {
            while let Some(inner) = cause.and_then(Error::source) {
                cause = Some(inner);
            }
        }
        while let Some(error) = cause {
            let sentence = error.to_string();
            // some libraries repeat their source in their own sentence
            if !text.ends_with(&sentence) {
                let _ = write!(text, ": {sentence}");
            }
            cause = error.source();
        }
        text
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } | Self::Transport { .. } => "unreachable",
            Self::Usage(_) => "usage",
            _ => "client",
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Unreachable { .. } => {
                Some("start a server with `oprc up`, or name another with --server or OPRC_SERVER")
            }
            Self::Transport { .. } => {
                Some("the call may have taken effect; read the state before trying again")
            }
            Self::Read { what, source }
                if Path::new(what).extension().is_some_and(|kind| kind == "wasm")
                    && source.kind() == io::ErrorKind::NotFound =>
            {
                Some("build it first, such as with cargo build --target wasm32-wasip2 --release")
            }
            Self::Create { source, .. } if source.kind() == io::ErrorKind::AlreadyExists => {
                Some("nothing was changed: choose another name, or move away what is there")
            }
            Self::Role { source, .. } if address_in_use(source.as_ref()) => {
                Some("another process listens there: stop it, or choose another address with --listen")
            }
            Self::Protocol { .. } => Some("check that --server names an oprc gateway of the same version"),
            _ => None,
        }
    }
}

/// Whether an address that is taken is at the bottom of it.
fn address_in_use(error: &(dyn Error + 'static)) -> bool {
    let in_use = |error: &io::Error| error.kind() == io::ErrorKind::AddrInUse;
    error.downcast_ref::<io::Error>().is_some_and(in_use) || error.source().is_some_and(address_in_use)
}

/// A server as people write it.
fn shown(server: &Url) -> &str {
    server.as_str().trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_told_once_each() {
        let source = io::Error::other("disk on fire");
        let failure = Failure::role("opening .oprc", source);
        assert_eq!(failure.text(), "error: opening .oprc: disk on fire\n");
        let failure = Failure::Read { what: "a.json".into(), source: io::ErrorKind::NotFound.into() };
        assert_eq!(failure.text(), "error: cannot read a.json: entity not found\n");
    }

    #[test]
    fn a_component_that_is_not_there_wants_to_be_built() {
        let missing =
            |what: &str| Failure::Read { what: what.into(), source: io::ErrorKind::NotFound.into() };
        assert!(missing("target/a.wasm").text().contains("hint: build it first"));
        assert!(!missing("a.json").text().contains("hint"));
    }

    #[test]
    fn programs_get_the_same_as_people() {
        let failure = Failure::Usage("name a component".into());
        assert_eq!(
            failure.document(),
            json!({ "code": "usage", "detail": "name a component", "hint": null })
        );
    }
}

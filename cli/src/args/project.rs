//! Flags of the commands that ask no server: a new project, completions, manual pages.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::Format;
use crate::project::ProjectName;

/// `oprc new`.
#[derive(Debug, Args)]
pub(crate) struct NewArgs {
    /// The project's name and its folder's: small letters, digits, and single hyphens between them, such as my-counter; the class
    /// is then `MyCounter`
    #[arg(value_name = "NAME")]
    pub(crate) name: ProjectName,
    /// The language it is written in
    #[arg(long, value_name = "LANG", default_value = "rust")]
    pub(crate) lang: Language,
    /// The form of what is printed
    #[arg(long, env = "OPRC_OUTPUT", value_name = "FORMAT", default_value = "table")]
    pub(crate) output: Format,
}

/// What a new project is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    /// Rust, built with plain cargo
    Rust,
}

/// `oprc completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell that is to complete
    #[arg(value_name = "SHELL")]
    pub(crate) shell: Shell,
}

/// A shell that can complete `oprc`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    /// source <(oprc completions bash)
    Bash,
    /// oprc completions zsh > "${fpath[1]}/_oprc"
    Zsh,
    /// oprc completions fish > ~/.config/fish/completions/oprc.fish
    Fish,
}

/// `oprc man`.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// The page of this command, such as deploy; that of oprc itself unless named
    #[arg(value_name = "COMMAND", conflicts_with = "dir")]
    pub(crate) command: Option<String>,
    /// Write all pages into this folder, which must be there, as oprc.1, oprc-deploy.1 and so on
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

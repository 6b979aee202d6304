//! Flags of every client command: whom to ask, with which key, and how to show the answer.

use std::fmt;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use reqwest::Url;

/// Where help shows the flags of every client command.
pub(crate) const SERVER_HEADING: &str = "Server";

/// Flags of every client command.
#[derive(Debug, Args)]
#[command(next_help_heading = SERVER_HEADING)]
pub(crate) struct ClientArgs {
    /// The server to ask
    #[arg(long, env = "OPRC_SERVER", value_name = "URL", default_value = "http://127.0.0.1:8080", value_parser = server_url)]
    pub(crate) server: Url,
    /// The token of a key, or a JWT, for a server that wants one; better in the environment or in a file than here, where other users
    /// of this machine can see it
    #[arg(long, env = "OPRC_KEY", value_name = "TOKEN", hide_env_values = true, hide_default_value = true)]
    pub(crate) key: Option<Secret>,
    /// A file with the token; goes before the token itself
    #[arg(long, env = "OPRC_KEY_FILE", value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// A PEM file with the certificates whose word on the server counts, beside the system's own
    #[arg(long, env = "OPRC_CA", value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// A PEM file with the certificate to show to the server, and its private key
    #[arg(long, env = "OPRC_CLIENT_CERT", value_name = "FILE")]
    pub(crate) client_cert: Option<PathBuf>,
    /// The form of what is printed
    #[arg(long, env = "OPRC_OUTPUT", value_name = "FORMAT", default_value = "table")]
    pub(crate) output: Format,
}

/// The form of what client commands print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Table,
    /// One JSON document, on standard error too
    Json,
}

/// A text that is shown nowhere: parsed where it is used, since the parser of flags repeats what it refuses.
#[derive(Clone)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("...")
    }
}

fn server_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    url.ok_or_else(|| "a server is an address such as http://127.0.0.1:8080".to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_server_needs_its_scheme() {
        for text in ["http://localhost:8080", "https://localhost"] {
            assert!(server_url(text).is_ok());
        }
        for text in ["localhost:8080", "127.0.0.1:8080", "ftp://localhost", "http://", ""] {
            assert!(server_url(text).unwrap_err().contains("http://"), "{text}");
        }
    }
}

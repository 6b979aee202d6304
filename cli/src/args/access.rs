//! Flags about who may do what: of a gateway, of a client, and of `oprc key`.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::RangedU64ValueParser;
use clap::{Args, Subcommand};
use oprc_gateway::TlsFiles;
use oprc_mesh::access::Scope;
use oprc_mesh::id::KeyName;
use oprc_mesh::limits::{BURST, CALLS_PER_S, CONCURRENCY, PAYLOAD_KIB, Setting};

use super::{ClientArgs, JwtArgs};
use crate::duration;
use crate::failure::Failure;

/// Who may use a gateway.
#[derive(Debug, Args)]
#[command(next_help_heading = "Access")]
pub(crate) struct AccessArgs {
    /// Serve only those who show a key, each as far as its scopes go; see `oprc key`
    #[arg(long, env = "OPRC_AUTH")]
    pub(crate) auth: bool,
    /// A file with a token that allows everything, to make the first keys with; `oprc key token` makes one [default with
    /// `up`: root-key in the data directory, made at the first start]
    #[arg(long, env = "OPRC_ROOT_KEY_FILE", value_name = "FILE")]
    pub(crate) root_key_file: Option<PathBuf>,
    /// Serve everybody without --auth on an address that is not of this machine alone
    #[arg(long, env = "OPRC_ALLOW_ANONYMOUS")]
    pub(crate) allow_anonymous: bool,
    #[command(flatten)]
    pub(crate) jwt: JwtArgs,
}

/// What a gateway serves TLS with.
#[derive(Debug, Args)]
#[command(next_help_heading = "TLS")]
#[allow(clippy::struct_field_names, reason = "the flags are called so")]
pub(crate) struct TlsArgs {
    /// Serve HTTPS with the certificate in this PEM file, and those above it; looked at every second, so that it can be
    /// replaced at any time
    #[arg(long, env = "OPRC_TLS_CERT", value_name = "FILE")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Its private key
    #[arg(long, env = "OPRC_TLS_KEY", value_name = "FILE")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Serve only clients that show a certificate by one of those in this PEM file
    #[arg(long, env = "OPRC_TLS_CLIENT_CA", value_name = "FILE")]
    pub(crate) tls_client_ca: Option<PathBuf>,
}

impl TlsArgs {
    /// None for plain HTTP. Looked at here and not by the parser, which knows nothing of what a settings file says.
    ///
    /// # Errors
    /// A part without the others: nothing is served in clear by mistake.
    pub(crate) fn files(self) -> Result<Option<TlsFiles>, Failure> {
        let usage = |text: &str| Err(Failure::Usage(text.to_owned()));
        match (self.tls_cert, self.tls_key, self.tls_client_ca) {
            (None, None, None) => Ok(None),
            (Some(certificate), Some(key), client_ca) => Ok(Some(TlsFiles { certificate, key, client_ca })),
            (Some(_), None, _) => usage("--tls-cert needs --tls-key"),
            (None, Some(_), _) => usage("--tls-key needs --tls-cert"),
            (None, None, Some(_)) => usage("--tls-client-ca needs --tls-cert and --tls-key"),
        }
    }
}

/// `oprc key`.
#[derive(Debug, Args)]
pub(crate) struct KeyArgs {
    #[command(subcommand)]
    pub(crate) wish: KeyWish,
}

/// What is to be done with keys.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyWish {
    /// Make a key; its token is shown this once
    Create(CreateKeyArgs),
    /// List the keys
    Ls(ClientArgs),
    /// Give a key another token, which is shown this once
    Rotate(RotateKeyArgs),
    /// Revoke a key: within a second it allows nothing any more
    Revoke(RevokeKeyArgs),
    /// Print a new token for --root-key-file; no server is asked
    Token,
}

/// `oprc key create`.
#[derive(Debug, Args)]
pub(crate) struct CreateKeyArgs {
    /// What the key is called by
    #[arg(value_name = "NAME")]
    pub(crate) name: KeyName,
    /// What it allows: read, invoke (which is also to write objects) or deploy, in all classes or with :CLASS or :BEGINNING*
    /// in some, or admin for everything; may be given more than once
    #[arg(long = "scope", value_name = "SCOPE", value_delimiter = ',', required = true, value_parser = scope)]
    pub(crate) scopes: Vec<String>,
    /// From when on it allows nothing, such as 12h or 90d; never unless given
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub(crate) expires_in: Option<Duration>,
    /// Calls in a second that each gateway takes from it; no limit unless given
    #[arg(long, value_name = "CALLS_PER_S", value_parser = up_to(CALLS_PER_S))]
    pub(crate) rate: Option<u64>,
    /// Calls at once after a pause; as many as in a second unless given
    #[arg(long, value_name = "CALLS", requires = "rate", value_parser = up_to(BURST))]
    pub(crate) burst: Option<u64>,
    /// Calls of it under way at each gateway; no limit unless given
    #[arg(long, value_name = "CALLS", value_parser = up_to(CONCURRENCY))]
    pub(crate) concurrency: Option<u64>,
    /// The body of a call, in KiB; no limit of its own unless given
    #[arg(long, value_name = "KIB", value_parser = up_to(PAYLOAD_KIB))]
    pub(crate) payload_kib: Option<u64>,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// `oprc key rotate`.
#[derive(Debug, Args)]
pub(crate) struct RotateKeyArgs {
    /// The key
    #[arg(value_name = "NAME")]
    pub(crate) name: KeyName,
    /// For how long the token before counts as well, such as 1h; no longer unless given
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub(crate) grace: Option<Duration>,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// `oprc key revoke`.
#[derive(Debug, Args)]
pub(crate) struct RevokeKeyArgs {
    /// The key
    #[arg(value_name = "NAME")]
    pub(crate) name: KeyName,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

impl KeyWish {
    /// The flags of the server that is asked; none when none is.
    pub(crate) fn client(&self) -> Option<&ClientArgs> {
        match self {
            Self::Create(args) => Some(&args.client),
            Self::Ls(client) => Some(client),
            Self::Rotate(args) => Some(&args.client),
            Self::Revoke(args) => Some(&args.client),
            Self::Token => None,
        }
    }
}

fn up_to(setting: Setting) -> RangedU64ValueParser {
    RangedU64ValueParser::new().range(1..=setting.cap)
}

fn scope(text: &str) -> Result<String, String> {
    Scope::parse(text).map(|scope| scope.to_string()).map_err(|error| error.to_string())
}

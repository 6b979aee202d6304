//! Logs go to standard error; standard output belongs to results.

use std::io;

use tracing_subscriber::EnvFilter;

use crate::args::{Common, LogFormat};
use crate::failure::Failure;

/// Zenoh tells at `info`, and openraft at `warn` (at every start), what only they themselves need to know.
const ROLE_FILTER: &str = "info,zenoh=warn,zenoh_transport=warn,zenoh_link=warn,openraft=error";
const CLIENT_FILTER: &str = "warn";

/// Starts logging: `--log`, else `RUST_LOG`, else what suits the command.
pub(crate) fn init(common: &Common, is_role: bool) -> Result<(), Failure> {
    let given = common.log.clone().or_else(|| std::env::var(EnvFilter::DEFAULT_ENV).ok());
    let usual = if is_role { ROLE_FILTER } else { CLIENT_FILTER };
    let directives = given.as_deref().filter(|filter| !filter.trim().is_empty()).unwrap_or(usual);
    let filter = EnvFilter::try_new(directives)
        .map_err(|error| Failure::Usage(format!("{directives:?} is not a log filter: {error}")))?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match common.log_format {
        LogFormat::Human => subscriber.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).init(),
        LogFormat::Json => subscriber.json().flatten_event(true).init(),
    }
    Ok(())
}

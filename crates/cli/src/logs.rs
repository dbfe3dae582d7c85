//! Logs: to standard error, as `NUNCIO_LOG` says. Letters' contents and secrets are never in them.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

const VARIABLE: &str = "NUNCIO_LOG";

/// Starts logging. `usual` holds where the variable is not set.
pub(crate) fn start(usual: &str) {
    let filter = EnvFilter::try_from_env(VARIABLE).unwrap_or_else(|_| EnvFilter::new(usual));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    let logs = logs.with_ansi(std::io::stderr().is_terminal());
    // A second start in one process (a test) keeps the first.
    let _ = logs.try_init();
}

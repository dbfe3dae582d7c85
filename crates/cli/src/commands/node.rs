//! `nuncio node`

mod init;
mod keys;
mod run;

use clap::{Args, Subcommand};
use nuncio_node::OWNER_SOCKET;

use crate::cli::Options;
use crate::client::Api;
use crate::failure::Failure;
use crate::output;

const EXAMPLES: &str = "\
A token service, in one minute:
  nuncio node init --domain acme.example --issuer http://127.0.0.1:7430
  nuncio node run --quic 127.0.0.1:7431            in a terminal of its own
  # name clients and what they may do in policy.toml (contracts/schema/policy.json), then:
  nuncio node reload
  nuncio node keys rotate                          once a month, say";

/// Runs the node of a trust domain: its token service (contracts/txts.md).
///
/// Its home is apart from the agent's: --home DIR, or `node` in the platform's data directory.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Node {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make a node's identity and its home
    Init(init::Init),
    /// Run the node until it is stopped
    Run(run::Run),
    /// Look at the keys that sign tokens
    Keys(keys::Keys),
    /// Have the running node read its policy again
    Reload(Reload),
    /// Look whether a policy can be used
    Check(run::Check),
}

/// Has the running node read its policy again, as SIGHUP does. A bad one leaves the former in force, and is said.
#[derive(Args)]
pub(crate) struct Reload {}

impl Node {
    pub(crate) async fn run(self, options: &Options) -> Result<(), Failure> {
        match self.command {
            Command::Init(command) => command.run(options),
            Command::Run(command) => command.run(options).await,
            Command::Keys(command) => command.run(options).await,
            Command::Reload(Reload {}) => reload(options).await,
            Command::Check(command) => command.run(options),
        }
    }
}

async fn reload(options: &Options) -> Result<(), Failure> {
    Api::on(options.node_home()?.join(OWNER_SOCKET)).tell("/owner/reload").await?;
    output::note("the policy is in force");
    Ok(())
}

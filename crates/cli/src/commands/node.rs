//! `nuncio node`

mod init;
mod keys;
mod page;
mod run;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use nuncio_node::{NodeError, OWNER_SOCKET};

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
  nuncio node page                                 a link that shows all that happens in a browser
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
    /// Print a link that shows the running node in a browser, once
    Page(page::Page),
    /// Turn the keys that sign tokens
    Keys(keys::Keys),
    /// Have the running node read its policy again
    Reload(Reload),
    /// End a transaction: the running node issues no token of it any more, and tells every agent
    Revoke(Revoke),
    /// Look whether a policy can be used
    Check(run::Check),
}

/// Has the running node read its policy again, as SIGHUP does. A bad one leaves the former in force, and is said.
#[derive(Args)]
pub(crate) struct Reload {}

/// Ends a transaction before its time. Agents refuse its tokens once they have heard, within seconds.
#[derive(Args)]
#[command(after_help = "Examples:\n  nuncio node revoke 01a21892-77f0-77d1-a1be-1ff4b8bf8ce3")]
pub(crate) struct Revoke {
    /// Its name: `nuncio begin`, a letter's grant and every token show it
    #[arg(value_name = "TRANSACTION", value_parser = transaction)]
    txn: uuid::Uuid,
}

impl Node {
    pub(crate) async fn run(self, options: &Options) -> Result<(), Failure> {
        match self.command {
            Command::Init(command) => command.run(options),
            Command::Run(command) => command.run(options).await,
            Command::Keys(command) => command.run(options).await,
            Command::Page(command) => command.run(options).await,
            Command::Reload(Reload {}) => reload(options).await,
            Command::Revoke(Revoke { txn }) => revoke(options, txn).await,
            Command::Check(command) => command.run(options),
        }
    }
}

fn transaction(text: &str) -> Result<uuid::Uuid, String> {
    text.parse().map_err(|_| "a transaction's name is a UUID, as `nuncio begin` shows it".to_owned())
}

/// The home, if a node was made there.
fn made_home(options: &Options) -> Result<PathBuf, Failure> {
    let home = options.node_home()?;
    if home.join("keys").exists() { Ok(home) } else { Err(NodeError::NoNode(home).into()) }
}

async fn revoke(options: &Options, txn: uuid::Uuid) -> Result<(), Failure> {
    Api::of_node(made_home(options)?.join(OWNER_SOCKET))
        .tell(&format!("/owner/revoke?txn={}", txn.hyphenated()))
        .await?;
    output::note(format_args!(
        "{txn} is revoked: no token of it is issued any more, and agents refuse those there are within 15 seconds. Whether there ever was one is not looked up: see that the name is right"
    ));
    Ok(())
}

async fn reload(options: &Options) -> Result<(), Failure> {
    Api::of_node(made_home(options)?.join(OWNER_SOCKET)).tell("/owner/reload").await?;
    output::note("the policy is in force");
    Ok(())
}

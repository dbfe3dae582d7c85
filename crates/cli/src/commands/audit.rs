//! `nuncio audit`

mod anchor;
mod head;
mod opening;
mod place;
mod read;
mod reconcile;
mod verify;
mod witness;

use clap::{Args, Subcommand};

use crate::cli::Options;
use crate::failure::Failure;
use place::Place;

const EXAMPLES: &str = "\
Examples:
  nuncio --home NODE-HOME audit root                 beside the node
  nuncio --home NODE-HOME audit tail --follow
  nuncio audit --log https://log.acme.example/log/ verify    as an agent of its domain, which knows the key
  nuncio audit --policy trusted.policy verify        signed by a log of the policy, cosigned by enough of its witnesses
  nuncio audit reconcile 01a21892-77f0-77d1-a1be-1ff4b8bf8ce3
  nuncio audit --log https://log.acme.example/log/ --key 'acme.example/log+5214abcd+AX…' verify
  nuncio audit prove 1742 > letter.tlog-proof";

/// Reads and verifies an audit log (contracts/log.md, contracts/audit.md). Nothing of it is believed that was not checked.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Audit {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print the log's head: name, entries, root, who signed it
    Root,
    /// Print the newest events, and with --follow those that come
    Tail(read::Tail),
    /// Print one event
    Show(read::Show),
    /// Write the receipt of an entry: a C2SP tlog-proof
    Prove(read::Prove),
    /// Check every entry, chain, tile and the head; name the first that is wrong
    Verify(verify::Verify),
    /// Write all events as JSON lines
    Export(read::Export),
    /// Compare what tokens, senders and receivers say of one transaction
    Reconcile(reconcile::Reconcile),
    /// Write what shows, to whoever has the log, what one letter said
    Open(opening::Open),
    /// Check an opening against the log, and print the letter
    Opened(opening::Opened),
    /// Run a witness of logs
    Witness(witness::Witness),
}

impl Audit {
    pub(crate) async fn run(self, options: &Options) -> Result<(), Failure> {
        let command = match self.command {
            Command::Witness(witness) => return witness.run(options).await,
            Command::Open(open) => return open.run(options).await,
            command => command,
        };
        let found = self.place.find(options)?;
        let json = options.json;
        // Files are read outside of the tasks that serve: whoever reads from the web waits.
        let done = tokio::task::spawn_blocking(move || {
            let log = found.log()?;
            match command {
                Command::Root => read::root(&log, json),
                Command::Tail(tail) => tail.run(&log, json),
                Command::Show(show) => show.run(&log, json),
                Command::Prove(prove) => prove.run(&log),
                Command::Verify(verify) => verify.run(&log, json),
                Command::Export(export) => export.run(&log),
                Command::Reconcile(reconcile) => reconcile.run(&log, json),
                Command::Opened(opened) => opened.run(&log, json),
                Command::Witness(_) | Command::Open(_) => Ok(()),
            }
        });
        done.await.unwrap_or_else(|_| Err(Failure::Broken("the command broke off".to_owned())))
    }
}

//! `nuncio mailbox`

use clap::{Args, Subcommand};

use crate::cli::Options;
use crate::client::Api;
use crate::failure::Failure;
use crate::output;
use crate::wire::{Mailbox as Known, Status};

const EXAMPLES: &str = "\
Examples:
  nuncio mailbox
  nuncio mailbox renew

An agent has a mailbox with `mailbox = true` in its nuncio.toml and a [trust] whose node's policy names it. While it is away, peers leave sealed
letters there, each with a key of its own that this agent gave it.";

/// Says where letters wait for this agent while it is away, and whether that place is open.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Mailbox {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Subcommand)]
enum Action {
    /// Give every peer another key, and let nobody leave letters by one of before
    #[command(
        after_help = "Example:\n  nuncio mailbox renew\n\nFor when somebody who is no peer any more fills the mailbox. Peers are told in their sessions; what they leave before they have heard of it is\ndenied, stays with them, and comes with the new key. What waits in the mailbox stays."
    )]
    Renew,
}

impl Mailbox {
    pub(crate) async fn run(&self, options: &Options) -> Result<(), Failure> {
        options
            .with(async |api| match &self.action {
                None => show(options, api).await,
                Some(Action::Renew) => renew(options, api).await,
            })
            .await
    }
}

async fn show(options: &Options, api: &Api) -> Result<(), Failure> {
    let mailbox = api.get::<Status>("/v1/status").await?.mailbox;
    if options.json {
        return output::json(&mailbox);
    }
    match mailbox {
        Some(mailbox) => output::line(said(&mailbox)),
        None => {
            output::note("this agent has no mailbox: letters wait with their senders (`nuncio mailbox --help`)");
            Ok(())
        }
    }
}

/// Whether it is open, why not, and where it is.
pub(super) fn said(mailbox: &Known) -> String {
    let state = if mailbox.open { "open" } else { "not open" };
    let why = mailbox.problem.as_ref().map(|why| format!(": {}", output::harmless_line(why))).unwrap_or_default();
    let listed = mailbox.listed_prekeys.map(|left| format!(", {left} one-time prekeys in its directory"));
    format!("{state}{why} at {}{}", mailbox.at, listed.unwrap_or_default())
}

async fn renew(options: &Options, api: &Api) -> Result<(), Failure> {
    api.tell("/v1/mailbox/renewal").await?;
    if options.json {
        return output::json(&api.get::<Status>("/v1/status").await?.mailbox);
    }
    output::line("renewed: every peer is given another key")?;
    if !api.is_daemon() {
        output::note("no agent runs here: the node and the peers hear of it when one does (`nuncio agent`)");
    }
    Ok(())
}

//! `nuncio outbox`

use std::collections::BTreeMap;

use clap::{Args, Subcommand};

use crate::cli::Options;
use crate::client::{Api, segment};
use crate::failure::{Failure, hint_for_letter};
use crate::output;
use crate::wire::{Cancelled, Delivery, LetterState, Outbox as Letters, Peers, Way};

/// As many as the API gives at once.
const LISTED: usize = 65_536;

/// Lists letters that are not delivered: on their way, or failed within the last days, and why.
#[derive(Args)]
#[command(after_help = "Examples:\n  nuncio outbox\n  nuncio outbox cancel anna 01a2189277f077d1a1be1ff4b8bf8ce3")]
pub(crate) struct Outbox {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Subcommand)]
enum Action {
    /// Take a letter back that is on its way; it may arrive all the same
    Cancel {
        /// To whom it is: a short name or DID
        peer: String,
        /// Its id, as `nuncio send` and `nuncio outbox` print it
        #[arg(value_name = "ID", value_parser = super::send::letter_id)]
        letter: String,
    },
}

impl Outbox {
    pub(crate) async fn run(&self, options: &Options) -> Result<(), Failure> {
        options
            .with(async |api| match &self.action {
                None => list(options, api).await,
                Some(Action::Cancel { peer, letter }) => cancel(options, api, peer, letter).await,
            })
            .await
    }
}

async fn list(options: &Options, api: &Api) -> Result<(), Failure> {
    let letters = api.get::<Letters>(&format!("/v1/letters?max={LISTED}")).await?;
    if options.json {
        return output::json(&letters);
    }
    let letters = letters.letters;
    if letters.is_empty() {
        output::note("nothing is on its way, and nothing failed");
        return Ok(());
    }
    let known = api.get::<Peers>("/v1/peers").await?.peers;
    let names: BTreeMap<&str, &str> =
        known.iter().filter_map(|peer| Some((peer.agent.as_str(), peer.name.as_deref()?))).collect();
    let rows: Vec<Vec<String>> = letters.iter().map(|letter| row(letter, &names)).collect();
    output::table(&["LETTER", "TO", "STATE", "WHY"], &rows)?;
    if letters.len() == LISTED {
        output::note(format_args!("these are the newest {LISTED}; there may be more"));
    }
    let mut hints: Vec<&str> =
        letters.iter().filter_map(|letter| letter.code.as_deref()).map(hint_for_letter).collect();
    // That one names this very command.
    hints.retain(|hint| *hint != hint_for_letter("refused"));
    hints.sort_unstable();
    hints.dedup();
    hints.into_iter().for_each(|hint| output::note(format_args!("hint: {hint}")));
    Ok(())
}

fn row(letter: &LetterState, names: &BTreeMap<&str, &str>) -> Vec<String> {
    let to = names.get(letter.to.as_str()).copied().unwrap_or(&letter.to);
    let state = match (letter.state, letter.way) {
        (Delivery::Failed, _) => "failed",
        (_, Some(Way::None)) => "on its way, waiting",
        (_, Some(Way::Direct)) => "on its way, sent directly",
        (_, Some(Way::Mailbox)) => "on its way, in its mailbox",
        _ => "on its way",
    };
    let since = letter.mailbox_since_ms.map(|ms| format!("{state} since {}", output::time(ms)));
    let state = since.unwrap_or_else(|| state.to_owned());
    let why = letter.reason.as_deref().unwrap_or("-").trim_start_matches("the letter was not delivered: ");
    vec![letter.id.clone(), to.to_owned(), state, output::harmless_line(why)]
}

async fn cancel(options: &Options, api: &Api, peer: &str, letter: &str) -> Result<(), Failure> {
    let path = format!("/v1/letters/{}/{letter}", segment(peer));
    let cancelled = api.delete::<Cancelled>(&path).await?;
    if options.json {
        return output::json(&cancelled);
    }
    if !cancelled.cancelled {
        return Err(Failure::usage("no such letter is on its way to it", "`nuncio outbox` lists those that are"));
    }
    output::line(format_args!("cancelled {letter}"))
}

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

/// Lists letters that are not delivered: on their way, or failed within the last days, and why. A letter to a channel stands there once, with who has it not.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  nuncio outbox\n  nuncio outbox cancel anna 01a2189277f077d1a1be1ff4b8bf8ce3\n\nA letter to a channel is taken back from one member so, and from all who lack it with `nuncio channel cancel`."
)]
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
    let (to_channels, alone): (Vec<_>, Vec<_>) = letters.iter().partition(|letter| letter.channel.is_some());
    let mut rows: Vec<Vec<String>> = alone.into_iter().map(|letter| row(letter, &names)).collect();
    let mut by_letter = BTreeMap::<&str, Vec<&LetterState>>::new();
    to_channels.into_iter().for_each(|letter| by_letter.entry(&letter.id).or_default().push(letter));
    rows.extend(by_letter.values().map(|letters| channel_row(letters, &names)));
    // Ids begin with the time.
    rows.sort();
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
    let state = match (letter.state, way(letter)) {
        (Delivery::Failed, _) => "failed".to_owned(),
        (_, Some(way)) => format!("on its way, {way}"),
        _ => "on its way".to_owned(),
    };
    vec![letter.id.clone(), called(letter, names).to_owned(), state, why(letter).unwrap_or_else(|| "-".to_owned())]
}

/// A letter to a channel: how many have it, and who has not.
fn channel_row(letters: &[&LetterState], names: &BTreeMap<&str, &str>) -> Vec<String> {
    let Some(first) = letters.first() else { return Vec::new() };
    let channel = first.channel_name.as_ref().or(first.channel.as_ref()).map(|name| output::harmless_line(name));
    let (failed, waiting): (Vec<_>, Vec<_>) =
        letters.iter().copied().partition(|letter| letter.state == Delivery::Failed);
    let of = first.of.unwrap_or_default();
    let delivered = of.saturating_sub(u64::try_from(letters.len()).unwrap_or(of));
    let left = waiting.iter().map(|letter| format!("{} ({})", called(letter, names), way(letter).unwrap_or_default()));
    let left: Vec<String> = left.collect();
    let left = if left.is_empty() { String::new() } else { format!("; not yet: {}", left.join(", ")) };
    let never = failed.iter().map(|letter| format!("{}: {}", called(letter, names), why(letter).unwrap_or_default()));
    let never: Vec<String> = never.collect();
    let never = if never.is_empty() { "-".to_owned() } else { format!("never to {}", never.join(", ")) };
    let state = format!("delivered to {delivered} of {of}{left}");
    vec![first.id.clone(), format!("channel {}", channel.unwrap_or_default()), state, never]
}

fn called<'a>(letter: &'a LetterState, names: &BTreeMap<&str, &'a str>) -> &'a str {
    names.get(letter.to.as_str()).copied().unwrap_or(&letter.to)
}

/// By which way it has left.
fn way(letter: &LetterState) -> Option<String> {
    let way = match letter.way? {
        Way::None => "waiting",
        Way::Direct => "sent directly",
        Way::Mailbox => "in its mailbox",
    };
    Some(letter.mailbox_since_ms.map_or_else(|| way.to_owned(), |ms| format!("{way} since {}", output::time(ms))))
}

fn why(letter: &LetterState) -> Option<String> {
    let why = letter.reason.as_deref()?;
    Some(output::harmless_line(why.trim_start_matches("the letter was not delivered: ")))
}

async fn cancel(options: &Options, api: &Api, peer: &str, letter: &str) -> Result<(), Failure> {
    let path = format!("/v1/letters/{}/{letter}", segment(peer));
    let cancelled = api.delete::<Cancelled>(&path).await?;
    if !cancelled.cancelled {
        return Err(Failure::usage("no such letter is on its way to it", "`nuncio outbox` lists those that are"));
    }
    if options.json {
        return output::json(&cancelled);
    }
    output::line(format_args!("cancelled {letter}"))
}

//! `nuncio audit open` and `opened`

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use data_encoding::BASE64;
use nuncio::{AgentId, Opening};
use nuncio_node::log::{Ends, ends};
use nuncio_proto::audit::SignedEvent;
use serde_json::{Value, json};

use super::place::Log;
use crate::cli::Options;
use crate::failure::Failure;
use crate::output;
use crate::wire::WantedOpening;

/// An opening at its longest: a letter in base64, with room to spare.
const OPENING_LEN_MAX: u64 = 1 << 20;

/// Writes what shows, to whoever has the log, what one letter said. It shows nothing of any other letter.
///
/// Both ends can: of letters in sessions that audit, for a month. The payload is not kept; give it again.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    nuncio audit open 01a2189277f077d1a1be1ff4b8bf8ce3 --payload order.json > order.opening\n  \
    nuncio audit open 01a2189277f077d1a1be1ff4b8bf8ce3 --from anna --payload order.json > order.opening\n  \
    nuncio audit --log https://log.acme.example/ --key log.pub opened order.opening")]
pub(super) struct Open {
    /// Its id, as `nuncio send` and `nuncio inbox` print it
    #[arg(value_name = "ID", value_parser = super::super::send::letter_id)]
    letter: String,
    /// Who wrote it, by short name or DID [default: this agent]
    #[arg(long, value_name = "PEER")]
    from: Option<String>,
    /// Its payload, the very bytes; `-` reads them from standard input. None of a letter without one, or with a large one
    #[arg(long, value_name = "FILE|-")]
    payload: Option<PathBuf>,
    /// Also show whom the log's events under pseudonyms mean: of every event of this agent and the other one, before and after. Without it the opening
    /// proves nothing where one of the two uses pseudonyms
    #[arg(long)]
    show_pair: bool,
}

impl Open {
    pub(super) async fn run(self, options: &Options) -> Result<(), Failure> {
        let payload = self.payload.as_ref().map(|path| read(path)).transpose()?;
        let base64 = payload.map(|payload| BASE64.encode(&payload));
        let wanted = WantedOpening { id: self.letter, from: self.from, base64, show_pair: self.show_pair };
        let opening = options.with(async |api| api.post::<Value>("/v1/openings", &wanted).await).await?;
        output::json(&opening)
    }
}

/// What is longer than a letter is no payload of one, and is not read to its end.
fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let source: Box<dyn Read> = if path == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(File::open(path).map_err(Failure::io("read", path))?)
    };
    let mut bytes = Vec::new();
    source.take(OPENING_LEN_MAX).read_to_end(&mut bytes).map_err(Failure::io("read", path))?;
    Ok(bytes)
}

/// Checks an opening against the log: who wrote the letter, who had it, and what it said.
#[derive(Args)]
pub(super) struct Opened {
    /// What `nuncio audit open` wrote
    #[arg(value_name = "FILE")]
    opening: PathBuf,
    /// Write the payload there instead of printing it
    #[arg(long, value_name = "FILE")]
    payload: Option<PathBuf>,
}

impl Opened {
    pub(super) fn run(&self, log: &Log, json: bool) -> Result<(), Failure> {
        let opening = Opening::from_json(&read(&self.opening)?).ok_or_else(|| {
            Failure::usage(format!("{} is no opening", self.opening.display()), "`nuncio audit open` writes one")
        })?;
        let ends = find(log, &opening)?;
        let Some(letter) = opening.letter() else { return Ok(()) };
        if json {
            let payload = BASE64.encode(&letter.payload);
            let told = |ends: &[(u64, AgentId)]| -> Vec<Value> {
                ends.iter().map(|(index, agent)| json!({ "index": index, "agent": agent.to_string() })).collect()
            };
            output::json(&json!({
                "letter": letter.id.to_string(), "authors": told(&ends.authors), "receivers": told(&ends.receivers),
                "agreed": ends.is_agreed, "content_type": letter.content_type.to_string(), "payload": payload,
            }))?;
        } else {
            output::line(format_args!("letter      {}", letter.id))?;
            output::line(format_args!("written by  {}", who(&ends.authors)))?;
            output::line(format_args!("had by      {}", who(&ends.receivers)))?;
            output::line(format_args!("created     {}", output::time(letter.id.created().0)))?;
            output::line(format_args!("type        {}", output::harmless_line(&letter.content_type.to_string())))?;
            if self.payload.is_none() {
                output::line(output::harmless_line(&String::from_utf8_lossy(&letter.payload)))?;
            }
        }
        judge(&ends)?;
        match &self.payload {
            Some(path) => std::fs::write(path, &letter.payload).map_err(Failure::io("write", path)),
            None => Ok(()),
        }
    }
}

fn who(ends: &[(u64, AgentId)]) -> String {
    let each: Vec<String> = ends.iter().map(|(index, agent)| format!("{agent} (entry {index})")).collect();
    if each.is_empty() { "nobody says so".to_owned() } else { each.join(", ") }
}

/// What one end says alone, or several claim, is no proof of who wrote it.
fn judge(ends: &Ends) -> Result<(), Failure> {
    let why = match (ends.authors.as_slice(), ends.receivers.as_slice()) {
        _ if ends.is_agreed => return Ok(()),
        ([], []) => "no event of the log has its commitment: this proves nothing",
        ([], _) => "its author says nothing of it: this proves nothing about who wrote it",
        (_, []) => "its receiver says nothing of it yet: anybody to whom it was shown could say that they wrote it",
        _ => {
            "they do not name each other, or not so that the opening shows it (`nuncio audit open --show-pair`), or more than one claims it: this proves nothing about who wrote it"
        }
    };
    Err(Failure::Unsound(why.to_owned()))
}

/// The events with a letter's commitment. Only what has its bytes somewhere is looked at.
fn find(log: &Log, opening: &Opening) -> Result<Ends, Failure> {
    let commitment = opening.commitment();
    let head = log.head()?.checkpoint;
    let (mut found, mut next) = (Vec::new(), 0);
    while next < head.size {
        let entries = log.files.entries(next, &head)?;
        for (index, entry) in (next..).zip(&entries) {
            if entry.windows(commitment.len()).any(|part| part == commitment.as_slice()) {
                // Its place in the tree is checked, and so is its signature.
                let (entry, _) = log.receipt(index)?;
                let event = SignedEvent::parse(&entry);
                found.push((index, event.map_err(|error| Failure::Unsound(format!("entry {index}: {error}")))?));
            }
        }
        if entries.is_empty() {
            return Err(Failure::Unsound(format!("the log gives no entry at {next}")));
        }
        next = next.saturating_add(u64::try_from(entries.len()).unwrap_or(u64::MAX));
    }
    Ok(ends(found.iter().map(|(index, event)| (*index, event.event())), &commitment, opening.pair()))
}

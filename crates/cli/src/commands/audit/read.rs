//! What stands in a log.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use data_encoding::BASE64;
use nuncio_node::log::Told;
use nuncio_proto::audit::SignedEvent;
use nuncio_proto::tlog::Checkpoint;
use serde_json::json;

use super::head::Head;
use super::place::Log;
use crate::failure::Failure;
use crate::output;

/// Between two looks of `--follow`.
const LOOK_EVERY: Duration = Duration::from_millis(500);

pub(super) fn root(log: &Log, json: bool) -> Result<(), Failure> {
    let Head { note, checkpoint: head, witnessed } = log.head()?;
    let checked = |name: &str| name == head.origin || witnessed.iter().any(|(witness, _)| witness == name);
    let others: Vec<&str> =
        note.signatures().iter().map(|line| line.name.as_str()).filter(|name| !checked(name)).collect();
    if json {
        let root = BASE64.encode(&head.root);
        let told = json!({ "origin": head.origin, "size": head.size, "root": root, "witnessed": witnessed, "not_checked": others, "key": log.key.to_string() });
        return output::json(&told);
    }
    output::line(format_args!("{} entries in {}", head.size, head.origin))?;
    output::line(format_args!("root    {}", BASE64.encode(&head.root)))?;
    for (witness, at_s) in &witnessed {
        output::line(witness_line(witness, *at_s))?;
    }
    if !others.is_empty() {
        let others = output::harmless_line(&others.join(", "));
        output::note(format_args!(
            "also signed by {others}, which was not checked: give their keys with --witness or --policy"
        ));
    }
    output::line(format_args!("key     {}", log.key))
}

/// A witness, and when it cosigned; a witness of ML-DSA-44 may say 0 for no time (contracts/log.md G18).
pub(super) fn witness_line(witness: &str, at_s: u64) -> String {
    match at_s {
        0 => format!("witness {witness}, which tells no time"),
        at_s => format!("witness {witness} at {}", output::time(at_s.saturating_mul(1_000))),
    }
}

/// Prints the newest events.
#[derive(Args)]
pub(super) struct Tail {
    /// How many
    #[arg(short = 'n', long, value_name = "NUMBER", default_value_t = 20)]
    lines: u64,
    /// From this index on
    #[arg(long, value_name = "INDEX", conflicts_with = "lines")]
    from: Option<u64>,
    /// Go on with what comes, until it is stopped
    #[arg(long)]
    follow: bool,
}

impl Tail {
    pub(super) fn run(&self, log: &Log, json: bool) -> Result<(), Failure> {
        let mut next = None;
        loop {
            let head = log.head()?.checkpoint;
            let from = next.or(self.from).unwrap_or_else(|| head.size.saturating_sub(self.lines));
            next = Some(each(log, from, &head, |told| if json { output::json(told) } else { line(told) })?);
            if !self.follow {
                return Ok(());
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

/// Prints one event.
#[derive(Args)]
pub(super) struct Show {
    /// Its index
    #[arg(value_name = "INDEX")]
    index: u64,
}

impl Show {
    pub(super) fn run(&self, log: &Log, json: bool) -> Result<(), Failure> {
        let (entry, _) = log.receipt(self.index)?;
        let told = told(self.index, &entry)?;
        if json {
            return output::json(&told);
        }
        let object = serde_json::to_value(&told).map_err(|error| Failure::Broken(error.to_string()))?;
        for (name, value) in object.as_object().into_iter().flatten() {
            let value = match (name.as_str(), value) {
                ("at_ms", value) => value.as_u64().map_or_else(|| value.to_string(), output::time),
                (_, serde_json::Value::String(text)) => output::harmless_line(text),
                (_, value) => value.to_string(),
            };
            output::line(format_args!("{name:<12} {value}"))?;
        }
        Ok(())
    }
}

/// Writes the receipt of an entry, which proves to anybody with the log's key that the log holds it.
#[derive(Args)]
pub(super) struct Prove {
    /// Its index
    #[arg(value_name = "INDEX")]
    index: u64,
    /// Write the entry's own bytes beside it: who checks the receipt needs them
    #[arg(long, value_name = "FILE")]
    entry: Option<PathBuf>,
}

impl Prove {
    pub(super) fn run(&self, log: &Log) -> Result<(), Failure> {
        let (entry, receipt) = log.receipt(self.index)?;
        if let Some(path) = &self.entry {
            let file = std::fs::File::create_new(path).and_then(|mut file| file.write_all(&entry));
            file.map_err(Failure::io("write", path))?;
        }
        output::raw(receipt.to_string().as_bytes())
    }
}

/// Writes all events as JSON lines. What is written was not verified: `nuncio audit verify` does that.
#[derive(Args)]
pub(super) struct Export {
    /// From this index on
    #[arg(long, value_name = "INDEX", default_value_t = 0)]
    from: u64,
    /// As CloudEvents 1.0, whose data is the event
    #[arg(long)]
    cloudevents: bool,
}

impl Export {
    pub(super) fn run(&self, log: &Log) -> Result<(), Failure> {
        let head = log.head()?.checkpoint;
        each(log, self.from, &head, |told| {
            if !self.cloudevents {
                return output::json(told);
            }
            let at = i64::try_from(told.at_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
            output::json(&json!({
                "specversion": "1.0", "id": told.index.to_string(), "source": head.origin,
                "type": format!("nuncio.{}", told.what), "subject": told.agent, "time": at.map(|at| at.to_string()),
                "datacontenttype": "application/json", "data": told,
            }))
        })
        .map(drop)
    }
}

/// Hands on the events of a tree from an index on; the index behind the last.
pub(super) fn each(
    log: &Log,
    from: u64,
    head: &Checkpoint,
    mut hand: impl FnMut(&Told) -> Result<(), Failure>,
) -> Result<u64, Failure> {
    let mut next = from;
    if from > head.size {
        return Err(nuncio_node::log::Wrong::Index(from, head.size).into());
    }
    while next < head.size {
        let entries = log.files.entries(next, head)?;
        if entries.is_empty() {
            return Err(Failure::Unsound(format!(
                "the log says that it has {} entries and gives none at {next}",
                head.size
            )));
        }
        for entry in entries {
            hand(&told(next, &entry)?)?;
            next += 1;
        }
    }
    Ok(next)
}

fn told(index: u64, entry: &[u8]) -> Result<Told, Failure> {
    let event = SignedEvent::parse(entry).map_err(|error| Failure::Unsound(format!("entry {index}: {error}")))?;
    Ok(Told::new(index, &event))
}

/// An event as one line.
pub(super) fn line(told: &Told) -> Result<(), Failure> {
    let short = |agent: &str| agent.trim_start_matches("did:key:").chars().take(12).collect::<String>();
    let more = [
        told.peer.as_deref().map(|peer| format!("with {}", short(peer))),
        told.channel.as_deref().map(|channel| format!("of channel {}", short(channel))),
        told.kind.as_deref().map(output::harmless_line),
        told.outcome.map(|outcome| format!("({outcome})")),
        told.transaction.as_deref().map(|transaction| format!("in {}", output::harmless_line(transaction))),
    ];
    let more: Vec<String> = more.into_iter().flatten().collect();
    output::line(format_args!(
        "{:>8}  {}  {}  {:<20} {}",
        told.index,
        output::time(told.at_ms),
        short(&told.agent),
        told.what,
        more.join("  ")
    ))
}

//! `nuncio audit reconcile`

use clap::Args;
use nuncio::AgentId;
use nuncio_node::log::{Told, reconcile};
use nuncio_proto::audit::SignedEvent;
use serde_json::json;

use super::place::Log;
use super::read::line;
use crate::failure::Failure;
use crate::output;

/// Compares what the token service, senders and receivers say of one transaction, and lists what is missing or does not fit.
#[derive(Args)]
pub(super) struct Reconcile {
    /// Its name: `nuncio begin`, a letter's grant and every token show it
    #[arg(value_name = "TRANSACTION")]
    transaction: String,
}

impl Reconcile {
    pub(super) fn run(&self, log: &Log, json: bool) -> Result<(), Failure> {
        let head = log.head()?.checkpoint;
        let mut events = Vec::new();
        while let Some(next) = u64::try_from(events.len()).ok().filter(|next| *next < head.size) {
            for entry in log.files.entries(next, &head)? {
                let parsed = SignedEvent::parse(&entry);
                events.push(parsed.map_err(|error| Failure::Unsound(format!("an entry after {next}: {error}")))?);
            }
        }
        let node = log.key.ed25519().and_then(|key| AgentId::from_bytes(*key).ok());
        let node = node.ok_or_else(|| Failure::Unsound("the log's key is no node's".to_owned()))?;
        let account = reconcile((0..).zip(events.iter().map(SignedEvent::event)), &self.transaction, &node);
        let told = account.events.iter().filter_map(|index| {
            let event = usize::try_from(*index).ok().and_then(|at| events.get(at))?;
            Some(Told::new(*index, event))
        });
        let told: Vec<Told> = told.collect();
        let mismatches: Vec<String> = account.mismatches.iter().map(ToString::to_string).collect();
        if json {
            output::json(&json!({ "transaction": self.transaction, "events": told, "mismatches": mismatches }))?;
        } else {
            told.iter().try_for_each(line)?;
        }
        if told.is_empty() {
            let hint = "`nuncio audit tail` shows the names of transactions; only agents with [audit] in their nuncio.toml tell of letters";
            return Err(Failure::usage("the log knows no such transaction", hint));
        }
        if mismatches.is_empty() {
            return Ok(());
        }
        mismatches.iter().for_each(output::note);
        Err(Failure::Unsound(format!("{} things do not fit together", mismatches.len())))
    }
}

//! What keeps a home in order: another mailbox secret, retirement, backups, checkups.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use nuncio_proto::rows;

use super::read::{Body, base64};
use super::refused::Refused;
use super::{Door, Served};
use crate::wire::{Checkup, Named, NewBackup, Retirement};

pub(super) async fn retire(State(served): State<Served>, Body(body): Body<Retirement>) -> Result<Json<Named>, Refused> {
    let agent = served.agent.retire(base64(&body.statement)?).await?;
    Ok(Json(Named { agent: agent.to_string() }))
}

/// Another secret for the mailbox: no deposit key of before serves.
pub(super) async fn renew_mailbox(State(served): State<Served>) -> Result<StatusCode, Refused> {
    served.agent.renew_mailbox().await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn backup(
    State(served): State<Served>,
    Extension(door): Extension<Door>,
    Body(new): Body<NewBackup>,
) -> Result<(StatusCode, Json<NewBackup>), Refused> {
    if door != Door::Own {
        return Err(Refused::socket_only());
    }
    if !new.to.is_absolute() {
        return Err(Refused::bad("the backup's path is to be absolute"));
    }
    let to = new.to.clone();
    let store = served.agent.store()?;
    blocking(move || crate::commands::backup::copy(&store, &to)).await?;
    Ok((StatusCode::CREATED, Json(new)))
}

pub(super) async fn check(State(served): State<Served>) -> Result<Json<Checkup>, Refused> {
    let store = served.agent.store()?;
    let checkup = blocking(move || store.check()).await?;
    Ok(Json(told(&checkup)))
}

/// A checkup as the API tells it.
pub(crate) fn told(checkup: &nuncio_store::Checkup) -> Checkup {
    let mut named: BTreeMap<String, u64> = BTreeMap::new();
    for (tree, count) in &checkup.rows {
        *named.entry(tree_name(*tree).to_owned()).or_default() += count;
    }
    Checkup {
        rows: named,
        sealed_bytes: checkup.sealed_bytes,
        bad: checkup.bad,
        first_bad: checkup.first_bad.as_ref().map(ToString::to_string),
    }
}

/// What the row is called that says that this identity is over.
pub(crate) const RETIRED_ROWS: &str = "statement that retires this identity";

const fn tree_name(tree: u8) -> &'static str {
    match tree {
        rows::IDENTITY => "identity",
        rows::RETIRED => RETIRED_ROWS,
        rows::CONTACT => "peers",
        rows::SESSION => "sessions",
        rows::SKIPPED => "skipped keys",
        rows::HELD => "letters held back",
        rows::GIVEN_UP => "numbers given up",
        rows::OUTBOX => "outbox",
        rows::INBOX => "inbox",
        rows::NEXT_ARRIVAL => "next arrival's number",
        rows::SEEN => "letters seen",
        rows::SIGNED_PREKEY => "signed prekeys",
        rows::ONE_TIME => "one-time prekeys",
        rows::BATCH => "prekey batches",
        rows::START => "starts remembered",
        rows::FAILED => "letters failed",
        rows::RENEWAL => "re-keys under way",
        rows::CHAIN => "newest event",
        rows::SPOOL => "events that wait for the log",
        rows::OPENING => "openings of letters",
        rows::MAILBOX => "this agent's mailbox",
        rows::MAILBOX_OF => "mailboxes of contacts",
        rows::DEPOSITED => "frames that were left at a node",
        rows::LISTED => "batches that are the directory's",
        rows::CHANNEL_ENTRY => "entries of channels' records",
        rows::CHANNEL_OWN => "this agent's numbers in channels",
        rows::CHANNEL_INVITED => "invitations into channels",
        rows::CHANNEL_HELD => "letters that wait in channels",
        rows::CHANNEL_SENDER => "members' chains in channels",
        rows::CHANNEL_CHAIN => "members' chains in channels that are over",
        rows::CHANNEL_KEY => "chains that wait for their channels",
        rows::CHANNEL_OUT => "letters to channels under way",
        rows::CHANNEL_ACKED => "what members have of letters to channels",
        rows::CHANNEL_EARLY => "members' letters in channels that are out of turn",
        rows::CHANNEL_FORGOTTEN => "channels that were forgotten",
        rows::CHANNEL_MAILED => "letters to channels that were left at a node",
        rows::PERMIT => "permits",
        rows::PERMIT_OVER => "revoked links of permits",
        rows::PERMIT_REMOVED => "who was removed, for permits",
        rows::RUNTIME => "runtime",
        nuncio_store::OWN_TREE => "store",
        _ => match nuncio_node::tree_name(tree) {
            Some(name) => name,
            None => "unknown",
        },
    }
}

async fn blocking<T: Send + 'static, E: Into<nuncio::Error> + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, Refused> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Refused::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", error.to_string()))?
        .map_err(|error| error.into().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tree_of_the_contract_has_a_name_of_its_own() {
        let contract = include_str!("../../../../contracts/store.md");
        let trees = contract.lines().filter_map(|line| line.strip_prefix("| `")?.strip_suffix('|')?.split_once('`'));
        let trees: Vec<u8> = trees.filter(|(tree, _)| tree.len() == 1).map(|(tree, _)| tree.as_bytes()[0]).collect();
        assert!(trees.len() > 20, "{trees:?}");
        let names: std::collections::BTreeSet<_> = trees.iter().map(|tree| tree_name(*tree)).collect();
        assert!(!names.contains("unknown") && names.len() == trees.len(), "{names:?}");
        assert_eq!(tree_name(b'~'), "unknown");
    }
}

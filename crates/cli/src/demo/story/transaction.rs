//! Anna acts for a user: her letters carry a token, and ben is shown what they may do.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::{MARK, Story, deliver, frame_bytes, take, text};
use crate::demo::travel::domain::{DOMAIN, Domain};
use crate::demo::travel::untrue;
use crate::failure::Failure;
use crate::settings::{self, New, WithoutToken};
use crate::wire::{Grant, NewLetter, NewTransaction, SubjectType, Transaction, Under};

const POLICY: &str = include_str!("policy.toml");

/// What a token costs, in bytes on the wire.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Cost {
    pub(super) first: u64,
    pub(super) later: u64,
}

/// Starts the node of the agents' trust domain, and has their homes name it.
pub(super) async fn found(dir: &Path, agents: &[(&str, String)]) -> Result<Domain, Failure> {
    let policy =
        agents.iter().fold(POLICY.to_owned(), |policy, (name, did)| policy.replace(&format!("{{{name}}}"), did));
    let domain = Domain::start(dir, &policy).await.map_err(untrue)?;
    let node = domain.invitation().map_err(untrue)?;
    let settings = New { letters_without_token: WithoutToken::Deliver, trust: Some((DOMAIN, &node)) }.text();
    for (name, _) in agents {
        let file = dir.join(name).join(settings::FILE);
        fs::write(&file, &settings).map_err(Failure::io("write", &file))?;
    }
    Ok(domain)
}

impl Story {
    pub(in crate::demo) async fn a_transaction(&mut self) -> Result<(), Failure> {
        let new = NewTransaction {
            subject_type: SubjectType::AccessToken,
            subject: self.domain.log_in("mia").map_err(untrue)?,
            scope: "travel.plan travel.book".to_owned(),
            details: Some(json!({ "trip": "4711" })),
        };
        let begun: Transaction = self.anna.api().post("/v1/transactions", &new).await?;
        let under = Under { token: begun.token.clone(), scope: Some("travel.book".to_owned()), ..Under::default() };
        let plain = self.frame_bytes_of(booking(None)).await?;
        let first = self.frame_bytes_of(booking(Some(&under))).await?;
        let later = self.frame_bytes_of(booking(Some(&under))).await?;
        self.token = Cost { first: first.saturating_sub(plain), later: later.saturating_sub(plain) };

        let letters = take(self.ben.api(), 3).await?;
        self.count(&letters);
        let grants: Vec<Option<Grant>> = letters.into_iter().map(|letter| letter.grant).collect();
        let [bare, Some(one), Some(other)] = grants.as_slice() else {
            return Err(Failure::Unsound("a letter sent under a transaction came without its grant".to_owned()));
        };
        self.teller.say(format_args!(
            "5  Anna begins a transaction for {} and asks ben under it: he is shown that she may {}, hops left {}.",
            one.principal, one.scope, one.hops_left
        ))?;
        self.show(
            bare.is_none() && is_of(&begun, one) && is_of(&begun, other),
            "ben was shown for whom anna acts, in which transaction, and no more scope than she handed on",
        )
    }

    /// What anna's side of the wire carries for one letter.
    async fn frame_bytes_of(&self, letter: NewLetter) -> Result<u64, Failure> {
        let before = frame_bytes(&self.anna).await?;
        deliver(self.anna.api(), &letter).await?;
        Ok(frame_bytes(&self.anna).await? - before)
    }
}

fn booking(under: Option<&Under>) -> NewLetter {
    NewLetter { under: under.cloned(), ..text("ben", format!("book it, {MARK}")) }
}

fn is_of(begun: &Transaction, grant: &Grant) -> bool {
    grant.transaction == begun.transaction
        && grant.principal == "user:mia"
        && grant.scope == "travel.book"
        && grant.details == Some(json!({ "trip": "4711" }))
        && grant.chain == ["anna", "anna"]
        && grant.hops_left + 1 == begun.hops_left
}

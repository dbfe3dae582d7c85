//! What an agent judges letters by, and what it must never have delivered: checked in the very moment in which a letter is taken.

use std::collections::BTreeSet;

use nuncio_contracts::registry::time;
use nuncio_proto::channel::ChannelPlace;
use nuncio_proto::ids::{AgentId, LetterId};
use nuncio_proto::peer::Peer;
use nuncio_proto::rows;
use nuncio_proto::step::{Arrival, Op};
use nuncio_proto::token::{Claims, KeySet, Policy, Receiver, Thumbprint};

use crate::book::Violation;
use crate::service;

/// What the runtime of an agent keeps for it, through crashes.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    /// Tokens are judged at all. A run without tokens knows no trust domain.
    pub judges: bool,
    /// Letters need a token.
    pub wants: bool,
    /// The service's keys are there.
    pub has_keys: bool,
    /// Since when, or until when, they were not: times of the world.
    pub lacked: Option<(u64, Option<u64>)>,
    /// Transactions that it knows to be revoked.
    pub revoked: BTreeSet<String>,
}

/// What is wrong with the token of a letter that was delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Wrong {
    /// There is none.
    #[error("none")]
    Missing,
    /// It is over, whatever the skew.
    #[error("an expired one")]
    Expired,
    /// The receiver knew that its transaction was revoked.
    #[error("a revoked one")]
    Revoked,
    /// It belongs to another sender.
    #[error("another sender's")]
    Sender,
    /// It is for another receiver.
    #[error("another receiver's")]
    Receiver,
    /// Its writer never gave it one, or not this one.
    #[error("one that its writer never gave it")]
    Foreign,
}

impl Guard {
    /// Tells an agent what to judge by.
    pub fn instruct(&self, peer: &mut Peer) {
        let keys = if self.has_keys { service::keys() } else { KeySet::default() };
        peer.set_verifier(|verifier| {
            if self.judges {
                verifier.set_domain(service::DOMAIN);
                verifier.set_keys(keys);
                verifier.set_revoked(self.revoked.clone());
            }
            verifier.set_policy(if self.wants { Policy::default() } else { Policy::tokenless() });
        });
    }

    /// Whether the keys were away at this time of the world, or later.
    #[must_use]
    pub fn lacked_keys_after(&self, world_ms: u64) -> bool {
        self.lacked.is_some_and(|(_, until)| until.is_none_or(|until| until >= world_ms))
    }

    /// Checks the token, and the author, of every letter that these writes put into the inbox.
    pub fn check(&self, peer: &Peer, ops: &[Op]) -> Result<(), Violation> {
        // What comes in front of an entry was taken without it.
        let is_entry = |op: &Op| matches!(op, Op::Put { key, .. } if key.first() == Some(&rows::CHANNEL_ENTRY));
        let entry = ops.iter().rposition(is_entry);
        for (at, op) in ops.iter().enumerate() {
            let Op::Put { key, value } = op else { continue };
            if key.first() != Some(&rows::INBOX) {
                continue;
            }
            let arrival = Arrival::from_row(key, value).ok_or(Violation::Stray(LetterId::from_bytes([0; 16])))?;
            if Some(at) >= entry && !is_of_members(peer, &arrival) {
                return Err(Violation::Outsider(arrival.letter.id));
            }
            if let Some(wrong) = self.wrong(&peer.id(), &arrival) {
                return Err(Violation::Token { letter: arrival.letter.id, wrong });
            }
        }
        Ok(())
    }

    fn wrong(&self, me: &AgentId, arrival: &Arrival) -> Option<Wrong> {
        match &arrival.token {
            None => self.wants.then_some(Wrong::Missing),
            Some(token) => self.wrong_claims(me, arrival, token.claims()),
        }
    }

    fn wrong_claims(&self, me: &AgentId, arrival: &Arrival, claims: &Claims) -> Option<Wrong> {
        let over = claims.exp * 1_000 + time::TOKEN_SKEW <= arrival.received.0;
        let wrongs = [
            (over, Wrong::Expired),
            (self.revoked.contains(&claims.txn), Wrong::Revoked),
            (claims.cnf != Thumbprint::of_agent(&arrival.from), Wrong::Sender),
            (claims.hop.to != Receiver::of(&arrival.letter, me), Wrong::Receiver),
        ];
        wrongs.into_iter().find(|(is, _)| *is).map(|(_, wrong)| wrong)
    }
}

/// Whether author and reader of a letter to a channel are members now, by the reader's record, and since the letter's epoch.
fn is_of_members(peer: &Peer, arrival: &Arrival) -> bool {
    let place = match ChannelPlace::of(&arrival.letter) {
        Ok(Some(place)) => place,
        Ok(None) => return true,
        Err(()) => return false,
    };
    let Some(record) = peer.channel(&place.channel) else { return false };
    let since = |agent| record.roster().member(agent).map(|member| member.since);
    let number = record.number_of(&place.epoch);
    [arrival.from, peer.id()].iter().all(|agent| since(agent).is_some_and(|since| Some(since) <= number))
}

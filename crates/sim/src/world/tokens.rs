//! The part of a run that tokens play: who is given one, who loses keys, what is revoked, whose token is renewed.

use std::collections::{BTreeMap, BTreeSet};

use nuncio_proto::ids::{AgentId, LetterId};
use nuncio_proto::step::Effect;
use nuncio_proto::time::UnixMillis;
use nuncio_proto::token::hash_of;

use super::{Event, World};
use crate::agent::START;
use crate::book::{Token, Violation};
use crate::net::Who;
use crate::service;

/// How long keys stay away: in half of the cases longer than a letter waits for them.
const KEYLESS_MS: u64 = 60_000;
/// How long it takes until an agent hears of a revoked transaction, or has a fresh token.
const SERVICE_MS: u64 = 3_000;

/// What the token service has done.
#[derive(Debug, Default)]
pub(super) struct Issued {
    tokens: u64,
    transactions: u64,
    revoked: BTreeSet<String>,
    /// By sender and receiver: tokens that are shared.
    shared: BTreeMap<(Who, Who), Vec<Shared>>,
}

/// A token that several letters carry.
#[derive(Clone, Debug)]
struct Shared {
    text: Vec<u8>,
    txn: String,
    /// By the world's time.
    until_ms: u64,
}

impl World {
    /// The token of a letter that is written now, if it carries one.
    pub(super) fn token_for(&mut self, from: Who, to: Who) -> Option<(Vec<u8>, Token)> {
        let plan = self.plan.tokens;
        if !plan.any() || !self.dice.per_mille(plan.carry) {
            return None;
        }
        let stolen = if self.dice.per_mille(plan.stolen) { self.steal(from, to) } else { None };
        let is_stolen = stolen.is_some();
        let Shared { text, txn, .. } = match stolen.or_else(|| self.shared(from, to)) {
            Some(shared) => shared,
            None => self.begin_transaction(from, to)?,
        };
        let token =
            Token { txn, given: BTreeSet::from([hash_of(&text)]), stolen: is_stolen, again: 0, given_up: false };
        Some((text, token))
    }

    /// A token of an earlier letter of this pair, at times.
    fn shared(&mut self, from: Who, to: Who) -> Option<Shared> {
        let now_ms = self.now_ms;
        let of_pair = self.issued.shared.entry((from, to)).or_default();
        of_pair.retain(|shared| shared.until_ms > now_ms);
        if self.dice.per_mille(self.plan.tokens.shared) { self.dice.pick(of_pair).cloned() } else { None }
    }

    /// A token that is another sender's, or the sender's own towards another receiver.
    fn steal(&mut self, from: Who, to: Who) -> Option<Shared> {
        let own = self.dice.per_mille(500);
        let others =
            self.issued.shared.iter().filter(|((of, at), _)| if own { *of == from && *at != to } else { *of != from });
        let others: Vec<_> = others.flat_map(|(_, shared)| shared).cloned().collect();
        self.dice.pick(&others).cloned()
    }

    fn begin_transaction(&mut self, from: Who, to: Who) -> Option<Shared> {
        self.issued.transactions += 1;
        let txn = format!("t-{}", self.issued.transactions);
        let text = self.mint(from, to, &txn)?;
        let shared = Shared { text, txn, until_ms: self.now_ms + service::LIFE_MS };
        self.issued.shared.entry((from, to)).or_default().push(shared.clone());
        Some(shared)
    }

    fn mint(&mut self, from: Who, to: Who, txn: &str) -> Option<Vec<u8>> {
        self.issued.tokens += 1;
        let (from, to) = (self.id(from)?, self.id(to)?);
        Some(service::mint(&from, &to, txn, self.issued.tokens, UnixMillis(START.0 + self.now_ms)))
    }

    /// Takes note of letters that may come after later ones from now on.
    pub(super) fn note_again(&mut self, effects: &[Effect]) {
        for effect in effects {
            let (Effect::TokenExpired { letter, .. } | Effect::SealedAgain { letter, .. }) = effect else { continue };
            if let Some(token) = self.letters.get_mut(letter).and_then(|written| written.token.as_mut()) {
                token.again += 1;
                self.report.token_again += u64::from(matches!(effect, Effect::SealedAgain { .. }));
            }
        }
    }

    /// A letter waits for a fresh token: its runtime asks for one.
    pub(super) fn token_expired(&mut self, who: Who, to: AgentId, letter: LetterId) {
        self.trace.say(self.now_ms, || format!("{who} wants a fresh token for {letter}"));
        let (life, delay) = (self.at(who).life, self.dice.below(SERVICE_MS));
        self.after(delay, Event::Renew { who, life, to, letter });
    }

    /// The service answers: with a fresh token, or not.
    pub(super) fn renew(&mut self, who: Who, to: AgentId, letter: LetterId) -> Result<(), Violation> {
        let granted = self.dice.per_mille(self.plan.tokens.renew);
        if granted && self.retoken(who, to, letter)? {
            return Ok(());
        }
        self.trace.say(self.now_ms, || format!("{who} gives {letter} up for want of a token"));
        let step = self.at(who).peer.as_ref().and_then(|peer| peer.give_up_token(to, letter));
        if let Some(token) = self.letters.get_mut(&letter).and_then(|written| written.token.as_mut()) {
            token.given_up |= step.is_some();
        }
        self.at(who).take(step)?;
        self.drain(who)
    }

    /// Gives a letter a fresh token of its transaction: false if that is revoked.
    fn retoken(&mut self, who: Who, to: AgentId, letter: LetterId) -> Result<bool, Violation> {
        let Some((txn, with)) = self.letters.get(&letter).and_then(|w| Some((w.token.as_ref()?.txn.clone(), w.to)))
        else {
            return Ok(false);
        };
        let fresh = if self.issued.revoked.contains(&txn) { None } else { self.mint(who, with, &txn) };
        let Some(fresh) = fresh else { return Ok(false) };
        let step = self.at(who).peer.as_ref().and_then(|peer| peer.retoken(to, letter, &fresh).ok());
        if let Some(token) = self.letters.get_mut(&letter).and_then(|written| written.token.as_mut()) {
            token.given.insert(hash_of(&fresh));
        }
        self.report.renewed += u64::from(step.is_some());
        self.trace.say(self.now_ms, || format!("{who} has a fresh token for {letter}"));
        self.at(who).take(step)?;
        self.drain(who)?;
        Ok(true)
    }

    /// Perhaps something goes wrong with tokens.
    pub(super) fn token_trouble(&mut self, who: Who) -> Result<(), Violation> {
        let plan = self.plan.tokens;
        if !plan.any() {
            return Ok(());
        }
        if self.dice.per_mille(plan.keyless) {
            self.lose_keys(who, KEYLESS_MS)?;
        }
        if self.dice.per_mille(plan.revoke) {
            self.revoke();
        }
        if self.dice.per_mille(plan.ahead) {
            self.renew_ahead(who)?;
        }
        Ok(())
    }

    /// An agent that starts has, at times, to ask for the service's keys first.
    pub(super) fn start_keyless(&mut self, who: Who) -> Result<(), Violation> {
        let plan = self.plan.tokens;
        if plan.keyless > 0 && self.dice.per_mille(200) { self.lose_keys(who, SERVICE_MS) } else { Ok(()) }
    }

    fn lose_keys(&mut self, who: Who, long_ms: u64) -> Result<(), Violation> {
        let now_ms = self.now_ms;
        self.trace.say(now_ms, || format!("{who} has no keys"));
        let keyless = |guard: &mut crate::guard::Guard| {
            if core::mem::take(&mut guard.has_keys) {
                guard.lacked = Some((now_ms, None));
            }
        };
        self.at(who).instruct(keyless);
        let delay = self.dice.below(long_ms);
        self.after(delay, Event::Keys(who));
        self.drain(who)
    }

    pub(super) fn give_keys(&mut self, who: Who) -> Result<(), Violation> {
        let now_ms = self.now_ms;
        self.at(who).instruct(|guard| {
            if !core::mem::replace(&mut guard.has_keys, true) {
                guard.lacked = guard.lacked.map(|(since, _)| (since, Some(now_ms)));
            }
        });
        self.drain(who)
    }

    fn revoke(&mut self) {
        let known: Vec<_> = self.issued.shared.values().flatten().map(|shared| shared.txn.clone()).collect();
        let Some(txn) = self.dice.pick(&known).cloned() else { return };
        self.trace.say(self.now_ms, || format!("{txn} is revoked"));
        for who in 0..self.agents.len() {
            let delay = self.dice.below(SERVICE_MS);
            self.after(delay, Event::Revoked(who, txn.clone()));
        }
        self.issued.revoked.insert(txn);
    }

    pub(super) fn hear_revoked(&mut self, who: Who, txn: String) -> Result<(), Violation> {
        self.at(who).instruct(|guard| guard.revoked.extend([txn]));
        self.drain(who)
    }

    /// The runtime renews the token of a letter under way before it expires.
    fn renew_ahead(&mut self, who: Who) -> Result<(), Violation> {
        let expiring = self.at(who).peer.iter().flat_map(|peer| peer.tokens_expiring(UnixMillis::NEVER));
        let expiring: Vec<_> = expiring.map(|(to, letter, _)| (to, letter)).collect();
        let Some((to, letter)) = self.dice.pick(&expiring).copied() else { return Ok(()) };
        self.retoken(who, to, letter).map(drop)
    }
}

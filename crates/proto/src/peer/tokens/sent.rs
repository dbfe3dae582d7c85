//! Tokens of letters on their way from here: shown whole when asked for, renewed, given up.

use nuncio_contracts::registry::{code, limit};

use super::super::{Change, Out, Peer};
use crate::control::Control;
use crate::error::PeerError;
use crate::ids::{AgentId, LetterId, SessionId};
use crate::letter::{Letter, LetterError};
use crate::outbox::SealedAs;
use crate::rows;
use crate::step::{Effect, Op, Step};
use crate::time::UnixMillis;
use crate::token::{Genuine, TokenHash};

impl Peer {
    /// Gives a letter on its way a fresh token: at once if it waits for one, else in case that it is refused as expired.
    ///
    /// # Errors
    /// A letter that is not on its way, or what is no token.
    pub fn retoken(&self, to: AgentId, letter: LetterId, token: &[u8]) -> Result<Step, PeerError> {
        let entry = *self.letters.get(&(to, letter)).ok_or(PeerError::NotUnderWay(letter))?;
        Genuine::kept(token).ok_or(PeerError::Letter(LetterError::Malformed))?;
        Ok(self.step(Change::Retokened { entry, token: token.to_vec() }))
    }

    /// Gives up a letter whose token has expired and cannot be renewed: it fails. `None` if it waits for no fresh token: it may have been
    /// delivered, or may yet be.
    #[must_use]
    pub fn give_up_token(&self, to: AgentId, letter: LetterId) -> Option<Step> {
        let no = *self.letters.get(&(to, letter))?;
        let (entry, contact) = (self.outbox.get(&no)?, self.contacts.get(&to)?);
        if entry.sealed.is_some() || contact.drafts.contains(&(!entry.control, no)) {
            return None;
        }
        Some(self.step(Change::Expired { entry: no, code: code::TOKEN_EXPIRED }))
    }

    /// The token of a letter on its way.
    #[must_use]
    pub fn token_of(&self, to: AgentId, letter: LetterId) -> Option<Vec<u8>> {
        self.outbox.get(self.letters.get(&(to, letter))?)?.whole_token()
    }

    /// Letters on their way that carry a token.
    pub fn letters_with(&self, token: &TokenHash) -> impl Iterator<Item = (AgentId, LetterId)> + '_ {
        let token = *token;
        let carriers =
            self.outbox.values().filter(move |entry| entry.token.as_ref().is_some_and(|carried| carried.hash == token));
        carriers.map(|entry| (entry.to, entry.id))
    }

    /// Letters on their way whose tokens expire before a time: peer, letter, and the token. Whoever may renews them.
    pub fn tokens_expiring(&self, before: UnixMillis) -> impl Iterator<Item = (AgentId, LetterId, Vec<u8>)> + '_ {
        let expiring =
            self.outbox.values().filter(move |entry| entry.token.as_ref().is_some_and(|token| token.expires < before));
        expiring.filter_map(|entry| Some((entry.to, entry.id, entry.whole_token()?)))
    }

    /// The peer does not know a token that a letter of ours names (contracts/token.md K17).
    pub(super) fn hand_out(&mut self, id: SessionId, to: AgentId, hash: TokenHash, now: UnixMillis, out: &mut Out) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.tokens_out.forget(&hash);
        }
        let room = self.contacts.get(&to).is_some_and(|contact| contact.controls < limit::REFUSALS_MAX);
        let mut letters = self.outbox.values().filter(|entry| room && entry.to == to);
        if let Some((about, token)) = letters.find_map(|entry| Some((entry.id, entry.token_of(&hash)?))) {
            self.queue_control(to, &Control::Token(token), about, now, out);
        }
    }

    /// A letter was refused for a token that has expired, or was named and could not be shown: it goes again under a new number, with a fresh token
    /// or with the whole one (contracts/token.md K12). `false` if it does not.
    pub(super) fn seal_again(&mut self, no: u64, code: u16, out: &mut Out) -> bool {
        let Some(entry) = self.outbox.get_mut(&no) else { return false };
        let (Some(token), Some(_)) = (entry.token.as_ref().map(|token| token.hash), &entry.sealed) else {
            return false;
        };
        let retried = matches!(code, code::TOKEN_EXPIRED | code::TOKEN_MISSING);
        if !retried || entry.renewals >= limit::TOKEN_RENEWALS_MAX {
            return false;
        }
        entry.renewals += 1;
        (entry.tried, entry.answered) = (false, false);
        let sealed = entry.sealed.take();
        let fresh = sealed.as_ref().is_some_and(|sealed| sealed.token.is_some_and(|of| of != token));
        let goes = fresh || code == code::TOKEN_MISSING;
        let (to, letter, control) = (entry.to, entry.id, entry.control);
        out.ops.push(Op::Put { key: rows::numbered(rows::OUTBOX, no), value: entry.to_row() });
        out.contacts.insert(to);
        if let Some(SealedAs { session: id, seq, .. }) = sealed {
            self.give_up(id, seq, out);
            if let Some(session) = self.sessions.get_mut(&id) {
                session.tokens_out.forget(&token);
            }
        }
        out.effects.push(Effect::SealedAgain { to, letter });
        match self.contacts.get_mut(&to).filter(|_| goes) {
            Some(contact) => drop(contact.drafts.insert((!control, no))),
            None => out.effects.push(Effect::TokenExpired { to, letter }),
        }
        true
    }

    /// A draft whose token has expired is not sealed: it waits for a fresh one.
    pub(in super::super) fn apply_token_over(&mut self, no: u64, out: &mut Out) {
        let Some(entry) = self.outbox.get_mut(&no) else { return };
        entry.renewals = entry.renewals.saturating_add(1);
        let (to, letter, over) = (entry.to, entry.id, entry.renewals > limit::TOKEN_RENEWALS_MAX);
        if let Some(contact) = self.contacts.get_mut(&to) {
            contact.drafts.remove(&(!entry.control, no));
        }
        out.contacts.insert(to);
        if over {
            self.apply_expired(no, code::TOKEN_EXPIRED, out);
        } else {
            out.effects.push(Effect::TokenExpired { to, letter });
        }
    }

    pub(in super::super) fn apply_retokened(&mut self, no: u64, token: Vec<u8>, out: &mut Out) {
        let Some(entry) = self.outbox.get_mut(&no) else { return };
        let Ok(mut letter) = Letter::decode(&entry.letter) else { return };
        letter.set_token(token);
        let before = entry.letter.len();
        entry.former = entry.whole_token().filter(|_| entry.sealed.is_some());
        entry.set_letter(&letter);
        self.outbox_bytes = self.outbox_bytes + entry.letter.len() - before;
        if entry.call {
            self.calls.out.remove(&entry.to, before);
            self.calls.out.add(entry.to, entry.letter.len());
        }
        out.ops.push(Op::Put { key: rows::numbered(rows::OUTBOX, no), value: entry.to_row() });
        out.contacts.insert(entry.to);
        if let Some(contact) = self.contacts.get_mut(&entry.to).filter(|_| entry.sealed.is_none()) {
            contact.drafts.insert((!entry.control, no));
        }
    }
}

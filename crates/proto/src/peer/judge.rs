//! What becomes of an opened letter: taken, known already, or refused.

use std::sync::Arc;

use nuncio_contracts::registry::{code, extension, limit, time};

use super::audit::keeps_commitment;
use super::channels::Judged;
use super::inbound::put_held;
use super::tokens::Need;
use super::{Out, Peer, Seen};
use crate::content_type::ContentType;
use crate::control::Control;
use crate::crypto;
use crate::error::Refusal;
use crate::frame::Nonce;
use crate::header::Header;
use crate::ids::{AgentId, LetterId, Seq, SessionId};
use crate::letter::{Letter, LetterKind};
use crate::outbox::Entry;
use crate::session::{Content, Held, Hold, Opened, Session};
use crate::time::UnixMillis;
use crate::token::Genuine;

/// What becomes of an opened letter.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// There is none.
    Nothing,
    /// It takes its place, with the token that was verified.
    Take(Box<Letter>, Option<Arc<Genuine>>),
    /// It waits for the key of its token, or for the token, until its own time runs out.
    Wait(Need, UnixMillis),
    /// It came before; its number counts as received.
    Duplicate,
    /// Its sender is told why it is not delivered, where the letter's id can be read: what tells it, and the letter where it can be read.
    Refuse(Option<(Box<Letter>, Option<Box<Letter>>)>),
}

impl Peer {
    pub(super) fn judge(
        &self,
        session: &Session,
        mut opened: Opened,
        now: UnixMillis,
        seen: &dyn Seen,
    ) -> Result<(Opened, Verdict), Refusal> {
        let header = opened.header;
        let Some(content) = &mut opened.content else {
            return Ok((opened, Verdict::Nothing));
        };
        let verdict = self.judge_letter(session, content, &header, now, seen)?;
        let on_their_way = self.contacts.get(&session.peer()).map_or(0, |contact| contact.controls);
        let tells = matches!(verdict, Verdict::Refuse(Some(_)) | Verdict::Wait(Need::Token(_), _));
        // One is always told, or two agents that refuse each other's letters would wait for each other for ever.
        let lowest = content.fresh.seq() <= session.window.next().max(content.floor);
        if tells && !lowest && on_their_way >= limit::REFUSALS_MAX {
            return Err(Refusal::TooManyRefusals);
        }
        match &verdict {
            Verdict::Duplicate | Verdict::Refuse(None) => content.letter.clear(),
            Verdict::Refuse(Some((told, _))) => (content.state, content.letter) = (Hold::Refused, told.encode()),
            Verdict::Take(letter, token) => {
                (content.expires, content.token) = (expiry(letter, token.as_deref()), token.clone());
            }
            Verdict::Wait(_, expires) => (content.state, content.expires) = (Hold::Token, *expires),
            Verdict::Nothing => {}
        }
        Ok((opened, verdict))
    }

    fn judge_letter(
        &self,
        session: &Session,
        content: &Content,
        header: &Header,
        now: UnixMillis,
        seen: &dyn Seen,
    ) -> Result<Verdict, Refusal> {
        let frame = &content.nonce;
        let letter = match Letter::decode(&content.letter) {
            Ok(letter) => Box::new(letter),
            // A refusal that names no letter cannot be told.
            Err((id, error)) => {
                return Ok(Verdict::Refuse(id.map(|id| (self.refusal(id, frame, error.code(), now), None))));
            }
        };
        let from = session.peer();
        let recent = self.was_taken(&from, &letter.id);
        let held = || {
            session
                .held
                .values()
                .any(|held| held.state != Hold::Refused && Letter::id_in(&held.letter) == Some(letter.id))
        };
        if recent || held() || seen.seen(&from, &letter.id).ok_or(Refusal::SeenUnreadable)? {
            return Ok(Verdict::Duplicate);
        }
        let refuse = |letter: Box<Letter>, code| {
            let told = self.refusal(letter.id, frame, code, now);
            Verdict::Refuse(Some((told, Some(letter))))
        };
        // contracts/audit.md V19.
        if let Err(code) = keeps_commitment(content.commitment_key.as_ref(), &header.to_bytes(), &letter) {
            return Ok(refuse(letter, code));
        }
        // Control letters are taken at any time: agents whose clocks are far apart would refuse each other's refusals for ever.
        if letter.kind == LetterKind::Control {
            let known = Control::decode(&letter.payload).is_some();
            return Ok(if known { Verdict::Take(letter, None) } else { refuse(letter, code::MALFORMED) });
        }
        // contracts/ratchet.md R10: behind letters that wait there is room for the control letters that they wait for.
        let bound = limit::HELD_BYTES_MAX - limit::HELD_CONTROLS_MAX;
        session.check_held(content.fresh.seq(), content.floor, content.letter.len(), bound)?;
        self.check_call_room(&from, &letter)?;
        match letter.check_time(now).and_then(|()| letter.check_payload()) {
            Ok(()) => match self.judge_channel(&from, &letter)? {
                Judged::Welcome if self.is_fellow_alone(&from) && is_beside(&letter) => {
                    Ok(refuse(letter, code::STRANGER))
                }
                Judged::Welcome => Ok(match self.judge_call(&from, &letter) {
                    Err(code) => refuse(letter, code),
                    Ok(true) => Verdict::Take(letter, None),
                    Ok(false) => self.judge_token(session, letter, frame, now),
                }),
                // contracts/channel.md C53: the record, or what changes it, may be among the letters in front of it.
                Judged::Refused(_) if content.fresh.seq() > session.window.next().max(content.floor) => {
                    Err(Refusal::ChannelEarly)
                }
                Judged::Refused(code) => Ok(refuse(letter, code)),
            },
            Err(error) => Ok(refuse(letter, error.code())),
        }
    }

    /// The control letter that tells a sender why its letter, in this frame, is not delivered.
    pub(super) fn refusal(&self, letter: LetterId, frame: &Nonce, code: u16, now: UnixMillis) -> Box<Letter> {
        // The same letter may be refused again under another number, and the refusal is then another letter.
        let step = self.generation.to_be_bytes();
        let random = crypto::sha256(&[letter.as_bytes(), self.id().as_bytes(), &step]);
        let id = LetterId::new(now, random.first_chunk().copied().unwrap_or_default());
        let mut told = Letter::plain(id, ContentType::CBOR, Control::Refused { letter, code, frame: *frame }.encode());
        told.kind = LetterKind::Control;
        Box::new(told)
    }

    /// Letters whose time, or whose token's, ran out while they waited for an earlier one are refused like those that come too late
    /// (contracts/letter.md L8, token.md K20).
    pub(super) fn refuse_expired(&mut self, id: SessionId, with: AgentId, now: UnixMillis, out: &mut Out) {
        let Some(session) = self.sessions.get(&id).filter(|session| !session.held.is_empty()) else { return };
        let over = |held: &Held| self.over(held, now).map(|(letter, code)| (letter, held.nonce, code));
        let over: Vec<_> = session.held.iter().filter_map(|(seq, held)| Some((*seq, over(held)?))).collect();
        for (seq, (letter, frame, code)) in over {
            let told = self.refusal(letter, &frame, code, now);
            self.refuse_held(id, with, seq, &told, now, out);
        }
    }

    /// The letter and why, if it is no longer delivered.
    fn over(&self, held: &Held, now: UnixMillis) -> Option<(LetterId, u16)> {
        if held.state == Hold::Refused {
            return None;
        }
        let revoked = held.token.as_ref().is_some_and(|token| self.verifier().is_revoked(&token.claims().txn));
        if !revoked && now <= held.expires {
            return None;
        }
        let id = Letter::id_in(&held.letter)?;
        let in_time = || Letter::decode(&held.letter).is_ok_and(|letter| letter.check_time(now).is_ok());
        let code = match &held.token {
            Some(_) if revoked => code::TOKEN_REVOKED,
            Some(_) if in_time() => code::TOKEN_EXPIRED,
            _ => code::EXPIRED,
        };
        Some((id, code))
    }

    /// A letter that waits will not be delivered.
    pub(super) fn refuse_held(
        &mut self,
        id: SessionId,
        with: AgentId,
        seq: Seq,
        told: &Letter,
        now: UnixMillis,
        out: &mut Out,
    ) {
        let held = self.sessions.get(&id).and_then(|session| session.held.get(&seq));
        let refused = held.and_then(|held| Letter::decode(&held.letter).ok());
        if let Some(Control::Refused { code, .. }) = Control::decode(&told.payload) {
            self.tell_refused(id, code, refused.as_ref(), now, out);
        }
        refused.iter().for_each(|letter| self.pass_refused_letter(with, letter, now, out));
        if let Some(held) = self.sessions.get_mut(&id).and_then(|session| session.held.get_mut(&seq)) {
            (held.state, held.letter, held.token) = (Hold::Refused, told.encode(), None);
            held.expires = UnixMillis::NEVER;
            out.ops.push(put_held(&id, seq, held));
        }
        // Where there is no room for it now, its sender is told when it sends the letter again.
        if self.contacts.get(&with).is_some_and(|contact| contact.controls < limit::REFUSALS_MAX) {
            self.apply_queued(Entry::draft(with, told), out);
        }
    }
}

/// Whether a letter is of no channel.
pub(super) fn is_beside(letter: &Letter) -> bool {
    ![extension::CHANNEL, extension::HISTORY].iter().any(|number| letter.extension(*number).is_some())
}

/// When a letter that waits is no longer delivered. Control letters are taken at any time.
pub(super) fn expiry(letter: &Letter, token: Option<&Genuine>) -> UnixMillis {
    let last = match letter.kind {
        LetterKind::Plain => letter.expires().plus(time::CLOCK_SKEW),
        LetterKind::Control => UnixMillis::NEVER,
    };
    let over = |token: &Genuine| UnixMillis(token.claims().exp.saturating_mul(1_000)).plus(time::TOKEN_SKEW - 1);
    token.map_or(last, |token| over(token).min(last))
}

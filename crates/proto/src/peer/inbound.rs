//! From bytes to a step: checked, authenticated, judged.

use nuncio_contracts::registry::{code, limit, time};
use rand_core::CryptoRng;

use super::judge::Verdict;
use super::{Change, Peer};
use crate::channel::ChannelFrame;
use crate::control::Control;
use crate::error::Refusal;
use crate::frame::{self, Frame, Notice, Sealed};
use crate::handshake::{HandshakeError, Start, Used};
use crate::ids::{AgentId, LetterId, SessionId, Tag};
use crate::knock::Knock;
use crate::letter::{Letter, LetterKind};
use crate::outbox::Entry;
use crate::ratchet::RatchetError;
use crate::replay::ReplayError;
use crate::session::{Hold, OpenError, Opened, Parties, Place, Session};
use crate::step::Step;
use crate::time::UnixMillis;

mod apply;
mod kept;

pub(super) use kept::put_held;

/// The record of letters delivered, which outlives the sessions that carried them.
pub trait Seen {
    /// Whether the row [`rows::seen`](crate::rows::seen) exists. `None` if it cannot be told; the frame is then refused and comes again.
    fn seen(&self, from: &AgentId, letter: &LetterId) -> Option<bool>;
}

/// A frame of a known session, opened and judged.
#[derive(Debug)]
pub(crate) struct Received {
    session: SessionId,
    opened: Opened,
    verdict: Verdict,
    now: UnixMillis,
}

/// The first frame of a session, opened and judged.
#[derive(Debug)]
pub(crate) struct Answered {
    session: Session,
    used: Used,
    opened: Opened,
    verdict: Verdict,
    now: UnixMillis,
}

/// An authentic start whose sender may not write: its prekey is spent, its session is not kept.
#[derive(Debug)]
pub(crate) struct TurnedAway {
    by: AgentId,
    used: Used,
    tag: Tag,
    code: u16,
    knock: Option<Box<Knock>>,
}

impl Peer {
    /// Takes a frame: check, authenticate. `from` is the QUIC-authenticated peer, if it came directly.
    ///
    /// # Errors
    /// A [`Refusal`]: the bytes are not authentic or not well formed, and nothing moved.
    pub fn receive<R: CryptoRng + ?Sized>(
        &self,
        from: Option<AgentId>,
        bytes: &[u8],
        now: UnixMillis,
        rng: &mut R,
        seen: &dyn Seen,
    ) -> Result<Step, Refusal> {
        if ChannelFrame::is_one(bytes) {
            return self.receive_group(from, bytes, now, seen);
        }
        let frame = match Frame::decode(bytes)? {
            Frame::Notice(notice) => return self.notice(from, notice, now),
            Frame::Sealed(frame) => frame,
        };
        let full = self.inbox.len() >= limit::INBOX_LETTERS_MAX || self.inbox_bytes >= limit::INBOX_BYTES_MAX;
        if full && frame.body.is_some() {
            return Err(Refusal::InboxFull);
        }
        // The tag is looked up before a handshake is looked at.
        match self.tags.get(&frame.tag).and_then(|id| self.sessions.get(id)) {
            Some(session) => self.receive_in(session, from, &frame, now, rng, seen),
            None => match frame.handshake {
                Some(handshake) => self.receive_start(handshake, from, &frame, now, rng, seen),
                None => Err(Refusal::UnknownTag(frame.tag)),
            },
        }
    }

    fn receive_in<R: CryptoRng + ?Sized>(
        &self,
        session: &Session,
        from: Option<AgentId>,
        frame: &Sealed<'_>,
        now: UnixMillis,
        rng: &mut R,
        seen: &dyn Seen,
    ) -> Result<Step, Refusal> {
        let with = session.peer();
        if frame.body.is_some() && self.waits_for_log(session) {
            return Err(Refusal::SpoolFull);
        }
        if frame.body.is_some() && self.is_mismatch(session) {
            return Err(Refusal::OutOfStep(frame.tag));
        }
        // contracts/mailbox.md M11: whoever may not write does not by way of a mailbox either.
        if from.map_or_else(|| self.turned_away(&with).is_some(), |from| from != with) {
            return Err(Refusal::WrongPeer(with));
        }
        if self.is_over(session, now) {
            return Err(Refusal::OutOfStep(frame.tag));
        }
        let room = limit::SKIPPED_TOTAL_MAX.saturating_sub(self.skipped_total);
        // Authentic, and proof that one of the two was restored from a copy: the session ends.
        let restored = || Ok(self.step(Change::Restart { with, session: session.id, now }));
        let opened = match session.open_frame(frame, room, rng) {
            Err(OpenError::Restored) => return restored(),
            Err(
                OpenError::Parted
                | OpenError::Replay(ReplayError::TooFar(_))
                | OpenError::Ratchet(RatchetError::SkipTooFar(_) | RatchetError::Spent | RatchetError::Contradiction),
            ) => return Err(Refusal::OutOfStep(frame.tag)),
            other => other?,
        };
        let (opened, verdict) = self.judge(session, opened, now, seen)?;
        let Ok(opened) = session.check_ack(opened) else { return restored() };
        Ok(self.step(Change::Received(Box::new(Received { session: session.id, opened, verdict, now }))))
    }

    /// Whether a letter came in the session that replaced this one, or this one is about to end. Its sender has sealed everything elsewhere again that
    /// it has not given up, so what still comes here is late, and would overtake.
    pub(super) fn is_over(&self, session: &Session, now: UnixMillis) -> bool {
        let Place::Old(until) = session.place else { return false };
        let replaced = || self.current(&session.peer()).is_some_and(|current| current.window.next() > 0);
        until <= now.plus(time::START_RETRY) || replaced()
    }

    fn receive_start<R: CryptoRng + ?Sized>(
        &self,
        handshake: &[u8],
        from: Option<AgentId>,
        frame: &Sealed<'_>,
        now: UnixMillis,
        rng: &mut R,
        seen: &dyn Seen,
    ) -> Result<Step, Refusal> {
        let refuse = |error: HandshakeError| Refusal::Start(frame.tag, error);
        let start = Start::decode(handshake).map_err(refuse)?;
        let used = start.used();
        let (keys, pair) = self.prekeys.for_start(&used).ok_or(refuse(HandshakeError::UnknownPrekey))?;
        let response = start.respond(&self.identity, &keys).map_err(refuse)?;
        let by = response.initiator;
        if by == self.id() || from.is_some_and(|from| from != by) {
            return Err(Refusal::WrongPeer(by));
        }
        if !self.prekeys.takes_start(&used, &by) {
            return Err(refuse(HandshakeError::UnknownPrekey));
        }
        if self.sessions.len() >= limit::SESSIONS_MAX {
            return Err(Refusal::TooManySessions);
        }
        let unaudited = self.mismatch(start.parameters()).map_err(|()| refuse(HandshakeError::UnknownPrekey))?;
        if self.start_waits(start.parameters()) {
            return Err(Refusal::SpoolFull);
        }
        let parties = Parties { initiator: by, responder: self.id(), initiated: false };
        let session = Session::respond(response.secrets, parties, start.parameters(), pair, now);
        let room = limit::SKIPPED_TOTAL_MAX.saturating_sub(self.skipped_total);
        let opened = session.open(frame, room, rng)?;
        if let Some(code) = self.turned_away(&by).or(unaudited) {
            let knock = if code == code::STRANGER { self.knock_in(&by, &opened, now) } else { None };
            return Ok(self.step(Change::TurnedAway(TurnedAway { by, used, tag: frame.tag, code, knock })));
        }
        let (opened, verdict) = self.judge(&session, opened, now, seen)?;
        Ok(self.step(Change::Answered(Box::new(Answered { session, used, opened, verdict, now }))))
    }

    /// What a stranger's first letter asks, where strangers are heard.
    // contracts/call.md X29.
    fn knock_in(&self, by: &AgentId, opened: &Opened, now: UnixMillis) -> Option<Box<Knock>> {
        let content = opened.content.as_ref().filter(|_| self.hears_knocks)?;
        let letter = Letter::decode(&content.letter).ok().filter(|letter| letter.kind == LetterKind::Control)?;
        // A start without one-time prekey may come again: later than anybody remembers who was heard, what it says is over.
        letter.check_time(now).ok()?;
        match Control::decode(&letter.payload)? {
            Control::Knock(knock) if knock.from.agent == *by => Some(knock),
            _ => None,
        }
    }

    /// Why this agent may not begin a session, if it may not.
    fn turned_away(&self, agent: &AgentId) -> Option<u16> {
        match self.contact(agent) {
            Some(info) if info.retired => Some(code::RETIRED),
            Some(info) if info.allowed => None,
            _ if self.accept_strangers || self.is_fellow(agent) => None,
            _ => Some(code::STRANGER),
        }
    }

    fn notice(&self, from: Option<AgentId>, notice: Notice, now: UnixMillis) -> Result<Step, Refusal> {
        let with = from.ok_or(Refusal::UselessNotice)?;
        let contact = self.contacts.get(&with).ok_or(Refusal::UselessNotice)?;
        let mut sessions = contact.sessions().filter_map(|id| self.sessions.get(&id));
        let session = sessions.find(|session| self.sent_under(session, &notice.tag)).ok_or(Refusal::UselessNotice)?;
        if let Place::Old(until) = session.place {
            // What this side acknowledges there reaches nobody. A peer that still seals in it was restored from a copy, and begins anew once this
            // side knows it no more; not at once, as letters that came in it may come again before the record of them is durable.
            let at = now.plus(time::START_RETRY);
            let ends = notice.code == code::UNKNOWN_TAG && at < until;
            return if ends { Ok(self.step(Change::SessionEnds(session.id, at))) } else { Err(Refusal::UselessNotice) };
        }
        if session.place == Place::Candidate {
            return Err(Refusal::UselessNotice);
        }
        match notice.code {
            code::UNKNOWN_TAG => Ok(self.step(Change::Restart { with, session: session.id, now })),
            // A peer that has the session finds it by its tag and looks at no start.
            code::START_REFUSED => Ok(self.step(Change::Restart { with, session: session.id, now })),
            code::STRANGER | code::RETIRED | code::UNAUDITED => {
                Ok(self.step(Change::NoticeBy { by: with, code: notice.code, session: session.id, now }))
            }
            _ => Err(Refusal::UselessNotice),
        }
    }

    /// Whether a frame that is under way in this session has this tag.
    fn sent_under(&self, session: &Session, tag: &Tag) -> bool {
        let current = session.ratchet.send.as_ref().is_some_and(|chain| chain.tag == *tag);
        current
            || session
                .outstanding
                .values()
                .filter_map(|frame| self.outbox.get(&frame.entry?)?.sealed.as_ref())
                .any(|sealed| frame::tag_of(&sealed.frame) == Some(*tag))
    }

    /// Acknowledges again what came again: the peer's acknowledgement was lost.
    #[must_use]
    pub fn ack_again<R: CryptoRng + ?Sized>(&self, refusal: &Refusal, frame: &[u8], rng: &mut R) -> Option<Step> {
        let Refusal::Open(OpenError::Replay(ReplayError::Replayed(seq))) = refusal else {
            return self.ack_group_again(refusal, frame);
        };
        let Ok(Frame::Sealed(frame)) = Frame::decode(frame) else { return None };
        let session = self.tags.get(&frame.tag).and_then(|id| self.sessions.get(id))?;
        // A sender that sends a refused letter again was restored to a time before it was told.
        let told = session
            .held
            .get(seq)
            .filter(|held| held.state == Hold::Refused)
            .and_then(|held| Letter::decode(&held.letter).ok());
        if let Some(told) = told.filter(|told| !self.letters.contains_key(&(session.peer(), told.id))) {
            return Some(self.step(Change::Queued(Box::new(Entry::draft(session.peer(), &told)))));
        }
        let mut nonce = [0; 12];
        rng.fill_bytes(&mut nonce);
        let (to, frame) = (session.peer(), session.seal_ack(nonce)?);
        Some(self.step(Change::AckSent { to, session: session.id, frame, again: true }))
    }

    /// The hint that may be given to the QUIC-authenticated peer for a refused frame.
    #[must_use]
    pub fn notice_for(refusal: &Refusal) -> Option<Vec<u8>> {
        let (tag, code) = match refusal {
            Refusal::UnknownTag(tag) | Refusal::OutOfStep(tag) => (*tag, code::UNKNOWN_TAG),
            // A copy that was restored makes prekeys of the same numbers again: a start with the former ones is not authentic.
            Refusal::Start(tag, HandshakeError::UnknownPrekey | HandshakeError::Crypto(_)) => {
                (*tag, code::START_REFUSED)
            }
            _ => return None,
        };
        Some(Notice { tag, code }.encode())
    }
}

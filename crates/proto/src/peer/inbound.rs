//! From bytes to a step, and the step's effect on memory.

use std::sync::Arc;

use nuncio_contracts::registry::{code, event, limit, time};
use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};
use smallvec::SmallVec;

use super::audit::opening_of;
use super::judge::{Verdict, expiry, is_beside};
use super::{Change, Out, Peer};
use crate::channel::ChannelFrame;
use crate::codec;
use crate::control::Control;
use crate::error::Refusal;
use crate::frame::{self, Frame, Notice, Sealed};
use crate::handshake::{HandshakeError, Start, Used};
use crate::ids::{AgentId, LetterId, Seq, SessionId, Tag};
use crate::knock::Knock;
use crate::letter::{Letter, LetterKind};
use crate::outbox::Entry;
use crate::ratchet::RatchetError;
use crate::replay::ReplayError;
use crate::rows;
use crate::session::{Content, Held, Hold, InOrder, Moved, OpenError, Opened, Parties, Place, Session};
use crate::step::{Effect, Op, Step};
use crate::time::UnixMillis;
use crate::token::Genuine;

/// The record of letters delivered, which outlives the sessions that carried them.
pub trait Seen {
    /// Whether the row [`rows::seen`] exists. `None` if it cannot be told; the frame is then refused and comes again.
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

#[derive(Serialize, Deserialize)]
struct HeldRow(u8, ByteArray<12>, ByteBuf, u8, Option<ByteBuf>);
#[derive(Serialize, Deserialize)]
struct SkippedRow(u8, ByteArray<16>, ByteArray<32>, u64);

/// The version of inbox and waiting rows.
const ROW_VERSION: u8 = 2;
/// A letter and its token, with room for the rest.
const ROW_LEN_MAX: usize = limit::FRAME_LEN_MAX + limit::TOKEN_LEN_MAX;

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

    pub(super) fn apply_turned_away(&mut self, turned: TurnedAway, out: &mut Out) {
        if turned.used.one_time.is_some() {
            self.prekeys.spend(&turned.used, &turned.by, &mut out.ops);
        }
        let notice = Notice { tag: turned.tag, code: turned.code };
        out.effects.push(Effect::Send { to: turned.by, frame: notice.encode() });
        out.effects.extend(turned.knock.map(|knock| Effect::Knocked { by: turned.by, knock }));
    }

    pub(super) fn apply_answered(&mut self, answered: Answered, out: &mut Out) {
        let Answered { session, used, opened, verdict, now } = answered;
        let id = session.id;
        if used.one_time.is_some_and(|at| self.prekeys.is_listed(at)) {
            out.effects.push(Effect::ListedUsed);
        }
        self.prekeys.spend(&used, &session.peer(), &mut out.ops);
        self.counters.handshakes += 1;
        self.place_answered(session, now, out);
        self.apply_received(Received { session: id, opened, verdict, now }, out);
    }

    pub(super) fn apply_received(&mut self, received: Received, out: &mut Out) {
        let Received { session: id, opened, verdict, now } = received;
        let Opened { mut content, acked, answered, header } = opened;
        let Some(with) = self.sessions.get(&id).map(Session::peer) else { return };
        let opening = content.as_mut().and_then(|content| {
            let key = content.commitment_key.take()?;
            opening_of(&with, key, &header.to_bytes(), &content.letter, &verdict)
        });
        out.ops.extend(opening);
        out.contacts.insert(with);
        self.refuse_expired(id, with, now, out);
        let Some(session) = self.sessions.get_mut(&id) else { return };

        let (floor, mut heard) = (header.floor().unwrap_or(0), Vec::new());
        let fresh = content.as_ref().map(|content| content.fresh.seq());
        let may_retag = !session.old_chains.is_empty() || content.as_ref().is_some_and(Content::turns);
        let tags: Vec<_> = session.tags().filter(|_| may_retag).collect();
        let skipped_before = session.skipped.len();
        let moved = match content {
            Some(content) => session.apply_content(content, now),
            None => session.raise(floor),
        };
        if fresh.is_some() || moved.passed {
            let tags_now: Vec<_> = session.tags().filter(|_| may_retag).collect();
            if let Some((seq, held)) = fresh.and_then(|seq| Some((seq, session.held.get(&seq)?))) {
                out.ops.push(put_held(&id, seq, held));
            }
            let over = session.forget_delivered(floor);
            self.keep_moved(id, &moved, skipped_before, out);
            out.sessions.insert(id);
            self.counters.opened += u64::from(fresh.is_some());
            self.counters.turns += u64::from(moved.turned);
            self.retag(id, &tags, &tags_now);
            if let Some(contact) = self.contacts.get_mut(&with) {
                for letter in over {
                    contact.recent.remove(&letter);
                }
            }
            self.take_in_order(id, with, fresh, moved.in_order, verdict, now, out);
            self.want_ack(id, with, now);
            heard = moved.heard;
        }
        self.confirm(id, with, answered, now, out);
        self.end_replaced(id, with, now, out);
        self.apply_acked(id, with, acked, now, out);
        self.forget_told(with, &heard, out);
        self.note_heard(id, with, now);
    }

    /// Whoever gave the number of a refused letter up needs not be told any more, and what told it would hold a place in the window for ever if this
    /// side's letters are refused too.
    fn forget_told(&mut self, with: AgentId, heard: &[LetterId], out: &mut Out) {
        for told in heard {
            if let Some(no) = self.letters.get(&(with, *told)).copied() {
                self.apply_expired(no, code::CANCELLED, out);
            }
        }
    }

    /// Writes the rows of keys that are kept now, or no more.
    pub(super) fn keep_moved(&mut self, id: SessionId, moved: &Moved, skipped_before: usize, out: &mut Out) {
        let Some(session) = self.sessions.get(&id) else { return };
        for seq in &moved.skipped {
            if let Some(kept) = session.skipped.get(seq) {
                let (tag, mk) = (ByteArray::new(*kept.tag.as_bytes()), ByteArray::new(*kept.mk.expose()));
                let value = codec::encode(&SkippedRow(1, tag, mk, kept.since.0));
                out.ops.push(Op::Put { key: rows::of_session(rows::SKIPPED, &id, *seq), value });
            }
        }
        for seq in &moved.dropped {
            out.ops.push(Op::Delete { key: rows::of_session(rows::SKIPPED, &id, *seq) });
        }
        self.skipped_total = (self.skipped_total + session.skipped.len()).saturating_sub(skipped_before);
    }

    fn retag(&mut self, id: SessionId, before: &[Tag], after: &[Tag]) {
        if before == after {
            return;
        }
        for tag in before {
            self.tags.remove(tag);
        }
        self.tags.extend(after.iter().map(|tag| (*tag, id)));
    }

    #[expect(clippy::too_many_arguments, reason = "one call, each argument another thing")]
    pub(super) fn take_in_order(
        &mut self,
        id: SessionId,
        with: AgentId,
        fresh: Option<Seq>,
        in_order: SmallVec<[InOrder; 1]>,
        verdict: Verdict,
        now: UnixMillis,
        out: &mut Out,
    ) {
        let mut now_read = None;
        match verdict {
            Verdict::Nothing => {}
            Verdict::Duplicate => self.counters.duplicates += 1,
            Verdict::Take(letter, _) => {
                self.hear(id, with, &letter, now, out);
                self.note_answer(with, &letter);
                now_read = Some(*letter);
            }
            Verdict::Wait(need, _) => {
                fresh.into_iter().for_each(|seq| self.wait((id, seq), with, need, now, out));
            }
            Verdict::Refuse(told) => {
                if let Some((told, refused)) = told {
                    if let Some(Control::Refused { code, .. }) = Control::decode(&told.payload) {
                        self.tell_refused(id, code, refused.as_deref(), now, out);
                    }
                    self.apply_queued(Entry::draft(with, &told), out);
                    refused.iter().for_each(|letter| self.pass_refused_letter(with, letter, now, out));
                }
            }
        }
        for next in in_order {
            let read = if Some(next.seq) == fresh {
                now_read.take()
            } else {
                out.ops.push(Op::Delete { key: rows::of_session(rows::HELD, &id, next.seq) });
                Letter::decode(&next.letter).ok()
            };
            // contracts/identity.md I9: a statement among them may have ended the session.
            if let Some(read) = read.filter(|_| self.sessions.contains_key(&id)) {
                self.take(id, with, read, next, now, out);
            }
        }
    }

    fn take(&mut self, id: SessionId, from: AgentId, letter: Letter, next: InOrder, now: UnixMillis, out: &mut Out) {
        // Judged when it came; while it was held it may have been delivered under another number.
        if self.was_taken(&from, &letter.id) {
            self.counters.duplicates += 1;
            return;
        }
        self.drop_copies(from, &letter.id, now, out);
        self.clear_copies(id, &from, letter.id, out);
        if let Some(session) = self.sessions.get_mut(&id) {
            session.delivered.insert(next.seq, letter.id);
            next.token.iter().for_each(|token| session.tokens_in.note(*token.hash()));
        }
        if let Some(contact) = self.contacts.get_mut(&from) {
            contact.recent.insert(letter.id, id);
        }
        if letter.kind == LetterKind::Control {
            if let Some(control) = Control::decode(&letter.payload) {
                self.obey(id, from, control, now, out);
            }
            return;
        }
        // Who was removed meanwhile writes to the channel alone (contracts/channel.md C65).
        if self.is_fellow_alone(&from) && is_beside(&letter) {
            return;
        }
        self.tell_received(from, None, &letter, next.token.as_deref(), now, out);
        out.ops.push(Op::Put { key: rows::seen(&from, &letter.id), value: Vec::new() });
        self.keep_token(next.token.as_ref(), &from, now);
        letter.reply_to.into_iter().for_each(|asked| self.await_no_answer(from, asked));
        self.note_call(from, &letter);
        if let Some(letter) =
            self.take_channel_letter(from, letter, &next.letter, next.token.as_ref(), (now, None), out)
        {
            self.deliver(from, letter, &next.letter, next.token, now, out);
        }
    }

    /// A letter may be held in several sessions. It is delivered from the first in which it is next; the others keep its number.
    fn clear_copies(&mut self, id: SessionId, from: &AgentId, letter: LetterId, out: &mut Out) {
        let Some(contact) = self.contacts.get(from) else { return };
        for other in contact.sessions().filter(|other| *other != id) {
            let Some(session) = self.sessions.get_mut(&other) else { continue };
            for (seq, held) in &mut session.held {
                if held.state != Hold::Refused && Letter::id_in(&held.letter) == Some(letter) {
                    (held.state, held.expires, held.token) = (Hold::Turn, UnixMillis::NEVER, None);
                    held.letter.clear();
                    out.ops.push(put_held(&other, *seq, held));
                }
            }
        }
    }

    fn obey(&mut self, id: SessionId, from: AgentId, control: Control, now: UnixMillis, out: &mut Out) {
        match control {
            // Heard when it came.
            Control::Refused { .. }
            | Control::TokenWanted(_)
            | Control::Token(_)
            | Control::Statement(_)
            | Control::Hello => {}
            Control::RekeyOffer(offer) => self.take_offer(id, from, offer, out),
            Control::RekeyAnswer(answer) => self.take_answer(id, answer, out),
            Control::Retired(statement) => self.take_retirement(from, &statement, out),
            Control::Mailbox(given) => self.take_mailbox(from, given, out),
            Control::Channel(word) => self.take_word(from, *word, now, out),
            Control::Knock(knock) if self.hears_knocks && knock.from.agent == from => {
                out.effects.push(Effect::Knocked { by: from, knock })
            }
            Control::Knock(_) => {}
            Control::Permit(permit) => self.take_permit(from, &permit, now, out),
            Control::PermitOver(permit) => self.take_permit_over(from, &permit, now, out),
            Control::PayloadTaken(letter) => out.effects.push(Effect::PayloadTaken { by: from, letter }),
        }
    }

    pub(super) fn want_ack(&mut self, id: SessionId, with: AgentId, now: UnixMillis) {
        let Some(contact) = self.contacts.get_mut(&with) else { return };
        contact.ack_in.insert(id);
        contact.unacked = contact.unacked.saturating_add(1);
        let due = if contact.unacked >= limit::ACK_EVERY { now } else { now.plus(time::ACK_DELAY) };
        contact.ack_due = Some(contact.ack_due.map_or(due, |at| at.min(due)));
        self.ack_pending.insert(with);
    }

    /// A frame has opened each way: the peer's first answer, or its first frame without handshake.
    fn confirm(&mut self, id: SessionId, with: AgentId, answered: bool, now: UnixMillis, out: &mut Out) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        if session.confirmed || !answered {
            return;
        }
        session.confirmed = true;
        session.handshake = None;
        let (initiated, candidate) = (session.parties.initiated, session.place == Place::Candidate);
        let old = matches!(session.place, Place::Old(_));
        out.sessions.insert(id);
        out.effects.push(Effect::Established { with, session: id });
        self.tell_session(id, event::SESSION_ESTABLISHED, now, out);
        if let Some(contact) = self.contacts.get_mut(&with) {
            contact.start_delay = 0;
        }
        if initiated && !old {
            // The responder learns from it that its answer was heard, and may seal here; not where we no longer do.
            self.want_ack(id, with, now);
        }
        if candidate {
            self.promote(id, with, now, out);
        }
    }

    pub(super) fn load_held(session: &mut Session, seq: Seq, value: &[u8]) -> Option<()> {
        let HeldRow(version, nonce, letter, state, token) = codec::decode(value, ROW_LEN_MAX).ok()?;
        if version != ROW_VERSION {
            return None;
        }
        let state = [Hold::Turn, Hold::Refused, Hold::Token].into_iter().find(|known| held_state(*known) == state)?;
        let token = token.map(|token| Genuine::kept(&token).map(Arc::new).ok_or(())).transpose().ok()?;
        let read = if state == Hold::Refused { None } else { Letter::decode(&letter).ok() };
        let expires = read.map_or(UnixMillis::NEVER, |letter| expiry(&letter, token.as_deref()));
        session.restore_held(seq, Held { nonce: nonce.into_array(), letter: letter.into_vec(), state, expires, token });
        Some(())
    }

    pub(super) fn load_skipped(session: &mut Session, seq: Seq, value: &[u8]) -> Option<()> {
        let SkippedRow(_, tag, mk, since) = codec::decode(value, 256).ok()?;
        session.restore_skipped(seq, Tag::from_bytes(tag.into_array()), mk.into_array(), UnixMillis(since));
        Some(())
    }
}

pub(super) fn put_held(session: &SessionId, seq: Seq, held: &Held) -> Op {
    let token = held.token.as_ref().map(|token| ByteBuf::from(token.text().as_bytes()));
    let (nonce, letter) = (ByteArray::new(held.nonce), ByteBuf::from(held.letter.as_slice()));
    let row = HeldRow(ROW_VERSION, nonce, letter, held_state(held.state), token);
    Op::Put { key: rows::of_session(rows::HELD, session, seq), value: codec::encode(&row) }
}

const fn held_state(state: Hold) -> u8 {
    match state {
        Hold::Turn => 0,
        Hold::Refused => 1,
        Hold::Token => 2,
    }
}

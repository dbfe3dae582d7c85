//! From a letter to a frame, and what makes frames go again.

use std::sync::Arc;

use nuncio_contracts::registry::{limit, time};
use rand_core::CryptoRng;

use super::audit::Told;
use super::{Change, Out, Peer};
use crate::content_type::ContentType;
use crate::control::Control;
use crate::crypto;
use crate::frame::Nonce;
use crate::ids::{AgentId, LetterId, Seq, SessionId};
use crate::letter::{Letter, LetterKind};
use crate::outbox::{Entry, SealedAs};
use crate::rows;
use crate::session::{AckedTo, Hold, Place, Sealing, Session};
use crate::step::{Effect, Op, Reached, Step};
use crate::time::UnixMillis;

/// A draft that was sealed.
#[derive(Debug)]
pub(crate) struct SealedEntry {
    entry: u64,
    session: SessionId,
    sealing: Sealing,
    told: Option<Told>,
    now: UnixMillis,
}

/// The time of a resend that only tells the floor.
const AT_ONCE: UnixMillis = UnixMillis(0);

/// Which frames go again, with their outbox entries: the lowest always, since a peer that has passed it meanwhile acknowledges again; then those that
/// the peer's bitmap does not show, from where the last burst ended. The bitmap is short: were it always the lowest, one behind them that the peer
/// waits for would never go.
fn due_again(session: &Session, after: Seq, burst: usize) -> Vec<(Seq, u64)> {
    let live: Vec<_> =
        session.outstanding.iter().filter_map(|(seq, frame)| Some((*seq, frame.seen, frame.entry?))).collect();
    let Some((lowest, rest)) = live.split_first() else { return Vec::new() };
    let (before, behind): (Vec<_>, Vec<_>) =
        rest.iter().filter(|(_, seen, _)| !seen).partition(|(seq, ..)| *seq <= after);
    core::iter::once(lowest).chain(behind).chain(before).map(|(seq, _, entry)| (*seq, *entry)).take(burst).collect()
}

fn nonce<R: CryptoRng + ?Sized>(rng: &mut R) -> Nonce {
    let mut nonce = [0; 12];
    rng.fill_bytes(&mut nonce);
    nonce
}

impl Peer {
    /// The session in which letters to this agent are sealed.
    pub(super) fn current(&self, agent: &AgentId) -> Option<&Session> {
        self.sessions.get(&self.contacts.get(agent)?.current?)
    }

    pub(super) fn next_draft<R: CryptoRng + ?Sized>(&self, now: UnixMillis, rng: &mut R) -> Option<Step> {
        self.ready.iter().find_map(|agent| {
            let session = self.current(agent)?;
            let entry = self.next_of(agent)?;
            let draft = self.outbox.get(&entry)?;
            if !draft.control && self.waits_for_log(session) {
                return None;
            }
            // One that may have arrived goes as it is: its receiver knows it, or refuses it.
            if !draft.tried && draft.token.as_ref().is_some_and(|token| token.expires <= now) {
                return Some(self.step(Change::TokenOver(entry)));
            }
            let (letter, audited) = draft.letter_in(session, &self.identity, self.audit_head());
            let sealing = session.seal(&letter, nonce(rng))?;
            let token = draft.token.as_ref().map(|token| (token.hash, Arc::clone(&token.transaction)));
            let told = audited.and_then(|(letter, opening)| self.tell_sent(session, &letter, opening, token, now));
            Some(self.step(Change::Sealed(SealedEntry { entry, session: session.id, sealing, told, now })))
        })
    }

    /// The draft that is sealed next, if there is a place for it. Control letters have a reserve of their own, so that none waits behind letters; and
    /// its last place is for the refusal that this side's window waits for: behind it there is room again.
    fn next_of(&self, agent: &AgentId) -> Option<u64> {
        let (session, drafts) = (self.current(agent)?, &self.contacts.get(agent)?.drafts);
        let waits = session.held.get(&session.window.next()).filter(|held| held.state == Hold::Refused);
        let told = waits.and_then(|held| self.letters.get(&(*agent, Letter::id_in(&held.letter)?)).copied());
        if let Some(told) = told.filter(|no| session.has_room(0) && drafts.contains(&(false, *no))) {
            return Some(told);
        }
        let (plain, first) = *drafts.first()?;
        session.has_room(if plain { limit::CONTROL_RESERVE } else { 1 }).then_some(first)
    }

    /// Lists the contact among those whose next draft can be sealed, or takes it off; asks for a session where there is none.
    pub(super) fn update_ready(&mut self, agent: &AgentId) {
        self.stuck.remove(agent);
        let next = self.next_of(agent);
        let Some(contact) = self.contacts.get_mut(agent) else { return };
        let Some((plain, _)) = contact.drafts.first().copied() else {
            self.ready.remove(agent);
            return;
        };
        match contact.current.and_then(|id| self.sessions.get(&id)) {
            Some(_) if next.is_some() => drop(self.ready.insert(*agent)),
            Some(session) => {
                self.ready.remove(agent);
                if plain && session.has_room(1) && !session.has_live() {
                    self.stuck.insert(*agent);
                }
            }
            None => {
                self.ready.remove(agent);
                let earliest =
                    contact.started.map_or(UnixMillis(0), |at| at.plus(contact.start_delay.max(time::START_RETRY)));
                contact.start_at.get_or_insert(earliest);
            }
        }
    }

    pub(super) fn next_timer<R: CryptoRng + ?Sized>(&self, now: UnixMillis, rng: &mut R) -> Option<Step> {
        let has_come = |(at, _): &&(UnixMillis, AgentId)| at.has_come(now, time::RESEND_MAX);
        // The latest, too: it is set for later than any may be where the clock was put back.
        let (_, to) = self.timers.first().filter(has_come).or_else(|| self.timers.last().filter(has_come))?;
        let contact = self.contacts.get(to)?;
        if contact.ack_due.is_some_and(|at| at.has_come(now, time::RESEND_MAX)) {
            return self.ack_step(*to, rng);
        }
        if let Some((at, _)) = contact.resend.filter(|(at, _)| at.has_come(now, time::RESEND_MAX)) {
            if let Some(step) = self.unheard(*to, now) {
                return Some(step);
            }
            let burst = if at == AT_ONCE { 0 } else { limit::RESEND_BURST };
            return self.resend_step(*to, now, burst, rng);
        }
        Some(self.step(Change::BundleWanted { of: *to, now }))
    }

    pub(super) fn next_ack<R: CryptoRng + ?Sized>(&self, rng: &mut R) -> Option<Step> {
        self.ack_step(*self.ack_pending.first()?, rng)
    }

    fn ack_step<R: CryptoRng + ?Sized>(&self, to: AgentId, rng: &mut R) -> Option<Step> {
        let session = *self.contacts.get(&to)?.ack_in.first()?;
        let frame = self.sessions.get(&session).and_then(|session| session.seal_ack(nonce(rng)));
        Some(self.step(Change::AckSent { to, session, frame: frame.unwrap_or_default(), again: false }))
    }

    pub(super) fn apply_ack_sent(&mut self, to: AgentId, session: SessionId, frame: Vec<u8>, out: &mut Out) {
        self.ack_is_sent(to, session);
        out.contacts.insert(to);
        if !frame.is_empty() {
            self.counters.acks_alone += 1;
            out.effects.push(Effect::Send { to, frame });
        }
    }

    pub(super) fn ack_is_sent(&mut self, to: AgentId, session: SessionId) {
        let Some(contact) = self.contacts.get_mut(&to) else { return };
        contact.ack_in.remove(&session);
        if contact.ack_in.is_empty() {
            contact.ack_due = None;
            contact.unacked = 0;
            self.ack_pending.remove(&to);
            self.may_go(&to);
        }
    }

    /// The peer is reachable again: what is under way goes at once.
    #[must_use]
    pub fn connected<R: CryptoRng + ?Sized>(&self, to: AgentId, now: UnixMillis, rng: &mut R) -> Option<Step> {
        self.contacts.get(&to)?.resend?;
        self.resend_step(to, now, usize::try_from(limit::WINDOW).unwrap_or(usize::MAX), rng)
    }

    fn resend_step<R: CryptoRng + ?Sized>(
        &self,
        to: AgentId,
        now: UnixMillis,
        burst: usize,
        rng: &mut R,
    ) -> Option<Step> {
        // Frames are sent again as they were; an acknowledgement carries the floor of today, which passes numbers that were given up since, and
        // shows a peer that was restored from a copy what it has missed. One that has not answered yet would not know the session by it.
        let answered = self.current(&to).filter(|session| session.handshake.is_none());
        let probe = answered.and_then(|session| session.seal_ack(nonce(rng)));
        Some(self.step(Change::Resent { to, now, burst, probe }))
    }

    pub(super) fn apply_resent(
        &mut self,
        to: AgentId,
        now: UnixMillis,
        burst: usize,
        probe: Option<Vec<u8>>,
        out: &mut Out,
    ) {
        out.contacts.insert(to);
        if burst > limit::RESEND_BURST {
            self.hurry_frames(to, now);
        }
        let Some(session) = self.current(&to) else {
            if let Some(contact) = self.contacts.get_mut(&to) {
                contact.resend = None;
            }
            return;
        };
        let under_way = session.has_live();
        let due = due_again(session, self.contacts.get(&to).map_or(0, |contact| contact.resent_to), burst);
        let frames: Vec<_> = due
            .iter()
            .filter_map(|(_, no)| self.outbox.get(no)?.sealed.as_ref())
            .map(|sealed| Effect::Send { to, frame: sealed.frame.clone() })
            .collect();
        self.counters.resent += u64::try_from(frames.len()).unwrap_or(0);
        out.effects.extend(frames);
        out.effects.extend(probe.map(|frame| Effect::Send { to, frame }));
        if let Some(contact) = self.contacts.get_mut(&to) {
            let delay = contact.resend.map_or(time::RESEND_FIRST, |(_, delay)| delay);
            contact.resent_to = due.last().map_or(0, |(seq, _)| *seq);
            // Numbers given up alone are not worth a timer: the next letter carries the floor.
            contact.resend = under_way.then(|| (now.plus(delay), delay.saturating_mul(2).min(time::RESEND_MAX)));
        }
    }

    /// Letters wait behind a window of numbers that were all given up: a control letter, for which there is room, carries the floor past them.
    pub(super) fn next_hello(&self, now: UnixMillis) -> Option<Step> {
        Some(self.step(Change::Hello { to: *self.stuck.first()?, now }))
    }

    pub(super) fn apply_hello(&mut self, to: AgentId, now: UnixMillis, out: &mut Out) {
        let about = LetterId::new(now, *self.id().as_bytes().first_chunk().unwrap_or(&[0; 10]));
        self.queue_control(to, &Control::Hello, about, now, out);
    }

    pub(super) fn apply_bundle_wanted(&mut self, of: AgentId, now: UnixMillis, out: &mut Out) {
        out.contacts.insert(of);
        let Some(contact) = self.contacts.get_mut(&of) else { return };
        contact.start_at = None;
        if contact.current.is_none() && !contact.drafts.is_empty() {
            contact.started = Some(now);
            contact.start_delay = contact.start_delay.saturating_mul(2).clamp(time::START_RETRY, time::RESEND_MAX);
            contact.start_at = Some(now.plus(contact.start_delay));
            out.effects.push(Effect::WantBundle { of });
        }
    }

    pub(super) fn apply_queued(&mut self, entry: Entry, out: &mut Out) {
        let no = self.next_entry;
        self.next_entry += 1;
        out.ops.push(Op::Put { key: rows::numbered(rows::OUTBOX, no), value: entry.to_row() });
        out.contacts.insert(entry.to);
        self.insert_entry(no, entry);
    }

    pub(super) fn insert_entry(&mut self, no: u64, entry: Entry) {
        if entry.control {
            self.contacts.entry(entry.to).or_default();
        }
        if let Some(contact) = self.contacts.get_mut(&entry.to).filter(|_| entry.sealed.is_none()) {
            contact.drafts.insert((!entry.control, no));
        }
        if entry.control {
            self.outbox_controls += 1;
            self.contacts.entry(entry.to).or_default().controls += 1;
        }
        self.outbox_bytes += entry.letter.len();
        self.calls.goes(&entry);
        self.expiries.insert((entry.expires, no));
        self.letters.insert((entry.to, entry.id), no);
        self.outbox.insert(no, entry);
    }

    pub(super) fn remove_entry(&mut self, no: u64, out: &mut Out) -> Option<Entry> {
        let entry = self.outbox.remove(&no)?;
        self.outbox_bytes -= entry.letter.len();
        self.calls.gone(&entry);
        self.outbox_controls -= usize::from(entry.control);
        self.expiries.remove(&(entry.expires, no));
        self.letters.remove(&(entry.to, entry.id));
        if entry.deposited.is_some() {
            out.ops.push(Op::Delete { key: rows::numbered(rows::DEPOSITED, no) });
        }
        if let Some(contact) = self.contacts.get_mut(&entry.to) {
            contact.drafts.remove(&(!entry.control, no));
            contact.mail.telling = contact.mail.telling.filter(|telling| *telling != no);
            contact.controls -= usize::from(entry.control && contact.controls > 0);
        }
        self.may_go(&entry.to);
        out.ops.push(Op::Delete { key: rows::numbered(rows::OUTBOX, no) });
        out.contacts.insert(entry.to);
        Some(entry)
    }

    /// Queues a letter of this runtime's own. Its id is derived, so the step needs no randomness.
    pub(super) fn queue_control(
        &mut self,
        to: AgentId,
        control: &Control,
        about: LetterId,
        now: UnixMillis,
        out: &mut Out,
    ) {
        let seed = crypto::sha256(&[about.as_bytes(), &self.next_entry.to_be_bytes(), self.id().as_bytes()]);
        let random = seed.first_chunk().copied().unwrap_or_default();
        let mut letter = Letter::plain(LetterId::new(now, random), ContentType::CBOR, control.encode());
        letter.kind = LetterKind::Control;
        let entry = Entry::draft(to, &letter);
        // What no receiver reads, this agent itself would not read at its next start.
        let is_letter =
            entry.letter.len() <= limit::LETTER_LEN_MAX && letter.payload.len() <= limit::PAYLOAD_INLINE_MAX;
        debug_assert!(is_letter, "a control letter of {} bytes", entry.letter.len());
        if is_letter {
            self.apply_queued(entry, out);
        }
    }

    pub(super) fn apply_sealed(&mut self, sealed: SealedEntry, out: &mut Out) {
        let SealedEntry { entry: no, session: id, mut sealing, told: event, now } = sealed;
        let (Some(session), Some(entry)) = (self.sessions.get_mut(&id), self.outbox.get_mut(&no)) else { return };
        let (to, frame) = (entry.to, core::mem::take(&mut sealing.frame));
        let (token, told) = (entry.token.as_ref().map(|token| token.hash), session.told());
        entry.sealed = Some(SealedAs { session: id, seq: sealing.seq, frame: frame.clone(), token, told });
        session.apply_sealed(sealing, no);
        out.ops.push(Op::Put { key: rows::numbered(rows::OUTBOX, no), value: entry.to_row() });
        out.sessions.insert(id);
        out.contacts.insert(to);
        if let Some(contact) = self.contacts.get_mut(&to) {
            contact.drafts.remove(&(!entry.control, no));
            contact.resend.get_or_insert((now.plus(time::RESEND_FIRST), time::RESEND_FIRST * 2));
        }
        self.counters.sealed += 1;
        event.into_iter().for_each(|event| self.apply_told(event, out));
        self.ack_is_sent(to, id);
        out.effects.push(Effect::Send { to, frame });
    }

    pub(super) fn apply_acked(&mut self, id: SessionId, with: AgentId, acked: AckedTo, now: UnixMillis, out: &mut Out) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        if acked.next == session.acked || matches!(session.place, Place::Old(_)) {
            session.mark_seen(&acked);
            return;
        }
        let settled = session.apply_acked(acked);
        let nothing_left = session.outstanding.is_empty();
        let current = session.place == Place::Current;
        out.sessions.insert(id);
        for (seq, entry) in settled {
            let Some(no) = entry else {
                out.ops.push(Op::Delete { key: rows::of_session(rows::GIVEN_UP, &id, seq) });
                continue;
            };
            if let Some(entry) = self.remove_entry(no, out) {
                if let (Some(session), Some(token)) =
                    (self.sessions.get_mut(&id), entry.sealed.and_then(|as_| as_.token))
                {
                    session.tokens_out.note(token);
                }
                if !entry.control {
                    out.effects.push(Effect::Delivered { to: with, letter: entry.id });
                }
                self.answer_is_acked(id, with, no, now, out);
            }
        }
        if let Some(contact) = self.contacts.get_mut(&with).filter(|_| current) {
            contact.resend = (!nothing_left).then(|| (now.plus(time::RESEND_FIRST), time::RESEND_FIRST * 2));
        }
    }

    /// Gives an entry up: its letter fails, and its number, if it has one, is never sent again.
    pub(super) fn apply_expired(&mut self, no: u64, code: u16, out: &mut Out) {
        let reached = self.outbox.get(&no).map_or(Reached::Nowhere, |entry| self.reached(entry));
        self.end_entry(no, code, reached, out);
    }

    /// [`Peer::apply_expired`] of one of which its receiver says that it does not take it.
    pub(super) fn apply_not_taken(&mut self, no: u64, code: u16, out: &mut Out) {
        self.end_entry(no, code, Reached::Nowhere, out);
    }

    fn reached(&self, entry: &Entry) -> Reached {
        let speaks =
            |sealed: &SealedAs| self.sessions.get(&sealed.session).is_none_or(|session| session.handshake.is_none());
        match &entry.sealed {
            _ if entry.answered => Reached::Session,
            Some(sealed) if speaks(sealed) => Reached::Session,
            Some(_) => Reached::Unanswered,
            None if entry.tried => Reached::Unanswered,
            None => Reached::Nowhere,
        }
    }

    fn end_entry(&mut self, no: u64, code: u16, reached: Reached, out: &mut Out) {
        let renewal = self.is_renewal(no);
        self.telling_failed(no);
        let Some(entry) = self.remove_entry(no, out) else { return };
        if let Some(SealedAs { session: id, seq, .. }) = entry.sealed {
            self.give_up(id, seq, out);
        }
        if !entry.control {
            Self::apply_failed(entry.to, entry.id, code, reached, out);
        } else if renewal {
            self.renewal_failed(&entry.to, out);
        }
    }

    pub(super) fn apply_failed(to: AgentId, letter: LetterId, code: u16, reached: Reached, out: &mut Out) {
        out.ops.push(Op::Put { key: rows::failed(&letter), value: failed_row(&to, code) });
        out.effects.push(Effect::Failed { to, letter, code, reached });
    }

    pub(super) fn give_up(&mut self, id: SessionId, seq: Seq, out: &mut Out) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let with = session.peer();
        let Some(nonce) = session.give_up(seq) else { return };
        if let Some(contact) = self.contacts.get_mut(&with) {
            contact.resend = Some((AT_ONCE, time::RESEND_FIRST));
        }
        out.ops.push(Op::Put { key: rows::of_session(rows::GIVEN_UP, &id, seq), value: nonce.to_vec() });
    }
}

/// To whom the letter of a [`rows::failed`] row was, and why it failed: one of the registry's codes.
#[must_use]
pub fn failed_letter(row: &[u8]) -> Option<(AgentId, u16)> {
    let (_, to, code): (u8, serde_bytes::ByteArray<32>, u16) = crate::codec::decode(row, 64).ok()?;
    Some((AgentId::from_bytes(to.into_array()).ok()?, code))
}

fn failed_row(to: &AgentId, code: u16) -> Vec<u8> {
    crate::codec::encode(&(1_u8, serde_bytes::ByteArray::new(*to.as_bytes()), code))
}

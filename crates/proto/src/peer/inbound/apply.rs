//! A frame was authenticated: how it moves memory. Nothing here can fail.

use nuncio_contracts::registry::{code, event, limit, time};
use smallvec::SmallVec;

use super::super::audit::opening_of;
use super::super::judge::{Verdict, is_beside};
use super::super::{Out, Peer};
use super::kept::put_held;
use super::{Answered, Received, TurnedAway};
use crate::control::Control;
use crate::frame::Notice;
use crate::ids::{AgentId, LetterId, Seq, SessionId, Tag};
use crate::letter::{Letter, LetterKind};
use crate::outbox::Entry;
use crate::rows;
use crate::session::{Content, Hold, InOrder, Opened, Place, Session};
use crate::step::{Effect, Op};
use crate::time::UnixMillis;

impl Peer {
    pub(in super::super) fn apply_turned_away(&mut self, turned: TurnedAway, out: &mut Out) {
        if turned.used.one_time.is_some() {
            self.prekeys.spend(&turned.used, &turned.by, &mut out.ops);
        }
        let notice = Notice { tag: turned.tag, code: turned.code };
        out.effects.push(Effect::Send { to: turned.by, frame: notice.encode() });
        out.effects.extend(turned.knock.map(|knock| Effect::Knocked { by: turned.by, knock }));
    }

    pub(in super::super) fn apply_answered(&mut self, answered: Answered, out: &mut Out) {
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

    pub(in super::super) fn apply_received(&mut self, received: Received, out: &mut Out) {
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
    pub(in super::super) fn take_in_order(
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

    pub(in super::super) fn want_ack(&mut self, id: SessionId, with: AgentId, now: UnixMillis) {
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
}

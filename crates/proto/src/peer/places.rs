//! Which of a peer's sessions is current, which waits, which is only opened (contracts/handshake.md section 5).
//!
//! ```text
//!                    begun by us, or by the peer while there is none
//!        ┌──────────────────────────► Current ───────── replaced, lost or restored ──────┐
//!   new ─┤                               ▲                                               ▼
//!        │  by the peer beside            │ confirmed                              Old (receive-only)
//!        └─ a confirmed one ───────► Candidate ── another candidate ──────────────────►  │
//!                                                                                         ▼ a day later: keys deleted
//! ```

use nuncio_contracts::registry::{event, limit, time};

use super::{Out, Peer};
use crate::ids::{AgentId, SessionId};
use crate::mailbox::Mailbox;
use crate::rows;
use crate::session::{Place, Session};
use crate::step::Op;
use crate::time::UnixMillis;

impl Peer {
    pub(super) fn insert_session(&mut self, session: Session) {
        self.tags.extend(session.tags().map(|tag| (tag, session.id)));
        if let Some(until) = ends(&session) {
            self.old_until.insert((until, session.id));
        }
        let contact = self.contacts.entry(session.peer()).or_default();
        match session.place {
            Place::Current => contact.current = Some(session.id),
            Place::Candidate => contact.candidate = Some(session.id),
            Place::Old(_) => contact.old.push(session.id),
        }
        self.skipped_total += session.skipped.len();
        self.sessions.insert(session.id, session);
    }

    pub(super) fn apply_started(&mut self, session: Session, mailbox: Option<Mailbox>, out: &mut Out) {
        let with = session.peer();
        mailbox.into_iter().for_each(|at| self.learn_mailbox(with, at, out));
        out.sessions.insert(session.id);
        out.contacts.insert(with);
        self.counters.handshakes += 1;
        if let Some(contact) = self.contacts.get_mut(&with) {
            contact.start_at = None;
        }
        self.insert_session(session);
    }

    /// Finds the place of a session that the peer began.
    pub(super) fn place_answered(&mut self, mut session: Session, now: UnixMillis, out: &mut Out) {
        let (id, with) = (session.id, session.peer());
        let old = Place::Old(now.plus(time::OLD_SESSION_LIFE));
        let current =
            self.contacts.get(&with).and_then(|contact| contact.current).and_then(|id| self.sessions.get(&id));
        session.place = match current {
            None => Place::Current,
            // contracts/handshake.md H10: of simultaneous starts the lower session id wins. One in which nothing was sealed is none.
            Some(mine) if !mine.confirmed && mine.parties.initiated && mine.next_seq > 0 && mine.id < id => old,
            Some(mine) if !mine.confirmed => Place::Current,
            // contracts/handshake.md H11: a newer handshake replaces only after confirmation.
            Some(_) => Place::Candidate,
        };
        let replaced = match session.place {
            Place::Current => current.map(|current| current.id),
            Place::Candidate => self.contacts.get(&with).and_then(|contact| contact.candidate),
            Place::Old(_) => None,
        };
        if let Some(replaced) = replaced {
            self.make_old(replaced, now, out);
        }
        if !self.contacts.contains_key(&with) {
            // A fellow of a channel is one no longer than the channel is shared.
            let met = self.is_fellow(&with);
            let info = super::ContactInfo { allowed: !met, met, ..Default::default() };
            out.ops.push(Op::Put { key: rows::contact(&with), value: info.to_row() });
            self.contacts.entry(with).or_default().info = info;
        }
        if let Some(contact) = self.contacts.get_mut(&with).filter(|_| session.place == Place::Current) {
            contact.start_at = None;
        }
        self.insert_session(session);
        self.trim_old(with, out);
    }

    /// A candidate is confirmed: letters go there from now on.
    pub(super) fn promote(&mut self, id: SessionId, with: AgentId, now: UnixMillis, out: &mut Out) {
        let Some(contact) = self.contacts.get_mut(&with) else { return };
        contact.candidate = contact.candidate.filter(|candidate| *candidate != id);
        let before = contact.current.replace(id);
        contact.start_at = None;
        // Its frames under way are drafts again, once it is old.
        contact.resend = None;
        if let Some(session) = self.sessions.get_mut(&id) {
            if let Some(until) = ends(session) {
                self.old_until.remove(&(until, id));
            }
            session.place = Place::Current;
        }
        out.sessions.insert(id);
        out.contacts.insert(with);
        if let Some(before) = before.filter(|before| *before != id) {
            self.make_old(before, now, out);
        }
        self.trim_old(with, out);
    }

    /// The session is lost to one of its ends: its letters are sealed again, in the candidate if there is one, else in a new session.
    pub(super) fn apply_restart(&mut self, with: AgentId, id: SessionId, now: UnixMillis, out: &mut Out) {
        let Some(contact) = self.contacts.get(&with) else { return };
        let (is_current, candidate) = (contact.current == Some(id), contact.candidate);
        self.tell_session(id, event::SESSION_RESET, now, out);
        match candidate.filter(|candidate| is_current && *candidate != id) {
            Some(candidate) if self.sessions.get(&candidate).is_some_and(|session| session.ratchet.send.is_some()) => {
                self.promote(candidate, with, now, out);
            }
            _ => self.make_old(id, now, out),
        }
        self.trim_old(with, out);
    }

    pub(super) fn apply_start_anew(&mut self, with: AgentId, now: UnixMillis, out: &mut Out) {
        let Some(contact) = self.contacts.get_mut(&with) else { return };
        (contact.start_delay, contact.start_at) = (0, None);
        out.contacts.insert(with);
        let unanswered = |id: &SessionId| self.sessions.get(id).is_some_and(|session| session.handshake.is_some());
        if let Some(id) = contact.current.filter(unanswered) {
            self.apply_restart(with, id, now, out);
        }
    }

    /// From now on only opened, for a bounded time. Its unacknowledged letters become drafts again.
    pub(super) fn make_old(&mut self, id: SessionId, now: UnixMillis, out: &mut Out) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let with = session.peer();
        if matches!(session.place, Place::Old(_)) {
            return;
        }
        if let Some(until) = ends(session) {
            self.old_until.remove(&(until, id));
        }
        let until = now.plus(time::OLD_SESSION_LIFE);
        session.place = Place::Old(until);
        let (frames, answered) = (core::mem::take(&mut session.outstanding), session.handshake.is_none());
        self.old_until.insert((until, id));
        out.sessions.insert(id);
        out.contacts.insert(with);
        if let Some(contact) = self.contacts.get_mut(&with) {
            if contact.current == Some(id) {
                contact.current = None;
                contact.resend = None;
            }
            contact.candidate = contact.candidate.filter(|candidate| *candidate != id);
            contact.old.push(id);
        }
        if self.renewals.contains_key(&id) {
            self.end_renewal(id, out);
            let drafts: Vec<_> = self.contacts.get(&with).into_iter().flat_map(|contact| &contact.drafts).collect();
            let halves: Vec<_> = drafts.into_iter().map(|(_, no)| *no).filter(|no| self.is_renewal(*no)).collect();
            halves.into_iter().for_each(|no| drop(self.remove_entry(no, out)));
        }
        self.renewable.remove(&id);
        for (seq, frame) in frames {
            match frame.entry {
                None => out.ops.push(Op::Delete { key: rows::of_session(rows::GIVEN_UP, &id, seq) }),
                Some(no) if self.is_renewal(no) => drop(self.remove_entry(no, out)),
                Some(no) => self.draft_again(no, with, answered, out),
            }
        }
    }

    fn draft_again(&mut self, no: u64, with: AgentId, answered: bool, out: &mut Out) {
        let Some(entry) = self.outbox.get_mut(&no) else { return };
        entry.sealed = None;
        entry.tried = true;
        entry.answered |= answered;
        out.ops.push(Op::Put { key: rows::numbered(rows::OUTBOX, no), value: entry.to_row() });
        self.counters.sealed_again += 1;
        if let Some(contact) = self.contacts.get_mut(&with) {
            contact.drafts.insert((!entry.control, no));
        }
    }

    /// A letter was taken in the current session: the ones that it replaced end. Not at once, as letters that came there may come again before the
    /// record of them is durable.
    pub(super) fn end_replaced(&mut self, id: SessionId, with: AgentId, now: UnixMillis, out: &mut Out) {
        let Some(contact) = self.contacts.get(&with).filter(|contact| contact.current == Some(id)) else { return };
        if self.sessions.get(&id).is_none_or(|session| session.window.next() == 0) {
            return;
        }
        let soon = now.plus(time::START_RETRY);
        let later = |id: &SessionId| {
            self.sessions.get(id).is_some_and(|old| matches!(old.place, Place::Old(until) if until > soon))
        };
        let old: Vec<_> = contact.old.iter().copied().filter(later).collect();
        old.into_iter().for_each(|old| self.end_old(old, soon, out));
    }

    /// Ends an old session earlier.
    pub(super) fn end_old(&mut self, id: SessionId, at: UnixMillis, out: &mut Out) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        if let Place::Old(until) = core::mem::replace(&mut session.place, Place::Old(at)) {
            self.old_until.remove(&(until, id));
        }
        self.old_until.insert((at, id));
        out.sessions.insert(id);
    }

    pub(super) fn trim_old(&mut self, with: AgentId, out: &mut Out) {
        let Some(contact) = self.contacts.get(&with) else { return };
        let over = contact.old.len().saturating_sub(limit::OLD_SESSIONS_MAX);
        let dropped: Vec<_> = contact.old.iter().take(over).copied().collect();
        dropped.into_iter().for_each(|id| self.drop_session(id, out));
    }

    /// Deletes a session with all its keys.
    pub(super) fn drop_session(&mut self, id: SessionId, out: &mut Out) {
        if self.sessions.get(&id).is_some_and(|session| !matches!(session.place, Place::Old(_))) {
            self.make_old(id, UnixMillis(0), out);
        }
        let Some(session) = self.sessions.remove(&id) else { return };
        if let Place::Old(until) = session.place {
            self.old_until.remove(&(until, id));
        }
        for tag in session.tags() {
            self.tags.remove(&tag);
        }
        self.skipped_total -= session.skipped.len().min(self.skipped_total);
        out.ops.push(Op::Delete { key: rows::session(&id) });
        out.ops
            .extend(session.skipped.keys().map(|seq| Op::Delete { key: rows::of_session(rows::SKIPPED, &id, *seq) }));
        out.ops.extend(session.held.keys().map(|seq| Op::Delete { key: rows::of_session(rows::HELD, &id, *seq) }));
        let with = session.peer();
        self.ack_is_sent(with, id);
        if let Some(contact) = self.contacts.get_mut(&with) {
            contact.forget_session(id);
        }
        out.sessions.remove(&id);
        out.contacts.insert(with);
    }
}

/// When a session ends that is not the current one. A candidate that nobody confirms ends like an old one.
const fn ends(session: &Session) -> Option<UnixMillis> {
    match session.place {
        Place::Current => None,
        Place::Candidate => Some(session.created.plus(time::OLD_SESSION_LIFE)),
        Place::Old(until) => Some(until),
    }
}

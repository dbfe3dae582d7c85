//! Everything that can move, and how: a step staged.

use super::inbound::{Answered, Received, TurnedAway};
use super::mailbox::MailChange;
use super::out::Out;
use super::outbound::SealedEntry;
use super::permits::PermitChange;
use super::renew::Rekeyed;
use super::tokens::Decided;
use super::{ChannelChange, Peer};
use crate::audit::Event;
use crate::bundle::OneTimeRef;
use crate::contact::ContactInfo;
use crate::control::Control;
use crate::error::PeerError;
use crate::identity::Retirement;
use crate::ids::{AgentId, LetterId, Seq, SessionId};
use crate::mailbox::Mailbox;
use crate::outbox::Entry;
use crate::prekeys::Made;
use crate::rows;
use crate::session::Session;
use crate::step::{Effect, Effects, Op, Reached, Staged, Step};
use crate::time::UnixMillis;

/// Everything that can move, and by what.
#[derive(Debug)]
pub(crate) enum Change {
    Queued(Box<Entry>),
    Sealed(SealedEntry),
    Received(Box<Received>),
    Answered(Box<Answered>),
    TurnedAway(TurnedAway),
    Started(Box<Session>, Option<Mailbox>),
    Mail(MailChange),
    Channel(ChannelChange),
    Restart { with: AgentId, session: SessionId, now: UnixMillis },
    StartAnew { with: AgentId, now: UnixMillis },
    Rekeyed(Box<Rekeyed>),
    AckSent { to: AgentId, session: SessionId, frame: Vec<u8>, again: bool },
    Resent { to: AgentId, now: UnixMillis, burst: usize, probe: Option<Vec<u8>> },
    BundleWanted { of: AgentId, now: UnixMillis },
    Hello { to: AgentId, now: UnixMillis },
    Expired { entry: u64, code: u16 },
    Failed { to: AgentId, letter: LetterId, code: u16 },
    SessionEnds(SessionId, UnixMillis),
    SessionDropped(SessionId),
    Contact { agent: AgentId, info: Option<ContactInfo> },
    Done(u64),
    NumberTaken,
    Told(Box<Event>),
    Permit(PermitChange),
    PrekeysMade(Made),
    PrekeysExpired(UnixMillis),
    Claimed { by: AgentId, request: u64, bundle: Vec<u8>, one_time: Option<OneTimeRef> },
    SeenForgotten(Vec<Vec<u8>>),
    SkippedForgotten(Vec<(SessionId, Seq)>),
    NoticeBy { by: AgentId, code: u16, session: SessionId, now: UnixMillis },
    Decided(Decided),
    HandedOn { to: AgentId, statement: Vec<u8>, about: LetterId, now: UnixMillis },
    TokenOver(u64),
    Retokened { entry: u64, token: Vec<u8> },
    EventsLogged(u64),
    Recounted { events: Vec<(u64, Event)>, begins: bool, now: UnixMillis },
    Heartbeat(UnixMillis),
    Retire { retirement: Retirement, statement: Vec<u8>, now: UnixMillis },
}

impl Peer {
    /// Makes a step happen in memory. What it wants on disk and what may be done then come back; effects stay locked until the commit.
    pub fn stage(&mut self, step: Step) -> Result<Staged, PeerError> {
        if step.generation != self.generation {
            return Err(PeerError::StaleStep);
        }
        self.generation += 1;
        let mut out = Out::default();
        match step.change {
            Change::Queued(entry) => self.apply_queued(*entry, &mut out),
            Change::Sealed(sealed) => self.apply_sealed(sealed, &mut out),
            Change::Received(received) => self.apply_received(*received, &mut out),
            Change::Answered(answered) => self.apply_answered(*answered, &mut out),
            Change::TurnedAway(turned) => self.apply_turned_away(turned, &mut out),
            Change::Started(session, mailbox) => self.apply_started(*session, mailbox, &mut out),
            Change::Mail(change) => self.apply_mail(change, &mut out),
            Change::Channel(change) => self.apply_channel(change, &mut out),
            Change::Restart { with, session, now } => self.apply_restart(with, session, now, &mut out),
            Change::StartAnew { with, now } => self.apply_start_anew(with, now, &mut out),
            Change::Rekeyed(rekeyed) => self.apply_rekeyed(*rekeyed, &mut out),
            Change::AckSent { to, session, frame, again } => {
                self.ack_comes_again(&to, again);
                self.apply_ack_sent(to, session, frame, &mut out);
            }
            Change::Resent { to, now, burst, probe } => self.apply_resent(to, now, burst, probe, &mut out),
            Change::BundleWanted { of, now } => self.apply_bundle_wanted(of, now, &mut out),
            Change::Hello { to, now } => self.apply_hello(to, now, &mut out),
            Change::Expired { entry, code } => self.apply_expired(entry, code, &mut out),
            Change::Failed { to, letter, code } => Self::apply_failed(to, letter, code, Reached::Nowhere, &mut out),
            Change::SessionEnds(id, at) => self.end_old(id, at, &mut out),
            Change::SessionDropped(id) => self.drop_session(id, &mut out),
            Change::Contact { agent, info } => self.apply_contact(agent, info, &mut out),
            Change::Done(no) => self.apply_done(no, &mut out),
            Change::NumberTaken => self.apply_number_taken(&mut out),
            Change::Told(event) => self.apply_call_told(*event, &mut out),
            Change::Permit(change) => self.apply_permit(change, &mut out),
            Change::PrekeysMade(made) => self.prekeys.keep(made, &mut out.ops),
            Change::PrekeysExpired(now) => self.prekeys.expire(now, &mut out.ops),
            Change::Claimed { by, request, bundle, one_time } => {
                one_time.into_iter().for_each(|at| self.prekeys.give(at, &by, &mut out.ops));
                out.effects.push(Effect::Bundle { request, bundle });
            }
            Change::SkippedForgotten(keys) => self.apply_skipped_forgotten(keys, &mut out),
            Change::SeenForgotten(rows) => out.ops.extend(rows.into_iter().map(|key| Op::Delete { key })),
            Change::EventsLogged(up_to) => self.apply_events_logged(up_to, &mut out),
            Change::Recounted { events, begins, now } => self.apply_recounted(events, begins, now, &mut out),
            Change::Heartbeat(now) => self.apply_heartbeat(now, &mut out),
            Change::Retire { retirement, statement, now } => self.apply_retire(&retirement, statement, now, &mut out),
            Change::Decided(decided) => self.apply_decided(decided, &mut out),
            Change::HandedOn { to, statement, about, now } => {
                self.queue_control(to, &Control::Statement(statement), about, now, &mut out);
            }
            Change::TokenOver(entry) => self.apply_token_over(entry, &mut out),
            Change::Retokened { entry, token } => self.apply_retokened(entry, token, &mut out),
            Change::NoticeBy { by, code, session, now } => self.apply_noticed(by, code, session, now, &mut out),
        }
        self.finish(out)
    }

    /// Writes the snapshot of every session and the row of every letter to a channel that moved, once, and sets the timers of every contact that was touched.
    pub(super) fn finish(&mut self, mut out: Out) -> Result<Staged, PeerError> {
        for id in out.sessions.iter() {
            if let Some(session) = self.sessions.get(id) {
                out.ops.push(Op::Put { key: rows::session(id), value: session.to_bytes() });
            }
        }
        for agent in out.contacts.iter() {
            self.touch(agent);
        }
        self.keep_frames(&mut out);
        self.keep_chain(&mut out);
        Ok(Staged { ops: out.ops, effects: Effects(out.effects) })
    }

    /// Brings what is derived from a contact up to date after it changed.
    pub(super) fn touch(&mut self, agent: &AgentId) {
        self.update_ready(agent);
        self.update_untold(agent);
        self.update_renewable(agent);
        self.set_timer(agent);
    }

    pub(super) fn set_timer(&mut self, agent: &AgentId) {
        let Some(contact) = self.contacts.get_mut(agent) else { return };
        let due = contact.due();
        if contact.timer == due {
            return;
        }
        if let Some(old) = contact.timer {
            self.timers.remove(&(old, *agent));
        }
        contact.timer = due;
        if let Some(at) = due {
            self.timers.insert((at, *agent));
        }
    }

    fn apply_skipped_forgotten(&mut self, keys: Vec<(SessionId, Seq)>, out: &mut Out) {
        for (id, seq) in keys {
            let kept = self.sessions.get_mut(&id).and_then(|session| session.skipped.remove(&seq));
            self.skipped_total -= usize::from(kept.is_some());
            out.ops.push(Op::Delete { key: rows::of_session(rows::SKIPPED, &id, seq) });
        }
    }
}

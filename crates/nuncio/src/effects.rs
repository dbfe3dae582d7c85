//! What is done once a commit is durable.

use bytes::Bytes;
use nuncio_contracts::registry::{code, extension};
use nuncio_proto::content_type::ContentType;
use nuncio_proto::control::Control;
use nuncio_proto::ids::{AgentId, LetterId};
use nuncio_proto::letter::{Letter, LetterKind};
use nuncio_proto::rows;
use nuncio_proto::step::{Arrival, Effect, Reached};
use nuncio_proto::time::UnixMillis;
use nuncio_store::{Durable, Engine};

use crate::actor::Actor;
use crate::chunks::{self, PayloadId, Progress};
use crate::command::Reply;
use crate::entropy::{self, now};
use crate::error::Error;
use crate::payloads::{PAYLOAD_OUT, PayloadOut, payload_out, payload_row};
use crate::wake::{Answer, Ticket};

/// Answers a caller that may have gone.
pub(crate) fn tell<T>(reply: Reply<T>, answer: Result<T, Error>) {
    drop(reply.send(answer));
}

impl Actor {
    /// Does the effects of a commit that is durable: nothing else can make a [`Durable`].
    pub(crate) fn publish(&mut self, durable: Durable<Ticket>) {
        let Ticket { effects, answers } = durable.into_inner();
        for Answer(answer) in answers {
            answer();
        }
        for effect in effects.after_commit() {
            self.effect(effect);
        }
    }

    pub(crate) fn effect(&mut self, effect: Effect) {
        match effect {
            Effect::Send { to, frame } => {
                if !self.send_on(to, None, Bytes::from(frame)) {
                    self.dial(to);
                    self.mail(to);
                }
            }
            Effect::Deliver(arrival) => self.deliver(arrival),
            Effect::Delivered { to, letter } => {
                if !self.payloads_out.values().any(|out| out.to == to && out.letter == letter) {
                    self.settle(to, letter, None);
                }
            }
            Effect::PayloadTaken { by, letter } => self.payload_taken(by, letter),
            Effect::Failed { to, letter, code, reached } => self.fail(to, letter, code, reached),
            Effect::WantBundle { of } => self.want_bundle(of),
            Effect::Bundle { request, bundle } => {
                if let Some(answer) = self.bundle_requests.remove(&request) {
                    // Whoever asked may have gone; the prekey is spent all the same.
                    let _ = answer.send(bundle);
                }
            }
            Effect::Established { with, session } => tracing::info!(peer = %with, %session, "session established"),
            Effect::TurnedAway { by, code } => self.turned_away(by, code),
            Effect::WantKey { .. } => self.want_key(),
            Effect::Mailbox { of } => self.mail(of),
            Effect::Whereabouts { of } => self.dial_anew(of),
            Effect::ListedUsed => self.listed_used(),
            Effect::Forgotten { agent } => self.is_stranger_again(agent),
            Effect::Knocked { by, knock } => self.knocked(by, *knock),
            Effect::Channel { channel, news } => {
                self.hurry_channel(&channel);
                self.tell_of_channel(channel, news);
            }
            Effect::TokenExpired { to, letter } => self.token_expired(to, letter),
            Effect::Statement { from, statement } => self.take_statement(Some(from), &statement),
            other => tracing::debug!(?other, "effect of a later version"),
        }
    }

    fn fail(&mut self, to: AgentId, letter: LetterId, code: u16, reached: Reached) {
        self.letters_failed += 1;
        if code == code::CANCELLED {
            tracing::info!(peer = %to, %letter, "a letter was taken back");
        } else {
            tracing::warn!(peer = %to, %letter, reason = Error::NotDelivered(code).to_string(), "a letter failed");
        }
        self.failing.remove(&(to, letter));
        self.drop_payload_out(to, letter);
        self.settle(to, letter, Some(code));
        // contracts/call.md X13.
        let may_be_done = self.may_have_gone(to, letter, reached);
        self.call_failed(to, letter, if may_be_done { code::UNHEARD } else { code });
    }

    fn turned_away(&mut self, by: AgentId, code: u16) {
        let reason = match code {
            code::RETIRED => "its identity is retired",
            code::UNAUDITED => "it has sessions alone that audit, and this agent keeps no audit log",
            _ => crate::links::TURNED_AWAY,
        };
        tracing::warn!(peer = %by, reason, "turned away");
        self.problems.insert(by, reason.to_owned());
        if code == code::RETIRED {
            self.cut_off(by, "retired");
            // contracts/call.md X43.
            self.calls.changes.note();
            self.forget_calls_of(by);
        }
    }

    /// Tells those who wait for a letter how it ended.
    pub(crate) fn settle(&mut self, to: AgentId, letter: LetterId, failed: Option<u16>) {
        self.tallies.settled(&letter);
        for reply in self.deliveries.remove(&(to, letter)).unwrap_or_default() {
            tell(reply, failed.map_or(Ok(()), |code| Err(Error::NotDelivered(code))));
        }
        if let Some(code) = failed
            && let Some(reply) = self.requests.remove(&(to, letter))
        {
            self.peer.await_no_answer(to, letter);
            tell(reply, Err(Error::NotDelivered(code)));
        }
    }

    pub(crate) fn await_no_answer(&mut self, to: AgentId, letter: LetterId) {
        self.requests.remove(&(to, letter));
        self.peer.await_no_answer(to, letter);
    }

    fn deliver(&mut self, arrival: Arrival) {
        let no = arrival.no;
        self.handed_out = Some(no);
        self.arrivals.send_replace(no + 1);
        if self.deliver_call(&arrival) {
            return;
        }
        let (from, answers) = (arrival.from, arrival.letter.reply_to);
        let incoming = self.incoming(arrival);
        self.fetch_payloads(from);
        if let Some(reply) = answers.and_then(|id| self.requests.remove(&(from, id))) {
            return self.hold_answer(incoming, reply);
        }
        self.inboxes.retain(|inbox| inbox.send(incoming.clone()).is_ok());
    }

    /// Letters that are there at the start: payloads that were under way go on.
    pub(crate) fn resume(&mut self) -> Result<(), Error> {
        let store = std::sync::Arc::clone(&self.store);
        let mut arrivals = Vec::new();
        store.scan(&[rows::INBOX], &mut |key, value| {
            arrivals.extend(Arrival::from_row(key, value));
            Ok(())
        })?;
        self.handed_out = arrivals.last().map(|arrival| arrival.no);
        self.arrivals.send_replace(self.handed_out.map_or(0, |no| no + 1));
        for arrival in arrivals {
            self.note_call(&arrival);
            if arrival.letter.extension(extension::LARGE_PAYLOAD).is_some() {
                drop(self.incoming(arrival));
            }
        }
        // Whether their senders were told may have died with the process; it does no harm to say it again.
        let whole = self.payloads_in.iter().filter(|(_, payload)| *payload.progress.borrow() == Progress::Whole);
        let taken: Vec<_> = whole.map(|(named, payload)| (named.from, payload.letter)).collect();
        for (from, letter) in taken {
            self.send_control(from, &Control::PayloadTaken(letter));
        }
        let mut outs = Vec::new();
        store.scan(&[rows::RUNTIME, PAYLOAD_OUT], &mut |key, value| {
            outs.extend(payload_out(key, value));
            Ok(())
        })?;
        // The file goes before its row: a row without file, or of a letter that failed, is what a crash left.
        let gone = |(id, out): &(PayloadId, PayloadOut)| {
            let failed = store.get(&rows::failed(&out.letter)).is_ok_and(|row| row.is_some());
            failed || !chunks::out_path(store.home(), *id).exists()
        };
        let (over, outs): (Vec<_>, Vec<_>) = outs.into_iter().partition(gone);
        if !over.is_empty() {
            let step = self.peer.forget_seen(over.iter().map(|(id, _)| payload_row(*id)).collect());
            self.commit(step);
        }
        self.payloads_out.extend(outs);
        self.payloads_due = UnixMillis(0);
        let home = self.store.home();
        chunks::sweep(home, "out", &self.payloads_out.keys().map(|id| chunks::out_path(home, *id)).collect());
        chunks::sweep(home, "in", &self.payloads_in.keys().map(|named| chunks::in_path(home, *named)).collect());
        Ok(())
    }

    pub(crate) fn send_control(&mut self, to: AgentId, control: &Control) {
        let Ok(random) = entropy::random() else { return };
        let mut letter = Letter::plain(LetterId::new(now(), random), ContentType::CBOR, control.encode());
        letter.kind = LetterKind::Control;
        match self.peer.send(to, &letter, now()) {
            Ok(step) => self.commit(step),
            Err(error) => tracing::warn!(peer = %to, %error, "not told"),
        }
    }
}

/// An answer that is true once the commit is durable.
pub(crate) fn answer<T: Send + 'static>(reply: Reply<T>, value: T) -> Answer {
    Answer(Box::new(move || tell(reply, Ok(value))))
}

//! One stream to a client: of a request, from its saying to its answer, or of what belongs to none.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use bytes::Bytes;
use nuncio::Transaction;
use nuncio_proto::call::What;
use nuncio_proto::ids::LetterId;
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, interval_at};

use super::fault::{self, Fault};
use super::out::{Gone, Out};
use super::reading;
use super::session::{Ending, Phase, Session, Standalone, Ticket};
use super::sse;
use crate::a2a;
use crate::line::{Asks, Heard, HeardWhat, Line, Say};
use crate::message::{Body, Message};

/// How long a request is waited for before its answer becomes a stream that can be resumed.
const PRIME_AFTER: Duration = Duration::from_secs(1);
/// How long a stream says nothing before it shows that it lives.
const PULSE: Duration = Duration::from_secs(15);
/// After how long a client should come again whose stream ended early.
const RETRY_MS: u64 = 1000;

/// What a client's revision of the protocol can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Era {
    /// Sessions; streams that can be resumed. `primes`: an event without a message is understood.
    Sessions {
        /// From 2025-11-25 on.
        primes: bool,
    },
    /// Neither: whoever closes a stream cancels its request.
    Requests,
    /// A2A, which has neither. `streams`: this request is answered with a stream.
    Tasks {
        /// Whether it is.
        streams: bool,
    },
}

/// What a client takes as an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Accepts {
    /// A message alone.
    pub(super) json: bool,
    /// A stream of events.
    pub(super) stream: bool,
}

/// A request and the way to its client.
pub(super) struct Exchange<L> {
    pub(super) session: Arc<Session<L>>,
    pub(super) ticket: Ticket,
    /// The request's id as it was written, where it is known here.
    pub(super) id: Option<String>,
    pub(super) era: Era,
    pub(super) accepts: Accepts,
    pub(super) out: Out,
    pub(super) source: Source,
    /// In which it was asked.
    pub(super) under: Option<Transaction>,
    /// It is answered with a card, whose interfaces' paths stand behind this.
    pub(super) card_base: Option<String>,
    pub(super) answered: bool,
    /// When it came.
    pub(super) begun: Instant,
}

/// Where the messages of a request come from.
pub(super) enum Source {
    /// What the session hands on, behind a number.
    Shared(mpsc::Receiver<Heard>, Option<u64>),
    /// What it hears for itself.
    Own(mpsc::Receiver<Heard>),
}

/// How it went on to its end.
enum End {
    Answered,
    /// Nothing more comes: the session's phase says why.
    Over,
}

impl<L: Line> Exchange<L> {
    /// Says the request, hands over what comes for it, and settles what is kept. One that may only read is asked without saying it first.
    pub(super) async fn ask(mut self, say: Say, asks: Option<Asks>) {
        if let Some(asks) = asks.filter(|_| self.accepts.json) {
            let answer = tokio::select! {
                answer = self.session.line.query(&say, &asks) => answer,
                // It only reads: nothing is to be cancelled.
                () = self.out.gone() => {
                    self.answered = true;
                    return self.settle(Ending::Final).await;
                }
            };
            if let Some(message) = answer {
                self.answered = true;
                let _ = self.answer(0, &message).await;
                return self.settle(Ending::Final).await;
            }
        }
        if let Err(error) = self.session.line.say(say).await {
            self.session.close(self.ticket, Ending::Final, true);
            let _ = self.out.say(Fault::from(error).response(self.id.as_deref())).await;
            return;
        }
        self.go_on().await;
    }

    /// Hands over what comes, and settles what is kept.
    pub(super) async fn go_on(mut self) {
        let end = self.follow().await;
        let kept = self.out.has_stream() && matches!(self.era, Era::Sessions { .. });
        let ending = match end {
            Ok(End::Answered) if kept => Ending::Answered,
            Ok(End::Answered) => Ending::Final,
            Ok(End::Over) => {
                self.over().await;
                Ending::Broken
            }
            Err(Gone) if kept => Ending::Broken,
            Err(Gone) => {
                self.cancel().await;
                Ending::Final
            }
        };
        self.settle(ending).await;
    }

    async fn settle(mut self, ending: Ending) {
        self.source.give_back(&self.session);
        let taken = self.session.close(self.ticket, ending, self.answered);
        self.session.take(taken).await;
    }

    /// Hands the last message on.
    async fn answer(&mut self, no: u64, message: &Message) -> Result<(), Gone> {
        let named = match (&message.body, self.id.as_deref()) {
            (Body::Bytes(bytes), Some(id)) => fault::named(bytes, id),
            _ => None,
        };
        let named = named.map(|bytes| Message { body: Body::Bytes(bytes), ..message.clone() });
        let moved = self.moved(named.as_ref().unwrap_or(message)).await;
        self.last(no, moved.as_ref().or(named.as_ref()).unwrap_or(message)).await
    }

    async fn follow(&mut self) -> Result<End, Gone> {
        let first = if self.era == (Era::Sessions { primes: true }) { PRIME_AFTER } else { PULSE };
        // What was asked without a letter has waited already.
        let first = first.saturating_sub(self.begun.elapsed());
        let mut pulse = if self.out.has_begun() { every(PULSE) } else { interval_at(Instant::now() + first, PULSE) };
        let stopping = self.session.stopping.clone();
        loop {
            tokio::select! {
                biased;
                heard = self.source.next(&self.session, self.ticket) => match heard {
                    Some(heard) if matches!(heard.what, HeardWhat::End) => return Ok(End::Over),
                    Some(heard) => if self.hand(heard).await? {
                        return Ok(End::Answered);
                    },
                    None => return Ok(End::Over),
                },
                () = self.out.gone() => return Err(Gone),
                () = stopping.cancelled() => return Ok(End::Over),
                _ = pulse.tick(), if self.may_begin() => {
                    self.pulse().await?;
                    pulse = every(PULSE);
                },
            }
        }
    }

    /// Whether a stream may begin before there is anything to say.
    const fn may_begin(&self) -> bool {
        match self.era {
            // What asked for one answer is answered with one, however long it takes.
            Era::Tasks { streams } => streams || self.out.has_begun(),
            _ => self.accepts.stream,
        }
    }

    /// Fields of an agent's answer, while the head has not gone.
    // contracts/call.md X36.
    fn fields(&mut self, message: &Message) {
        for name in a2a::FIELDS.into_iter().filter(|_| matches!(self.era, Era::Tasks { .. })) {
            if let Some(value) = message.head.get(name) {
                self.out.set(name, value);
            }
        }
    }

    /// Hands one on. `true`: it was the last.
    async fn hand(&mut self, heard: Heard) -> Result<bool, Gone> {
        let no = heard.no;
        match &heard.what {
            HeardWhat::Part(_, message) => {
                self.had(no).await;
                // A card comes as an answer.
                if self.accepts.stream && self.card_base.is_none() {
                    self.fields(message);
                    self.event(no, &message.body, false).await?;
                }
                Ok(false)
            }
            HeardWhat::Aside(message) => {
                self.had(no).await;
                self.event(no, &message.body, false).await?;
                Ok(false)
            }
            HeardWhat::Answer(_, message) => {
                self.had(no).await;
                self.answered = true;
                self.answer(no, message).await.map(|()| true)
            }
            HeardWhat::Failed { why, note, .. } => {
                self.had(no).await;
                self.answered = true;
                let noted = std::str::from_utf8(note).ok().filter(|note| !note.is_empty());
                let message = Fault::failed(why.as_str()).message(self.id.as_deref().or(noted));
                self.last(no, &Message::json(message)).await.map(|()| true)
            }
            HeardWhat::Unread { why, last, .. } => {
                self.had(no).await;
                if !*last {
                    self.cancel().await;
                }
                self.answered = true;
                let message = Fault::unknown(why).message(self.id.as_deref());
                self.last(no, &Message::json(message)).await.map(|()| true)
            }
            HeardWhat::End => Ok(true),
        }
    }

    /// An answer with a card in it, with addresses of this machine.
    // contracts/call.md X35.
    async fn moved(&mut self, message: &Message) -> Option<Message> {
        let base = self.card_base.as_deref()?;
        let body = match super::agent::moved(message, base).await {
            Ok(moved) => moved?,
            Err(why) => Fault::card(why).message(self.id.as_deref()),
        };
        Some(Message { body: Body::Bytes(body), ..message.clone() })
    }

    async fn had(&mut self, no: u64) {
        self.session.take(self.session.had(self.ticket.request, no)).await;
    }

    async fn last(&mut self, no: u64, message: &Message) -> Result<(), Gone> {
        self.fields(message);
        if matches!((self.era, message.body.len()), (Era::Tasks { .. }, Ok(0))) {
            // contracts/call.md X34.
            return self.out.end().await;
        }
        if self.out.has_begun() || !self.accepts.json {
            return self.event(no, &message.body, true).await;
        }
        self.out.message(self.status(message), message).await
    }

    /// The answer's status: its own, or by its error where the protocol has one for it.
    fn status(&self, message: &Message) -> StatusCode {
        if let Some(status) = message.head.get(":status") {
            return told(status);
        }
        let (Era::Requests, Body::Bytes(bytes)) = (self.era, &message.body) else { return StatusCode::OK };
        match reading::read(bytes.as_ref()).ok().and_then(|reading| reading.error) {
            Some(-32601) => StatusCode::NOT_FOUND,
            Some(-32700 | -32600 | -32602 | -32020 | -32021 | -32022) => StatusCode::BAD_REQUEST,
            _ => StatusCode::OK,
        }
    }

    async fn event(&mut self, no: u64, body: &Body, flushed: bool) -> Result<(), Gone> {
        let id = matches!(self.era, Era::Sessions { .. }).then(|| event_id(self.ticket.request, no));
        self.out.event(id.as_deref(), body, flushed).await
    }

    /// Shows that the stream lives, and begins it where it has not begun: from there on it can be resumed.
    async fn pulse(&mut self) -> Result<(), Gone> {
        if !self.out.has_begun() && self.era == (Era::Sessions { primes: true }) {
            let id = event_id(self.ticket.request, self.source.last().unwrap_or(0));
            return self.out.aside(sse::priming(&id, RETRY_MS)).await;
        }
        self.out.aside(Bytes::from_static(sse::COMMENT)).await
    }

    /// Nobody waits any more for a request without session, which cancels it.
    // contracts/call.md X16.
    async fn cancel(&mut self) {
        let (Era::Requests | Era::Tasks { .. }, false, Some(id)) = (self.era, self.answered, &self.id) else { return };
        let message =
            format!(r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id}}}}}"#);
        let say = Say {
            id: super::letter_id(),
            what: What::Notice,
            session: None,
            reply_to: Some(self.ticket.request),
            message: Message::json(message),
            note: Vec::new(),
            under: self.under.clone(),
        };
        if let Err(error) = self.session.line.say(say).await {
            tracing::debug!(%error, "a request goes on for which nobody waits");
        }
    }

    async fn over(&mut self) {
        if self.out.has_begun() {
            return;
        }
        let fault = match self.session.phase() {
            Phase::Ended => Fault::gone("the session is over: begin a new one"),
            // Its letter is on its way, and goes on at the next start.
            _ => Fault::unknown("the agent stops"),
        };
        let _ = self.out.say(fault.response(self.id.as_deref())).await;
    }
}

impl Source {
    /// The next one. May be given up while it waits.
    pub(super) async fn next<L: Line>(&mut self, session: &Session<L>, ticket: Ticket) -> Option<Heard> {
        loop {
            match self {
                Self::Shared(rx, last) => {
                    if let Some(heard) = rx.recv().await {
                        *last = Some(heard.no).max(*last);
                        return Some(heard);
                    }
                    if !session.is_behind(ticket) {
                        return None;
                    }
                    let own = session.listen(*last).await.ok()?;
                    *self = Self::Own(own);
                }
                Self::Own(rx) => {
                    let heard = rx.recv().await?;
                    let given = matches!(heard.what, HeardWhat::Aside(_)) && session.is_of(ticket.request, heard.no);
                    if given || concerns(&heard, ticket.request) {
                        return Some(heard);
                    }
                }
            }
        }
    }

    const fn last(&self) -> Option<u64> {
        match self {
            Self::Shared(_, last) => *last,
            Self::Own(_) => None,
        }
    }

    /// Asides that were not written go to another stream.
    fn give_back<L: Line>(&mut self, session: &Session<L>) {
        let Self::Shared(rx, _) = self else { return };
        rx.close();
        while let Ok(heard) = rx.try_recv() {
            if matches!(heard.what, HeardWhat::Aside(_)) {
                session.give_back(heard);
            }
        }
    }
}

fn concerns(heard: &Heard, request: LetterId) -> bool {
    match &heard.what {
        HeardWhat::Part(to, _)
        | HeardWhat::Answer(to, _)
        | HeardWhat::Failed { request: to, .. }
        | HeardWhat::Unread { request: to, .. } => *to == request,
        HeardWhat::Aside(_) => false,
        HeardWhat::End => true,
    }
}

/// Where an event stands: `Last-Event-ID` names it.
fn event_id(request: LetterId, no: u64) -> String {
    format!("{request}-{no}")
}

/// What `Last-Event-ID` names: a request, or what belongs to none; and behind which number.
pub(super) fn event(id: &str) -> Option<(Option<LetterId>, u64)> {
    let (stream, no) = id.split_once('-')?;
    let no = no.parse().ok()?;
    if stream == "aside" { Some((None, no)) } else { Some((Some(stream.parse().ok()?), no)) }
}

fn every(period: Duration) -> Interval {
    interval_at(Instant::now() + period, period)
}

/// A session's stand-alone stream: what belongs to no request, behind a number.
pub(super) async fn asides<L: Line>(session: Arc<Session<L>>, after: Option<u64>, primes: bool, mut out: Out) {
    let stream = session.begin_get(after);
    // What waited for it may stand in front of that number.
    match session.listen(None).await {
        Ok(mut rx) => {
            let priming = sse::priming(&format!("aside-{}", after.unwrap_or(0)), RETRY_MS);
            let first = if primes { priming } else { Bytes::from_static(sse::COMMENT) };
            let _ = write_asides(&session, &stream, &mut rx, first, &mut out).await;
        }
        Err(error) => {
            let _ = out.say(Fault::from(error).response(None)).await;
        }
    }
    session.end_get(&stream);
}

async fn write_asides<L: Line>(
    session: &Session<L>,
    stream: &Standalone,
    rx: &mut mpsc::Receiver<Heard>,
    first: Bytes,
    out: &mut Out,
) -> Result<(), Gone> {
    out.aside(first).await?;
    let mut pulse = every(PULSE);
    loop {
        let heard = tokio::select! {
            heard = rx.recv() => heard,
            () = out.gone() => return Err(Gone),
            () = stream.ends.cancelled() => return Ok(()),
            _ = pulse.tick() => {
                out.aside(Bytes::from_static(sse::COMMENT)).await?;
                continue;
            }
        };
        match heard.map(|heard| (heard.no, heard.what)) {
            Some((no, HeardWhat::Aside(message))) if session.is_for(stream, no) => {
                out.event(Some(&format!("aside-{no}")), &message.body, true).await?;
                session.take(session.show(no)).await;
            }
            Some((_, HeardWhat::End)) | None => return Ok(()),
            Some(_) => {}
        }
    }
}

/// The status that a service's agent names, as far as a client may be told it: none that says that no body follows, and none that asks for what this front
/// does not know.
// contracts/call.md X17.
pub(super) fn told(status: &str) -> StatusCode {
    match status.parse::<u16>() {
        Ok(204 | 205 | 304 | 401 | 407) | Err(_) => StatusCode::BAD_GATEWAY,
        Ok(code @ 200..600) => StatusCode::from_u16(code).unwrap_or(StatusCode::BAD_GATEWAY),
        Ok(_) => StatusCode::BAD_GATEWAY,
    }
}

#[cfg(test)]
mod tests {
    use super::told;

    #[test]
    fn a_status_that_would_lead_a_client_astray_is_502() {
        for status in ["200", "202", "301", "404", "500", "599"] {
            assert_eq!(told(status).as_str(), status);
        }
        for status in ["100", "101", "199", "204", "205", "304", "401", "407", "600", "999", "", "x"] {
            assert_eq!(told(status).as_u16(), 502, "{status}");
        }
    }
}

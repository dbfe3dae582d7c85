//! What a handle asks of the actor, and how it is answered.

use std::convert::Infallible;
use std::sync::Arc;

use nuncio_contracts::registry::code;
use nuncio_proto::audit::PairKey;
use nuncio_proto::ids::{AgentId, LetterId};
use nuncio_proto::letter::Letter;
use nuncio_proto::mailbox::Mailbox;
use nuncio_proto::peer::{ContactInfo, Way};
use nuncio_proto::rows;
use nuncio_proto::step::{Arrival, Step};
use nuncio_store::{Engine as _, Op};
use tokio::sync::{mpsc, oneshot, watch};

use crate::actor::Actor;
use crate::answer::HeldAnswer;
use crate::calls::CallCommand;
use crate::channels::Asked;
use crate::chunks::{PayloadId, Unsent};
use crate::effects::{answer, tell};
use crate::entropy::now;
use crate::error::Error;
use crate::kept::Kept;
use crate::knocks::KnockCommand;
use crate::message::Incoming;
use crate::missing::Missing;
use crate::payloads::{PayloadOut, payload_row};
use crate::permits::PermitCommand;
use crate::status::{Gap, PeerInfo, SessionInfo, Status};
use crate::tally;
use crate::wake::{Answer, Wake};
use nuncio_proto::invitation::Invitation;

/// Where the answer goes. A caller that no longer waits is not an error.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, Error>>;

#[derive(Debug)]
pub(crate) enum Command {
    Send {
        to: AgentId,
        letter: Box<Letter>,
        payload: Option<Unsent>,
        reply: Reply<LetterId>,
    },
    UnderWay {
        reply: Reply<Vec<(AgentId, LetterId, Option<Way>)>>,
    },
    Cancel {
        to: AgentId,
        id: LetterId,
        reply: Reply<bool>,
    },
    PayloadSent {
        to: AgentId,
        id: LetterId,
        reply: Reply<Option<(u64, u64)>>,
    },
    PairKey {
        with: AgentId,
        reply: Reply<Option<PairKey>>,
    },
    AwaitDelivery {
        to: AgentId,
        id: LetterId,
        reply: Reply<()>,
    },
    /// `gone` ends when nobody waits for the answer any more.
    Request {
        to: AgentId,
        letter: Box<Letter>,
        payload: Option<Unsent>,
        reply: Reply<HeldAnswer>,
        gone: oneshot::Receiver<Infallible>,
    },
    Subscribe {
        reply: Reply<mpsc::UnboundedReceiver<Incoming>>,
    },
    Letters {
        after: Option<u64>,
        max: usize,
        reply: Reply<Vec<Incoming>>,
    },
    Arrivals {
        reply: Reply<watch::Receiver<u64>>,
    },
    Done {
        no: u64,
        reply: Reply<bool>,
    },
    Invite {
        reply: Reply<Invitation>,
    },
    AddPeer {
        agent: AgentId,
        info: ContactInfo,
        mailbox: Option<Mailbox>,
        reply: Reply<()>,
    },
    RenewMailbox {
        reply: Reply<()>,
    },
    RemovePeer {
        agent: AgentId,
        reply: Reply<bool>,
    },
    Retire {
        statement: Vec<u8>,
        reply: Reply<AgentId>,
    },
    Peers {
        reply: Reply<Vec<PeerInfo>>,
    },
    Sessions {
        reply: Reply<Vec<SessionInfo>>,
    },
    Status {
        reply: Reply<Status>,
    },
    Channel(Asked),
    Call(CallCommand),
    Knock(KnockCommand),
    Permit(PermitCommand),
    Keep {
        rows: Vec<Kept>,
        reply: Reply<()>,
    },
    Missing {
        reply: Reply<mpsc::UnboundedReceiver<Missing>>,
    },
    Shutdown {
        reply: Reply<()>,
    },
}

impl Actor {
    fn cancel(&mut self, to: AgentId, id: LetterId, reply: Reply<bool>) {
        match self.peer.cancel(to, id) {
            Some(step) => self.commit_with(step, vec![answer(reply, true)]),
            // Its peer has the letter, and not its large payload.
            None if self.payload_sent(to, id).is_some() => {
                let step = self.peer.fail(to, id, code::CANCELLED);
                self.commit_with(step, vec![answer(reply, true)]);
            }
            None => tell(reply, Ok(false)),
        }
    }

    /// Letters that have not arrived, and by which way each has left. Of a letter in the outbox that is known: it stands last.
    fn under_way(&self) -> Vec<(AgentId, LetterId, Option<Way>)> {
        let payloads = self.payloads_out.values().map(|out| (out.to, out.letter, None));
        let failing = self.failing.iter().map(|(to, id)| (*to, *id, None));
        let letters = self.peer.ways().chain(self.peer.group_ways());
        let letters = letters.map(|(to, id, way)| (to, id, Some(self.way(&to, way))));
        payloads.chain(failing).chain(letters).collect()
    }

    /// An answer is awaited until it has come, or nobody waits for it any more.
    fn await_answer(
        &mut self,
        to: AgentId,
        letter: LetterId,
        reply: Reply<HeldAnswer>,
        gone: oneshot::Receiver<Infallible>,
    ) {
        self.requests.insert((to, letter), reply);
        self.peer.await_answer(to, letter);
        let urgent = self.tasks.urgent.clone();
        tokio::spawn(async move {
            // It never says anything: it ends.
            let _ = gone.await;
            // An actor that has stopped awaits nothing.
            let _ = urgent.send(Wake::AnswerUnwanted { to, letter });
        });
    }

    pub(crate) fn command(&mut self, command: Command) {
        match command {
            Command::Send { to, letter, payload, reply } => {
                let id = letter.id;
                self.hurry(to);
                match self.accept(to, &letter, payload) {
                    Ok((step, rows)) => self.commit_rows(step, rows, vec![answer(reply, id)]),
                    Err(error) => tell(reply, Err(error)),
                }
            }
            Command::Request { to, letter, payload, reply, gone } => match self.accept(to, &letter, payload) {
                Ok((step, rows)) => {
                    self.hurry(to);
                    self.await_answer(to, letter.id, reply, gone);
                    self.commit_rows(step, rows, Vec::new());
                }
                Err(error) => tell(reply, Err(error)),
            },
            Command::Cancel { to, id, reply } => self.cancel(to, id, reply),
            Command::UnderWay { reply } => tell(reply, Ok(self.under_way())),
            Command::PayloadSent { to, id, reply } => {
                let sent = self.payload_sent(to, id);
                tell(reply, Ok(sent));
            }
            Command::PairKey { with, reply } => {
                let pair = self.peer.pair_key(&with);
                tell(reply, Ok(pair));
            }
            Command::AwaitDelivery { to, id, reply } => self.await_delivery(to, id, reply),
            Command::Subscribe { reply } => {
                let inbox = self.subscribe();
                tell(reply, inbox);
            }
            Command::Letters { after, max, reply } => {
                let letters = self.letters(after, max);
                tell(reply, letters);
            }
            Command::Arrivals { reply } => tell(reply, Ok(self.arrivals.subscribe())),
            Command::Done { no, reply } => self.done(no, reply),
            Command::Invite { reply } => {
                let invitation = self.invitation();
                tell(reply, invitation);
            }
            Command::AddPeer { agent, info, mailbox, reply } => self.add_peer(agent, info, mailbox, reply),
            Command::RenewMailbox { reply } => self.renew_mailbox(reply),
            Command::RemovePeer { agent, reply } => self.remove_peer(agent, reply),
            Command::Retire { statement, reply } => match self.peer.retire(statement, now()) {
                Ok((agent, step)) => self.commit_with(step, vec![answer(reply, agent)]),
                Err(error) => tell(reply, Err(error.into())),
            },
            Command::Peers { reply } => tell(reply, Ok(self.peer_infos())),
            Command::Sessions { reply } => tell(reply, Ok(self.session_infos())),
            Command::Status { reply } => tell(reply, Ok(self.status())),
            Command::Missing { reply } => {
                let news = self.watch_missing();
                tell(reply, Ok(news));
            }
            Command::Keep { rows, reply } => self.keep(rows, reply),
            Command::Channel(ask) => self.channel_command(ask),
            Command::Call(ask) => self.call_command(ask),
            Command::Knock(ask) => self.knock_command(ask),
            Command::Permit(ask) => self.permit_command(ask),
            Command::Shutdown { reply } => self.stop_with(reply),
        }
    }

    /// The step that accepts a letter, with the row that remembers its large payload.
    pub(crate) fn accept(
        &mut self,
        to: AgentId,
        letter: &Letter,
        payload: Option<Unsent>,
    ) -> Result<(Step, Vec<Op>), Error> {
        let step = self.peer.send(to, letter, now())?;
        let Some(payload) = payload else { return Ok((step, Vec::new())) };
        let id = PayloadId(payload.handle().id);
        payload.keep();
        let expires = letter.expires();
        let value = [to.as_bytes().as_slice(), letter.id.as_bytes(), &expires.0.to_be_bytes()].concat();
        self.payloads_out.insert(id, PayloadOut { to, letter: letter.id, expires, sent: Arc::default() });
        self.payloads_due = self.payloads_due.min(expires.plus(1));
        Ok((step, vec![Op::Put { key: payload_row(id), value }]))
    }

    fn await_delivery(&mut self, to: AgentId, id: LetterId, reply: Reply<()>) {
        let payload = self.payloads_out.values().any(|out| out.to == to && out.letter == id);
        if payload
            || self.peer.is_under_way(to, id)
            || self.failing.contains(&(to, id))
            || self.waits_in_channel(to, id)
        {
            self.deliveries.entry((to, id)).or_default().push(reply);
            return;
        }
        let failed = self.failed(to, id);
        tell(reply, failed.and_then(|code| code.map_or(Ok(()), |code| Err(Error::NotDelivered(code)))));
    }

    /// Why a letter that is not under way was not delivered; `None` where nothing says so.
    pub(crate) fn failed(&self, to: AgentId, id: LetterId) -> Result<Option<u16>, Error> {
        // A letter to a channel is one for each member, and its row is the last one's.
        if let Some(code) = tally::failed_code(&self.store, &to, &id)? {
            return Ok(Some(code));
        }
        let row = self.store.get(&rows::failed(&id))?;
        let failed = row.map(|row| nuncio_proto::peer::failed_letter(&row));
        Ok(failed.and_then(|failed| failed.map_or(Some(0), |(agent, code)| (agent == to).then_some(code))))
    }

    fn subscribe(&mut self) -> Result<mpsc::UnboundedReceiver<Incoming>, Error> {
        let (sender, receiver) = mpsc::unbounded_channel();
        for incoming in self.letters(None, usize::MAX)? {
            // The receiver is in our hands.
            let _ = sender.send(incoming);
        }
        self.inboxes.push(sender);
        Ok(receiver)
    }

    /// Letters that are in the inbox and were handed out, after a number.
    pub(crate) fn letters(&mut self, after: Option<u64>, max: usize) -> Result<Vec<Incoming>, Error> {
        let Some(last) = self.handed_out else { return Ok(Vec::new()) };
        let handed_out = self.peer.inbox_numbers(after).take_while(|no| *no <= last);
        let numbers: Vec<u64> =
            handed_out.filter(|no| !self.held.contains(no) && !self.calls.has(*no)).take(max).collect();
        let mut letters = Vec::with_capacity(numbers.len());
        for no in numbers {
            let key = rows::inbox(no);
            if let Some(arrival) = self.store.get(&key)?.and_then(|row| Arrival::from_row(&key, &row)) {
                letters.push(self.incoming(arrival));
            }
        }
        Ok(letters)
    }

    fn done(&mut self, no: u64, reply: Reply<bool>) {
        if self.peer.done(no).is_none() {
            return tell(reply, Ok(false));
        }
        self.remove(no, vec![answer(reply, true)]);
    }

    /// Removes a letter from the inbox, and then its large payload, on disk or on its way.
    fn remove(&mut self, no: u64, answers: Vec<Answer>) {
        if let Some(step) = self.peer.done(no) {
            self.remove_payload(no, step, answers);
        }
    }

    pub(crate) fn invitation(&self) -> Result<Invitation, Error> {
        let endpoints = self.endpoints();
        let bundle = self.peer.bundle(&endpoints, now())?;
        let hash = nuncio_proto::bundle::Bundle::invitation_hash(&bundle).ok();
        Ok(Invitation {
            agent: self.peer.id(),
            endpoints,
            mailbox: self.peer.mailbox().cloned(),
            bundle_hash: hash,
            knock: None,
        })
    }

    fn session_infos(&self) -> Vec<SessionInfo> {
        let info = |(session, current): (&nuncio_proto::session::Session, bool)| SessionInfo {
            id: session.id(),
            with: session.peer(),
            current,
            confirmed: session.is_confirmed(),
            sealed: session.sealed_count(),
            received: session.next_expected(),
            under_way: session.under_way(),
            gap: session.gap().map(|gap| Gap { seq: gap.seq, since: gap.since }),
        };
        self.peer.sessions().map(info).collect()
    }

    /// Letters that are not delivered, to agents that are asked for; one whose large payload alone is not among them.
    pub(crate) fn on_their_way(&self, to: impl Fn(&AgentId) -> bool) -> usize {
        let sealed_once = self.peer.group_ways().filter(|(agent, ..)| to(agent)).count();
        let letters = self.peer.outbox().filter(|(agent, ..)| to(agent)).count() + sealed_once;
        let payloads = self.payloads_out.values().filter(|out| to(&out.to));
        letters + payloads.filter(|out| !self.peer.is_under_way(out.to, out.letter)).count()
    }

    fn status(&self) -> Status {
        Status {
            agent: self.peer.id(),
            retired: self.peer.is_retired(),
            listening: self.config.listen.and_then(|_| self.link.local_addr().ok()).map(|addr| addr.to_string()),
            inbox: self.peer.inbox_len().saturating_sub(self.calls.len()),
            outbox: self.on_their_way(|_| true),
            letters_failed: self.letters_failed,
            events_waiting: self.peer.events_waiting(),
            events_wait: self.events_wait.clone(),
            peers: self.peer.contacts().count(),
            sessions: self.peer.sessions().count(),
            connections: self.links.values().map(Vec::len).sum(),
            one_time_prekeys: self.peer.one_time_left(),
            mailbox: self.mailbox_status(),
            gaps: self.peer.gaps(now()).count(),
            counters: self.peer.counters(),
            refused: self.refused.iter().map(|(name, count)| (*name, *count)).collect(),
            commits: self.writer_stats(),
            frames_sent: self.wire.frames_sent,
            frame_bytes_sent: self.wire.frame_bytes_sent,
            frames_received: self.wire.frames_received,
            frame_bytes_received: self.wire.frame_bytes_received,
        }
    }
}

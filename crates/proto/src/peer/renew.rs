//! Re-keys and retirements: what two runtimes settle between them inside a session (contracts/handshake.md section 6).
//!
//! ```text
//!   leader (lower DID)                       follower
//!   Offered ── offer ──────────────────────► Asked
//!                                            Answered: new session, a candidate
//!   new session, a candidate ◄── answer ───
//!            └── ack of the answer ────────► the new session is current
//!   its ratchet turns, confirmed ◄─ hello ──
//!   the new session is current ── ack ─────► confirmed
//! ```

use nuncio_contracts::registry::{code, limit, time};
use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};

use super::{Change, Out, Peer};
use crate::codec;
use crate::control::Control;
use crate::crypto::{KEM_CIPHERTEXT_LEN, KEM_PUBLIC_LEN, KemSeed};
use crate::handshake::rekey::{self, Offer};
use crate::identity::Retirement;
use crate::ids::{AgentId, LetterId, SessionId};
use crate::letter::Letter;
use crate::rows;
use crate::secret::Key;
use crate::session::{Parties, Place, Session};
use crate::step::{Op, Step};
use crate::time::UnixMillis;

/// Where a re-key inside a session stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Renewal {
    /// The leader waits for the answer, and asks again at a time.
    Offered(Offer, UnixMillis),
    /// The leader has the answer.
    Complete(Offer, Vec<u8>),
    /// The follower has the offer.
    Asked(Vec<u8>),
    /// The follower waits until the outbox entry with its answer is acknowledged, then the new session is current.
    Answered(u64, SessionId),
}

#[derive(Serialize, Deserialize)]
struct Row(u8, u8, Option<(ByteArray<32>, ByteArray<64>)>, ByteBuf, u64, Option<ByteArray<32>>);

/// One step of a re-key.
#[derive(Debug)]
pub(crate) struct Rekeyed {
    session: SessionId,
    now: UnixMillis,
    what: What,
}

#[derive(Debug)]
enum What {
    Offer(Offer),
    OfferAgain,
    Answer(Vec<u8>, Box<Session>),
    Complete(Box<Session>),
    /// The peer's half is no such half: the re-key is over, the session goes on.
    Abandon,
}

impl Peer {
    fn leads(&self, session: &Session) -> bool {
        self.id() < session.peer()
    }

    pub(super) fn next_renewal<R: CryptoRng + ?Sized>(&self, now: UnixMillis, rng: &mut R) -> Option<Step> {
        if let Some((id, renewal)) =
            self.renewals.iter().find(|(_, renewal)| matches!(renewal, Renewal::Asked(_) | Renewal::Complete(..)))
        {
            let session = self.sessions.get(id)?;
            let what = self.answer(session, renewal, now, rng).unwrap_or(What::Abandon);
            return Some(self.step(Change::Rekeyed(Box::new(Rekeyed { session: *id, now, what }))));
        }
        let has_come = |(at, _): &&(UnixMillis, SessionId)| at.has_come(now, time::REKEY_PATIENCE);
        // The latest, too: it is set for later than any may be where the clock was put back.
        if let Some((_, id)) = self.offered.first().filter(has_come).or_else(|| self.offered.last().filter(has_come)) {
            return Some(self.step(Change::Rekeyed(Box::new(Rekeyed { session: *id, now, what: What::OfferAgain }))));
        }
        let id = *self.renewable.first()?;
        let what = What::Offer(Offer::generate(rng));
        Some(self.step(Change::Rekeyed(Box::new(Rekeyed { session: id, now, what }))))
    }

    fn answer<R: CryptoRng + ?Sized>(
        &self,
        session: &Session,
        renewal: &Renewal,
        now: UnixMillis,
        rng: &mut R,
    ) -> Option<What> {
        let (me, peer) = (self.id(), session.peer());
        match renewal {
            Renewal::Asked(offer) => {
                let (answer, secrets) = rekey::answer(&session.exporter, [&peer, &me], offer, rng).ok()?;
                let parties = Parties { initiator: me, responder: peer, initiated: true };
                let prekey = offer.first_chunk::<32>()?;
                let mut new = Session::initiate(secrets, parties, session.parameters, prekey, None, now, rng).ok()?;
                new.place = Place::Candidate;
                Some(What::Answer(answer, Box::new(new)))
            }
            Renewal::Complete(offer, answer) => {
                let secrets = offer.complete(&session.exporter, [&me, &peer], answer).ok()?;
                let parties = Parties { initiator: peer, responder: me, initiated: false };
                let mut new = Session::respond(secrets, parties, session.parameters, &offer.agreement, now);
                new.place = Place::Candidate;
                Some(What::Complete(Box::new(new)))
            }
            Renewal::Offered(..) | Renewal::Answered(..) => None,
        }
    }

    pub(super) fn apply_rekeyed(&mut self, rekeyed: Rekeyed, out: &mut Out) {
        let Rekeyed { session: id, now, what } = rekeyed;
        self.renewable.remove(&id);
        let Some(with) = self.sessions.get(&id).map(Session::peer) else { return };
        out.contacts.insert(with);
        let about = LetterId::new(now, *id.as_bytes().first_chunk().unwrap_or(&[0; 10]));
        match what {
            What::Offer(offer) => {
                self.queue_control(with, &Control::RekeyOffer(offer.public()), about, now, out);
                self.keep_renewal(id, Renewal::Offered(offer, now.plus(time::REKEY_PATIENCE)), out);
            }
            What::OfferAgain => {
                let Some(Renewal::Offered(offer, _)) = self.renewals.get(&id).cloned() else { return };
                // contracts/handshake.md H18: one letter carries it, and goes again by itself until it is acknowledged.
                if !self.outbox.iter().any(|(no, entry)| entry.to == with && self.is_renewal(*no)) {
                    self.queue_control(with, &Control::RekeyOffer(offer.public()), about, now, out);
                }
                self.keep_renewal(id, Renewal::Offered(offer, now.plus(time::REKEY_PATIENCE)), out);
            }
            What::Answer(answer, new) => {
                let entry = self.next_entry;
                self.queue_control(with, &Control::RekeyAnswer(answer), about, now, out);
                self.keep_renewal(id, Renewal::Answered(entry, new.id), out);
                self.add_candidate(*new, with, now, out);
            }
            What::Complete(new) => {
                self.end_renewal(id, out);
                self.add_candidate(*new, with, now, out);
            }
            What::Abandon => self.end_renewal(id, out),
        }
    }

    fn add_candidate(&mut self, new: Session, with: AgentId, now: UnixMillis, out: &mut Out) {
        if let Some(other) = self.contacts.get(&with).and_then(|contact| contact.candidate) {
            self.make_old(other, now, out);
        }
        out.sessions.insert(new.id);
        self.insert_session(new);
    }

    /// The follower's answer has arrived at the leader, who has the new session now.
    pub(super) fn answer_is_acked(&mut self, id: SessionId, with: AgentId, entry: u64, now: UnixMillis, out: &mut Out) {
        let Some(Renewal::Answered(answer, new)) = self.renewals.get(&id) else { return };
        let (answer, new) = (*answer, *new);
        if answer != entry {
            return;
        }
        self.end_renewal(id, out);
        // contracts/handshake.md H12: what was replaced meanwhile never becomes current.
        if self.sessions.get(&new).is_some_and(|session| session.place == Place::Candidate) {
            self.counters.rekeys += 1;
            self.promote(new, with, now, out);
            let about = LetterId::new(now, *new.as_bytes().first_chunk().unwrap_or(&[0; 10]));
            self.queue_control(with, &Control::Hello, about, now, out);
        }
    }

    pub(super) fn take_offer(&mut self, id: SessionId, from: AgentId, offer: Vec<u8>, out: &mut Out) {
        // Only the leader offers, one at a time, in the session that is current. What is no offer is not kept: its row might not load.
        let current = self.contacts.get(&from).and_then(|contact| contact.current) == Some(id);
        if offer.len() == 32 + KEM_PUBLIC_LEN && current && from < self.id() && !self.renewals.contains_key(&id) {
            self.keep_renewal(id, Renewal::Asked(offer), out);
        }
    }

    pub(super) fn take_answer(&mut self, id: SessionId, answer: Vec<u8>, out: &mut Out) {
        if let Some(Renewal::Offered(offer, _)) =
            self.renewals.get(&id).filter(|_| answer.len() == 32 + KEM_CIPHERTEXT_LEN)
        {
            let complete = Renewal::Complete(offer.clone(), answer);
            self.counters.rekeys += 1;
            self.keep_renewal(id, complete, out);
        }
    }

    pub(super) fn take_retirement(&mut self, from: AgentId, statement: &[u8], out: &mut Out) {
        if Retirement::parse(statement).is_ok_and(|retirement| retirement.agent == from) {
            self.apply_retired(from, out);
        }
    }

    pub(super) fn apply_retire(&mut self, retirement: &Retirement, statement: Vec<u8>, now: UnixMillis, out: &mut Out) {
        if retirement.agent != self.id() {
            self.apply_retired(retirement.agent, out);
            return;
        }
        // contracts/identity.md I16: from now on letters are refused by whoever has heard of it.
        self.retired = true;
        out.ops.push(Op::Put { key: rows::retired(), value: statement.clone() });
        let letters: Vec<u64> = self.outbox.iter().filter(|(_, entry)| !entry.control).map(|(no, _)| *no).collect();
        letters.into_iter().for_each(|no| self.apply_expired(no, code::RETIRED, out));
        let contacts: Vec<AgentId> = self.contacts.keys().copied().collect();
        for agent in contacts {
            let about = LetterId::new(now, *agent.as_bytes().first_chunk().unwrap_or(&[0; 10]));
            self.queue_control(agent, &Control::Retired(statement.clone()), about, now, out);
        }
    }

    /// Lists a session that has lived or carried enough for a re-key, when we lead.
    pub(super) fn update_renewable(&mut self, agent: &AgentId) {
        let Some(session) = self.current(agent) else { return };
        let id = session.id;
        let carried = session.next_seq.saturating_add(session.window.next());
        let due = session.confirmed && self.leads(session) && (carried >= limit::REKEY_LETTERS || session.aged);
        if due
            && !self.renewals.contains_key(&id)
            && self.contacts.get(agent).is_some_and(|contact| contact.candidate.is_none())
        {
            self.renewable.insert(id);
        }
    }

    fn keep_renewal(&mut self, id: SessionId, renewal: Renewal, out: &mut Out) {
        out.ops.push(Op::Put { key: rows::renewal(&id), value: renewal.to_row() });
        self.insert_renewal(id, renewal);
    }

    pub(super) fn insert_renewal(&mut self, id: SessionId, renewal: Renewal) {
        self.remove_renewal(id);
        if let Renewal::Offered(_, again) = &renewal {
            self.offered.insert((*again, id));
        }
        self.renewals.insert(id, renewal);
    }

    fn remove_renewal(&mut self, id: SessionId) -> Option<Renewal> {
        let renewal = self.renewals.remove(&id)?;
        if let Renewal::Offered(_, again) = &renewal {
            self.offered.remove(&(*again, id));
        }
        Some(renewal)
    }

    pub(super) fn end_renewal(&mut self, id: SessionId, out: &mut Out) {
        self.renewable.remove(&id);
        if self.remove_renewal(id).is_some() {
            out.ops.push(Op::Delete { key: rows::renewal(&id) });
        }
    }

    /// Whether an outbox entry is one half of a re-key, which means nothing in another session.
    pub(super) fn is_renewal(&self, entry: u64) -> bool {
        let letter = self.outbox.get(&entry).filter(|entry| entry.control).map(|entry| Letter::decode(&entry.letter));
        let control = letter.and_then(Result::ok).and_then(|letter| Control::decode(&letter.payload));
        matches!(control, Some(Control::RekeyOffer(_) | Control::RekeyAnswer(_)))
    }

    /// A control letter was refused or given up: a re-key that waited for it is over, the session goes on.
    pub(super) fn renewal_failed(&mut self, with: &AgentId, out: &mut Out) {
        let current = self.contacts.get(with).and_then(|contact| contact.current);
        let waits =
            |id: &SessionId| matches!(self.renewals.get(id), Some(Renewal::Offered(..) | Renewal::Answered(..)));
        if let Some(id) = current.filter(waits) {
            self.end_renewal(id, out);
        }
    }
}

impl Renewal {
    fn to_row(&self) -> Vec<u8> {
        let secrets =
            |offer: &Offer| Some((ByteArray::new(*offer.agreement.expose()), ByteArray::new(*offer.kem.expose())));
        codec::encode(&match self {
            Self::Offered(offer, again) => Row(1, 0, secrets(offer), ByteBuf::new(), again.0, None),
            Self::Complete(offer, answer) => Row(1, 1, secrets(offer), ByteBuf::from(answer.as_slice()), 0, None),
            Self::Asked(offer) => Row(1, 2, None, ByteBuf::from(offer.as_slice()), 0, None),
            Self::Answered(entry, new) => {
                Row(1, 3, None, ByteBuf::new(), *entry, Some(ByteArray::new(*new.as_bytes())))
            }
        })
    }

    pub(super) fn from_row(row: &[u8]) -> Option<Self> {
        let Row(_, what, secrets, bytes, number, new) = codec::decode(row, 8_192).ok()?;
        let offer = secrets.map(|(agreement, kem)| Offer {
            agreement: Key::new(agreement.into_array()),
            kem: KemSeed::new(kem.into_array()),
        });
        match (what, offer, new) {
            (0, Some(offer), None) => Some(Self::Offered(offer, UnixMillis(number))),
            (1, Some(offer), None) => Some(Self::Complete(offer, bytes.into_vec())),
            (2, None, None) => Some(Self::Asked(bytes.into_vec())),
            (3, None, Some(new)) => Some(Self::Answered(number, SessionId::from_bytes(new.into_array()))),
            _ => None,
        }
    }
}

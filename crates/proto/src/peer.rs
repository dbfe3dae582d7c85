//! One agent: all its sessions, prekeys, outbox and inbox, as a pure state machine.
//!
//! ```text
//!   check, authenticate   receive · send · begin · claim · next · …     &self → Step          nothing has moved
//!   move memory           stage                                         &mut self → Staged    effects are locked
//!   commit                the caller's store                            ops durable
//!   publish               the caller's network and application          effects, in order
//! ```
//!
//! It knows no clock, randomness, socket or disk: all of them are arguments. A step is made from one generation of the state and can be staged
//! only on that generation.

use std::collections::{BTreeMap, BTreeSet};

use nuncio_contracts::registry::{extension, limit, time};
use rand_core::CryptoRng;

use crate::audit::AUDITED_LEN_MAX;
use crate::bundle::Bundle;
use crate::contact::Contact;
pub use crate::contact::ContactInfo;
use crate::error::PeerError;
use crate::handshake;
use crate::identity::{Identity, Retirement};
use crate::ids::{AgentId, LetterId, SessionId, Tag};
use crate::letter::{Letter, LetterError, LetterKind};
use crate::outbox::Entry;
use crate::prekeys::Prekeys;
use crate::rows;
use crate::session::{Parties, Place, Session};
use crate::step::{Effects, Op, Staged, Step};
use crate::time::UnixMillis;

mod audit;
mod calls;
mod change;
mod channels;
mod contacts;
mod counters;
mod inbound;
mod inbox;
mod judge;
mod load;
mod mailbox;
mod out;
mod outbound;
mod permits;
mod places;
mod queries;
mod renew;
mod tokens;

pub(crate) use audit::AUDITS;
use audit::Auditor;
pub use audit::{AuditPolicy, Auditing, PeerNames, WhenFull};
use calls::Calls;
pub(crate) use change::Change;
pub(crate) use channels::ChannelChange;
use channels::Channels;
pub use channels::{ChannelError, ChannelGap, ChannelNews, Invited, Mistake, SharedMail};
pub use counters::Counters;
pub use inbound::Seen;
pub use load::Record;
use mailbox::Own;
pub use mailbox::{Mail, Mailed, Way};
use out::Out;
pub use outbound::failed_letter;
pub use permits::PermitError;
use renew::Renewal;
use tokens::Tokens;

/// One agent.
#[derive(Debug)]
pub struct Peer {
    identity: Identity,
    prekeys: Prekeys,
    contacts: BTreeMap<AgentId, Contact>,
    sessions: BTreeMap<SessionId, Session>,
    tags: BTreeMap<Tag, SessionId>,
    skipped_total: usize,
    outbox: BTreeMap<u64, Entry>,
    outbox_bytes: usize,
    /// Entries of this runtime's own.
    outbox_controls: usize,
    /// Outbox entries by the letter they carry.
    letters: BTreeMap<(AgentId, LetterId), u64>,
    next_entry: u64,
    expiries: BTreeSet<(UnixMillis, u64)>,
    inbox: BTreeMap<u64, usize>,
    inbox_bytes: usize,
    next_arrival: u64,
    /// Re-keys under way, by the session that they replace.
    renewals: BTreeMap<SessionId, Renewal>,
    /// When offers are made again that were not answered.
    offered: BTreeSet<(UnixMillis, SessionId)>,
    /// Sessions that are due for a re-key.
    renewable: BTreeSet<SessionId>,
    timers: BTreeSet<(UnixMillis, AgentId)>,
    /// Contacts with drafts that may be sealable.
    ready: BTreeSet<AgentId>,
    /// Contacts whose letters wait behind a window full of numbers that were given up.
    stuck: BTreeSet<AgentId>,
    ack_pending: BTreeSet<AgentId>,
    /// When sessions end that are not current.
    old_until: BTreeSet<(UnixMillis, SessionId)>,
    tokens: Tokens,
    audit: Auditor,
    mailbox: Option<Own>,
    channels: Channels,
    calls: Calls,
    /// The mailbox's node has its secret.
    mailbox_open: bool,
    /// Contacts that are to be told of our mailbox.
    untold: BTreeSet<AgentId>,
    accept_strangers: bool,
    hears_knocks: bool,
    /// Our own identity is over.
    retired: bool,
    generation: u64,
    counters: Counters,
}

impl Peer {
    /// A new agent: its state, and the commit that makes it lasting.
    pub fn create<R: CryptoRng + ?Sized>(identity: Identity, now: UnixMillis, rng: &mut R) -> (Self, Staged) {
        let mut peer = Self::empty(identity);
        let mut staged = Staged { ops: Vec::new(), effects: Effects::default() };
        staged.ops.push(Op::Put { key: rows::identity(), value: peer.identity.to_bytes() });
        let signed = peer.prekeys.make_signed(&peer.identity, now, rng);
        peer.prekeys.keep(signed, &mut staged.ops);
        let batch = peer.prekeys.make_batch(&peer.identity, now, rng);
        peer.prekeys.keep(batch, &mut staged.ops);
        (peer, staged)
    }

    fn empty(identity: Identity) -> Self {
        Self {
            identity,
            prekeys: Prekeys::default(),
            contacts: BTreeMap::new(),
            sessions: BTreeMap::new(),
            tags: BTreeMap::new(),
            skipped_total: 0,
            outbox: BTreeMap::new(),
            outbox_bytes: 0,
            outbox_controls: 0,
            letters: BTreeMap::new(),
            next_entry: 0,
            expiries: BTreeSet::new(),
            inbox: BTreeMap::new(),
            inbox_bytes: 0,
            next_arrival: 0,
            renewals: BTreeMap::new(),
            offered: BTreeSet::new(),
            renewable: BTreeSet::new(),
            timers: BTreeSet::new(),
            ready: BTreeSet::new(),
            stuck: BTreeSet::new(),
            ack_pending: BTreeSet::new(),
            old_until: BTreeSet::new(),
            tokens: Tokens::default(),
            audit: Auditor::default(),
            mailbox: None,
            channels: Channels::default(),
            calls: Calls::default(),
            mailbox_open: false,
            untold: BTreeSet::new(),
            accept_strangers: false,
            hears_knocks: false,
            retired: false,
            generation: 0,
            counters: Counters::default(),
        }
    }

    /// Who this is.
    #[must_use]
    pub const fn id(&self) -> AgentId {
        self.identity.id()
    }

    /// The private half, for the transport's own handshake.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// What happened since the start.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Whether first letters of agents that were not added are taken. Off unless said in words.
    pub const fn accept_strangers(&mut self, yes: bool) {
        self.accept_strangers = yes;
    }

    /// What was said of another agent.
    #[must_use]
    pub fn contact(&self, agent: &AgentId) -> Option<&ContactInfo> {
        self.contacts.get(agent).map(|contact| &contact.info)
    }

    /// All agents known.
    pub fn contacts(&self) -> impl Iterator<Item = (AgentId, &ContactInfo)> {
        self.contacts.iter().map(|(agent, contact)| (*agent, &contact.info))
    }

    /// All sessions, with whether letters are sealed in each.
    pub fn sessions(&self) -> impl Iterator<Item = (&Session, bool)> {
        self.sessions.values().map(|session| (session, session.place == Place::Current))
    }

    /// Letters on their way: peer, letter, whether it is sealed.
    pub fn outbox(&self) -> impl Iterator<Item = (AgentId, LetterId, bool)> {
        self.outbox.values().filter(|entry| !entry.control).map(|entry| (entry.to, entry.id, entry.sealed.is_some()))
    }

    /// Whether letters wait for a session with this agent.
    #[must_use]
    pub fn wants_session(&self, agent: &AgentId) -> bool {
        self.contacts.get(agent).is_some_and(|contact| contact.current.is_none() && !contact.drafts.is_empty())
    }

    /// Whether this agent's own identity is over.
    #[must_use]
    pub const fn is_retired(&self) -> bool {
        self.retired
    }

    /// Letters in the inbox.
    #[must_use]
    pub fn inbox_len(&self) -> usize {
        self.inbox.len()
    }

    /// One-time prekeys that were not given away.
    #[must_use]
    pub fn one_time_left(&self) -> usize {
        self.prekeys.left()
    }

    fn step(&self, change: Change) -> Step {
        Step { generation: self.generation, change }
    }

    /// Accepts a letter for a known agent: from here on it is delivered once, or its sender is told why not.
    pub fn send(&self, to: AgentId, letter: &Letter, now: UnixMillis) -> Result<Step, PeerError> {
        let contact = self.contacts.get(&to).ok_or(PeerError::UnknownAgent(to))?;
        if contact.info.retired {
            return Err(PeerError::Retired(to));
        }
        if self.retired && letter.kind == LetterKind::Plain {
            return Err(PeerError::RetiredHere);
        }
        if letter.payload.len() > limit::PAYLOAD_INLINE_MAX {
            return Err(PeerError::TooLarge);
        }
        letter.check_time(now).map_err(PeerError::Letter)?;
        let entry = Entry::draft(to, letter);
        if letter.extension(extension::TOKEN).is_some() && entry.token.is_none() {
            return Err(PeerError::Letter(LetterError::Malformed));
        }
        Letter::decode(&entry.letter).map_err(|(_, error)| PeerError::Letter(error))?;
        if letter.extension(extension::AUDIT).is_some() {
            return Err(PeerError::Letter(LetterError::Malformed));
        }
        let proof = if letter.wants_proof() { limit::HOP_PROOF_LEN_MAX } else { 0 };
        if entry.letter.len() + proof + AUDITED_LEN_MAX > limit::LETTER_LEN_MAX {
            return Err(PeerError::TooLarge);
        }
        let full = self.outbox.len() - self.outbox_controls >= limit::OUTBOX_LETTERS_MAX
            || self.outbox_bytes + entry.letter.len() > limit::OUTBOX_BYTES_MAX;
        if full && letter.kind == LetterKind::Plain {
            return Err(PeerError::OutboxFull);
        }
        if entry.call {
            self.check_calls_out(&to)?;
        }
        Ok(self.step(Change::Queued(Box::new(entry))))
    }

    /// Gives up a session in which the peer has said nothing, before something is said that it is to hear first: of one that is not let in the first
    /// letter of a start is heard and no other (contracts/call.md X29). The next start waits no longer than the least time between two.
    pub fn start_anew(&self, with: AgentId, now: UnixMillis) -> Step {
        self.step(Change::StartAnew { with, now })
    }

    /// Takes back a letter that is not acknowledged. It may have arrived all the same if it was sealed; its sender is told `cancelled`.
    #[must_use]
    pub fn cancel(&self, to: AgentId, letter: LetterId) -> Option<Step> {
        let Some(entry) = self.letters.get(&(to, letter)).copied() else { return self.cancel_in_group(to, letter) };
        Some(self.step(Change::Expired { entry, code: nuncio_contracts::registry::code::CANCELLED }))
    }

    /// Fails a letter that was acknowledged and whose large payload was not taken in its time (contracts/letter.md L18).
    pub fn fail(&self, to: AgentId, letter: LetterId, code: u16) -> Step {
        self.step(Change::Failed { to, letter, code })
    }

    /// Begins a session with the owner of a verified bundle.
    pub fn begin<R: CryptoRng + ?Sized>(
        &self,
        bundle: &Bundle,
        now: UnixMillis,
        rng: &mut R,
    ) -> Result<Step, PeerError> {
        let to = bundle.agent;
        let contact = self.contacts.get(&to).ok_or(PeerError::UnknownAgent(to))?;
        if contact.info.retired {
            return Err(PeerError::Retired(to));
        }
        if contact.current.is_some() || to == self.id() {
            return Err(PeerError::SessionExists);
        }
        if self.sessions.len() >= limit::SESSIONS_MAX {
            return Err(PeerError::TooManySessions);
        }
        let parameters = self.parameters_for(bundle.audits).ok_or(PeerError::Unaudited(to))?;
        let initiation = handshake::initiate(&self.identity, bundle, parameters, rng)?;
        let parties = Parties { initiator: self.id(), responder: to, initiated: true };
        let handshake = Some(initiation.handshake);
        let prekey = &bundle.prekeys.agreement_prekey;
        let session = Session::initiate(initiation.secrets, parties, parameters, prekey, handshake, now, rng)
            .map_err(handshake::HandshakeError::from)?;
        let mailbox = bundle.mailbox.as_ref().and_then(|at| at.parse().ok());
        Ok(self.step(Change::Started(Box::new(session), mailbox)))
    }

    /// Answers a request for our bundle with one one-time prekey, which is given to nobody else; the answer comes as [`Effect::Bundle`](crate::step::Effect::Bundle).
    pub fn claim(&self, by: AgentId, request: u64, endpoints: &[String], now: UnixMillis) -> Result<Step, PeerError> {
        let bundle = self
            .prekeys
            .bundle(&self.identity, now, (endpoints, self.mailbox()), self.keeps_log())
            .ok_or(PeerError::NoPrekeys)?;
        let one_time = self.prekeys.next_one_time();
        let bundle = match one_time.and_then(|at| self.prekeys.offer(&bundle, at)) {
            Some(with_one_time) => with_one_time.map_err(PeerError::Bundle)?,
            None => bundle,
        };
        Ok(self.step(Change::Claimed { by, request, bundle, one_time }))
    }

    /// Our signed bundle without one-time prekey, for an invitation.
    pub fn bundle(&self, endpoints: &[String], now: UnixMillis) -> Result<Vec<u8>, PeerError> {
        self.prekeys
            .bundle(&self.identity, now, (endpoints, self.mailbox()), self.keeps_log())
            .ok_or(PeerError::NoPrekeys)
    }

    /// Takes a signed statement that retires an identity. Our own is passed on to every contact; another's ends that contact.
    pub fn retire(&self, statement: Vec<u8>, now: UnixMillis) -> Result<(AgentId, Step), PeerError> {
        let retirement = Retirement::parse(&statement).map_err(PeerError::Statement)?;
        Ok((retirement.agent, self.step(Change::Retire { retirement, statement, now })))
    }

    /// Numbers of the letters in the inbox above a number, ascending.
    pub fn inbox_numbers(&self, after: Option<u64>) -> impl Iterator<Item = u64> + '_ {
        let above = after.map_or(core::ops::Bound::Unbounded, core::ops::Bound::Excluded);
        self.inbox.range((above, core::ops::Bound::Unbounded)).map(|(no, _)| *no)
    }

    /// Whether a letter is on its way.
    #[must_use]
    pub fn is_under_way(&self, to: AgentId, letter: LetterId) -> bool {
        self.letters.contains_key(&(to, letter))
    }

    /// Removes a letter from the inbox, for good.
    #[must_use]
    pub fn done(&self, no: u64) -> Option<Step> {
        self.inbox.contains_key(&no).then(|| self.step(Change::Done(no)))
    }

    /// Forgets ids of letters that are too old to be taken again; the caller finds the rows, which stand in the order of time.
    pub fn forget_seen(&self, rows: Vec<Vec<u8>>) -> Step {
        self.step(Change::SeenForgotten(rows))
    }

    /// Deletes keys kept for letters that did not come in their turn, once any letter of that time is too old to be taken: a device that is stolen
    /// later opens no recording with them. The caller asks now and then; an hour is often enough.
    #[must_use]
    pub fn forget_skipped(&self, now: UnixMillis) -> Option<Step> {
        let life = time::LETTER_LIFE_MAX + 2 * time::CLOCK_SKEW;
        let old = |session: &Session| {
            let id = session.id;
            let keys = session.skipped.iter().filter(move |(_, key)| now.since(key.since) > life);
            keys.map(move |(seq, _)| (id, *seq)).collect::<Vec<_>>()
        };
        let keys: Vec<_> = self.sessions.values().flat_map(old).collect();
        (!keys.is_empty()).then(|| self.step(Change::SkippedForgotten(keys)))
    }

    /// The next thing to do by itself: seal a draft, acknowledge, send again, ask for a bundle, expire. `None` when there is nothing until
    /// [`Peer::next_wake`].
    ///
    /// `idle` says that nothing else waits to be received, so acknowledgements go at once.
    #[must_use]
    pub fn next<R: CryptoRng + ?Sized>(&self, now: UnixMillis, idle: bool, rng: &mut R) -> Option<Step> {
        self.next_expiry(now)
            .or_else(|| self.next_decision(now))
            .or_else(|| self.next_mismatch(now))
            .or_else(|| self.next_channel(now))
            .or_else(|| self.next_telling(now, rng))
            .or_else(|| self.next_draft(now, rng))
            .or_else(|| self.next_hello(now))
            .or_else(|| self.next_timer(now, rng))
            .or_else(|| self.next_old_session(now))
            .or_else(|| self.next_renewal(now, rng))
            .or_else(|| self.next_prekeys(now, rng))
            .or_else(|| self.next_heartbeat(now))
            .or_else(|| if idle { self.next_ack(rng) } else { None })
    }

    /// When [`Peer::next`] has something to do again, if nothing else happens.
    #[must_use]
    pub fn next_wake(&self) -> UnixMillis {
        let timer = self.timers.first().map(|(at, _)| *at);
        let expiry = self.expiries.first().map(|(at, _)| at.plus(1));
        let old = self.old_until.first().map(|(at, _)| *at);
        let offered = self.offered.first().map(|(at, _)| *at);
        let beat = self.audit.heartbeat_due();
        let dues = [timer, expiry, old, offered, beat, self.tokens.due(), self.channel_due(), Some(self.prekeys.due())];
        dues.into_iter().flatten().min().unwrap_or(UnixMillis::NEVER)
    }

    fn next_expiry(&self, now: UnixMillis) -> Option<Step> {
        let (at, entry) = self.expiries.first()?;
        let code = nuncio_contracts::registry::code::EXPIRED;
        (*at < now).then(|| self.step(Change::Expired { entry: *entry, code }))
    }

    fn next_old_session(&self, now: UnixMillis) -> Option<Step> {
        let (at, session) = self.old_until.first()?;
        (*at <= now).then(|| self.step(Change::SessionDropped(*session)))
    }

    fn next_prekeys<R: CryptoRng + ?Sized>(&self, now: UnixMillis, rng: &mut R) -> Option<Step> {
        if self.prekeys.wants_signed(now) {
            return Some(self.step(Change::PrekeysMade(self.prekeys.make_signed(&self.identity, now, rng))));
        }
        if self.prekeys.wants_batch() {
            return Some(self.step(Change::PrekeysMade(self.prekeys.make_batch(&self.identity, now, rng))));
        }
        (self.prekeys.due() <= now).then(|| self.step(Change::PrekeysExpired(now)))
    }
}

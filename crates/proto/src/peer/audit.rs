//! What an agent writes down of itself: each event in the commit of the step that it tells of (contracts/audit.md sections 3 and 6).

use std::collections::BTreeMap;
use std::sync::Arc;

use nuncio_contracts::registry::{code, event, extension, limit, time};
use serde_bytes::ByteArray;

use super::judge::Verdict;
use super::{Change, Out, Peer};
use crate::audit::{Audited, Chain, Event, EventPeer, Head, KeptOpening, PairKey, SignedEvent, What, commitment};
use crate::codec;
use crate::ids::{AgentId, ChannelId, SessionId};
use crate::letter::{Letter, LetterKind};
use crate::rows;
use crate::secret::Key;
use crate::session::Session;
use crate::step::{Op, Step};
use crate::time::UnixMillis;
use crate::token::{Genuine, TokenHash};

mod channels;

/// Whether sessions audit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Auditing {
    /// None does, and nothing is written down.
    #[default]
    Off,
    /// Those do whose other end does too.
    Offered,
    /// There are no others.
    Required,
}

/// What becomes of letters when events find no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// None is sent or taken in sessions that audit, until there is room.
    #[default]
    Stop,
    /// They go on, and what was not written down is told as a gap.
    Gap,
}

/// How events name peers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PeerNames {
    /// By their keys: whoever reads the log knows them.
    #[default]
    Keys,
    /// By what only the two know each other by (contracts/audit.md V26).
    Pseudonyms,
}

/// How an agent audits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuditPolicy {
    /// Whether sessions audit.
    pub auditing: Auditing,
    /// How its events name peers.
    pub peer_names: PeerNames,
    /// Events that wait for the log, at most.
    pub room: u64,
    /// What happens then.
    pub when_full: WhenFull,
    /// After so many milliseconds without an event the agent says that it is there; 0 for never.
    pub heartbeat: u64,
}

/// The chain and what of it waits for the log. The events themselves are rows.
#[derive(Debug, Default)]
pub(super) struct Auditor {
    policy: AuditPolicy,
    chain: Chain,
    /// Numbers of the events that wait: from the first up to the one that comes next.
    waiting: core::ops::Range<u64>,
    /// Events that found no room since the last gap was told.
    lost: u64,
    /// When the newest of them was told.
    told: UnixMillis,
    /// Of each peer the newest event that it named.
    heads: BTreeMap<AgentId, Head>,
    /// Keys of pairs that were needed: each takes two agreements' time to make.
    pairs: BTreeMap<AgentId, PairKey>,
    moved: bool,
}

/// What is told of a letter of ours when it is sealed, and the row that opens it.
#[derive(Debug)]
pub(crate) struct Told(Box<Event>, Op);

const VERSION: u8 = 1;

impl Auditor {
    /// Whether sessions that audit stand still until there is room.
    fn is_stopped(&self) -> bool {
        self.is_full() && self.policy.when_full == WhenFull::Stop
    }

    /// Whether anything is told at all.
    pub(super) fn tells(&self) -> bool {
        self.policy.auditing != Auditing::Off
    }

    fn is_full(&self) -> bool {
        self.waiting.end - self.waiting.start >= self.policy.room
    }

    /// When the agent says that it is there, if it does.
    pub(super) fn heartbeat_due(&self) -> Option<UnixMillis> {
        let beats = self.policy.auditing != Auditing::Off && self.policy.heartbeat > 0 && !self.is_full();
        beats.then(|| self.told.plus(self.policy.heartbeat))
    }
}

impl Peer {
    /// Says how to audit; `waiting` are the numbers of the rows of events ([`rows::SPOOL`]) that are there.
    pub fn set_audit(&mut self, policy: AuditPolicy, waiting: core::ops::Range<u64>) {
        (self.audit.policy, self.audit.waiting) = (policy, waiting);
    }

    /// Events that wait for the log.
    #[must_use]
    pub const fn events_waiting(&self) -> u64 {
        self.audit.waiting.end - self.audit.waiting.start
    }

    /// Lets go of events that the log has, up to a number: the first that still waits.
    pub fn events_logged(&self, up_to: u64) -> Step {
        self.step(Change::EventsLogged(up_to))
    }

    /// Tells events that wait again, as a new chain that `begins` with the first of them: the log does not know what came before. `part` are rows, in their
    /// order; whoever calls goes on with the next until all are told again.
    ///
    /// `None` where one of them does not wait.
    // contracts/audit.md V23.
    #[must_use]
    pub fn recount(&self, part: &[(u64, Vec<u8>)], begins: bool, now: UnixMillis) -> Option<Step> {
        let read = |(no, event): &(u64, Vec<u8>)| Some((*no, SignedEvent::parse(event).ok()?.event().clone()));
        let events = part.iter().filter(|(no, _)| self.audit.waiting.contains(no)).map(read);
        let events = events.collect::<Option<Vec<_>>>()?;
        (events.len() == part.len()).then(|| self.step(Change::Recounted { events, begins, now }))
    }

    pub(super) fn apply_recounted(&mut self, events: Vec<(u64, Event)>, begins: bool, now: UnixMillis, out: &mut Out) {
        // An epoch that the clock began while it was ahead is in no log.
        let last = self.audit.chain.head().map(|head| head.epoch);
        let last = last.filter(|epoch| *epoch <= now.0.saturating_add(time::CLOCK_SKEW));
        let epoch = last.map_or(0, |epoch| epoch.saturating_add(1)).max(now.0);
        if begins {
            self.audit.chain = Chain::default();
        }
        self.audit.moved = true;
        for (no, mut event) in events {
            event.at = event.at.min(now);
            self.sign_as(no, event, epoch, out);
        }
    }

    /// An agent of which there was nothing to tell for a while says that it is there.
    // contracts/audit.md V25.
    pub(super) fn next_heartbeat(&self, now: UnixMillis) -> Option<Step> {
        let due = self.audit.heartbeat_due()?;
        // One that was told by a clock that was ahead keeps nobody silent.
        let is_due = due <= now || self.audit.told > now.plus(time::CLOCK_SKEW);
        is_due.then(|| self.step(Change::Heartbeat(now)))
    }

    pub(super) fn apply_heartbeat(&mut self, now: UnixMillis, out: &mut Out) {
        let what = What::of(event::HEARTBEAT);
        what.into_iter().for_each(|what| self.write_down(Event::new(self.id(), now, what), out));
    }

    pub(super) fn apply_events_logged(&mut self, up_to: u64, out: &mut Out) {
        let (first, was_stopped) = (self.audit.waiting.start, self.audit.is_stopped());
        let up_to = up_to.clamp(first, self.audit.waiting.end);
        self.audit.waiting.start = up_to;
        out.ops.extend((first..up_to).map(|no| Op::Delete { key: rows::numbered(rows::SPOOL, no) }));
        if was_stopped {
            // Letters that waited for room go on.
            out.contacts.extend(self.contacts.keys().copied());
        }
    }

    /// The parameters of a session that is begun with an agent, or `None` where it must not be begun.
    pub(super) const fn parameters_for(&self, audits: bool) -> Option<u64> {
        match (self.audit.policy.auditing, audits) {
            (Auditing::Off, _) | (Auditing::Offered, false) => Some(0),
            (Auditing::Offered | Auditing::Required, true) => Some(AUDITS),
            (Auditing::Required, false) => None,
        }
    }

    /// Whether this agent says in its bundle that it keeps a log.
    pub(super) fn keeps_log(&self) -> bool {
        self.audit.policy.auditing != Auditing::Off
    }

    /// Why a start with these parameters is not answered; `Err` of one whose sender knows an old bundle.
    pub(super) fn mismatch(&self, parameters: u64) -> Result<Option<u16>, ()> {
        match (self.audit.policy.auditing, parameters & AUDITS != 0) {
            (Auditing::Off, true) => Err(()),
            (Auditing::Required, false) => Ok(Some(code::UNAUDITED)),
            _ => Ok(None),
        }
    }

    /// Whether letters must not be in this session: its ends want another one.
    pub(super) fn is_mismatch(&self, session: &Session) -> bool {
        match self.audit.policy.auditing {
            Auditing::Off => session.audits(),
            Auditing::Required => !session.audits(),
            Auditing::Offered => false,
        }
    }

    /// Whether a session that is begun with these parameters waits for the log too.
    pub(super) fn start_waits(&self, parameters: u64) -> bool {
        parameters & AUDITS != 0 && self.audit.is_stopped()
    }

    /// A session whose parameters are not what is wanted ends, and another is begun.
    pub(super) fn next_mismatch(&self, now: UnixMillis) -> Option<Step> {
        let mut current = self.contacts.keys().filter_map(|agent| self.current(agent));
        let session = current.find(|session| self.is_mismatch(session))?;
        Some(self.step(Change::Restart { with: session.peer(), session: session.id, now }))
    }

    /// Whether letters in this session wait until the log has taken events.
    pub(super) fn waits_for_log(&self, session: &Session) -> bool {
        session.audits() && self.audit.is_stopped()
    }

    /// The newest event of this agent.
    #[must_use]
    pub const fn audit_head(&self) -> Option<Head> {
        self.audit.chain.head()
    }

    /// What is told of a letter that is sealed now.
    pub(super) fn tell_sent(
        &self,
        session: &Session,
        letter: &Letter,
        opening: KeptOpening,
        token: Option<(TokenHash, Arc<str>)>,
        now: UnixMillis,
    ) -> Option<Told> {
        let (audited, peer) = (audited(letter)?, session.peer());
        let head = self.audit.heads.get(&peer).copied();
        let mut event = self.event(event::LETTER_SENT, peer, now)?;
        about(&mut event, letter, token.as_ref().map(|(hash, txn)| (hash, &**txn)));
        (event.commitment, event.head) = (Some(audited.commitment), head.and_then(|head| self.told_head(&peer, head)));
        Some(Told(Box::new(event), put_opening(&self.id(), letter, &opening)))
    }

    pub(super) fn apply_told(&mut self, Told(event, opening): Told, out: &mut Out) {
        self.write_down(*event, out);
        out.ops.push(opening);
    }

    /// Tells that a letter is this agent's from now on: of its session, or of a channel.
    pub(super) fn tell_received(
        &mut self,
        from: AgentId,
        channel: Option<ChannelId>,
        letter: &Letter,
        token: Option<&Genuine>,
        now: UnixMillis,
        out: &mut Out,
    ) {
        let Some(audited) = audited(letter) else { return };
        self.audit.heads.extend(audited.head.map(|head| (from, head)));
        self.keep_pair(from);
        let Some(mut event) = self.event_in(event::LETTER_RECEIVED, channel, Some(from), now) else { return };
        about(&mut event, letter, token.map(|token| (token.hash(), token.claims().txn.as_str())));
        event.commitment = Some(audited.commitment);
        event.head = audited.head.and_then(|head| self.told_head(&from, head));
        self.write_down(event, out);
    }

    /// Tells that a letter of a session was refused.
    pub(super) fn tell_refused(
        &mut self,
        id: SessionId,
        code: u16,
        letter: Option<&Letter>,
        now: UnixMillis,
        out: &mut Out,
    ) {
        let from = self.sessions.get(&id).filter(|session| session.audits()).map(Session::peer);
        from.into_iter().for_each(|from| self.write_refused(from, None, code, letter, now, out));
    }

    /// What a letter that is refused says of itself is known where it could be read.
    fn write_refused(
        &mut self,
        from: AgentId,
        channel: Option<ChannelId>,
        code: u16,
        letter: Option<&Letter>,
        now: UnixMillis,
        out: &mut Out,
    ) {
        let Some(mut event) = self.event_in(event::LETTER_REFUSED, channel, Some(from), now) else { return };
        event.outcome = Some(code);
        if let Some(letter) = letter.filter(|letter| letter.kind == LetterKind::Plain) {
            about(&mut event, letter, None);
            let audited = audited(letter);
            // One that is not the letter's is no commitment of its sender.
            event.commitment = audited.filter(|_| code != code::COMMITMENT).map(|audited| audited.commitment);
            event.head = audited.and_then(|audited| audited.head).and_then(|head| self.told_head(&from, head));
        }
        self.write_down(event, out);
    }

    /// Tells what happened to a session that audits.
    pub(super) fn tell_session(&mut self, id: SessionId, what: u8, now: UnixMillis, out: &mut Out) {
        let with = self.sessions.get(&id).filter(|session| session.audits()).map(Session::peer);
        with.into_iter().for_each(|with| self.keep_pair(with));
        let event = with.and_then(|with| self.event(what, with, now));
        event.into_iter().for_each(|event| self.write_down(event, out));
    }

    fn event(&self, what: u8, peer: AgentId, now: UnixMillis) -> Option<Event> {
        self.event_in(what, None, Some(peer), now)
    }

    /// An event of a channel, or of none, about an agent, or of this one alone.
    pub(super) fn event_in(
        &self,
        what: u8,
        channel: Option<ChannelId>,
        peer: Option<AgentId>,
        now: UnixMillis,
    ) -> Option<Event> {
        let event = Event::new(self.id(), now, What::of(what)?);
        self.keeps_log().then(|| Event {
            peer: peer.and_then(|peer| self.named(&peer)),
            channel: channel.map(|channel| self.channel_named(channel)),
            ..event
        })
    }

    /// What this agent and another share, for the events of both.
    #[must_use]
    pub fn pair_key(&self, other: &AgentId) -> Option<PairKey> {
        PairKey::of(self.identity.signing(), other)
    }

    /// By what events name another agent, where they do not by its key.
    #[must_use]
    pub fn pseudonym(&self, peer: &AgentId) -> Option<[u8; 16]> {
        self.pair_for_events(peer).map(|pair| pair.pseudonym(peer))
    }

    /// The key of a pair whose events name nobody.
    fn pair_for_events(&self, peer: &AgentId) -> Option<PairKey> {
        let kept = || self.audit.pairs.get(peer).cloned();
        let is_hidden = self.audit.policy.peer_names == PeerNames::Pseudonyms;
        is_hidden.then(|| kept().or_else(|| self.pair_key(peer))).flatten()
    }

    fn named(&self, peer: &AgentId) -> Option<EventPeer> {
        match self.audit.policy.peer_names {
            PeerNames::Keys => Some(EventPeer::Agent(*peer)),
            PeerNames::Pseudonyms => self.pseudonym(peer).map(EventPeer::Pseudonym),
        }
    }

    /// A peer's newest event as this agent's events say it.
    // contracts/audit.md V26.
    fn told_head(&self, peer: &AgentId, head: Head) -> Option<Head> {
        match self.audit.policy.peer_names {
            PeerNames::Keys => Some(head),
            PeerNames::Pseudonyms => self.pair_for_events(peer).map(|pair| pair.blind(&head)),
        }
    }

    fn keep_pair(&mut self, peer: AgentId) {
        if self.audit.policy.peer_names == PeerNames::Pseudonyms && !self.audit.pairs.contains_key(&peer) {
            let pair = self.pair_key(&peer);
            self.audit.pairs.extend(pair.map(|pair| (peer, pair)));
        }
    }

    /// Signs an event, which is in the step's commit; where there is no room it is counted.
    pub(super) fn write_down(&mut self, event: Event, out: &mut Out) {
        self.audit.moved = true;
        if self.audit.is_full() && self.audit.policy.when_full == WhenFull::Gap {
            self.audit.lost = self.audit.lost.saturating_add(1);
            return;
        }
        if let Some(what) = What::of(event::SPOOL_GAP).filter(|_| self.audit.lost > 0) {
            self.audit.lost = 0;
            self.number_and_sign(Event::new(event.agent, event.at, what), out);
        }
        self.number_and_sign(event, out);
    }

    fn number_and_sign(&mut self, event: Event, out: &mut Out) {
        let (no, epoch) = (self.audit.waiting.end, event.at.0);
        self.audit.told = event.at;
        self.audit.waiting.end += 1;
        self.sign_as(no, event, epoch, out);
    }

    /// The row of an event that stands next in the chain; the first of it begins the epoch.
    fn sign_as(&mut self, no: u64, mut event: Event, epoch: u64, out: &mut Out) {
        self.audit.chain.number(&mut event, epoch);
        // Its texts are names as events have them, so there is no event that cannot be signed.
        let Some(signed) = SignedEvent::sign(event, self.identity.signing()) else { return };
        self.audit.chain.follow(&signed);
        out.ops.push(Op::Put { key: rows::numbered(rows::SPOOL, no), value: signed.as_bytes().to_vec() });
    }

    /// The chain's row, where it has moved.
    pub(super) fn keep_chain(&mut self, out: &mut Out) {
        let head = self.audit.chain.head().filter(|_| core::mem::take(&mut self.audit.moved));
        out.ops.extend(head.map(|head| {
            let value = (VERSION, head.epoch, head.seq, ByteArray::new(head.hash), self.audit.lost);
            Op::Put { key: vec![rows::CHAIN], value: codec::encode(&value) }
        }));
    }

    pub(super) fn load_chain(&mut self, value: &[u8]) -> Option<()> {
        let (version, epoch, seq, hash, lost): (u8, u64, u64, ByteArray<32>, u64) = codec::decode(value, 64).ok()?;
        self.audit.chain = Chain::at(Some(Head { epoch, seq, hash: hash.into_array() }));
        self.audit.lost = lost;
        (version == VERSION).then_some(())
    }
}

/// The bit of a session that audits (contracts/handshake.md H2).
pub(crate) const AUDITS: u64 = 1;

/// What a letter says of itself, if it does.
pub(crate) fn audited(letter: &Letter) -> Option<Audited> {
    Audited::parse(letter.extension(extension::AUDIT)?)
}

/// The row that opens a letter which is taken in a session, or of a channel, that audits (contracts/audit.md V24).
pub(super) fn opening_of(from: &AgentId, key: Key, header: &[u8], sealed: &[u8], verdict: &Verdict) -> Option<Op> {
    let letter = match verdict {
        Verdict::Take(letter, _) => Some(Letter::clone(letter)),
        Verdict::Wait(..) => Letter::decode(sealed).ok(),
        Verdict::Nothing | Verdict::Duplicate | Verdict::Refuse(_) => None,
    };
    let letter = letter.filter(|letter| letter.kind == LetterKind::Plain)?;
    Some(put_opening(from, &letter, &KeptOpening::of(key, header.to_vec(), &letter, *from)))
}

fn put_opening(author: &AgentId, letter: &Letter, opening: &KeptOpening) -> Op {
    Op::Put { key: rows::opening(author, &letter.id), value: opening.to_row() }
}

/// Whether a letter has the commitment that it must have, and no other letter has one (contracts/audit.md V19, V28).
pub(crate) fn keeps_commitment(key: Option<&Key>, header: &[u8], letter: &Letter) -> Result<(), u16> {
    let Some(key) = key.filter(|_| letter.kind == LetterKind::Plain) else {
        return if letter.extension(extension::AUDIT).is_none() { Ok(()) } else { Err(code::MALFORMED) };
    };
    let content = letter.content();
    // contracts/audit.md V24.
    if content.len() - letter.payload.len() > limit::OPENING_CONTENT_MAX {
        return Err(code::TOO_LARGE);
    }
    let expected = commitment(key, header, &content);
    let said = audited(letter).is_some_and(|audited| audited.commitment == expected);
    if said { Ok(()) } else { Err(code::COMMITMENT) }
}

fn about(event: &mut Event, letter: &Letter, token: Option<(&TokenHash, &str)>) {
    event.kind = Some(Event::name_of(&letter.content_type.to_string()));
    let large =
        letter.extension(extension::LARGE_PAYLOAD).and_then(|handle| crate::payload::PayloadKey::parse(handle).ok());
    let len = large.map_or_else(|| u64::try_from(letter.payload.len()).unwrap_or(u64::MAX), |large| large.len);
    event.size = Some(Event::size_of(len));
    event.token = token.map(|(hash, _)| *hash);
    event.transaction = token.map(|(_, txn)| Event::name_of(txn));
}

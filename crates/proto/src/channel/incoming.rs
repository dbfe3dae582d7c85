//! The letters of a channel's other members: one screen for each of the two things that come, chains and frames (contracts/channel.md sections 5 to 8).

mod chains;
mod rows;

use rows::Kept;
pub use rows::SenderRows;

use std::collections::{BTreeMap, BTreeSet};

use nuncio_contracts::registry::{limit, time};

use super::chain::Chain;
use super::frame::ChannelFrame;
use super::header::{Attestation, ChannelHeader};
use super::record::Record;
use super::sender_key::{SenderKey, SenderKeyError};
use super::transcript::{Broken, Equivocation, Transcript};
use crate::audit::commitment_key;
use crate::crypto::CryptoError;
use crate::frame::Nonce;
use crate::ids::{AgentId, ChainId, ChannelId, EpochId, Seq, Tag};
use crate::padding;
use crate::replay::{Fresh, ReplayError, Window};
use crate::secret::Key;
use crate::time::UnixMillis;

/// What one member has of all others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    channel: ChannelId,
    me: AgentId,
    audits: bool,
    senders: BTreeMap<AgentId, Sender>,
    /// Whose chain it is, and the number of its first letter.
    tags: BTreeMap<Tag, (AgentId, Seq)>,
    /// Of each sender what has rows of its own.
    rows: BTreeMap<AgentId, Kept>,
    /// Whose oldest chains went as there were too many.
    thinned: BTreeSet<AgentId>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Sender {
    /// By the numbers of their first letters: the newest is the last.
    chains: BTreeMap<Seq, Receiving>,
    window: Window,
    /// One above the highest number that came.
    top: Seq,
    passed: BTreeMap<Seq, PassedKey>,
    transcript: Transcript,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Receiving {
    chain: Chain,
    mac_key: Key,
    /// The first number behind it.
    end: Seq,
    /// When it was taken, or the next one was.
    since: UnixMillis,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct PassedKey {
    tag: Tag,
    mk: Key,
    since: UnixMillis,
}

/// A chain that was handed over, and how the state moves.
#[derive(Debug)]
#[must_use]
pub struct TakenKey {
    from: AgentId,
    receiving: Receiving,
}

/// A frame opened: what was in it, and how the state moves.
#[derive(Debug)]
#[must_use]
pub struct Opened {
    /// Whose letter it is: its MAC proves it.
    pub sender: AgentId,
    /// The letter's bytes.
    pub letter: Vec<u8>,
    /// Its header.
    pub header: ChannelHeader,
    /// The epoch of its chain.
    pub epoch: EpochId,
    /// The chain.
    pub chain: ChainId,
    /// The frame's nonce: what a refusal names it by.
    pub nonce: Nonce,
    /// Its author has other letters of a third member than are here.
    pub equivocation: Option<Equivocation>,
    /// Of its commitment, in a channel that audits.
    pub(crate) commitment_key: Option<Key>,
    fresh: Fresh,
    floor: Seq,
    tag: Tag,
    digest: [u8; 32],
    moves: Moves,
}

#[derive(Debug)]
enum Moves {
    Steps { ck: Key, passed: Vec<(Seq, Key)> },
    PassedKey,
}

/// What moved with a letter.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Everything below came or never will.
    pub next: Seq,
    /// Numbers that were passed and never came: from, and up to without.
    pub holes: Vec<(Seq, Seq)>,
    /// The sender's own word of its letters is not what came.
    pub equivocation: Option<Equivocation>,
}

/// Why a chain is not taken. Nothing moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// No sender key.
    #[error(transparent)]
    Malformed(#[from] SenderKeyError),
    /// Of another channel.
    #[error("sender key of another channel")]
    Channel,
    /// Of an epoch that is not known here: it waits for the record.
    #[error("sender key of an epoch that is not known here")]
    UnknownEpoch,
    /// Of an epoch that lies too far back, or before the sender's newest chain.
    #[error("sender key of an epoch that is over")]
    Stale,
    /// Sender or receiver is no member, or was none in that epoch.
    #[error("sender key of or for somebody who is no member in its epoch")]
    NotMember,
    /// It begins with a number that the sender's letters have passed.
    #[error("sender key that begins with a number used before")]
    Number,
    /// It was taken before.
    #[error("sender key was taken before")]
    Known,
}

/// Why a frame is refused. Nothing moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiveError {
    /// Of no chain that is known.
    #[error("channel frame of no known chain")]
    UnknownTag,
    /// Not sealed by the chain's sender for this recipient.
    #[error("channel frame: not its sender's")]
    Mac,
    /// A primitive refused it.
    #[error("channel frame: {0}")]
    Crypto(#[from] CryptoError),
    /// A signature in a channel that does not audit.
    #[error("channel frame with a signature that nobody asked for")]
    Signed,
    /// Received before, or too far ahead.
    #[error("channel frame: {0}")]
    Replay(#[from] ReplayError),
    /// Its numbers are not its chain's.
    #[error("channel frame contradicts its chain")]
    Contradiction,
    /// Its key was used, or given up.
    #[error("channel frame's key is spent")]
    Spent,
    /// As many keys as may are kept for letters that have not come.
    #[error("no room for more skipped keys")]
    NoRoom,
    /// The padding is not the one form.
    #[error("channel frame is authentic but malformed")]
    Malformed,
}

impl Incoming {
    /// Of a member that has received nothing.
    #[must_use]
    pub const fn new(record: &Record, me: AgentId) -> Self {
        let (channel, audits) = (record.channel(), record.roster().audits());
        Self {
            channel,
            me,
            audits,
            senders: BTreeMap::new(),
            tags: BTreeMap::new(),
            rows: BTreeMap::new(),
            thinned: BTreeSet::new(),
        }
    }

    /// Judges a chain that came in a letter of `from`'s session.
    ///
    /// # Errors
    /// [`KeyError`].
    // contracts/channel.md C28 to C30.
    pub fn take_key(
        &self,
        from: AgentId,
        key: SenderKey,
        record: &Record,
        now: UnixMillis,
    ) -> Result<TakenKey, KeyError> {
        if key.channel != self.channel {
            return Err(KeyError::Channel);
        }
        let number = record.number_of(&key.epoch).ok_or(KeyError::UnknownEpoch)?;
        // A member of now since that epoch or before.
        let was_in = |agent| record.roster().member(agent).is_some_and(|member| member.since <= number);
        if from == self.me || !was_in(&from) || !was_in(&self.me) {
            return Err(KeyError::NotMember);
        }
        if record.roster().number().saturating_sub(number) > limit::CHANNEL_BEHIND_MAX {
            return Err(KeyError::Stale);
        }
        self.senders.get(&from).map_or(Ok(()), |sender| sender.check_newer(&key, number, record))?;
        let chain = Chain::new(key.ck.clone(), key.base(&from));
        let end = chain.end_max();
        Ok(TakenKey { from, receiving: Receiving { chain, mac_key: key.mac_key, end, since: now } })
    }

    /// Takes the chain. The one before ends where it begins. The sender may show by it that it told others something else.
    ///
    /// Other senders' chains may go for it: [`Incoming::thinned`].
    pub fn apply_key(&mut self, taken: TakenKey) -> Option<Equivocation> {
        let TakenKey { from, receiving } = taken;
        self.tags.insert(receiving.chain.tag, (from, receiving.chain.base.first));
        let mut broken = None;
        match self.senders.get_mut(&from) {
            Some(sender) => broken = sender.begin(receiving),
            None => drop(self.senders.insert(from, Sender::new(receiving))),
        }
        self.make_room();
        self.forget_tags();
        broken.map(|broken| Equivocation::own(&from, broken))
    }

    /// Opens a frame. Check, authenticate; the caller commits, then publishes.
    ///
    /// `room` bounds the keys that this frame may cause to be kept.
    ///
    /// # Errors
    /// [`ReceiveError`].
    // contracts/channel.md C33 to C39.
    pub fn receive(&self, frame: &ChannelFrame<'_>, room: usize) -> Result<Opened, ReceiveError> {
        let (from, first) = self.tags.get(&frame.tag).ok_or(ReceiveError::UnknownTag)?;
        let sender = self.senders.get(from).ok_or(ReceiveError::UnknownTag)?;
        let Receiving { chain, mac_key, end, .. } = sender.chains.get(first).ok_or(ReceiveError::UnknownTag)?;
        let digest = frame.digest();
        if !frame.check_mac(mac_key, &chain.id, &self.me, &digest) {
            return Err(ReceiveError::Mac);
        }
        match (self.audits, frame.signature) {
            (true, _) => frame.check_signature(&self.channel, &chain.base.epoch, from)?,
            (false, Some(_)) => return Err(ReceiveError::Signed),
            (false, None) => {}
        }
        let header = frame.open_header(&chain.hk)?;
        let floor = header.floor().ok_or(ReceiveError::Contradiction)?;
        if !(chain.base.first..*end).contains(&header.seq) {
            return Err(ReceiveError::Contradiction);
        }
        let fresh = sender.window.check(header.seq, floor)?;
        let (mk, moves) = sender.key_of(chain, header.seq, floor, room)?;
        let mut letter = frame.open_body(&mk, &self.channel, chain, &header)?;
        let len = padding::unpad(&letter).ok_or(ReceiveError::Malformed)?.len();
        letter.truncate(len);
        let equivocation = header.attestation.and_then(|attestation| self.compare(from, &attestation));
        // contracts/audit.md V28.
        let commitment_key = self.audits.then(|| commitment_key(&mk));
        let (sender, tag, epoch, chain, nonce) = (*from, frame.tag, chain.base.epoch, chain.id, frame.nonce);
        Ok(Opened {
            sender,
            letter,
            header,
            epoch,
            chain,
            nonce,
            equivocation,
            commitment_key,
            fresh,
            floor,
            tag,
            digest,
            moves,
        })
    }

    /// Moves past an opened frame. Only one that was opened from this very state may be applied.
    pub fn apply(&mut self, opened: Opened, now: UnixMillis) -> Moved {
        let from = opened.sender;
        let Some(sender) = self.senders.get_mut(&from) else { return Moved::default() };
        let chains = sender.chains.len();
        let moved = sender.apply(&from, opened, now);
        if sender.chains.len() != chains {
            self.forget_tags();
        }
        moved
    }

    /// Follows the record: who is no member is heard no more, and no chain of an epoch that another took the place of.
    // contracts/channel.md C23.
    pub fn follow(&mut self, record: &Record) {
        self.senders.retain(|agent, sender| {
            let Some(member) = record.roster().member(agent) else { return false };
            sender.retain(|receiving| {
                record.number_of(&receiving.chain.base.epoch).is_some_and(|number| number >= member.since)
            });
            true
        });
        if !record.roster().has(&self.me) {
            self.senders.clear();
        }
        self.forget_tags();
    }

    /// Forgets chains that are over, and keys, whose letters would be refused for their age now.
    pub fn expire(&mut self, now: UnixMillis) {
        let age = time::LETTER_LIFE_MAX + 2 * time::CLOCK_SKEW;
        for sender in self.senders.values_mut() {
            let newest = sender.chains.last_key_value().map(|(first, _)| *first);
            sender.retain(|receiving| now.since(receiving.since) <= age || Some(receiving.chain.base.first) == newest);
            sender.passed.retain(|_, key| now.since(key.since) <= age);
        }
        self.forget_tags();
    }

    /// How many keys are kept for letters that have not come.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.senders.values().map(|sender| sender.passed.len()).sum()
    }

    /// The tags under which a frame of the channel may come.
    pub fn tags(&self) -> impl Iterator<Item = Tag> + '_ {
        self.tags.keys().copied()
    }

    /// A letter came in its sender's session, so no frame brings its number: `None` where nothing moves.
    // contracts/channel.md C38, C52.
    pub fn came(&mut self, from: &AgentId, seq: Seq) -> Option<Moved> {
        let sender = self.senders.get_mut(from)?;
        let fresh = sender.window.check(seq, 0).ok()?;
        sender.window.accept(&fresh);
        sender.pass(0, &mut Vec::new());
        let next = sender.window.next();
        let broken = sender.transcript.pass(next);
        if sender.drop_complete() {
            self.forget_tags();
        }
        Some(Moved { next, holes: Vec::new(), equivocation: broken.map(|broken| Equivocation::own(from, broken)) })
    }

    /// The sender says that it sends nothing more below a number: `None` where nothing moves.
    // contracts/channel.md C38, C55.
    pub fn raise(&mut self, from: &AgentId, floor: Seq) -> Option<Moved> {
        let sender = self.senders.get_mut(from)?;
        // It says so of letters of chains that it has handed over.
        let end = sender.chains.last_key_value().map(|(_, receiving)| receiving.end)?;
        if floor <= sender.window.next() || floor > end {
            return None;
        }
        let mut holes = Vec::new();
        sender.pass(floor, &mut holes);
        let (next, broken) = sender.settle();
        self.forget_tags();
        Some(Moved { next, holes, equivocation: broken.map(|broken| Equivocation::own(from, broken)) })
    }

    /// Nothing opens any more.
    pub fn forget(&mut self) {
        self.senders.clear();
        self.tags.clear();
    }

    /// Whose frames come under a tag.
    #[must_use]
    pub fn sender_of(&self, tag: &Tag) -> Option<&AgentId> {
        self.tags.get(tag).map(|(sender, _)| sender)
    }

    /// Everything of a member below this number came or never will: what it is told.
    #[must_use]
    pub fn next_of(&self, sender: &AgentId) -> Option<Seq> {
        self.senders.get(sender).map(|sender| sender.window.next())
    }

    /// What to say of others in the next letter: of the one that it answers, else of the one behind `last` in turn.
    // contracts/channel.md C39.
    #[must_use]
    pub fn attest(&self, answers: Option<&AgentId>, last: Option<&AgentId>) -> Option<Attestation> {
        let of = |(agent, sender): (&AgentId, &Sender)| {
            sender.transcript.newest().map(|newest| Attestation::of(agent, newest))
        };
        let answered = answers.and_then(|agent| self.senders.get_key_value(agent)).and_then(of);
        let behind =
            last.map(|last| self.senders.range((core::ops::Bound::Excluded(*last), core::ops::Bound::Unbounded)));
        answered.or_else(|| behind.into_iter().flatten().find_map(of)).or_else(|| self.senders.iter().find_map(of))
    }

    /// Compares what a member says of another's letters with what came.
    // contracts/channel.md C41.
    #[must_use]
    pub fn compare(&self, by: &AgentId, attestation: &Attestation) -> Option<Equivocation> {
        let (agent, sender) = self.senders.get_key_value(&attestation.sender)?;
        sender.transcript.compare(agent, by, attestation)
    }
}

impl Sender {
    fn new(receiving: Receiving) -> Self {
        let (first, run) = (receiving.chain.base.first, receiving.chain.base.run);
        Self {
            chains: BTreeMap::from([(first, receiving)]),
            window: Window::restore(first, core::iter::empty()),
            top: first,
            passed: BTreeMap::new(),
            transcript: Transcript::new(run, first),
        }
    }

    fn key_of(&self, chain: &Chain, seq: Seq, floor: Seq, room: usize) -> Result<(Key, Moves), ReceiveError> {
        if seq < chain.next {
            let kept = self.passed.get(&seq).filter(|key| key.tag == chain.tag).ok_or(ReceiveError::Spent)?;
            return Ok((kept.mk.clone(), Moves::PassedKey));
        }
        // The bound holds before any key is derived; a chain is short, so its length bounds the steps.
        // Of what its sender gave up no key is kept.
        let lowest = chain.next.max(floor).max(self.window.next());
        let kept = usize::try_from(seq.saturating_sub(lowest)).unwrap_or(usize::MAX);
        if kept > room {
            return Err(ReceiveError::NoRoom);
        }
        let (ck, mk, mut passed) = chain.step_to(seq);
        passed.retain(|(seq, _)| *seq >= lowest);
        Ok((mk, Moves::Steps { ck, passed }))
    }

    fn apply(&mut self, from: &AgentId, opened: Opened, now: UnixMillis) -> Moved {
        let Opened { header, fresh, floor, tag, digest, moves, .. } = opened;
        let mut holes = Vec::new();
        self.pass(floor, &mut holes);
        let mut broken = None;
        let under = self.chains.range_mut(..=header.seq).next_back().map(|(_, receiving)| receiving);
        if let Some(Receiving { chain, .. }) = under.filter(|receiving| receiving.chain.tag == tag) {
            if let Moves::Steps { ck, passed } = moves {
                (chain.ck, chain.next) = (ck, header.seq.saturating_add(1));
                let keys = passed.into_iter().map(|(seq, mk)| (seq, PassedKey { tag, mk, since: now }));
                self.passed.extend(keys);
            }
            broken = self.transcript.note(header.seq, chain.id, digest);
        }
        self.passed.remove(&header.seq);
        self.top = self.top.max(header.seq.saturating_add(1));
        self.window.accept(&fresh);
        self.pass(floor, &mut holes);
        let (next, pass) = self.settle();
        broken = broken.or(pass);
        Moved { next, holes, equivocation: broken.map(|broken| Equivocation::own(from, broken)) }
    }

    /// What is below the window's first number is over.
    fn settle(&mut self) -> (Seq, Option<Broken>) {
        let next = self.window.next();
        let broken = self.transcript.pass(next);
        self.passed = self.passed.split_off(&next);
        self.drop_complete();
        (next, broken)
    }

    /// Steps the window over what came and what never will.
    // contracts/channel.md C38: a floor far ahead costs no step for each number.
    fn pass(&mut self, floor: Seq, holes: &mut Vec<(Seq, Seq)>) {
        let mut hole = |from: Seq, to: Seq| match holes.last_mut() {
            Some((_, end)) if *end == from => *end = to,
            _ => holes.push((from, to)),
        };
        let near = floor.min(self.window.next().saturating_add(limit::WINDOW));
        loop {
            let next = self.window.next();
            match self.window.advance(near) {
                Some(true) => {}
                Some(false) => hole(next, next.saturating_add(1)),
                None => break,
            }
        }
        if self.window.next() < floor {
            hole(self.window.next(), floor);
            self.window = Window::restore(floor, core::iter::empty());
        }
    }
}

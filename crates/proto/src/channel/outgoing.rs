//! One member's own letters to a channel: sealed once under its own chain, with a MAC for each recipient (contracts/channel.md sections 5 to 7).

mod rows;

use std::collections::BTreeMap;

use nuncio_contracts::registry::{limit, time};
use rand_core::CryptoRng;

use super::chain::{Base, Chain};
use super::frame::{self, Mac};
use super::header::{Attestation, CHANNEL_HEADER_LEN, ChannelHeader};
use super::record::Record;
use super::sender_key::SenderKey;
use super::transcript::{self, Equivocation, Transcript};
use crate::audit::commitment_key;
use crate::crypto::{self, SigningKey};
use crate::frame::Nonce;
use crate::ids::{AgentId, ChainId, ChannelId, EpochId, Seq};
use crate::secret::Key;
use crate::time::UnixMillis;

/// A member's own chain, numbers and transcript in a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    channel: ChannelId,
    me: AgentId,
    audits: bool,
    next: Seq,
    sending: Option<Sending>,
    /// Everything below was received, or given up, by a member.
    acked: BTreeMap<AgentId, Seq>,
    transcript: Transcript,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Sending {
    chain: Chain,
    since: UnixMillis,
    mac_keys: BTreeMap<AgentId, Key>,
}

/// A chain that begins: what to hand over before its first letter, and what moves.
#[derive(Debug)]
#[must_use]
pub struct NewChain {
    sending: Sending,
    keys: Vec<(AgentId, SenderKey)>,
}

/// A letter sealed for all, and how the state moves.
#[derive(Debug)]
#[must_use]
pub struct Sealed {
    common: Vec<u8>,
    macs: Vec<(AgentId, Mac)>,
    seq: Seq,
    attested: Option<AgentId>,
    ck: Key,
    digest: [u8; 32],
}

/// Why a letter is not sealed. Nothing moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// There is no chain for this epoch, or it is over: begin one.
    #[error("the channel needs a new sending chain")]
    NeedsChain,
    /// The agent is no member.
    #[error("not a member of the channel")]
    NotMember,
    /// Longer than any letter.
    #[error("the letter is too long")]
    TooLong,
    /// All numbers are used.
    #[error("the channel's numbers are used up")]
    Exhausted,
}

impl Outgoing {
    /// Of a member that has sent nothing.
    #[must_use]
    pub fn new(record: &Record, me: AgentId) -> Self {
        let transcript = Transcript::new(transcript::first(&record.channel(), &me), 0);
        Self {
            channel: record.channel(),
            me,
            audits: record.roster().audits(),
            next: 0,
            sending: None,
            acked: BTreeMap::new(),
            transcript,
        }
    }

    /// Goes on with a number that is not below the next: those between went another way. The chain is over.
    pub fn skip_to(&mut self, seq: Seq) {
        if seq > self.next {
            let run = self.transcript.run_at(self.next).unwrap_or_else(|| transcript::first(&self.channel, &self.me));
            (self.transcript, self.sending) = (Transcript::new(run, seq), None);
            self.next = seq;
        }
    }

    /// The chain is over: the agent has left.
    pub fn fall_silent(&mut self) {
        self.sending = None;
    }

    /// Whether no letter can be sealed in this epoch now without a new chain.
    // contracts/channel.md C24, C25, C27.
    #[must_use]
    pub fn needs_chain(&self, epoch: &EpochId, now: UnixMillis) -> bool {
        self.sending.as_ref().is_none_or(|Sending { chain, since, .. }| {
            let is_over = self.next >= chain.end_max() || now.since(*since) >= time::CHANNEL_CHAIN_LIFE;
            chain.base.epoch != *epoch || is_over || now < *since
        })
    }

    /// A chain for the record's newest epoch, and for each other member what hands it over.
    ///
    /// # Errors
    /// [`SealError::NotMember`], [`SealError::Exhausted`].
    // contracts/channel.md C24 to C29.
    pub fn begin<R: CryptoRng + ?Sized>(
        &self,
        record: &Record,
        now: UnixMillis,
        rng: &mut R,
    ) -> Result<NewChain, SealError> {
        if !record.roster().has(&self.me) {
            return Err(SealError::NotMember);
        }
        if self.next.checked_add(limit::CHANNEL_CHAIN_LETTERS).is_none() {
            return Err(SealError::Exhausted);
        }
        let run = self.transcript.run_at(self.next).ok_or(SealError::Exhausted)?;
        let base = Base { epoch: record.epoch(), sender: self.me, first: self.next, run };
        let chain = Chain::new(Key::random(rng), base);
        let others = record.roster().members().map(|(agent, _)| *agent).filter(|agent| *agent != self.me);
        let mac_keys: BTreeMap<AgentId, Key> = others.map(|agent| (agent, Key::random(rng))).collect();
        let key = |mac_key: &Key| SenderKey {
            channel: self.channel,
            epoch: base.epoch,
            first: base.first,
            run: base.run,
            chain: chain.id,
            ck: chain.ck.clone(),
            mac_key: mac_key.clone(),
        };
        let keys = mac_keys.iter().map(|(agent, mac_key)| (*agent, key(mac_key))).collect();
        Ok(NewChain { sending: Sending { chain, since: now, mac_keys }, keys })
    }

    /// Moves to a new chain; the one before is forgotten.
    pub fn apply_chain(&mut self, new: NewChain) {
        let (next, known) = (self.next, core::mem::take(&mut self.acked));
        let members = new.sending.mac_keys.keys();
        self.acked = members.map(|agent| (*agent, known.get(agent).copied().unwrap_or(next))).collect();
        self.sending = Some(new.sending);
    }

    /// The chain under which the next letter is sealed.
    #[must_use]
    pub fn chain(&self) -> Option<&ChainId> {
        self.sending.as_ref().map(|sending| &sending.chain.id)
    }

    /// The key of the next letter's commitment, and its header in clear, in a channel that audits: what [`Outgoing::seal`] with the same attestation
    /// seals.
    // contracts/audit.md V28.
    pub(crate) fn next_commitment(&self, attestation: Option<Attestation>) -> Option<(Key, [u8; CHANNEL_HEADER_LEN])> {
        let chain = &self.sending.as_ref().filter(|_| self.audits)?.chain;
        let (_, mk, _) = chain.step_to(self.next);
        Some((commitment_key(&mk), self.header(attestation).ok()?.to_bytes()))
    }

    fn header(&self, attestation: Option<Attestation>) -> Result<ChannelHeader, SealError> {
        let seq = self.next;
        let floor_below = u16::try_from(seq.saturating_sub(self.floor())).map_err(|_| SealError::Exhausted)?;
        Ok(ChannelHeader { seq, floor_below, attestation })
    }

    /// Seals the bytes of a letter for all members of the record's newest epoch.
    ///
    /// # Errors
    /// [`SealError`].
    // contracts/channel.md C24, C33 to C38.
    pub fn seal(
        &self,
        epoch: &EpochId,
        letter: Vec<u8>,
        attestation: Option<Attestation>,
        nonce: &Nonce,
        signing: &SigningKey,
        now: UnixMillis,
    ) -> Result<Sealed, SealError> {
        if letter.len() > limit::LETTER_LEN_MAX {
            return Err(SealError::TooLong);
        }
        let sending = self.sending.as_ref().filter(|_| !self.needs_chain(epoch, now)).ok_or(SealError::NeedsChain)?;
        let (chain, seq) = (&sending.chain, self.next);
        let header = self.header(attestation)?;
        let (ck, mk, _) = chain.step_to(seq);
        let signing = self.audits.then_some(signing);
        let common = frame::seal(&self.channel, chain, &mk, nonce, &header, letter, signing);
        let digest = crypto::sha256(&[&common]);
        let mac = |(agent, key): (&AgentId, &Key)| (*agent, frame::mac(key, &chain.id, &digest, agent));
        let macs = sending.mac_keys.iter().map(mac).collect();
        let attested = attestation.and_then(|said| sending.mac_keys.get_key_value(&said.sender));
        let attested = attested.map(|(agent, _)| *agent);
        Ok(Sealed { common, macs, seq, attested, ck, digest })
    }

    /// Moves past a sealed letter. Only one that was sealed from this very state may be applied.
    pub fn apply(&mut self, sealed: &Sealed) {
        let Some(Sending { chain, .. }) = &mut self.sending else { return };
        (chain.ck, chain.next) = (sealed.ck.clone(), sealed.seq.saturating_add(1));
        self.next = chain.next;
        let broken = self.transcript.note(sealed.seq, chain.id, sealed.digest);
        debug_assert!(broken.is_none(), "its own numbers follow each other, and nobody's word is asked");
    }

    /// The number of the next letter.
    #[must_use]
    pub const fn next(&self) -> Seq {
        self.next
    }

    /// The lowest number that is still sent to anybody: a channel waits for nobody who is a window behind.
    // contracts/channel.md C38.
    #[must_use]
    pub fn floor(&self) -> Seq {
        let last = self.next.saturating_sub(limit::WINDOW - 1);
        self.acked.values().copied().min().unwrap_or(self.next).clamp(last, self.next)
    }

    /// A member has everything below a number, as it says in a letter of its session.
    pub fn acked(&mut self, by: &AgentId, next: Seq) {
        if let Some(acked) = self.acked.get_mut(by).filter(|_| next <= self.next) {
            *acked = next.max(*acked);
        }
    }

    /// Whether a member has everything below a number.
    #[must_use]
    pub fn has_acked(&self, by: &AgentId, next: Seq) -> bool {
        self.acked.get(by).is_some_and(|acked| *acked >= next)
    }

    /// Compares what a member says of this agent's letters with what was sent.
    // contracts/channel.md C41.
    #[must_use]
    pub fn compare(&self, by: &AgentId, attestation: &Attestation) -> Option<Equivocation> {
        let is_mine = attestation.sender == *self.me.as_bytes();
        is_mine.then(|| self.transcript.compare(&self.me, by, attestation)).flatten()
    }
}

impl NewChain {
    /// For each other member what hands the chain over, to travel in a letter of its session.
    #[must_use]
    pub fn keys(&self) -> &[(AgentId, SenderKey)] {
        &self.keys
    }
}

impl Sealed {
    /// The letter's number.
    #[must_use]
    pub const fn seq(&self) -> Seq {
        self.seq
    }

    /// Of whose letters it says something.
    #[must_use]
    pub const fn attested(&self) -> Option<AgentId> {
        self.attested
    }

    /// What is the same in all frames: all but the last 16 bytes.
    #[must_use]
    pub fn common(&self) -> &[u8] {
        &self.common
    }

    /// The last 16 bytes for each recipient.
    #[must_use]
    pub fn macs(&self) -> &[(AgentId, Mac)] {
        &self.macs
    }

    /// One recipient's frame.
    #[must_use]
    pub fn frame_for(&self, agent: &AgentId) -> Option<Vec<u8>> {
        let at = self.macs.binary_search_by_key(agent, |(agent, _)| *agent).ok()?;
        self.macs.get(at).map(|(_, mac)| [self.common.as_slice(), mac].concat())
    }
}

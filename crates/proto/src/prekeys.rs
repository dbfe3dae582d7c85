//! An agent's own prekeys: made, given away once, spent, rotated, deleted.

use std::collections::{BTreeMap, BTreeSet};

use nuncio_contracts::registry::{limit, time};
use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use crate::batch::PrekeyBatch;
use crate::bundle::{Bundle, BundleError, OneTimeBatch, OneTimePrekey, OneTimeRef, SignedPrekeys};
use crate::codec;
use crate::crypto::{self, KemSeed};
use crate::handshake::{ResponderKeys, Used};
use crate::identity::Identity;
use crate::ids::AgentId;
use crate::mailbox::Mailbox;
use crate::rows;
use crate::secret::Key;
use crate::step::Op;
use crate::time::UnixMillis;

/// All private prekeys of one agent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Prekeys {
    signed: BTreeMap<u32, SignedPair>,
    batches: BTreeMap<u32, OneTimeBatch>,
    /// Batches that are the directory's (contracts/directory.md D6).
    listed: BTreeSet<u32>,
    one_time: BTreeMap<OneTimeRef, OneTimePair>,
    /// Starts without one-time prekey that were taken, with the signed prekeys they used and by whom.
    starts: BTreeMap<[u8; 32], (u32, AgentId)>,
}

#[derive(Clone, Debug)]
pub(crate) struct SignedPair {
    pub(crate) public: SignedPrekeys,
    pub(crate) agreement: Key,
    pub(crate) kem: KemSeed,
    pub(crate) made: UnixMillis,
}

#[derive(Clone, Debug)]
struct OneTimePair {
    agreement: Key,
    kem: KemSeed,
    /// Apart from the pair: where there is nobody in it, a place of its own would hold what the stack had there, and that may be a key.
    given: Option<Box<AgentId>>,
}

#[derive(Serialize, Deserialize)]
struct SignedRow(u8, ByteArray<32>, ByteArray<64>, u64);
#[derive(Serialize, Deserialize)]
struct OneTimeRow(u8, ByteArray<32>, ByteArray<64>, Option<ByteArray<32>>);
#[derive(Serialize, Deserialize)]
struct StartRow(u8, u32, ByteArray<32>);

/// The version of rows that name an agent.
const ROW_VERSION: u8 = 2;

/// New prekeys, made but not yet kept.
#[derive(Debug)]
pub(crate) enum Made {
    Signed(u32, Box<SignedPair>),
    Batch(OneTimeBatch, Vec<(OneTimeRef, Key, KemSeed)>),
    /// A batch that is the directory's from its making on.
    Listed(OneTimeBatch, Vec<(OneTimeRef, Key, KemSeed)>),
}

impl Prekeys {
    /// Whether signed prekeys are missing or due for rotation.
    pub(crate) fn wants_signed(&self, now: UnixMillis) -> bool {
        self.signed.last_key_value().is_none_or(|(_, pair)| now.since(pair.made) >= time::SIGNED_PREKEY_LIFE)
    }

    /// Whether one-time prekeys run low.
    pub(crate) fn wants_batch(&self) -> bool {
        !self.is_full() && self.left() < limit::ONE_TIME_LOW
    }

    /// So many were given away and not used that no more are made until some have expired; bundles go without one.
    fn is_full(&self) -> bool {
        self.one_time.len() >= limit::ONE_TIME_MAX
    }

    pub(crate) fn left(&self) -> usize {
        self.own().count()
    }

    /// One-time prekeys that were given to nobody, and are this agent's to give.
    // contracts/directory.md D6.
    fn own(&self) -> impl Iterator<Item = OneTimeRef> {
        let free = self.one_time.iter().filter(|(at, pair)| pair.given.is_none() && !self.is_listed(**at));
        free.map(|(at, _)| *at)
    }

    /// Whether a one-time prekey was the directory's to give.
    pub(crate) fn is_listed(&self, at: OneTimeRef) -> bool {
        self.listed.contains(&at.batch)
    }

    /// The newest batch that is the directory's, where none of its prekeys was used or has expired.
    pub(crate) fn newest_listed(&self) -> Option<PrekeyBatch> {
        let batch = self.batches.get(self.listed.last()?)?;
        let prekey = |index| {
            let at = OneTimeRef { batch: batch.number(), index };
            self.one_time.get(&at).map(|pair| public_of(at, &pair.agreement, &pair.kem))
        };
        PrekeyBatch::of(batch.clone(), (0..limit::ONE_TIME_BATCH).map_while(prekey).collect())
    }

    /// A batch for the directory, with a number above all of ours and another one.
    pub(crate) fn make_listed<R: CryptoRng + ?Sized>(
        &self,
        me: &Identity,
        above: u32,
        now: UnixMillis,
        rng: &mut R,
    ) -> Option<Made> {
        let newest = self.batches.last_key_value().map_or(0, |(number, _)| *number);
        let number = newest.max(above).checked_add(1).filter(|_| !self.is_full())?;
        let (batch, pairs) = batch_of(me, number, now, rng);
        Some(Made::Listed(batch, pairs))
    }

    /// When the next rotation or deletion is due.
    pub(crate) fn due(&self) -> UnixMillis {
        let rotation =
            self.signed.last_key_value().map_or(UnixMillis(0), |(_, pair)| pair.made.plus(time::SIGNED_PREKEY_LIFE));
        let deletion =
            self.signed.values().map(|pair| pair.made.plus(time::SIGNED_PREKEY_LIFE + time::SIGNED_PREKEY_GRACE)).min();
        let batch = self.batches.values().map(OneTimeBatch::not_after).min();
        [Some(rotation), deletion, batch].into_iter().flatten().min().unwrap_or(UnixMillis::NEVER)
    }

    pub(crate) fn make_signed<R: CryptoRng + ?Sized>(&self, me: &Identity, now: UnixMillis, rng: &mut R) -> Made {
        let id = self.signed.last_key_value().map_or(1, |(id, _)| id.saturating_add(1));
        Made::Signed(id, Box::new(SignedPair::new(me, id, Key::random(rng), KemSeed::random(rng), now)))
    }

    pub(crate) fn make_batch<R: CryptoRng + ?Sized>(&self, me: &Identity, now: UnixMillis, rng: &mut R) -> Made {
        let batch = self.batches.last_key_value().map_or(1, |(number, _)| number.saturating_add(1));
        let (batch, pairs) = batch_of(me, batch, now, rng);
        Made::Batch(batch, pairs)
    }

    pub(crate) fn keep(&mut self, made: Made, ops: &mut Vec<Op>) {
        match made {
            Made::Signed(id, pair) => {
                ops.push(Op::Put { key: rows::signed_prekey(id), value: pair.to_row() });
                self.signed.insert(id, *pair);
            }
            Made::Listed(batch, pairs) => {
                ops.push(Op::Put { key: rows::listed(batch.number()), value: codec::encode(&(1_u8,)) });
                self.listed.insert(batch.number());
                self.keep(Made::Batch(batch, pairs), ops);
            }
            Made::Batch(batch, pairs) => {
                ops.push(Op::Put { key: rows::batch(batch.number()), value: batch.to_bytes() });
                for (at, agreement, kem) in pairs {
                    let pair = OneTimePair { agreement, kem, given: None };
                    ops.push(Op::Put { key: rows::one_time(at), value: pair.to_row() });
                    self.one_time.insert(at, pair);
                }
                self.batches.insert(batch.number(), batch);
            }
        }
    }

    /// A signed bundle of the current prekeys.
    pub(crate) fn bundle(
        &self,
        me: &Identity,
        now: UnixMillis,
        at: (&[String], Option<&Mailbox>),
        audits: bool,
    ) -> Option<Vec<u8>> {
        let (_, pair) = self.signed.last_key_value()?;
        let not_after = now.plus(time::SIGNED_PREKEY_LIFE);
        Some(Bundle::sign(me, &pair.public, pair.made, not_after, at, audits))
    }

    /// The next one-time prekey that was not given away.
    pub(crate) fn next_one_time(&self) -> Option<OneTimeRef> {
        self.own().next().filter(|_| !self.is_full())
    }

    /// Puts a one-time prekey beside a bundle.
    pub(crate) fn offer(&self, bundle: &[u8], at: OneTimeRef) -> Option<Result<Vec<u8>, BundleError>> {
        let pair = self.one_time.get(&at)?;
        let offer = self.batches.get(&at.batch)?.offer(public_of(at, &pair.agreement, &pair.kem));
        Some(Bundle::with_one_time(bundle, &offer))
    }

    /// Marks a one-time prekey as given: it is never given again, also after a crash. The oldest of those that this agent has not used goes for it.
    pub(crate) fn give(&mut self, at: OneTimeRef, to: &AgentId, ops: &mut Vec<Op>) {
        let unused = self.one_time.iter().filter(|(_, pair)| pair.given.as_deref() == Some(to)).map(|(at, _)| *at);
        let unused: Vec<_> = unused.collect();
        if let Some(oldest) = unused.first().filter(|_| unused.len() >= limit::ONE_TIME_PER_AGENT) {
            self.one_time.remove(oldest);
            ops.push(Op::Delete { key: rows::one_time(*oldest) });
        }
        if let Some(pair) = self.one_time.get_mut(&at) {
            pair.given = Some(Box::new(*to));
            ops.push(Op::Put { key: rows::one_time(at), value: pair.to_row() });
        }
    }

    /// The private halves that a start names, if they are there and the start is new.
    pub(crate) fn for_start(&self, used: &Used) -> Option<(ResponderKeys<'_>, &Key)> {
        let pair = self.signed.get(&used.signed)?;
        let one_time = match used.one_time {
            Some(at) => {
                let one = self.one_time.get(&at)?;
                Some((&one.agreement, &one.kem, public_of(at, &one.agreement, &one.kem).leaf()))
            }
            // contracts/handshake.md H7: a start without one-time prekey is taken once, and not at all when the memory for that is full.
            None if self.starts.contains_key(&used.ephemeral) || self.starts.len() >= limit::STARTS_REMEMBERED_MAX => {
                return None;
            }
            None => None,
        };
        let keys =
            ResponderKeys { public: &pair.public, agreement_prekey: &pair.agreement, kem_prekey: &pair.kem, one_time };
        Some((keys, &pair.agreement))
    }

    /// Whether a start of this agent can be remembered, if it has to be (contracts/handshake.md H7).
    pub(crate) fn takes_start(&self, used: &Used, by: &AgentId) -> bool {
        let of = || self.starts.values().filter(|(_, agent)| agent == by).count();
        used.one_time.is_some() || of() < limit::STARTS_PER_AGENT_MAX
    }

    /// Deletes the one-time prekey that a start used, or remembers the start.
    pub(crate) fn spend(&mut self, used: &Used, by: &AgentId, ops: &mut Vec<Op>) {
        if let Some(at) = used.one_time {
            self.one_time.remove(&at);
            ops.push(Op::Delete { key: rows::one_time(at) });
        } else {
            self.starts.insert(used.ephemeral, (used.signed, *by));
            let row = StartRow(ROW_VERSION, used.signed, ByteArray::new(*by.as_bytes()));
            ops.push(Op::Put { key: rows::start(&used.ephemeral), value: codec::encode(&row) });
        }
    }

    /// Deletes what is over: signed prekeys after their grace with the starts remembered for them, and old batches.
    pub(crate) fn expire(&mut self, now: UnixMillis, ops: &mut Vec<Op>) {
        let newest = self.signed.last_key_value().map(|(id, _)| *id);
        let over = |pair: &SignedPair| now.since(pair.made) >= time::SIGNED_PREKEY_LIFE + time::SIGNED_PREKEY_GRACE;
        let ids: Vec<u32> =
            self.signed.iter().filter(|(id, pair)| Some(**id) != newest && over(pair)).map(|(id, _)| *id).collect();
        for id in ids {
            self.signed.remove(&id);
            ops.push(Op::Delete { key: rows::signed_prekey(id) });
            let starts: Vec<_> =
                self.starts.iter().filter(|(_, (signed, _))| *signed == id).map(|(hash, _)| *hash).collect();
            for hash in starts {
                self.starts.remove(&hash);
                ops.push(Op::Delete { key: rows::start(&hash) });
            }
        }
        let batches: Vec<u32> =
            self.batches.values().filter(|batch| batch.not_after() <= now).map(OneTimeBatch::number).collect();
        for number in batches {
            self.batches.remove(&number);
            ops.push(Op::Delete { key: rows::batch(number) });
            if self.listed.remove(&number) {
                ops.push(Op::Delete { key: rows::listed(number) });
            }
            let refs: Vec<_> = self.one_time.keys().filter(|at| at.batch == number).copied().collect();
            for at in refs {
                self.one_time.remove(&at);
                ops.push(Op::Delete { key: rows::one_time(at) });
            }
        }
    }

    /// Takes one of this module's rows at start.
    pub(crate) fn load(&mut self, me: &Identity, key: &[u8], value: &[u8]) -> Option<()> {
        match key.split_first()? {
            (&rows::SIGNED_PREKEY, id) => {
                let id = u32::from_be_bytes(id.try_into().ok()?);
                let SignedRow(_, agreement, kem, made) = codec::decode(value, 256).ok()?;
                let (agreement, kem) = (Key::new(agreement.into_array()), KemSeed::new(kem.into_array()));
                self.signed.insert(id, SignedPair::new(me, id, agreement, kem, UnixMillis(made)));
            }
            (&rows::ONE_TIME, at) => {
                let (batch, index) = at.split_first_chunk::<4>()?;
                let at =
                    OneTimeRef { batch: u32::from_be_bytes(*batch), index: u16::from_be_bytes(index.try_into().ok()?) };
                let OneTimeRow(version, agreement, kem, given) = codec::decode(value, 256).ok()?;
                let given =
                    given.map(|agent| AgentId::from_bytes(agent.into_array()).map(Box::new)).transpose().ok()?;
                let (agreement, kem) = (Key::new(agreement.into_array()), KemSeed::new(kem.into_array()));
                (version == ROW_VERSION).then(|| self.one_time.insert(at, OneTimePair { agreement, kem, given }))?;
            }
            (&rows::BATCH, _) => {
                let batch = OneTimeBatch::from_bytes(value).ok()?;
                self.batches.insert(batch.number(), batch);
            }
            (&rows::LISTED, number) => {
                let (version,): (u8,) = codec::decode(value, 16).ok()?;
                let number = u32::from_be_bytes(number.try_into().ok()?);
                (version == 1).then(|| self.listed.insert(number))?;
            }
            (&rows::START, _) => {
                let StartRow(version, signed, by) = codec::decode(value, 64).ok()?;
                let by = AgentId::from_bytes(by.into_array()).ok().filter(|_| version == ROW_VERSION)?;
                self.starts.insert(rows::split_32(key)?, (signed, by));
            }
            _ => return None,
        }
        Some(())
    }
}

fn batch_of<R: CryptoRng + ?Sized>(
    me: &Identity,
    batch: u32,
    now: UnixMillis,
    rng: &mut R,
) -> (OneTimeBatch, Vec<(OneTimeRef, Key, KemSeed)>) {
    let pairs: Vec<_> = (0..limit::ONE_TIME_BATCH)
        .map(|index| (OneTimeRef { batch, index }, Key::random(rng), KemSeed::random(rng)))
        .collect();
    let leaves = pairs.iter().map(|(at, agreement, kem)| public_of(*at, agreement, kem).leaf()).collect();
    let not_after = now.plus(time::SIGNED_PREKEY_LIFE + time::SIGNED_PREKEY_GRACE);
    (OneTimeBatch::sign(me, batch, not_after, leaves), pairs)
}

fn public_of(at: OneTimeRef, agreement: &Key, kem: &KemSeed) -> OneTimePrekey {
    OneTimePrekey { at, agreement: crypto::dh_public(agreement), kem: Box::new(crypto::kem_public(kem)) }
}

impl SignedPair {
    fn new(me: &Identity, id: u32, agreement: Key, kem: KemSeed, made: UnixMillis) -> Self {
        let public = SignedPrekeys {
            agreement: *me.agreement_public(),
            id,
            agreement_prekey: crypto::dh_public(&agreement),
            kem_prekey: Box::new(crypto::kem_public(&kem)),
        };
        Self { public, agreement, kem, made }
    }

    fn to_row(&self) -> Vec<u8> {
        codec::encode(&SignedRow(
            1,
            ByteArray::new(*self.agreement.expose()),
            ByteArray::new(*self.kem.expose()),
            self.made.0,
        ))
    }
}

impl OneTimePair {
    fn to_row(&self) -> Vec<u8> {
        codec::encode(&OneTimeRow(
            ROW_VERSION,
            ByteArray::new(*self.agreement.expose()),
            ByteArray::new(*self.kem.expose()),
            self.given.as_ref().map(|agent| ByteArray::new(*agent.as_bytes())),
        ))
    }
}

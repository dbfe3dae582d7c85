//! The Double Ratchet with header encryption, in the names of Signal's specification (revision of 2025-09, sections 3.4, 3.5 and 4).
//!
//! ```text
//!             rk ──KDF_RK(dh)──► rk ──KDF_RK(dh)──► rk          a turn: one new DH pair on the side that received
//!                    │                  │
//!                    ├─► ck ─KDF_CK─► ck ─KDF_CK─► ck           a chain: one step a letter
//!                    │         └► mk        └► mk               a message key: one letter, ever
//!                    └─► nhk  becomes hk at the next turn
//! ```
//!
//! Every function takes the state by reference and gives back an [`Advance`]: nothing moves until the caller has authenticated the frame and
//! applies it.

use std::borrow::Cow;

use nuncio_contracts::registry::{label, limit};
use rand_core::CryptoRng;

use crate::crypto::{self, CryptoError};
use crate::header::Header;
use crate::ids::{Seq, Tag};
use crate::secret::Key;

/// One side's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ratchet {
    pub(crate) rk: Key,
    pub(crate) dhs: Key,
    pub(crate) dhs_public: [u8; 32],
    pub(crate) send: Option<Chain>,
    pub(crate) recv: Option<ReceivingChain>,
    pub(crate) nhks: Key,
    pub(crate) nhkr: Key,
    pub(crate) next_tag: Tag,
    pub(crate) pn: u32,
}

/// A chain key with the header key and tag that go with it, and what its next step gives: made ahead, where the step before it lay, so that letters in
/// order move and place no key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    pub(crate) ck: Key,
    /// Of letter `n`.
    pub(crate) mk: Key,
    next: Key,
    pub(crate) hk: Key,
    pub(crate) tag: Tag,
    pub(crate) n: u32,
}

/// A receiving chain, whose letters have consecutive session-wide numbers: letter `n` is number `base + n`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivingChain {
    pub(crate) chain: Chain,
    pub(crate) base: Seq,
}

/// A message key kept for a letter that has not come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    pub(crate) seq: Seq,
    pub(crate) tag: Tag,
    pub(crate) mk: Key,
}

/// A receiving chain that is over; its header key stays while letters of it are missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OldChain {
    pub(crate) hk: Key,
    pub(crate) tag: Tag,
}

/// How a state moves, as a value.
#[derive(Debug)]
#[must_use]
pub enum Advance {
    /// The receiving chain took one step.
    Stepped,
    /// The receiving chain took more than one.
    Skipped {
        /// The chain behind them.
        chain: Chain,
    },
    /// A DH turn, and steps in the new receiving chain.
    Turned {
        /// The whole next state.
        next: Box<Ratchet>,
        /// The receiving chain that is over.
        old: Option<OldChain>,
    },
}

/// What opening a header's letter takes.
#[derive(Debug)]
pub struct Opening<'a> {
    /// The letter's key.
    pub mk: Cow<'a, Key>,
    /// How the state moves once the body has opened.
    pub advance: Advance,
    /// Keys of letters that were passed over.
    pub skipped: Vec<Skipped>,
}

/// Why a header that opened leads to no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RatchetError {
    /// The header asks to skip more keys than the window has numbers.
    #[error("header skips {0} letters, more than the window")]
    SkipTooFar(u64),
    /// As many keys as the agent keeps are kept already; the missing letters come first.
    #[error("no room for more skipped keys")]
    NoRoom,
    /// A letter number that its chain has passed and whose key is spent.
    #[error("letter key is spent")]
    Spent,
    /// The numbers of the header contradict each other or an earlier header of the chain.
    #[error("header contradicts its chain")]
    Contradiction,
    /// The chain may not grow longer.
    #[error("chain is exhausted")]
    Exhausted,
    /// The ratchet key gives no secret.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}

/// The tag that a header key is found by.
#[must_use]
pub fn tag_of(hk: &Key) -> Tag {
    let [t @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = crypto::hmac_sha256(hk.expose(), &[label::TAG]);
    Tag::from_bytes(t)
}

/// `KDF_RK_HE`: root key and DH output to root key, chain key and next header key.
fn kdf_rk(rk: &Key, dh: &Key) -> (Key, Key, Key) {
    let mut out = zeroize::Zeroizing::new([0; 96]);
    crypto::hkdf_sha256(rk.expose(), dh.expose(), label::ROOT, out.as_mut());
    split3(&out)
}

fn split3(out: &[u8; 96]) -> (Key, Key, Key) {
    let mut keys = out.as_chunks::<32>().0.iter().map(|bytes| Key::new(*bytes));
    let mut next = || keys.next().unwrap_or(Key::new([0; 32]));
    (next(), next(), next())
}

/// `KDF_CK`: chain key to chain key and message key.
pub(crate) fn kdf_ck(ck: &Key) -> (Key, Key) {
    let [mk, next] = ck_outputs(ck).map(Key::new);
    (next, mk)
}

/// Message key and chain key.
fn ck_outputs(ck: &Key) -> [[u8; 32]; 2] {
    crypto::hmac_sha256_each(ck.expose(), &[0x01], &[0x02])
}

impl Chain {
    pub(crate) fn new(ck: Key, hk: Key, tag: Tag, n: u32) -> Self {
        let (next, mk) = kdf_ck(&ck);
        Self { ck, mk, next, hk, tag, n }
    }

    /// Passes letter `n`: its key is no more.
    fn step(&mut self) {
        core::mem::swap(&mut self.ck, &mut self.next);
        let [mk, next] = ck_outputs(&self.ck);
        self.mk.overwrite(&mk);
        self.next.overwrite(&next);
        self.n += 1;
    }
}

impl Ratchet {
    /// `RatchetInitAliceHE`: the initiator, who knows the responder's signed prekey and can send at once.
    pub fn initiator<R: CryptoRng + ?Sized>(
        sk: &Key,
        bob_public: &[u8; 32],
        hka: &Key,
        nhkb: &Key,
        rng: &mut R,
    ) -> Result<Self, CryptoError> {
        let dhs = Key::random(rng);
        let (rk, ck, nhks) = kdf_rk(sk, &crypto::dh(&dhs, bob_public)?);
        let dhs_public = crypto::dh_public(&dhs);
        let send = Some(Chain::new(ck, hka.clone(), tag_of(hka), 0));
        Ok(Self { rk, dhs, dhs_public, send, recv: None, nhks, nhkr: nhkb.clone(), next_tag: tag_of(nhkb), pn: 0 })
    }

    /// `RatchetInitBobHE`: the responder, whose signed prekey is its first ratchet pair; it can send after it has received.
    #[must_use]
    pub fn responder(sk: &Key, pair: &Key, hka: &Key, nhkb: &Key) -> Self {
        Self {
            rk: sk.clone(),
            dhs: pair.clone(),
            dhs_public: crypto::dh_public(pair),
            send: None,
            recv: None,
            nhks: nhkb.clone(),
            nhkr: hka.clone(),
            next_tag: tag_of(hka),
            pn: 0,
        }
    }

    /// The chain that the next letter is sealed in.
    pub fn sending(&self) -> Option<&Chain> {
        self.send.as_ref().filter(|chain| chain.n < limit::CHAIN_LEN_MAX)
    }

    /// The steps that an opened header of the current receiving chain asks for.
    pub fn receive_step(&self, header: &Header, room: usize) -> Result<Opening<'_>, RatchetError> {
        let ReceivingChain { chain, base } = self.recv.as_ref().ok_or(RatchetError::Contradiction)?;
        // contracts/ratchet.md R7: within a chain, seq - n is constant.
        if header.seq.checked_sub(header.n.into()) != Some(*base) {
            return Err(RatchetError::Contradiction);
        }
        // contracts/ratchet.md R3: no letter has this number.
        if header.n == limit::CHAIN_LEN_MAX {
            return Err(RatchetError::Exhausted);
        }
        if header.n == chain.n {
            return Ok(Opening { mk: Cow::Borrowed(&chain.mk), advance: Advance::Stepped, skipped: Vec::new() });
        }
        let (mut chain, skipped) = skip(chain.clone(), *base, header.n, room)?;
        let mk = Cow::Owned(chain.mk.clone());
        chain.step();
        Ok(Opening { mk, advance: Advance::Skipped { chain }, skipped })
    }

    /// The turn that an opened header of the next receiving chain asks for: `pn` is obeyed, then `DHRatchetHE`, then `n`.
    pub fn turn<R: CryptoRng + ?Sized>(
        &self,
        header: &Header,
        room: usize,
        rng: &mut R,
    ) -> Result<Opening<'_>, RatchetError> {
        let base = header.seq.checked_sub(header.n.into()).ok_or(RatchetError::Contradiction)?;
        let (mut skipped, old) = self.finish_chain(header, base, room)?;
        // The bound holds before any key of the new chain is derived.
        let room = room.saturating_sub(skipped.len());
        check_skip(header.n.into(), room)?;

        let (rk, ckr, nhkr) = kdf_rk(&self.rk, &crypto::dh(&self.dhs, &header.ratchet_key)?);
        let dhs = Key::random(rng);
        let (rk, cks, nhks) = kdf_rk(&rk, &crypto::dh(&dhs, &header.ratchet_key)?);

        let recv = Chain::new(ckr, self.nhkr.clone(), self.next_tag, 0);
        let (mut recv, in_new) = skip(recv, base, header.n, room)?;
        skipped.extend(in_new);
        let mk = Cow::Owned(recv.mk.clone());
        recv.step();
        let next = Self {
            rk,
            dhs_public: crypto::dh_public(&dhs),
            dhs,
            send: Some(Chain::new(cks, self.nhks.clone(), tag_of(&self.nhks), 0)),
            recv: Some(ReceivingChain { chain: recv, base }),
            nhks,
            next_tag: tag_of(&nhkr),
            nhkr,
            pn: self.send.as_ref().map_or(0, |chain| chain.n),
        };
        Ok(Opening { mk, advance: Advance::Turned { next: Box::new(next), old }, skipped })
    }

    /// The keys that the chain which is over still owes, and what stays of it.
    fn finish_chain(
        &self,
        header: &Header,
        base: Seq,
        room: usize,
    ) -> Result<(Vec<Skipped>, Option<OldChain>), RatchetError> {
        let Some(ReceivingChain { chain, base: old_base }) = &self.recv else {
            // The first chain of a direction: nothing came before it.
            return if header.pn == 0 && base == 0 { Ok((Vec::new(), None)) } else { Err(RatchetError::Contradiction) };
        };
        // contracts/ratchet.md R8: the new chain's first number follows the old chain's last.
        if header.pn < chain.n || old_base.checked_add(header.pn.into()) != Some(base) {
            return Err(RatchetError::Contradiction);
        }
        let (_, skipped) = skip(chain.clone(), *old_base, header.pn, room)?;
        Ok((skipped, Some(OldChain { hk: chain.hk.clone(), tag: chain.tag })))
    }

    /// Moves the state past a letter that was sealed in [`Ratchet::sending`].
    pub fn sent(&mut self) {
        self.send.iter_mut().for_each(Chain::step);
    }

    /// Moves the state. Only an [`Advance`] made from this very state may be applied.
    pub fn apply(&mut self, advance: Advance) -> Option<OldChain> {
        match advance {
            Advance::Stepped => {
                self.recv.iter_mut().for_each(|recv| recv.chain.step());
                None
            }
            Advance::Skipped { chain } => {
                if let Some(recv) = &mut self.recv {
                    recv.chain = chain;
                }
                None
            }
            Advance::Turned { next, old } => {
                *self = *next;
                old
            }
        }
    }
}

/// A chain stepped to number `to`, and the keys that it passes. The bound is checked before any key is derived.
fn skip(mut chain: Chain, base: Seq, to: u32, room: usize) -> Result<(Chain, Vec<Skipped>), RatchetError> {
    check_skip(to.checked_sub(chain.n).ok_or(RatchetError::Spent)?.into(), room)?;
    // A chain that is over may have just this length.
    if to > limit::CHAIN_LEN_MAX {
        return Err(RatchetError::Exhausted);
    }
    let mut skipped = Vec::new();
    while chain.n < to {
        let seq = base.checked_add(chain.n.into()).ok_or(RatchetError::Exhausted)?;
        skipped.push(Skipped { seq, tag: chain.tag, mk: chain.mk.clone() });
        chain.step();
    }
    Ok((chain, skipped))
}

fn check_skip(count: u64, room: usize) -> Result<(), RatchetError> {
    if count >= limit::WINDOW {
        return Err(RatchetError::SkipTooFar(count));
    }
    if usize::try_from(count).map_or(true, |count| count > room) {
        return Err(RatchetError::NoRoom);
    }
    Ok(())
}

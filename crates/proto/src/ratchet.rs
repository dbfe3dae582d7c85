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

/// A chain key with the header key and tag that go with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    pub(crate) ck: Key,
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
    /// The sending chain took one step.
    Sent {
        /// Next chain key.
        ck: Key,
    },
    /// The receiving chain took steps.
    Received {
        /// Next chain key.
        ck: Key,
        /// Next number.
        n: u32,
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
pub struct Opening {
    /// The letter's key.
    pub mk: Key,
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
    let [mk, next] = crypto::hmac_sha256_each(ck.expose(), &[0x01], &[0x02]).map(Key::new);
    (next, mk)
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
        let send = Some(Chain { ck, hk: hka.clone(), tag: tag_of(hka), n: 0 });
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

    /// The step that the next letter takes, and its key.
    pub fn send_step(&self) -> Option<(&Chain, Advance, Key)> {
        let chain = self.send.as_ref().filter(|chain| chain.n < limit::CHAIN_LEN_MAX)?;
        let (ck, mk) = kdf_ck(&chain.ck);
        Some((chain, Advance::Sent { ck }, mk))
    }

    /// The steps that an opened header of the current receiving chain asks for.
    pub fn receive_step(&self, header: &Header, room: usize) -> Result<Opening, RatchetError> {
        let ReceivingChain { chain, base } = self.recv.as_ref().ok_or(RatchetError::Contradiction)?;
        // contracts/ratchet.md R7: within a chain, seq - n is constant.
        if header.seq.checked_sub(header.n.into()) != Some(*base) {
            return Err(RatchetError::Contradiction);
        }
        let (ck, mk, skipped) = skip_and_step(chain, *base, header.n, room)?;
        Ok(Opening { mk, advance: Advance::Received { ck, n: header.n + 1 }, skipped })
    }

    /// The turn that an opened header of the next receiving chain asks for: `pn` is obeyed, then `DHRatchetHE`, then `n`.
    pub fn turn<R: CryptoRng + ?Sized>(
        &self,
        header: &Header,
        room: usize,
        rng: &mut R,
    ) -> Result<Opening, RatchetError> {
        let base = header.seq.checked_sub(header.n.into()).ok_or(RatchetError::Contradiction)?;
        let (mut skipped, old) = self.finish_chain(header, base, room)?;
        // The bound holds before any key of the new chain is derived.
        let room = room.saturating_sub(skipped.len());
        check_skip(header.n.into(), room)?;

        let (rk, ckr, nhkr) = kdf_rk(&self.rk, &crypto::dh(&self.dhs, &header.ratchet_key)?);
        let dhs = Key::random(rng);
        let (rk, cks, nhks) = kdf_rk(&rk, &crypto::dh(&dhs, &header.ratchet_key)?);

        let recv = Chain { ck: ckr, hk: self.nhkr.clone(), tag: self.next_tag, n: 0 };
        let (ck, mk, in_new) = skip_and_step(&recv, base, header.n, room)?;
        skipped.extend(in_new);
        let next = Self {
            rk,
            dhs_public: crypto::dh_public(&dhs),
            dhs,
            send: Some(Chain { ck: cks, hk: self.nhks.clone(), tag: tag_of(&self.nhks), n: 0 }),
            recv: Some(ReceivingChain { chain: Chain { ck, n: header.n + 1, ..recv }, base }),
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
        let (_, skipped) = skip(chain, *old_base, header.pn, room)?;
        Ok((skipped, Some(OldChain { hk: chain.hk.clone(), tag: chain.tag })))
    }

    /// Moves the state. Only an [`Advance`] made from this very state may be applied.
    pub fn apply(&mut self, advance: Advance) -> Option<OldChain> {
        match advance {
            Advance::Sent { ck } => {
                if let Some(chain) = &mut self.send {
                    chain.ck = ck;
                    chain.n += 1;
                }
                None
            }
            Advance::Received { ck, n } => {
                if let Some(recv) = &mut self.recv {
                    recv.chain.ck = ck;
                    recv.chain.n = n;
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

/// Steps a chain to number `to`, keeping the keys that it passes. The bound is checked before any key is derived.
fn skip(chain: &Chain, base: Seq, to: u32, room: usize) -> Result<(Key, Vec<Skipped>), RatchetError> {
    check_skip(to.checked_sub(chain.n).ok_or(RatchetError::Spent)?.into(), room)?;
    // A chain that is over may have just this length.
    if to > limit::CHAIN_LEN_MAX {
        return Err(RatchetError::Exhausted);
    }
    let mut ck = chain.ck.clone();
    let mut skipped = Vec::new();
    for n in chain.n..to {
        let (next, mk) = kdf_ck(&ck);
        let seq = base.checked_add(n.into()).ok_or(RatchetError::Exhausted)?;
        skipped.push(Skipped { seq, tag: chain.tag, mk });
        ck = next;
    }
    Ok((ck, skipped))
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

fn skip_and_step(chain: &Chain, base: Seq, to: u32, room: usize) -> Result<(Key, Key, Vec<Skipped>), RatchetError> {
    // contracts/ratchet.md R3: no letter has this number.
    if to == limit::CHAIN_LEN_MAX {
        return Err(RatchetError::Exhausted);
    }
    let (ck, skipped) = skip(chain, base, to, room)?;
    let (ck, mk) = kdf_ck(&ck);
    Ok((ck, mk, skipped))
}

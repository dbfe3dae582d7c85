//! A session as its row keeps it: versioned, canonical, under 1 KiB. Skipped keys, held letters and frames under way are rows of their own, so a
//! letter rewrites only this.

use nuncio_contracts::registry::limit;
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};
use zeroize::Zeroize as _;

use crate::codec::{self, CodecError};
use crate::ids::{AgentId, IdError, Seq, SessionId};
use crate::ratchet::{Chain, OldChain, Ratchet, ReceivingChain, tag_of};
use crate::replay::Window;
use crate::secret::Key;
use crate::session::{Latest, Parties, Place, Session};
use crate::time::UnixMillis;

/// Longest snapshot in bytes: with a handshake and all old chains.
const SNAPSHOT_LEN_MAX: usize = 8_192;

/// Why a row is no snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// Not canonical.
    #[error("snapshot: {0}")]
    Codec(#[from] CodecError),
    /// Written by a newer version of this program; never guessed.
    #[error("snapshot of version {0}, which is newer than this program: use the newer program")]
    Newer(u8),
    /// Names no agents.
    #[error("snapshot: {0}")]
    Id(#[from] IdError),
}

type Bytes32 = ByteArray<32>;

#[derive(Serialize, Deserialize)]
struct SnapshotWire(
    u8,
    Bytes32,
    (Bytes32, Bytes32, bool),
    (u8, u64),
    (u64, u64, Bytes32, Option<ByteBuf>, bool),
    RatchetWire,
    Vec<Bytes32>,
    (Seq, Bytes32),
    (Seq, Seq, Bytes32),
);

#[derive(Serialize, Deserialize)]
struct RatchetWire(Bytes32, Bytes32, Bytes32, Option<ChainWire>, Option<(ChainWire, Seq)>, Bytes32, Bytes32, u32);
#[derive(Serialize, Deserialize)]
struct ChainWire(Bytes32, Bytes32, u32);

fn bytes(key: &Key) -> Bytes32 {
    ByteArray::new(*key.expose())
}

fn key(bytes: Bytes32) -> Key {
    Key::new(bytes.into_array())
}

/// What lies in a list is not on the stack, where the next call writes over it.
fn wipe(keys: &mut [Bytes32]) {
    keys.iter_mut().for_each(|key| key.as_mut_slice().zeroize());
}

impl ChainWire {
    fn of(chain: &Chain) -> Self {
        Self(bytes(&chain.ck), bytes(&chain.hk), chain.n)
    }

    fn restore(self) -> Chain {
        let hk = key(self.1);
        let tag = tag_of(&hk);
        Chain::new(key(self.0), hk, tag, self.2)
    }
}

impl RatchetWire {
    fn of(ratchet: &Ratchet) -> Self {
        Self(
            bytes(&ratchet.rk),
            bytes(&ratchet.dhs),
            ByteArray::new(ratchet.dhs_public),
            ratchet.send.as_ref().map(ChainWire::of),
            ratchet.recv.as_ref().map(|recv| (ChainWire::of(&recv.chain), recv.base)),
            bytes(&ratchet.nhks),
            bytes(&ratchet.nhkr),
            ratchet.pn,
        )
    }

    fn restore(self) -> Ratchet {
        let nhkr = key(self.6);
        Ratchet {
            rk: key(self.0),
            dhs: key(self.1),
            dhs_public: self.2.into_array(),
            send: self.3.map(ChainWire::restore),
            recv: self.4.map(|(chain, base)| ReceivingChain { chain: chain.restore(), base }),
            nhks: key(self.5),
            next_tag: tag_of(&nhkr),
            nhkr,
            pn: self.7,
        }
    }
}

impl Session {
    /// The snapshot: secret, sealed by the store.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let parties = &self.parties;
        let mut wire = SnapshotWire(
            limit::WIRE_VERSION,
            ByteArray::new(*self.id.as_bytes()),
            (
                ByteArray::new(*parties.initiator.as_bytes()),
                ByteArray::new(*parties.responder.as_bytes()),
                parties.initiated,
            ),
            self.place.to_wire(),
            (
                self.created.0,
                self.parameters,
                bytes(&self.exporter),
                self.handshake.as_ref().map(|handshake| ByteBuf::from(handshake.clone())),
                self.confirmed,
            ),
            RatchetWire::of(&self.ratchet),
            self.old_chains.iter().map(|old| bytes(&old.hk)).collect(),
            (self.window.next(), ByteArray::new(self.received_run)),
            (self.next_seq, self.acked, ByteArray::new(self.acked_run)),
        );
        let snapshot = codec::encode_sized(&wire, 768);
        wipe(&mut wire.6);
        snapshot
    }

    /// Reads a snapshot. Its skipped keys, held letters and frames under way come from their own rows.
    pub fn from_bytes(snapshot: &[u8]) -> Result<Self, SnapshotError> {
        match snapshot {
            [_, version, ..] if *version > limit::WIRE_VERSION && *version < 0x18 => {
                return Err(SnapshotError::Newer(*version));
            }
            _ => {}
        }
        let wire: SnapshotWire = codec::decode(snapshot, SNAPSHOT_LEN_MAX)?;
        let SnapshotWire(
            version,
            id,
            parties,
            place,
            (created, parameters, exporter, handshake, confirmed),
            ratchet,
            mut old,
            received,
            sent,
        ) = wire;
        if version != limit::WIRE_VERSION {
            return Err(SnapshotError::Newer(version));
        }
        let old_chain = |hk: &Bytes32| {
            let hk = key(*hk);
            OldChain { tag: tag_of(&hk), hk }
        };
        let old_chains = old.iter().map(old_chain).collect();
        wipe(&mut old);
        Ok(Self {
            id: SessionId::from_bytes(id.into_array()),
            parties: Parties {
                initiator: AgentId::from_bytes(parties.0.into_array())?,
                responder: AgentId::from_bytes(parties.1.into_array())?,
                initiated: parties.2,
            },
            place: Place::from_wire(place).ok_or(CodecError::Malformed)?,
            created: UnixMillis(created),
            parameters,
            exporter: key(exporter),
            handshake: handshake.map(ByteBuf::into_vec),
            confirmed,
            ratchet: ratchet.restore(),
            old_chains,
            skipped: std::collections::BTreeMap::new(),
            window: Window::restore(received.0, core::iter::empty()),
            received_run: received.1.into_array(),
            held: std::collections::BTreeMap::new(),
            next_seq: sent.0,
            acked: sent.1,
            acked_run: sent.2.into_array(),
            outstanding: std::collections::BTreeMap::new(),
            delivered: std::collections::BTreeMap::new(),
            gap: None,
            aged: false,
            tokens_in: Latest::default(),
            tokens_out: Latest::default(),
        })
    }
}

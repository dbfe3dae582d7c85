//! An agent's signed prekeys: what a stranger needs to write the first letter (contracts/bundle.md). Parsing verifies; an unverified bundle
//! has no type.

use nuncio_contracts::registry::{label, limit, time};
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};

use crate::codec::{self, CodecError};
use crate::crypto::{self, CryptoError, KEM_PUBLIC_LEN};
use crate::identity::Identity;
use crate::ids::{AgentId, IdError};
use crate::mailbox::Mailbox;
use crate::time::UnixMillis;

/// A verified bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// Whose it is.
    pub agent: AgentId,
    /// The keys, as the handshake's transcript hashes them.
    pub prekeys: SignedPrekeys,
    /// Valid from.
    pub not_before: UnixMillis,
    /// Valid until.
    pub not_after: UnixMillis,
    /// `host:port` at which the agent listens.
    pub endpoints: Vec<String>,
    /// Node that keeps its letters while it is offline: `did:key` and `host:port`.
    pub mailbox: Option<String>,
    /// A one-time prekey that was claimed with it.
    pub one_time: Option<OneTimePrekey>,
    /// Its agent keeps an audit log, and answers sessions that do (contracts/audit.md section 6).
    pub audits: bool,
}

/// The long-lived public prekeys of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedPrekeys {
    /// X25519 agreement key, `IK`.
    pub agreement: [u8; 32],
    /// Number of the two prekeys that follow.
    pub id: u32,
    /// X25519 signed prekey, `SPK`.
    pub agreement_prekey: [u8; 32],
    /// ML-KEM-768 prekey that is used when there is no one-time prekey.
    pub kem_prekey: Box<[u8; KEM_PUBLIC_LEN]>,
}

/// A public one-time prekey with the proof that it stands in a batch which the identity signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OneTimePrekey {
    /// Which one.
    pub at: OneTimeRef,
    /// X25519 one-time prekey, `OPK`.
    pub agreement: [u8; 32],
    /// ML-KEM-768 one-time prekey.
    pub kem: Box<[u8; KEM_PUBLIC_LEN]>,
}

/// Names a one-time prekey of one agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OneTimeRef {
    /// Number of the batch.
    pub batch: u32,
    /// Place in the batch.
    pub index: u16,
}

/// Why bytes are no bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// Not canonical.
    #[error("bundle: {0}")]
    Codec(#[from] CodecError),
    /// Names no agent.
    #[error("bundle: {0}")]
    Id(#[from] IdError),
    /// Not signed by its identity, or a key in it is unusable.
    #[error("bundle: {0}")]
    Crypto(#[from] CryptoError),
    /// Offers no wire version that this agent speaks.
    #[error("bundle offers no protocol version that this agent speaks")]
    Version,
    /// Not valid at this time.
    #[error("bundle is not valid now (its agent may have been offline for long, or a clock is wrong)")]
    NotNow,
    /// Addresses too many, too long or not text of the expected form.
    #[error("bundle has addresses of impossible form")]
    Endpoints,
    /// The one-time prekey is not in the batch whose root was signed.
    #[error("one-time prekey is not in the signed batch")]
    OneTime,
}

#[derive(Serialize, Deserialize)]
struct KeysWire(Vec<u8>, ByteArray<32>, ByteArray<32>, u32, ByteArray<32>, ByteArray<KEM_PUBLIC_LEN>);
#[derive(Serialize, Deserialize)]
struct BodyWire(KeysWire, u64, u64, Vec<String>, Option<String>);
#[derive(Serialize, Deserialize)]
struct BundleWire(BodyWire, ByteArray<64>, Option<OneTimeWire>);
#[derive(Serialize, Deserialize)]
struct OneTimeWire(u32, u16, ByteArray<32>, ByteArray<KEM_PUBLIC_LEN>, Vec<ByteArray<32>>, u64, ByteArray<64>);

impl SignedPrekeys {
    fn wire(&self, agent: &AgentId) -> KeysWire {
        KeysWire(
            vec![limit::WIRE_VERSION],
            ByteArray::new(*agent.as_bytes()),
            ByteArray::new(self.agreement),
            self.id,
            ByteArray::new(self.agreement_prekey),
            ByteArray::new(*self.kem_prekey),
        )
    }

    /// Hash of all that the handshake binds: versions, identity, agreement key and prekeys.
    #[must_use]
    pub fn hash(&self, agent: &AgentId) -> [u8; 32] {
        crypto::sha256(&[label::BUNDLE, &[0], &codec::encode(&self.wire(agent))])
    }
}

impl Bundle {
    /// Signs a bundle without one-time prekey: its bytes. Beside where the agent listens stands where frames wait for it.
    #[must_use]
    pub fn sign(
        identity: &Identity,
        prekeys: &SignedPrekeys,
        not_before: UnixMillis,
        not_after: UnixMillis,
        (endpoints, mailbox): (&[String], Option<&Mailbox>),
        audits: bool,
    ) -> Vec<u8> {
        let mut keys = prekeys.wire(&identity.id());
        keys.0.extend(audits.then_some(limit::WIRE_VERSION_AUDITED));
        let body = BodyWire(keys, not_before.0, not_after.0, endpoints.to_vec(), mailbox.map(Mailbox::to_string));
        let signature = identity.signing().sign(label::BUNDLE, &codec::encode(&body));
        codec::encode(&BundleWire(body, ByteArray::new(signature), None))
    }

    /// Reads a bundle and verifies every signature in it, for use at this time.
    pub fn parse(bytes: &[u8], now: UnixMillis) -> Result<Self, BundleError> {
        let BundleWire(body, signature, one_time) = codec::decode(bytes, limit::BUNDLE_LEN_MAX)?;
        // contracts/bundle.md B3: the signature is checked before any field is believed.
        let agent = AgentId::from_bytes(body.0.1.into_array())?;
        crypto::verify(agent.as_bytes(), label::BUNDLE, &codec::encode(&body), &signature.into_array())?;
        let BodyWire(keys, not_before, not_after, endpoints, mailbox) = body;
        if !keys.0.contains(&limit::WIRE_VERSION) {
            return Err(BundleError::Version);
        }
        let audits = keys.0.contains(&limit::WIRE_VERSION_AUDITED);
        let (not_before, not_after) = (UnixMillis(not_before), UnixMillis(not_after));
        if now.plus(time::CLOCK_SKEW) < not_before || now > not_after.plus(time::CLOCK_SKEW) {
            return Err(BundleError::NotNow);
        }
        if endpoints.len() > limit::ENDPOINTS_MAX || !endpoints.iter().chain(&mailbox).all(|at| is_endpoint(at)) {
            return Err(BundleError::Endpoints);
        }
        let prekeys = SignedPrekeys {
            agreement: keys.2.into_array(),
            id: keys.3,
            agreement_prekey: keys.4.into_array(),
            kem_prekey: Box::new(keys.5.into_array()),
        };
        let one_time = one_time.map(|wire| OneTimePrekey::from_wire(&agent, wire)).transpose()?;
        Ok(Self { agent, prekeys, not_before, not_after, endpoints, mailbox, one_time, audits })
    }

    /// Until when a bundle is valid that was verified before.
    pub fn edition(bytes: &[u8]) -> Result<UnixMillis, BundleError> {
        let BundleWire(body, _, _) = codec::decode(bytes, limit::BUNDLE_LEN_MAX)?;
        Ok(UnixMillis(body.2))
    }

    /// The hash that an invitation gives, over the bundle without one-time prekey.
    pub fn invitation_hash(bytes: &[u8]) -> Result<[u8; 32], BundleError> {
        let BundleWire(body, signature, _) = codec::decode(bytes, limit::BUNDLE_LEN_MAX)?;
        Ok(crypto::sha256(&[label::INVITATION, &[0], &codec::encode(&BundleWire(body, signature, None))]))
    }

    /// Puts a claimed one-time prekey beside a signed bundle.
    pub fn with_one_time(bundle: &[u8], one_time: &OneTimeOffer) -> Result<Vec<u8>, BundleError> {
        Self::with_offer(bundle, &one_time.to_bytes())
    }

    /// [`Bundle::with_one_time`], of the bytes of an [`OneTimeOffer`].
    pub fn with_offer(bundle: &[u8], offer: &[u8]) -> Result<Vec<u8>, BundleError> {
        let BundleWire(body, signature, _) = codec::decode(bundle, limit::BUNDLE_LEN_MAX)?;
        let offer: OneTimeWire = codec::decode(offer, limit::BUNDLE_LEN_MAX)?;
        Ok(codec::encode(&BundleWire(body, signature, Some(offer))))
    }
}

fn is_endpoint(text: &str) -> bool {
    !text.is_empty() && text.len() <= limit::ENDPOINT_LEN_MAX && text.bytes().all(|byte| (0x21..0x7f).contains(&byte))
}

impl OneTimePrekey {
    /// Hash of the prekey as a leaf of its batch.
    #[must_use]
    pub fn leaf(&self) -> [u8; 32] {
        let (batch, index) = (self.at.batch.to_be_bytes(), self.at.index.to_be_bytes());
        crypto::sha256(&[label::LEAF, &[0], &batch, &index, &self.agreement, self.kem.as_slice()])
    }

    fn from_wire(agent: &AgentId, wire: OneTimeWire) -> Result<Self, BundleError> {
        let OneTimeWire(batch, index, agreement, kem, path, not_after, signature) = wire;
        let prekey = Self {
            at: OneTimeRef { batch, index },
            agreement: agreement.into_array(),
            kem: Box::new(kem.into_array()),
        };
        if index >= limit::ONE_TIME_BATCH || path.len() != PATH_LEN {
            return Err(BundleError::OneTime);
        }
        let path: Vec<_> = path.into_iter().map(ByteArray::into_array).collect();
        let root = root_of(prekey.leaf(), index, &path);
        crypto::verify(
            agent.as_bytes(),
            label::ONE_TIME,
            &batch_statement(batch, UnixMillis(not_after), &root),
            &signature.into_array(),
        )
        .map_err(|_| BundleError::OneTime)?;
        Ok(prekey)
    }
}

/// Levels of a batch's tree.
const PATH_LEN: usize = 6;
const _: () = assert!(limit::ONE_TIME_BATCH == 1 << PATH_LEN);

/// A batch of one-time prekeys: what its owner signed.
#[derive(Clone, Debug)]
pub struct OneTimeBatch {
    batch: u32,
    not_after: UnixMillis,
    signature: [u8; 64],
    /// Leaves first, then each level up to the root.
    levels: Vec<Vec<[u8; 32]>>,
}

/// One prekey of a batch with its proof, ready to be given away.
#[derive(Clone, Debug)]
pub struct OneTimeOffer {
    prekey: OneTimePrekey,
    path: Vec<[u8; 32]>,
    not_after: UnixMillis,
    signature: [u8; 64],
}

impl OneTimeBatch {
    /// Signs the root over the leaves of a full batch.
    #[must_use]
    pub fn sign(identity: &Identity, batch: u32, not_after: UnixMillis, leaves: Vec<[u8; 32]>) -> Self {
        let levels = levels(leaves);
        let root = levels.last().and_then(|top| top.first()).copied().unwrap_or_default();
        let signature = identity.signing().sign(label::ONE_TIME, &batch_statement(batch, not_after, &root));
        Self { batch, not_after, signature, levels }
    }

    /// One that its owner has signed.
    pub(crate) fn signed(
        owner: &AgentId,
        batch: u32,
        not_after: UnixMillis,
        signature: [u8; 64],
        leaves: Vec<[u8; 32]>,
    ) -> Result<Self, BundleError> {
        let levels = levels(leaves);
        let root = levels.last().and_then(|top| top.first()).copied().unwrap_or_default();
        crypto::verify(owner.as_bytes(), label::ONE_TIME, &batch_statement(batch, not_after, &root), &signature)
            .map_err(|_| BundleError::OneTime)?;
        Ok(Self { batch, not_after, signature, levels })
    }

    /// Whether these are its leaves, all of them.
    pub(crate) fn has_leaves(&self, leaves: impl Iterator<Item = [u8; 32]>) -> bool {
        self.levels.first().is_some_and(|own| own.iter().copied().eq(leaves))
    }

    /// Its owner's signature over the root.
    pub(crate) const fn signature(&self) -> &[u8; 64] {
        &self.signature
    }

    /// The batch as its record keeps it.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let leaves = self.levels.first().map(|leaves| leaves.concat()).unwrap_or_default();
        codec::encode(&BatchRecord(
            1,
            self.batch,
            self.not_after.0,
            ByteArray::new(self.signature),
            ByteBuf::from(leaves),
        ))
    }

    /// Reads what [`OneTimeBatch::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BundleError> {
        let BatchRecord(_, batch, not_after, signature, leaves) = codec::decode(bytes, limit::BUNDLE_LEN_MAX)?;
        let (leaves, rest) = leaves.as_chunks::<32>();
        if leaves.len() != usize::from(limit::ONE_TIME_BATCH) || !rest.is_empty() {
            return Err(BundleError::OneTime);
        }
        Ok(Self {
            batch,
            not_after: UnixMillis(not_after),
            signature: signature.into_array(),
            levels: levels(leaves.to_vec()),
        })
    }

    /// Its number.
    #[must_use]
    pub const fn number(&self) -> u32 {
        self.batch
    }

    /// When its unused private halves are deleted.
    #[must_use]
    pub const fn not_after(&self) -> UnixMillis {
        self.not_after
    }

    /// A prekey of this batch with its proof.
    #[must_use]
    pub fn offer(&self, prekey: OneTimePrekey) -> OneTimeOffer {
        let mut at = usize::from(prekey.at.index);
        let mut path = Vec::with_capacity(PATH_LEN);
        for level in self.levels.iter().take(PATH_LEN) {
            path.push(level.get(at ^ 1).copied().unwrap_or_default());
            at /= 2;
        }
        OneTimeOffer { prekey, path, not_after: self.not_after, signature: self.signature }
    }
}

#[derive(Serialize, Deserialize)]
struct BatchRecord(u8, u32, u64, ByteArray<64>, ByteBuf);

impl OneTimeOffer {
    /// The prekey.
    #[must_use]
    pub const fn prekey(&self) -> &OneTimePrekey {
        &self.prekey
    }

    /// The owner's signature over the root of its batch.
    #[must_use]
    pub const fn signature(&self) -> &[u8; 64] {
        &self.signature
    }

    /// Its bytes: the third item of a bundle.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        codec::encode(&OneTimeWire(
            self.prekey.at.batch,
            self.prekey.at.index,
            ByteArray::new(self.prekey.agreement),
            ByteArray::new(*self.prekey.kem),
            self.path.iter().copied().map(ByteArray::new).collect(),
            self.not_after.0,
            ByteArray::new(self.signature),
        ))
    }
}

fn batch_statement(batch: u32, not_after: UnixMillis, root: &[u8; 32]) -> Vec<u8> {
    [batch.to_be_bytes().as_slice(), &not_after.0.to_be_bytes(), root].concat()
}

fn node(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    crypto::sha256(&[label::NODE, &[0], left, right])
}

fn levels(leaves: Vec<[u8; 32]>) -> Vec<Vec<[u8; 32]>> {
    let mut levels = vec![leaves];
    for _ in 0..PATH_LEN {
        let below = levels.last().map(Vec::as_slice).unwrap_or_default();
        let above = below.as_chunks::<2>().0.iter().map(|[left, right]| node(left, right)).collect();
        levels.push(above);
    }
    levels
}

fn root_of(leaf: [u8; 32], index: u16, path: &[[u8; 32]]) -> [u8; 32] {
    path.iter().enumerate().fold(leaf, |below, (level, beside)| match (index >> level) & 1 {
        0 => node(&below, beside),
        _ => node(beside, &below),
    })
}

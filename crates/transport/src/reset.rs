//! Names of connections, and how a restarted agent disowns old ones (stateless reset, RFC 9000 section 10.3).

use core::time::Duration;

use nuncio_contracts::registry::label;
use nuncio_proto::crypto::{SigningKey, hkdf_sha256, hmac_sha256};
use quinn::crypto::{CryptoError, HmacKey};
use quinn::{ConnectionId, ConnectionIdGenerator};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Derived from the identity, so that it outlives the process: an agent that was killed and started again tells its old
/// peers at their next packet that their connections are gone, and they dial anew instead of waiting for the idle timeout.
// contracts/transport.md T17
pub(crate) struct ResetKey(Zeroizing<[u8; 32]>);

impl ResetKey {
    pub(crate) fn derive(key: &SigningKey) -> Self {
        let mut derived = Zeroizing::new([0; 32]);
        hkdf_sha256(&[], &key.to_pkcs8_der(), label::STATELESS_RESET, derived.as_mut_slice());
        Self(derived)
    }
}

impl HmacKey for ResetKey {
    fn sign(&self, message: &[u8], signature_out: &mut [u8]) {
        let signature = hmac_sha256(self.0.as_slice(), &[message]);
        signature_out.iter_mut().zip(signature).for_each(|(to, from)| *to = from);
    }

    fn signature_len(&self) -> usize {
        32
    }

    fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let expected = hmac_sha256(self.0.as_slice(), &[message]);
        if bool::from(expected.as_slice().ct_eq(signature)) { Ok(()) } else { Err(CryptoError) }
    }
}

/// Bytes of a connection id: 2^64 is beyond chance collisions, and longer ones cost every packet.
const CID_LEN: usize = 8;

/// Makes connection ids that tell a watcher nothing: each is a MAC of a counter under a key of this process.
#[derive(Clone)]
pub(crate) struct CidKey(Zeroizing<[u8; 32]>);

impl CidKey {
    pub(crate) fn new(random: [u8; 32]) -> Self {
        Self(Zeroizing::new(random))
    }

    pub(crate) fn generator(&self) -> Cids {
        Cids { key: self.clone(), made: 0 }
    }
}

/// The one generator of an endpoint.
pub(crate) struct Cids {
    key: CidKey,
    made: u64,
}

impl ConnectionIdGenerator for Cids {
    fn generate_cid(&mut self) -> ConnectionId {
        self.made = self.made.wrapping_add(1);
        let mac = hmac_sha256(self.key.0.as_slice(), &[&self.made.to_be_bytes()]);
        ConnectionId::new(mac.first_chunk::<CID_LEN>().map_or(&[], |cid| cid.as_slice()))
    }

    fn cid_len(&self) -> usize {
        CID_LEN
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

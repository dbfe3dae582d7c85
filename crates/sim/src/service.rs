//! The token service of every run: one key, one trust domain, tokens that live two minutes.

use std::sync::OnceLock;

use nuncio_proto::crypto::SigningKey;
use nuncio_proto::ids::AgentId;
use nuncio_proto::testing::jws;
use nuncio_proto::time::UnixMillis;
use nuncio_proto::token::{KeySet, Thumbprint, VerifyingKey};

/// The trust domain.
pub const DOMAIN: &str = "acme.example";
/// How long a token lives.
pub const LIFE_MS: u64 = 120_000;

fn signer() -> &'static SigningKey {
    static SIGNER: OnceLock<SigningKey> = OnceLock::new();
    SIGNER.get_or_init(|| SigningKey::from_seed(&[9; 32]))
}

/// The service's keys.
#[must_use]
pub fn keys() -> KeySet {
    let mut keys = KeySet::default();
    keys.insert(VerifyingKey::Ed25519(signer().public()));
    keys
}

/// A token of one agent towards another; `jti` is used for no other.
#[must_use]
pub fn mint(from: &AgentId, to: &AgentId, txn: &str, jti: u64, at: UnixMillis) -> Vec<u8> {
    let (kid, iat) = (Thumbprint::of_ed25519(&signer().public()), at.0 / 1_000);
    let (exp, jkt) = (iat + LIFE_MS / 1_000, Thumbprint::of_agent(from));
    let header = format!(r#"{{"typ":"txntoken+jwt","alg":"EdDSA","kid":"{kid}"}}"#);
    let body = format!(
        r#"{{"iat":{iat},"exp":{exp},"aud":"{DOMAIN}","txn":"{txn}","sub":"user:anna","scope":"travel.book","req_wl":"gateway","req_wl_chain":["gateway"],"jti":"j-{jti}","cnf":{{"jkt":"{jkt}"}},"hop":{{"n":0,"max":4,"to":"{to}"}}}}"#
    );
    jws(signer(), &header, &body).into_bytes()
}

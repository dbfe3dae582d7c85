//! Tokens at the receiver: verified for the first time, and known.

use std::collections::{BTreeSet, HashMap};

use anyhow::{Context, Result, anyhow};
use nuncio_proto::crypto::{self, SigningKey};
use nuncio_proto::ids::AgentId;
use nuncio_proto::testing::jws;
use nuncio_proto::token::{
    Cache, Circumstances, EdDsaOnly, Genuine, KeySet, Scope, Thumbprint, TokenHash, VerifyingKey,
};

use crate::measure::{Row, interleaved, time_us};
use crate::pair::NOW;

/// Live tokens.
const TOKENS: usize = 10_000;

struct Domain {
    service: SigningKey,
    keys: KeySet,
    sender: AgentId,
    receiver: AgentId,
}

impl Domain {
    fn new() -> Result<Self> {
        let service = SigningKey::from_seed(&[9; 32]);
        let agent = |seed: u8| AgentId::from_bytes(SigningKey::from_seed(&[seed; 32]).public());
        let mut keys = KeySet::default();
        keys.insert(VerifyingKey::Ed25519(service.public()));
        Ok(Self { service, keys, sender: agent(1)?, receiver: agent(2)? })
    }

    fn token(&self, number: usize) -> String {
        let kid = Thumbprint::of_ed25519(&self.service.public());
        let header = serde_json::json!({ "typ": "txntoken+jwt", "alg": "EdDSA", "kid": kid.to_string() });
        let now = NOW.0 / 1_000;
        let body = serde_json::json!({
            "iat": now, "exp": now + 120, "aud": "acme.example", "txn": format!("transaction-{number}"),
            "sub": "user:anna", "scope": "travel.book travel.pay", "req_wl": "gateway", "req_wl_chain": ["gateway"],
            "jti": format!("token-{number}"), "tctx": { "trip": "4711", "budget": 1_200 },
            "cnf": { "jkt": Thumbprint::of_agent(&self.sender).to_string() },
            "hop": { "n": 0, "max": 4, "to": self.receiver.to_string() },
        });
        jws(&self.service, &header.to_string(), &body.to_string())
    }

    fn open(&self, token: &str) -> Result<Genuine> {
        Genuine::open(token.as_bytes(), &self.keys, &EdDsaOnly).map_err(|error| anyhow!("{error:?}"))
    }
}

/// A token that nobody has seen, beside the bare check of its signature.
pub(crate) fn verify_first() -> Result<Row> {
    const BATCH: u32 = 100;
    let domain = Domain::new()?;
    let token = domain.token(0);
    domain.open(&token)?;
    let (signed, signature) = token.rsplit_once('.').context("a signature")?;
    let signature = data_encoding::BASE64URL_NOPAD.decode(signature.as_bytes())?;
    let signature: [u8; 64] = signature.as_slice().try_into()?;
    let public = domain.service.public();
    let (ours, bare) = interleaved(
        BATCH,
        || time_us(|| (0..BATCH).for_each(|_| drop(std::hint::black_box(domain.open(&token))))),
        || {
            time_us(|| {
                for _ in 0..BATCH {
                    let _ = std::hint::black_box(crypto::verify_raw(&public, signed.as_bytes(), &signature));
                }
            })
        },
    );
    Ok(Row::time_us(ours, "the bare check of its signature", bare))
}

/// Checks a second of tokens that are known, 10,000 of them live and some transactions revoked, beside look-ups in a plain hash map.
pub(crate) fn verify_cached() -> Result<Row> {
    let domain = Domain::new()?;
    let (mut cache, mut plain): (Cache, HashMap<TokenHash, u64>) = (Cache::new(TOKENS), HashMap::new());
    let mut hashes = Vec::with_capacity(TOKENS);
    for number in 0..TOKENS {
        let genuine = domain.open(&domain.token(number))?;
        hashes.push(*genuine.hash());
        plain.insert(*genuine.hash(), genuine.claims().exp);
        cache.insert(std::sync::Arc::new(genuine));
    }
    // In an order that no prefetcher knows.
    hashes.sort_unstable();
    let revoked: BTreeSet<String> = (0..100).map(|number| format!("transaction-of-another-{number}")).collect();
    let (peer, wanted) = (Thumbprint::of_agent(&domain.sender), Scope::parse("travel.book").context("a scope")?);
    let at = Circumstances {
        now: NOW,
        domain: "acme.example",
        peer: &peer,
        to: &domain.receiver.into(),
        revoked: &revoked,
        wanted: &wanted,
        content: b"",
        first_seen_from: None,
    };
    let granted = hashes.iter().filter(|hash| cache.get(hash).is_some_and(|token| token.check(&at).is_ok())).count();
    anyhow::ensure!(granted == TOKENS, "{granted} of {TOKENS} are granted");
    let count = u32::try_from(TOKENS)?;
    let check = |hash: &TokenHash| std::hint::black_box(cache.get(hash).is_some_and(|token| token.check(&at).is_ok()));
    let (ours, its) = interleaved(
        count,
        || time_us(|| hashes.iter().for_each(|hash| assert!(check(hash)))),
        || time_us(|| hashes.iter().for_each(|hash| assert!(std::hint::black_box(plain.get(hash)).is_some()))),
    );
    Ok(Row {
        unit: "1/s",
        ours: 1e6 / ours,
        beside: Some(("look-ups in a plain hash map", 1e6 / its)),
        less_is_better: false,
    })
}

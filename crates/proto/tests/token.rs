//! Tokens: what is granted, and every single way not to be.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::sync::Arc;

use data_encoding::BASE64URL_NOPAD;
use nuncio_proto::crypto::SigningKey;
use nuncio_proto::ids::AgentId;
use nuncio_proto::testing::jws;
use nuncio_proto::time::UnixMillis;
use nuncio_proto::token::{
    Cache, Circumstances, Denial, EdDsaOnly, Genuine, KeySet, PayloadHash, Scope, Thumbprint, Unopened, VerifyingKey,
    hash_of,
};
use serde_json::{Value, json};

const NOW_S: u64 = 1_800_000_000;
const NOW: UnixMillis = UnixMillis(NOW_S * 1_000);
const PAYLOAD: &[u8] = b"book the train";

fn service() -> SigningKey {
    SigningKey::from_seed(&[9; 32])
}

fn agent(seed: u8) -> AgentId {
    AgentId::from_bytes(SigningKey::from_seed(&[seed; 32]).public()).unwrap()
}

fn kid() -> Thumbprint {
    Thumbprint::of_ed25519(&service().public())
}

fn keys() -> KeySet {
    let mut keys = KeySet::default();
    keys.insert(VerifyingKey::Ed25519(service().public()));
    keys
}

fn header() -> Value {
    json!({ "typ": "txntoken+jwt", "alg": "EdDSA", "kid": kid().to_string() })
}

/// A token of the planner (1) for the booking agent (2), on the second hop.
fn body() -> Value {
    json!({
        "iat": NOW_S - 10, "exp": NOW_S + 110, "aud": "acme.example", "txn": "t-1", "sub": "user:anna",
        "scope": "travel.book travel.pay", "req_wl": "gateway,planner", "req_wl_chain": ["gateway", "planner"],
        "jti": "j-1", "tctx": { "trip": "4711" },
        "cnf": { "jkt": Thumbprint::of_agent(&agent(1)).to_string() },
        "hop": { "n": 1, "max": 4, "to": agent(2).to_string(), "prev": BASE64URL_NOPAD.encode(&[7; 32]) },
    })
}

fn token(header: &Value, body: &Value) -> String {
    jws(&service(), &header.to_string(), &body.to_string())
}

fn open(token: &str) -> Result<Genuine, Unopened> {
    Genuine::open(token.as_bytes(), &keys(), &EdDsaOnly)
}

struct Receiver {
    now: UnixMillis,
    domain: &'static str,
    peer: Thumbprint,
    me: AgentId,
    revoked: BTreeSet<String>,
    wanted: Scope,
    payload: &'static [u8],
    first_seen_from: Option<Thumbprint>,
}

impl Receiver {
    fn new() -> Self {
        Self {
            now: NOW,
            domain: "acme.example",
            peer: Thumbprint::of_agent(&agent(1)),
            me: agent(2),
            revoked: BTreeSet::new(),
            wanted: Scope::parse("travel.book").unwrap(),
            payload: PAYLOAD,
            first_seen_from: None,
        }
    }

    fn check(&self, token: &Genuine) -> Result<(String, u8), Denial> {
        let at = Circumstances {
            now: self.now,
            domain: self.domain,
            peer: &self.peer,
            to: &self.me.into(),
            revoked: &self.revoked,
            wanted: &self.wanted,
            content: self.payload,
            first_seen_from: self.first_seen_from.as_ref(),
        };
        token.check(&at).map(|grant| (grant.principal().to_owned(), grant.hops_left()))
    }
}

#[test]
fn a_good_token_grants_what_it_says() {
    let text = token(&header(), &body());
    let genuine = open(&text).unwrap();
    assert_eq!(*genuine.hash(), hash_of(text.as_bytes()));
    assert_eq!(Receiver::new().check(&genuine), Ok(("user:anna".to_owned(), 3)));
    let ed25519 = token(&json!({ "typ": "txntoken+jwt", "alg": "Ed25519", "kid": kid().to_string(), "x": 1 }), &body());
    assert!(open(&ed25519).is_ok(), "the name of RFC 9864, and a member that nobody knows");
}

#[test]
fn a_key_that_is_not_known_is_asked_for() {
    let other = SigningKey::from_seed(&[8; 32]);
    let kid = Thumbprint::of_ed25519(&other.public());
    let header = json!({ "typ": "txntoken+jwt", "alg": "EdDSA", "kid": kid.to_string() });
    let foreign = jws(&other, &header.to_string(), &body().to_string());
    assert_eq!(open(&foreign), Err(Unopened::Need(kid)));
}

#[test]
fn every_header_that_is_not_exactly_right_is_refused() {
    let with = |name: &str, value: Value| {
        let mut header = header();
        header[name] = value;
        open(&token(&header, &body())).unwrap_err()
    };
    for alg in ["none", "None", "HS256", "ES256", "RS256", "EdDSa", "eddsa", ""] {
        assert_eq!(with("alg", alg.into()), Denial::Algorithm.into(), "{alg}");
    }
    for typ in ["JWT", "at+jwt", "TXNTOKEN+JWT", "application/txntoken+jwt", "txntoken+jwt ", ""] {
        assert_eq!(with("typ", typ.into()), Denial::Type.into(), "{typ}");
    }
    assert_eq!(with("crit", json!(["exp"])), Denial::Malformed("a critical header parameter").into());
    assert_eq!(with("b64", json!(false)), Denial::Malformed("a critical header parameter").into());
    for kid in ["", "mine", "AAAA"] {
        assert_eq!(with("kid", kid.into()), Denial::Malformed("kid is no thumbprint").into(), "{kid}");
    }
    let twice = format!(r#"{{"typ":"txntoken+jwt","alg":"EdDSA","kid":"{}","alg":"EdDSA"}}"#, kid());
    assert!(matches!(open(&jws(&service(), &twice, &body().to_string())), Err(Unopened::Denied(Denial::Malformed(_)))));
}

#[test]
fn no_byte_of_a_token_can_be_altered() {
    let good = token(&header(), &body());
    for at in 0..good.len() {
        let mut bytes = good.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        assert!(Genuine::open(&bytes, &keys(), &EdDsaOnly).is_err(), "byte {at}");
        assert!(Genuine::open(&good.as_bytes()[..at], &keys(), &EdDsaOnly).is_err(), "cut at {at}");
    }
    for more in ["=", ".", "A", " ", "\n"] {
        assert!(open(&format!("{good}{more}")).is_err(), "{more:?}");
        assert!(open(&format!("{more}{good}")).is_err(), "{more:?}");
    }
    assert!(open(&"a".repeat(9_000)).is_err());
}

#[test]
fn every_claim_is_of_its_type_and_the_required_ones_are_there() {
    let refused = |body: Value, why: &str| {
        let error = open(&token(&header(), &body)).expect_err(why);
        assert!(matches!(error, Unopened::Denied(Denial::Malformed(_))), "{why}: {error:?}");
    };
    for name in ["iat", "exp", "aud", "txn", "sub", "scope", "req_wl", "req_wl_chain", "jti", "cnf", "hop"] {
        let mut without = body();
        without.as_object_mut().unwrap().remove(name);
        refused(without, name);
        for wrong in [json!(null), json!([]), json!({}), json!(1.5), json!(-1), json!(true), json!("")] {
            let mut body = body();
            body[name] = wrong.clone();
            refused(body, &format!("{name}: {wrong}"));
        }
    }
    for name in ["act", "agentic_ctx", "tctx", "rctx"] {
        let mut body = body();
        body[name] = json!("text");
        refused(body, name);
    }
    let hop = |name: &str, value: Value| {
        let mut body = body();
        body["hop"][name] = value;
        body
    };
    refused(hop("n", json!(0)), "the first hop replaces nothing, and the chain has one name too many");
    refused(hop("n", json!(2)), "a hop that nobody asked for");
    refused(hop("max", json!(17)), "more hops than there may be");
    refused(hop("to", json!("booking")), "not a DID");
    refused(hop("prev", json!("AAAA")), "not a hash");
    refused(hop("prev", json!(null)), "null is not absent");
    refused(hop("pay", json!({ "salt": "AAAA", "hash": "AAAA" })), "not a payload's hash");
    let mut other = body();
    other["req_wl"] = json!("gateway,someone");
    refused(other, "req_wl is the chain joined");
    let mut comma = body();
    (comma["req_wl"], comma["req_wl_chain"]) = (json!("a,b"), json!(["a,b"]));
    refused(comma, "a comma in a name");
    let twice = body().to_string().replacen('{', r#"{"sub":"user:eve","#, 1);
    assert!(open(&jws(&service(), &header().to_string(), &twice)).is_err(), "a claim named twice");
    let mut unknown = body();
    unknown["of_later"] = json!({ "a": [1] });
    assert!(open(&token(&header(), &unknown)).is_ok(), "unknown claims are passed over");
}

/// What one receiver changes and the denial that follows.
type Refusal = (&'static str, fn(&mut Receiver), Denial);

#[test]
fn every_circumstance_is_checked_for_every_letter() {
    let genuine = open(&token(&header(), &body())).unwrap();
    let cases: [Refusal; 9] = [
        ("domain", |at| at.domain = "other.example", Denial::Audience),
        ("expired", |at| at.now = UnixMillis((NOW_S + 110 + 30) * 1_000), Denial::Expired),
        ("early", |at| at.now = UnixMillis((NOW_S - 10 - 30) * 1_000), Denial::Early),
        ("sender", |at| at.peer = Thumbprint::of_agent(&agent(3)), Denial::Sender),
        ("receiver", |at| at.me = agent(3), Denial::Receiver),
        ("revoked", |at| at.revoked.extend(["t-1".to_owned()]), Denial::Revoked),
        ("scope", |at| at.wanted = Scope::parse("travel.book travel.cancel").unwrap(), Denial::Scope),
        ("seen", |at| at.first_seen_from = Some(Thumbprint::of_agent(&agent(3))), Denial::Sender),
        ("seen from the same", |at| at.first_seen_from = Some(Thumbprint::of_agent(&agent(1))), Denial::Missing),
    ];
    for (what, change, denial) in cases {
        let mut receiver = Receiver::new();
        change(&mut receiver);
        let expected = if denial == Denial::Missing { Ok(("user:anna".to_owned(), 3)) } else { Err(denial) };
        assert_eq!(receiver.check(&genuine), expected, "{what}");
    }
    let mut at = Receiver::new();
    for (second, fits) in [(NOW_S + 139, true), (NOW_S - 39, true), (NOW_S + 140, false), (NOW_S - 40, false)] {
        at.now = UnixMillis(second * 1_000);
        assert_eq!(at.check(&genuine).is_ok(), fits, "{second}");
    }
}

#[test]
fn a_token_lives_five_minutes_at_most_and_not_backwards() {
    for (life, fits) in [(300, true), (301, false), (0, false), (-5, false), (1, true)] {
        let mut body = body();
        (body["iat"], body["exp"]) = (json!(NOW_S), json!(NOW_S.saturating_add_signed(life)));
        let genuine = open(&token(&header(), &body)).unwrap();
        assert_eq!(Receiver::new().check(&genuine).is_ok(), fits, "{life}");
    }
}

#[test]
fn a_token_that_was_handed_on_too_often_is_refused() {
    let mut body = body();
    body["hop"]["max"] = json!(0);
    let genuine = open(&token(&header(), &body)).unwrap();
    assert_eq!(Receiver::new().check(&genuine), Err(Denial::Hops));
}

#[test]
fn a_token_bound_to_a_payload_allows_no_other() {
    use nuncio_proto::crypto::sha256;
    let salt = [5; 16];
    let hash = sha256(&[b"nuncio/1 hop payload", &[0], &salt, PAYLOAD]);
    let mut body = body();
    body["hop"]["pay"] = json!({ "salt": BASE64URL_NOPAD.encode(&salt), "hash": BASE64URL_NOPAD.encode(&hash) });
    let genuine = open(&token(&header(), &body)).unwrap();
    assert_eq!(genuine.claims().hop.pay, Some(PayloadHash::new(salt, PAYLOAD)));
    let mut at = Receiver::new();
    assert!(at.check(&genuine).is_ok());
    at.payload = b"book the plane";
    assert_eq!(at.check(&genuine), Err(Denial::Payload));
}

#[test]
fn a_cache_forgets_what_expires_first_and_what_has_expired() {
    let tokens: Vec<_> = (0..4)
        .map(|i: u64| {
            let mut body = body();
            (body["exp"], body["jti"]) = (json!(NOW_S + 10 * i), json!(format!("j-{i}")));
            Arc::new(open(&token(&header(), &body)).unwrap())
        })
        .collect();
    let mut cache = Cache::new(3);
    tokens.iter().rev().for_each(|token| cache.insert(Arc::clone(token)));
    let kept = |cache: &Cache| tokens.iter().map(|token| cache.get(token.hash()) == Some(token)).collect::<Vec<_>>();
    assert_eq!(kept(&cache), [false, true, true, true], "the one that expires first made room");
    cache.insert(Arc::clone(&tokens[3]));
    assert_eq!(cache.len(), 3);
    cache.expire(UnixMillis((NOW_S + 20 + 30) * 1_000));
    assert_eq!(kept(&cache), [false, false, true, true], "within the skew it is kept");
    cache.expire(UnixMillis((NOW_S + 30 + 31) * 1_000));
    assert!(cache.is_empty());
}

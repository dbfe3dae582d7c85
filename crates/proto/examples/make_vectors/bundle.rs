//! Bundles: valid, and each way not to be (contracts/bundle.md).

use nuncio_contracts::registry::{label, limit};
use nuncio_proto::bundle::{Bundle, OneTimeBatch, OneTimePrekey, OneTimeRef, SignedPrekeys};
use nuncio_proto::crypto;
use nuncio_proto::time::UnixMillis;
use serde_json::{Value, json};

use super::cbor::{Array, Item, Null, Raw, Uint, bytes, text};
use super::kit::{Actor, Case, NOW, actor, fixed, hex, key, secret};

const AREA: &str = "bundle";
const WEEK: u64 = 604_800_000;
const SKEW: u64 = 300_000;

/// Number of the signed prekeys of these vectors.
pub(crate) const PREKEY_ID: u32 = 7;
/// The one-time prekey that is given away in them.
pub(crate) const ONE_TIME: OneTimeRef = OneTimeRef { batch: 3, index: 41 };
pub(crate) const BATCH_NOT_AFTER: UnixMillis = UnixMillis(NOW.0 + 2 * WEEK);

pub(crate) fn signed_prekeys(owner: &Actor) -> SignedPrekeys {
    SignedPrekeys {
        agreement: *owner.identity.agreement_public(),
        id: PREKEY_ID,
        agreement_prekey: crypto::dh_public(&key("signed prekey")),
        kem_prekey: Box::new(crypto::kem_public(&secret(&fixed::<64>("signed prekey kem")))),
    }
}

pub(crate) fn one_time(index: u16) -> OneTimePrekey {
    OneTimePrekey {
        at: OneTimeRef { batch: ONE_TIME.batch, index },
        agreement: crypto::dh_public(&key(&format!("one-time {index}"))),
        kem: Box::new(crypto::kem_public(&secret(&fixed::<64>(&format!("one-time {index} kem"))))),
    }
}

pub(crate) fn batch(owner: &Actor) -> OneTimeBatch {
    let leaves = (0..64).map(|index| one_time(index).leaf()).collect();
    OneTimeBatch::sign(&owner.identity, ONE_TIME.batch, BATCH_NOT_AFTER, leaves)
}

pub(crate) fn plain(owner: &Actor) -> Vec<u8> {
    let endpoints = ["agent.example:7420".to_owned(), "[2001:db8::1]:7420".to_owned()];
    Bundle::sign(
        &owner.identity,
        &signed_prekeys(owner),
        UnixMillis(NOW.0 - 1_000),
        UnixMillis(NOW.0 + WEEK),
        (&endpoints, None),
        false,
    )
}

pub(crate) fn with_one_time(owner: &Actor) -> Vec<u8> {
    Bundle::with_one_time(&plain(owner), &batch(owner).offer(one_time(ONE_TIME.index))).unwrap()
}

pub(crate) fn cases() -> Vec<Case> {
    [valid(), signatures(), bodies(), one_times(), spellings()].into_iter().flatten().collect()
}

fn valid_case(name: &str, comment: &str, bytes: &[u8]) -> Case {
    let bundle = Bundle::parse(bytes, NOW).unwrap();
    let prekeys = &bundle.prekeys;
    let one_time = bundle.one_time.as_ref().map_or(Value::Null, |prekey| {
        json!({
            "batch": prekey.at.batch,
            "index": prekey.at.index,
            "agreement": hex(prekey.agreement),
            "kem_sha256": hex(crypto::sha256(&[prekey.kem.as_slice()])),
            "leaf": hex(prekey.leaf()),
        })
    });
    let expect = json!({
        "agent": bundle.agent.to_string(),
        "agreement": hex(prekeys.agreement),
        "id": prekeys.id,
        "agreement_prekey": hex(prekeys.agreement_prekey),
        "kem_prekey_sha256": hex(crypto::sha256(&[prekeys.kem_prekey.as_slice()])),
        "prekeys_hash": hex(prekeys.hash(&bundle.agent)),
        "invitation_hash": hex(Bundle::invitation_hash(bytes).unwrap()),
        "not_before": bundle.not_before.0,
        "not_after": bundle.not_after.0,
        "endpoints": bundle.endpoints,
        "mailbox": bundle.mailbox,
        "audits": bundle.audits,
        "one_time": one_time,
    });
    Case::valid(AREA, name, comment, json!({ "bytes": hex(bytes), "now": NOW.0 }), expect)
}

fn no(name: &str, comment: &str, bundle: &Item, error: &str) -> Case {
    Case::refused(AREA, name, comment, json!({ "bytes": hex(bundle.encode()), "now": NOW.0 }), error)
}

fn valid() -> Vec<Case> {
    let bob = actor("bob");
    let case = |name: &str, comment: &str, body: Item| valid_case(name, comment, &signed(&bob, body).encode());
    let eight = Array((0..8).map(|i| text(&format!("host-{i}:1"))).collect());
    vec![
        valid_case("valid-plain", "without one-time prekey", &plain(&bob)),
        valid_case("valid-one-time", "with a one-time prekey and its proof of six hashes", &with_one_time(&bob)),
        case("valid-no-endpoints", "an agent that only dials", body(&bob).with(3, Array(vec![]))),
        case("valid-eight-endpoints", "as many addresses as a bundle may have", body(&bob).with(3, eight)),
        case("valid-endpoint-255", "the longest address", body(&bob).with(3, Array(vec![text(&"e".repeat(255))]))),
        case(
            "valid-mailbox",
            "letters may be left at a node",
            body(&bob).with(4, text("did:key:z6MkexampleNode@node.example:7420")),
        ),
        case(
            "valid-versions",
            "an agent that also speaks versions to come",
            body(&bob).with(0, keys(&bob).with(0, Array(vec![Uint(1), Uint(2)]))),
        ),
        case(
            "valid-audits",
            "an agent that keeps an audit log",
            body(&bob).with(0, keys(&bob).with(0, Array(vec![Uint(1), Uint(limit::WIRE_VERSION_AUDITED.into())]))),
        ),
        case("valid-skew-ahead", "valid from as far ahead as the skew allows", body(&bob).with(1, Uint(NOW.0 + SKEW))),
        case("valid-skew-behind", "over for as long as the skew allows", body(&bob).with(2, Uint(NOW.0 - SKEW))),
    ]
}

fn keys(owner: &Actor) -> Item {
    let prekeys = signed_prekeys(owner);
    Array(vec![
        Array(vec![Uint(1)]),
        bytes(owner.identity.id().as_bytes()),
        bytes(prekeys.agreement),
        Uint(prekeys.id.into()),
        bytes(prekeys.agreement_prekey),
        bytes(prekeys.kem_prekey.as_slice()),
    ])
}

fn body(owner: &Actor) -> Item {
    Array(vec![keys(owner), Uint(NOW.0 - 1_000), Uint(NOW.0 + WEEK), Array(vec![text("agent.example:7420")]), Null])
}

/// A bundle with its body as it is, honestly signed.
fn signed(owner: &Actor, body: Item) -> Item {
    let signature = owner.identity.signing().sign(label::BUNDLE, &body.encode());
    Array(vec![body, bytes(signature), Null])
}

fn signatures() -> Vec<Case> {
    let (bob, carol) = (actor("bob"), actor("carol"));
    let good = signed(&bob, body(&bob));
    let Item::Bytes(signature) = good.at(1).clone() else { panic!() };
    let flipped = |at: usize| {
        let mut signature = signature.clone();
        signature[at] ^= 1;
        good.with(1, bytes(signature))
    };
    let key = |at: usize, item: Item| good.with(0, body(&bob).with(0, keys(&bob).with(at, item)));
    let weak = keys(&bob).with(1, bytes([&[1_u8][..], &[0; 31]].concat()));
    let sign =
        |signer: &Actor, label: &[u8]| good.with(1, bytes(signer.identity.signing().sign(label, &body(&bob).encode())));
    vec![
        no("signature-r", "a bit of R flipped", &flipped(0), "bad-signature"),
        no("signature-s", "a bit of s flipped", &flipped(32), "bad-signature"),
        no("signature-zero", "no signature", &good.with(1, bytes([0; 64])), "bad-signature"),
        no(
            "signature-malleable",
            "s + L verifies by the equation and is refused by RFC 8032",
            &good.with(1, bytes(malleable(&signature))),
            "bad-signature",
        ),
        no("other-signer", "signed by another identity", &sign(&carol, label::BUNDLE), "bad-signature"),
        no("other-label", "a signature for another purpose", &sign(&bob, label::ONE_TIME), "bad-signature"),
        no(
            "identity-swapped",
            "another identity claims the keys",
            &key(1, bytes(carol.identity.id().as_bytes())),
            "bad-signature",
        ),
        no(
            "identity-weak",
            "a small-order key verifies everything, so it names nobody",
            &signed(&bob, body(&bob).with(0, weak)),
            "bad-key",
        ),
        no(
            "agreement-swapped",
            "a directory's own agreement key",
            &key(2, bytes(carol.identity.agreement_public())),
            "bad-signature",
        ),
        no("prekey-id-altered", "another number", &key(3, Uint(8)), "bad-signature"),
        no(
            "prekey-swapped",
            "a directory's own prekey",
            &key(4, bytes(carol.identity.agreement_public())),
            "bad-signature",
        ),
        no("kem-swapped", "a directory's own KEM prekey", &key(5, bytes(one_time(0).kem.as_slice())), "bad-signature"),
        no(
            "not-after-altered",
            "a bundle made to live longer",
            &good.with(0, body(&bob).with(2, Uint(NOW.0 + 2 * WEEK))),
            "bad-signature",
        ),
        no(
            "endpoint-altered",
            "letters led elsewhere",
            &good.with(0, body(&bob).with(3, Array(vec![text("evil.example:7420")]))),
            "bad-signature",
        ),
        no(
            "mailbox-put-in",
            "a mailbox that its owner did not choose",
            &good.with(0, body(&bob).with(4, text("evil.example:7420"))),
            "bad-signature",
        ),
        no(
            "signature-before-fields",
            "nothing is said about a field that nobody signed: wrong version, bad signature",
            &good.with(0, body(&bob).with(0, keys(&bob).with(0, Array(vec![Uint(9)])))),
            "bad-signature",
        ),
    ]
}

/// The same signature with the group's order added to `s`.
pub(crate) fn malleable(signature: &[u8]) -> Vec<u8> {
    let order = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";
    let order = data_encoding::HEXLOWER.decode(order.as_bytes()).unwrap();
    let mut carry = 0;
    let s = signature[32..].iter().zip(&order).map(|(a, b)| {
        let sum = u16::from(*a) + u16::from(*b) + carry;
        carry = sum >> 8;
        (sum & 0xff) as u8
    });
    [&signature[..32], &s.collect::<Vec<_>>()].concat()
}

fn bodies() -> Vec<Case> {
    let bob = actor("bob");
    let with = |at: usize, item: Item| signed(&bob, body(&bob).with(at, item));
    let versions = |versions: &[u64]| with(0, keys(&bob).with(0, Array(versions.iter().map(|v| Uint(*v)).collect())));
    let endpoints = |list: &[&str]| with(3, Array(list.iter().map(|at| text(at)).collect()));
    let nine: Vec<_> = (0..9).map(|_| "a:1").collect();
    vec![
        no("versions-none", "speaks no version", &versions(&[]), "version"),
        no("versions-future", "speaks only versions to come", &versions(&[2, 3]), "version"),
        no("expired", "over since a millisecond more than the skew", &with(2, Uint(NOW.0 - SKEW - 1)), "not-now"),
        no("not-yet", "valid from a millisecond more than the skew ahead", &with(1, Uint(NOW.0 + SKEW + 1)), "not-now"),
        no("never", "valid until 1970", &with(2, Uint(0)), "not-now"),
        no("endpoints-nine", "one address too many", &endpoints(&nine), "endpoints"),
        no("endpoint-empty", "no address", &endpoints(&[""]), "endpoints"),
        no("endpoint-space", "an address has no white space", &endpoints(&["agent.example :7420"]), "endpoints"),
        no("endpoint-newline", "an address has no line end", &endpoints(&["agent.example:7420\n"]), "endpoints"),
        no(
            "endpoint-not-ascii",
            "an address is ASCII; names of other scripts come as A-labels",
            &endpoints(&["agént.example:7420"]),
            "endpoints",
        ),
        no("endpoint-256", "a character too many", &endpoints(&[&"e".repeat(256)]), "endpoints"),
        no("endpoint-second-bad", "each address is looked at", &endpoints(&["a:1", "b 1"]), "endpoints"),
        no("mailbox-space", "a mailbox is an address too", &with(4, text("did:key:z6Mk node")), "endpoints"),
        no("mailbox-empty", "null is the only way to say none", &with(4, text("")), "endpoints"),
    ]
}

/// A one-time prekey as items: batch, index, agreement, kem, path, not_after, signature.
fn offered(owner: &Actor) -> Item {
    let bytes = Bundle::with_one_time(&plain(owner), &batch(owner).offer(one_time(ONE_TIME.index))).unwrap();
    let places = super::cbor::places(&bytes);
    let part = |path: &[usize]| {
        let place = places.iter().find(|place| place.path == path).unwrap();
        Raw(bytes[place.at..place.end].to_vec())
    };
    let path = Array((0..6).map(|level| part(&[2, 4, level])).collect());
    Array((0..7).map(|at| if at == 4 { path.clone() } else { part(&[2, at]) }).collect())
}

fn one_times() -> Vec<Case> {
    let (bob, carol) = (actor("bob"), actor("carol"));
    let beside = |item: Item| signed(&bob, body(&bob)).with(2, item);
    let good = offered(&bob);
    let other = one_time(40);
    let path = |at: usize, item: Item| beside(good.with(4, good.at(4).with(at, item)));
    let stripped = Array([0, 1, 2, 4, 5, 6].map(|at| good.at(at).clone()).to_vec());
    let siblings = |count: usize| beside(good.with(4, Array((0..count).map(|_| bytes([0; 32])).collect())));
    let swapped = good.with(4, good.at(4).with(0, good.at(4).at(1).clone()).with(1, good.at(4).at(0).clone()));
    vec![
        no("one-time-path-altered", "another hash on the way", &path(0, bytes([7; 32])), "one-time"),
        no("one-time-path-root", "another hash at the top", &path(5, bytes([7; 32])), "one-time"),
        no("one-time-path-swapped", "two levels changed places", &beside(swapped), "one-time"),
        no("one-time-path-five", "a proof has six hashes", &siblings(5), "one-time"),
        no("one-time-path-seven", "a proof has six hashes", &siblings(7), "one-time"),
        no("one-time-path-empty", "a leaf is no root", &siblings(0), "one-time"),
        no("one-time-index-moved", "the same prekey at another place", &beside(good.with(1, Uint(40))), "one-time"),
        no(
            "one-time-index-64",
            "a batch has 64 prekeys; 64 + 41 would walk the same path",
            &beside(good.with(1, Uint(64 + 41))),
            "one-time",
        ),
        no("one-time-batch-moved", "the same prekey in another batch", &beside(good.with(0, Uint(4))), "one-time"),
        no(
            "one-time-agreement-swapped",
            "a directory's own key",
            &beside(good.with(2, bytes(carol.identity.agreement_public()))),
            "one-time",
        ),
        no(
            "one-time-kem-swapped",
            "the KEM half of another prekey",
            &beside(good.with(3, bytes(other.kem.as_slice()))),
            "one-time",
        ),
        no(
            "one-time-kem-stripped",
            "the post-quantum half cannot be taken off",
            &beside(good.with(3, bytes([]))),
            "codec",
        ),
        no("one-time-kem-missing", "six items instead of seven", &beside(stripped), "codec"),
        no(
            "one-time-not-after-altered",
            "a batch made to live longer",
            &beside(good.with(5, Uint(BATCH_NOT_AFTER.0 + 1))),
            "one-time",
        ),
        no("one-time-signature-altered", "nobody signed it", &beside(good.with(6, bytes([9; 64]))), "one-time"),
        no(
            "one-time-other-owner",
            "another agent's batch",
            &beside(offered(&carol).with(2, good.at(2).clone())),
            "one-time",
        ),
        no("one-time-index-wide", "an index has 16 bits", &beside(good.with(1, Uint(65_536))), "codec"),
    ]
}

fn spellings() -> Vec<Case> {
    let bob = actor("bob");
    let good = signed(&bob, body(&bob));
    let raw = good.encode();
    let resigned = |body: Item| signed(&bob, body);
    let bad = |name: &str, comment: &str, bytes: &[u8]| no(name, comment, &Raw(bytes.to_vec()), "codec");
    let mut long = raw.clone();
    long.resize(8_193, 0);
    vec![
        bad("empty", "no bytes", &[]),
        bad("cut", "the last byte is missing", &raw[..raw.len() - 1]),
        bad("trailing", "a byte behind the bundle", &[&raw[..], &[0]].concat()),
        no("too-long", "more bytes than a bundle may have are not decoded", &Raw(long), "too-long"),
        no(
            "id-long",
            "canonical, or refused although the signature is good",
            &resigned(body(&bob).with(0, keys(&bob).with(3, Raw(vec![0x18, 7])))),
            "codec",
        ),
        no(
            "versions-bytes",
            "versions are a list of integers",
            &resigned(body(&bob).with(0, keys(&bob).with(0, bytes([1])))),
            "codec",
        ),
        no(
            "endpoints-indefinite",
            "a list without length",
            &resigned(body(&bob).with(3, Raw(vec![0x9f, 0x61, b'a', 0xff]))),
            "codec",
        ),
        no("endpoint-bytes", "an address is text", &resigned(body(&bob).with(3, Array(vec![bytes("a:1")]))), "codec"),
        no(
            "endpoint-not-utf8",
            "text is UTF-8",
            &resigned(body(&bob).with(3, Array(vec![Raw(vec![0x62, 0xff, 0xfe])]))),
            "codec",
        ),
        no("identity-31", "a byte too few", &resigned(body(&bob).with(0, keys(&bob).with(1, bytes([1; 31])))), "codec"),
        no("kem-1183", "a byte too few", &resigned(body(&bob).with(0, keys(&bob).with(5, bytes([1; 1183])))), "codec"),
        no(
            "id-wide",
            "a prekey's number has 32 bits",
            &resigned(body(&bob).with(0, keys(&bob).with(3, Uint(1 << 32)))),
            "codec",
        ),
        no(
            "two-items",
            "null says that there is no one-time prekey",
            &Array(vec![good.at(0).clone(), good.at(1).clone()]),
            "codec",
        ),
    ]
}

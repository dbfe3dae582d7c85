//! Steps 6 to 14: the letter that the token came with, and its receiver.

use nuncio_contracts::registry::{label, time};

use super::*;

pub(super) fn cases() -> Vec<Case> {
    [audiences(), times(), lives(), parties(), revocations(), scopes(), payloads(), seen()]
        .into_iter()
        .flatten()
        .collect()
}

/// The good token, and one circumstance exchanged.
fn at(name: &str, value: impl Into<Value>) -> Value {
    with(given(token(&header(), &body())), &format!("/{name}"), value)
}

fn good(name: &str, comment: &str, circumstance: &str, value: impl Into<Value>) -> Case {
    granted(name, comment, at(circumstance, value), &body())
}

fn bad(name: &str, comment: &str, circumstance: &str, value: impl Into<Value>, error: &str) -> Case {
    refused(name, comment, at(circumstance, value), error)
}

fn audiences() -> Vec<Case> {
    let no = |name: &str, comment: &str, aud: &str| {
        refused(name, comment, given(token(&header(), &with(body(), "/aud", aud))), "token_audience")
    };
    vec![
        no("aud-other", "another trust domain", "other.example"),
        no("aud-case", "compared byte for byte", "Acme.example"),
        no("aud-below", "a domain below ours", "dept.acme.example"),
        no("aud-above", "the domain above ours", "example"),
        no("aud-dot", "no dot behind it", "acme.example."),
        no("aud-url", "no address of it", "https://acme.example"),
    ]
}

fn times() -> Vec<Case> {
    let (iat, exp) = (NOW.0 - 10_000, NOW.0 + 110_000);
    vec![
        good("valid-exp-edge", "the last millisecond", "now", exp + time::TOKEN_SKEW - 1),
        bad("expired", "one millisecond later", "now", exp + time::TOKEN_SKEW, "token_expired"),
        bad("expired-long-ago", "a year later", "now", exp + 31_536_000_000, "token_expired"),
        good("valid-iat-edge", "the first millisecond", "now", iat - time::TOKEN_SKEW + 1),
        bad("early", "one millisecond earlier", "now", iat - time::TOKEN_SKEW, "token_early"),
        bad("early-1970", "a clock that was never set", "now", 0, "token_early"),
    ]
}

/// A body that lives from one second to another, by [`NOW_S`].
pub(super) fn from_to(from: i64, to: i64) -> Value {
    with(with(body(), "/iat", NOW_S.saturating_add_signed(from)), "/exp", NOW_S.saturating_add_signed(to))
}

fn lives() -> Vec<Case> {
    let refused = |name: &str, comment: &str, body: &Value, error: &str| {
        refused(name, comment, given(token(&header(), body)), error)
    };
    let no = |name: &str, comment: &str, body: Value| refused(name, comment, &body, "token_life");
    let forever = with(body(), "/exp", u64::MAX);
    vec![
        grants("valid-life-300", "the longest life", &from_to(0, 300)),
        grants("valid-life-1", "the shortest", &from_to(0, 1)),
        no("life-301", "a second too long", from_to(0, 301)),
        no("life-301-past", "a second too long, though it ends soon", from_to(-300, 1)),
        no("life-0", "no life at all", from_to(0, 0)),
        no("life-negative", "it ends before it begins, both within the skew", from_to(5, -5)),
        no("life-2-64", "the last second that can be written", forever),
        refused(
            "early-2-64",
            "the same for its beginning",
            &with(with(body(), "/iat", u64::MAX), "/exp", u64::MAX),
            "token_early",
        ),
        refused(
            "expired-0",
            "the first second that can be written",
            &with(with(body(), "/iat", 0), "/exp", 0),
            "token_expired",
        ),
    ]
}

/// A channel's id, as tokens have it.
fn channel(seed: u8) -> String {
    [seed; 32].map(|byte| format!("{byte:02x}")).concat()
}

/// A token for the channel 7, and a letter to somebody.
fn to_channel(receiver: String) -> Value {
    let body = with(body(), "/hop/to", channel(7));
    with(given(token(&header(), &body)), "/receiver", receiver)
}

fn for_channel(name: &str, comment: &str, receiver: String) -> Case {
    granted(name, comment, to_channel(receiver), &with(body(), "/hop/to", channel(7)))
}

fn parties() -> Vec<Case> {
    let hops =
        |name: &str, comment: &str, body: &Value| refused(name, comment, given(token(&header(), body)), "token_hops");
    let (bob, carol) = (actor("bob").did(), actor("carol").did());
    let cnf = with(body(), "/cnf/jkt", thumbprint(&service()));
    vec![
        bad("sender-other", "stolen: it comes from another peer", "peer", carol.as_str(), "token_sender"),
        bad("sender-receiver", "sent back by its receiver", "peer", bob, "token_sender"),
        refused("sender-cnf-service", "held by the service itself", given(token(&header(), &cnf)), "token_sender"),
        bad("receiver-other", "passed on to another receiver", "receiver", carol, "token_receiver"),
        bad("receiver-channel", "an agent's, in a letter to a channel", "receiver", channel(7), "token_receiver"),
        for_channel("valid-channel", "a letter to the channel that it is for", channel(7)),
        refused("channel-other", "another channel's", to_channel(channel(8)), "token_receiver"),
        refused(
            "channel-agent",
            "a channel's, in a letter to an agent",
            to_channel(actor("bob").did()),
            "token_receiver",
        ),
        hops("hops", "one hop more than it allows", &on_hop(5, 4)),
        hops("hops-0", "it could not be handed on", &with(body(), "/hop/max", 0)),
        hops("hops-17", "beyond the last hop of any token", &on_hop(17, 16)),
        hops("hops-255", "as far as hops are counted", &on_hop(255, 4)),
    ]
}

fn revocations() -> Vec<Case> {
    vec![
        bad("revoked", "its transaction was revoked", "revoked", json!(["t-1"]), "token_revoked"),
        bad("revoked-among", "among others", "revoked", json!(["t-0", "t-1", "t-2"]), "token_revoked"),
        good("valid-others-revoked", "names that only look alike", "revoked", json!(["t-", "t-10", "T-1", "j-1", ""])),
    ]
}

fn scopes() -> Vec<Case> {
    let no = |name: &str, comment: &str, wanted: &str| bad(name, comment, "wanted", wanted, "token_scope");
    let wide = |name: &str, comment: &str, scope: &str| {
        refused(name, comment, given(token(&header(), &with(body(), "/scope", scope))), "token_scope")
    };
    vec![
        good("valid-scope-none", "a letter that needs nothing", "wanted", ""),
        good("valid-scope-all", "all of them, in another order", "wanted", "travel.pay travel.book"),
        no("scope-other", "something else", "travel.cancel"),
        no("scope-more", "one that it has, and one that it has not", "travel.book travel.cancel"),
        no("scope-shorter", "the beginning of one that it has", "travel"),
        no("scope-longer", "one that it has is the beginning", "travel.book.all"),
        no("scope-case", "compared byte for byte", "Travel.book"),
        no("scope-wanted-star", "no patterns, whoever writes them", "travel.*"),
        wide("scope-star", "no patterns, whoever writes them", "* travel.* travel"),
        wide("scope-inside", "the text is there, the scope is not", "xtravel.book travel.booking"),
    ]
}

/// A body that is bound to this salt and hash.
fn bound(salt: &[u8], hash: [u8; 32]) -> Value {
    with(body(), "/hop/pay", json!({ "salt": encode(salt), "hash": encode(hash) }))
}

/// A body that is bound to the payload.
pub(super) fn bound_to_payload() -> Value {
    bound(&[5; 16], crypto::sha256(&[label::PAYLOAD_HASH, &[0], &[5; 16], PAYLOAD]))
}

fn payloads() -> Vec<Case> {
    let to = bound_to_payload();
    let given = |body: &Value| given(token(&header(), body));
    let no = |name: &str, comment: &str, input| refused(name, comment, input, "token_payload");
    let empty = bound(&[5; 16], crypto::sha256(&[label::PAYLOAD_HASH, &[0], &[5; 16]]));
    let unlabelled = bound(&[5; 16], crypto::sha256(&[&[5; 16], PAYLOAD]));
    let other_salt = bound(&[6; 16], crypto::sha256(&[label::PAYLOAD_HASH, &[0], &[5; 16], PAYLOAD]));
    vec![
        grants("valid-payload", "bound to this payload", &to),
        grants("valid-payload-unknown", "and a member that is not known", &with(to.clone(), "/hop/pay/later", 1)),
        granted("valid-payload-empty", "bound to an empty one", with(given(&empty), "/content", ""), &empty),
        no("payload-other", "another payload", with(given(&to), "/content", hex(b"book the plane"))),
        no("payload-longer", "a byte more", with(given(&to), "/content", hex([PAYLOAD, b"\n"].concat()))),
        no("payload-empty", "none", with(given(&to), "/content", "")),
        no("payload-other-salt", "hashed with another salt", given(&other_salt)),
        no("payload-no-label", "hashed without the label", given(&unlabelled)),
    ]
}

fn seen() -> Vec<Case> {
    vec![
        good("valid-seen", "seen before, from the same peer", "first_seen_from", actor("alice").did()),
        bad(
            "seen-from-other",
            "seen before, from another peer",
            "first_seen_from",
            actor("carol").did(),
            "token_sender",
        ),
    ]
}

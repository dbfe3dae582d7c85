//! The statement that ends an identity (contracts/identity.md section 3).

use nuncio_contracts::registry::label;
use nuncio_proto::identity::Retirement;
use serde_json::{Value, json};

use super::cbor::{Array, Item, Null, Raw, Uint, bytes};
use super::kit::{Actor, Case, NOW, actor, hex};

const AREA: &str = "retirement";

pub(crate) fn cases() -> Vec<Case> {
    [valid(), refused()].into_iter().flatten().collect()
}

fn valid() -> Vec<Case> {
    let (alice, bob) = (actor("alice"), actor("bob"));
    let case = |name: &str, comment: &str, successor: Option<&Actor>| {
        let statement = Retirement::sign(&alice.identity, successor.map(|s| s.identity.id()), NOW);
        let successor = successor.map_or(Value::Null, |s| json!(s.did()));
        let expect = json!({ "agent": alice.did(), "successor": successor, "made": NOW.0 });
        Case::valid(AREA, name, comment, json!({ "bytes": hex(statement) }), expect)
    };
    vec![
        case("valid-end", "the identity is over", None),
        case("valid-successor", "another identity takes its place", Some(&bob)),
    ]
}

fn body(agent: &[u8], successor: Item) -> Item {
    Array(vec![bytes(agent), successor, Uint(NOW.0)])
}

/// A statement with its body as it is, signed by whom and under which label one likes.
fn signed(body: Item, signer: &Actor, label: &[u8]) -> Item {
    let signature = signer.identity.signing().sign(label, &body.encode());
    Array(vec![body, bytes(signature)])
}

fn refused() -> Vec<Case> {
    let (alice, bob) = (actor("alice"), actor("bob"));
    let (a, b) = (*alice.identity.id().as_bytes(), *bob.identity.id().as_bytes());
    let good = signed(body(&a, Null), &alice, label::RETIREMENT);
    let no = |name: &str, comment: &str, item: &Item, error: &str| {
        Case::refused(AREA, name, comment, json!({ "bytes": hex(item.encode()) }), error)
    };
    let weak = [&[1_u8][..], &[0; 31]].concat();
    let unlabelled = alice.identity.signing().sign_raw(&body(&a, Null).encode());
    let swapped = good.with(0, body(&a, bytes(b)));
    let raw = good.encode();
    vec![
        no(
            "other-signer",
            "only the identity itself can end it",
            &signed(body(&a, Null), &bob, label::RETIREMENT),
            "bad-signature",
        ),
        no(
            "other-label",
            "a signature for another purpose",
            &signed(body(&a, Null), &alice, label::BUNDLE),
            "bad-signature",
        ),
        no("no-label", "a signature over the body alone", &good.with(1, bytes(unlabelled)), "bad-signature"),
        no("successor-put-in", "a successor that the identity did not name", &swapped, "bad-signature"),
        no("made-altered", "another time", &good.with(0, body(&a, Null).with(2, Uint(NOW.0 + 1))), "bad-signature"),
        no("agent-weak", "a key that no agent has", &signed(body(&weak, Null), &alice, label::RETIREMENT), "bad-key"),
        no(
            "successor-weak",
            "an honest signature over a successor that is no agent",
            &signed(body(&a, bytes(&weak)), &alice, label::RETIREMENT),
            "bad-key",
        ),
        no("successor-short", "31 bytes", &signed(body(&a, bytes(&b[..31])), &alice, label::RETIREMENT), "codec"),
        no("signature-short", "63 bytes", &good.with(1, bytes([0; 63])), "codec"),
        no("signature-zero", "no signature", &good.with(1, bytes([0; 64])), "bad-signature"),
        no(
            "made-long",
            "canonical, or refused although the signature is good",
            &signed(body(&a, Null).with(2, Raw(vec![0x1b, 0, 0, 0, 0, 0, 0, 0, 5])), &alice, label::RETIREMENT),
            "codec",
        ),
        no("trailing", "a byte behind", &Raw([raw, vec![0]].concat()), "codec"),
    ]
}

//! What a sender signs of a letter and its token, as whoever is shown it checks it (contracts/token.md section 6).

use data_encoding::HEXLOWER;
use nuncio_contracts::registry::{label, limit};
use nuncio_proto::crypto::{SigningKey, sha256};
use nuncio_proto::ids::AgentId;
use nuncio_proto::letter::Letter;
use nuncio_proto::token::Thumbprint;
use serde_json::{Value, json};

use super::kit::{Case, fixed, hex};
use super::letter;
use super::token::{encode, text, with, without};

const AREA: &str = "hop-proof";
const TOKEN: [u8; 32] = [6; 32];
const SESSION: [u8; 32] = [3; 32];
const CHANNEL: &str = "0707070707070707070707070707070707070707070707070707070707070707";

fn sender() -> SigningKey {
    SigningKey::from_seed(&fixed("hop proof sender seed"))
}

fn other() -> SigningKey {
    SigningKey::from_seed(&fixed("hop proof receiver seed"))
}

fn did(key: &SigningKey) -> String {
    AgentId::from_bytes(key.public()).unwrap().to_string()
}

/// A letter with everything that a letter may have, its token named by its hash.
fn carrier() -> Letter {
    let mut carrier = letter::full();
    carrier.set_token(TOKEN.to_vec());
    carrier
}

fn header() -> Value {
    let kid = Thumbprint::of_ed25519(&sender().public()).to_string();
    json!({ "alg": "EdDSA", "typ": "nuncio-hop+jwt", "kid": kid })
}

fn members() -> Value {
    let content = carrier().content();
    json!({
        "iss": did(&sender()), "aud": did(&other()), "jti": HEXLOWER.encode(carrier().id.as_bytes()),
        "sid": HEXLOWER.encode(&SESSION), "tth": encode(TOKEN), "mh": encode(sha256(&[label::HOP_PROOF, &[0], &content])),
    })
}

fn signed(by: &SigningKey, header: &Value, members: &Value) -> String {
    let text = format!("{}.{}", encode(text(header)), encode(text(members)));
    format!("{text}.{}", encode(by.sign_raw(text.as_bytes())))
}

fn given(proof: String) -> Value {
    json!({
        "proof": proof, "from": did(&sender()), "to": did(&other()), "session": hex(SESSION),
        "letter": hex(carrier().encode()), "token": hex(TOKEN),
    })
}

fn usual(members: &Value) -> Value {
    given(signed(&sender(), &header(), members))
}

fn proves(name: &str, comment: &str, input: Value) -> Case {
    Case::valid(AREA, name, comment, input, json!({ "content": hex(carrier().content()) }))
}

fn no(name: &str, comment: &str, input: Value) -> Case {
    Case::refused(AREA, name, comment, input, "token_proof")
}

pub(crate) fn cases() -> Vec<Case> {
    [proving(), other_hops(), other_letters(), forms()].into_iter().flatten().collect()
}

fn proving() -> Vec<Case> {
    let named = with(header(), "/alg", "Ed25519");
    let mut whole = carrier();
    whole.set_token(b"the whole token".to_vec());
    let to_all = usual(&with(members(), "/aud", CHANNEL));
    vec![
        proves("valid-channel", "of a letter that is sealed once, for a channel", with(to_all, "/to", CHANNEL)),
        proves("valid", "one letter, in one session, with one token", usual(&members())),
        proves("valid-alg-ed25519", "RFC 9864's name", given(signed(&sender(), &named, &members()))),
        proves("valid-members", "other members are passed over", usual(&with(members(), "/later", 1))),
        proves(
            "valid-token-whole",
            "how the letter carries its token is no content",
            with(usual(&members()), "/letter", hex(whole.encode())),
        ),
    ]
}

/// Each thing that a proof speaks of, another.
fn other_hops() -> Vec<Case> {
    let shown = |path: &str, value: Value| with(usual(&members()), path, value);
    let said = |path: &str, value: Value| usual(&with(members(), path, value));
    let mut cases = vec![
        no("to-channel", "of a session's letter, shown as a channel's", shown("/to", json!(CHANNEL))),
        no("aud-channel", "of a channel's letter, shown as a session's", said("/aud", json!(CHANNEL))),
        no("from-other", "shown as another sender's", shown("/from", json!(did(&other())))),
        no("to-other", "shown as to another receiver", shown("/to", json!(did(&sender())))),
        no("session-other", "shown as of another session", shown("/session", json!(hex([4; 32])))),
        no("token-other", "shown with another token", shown("/token", json!(hex([7; 32])))),
        no("iss-other", "says another sender", said("/iss", json!(did(&other())))),
        no("aud-array", "a list of receivers is none", said("/aud", json!([did(&other())]))),
        no(
            "jti-case",
            "the letter's id in capitals",
            said("/jti", json!(hex(carrier().id.as_bytes()).as_str().unwrap().to_uppercase())),
        ),
        no("signer-other", "signed by its receiver", given(signed(&other(), &header(), &members()))),
    ];
    cases.extend(
        ["iss", "aud", "jti", "sid", "tth", "mh"]
            .map(|name| no(&format!("{name}-missing"), "says less", usual(&without(members(), &format!("/{name}"))))),
    );
    cases
}

/// Each thing that a letter says, another.
fn other_letters() -> Vec<Case> {
    let shown = |letter: Letter| with(usual(&members()), "/letter", hex(letter.encode()));
    let id = nuncio_proto::ids::LetterId::new(carrier().id.created(), fixed("another letter id"));
    let mut handle = carrier();
    handle.extensions.retain(|extension| extension.number != 1);
    let mut later = carrier();
    later.extensions.retain(|extension| extension.number != 700);
    vec![
        no("letter-other-id", "another letter that says the same", shown(Letter { id, ..carrier() })),
        no("letter-payload", "another payload", shown(Letter { payload: b"# Goodbye\n".to_vec(), ..carrier() })),
        no(
            "letter-content-type",
            "the same bytes as something else",
            shown(Letter { content_type: "text/html".parse().unwrap(), ..carrier() }),
        ),
        no("letter-reply-to", "an answer to nothing", shown(Letter { reply_to: None, ..carrier() })),
        no("letter-deadline", "without its deadline", shown(Letter { deadline: None, ..carrier() })),
        no("letter-handle", "without its large payload", shown(handle)),
        no("letter-extension", "without an extension of a later version", shown(later)),
    ]
}

fn forms() -> Vec<Case> {
    let headed = |header: Value| given(signed(&sender(), &header, &members()));
    let whole = signed(&sender(), &header(), &members());
    let long = with(members(), "/later", "x".repeat(limit::HOP_PROOF_LEN_MAX));
    vec![
        no("typ-jwt", "some other JWT", headed(with(header(), "/typ", "JWT"))),
        no("typ-missing", "of no type", headed(without(header(), "/typ"))),
        no("alg-none", "unsigned", headed(with(header(), "/alg", "none"))),
        no(
            "kid-other",
            "names another key",
            headed(with(header(), "/kid", Thumbprint::of_ed25519(&other().public()).to_string())),
        ),
        no("kid-missing", "names no key", headed(without(header(), "/kid"))),
        no("crit", "critical headers are not known", headed(with(header(), "/crit", json!(["exp"])))),
        no("b64", "unencoded payloads are not known", headed(with(header(), "/b64", false))),
        no("member-twice", "a member twice", given(twice())),
        no("long", "longer than any", usual(&long)),
        no("empty", "none", given(String::new())),
        no("two-parts", "without its signature", given(whole.rsplit_once('.').unwrap().0.to_owned())),
        no("padded", "base64 with padding", given(format!("{whole}="))),
    ]
}

fn twice() -> String {
    let body = text(&members()).replacen('{', r#"{"tth":"","#, 1);
    let text = format!("{}.{}", encode(text(&header())), encode(body));
    format!("{text}.{}", encode(sender().sign_raw(text.as_bytes())))
}

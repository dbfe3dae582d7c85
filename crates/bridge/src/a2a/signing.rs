//! Signatures of an agent's card: JWS (RFC 7515) whose payload is the card without its signatures, in canonical form (RFC 8785).
//!
//! ```text
//!   the card ─► without `signatures`, without what is empty ─► JCS ─┐
//!            └► without `signatures`, as it stands          ─► JCS ─┴► protected . payload ◄─ signature, by a key of the owner's
//! ```

use std::path::Path;

use data_encoding::BASE64URL_NOPAD;
use nuncio::AwsLc;
use nuncio_proto::crypto::SigningKey;
use nuncio_proto::token::{Algorithm, Json, Thumbprint, VerifyingKey};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value, json};

use crate::config::{Others, read_private};

/// Where they stand in a card.
pub(crate) const SIGNATURES: &str = "signatures";
/// The field that says of a card by which key its signature is good.
pub(crate) const CHECKED: &str = "nuncio-card-key";
/// What 0.3 has beside what 1.0 has: servers of both put it into a card that was signed without it.
const OLDER: [&str; 6] = [
    "additionalInterfaces",
    "preferredTransport",
    "protocolVersion",
    "security",
    "supportsAuthenticatedExtendedCard",
    "url",
];
/// What both have to have, also where it is empty, and as what: of a card, and of each of its skills.
const WANTED: [(&str, &str); 7] = [
    ("capabilities", "{}"),
    ("defaultInputModes", "[]"),
    ("defaultOutputModes", "[]"),
    ("description", "\"\""),
    ("name", "\"\""),
    ("skills", "[]"),
    ("version", "\"\""),
];
const WANTED_OF_SKILLS: [(&str, &str); 4] = [("description", "\"\""), ("id", "\"\""), ("name", "\"\""), ("tags", "[]")];
/// More of one card are not looked at.
const SIGNATURES_MAX: usize = 16;
/// More keys are not taken.
const KEYS_MAX: usize = 32;

/// What was seen of a card's signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It has none, or there is no key to check them by.
    Unchecked,
    /// One is good.
    Good {
        /// By the key of this thumbprint.
        key: String,
        /// The card as it was signed, if it has anything beside that.
        bare: Option<Vec<u8>>,
    },
    /// It has some, and none is good.
    Broken,
}

/// Checks a card's signatures by the keys that count; no other is looked for.
// contracts/call.md X45.
pub(crate) fn check(card: &[u8], keys: &[VerifyingKey]) -> Seen {
    let signed = serde_json::from_slice::<Signed>(card).is_ok_and(|signed| signed.0);
    if keys.is_empty() || !signed {
        return Seen::Unchecked;
    }
    good(card, keys).unwrap_or(Seen::Broken)
}

/// Whether a card has signatures, of whatever form.
pub(crate) fn is_signed(card: &Value) -> bool {
    card.get(SIGNATURES).is_some_and(|signatures| !is_none(signatures))
}

/// Whether a card has signatures wherever they stand: of two members another reader takes the other.
struct Signed(bool);

impl<'de> Deserialize<'de> for Signed {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Signed;

            fn expecting(&self, to: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                to.write_str("a card")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Signed, A::Error> {
                let mut signed = false;
                while let Some((name, value)) = members.next_entry::<String, Value>()? {
                    signed |= name == SIGNATURES && !is_none(&value);
                }
                Ok(Signed(signed))
            }
        }
        from.deserialize_map(Members)
    }
}

fn is_none(signatures: &Value) -> bool {
    signatures.is_null() || signatures.as_array().is_some_and(Vec::is_empty)
}

fn good(card: &[u8], keys: &[VerifyingKey]) -> Option<Seen> {
    // What has a member twice is another card to another reader.
    Json::parse_object(card).ok()?;
    let mut card: Map<String, Value> = serde_json::from_slice(card).ok()?;
    let signatures = card.remove(SIGNATURES)?;
    let mut whole = true;
    let (key, form) = signer_of(&card, &signatures, keys).or_else(|| {
        whole = false;
        card.retain(|name, _| !OLDER.contains(&name.as_str()));
        signer_of(&card, &signatures, keys)
    })?;
    let key = key.thumbprint().to_string();
    let mut card = match form {
        Form::AsItStands if whole => return Some(Seen::Good { key, bare: None }),
        Form::AsItStands => card,
        Form::Filled => with_wanted(filled_members(&card)),
    };
    card.insert(SIGNATURES.to_owned(), signatures);
    Some(Seen::Good { key, bare: Some(serde_json::to_vec(&card).ok()?) })
}

/// Of which bytes a signature is good. What is empty is not signed in the one form: nothing of it is taken on but what nobody chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    AsItStands,
    Filled,
}

/// The key by which one of the signatures of a card is good, and of which form of it: of the card as it stands, if one is.
fn signer_of<'a>(
    card: &Map<String, Value>,
    signatures: &Value,
    keys: &'a [VerifyingKey],
) -> Option<(&'a VerifyingKey, Form)> {
    payloads(card)?.into_iter().find_map(|(form, payload)| {
        let mut all = signatures.as_array()?.iter().take(SIGNATURES_MAX);
        let key = all.find_map(|one| {
            let (protected, signature) = (one.get("protected")?.as_str()?, one.get("signature")?.as_str()?);
            let algorithm = algorithm(protected)?;
            let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).ok()?;
            let signed = signed(protected, &payload);
            let mut keys = keys.iter().filter(|key| key.algorithm() == algorithm);
            keys.find(|key| key.verifies(&signed, &signature, &AwsLc))
        });
        Some((key?, form))
    })
}

/// Of a header that names nothing critical; the key is none of its own.
fn algorithm(protected: &str) -> Option<Algorithm> {
    let header = Json::parse_object(&BASE64URL_NOPAD.decode(protected.as_bytes()).ok()?).ok()?;
    let algorithm = header.get("alg").and_then(Json::as_text).and_then(Algorithm::parse);
    algorithm.filter(|_| !header.contains_key("crit") && !header.contains_key("b64"))
}

fn signed(protected: &str, payload: &[u8]) -> Vec<u8> {
    format!("{protected}.{}", BASE64URL_NOPAD.encode(payload)).into_bytes()
}

/// What a signature may be over: A2A leaves out what has its default value, and not everybody who signs does.
fn payloads(card: &Map<String, Value>) -> Option<Vec<(Form, Vec<u8>)>> {
    let all = [(Form::AsItStands, card.clone()), (Form::Filled, filled_members(card))];
    let mut all: Vec<_> =
        all.into_iter().map(|(form, card)| Some((form, canonical(&Value::Object(card))?))).collect::<Option<_>>()?;
    all.dedup_by(|(_, filled), (_, whole)| filled == whole);
    Some(all)
}

fn canonical(value: &Value) -> Option<Vec<u8>> {
    serde_json_canonicalizer::to_vec(value).ok()
}

fn filled_members(card: &Map<String, Value>) -> Map<String, Value> {
    card.iter().filter_map(|(name, value)| Some((name.clone(), filled(value)?))).collect()
}

/// A card with what every reader of it wants to find, empty where it is not there: whatever reads it has nothing to choose.
fn with_wanted(mut card: Map<String, Value>) -> Map<String, Value> {
    let put = |into: &mut Map<String, Value>, wanted: &[(&str, &str)]| {
        for (name, empty) in wanted {
            let _ = into.entry(*name).or_insert_with(|| empty.parse().unwrap_or_default());
        }
    };
    put(&mut card, &WANTED);
    let skills = card.get_mut("skills").and_then(Value::as_array_mut).into_iter().flatten();
    skills.filter_map(Value::as_object_mut).for_each(|skill| put(skill, &WANTED_OF_SKILLS));
    card
}

/// A value without what is empty in it; `None` where nothing is left.
fn filled(value: &Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::String(text) if text.is_empty() => None,
        Value::Array(all) => {
            let all: Vec<_> = all.iter().filter_map(filled).collect();
            (!all.is_empty()).then_some(Value::Array(all))
        }
        Value::Object(all) => {
            let all = filled_members(all);
            (!all.is_empty()).then_some(Value::Object(all))
        }
        other => Some(other.clone()),
    }
}

/// Signs a card that has no signatures, in every form that may be asked for.
pub(crate) fn sign(card: &mut Map<String, Value>, signer: &SigningKey) -> Option<()> {
    let header = json!({ "alg": "EdDSA", "typ": "JOSE", "kid": Thumbprint::of_ed25519(&signer.public()).to_string() });
    let protected = BASE64URL_NOPAD.encode(header.to_string().as_bytes());
    let one = |(_, payload): &(Form, Vec<u8>)| {
        let signature = BASE64URL_NOPAD.encode(&signer.sign_raw(&signed(&protected, payload)));
        json!({ "protected": protected, "signature": signature })
    };
    let signatures = payloads(card)?.iter().rev().map(one).collect();
    card.insert(SIGNATURES.to_owned(), Value::Array(signatures));
    Some(())
}

/// The public half, as a JWK.
pub(crate) fn jwk(signer: &SigningKey) -> Value {
    let public = signer.public();
    let kid = Thumbprint::of_ed25519(&public).to_string();
    json!({ "kty": "OKP", "crv": "Ed25519", "x": BASE64URL_NOPAD.encode(&public), "alg": "EdDSA", "use": "sig", "kid": kid })
}

/// The keys of a file: a JWK, or a set of them.
///
/// # Errors
/// It has none that can count: why, for people.
pub(crate) fn keys(path: &Path) -> Result<Vec<VerifyingKey>, String> {
    let text = read_private(path, Others::MayNotWrite).map_err(|error| error.to_string())?;
    let none =
        || format!("{}: a JWK is wanted, or a set of them: Ed25519, P-256, or RSA of 2,048 bits", path.display());
    let whole = Json::parse_object(text.as_bytes()).map_err(|_| none())?;
    let listed = match whole.get("keys") {
        Some(Json::Array(listed)) => listed.clone(),
        Some(_) => return Err(none()),
        None => vec![Json::Object(whole)],
    };
    let keys: Option<Vec<_>> = listed.iter().map(VerifyingKey::parse).collect();
    keys.filter(|keys| (1..=KEYS_MAX).contains(&keys.len())).ok_or_else(none)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer(seed: u8) -> SigningKey {
        SigningKey::from_seed(&[seed; 32])
    }

    fn key(seed: u8) -> VerifyingKey {
        VerifyingKey::Ed25519(signer(seed).public())
    }

    fn card() -> Map<String, Value> {
        let card =
            json!({ "name": "é", "version": "", "n": 1.0, "skills": [{ "id": "b", "tags": [] }], "a": { "deep": {} } });
        card.as_object().unwrap().clone()
    }

    fn of(card: &Map<String, Value>, keys: &[VerifyingKey]) -> Seen {
        check(&serde_json::to_vec(card).unwrap(), keys)
    }

    #[test]
    fn a_signature_is_good_by_a_key_that_was_named_and_by_no_other() {
        let mut signed = card();
        assert_eq!(of(&signed, &[key(1)]), Seen::Unchecked, "it has none");
        sign(&mut signed, &signer(1)).unwrap();
        let good = Seen::Good { key: key(1).thumbprint().to_string(), bare: None };
        assert_eq!(of(&signed, &[key(2), key(1)]), good);
        assert_eq!(of(&signed, &[key(2)]), Seen::Broken);
        assert_eq!(of(&signed, &[]), Seen::Unchecked);
        // Each of the two forms is good alone.
        for at in 0..2 {
            let mut one = signed.clone();
            one[SIGNATURES].as_array_mut().unwrap().remove(at);
            assert!(matches!(of(&one, &[key(1)]), Seen::Good { .. }), "{at}");
        }
    }

    /// A card that is signed without what is empty in it alone.
    fn signed_filled() -> Map<String, Value> {
        let mut card = card();
        card.insert("security".to_owned(), json!([{ "mtls": ["x"] }]));
        sign(&mut card, &signer(1)).unwrap();
        card[SIGNATURES].as_array_mut().unwrap().truncate(1);
        card
    }

    #[test]
    fn what_is_empty_and_not_signed_is_not_taken_on() {
        let signed = signed_filled();
        let taken = |card: &Map<String, Value>| {
            let Seen::Good { bare: Some(bare), .. } = of(card, &[key(1)]) else { panic!("{card:?}") };
            serde_json::from_slice::<Map<String, Value>>(&bare).unwrap()
        };
        let wanted = taken(&signed);
        for (what, change) in [
            ("a way to be let in", json!([{ "mtls": ["x"] }, { "apiKey": [] }])),
            ("none", json!([{ "mtls": ["x"] }, {}])),
            ("one beside it", json!([{ "mtls": ["x"], "oauth": [] }])),
        ] {
            let mut other = signed.clone();
            other.insert("security".to_owned(), change);
            assert_eq!(taken(&other), wanted, "{what}");
        }
        let mut other = signed.clone();
        other.insert("securityRequirements".to_owned(), json!([{ "schemes": { "oauth": { "list": [] } } }]));
        other.insert("provider".to_owned(), Value::Null);
        assert_eq!(taken(&other), wanted, "what was not there");
        // What every reader wants to find is there, and it is signed as it was.
        assert_eq!((&wanted["version"], &wanted["capabilities"]), (&json!(""), &json!({})));
        assert_eq!(wanted["skills"], json!([{ "id": "b", "name": "", "description": "", "tags": [] }]));
        assert!(matches!(of(&wanted, &[key(1)]), Seen::Good { .. }));
    }

    #[test]
    fn signatures_that_stand_twice_are_not_taken_for_none() {
        let mut signed = card();
        sign(&mut signed, &signer(1)).unwrap();
        let text = serde_json::to_string(&signed).unwrap();
        let behind = format!("{},\"signatures\":[]}}", &text[..text.len() - 1]);
        let before = format!("{{\"signatures\":null,{}", &text[1..]);
        for twice in [behind, before] {
            assert_eq!(check(twice.as_bytes(), &[key(1)]), Seen::Broken, "{twice}");
        }
    }

    #[test]
    fn no_word_of_a_signed_card_can_be_another() {
        let mut signed = card();
        sign(&mut signed, &signer(1)).unwrap();
        for (name, value) in [("name", json!("e")), ("n", json!(2)), ("skills", json!([])), ("more", json!(1))] {
            let mut other = signed.clone();
            other.insert(name.to_owned(), value);
            assert_eq!(of(&other, &[key(1)]), Seen::Broken, "{name}");
        }
        let text = serde_json::to_string(&signed).unwrap();
        let twice = format!("{{\"name\":\"other\",{}", &text[1..]);
        assert_eq!(check(twice.as_bytes(), &[key(1)]), Seen::Broken, "a member that stands twice");
    }

    #[test]
    fn what_was_put_in_beside_what_is_signed_is_taken_out() {
        let mut signed = card();
        sign(&mut signed, &signer(1)).unwrap();
        let wanted = signed.clone();
        signed.insert("url".to_owned(), json!("http://evil.example"));
        signed.insert("preferredTransport".to_owned(), json!("JSONRPC"));
        let Seen::Good { bare: Some(bare), .. } = of(&signed, &[key(1)]) else { panic!() };
        assert_eq!(serde_json::from_slice::<Map<String, Value>>(&bare).unwrap(), wanted);
    }

    #[test]
    fn forms_that_are_none_are_broken() {
        let mut signed = card();
        sign(&mut signed, &signer(1)).unwrap();
        let good = signed[SIGNATURES][0].clone();
        let protected = |header: Value| BASE64URL_NOPAD.encode(header.to_string().as_bytes());
        for (what, signatures) in [
            ("no array", good.clone()),
            ("none", json!([{}])),
            (
                "an alg that is not allowed",
                json!([{ "protected": protected(json!({ "alg": "none" })), "signature": "" }]),
            ),
            ("HS256", json!([{ "protected": protected(json!({ "alg": "HS256" })), "signature": good["signature"] }])),
            (
                "another alg",
                json!([{ "protected": protected(json!({ "alg": "ES256" })), "signature": good["signature"] }]),
            ),
            (
                "a critical header",
                json!([{ "protected": protected(json!({ "alg": "EdDSA", "crit": ["x"] })), "signature": good["signature"] }]),
            ),
            (
                "padding",
                json!([{ "protected": good["protected"], "signature": format!("{}==", good["signature"].as_str().unwrap()) }]),
            ),
        ] {
            signed.insert(SIGNATURES.to_owned(), signatures);
            assert_eq!(of(&signed, &[key(1)]), Seen::Broken, "{what}");
        }
        // One that is good is enough, among the first.
        signed.insert(SIGNATURES.to_owned(), json!([{}, good.clone()]));
        assert!(matches!(of(&signed, &[key(1)]), Seen::Good { .. }));
        let far = std::iter::repeat_n(json!({}), SIGNATURES_MAX).chain([good]).collect::<Vec<_>>();
        signed.insert(SIGNATURES.to_owned(), far.into());
        assert_eq!(of(&signed, &[key(1)]), Seen::Broken);
    }

    #[test]
    fn the_key_that_is_printed_is_read_again() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("keys.json");
        std::fs::write(&path, jwk(&signer(1)).to_string()).unwrap();
        assert_eq!(keys(&path), Ok(vec![key(1)]));
        std::fs::write(&path, json!({ "keys": [jwk(&signer(2)), jwk(&signer(1))] }).to_string()).unwrap();
        assert_eq!(keys(&path), Ok(vec![key(2), key(1)]));
        for bad in ["", "[]", "{}", r#"{"keys":[]}"#, r#"{"kty":"oct","k":"AA"}"#] {
            std::fs::write(&path, bad).unwrap();
            assert!(keys(&path).unwrap_err().contains("JWK"), "{bad}");
        }
    }
}

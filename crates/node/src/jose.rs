//! Compact JWS of others: assertions, proofs, subject tokens. Read strictly, verified by a key that is known.

mod ring;

use std::collections::BTreeMap;

use data_encoding::BASE64URL_NOPAD;
use nuncio_contracts::registry::{limit, time};
use nuncio_proto::token::{Algorithm, Json, VerifyingKey};

pub(crate) use nuncio_transport::AwsLc;
pub(crate) use ring::KeyRing;

/// The members of a JSON object.
pub(crate) type Members = BTreeMap<String, Json>;
/// What is wrong with a text, for the error's description.
pub(crate) type Flaw = &'static str;

/// A JWS in its form. Its signature was not looked at.
#[derive(Debug)]
pub(crate) struct Jws<'a> {
    pub(crate) header: Members,
    pub(crate) body: Members,
    algorithm: Algorithm,
    signed: &'a [u8],
    signature: Vec<u8>,
}

impl<'a> Jws<'a> {
    /// Three segments in base64url, header and body JSON that means one thing, an algorithm that is allowed, nothing critical
    /// (contracts/txts.md N2).
    pub(crate) fn parse(text: &'a str) -> Result<Self, Flaw> {
        let (form, body) = Self::form(text)?;
        let body = Json::parse_object(&body).map_err(|_| NO_OBJECT)?;
        Ok(Self { body, ..form })
    }

    /// All but what the body says, and its bytes.
    fn form(text: &'a str) -> Result<(Self, Vec<u8>), Flaw> {
        if text.len() > limit::TOKEN_LEN_MAX {
            return Err("a JWT longer than 8 KiB");
        }
        let (signed, signature) = text.rsplit_once('.').ok_or("not a compact JWS")?;
        let (header, body) =
            signed.split_once('.').filter(|(_, body)| !body.contains('.')).ok_or("not a compact JWS")?;
        let header = Json::parse_object(&decode(header)?).map_err(|_| NO_OBJECT)?;
        let algorithm = header.get("alg").and_then(Json::as_text).and_then(Algorithm::parse);
        let algorithm = algorithm.ok_or("an alg that is not allowed")?;
        if header.contains_key("crit") || header.contains_key("b64") {
            return Err("a critical header parameter");
        }
        let (body, signature) = (decode(body)?, decode(signature)?);
        Ok((Self { header, body: Members::new(), algorithm, signed: signed.as_bytes(), signature }, body))
    }

    /// Whether the header's `typ` is absent or one of these; names are compared without regard to case, and without `application/`
    /// (RFC 7515 section 4.1.9).
    pub(crate) fn is_of_type(&self, allowed: &[&str]) -> bool {
        let Some(typ) = self.header.get("typ") else { return true };
        self.has_type(typ, allowed)
    }

    /// The same, of a `typ` that must be there.
    pub(crate) fn must_be_of_type(&self, allowed: &[&str]) -> bool {
        self.header.get("typ").is_some_and(|typ| self.has_type(typ, allowed))
    }

    fn has_type(&self, typ: &Json, allowed: &[&str]) -> bool {
        let named = typ.as_text().map(str::to_ascii_lowercase);
        let named = named.as_deref().map(|named| named.strip_prefix("application/").unwrap_or(named));
        named.is_some_and(|named| allowed.contains(&named))
    }

    /// Whether this key, used as its algorithm says, has signed it.
    pub(crate) fn is_signed_by(&self, key: &VerifyingKey) -> bool {
        key.algorithm() == self.algorithm && key.verifies(self.signed, &self.signature, &AwsLc)
    }

    /// A claim that is a text and not empty.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.body.get(name).and_then(Json::as_text).filter(|text| !text.is_empty())
    }

    /// A claim in seconds.
    pub(crate) fn seconds(&self, name: &str) -> Option<u64> {
        self.body.get(name).and_then(Json::as_integer)
    }

    /// Whether `aud` is, or has among its members, one of these.
    pub(crate) fn is_for(&self, audiences: &[&str]) -> bool {
        let named = |aud: &Json| aud.as_text().is_some_and(|aud| audiences.contains(&aud));
        match self.body.get("aud") {
            Some(Json::Array(listed)) => listed.iter().any(named),
            Some(aud) => named(aud),
            None => false,
        }
    }

    /// `exp`, where it has not passed, and neither `nbf` nor `iat`, where there, are to come.
    pub(crate) fn lives_until(&self, now_s: u64) -> Result<u64, Flaw> {
        let exp = self.seconds("exp").ok_or("exp is missing or no number of seconds")?;
        if exp.saturating_add(SKEW_S) <= now_s {
            return Err("it has expired");
        }
        for name in ["nbf", "iat"] {
            let begins = self.body.get(name).map(|_| self.seconds(name).ok_or("nbf or iat is no number of seconds"));
            if begins.transpose()?.is_some_and(|begins| begins > now_s.saturating_add(SKEW_S)) {
                return Err("it begins in the future");
            }
        }
        Ok(exp)
    }
}

/// Clocks differ by so much.
pub(crate) const SKEW_S: u64 = time::TOKEN_SKEW / 1_000;

const NO_OBJECT: Flaw = "a segment is no JSON object that means one thing";

fn decode(segment: &str) -> Result<Vec<u8>, Flaw> {
    BASE64URL_NOPAD.decode(segment.as_bytes()).map_err(|_| "a segment is not base64url")
}

#[cfg(test)]
mod tests {
    use nuncio_proto::crypto::SigningKey;
    use nuncio_proto::testing::jws;

    use super::*;

    fn text(header: &str, body: &str) -> String {
        jws(&SigningKey::from_seed(&[1; 32]), header, body)
    }

    #[test]
    fn only_the_signer_s_key_verifies_it_and_only_as_its_algorithm_says() {
        let key = |seed| VerifyingKey::Ed25519(SigningKey::from_seed(&[seed; 32]).public());
        for alg in ["EdDSA", "Ed25519"] {
            let text = text(&format!(r#"{{"alg":"{alg}"}}"#), "{}");
            assert!(Jws::parse(&text).unwrap().is_signed_by(&key(1)));
            assert!(!Jws::parse(&text).unwrap().is_signed_by(&key(2)));
        }
        let text = text(r#"{"alg":"ES256"}"#, "{}");
        assert!(!Jws::parse(&text).unwrap().is_signed_by(&key(1)));
    }

    #[derive(serde::Deserialize)]
    struct Group {
        comment: String,
        public: serde_json::Value,
        valid: String,
        invalid: Vec<(String, String)>,
    }

    /// What the cases of Wycheproof's `json_web_signature_test` do to a genuine JWS, by their names there.
    fn edits(jws: &str) -> Vec<(&'static str, String)> {
        let [header, payload, signature] = <[&str; 3]>::try_from(jws.split('.').collect::<Vec<_>>()).unwrap();
        let x = |part: &str| format!("X{}", &part[1..]);
        let named = |header: &str| {
            let read = String::from_utf8(decode(header).unwrap()).unwrap();
            BASE64URL_NOPAD.encode(read.replace("\"kid\":\"k", "\"kid\":\"X").as_bytes())
        };
        let unsigned = BASE64URL_NOPAD.encode(br#"{"alg":"none"}"#);
        let parts = serde_json::json!({ "protected": header, "header": {}, "signature": signature });
        vec![
            ("rejectsModifiedSignature", format!("{header}.{payload}.{}", x(signature))),
            ("rejectsMissingSignature", format!("{header}.{payload}.")),
            ("rejectsMissingSignatureAndSeparator", format!("{header}.{payload}")),
            ("rejectsModifiedPayload", format!("{header}.{}.{signature}", x(payload))),
            ("rejectsMissingPayload", format!("{header}..{signature}")),
            ("rejectsMissingPayloadAndSeparator", format!("{header}.{signature}")),
            ("rejectsModifiedHeader", format!("{}.{payload}.{signature}", named(header))),
            ("rejectsMissingHeader", format!(".{payload}.{signature}")),
            ("rejectsMissingHeaderAndSeparator", format!("{payload}.{signature}")),
            ("rejectsMissingHeaderAndSignature", format!(".{payload}.")),
            ("rejectsMissingHeaderSignatureAndSeparators", payload.to_owned()),
            ("rejectsEmptyString", String::new()),
            ("rejectsExtraEmptyComponent", format!("{jws}.")),
            ("rejectsExtraComponent", format!("{jws}.foo")),
            ("rejectsNoneAlgorithmAndMissingSignature", format!("{unsigned}.{payload}.")),
            (
                "rejectsValidJsonSerialization",
                serde_json::json!({ "payload": payload, "signatures": [parts] }).to_string(),
            ),
        ]
    }

    #[test]
    fn what_wycheproof_calls_invalid_is_refused_and_what_it_calls_valid_is_taken() {
        let text = include_str!("../../../contracts/vectors-third-party/jws_wycheproof.json");
        let groups: Vec<Group> = serde_json::from_str(text).unwrap();
        assert_eq!(groups.len(), 2);
        for group in groups {
            let ring = KeyRing::parse(serde_json::json!({ "keys": [group.public] }).to_string().as_bytes()).unwrap();
            let verifies = |text: &str| Jws::form(text).is_ok_and(|(jws, _)| ring.verifies(&jws));
            assert!(verifies(&group.valid), "{}", group.comment);
            let listed = group.invalid.iter().map(|(name, jws)| (name.as_str(), jws.clone()));
            for (name, jws) in edits(&group.valid).into_iter().chain(listed) {
                assert!(!verifies(&jws), "{}: {name}", group.comment);
            }
        }
    }

    #[test]
    fn a_form_that_is_not_strict_is_refused() {
        for header in [
            r#"{"alg":"none"}"#,
            r#"{"alg":"HS256"}"#,
            r#"{"alg":"eddsa"}"#,
            "{}",
            "[]",
            r#"{"alg":"EdDSA","alg":"EdDSA"}"#,
            r#"{"alg":"EdDSA","crit":["exp"]}"#,
            r#"{"alg":"EdDSA","b64":false}"#,
        ] {
            assert!(Jws::parse(&text(header, "{}")).is_err(), "{header}");
        }
        let good = text(r#"{"alg":"EdDSA"}"#, r#"{"a":1}"#);
        for bad in [String::new(), format!("{good}."), format!("x.{good}"), format!("{good}="), good.replace('.', "")] {
            assert!(Jws::parse(&bad).is_err(), "{bad}");
        }
        assert!(Jws::parse(&text(r#"{"alg":"EdDSA"}"#, r#"{"a":1,"a":1}"#)).is_err());
    }

    #[test]
    fn times_and_audiences_are_looked_at() {
        let parsed = |body: &str| {
            let text = text(r#"{"alg":"EdDSA","typ":"application/AT+JWT"}"#, body);
            let jws = Jws::parse(&text).unwrap();
            assert!(jws.is_of_type(&["at+jwt"]) && !jws.is_of_type(&["jwt"]));
            (jws.lives_until(1_000), jws.is_for(&["a", "b"]))
        };
        assert_eq!(parsed(r#"{"exp":1001,"aud":"b"}"#), (Ok(1_001), true));
        assert_eq!(parsed(r#"{"exp":971,"aud":["x","a"]}"#), (Ok(971), true));
        assert!(parsed(r#"{"exp":970,"aud":["x"]}"#).0.is_err());
        for bad in [
            r#"{"aud":"c"}"#,
            r#"{"exp":"1001"}"#,
            r#"{"exp":1001,"nbf":1031}"#,
            r#"{"exp":1001,"iat":1031}"#,
            r#"{"exp":1001,"iat":"0"}"#,
        ] {
            assert!(parsed(bad).0.is_err() && !parsed(bad).1, "{bad}");
        }
    }
}

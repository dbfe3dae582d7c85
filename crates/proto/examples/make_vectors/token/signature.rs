//! Step 4: who signed.

use super::super::bundle::malleable;
use super::header::{p256, rsa, under};
use super::*;

pub(super) fn cases() -> Vec<Case> {
    [altered(), strict(), weak_keys(), other_algorithms()].into_iter().flatten().collect()
}

fn no(name: &str, comment: &str, token: impl Into<String>) -> Case {
    refused(name, comment, given(token), "token_signature")
}

fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 1;
    bytes
}

/// The good token's signature.
fn signature() -> Vec<u8> {
    let [_, _, signature] = segments();
    BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap()
}

/// A good token with another signature.
fn signed_by(signature: &[u8]) -> String {
    let [header, body, _] = segments();
    format!("{header}.{body}.{}", encode(signature))
}

fn altered() -> Vec<Case> {
    let [header, body, signature] = segments();
    let other_header = encode(text(&with(super::header(), "/later", 1)));
    let other_body = encode(text(&with(super::body(), "/sub", "user:eve")));
    let label = service().sign(b"nuncio/1 token", format!("{header}.{body}").as_bytes());
    vec![
        no("signature-header-altered", "a member more in the header", format!("{other_header}.{body}.{signature}")),
        no("signature-body-altered", "another principal", format!("{header}.{other_body}.{signature}")),
        no("signature-r-altered", "one bit of R", signed_by(&flipped(&self::signature(), 0))),
        no("signature-s-altered", "one bit of s", signed_by(&flipped(&self::signature(), 32))),
        no("signature-other-key", "by a key that is not the one named", sign(&stranger(), &header, &body)),
        no("signature-empty", "none there", format!("{header}.{body}.")),
        no("signature-63", "a byte too few", signed_by(&self::signature()[..63])),
        no("signature-65", "a byte too many", signed_by(&[&self::signature()[..], &[0]].concat())),
        no("signature-label", "as messages of ours are signed: a token is signed as it stands", signed_by(&label)),
        no("signature-body-alone", "over the body alone", signed_by(&service().sign_raw(body.as_bytes()))),
    ]
}

/// Whether the equation holds, with nothing asked of the points.
fn holds(public: &[u8; 32], token: &str) -> bool {
    use ed25519_dalek::Verifier as _;
    let (message, signature) = token.rsplit_once('.').unwrap();
    let signature =
        ed25519_dalek::Signature::from_slice(&BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap()).unwrap();
    ed25519_dalek::VerifyingKey::from_bytes(public).unwrap().verify(message.as_bytes(), &signature).is_ok()
}

/// The neutral point.
const NEUTRAL: [u8; 32] = {
    let mut point = [0; 32];
    point[0] = 1;
    point
};
/// For R the neutral point: s = k·a over the good token, worked out apart.
const S_OF_NEUTRAL: &str = "cf3425e7bdaa24faf6b1f06d12b224b27cca24e7ea3b761961bd1cc6b5d91302";

fn strict() -> Vec<Case> {
    let s = data_encoding::HEXLOWER.decode(S_OF_NEUTRAL.as_bytes()).unwrap();
    let neutral = signed_by(&[&NEUTRAL[..], &s].concat());
    assert!(holds(&service().public(), &neutral), "refused for its R alone");
    vec![
        no(
            "signature-malleable",
            "s + L: the equation holds, RFC 8032 refuses it",
            signed_by(&malleable(&signature())),
        ),
        no("signature-r-small-order", "the equation holds with R the neutral point", neutral),
    ]
}

fn weak_keys() -> Vec<Case> {
    // y = p + 3: a good point in a second spelling.
    let mut second = [0xff; 32];
    (second[0], second[31]) = (0xf0, 0x7f);
    let under = |public: &[u8; 32]| {
        let kid = Thumbprint::of_ed25519(public).to_string();
        let header = with(header(), "/kid", kid.as_str());
        let signature = [&NEUTRAL[..], &[0; 32]].concat();
        let token = format!("{}.{}.{}", encode(text(&header)), encode(text(&body())), encode(signature));
        (with(given(token), "/keys", set_of(&[okp(public)])), kid)
    };
    let ((weak, weak_kid), (other, other_kid)) = (under(&NEUTRAL), under(&second));
    assert!(holds(&NEUTRAL, weak["token"].as_str().unwrap()), "refused for its key alone");
    vec![
        needs("key-small-order", "under it the equation holds for everything: it is passed over", weak, &weak_kid),
        needs("key-not-canonical", "a second spelling of a point is passed over", other, &other_kid),
    ]
}

fn other_algorithms() -> Vec<Case> {
    let is = |name: &str, comment: &str, input| refused(name, comment, input, "token_signature");
    vec![
        is("signature-es256", "not by this P-256 key", under(p256(), "ES256", &fixed::<64>("es256"))),
        is("signature-es256-zero", "r and s are zero", under(p256(), "ES256", &[0; 64])),
        is(
            "signature-rs256",
            "not by this RSA key",
            under(rsa(), "RS256", &[&[0][..], &fixed::<255>("rs256")].concat()),
        ),
    ]
}

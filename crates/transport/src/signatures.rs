//! ES256 and RS256 of tokens, which the core leaves to whoever runs it: by the library that TLS uses, so it is chosen in one place.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use data_encoding::BASE64URL_NOPAD;
use nuncio_proto::token::{Algorithm, Json, Signatures};

/// Verifies ES256 and RS256 (RFC 7518 sections 3.3 and 3.4) with aws-lc.
#[derive(Clone, Copy, Debug)]
pub struct AwsLc;

impl Signatures for AwsLc {
    fn verify(&self, algorithm: Algorithm, jwk: &str, message: &[u8], signature: &[u8]) -> bool {
        verify(algorithm, jwk, message, signature).is_some()
    }
}

/// `Some` when the signature is genuine.
fn verify(algorithm: Algorithm, jwk: &str, message: &[u8], signature: &[u8]) -> Option<()> {
    let members = Json::parse_object(jwk.as_bytes()).ok()?;
    let bytes = |name: &str| BASE64URL_NOPAD.decode(members.get(name)?.as_text()?.as_bytes()).ok();
    match algorithm {
        Algorithm::Es256 => {
            /// SEC 1 section 2.3.3: an uncompressed point follows.
            const UNCOMPRESSED: &[u8] = &[4];
            let point = [UNCOMPRESSED, &bytes("x")?, &bytes("y")?].concat();
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature).ok()
        }
        Algorithm::Rs256 => {
            let key = RsaPublicKeyComponents { n: bytes("n")?, e: bytes("e")? };
            key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature).ok()
        }
        // The core verifies it itself, strictly.
        Algorithm::EdDsa => None,
    }
}

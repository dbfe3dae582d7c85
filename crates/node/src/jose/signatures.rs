//! ES256 and RS256, by aws-lc: what the core leaves to whoever runs it.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use data_encoding::BASE64URL_NOPAD;
use nuncio_proto::token::{Algorithm, Json, Signatures};

/// The library that TLS uses already.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AwsLc;

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

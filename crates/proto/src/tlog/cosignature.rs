//! A witness's word that a log only grew, up to a checkpoint, and when it saw that (C2SP tlog-cosignature).

use super::note::{KeyKind, Note, NoteError, NoteKey, NoteSignature};
use crate::crypto::{self, SigningKey};

/// Seconds since 1970 end here, for whoever keeps them signed.
const TIME_MAX: u64 = i64::MAX.unsigned_abs();

/// The cosignature of a checkpoint's text at a time, in seconds.
#[must_use]
pub fn cosign(text: &str, at_s: u64, key: &NoteKey, signer: &SigningKey) -> NoteSignature {
    let signature = signer.sign_raw(message(text, at_s).as_bytes());
    key.line(&[at_s.to_be_bytes().as_slice(), &signature].concat())
}

/// When a witness has cosigned a note, in seconds.
///
/// # Errors
/// [`NoteError::Unsigned`], [`NoteError::Signature`].
// contracts/log.md G12.
pub fn cosigned_at(note: &Note, witness: &NoteKey) -> Result<u64, NoteError> {
    if witness.kind() != KeyKind::CosignatureV1 {
        return Err(NoteError::Unsigned);
    }
    note.verified(witness, |line| {
        let (at_s, signature) = line.split_first_chunk()?;
        let at_s = Some(u64::from_be_bytes(*at_s)).filter(|at_s| *at_s <= TIME_MAX)?;
        let message = message(note.text(), at_s);
        crypto::verify_raw(witness.public(), message.as_bytes(), signature.try_into().ok()?).ok()?;
        Some(at_s)
    })
}

fn message(text: &str, at_s: u64) -> String {
    format!("cosignature/v1\ntime {at_s}\n{text}")
}

//! A witness's word that a log only grew, up to a checkpoint, and when it saw that (C2SP tlog-cosignature).

use super::checkpoint::Checkpoint;
use super::note::{Note, NoteError, NoteKey, NoteSignature, Public};
use crate::crypto::{self, SigningKey};

/// Seconds since 1970 end here, for whoever keeps them signed.
const TIME_MAX: u64 = i64::MAX.unsigned_abs();

/// The cosignature of a checkpoint's text at a time, in seconds.
#[must_use]
pub fn cosign(text: &str, at_s: u64, key: &NoteKey, signer: &SigningKey) -> NoteSignature {
    let signature = signer.sign_raw(message(text, at_s).as_bytes());
    key.line(&[at_s.to_be_bytes().as_slice(), &signature].concat())
}

/// When a witness has cosigned a note, in seconds. A witness with an ML-DSA-44 key may say 0 for no time at all.
///
/// # Errors
/// [`NoteError::Unsigned`], [`NoteError::Signature`].
// contracts/log.md G12.
pub fn cosigned_at(note: &Note, witness: &NoteKey) -> Result<u64, NoteError> {
    if !witness.kind().cosigns() {
        return Err(NoteError::Unsigned);
    }
    note.verified(witness, |line| {
        let (at_s, signature) = line.split_first_chunk()?;
        let at_s = Some(u64::from_be_bytes(*at_s)).filter(|at_s| *at_s <= TIME_MAX)?;
        let verified = match witness.typed() {
            Public::Ed25519(_) => return None,
            Public::CosignatureV1(public) => {
                let message = message(note.text(), at_s);
                crypto::verify_raw(public, message.as_bytes(), signature.try_into().ok()?)
            }
            Public::MlDsa44(public) => {
                let message = subtree_message(witness.name(), at_s, &Checkpoint::parse(note.text()).ok()?)?;
                crypto::verify_ml_dsa_44(public, &message, signature.try_into().ok()?)
            }
        };
        verified.ok().map(|()| at_s)
    })
}

fn message(text: &str, at_s: u64) -> String {
    format!("cosignature/v1\ntime {at_s}\n{text}")
}

/// What a key of kind 6 signs: the tree of all entries as one subtree; `None` for a name too long for it.
// contracts/log.md G18.
fn subtree_message(cosigner: &str, at_s: u64, head: &Checkpoint) -> Option<Vec<u8>> {
    let mut message = b"subtree/v1\n\0".to_vec();
    let mut name = |name: &str, number: u64| {
        message.push(u8::try_from(name.len()).ok()?);
        message.extend_from_slice(name.as_bytes());
        message.extend_from_slice(&number.to_be_bytes());
        Some(())
    };
    name(cosigner, at_s)?;
    name(&head.origin, 0)?;
    message.extend_from_slice(&head.size.to_be_bytes());
    message.extend_from_slice(&head.root);
    Some(message)
}

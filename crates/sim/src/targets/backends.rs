//! The core's primitives, of both backends.

use nuncio_proto::crypto::backend::{AwsLc, Backend, Card};
use nuncio_proto::crypto::{self, CryptoError, PublicKey};
use nuncio_proto::secret::Key;

use super::altered;

/// The same bytes and the same verdict from both, whatever they are given: the first byte says of what.
pub fn backends(bytes: &[u8]) {
    let Some((what, rest)) = bytes.split_first() else { return };
    let whole = match what % 4 {
        0 => cipher(rest),
        1 => agreement(rest),
        2 => signed(rest),
        _ => claimed(rest).map(drop),
    };
    // What is too short says nothing.
    whole.unwrap_or_default();
}

/// A key, a nonce, a tag, how long the associated data is, these, and what is to be opened and sealed.
fn cipher(bytes: &[u8]) -> Option<()> {
    let (key, rest) = bytes.split_first_chunk()?;
    let (nonce, rest) = rest.split_first_chunk()?;
    let (tag, rest) = rest.split_first_chunk()?;
    let (len, rest) = rest.split_first()?;
    let (ad, text) = rest.split_at_checked(usize::from(*len))?;
    drop(opened(key, nonce, ad, text, tag));
    let [mut one, mut other] = [text.to_vec(), text.to_vec()];
    let tag = Card::seal(key, nonce, ad, &mut one);
    assert_eq!((tag, &one), (AwsLc::seal(key, nonce, ad, &mut other), &other), "backends: sealed, it is not the same");
    assert_eq!(opened(key, nonce, ad, &one, &tag), Ok(text.to_vec()), "backends: sealed, it does not open");
    Some(())
}

fn opened(
    key: &[u8; 32],
    nonce: &[u8; 12],
    ad: &[u8],
    sealed: &[u8],
    tag: &[u8; crypto::TAG_LEN],
) -> Result<Vec<u8>, CryptoError> {
    let [mut one, mut other, mut ours] = [sealed.to_vec(), sealed.to_vec(), sealed.to_vec()];
    let card = Card::open(key, nonce, ad, &mut one, tag).map(|()| one);
    let aws = AwsLc::open(key, nonce, ad, &mut other, tag).map(|()| other);
    assert_eq!(card, aws, "backends: one opens what the other does not");
    if crypto::open_in_place(key, nonce, ad, &mut ours, tag).is_err() {
        assert!(ours.iter().all(|byte| *byte == 0), "backends: what did not open is left");
    }
    card
}

/// A secret and a point.
fn agreement(bytes: &[u8]) -> Option<()> {
    let (secret, rest) = bytes.split_first_chunk()?;
    let (point, _) = rest.split_first_chunk()?;
    let secret = Key::new(*secret);
    assert_eq!(Card::dh_public(&secret), AwsLc::dh_public(&secret), "backends: two public keys of one secret");
    assert_eq!(Card::dh(&secret, point), AwsLc::dh(&secret, point), "backends: two secrets of one agreement");
    Some(())
}

/// A seed, what is laid over the public key and the signature, and the message that is signed.
fn signed(bytes: &[u8]) -> Option<()> {
    let (seed, rest) = bytes.split_first_chunk()?;
    let (over, message) = rest.split_first_chunk::<96>()?;
    let key = Card::signing_key(seed);
    let (public, signature) = (key.verifying_key().to_bytes(), Card::sign(&key, message));
    let theirs = AwsLc::sign(&AwsLc::signing_key(seed), message);
    assert_eq!(signature, theirs, "backends: two signatures of one message");
    let taken = claimed(&[&altered(&[&public[..], &signature].concat(), over), message].concat())?;
    assert_eq!(taken, *over == [0; 96], "backends: an altered signature is taken, or one that was not is refused");
    Some(())
}

/// A key, a signature, and the message that it is said to be of. Whether it is taken.
fn claimed(bytes: &[u8]) -> Option<bool> {
    let (public, rest) = bytes.split_first_chunk()?;
    let (signature, message) = rest.split_first_chunk()?;
    let card = Card::verify(public, message, signature);
    assert_eq!(card, AwsLc::verify(public, message, signature), "backends: two verdicts on one signature");
    let ours = crypto::verify_raw(public, message, signature).is_ok();
    let read = PublicKey::from_bytes(public).is_ok_and(|key| key.verify_raw(message, signature).is_ok());
    assert_eq!((ours, read), (card.is_ok(), card.is_ok()), "backends: another verdict on the way through crypto.rs");
    Some(ours)
}

//! The two backends of `crypto.rs` beside each other: the same bytes and the same verdicts, whatever they are given.
//!
//! Wycheproof's files, the vectors and the conversations run on each of them alone (`cargo xtask test --only backend`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "backends/points.rs"]
mod points;
#[path = "backends/verdicts.rs"]
mod verdicts;

use nuncio_proto::crypto::backend::{AwsLc, Backend, Card, InUse, Other};
use nuncio_proto::crypto::{self, CryptoError, SigningKey};
use nuncio_proto::secret::Key;
use nuncio_proto::testing::rng;
use rand_core::Rng;

#[test]
fn the_feature_chooses_the_backend() {
    let chosen = if cfg!(feature = "aws-lc") { [AwsLc::NAME, Card::NAME] } else { [Card::NAME, AwsLc::NAME] };
    assert_eq!([InUse::NAME, Other::NAME], chosen);
}

fn array<const N: usize>(rng: &mut impl Rng) -> [u8; N] {
    let mut bytes = [0; N];
    rng.fill_bytes(&mut bytes);
    bytes
}

fn bytes(rng: &mut impl Rng, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    rng.fill_bytes(&mut bytes);
    bytes
}

/// Lengths around the blocks of both ciphers, and of chunks.
fn lengths() -> impl Iterator<Item = usize> {
    (0..=400).chain([511, 512, 513, 1_023, 1_024, 1_025, 4_096, 65_535, 65_536])
}

#[test]
fn both_seal_the_same_and_each_opens_the_others() {
    let mut rng = rng(1);
    for len in lengths() {
        let (key, nonce) = (array(&mut rng), array(&mut rng));
        let ad = bytes(&mut rng, len % 67);
        let clear = bytes(&mut rng, len);
        let (mut one, mut other) = (clear.clone(), clear.clone());
        let tag = Card::seal(&key, &nonce, &ad, &mut one);
        assert_eq!(tag, AwsLc::seal(&key, &nonce, &ad, &mut other), "{len}: tags");
        assert_eq!(one, other, "{len}: ciphertexts");
        assert_eq!(AwsLc::open(&key, &nonce, &ad, &mut one, &tag), Ok(()), "{len}");
        assert_eq!(Card::open(&key, &nonce, &ad, &mut other, &tag), Ok(()), "{len}");
        assert_eq!([&one, &other], [&clear, &clear], "{len}: plaintexts");
    }
}

#[test]
fn what_does_not_open_leaves_zeros() {
    let mut rng = rng(2);
    for len in [0, 1, 15, 16, 17, 64, 65, 127, 128, 129, 1_024, 4_097] {
        let (key, nonce, ad) = (array(&mut rng), array(&mut rng), bytes(&mut rng, 33));
        let mut sealed = bytes(&mut rng, len);
        let tag = crypto::seal_in_place(&key, &nonce, &ad, &mut sealed);
        let opens = |key: &[u8; 32], nonce: &[u8; 12], ad: &[u8], sealed: &[u8], tag: &[u8; 16]| {
            let [mut card, mut aws] = [sealed.to_vec(), sealed.to_vec()];
            let verdicts = [Card::open(key, nonce, ad, &mut card, tag), AwsLc::open(key, nonce, ad, &mut aws, tag)];
            assert_eq!(verdicts[0], verdicts[1], "{len}: one opens what the other refuses");
            let mut buf = sealed.to_vec();
            assert_eq!(crypto::open_in_place(key, nonce, ad, &mut buf, tag), verdicts[0]);
            assert!(verdicts[0].is_ok() || buf.iter().all(|byte| *byte == 0), "{len}: something is left");
            verdicts[0]
        };
        assert_eq!(opens(&key, &nonce, &ad, &sealed, &tag), Ok(()));
        for bit in 0..128 {
            let (mut tag, mut nonce, mut ad, mut sealed, mut key) = (tag, nonce, ad.clone(), sealed.clone(), key);
            match bit % 5 {
                0 => nonce[bit % 12] ^= 1 << (bit % 8),
                1 => ad[bit % 33] ^= 1 << (bit % 8),
                2 if len > 0 => sealed[bit * 31 % len] ^= 1 << (bit % 8),
                3 => key[bit % 32] ^= 1 << (bit % 8),
                _ => tag[bit / 8] ^= 1 << (bit % 8),
            }
            assert_eq!(opens(&key, &nonce, &ad, &sealed, &tag), Err(CryptoError::NotAuthentic), "{len}, {bit}");
        }
    }
}

fn agreed(secret: &Key, public: &[u8; 32]) -> Result<Key, CryptoError> {
    let [card, aws] = [Card::dh(secret, public), AwsLc::dh(secret, public)];
    assert_eq!(card, aws, "X25519 of {public:02x?}");
    assert_eq!(crypto::dh(secret, public), card);
    card
}

#[test]
fn both_agree_on_every_secret_and_point() {
    let mut rng = rng(3);
    for _ in 0..300 {
        let (secret, public) = (Key::random(&mut rng), array(&mut rng));
        assert_eq!(Card::dh_public(&secret), AwsLc::dh_public(&secret));
        agreed(&secret, &public).unwrap();
    }
    // A scalar is clamped wherever it is taken up.
    for secret in [[0; 32], [0xff; 32], [1; 32]].map(Key::new) {
        assert_eq!(Card::dh_public(&secret), AwsLc::dh_public(&secret));
        agreed(&secret, &crypto::dh_public(&Key::new([7; 32]))).unwrap();
    }
}

#[test]
fn both_refuse_the_all_zero_secret_and_read_points_alike() {
    let secret = Key::new([0x55; 32]);
    for low in points::low_montgomery() {
        for top in [0, 0x80] {
            // RFC 7748: the highest bit is not of the number.
            let mut public = low;
            public[31] ^= top;
            assert_eq!(agreed(&secret, &public), Err(CryptoError::AllZero), "{public:02x?}");
        }
    }
    // Numbers that are not reduced, and points of the twist, are taken as they are.
    for public in points::not_reduced().chain((2..40).map(|u| core::array::from_fn(|i| if i == 0 { u } else { 0 }))) {
        drop(agreed(&secret, &public));
    }
}

#[test]
fn both_sign_the_same() {
    let mut rng = rng(4);
    for len in (0..300).chain([1_000, 4_096]) {
        let (seed, message) = (array(&mut rng), bytes(&mut rng, len));
        let (card, aws) = (Card::signing_key(&seed), AwsLc::signing_key(&seed));
        let signature = Card::sign(&card, &message);
        assert_eq!(signature, AwsLc::sign(&aws, &message), "{len}");
        assert_eq!(signature, AwsLc::sign(&aws.clone(), &message), "{len}: again, and by a copy");
        let ours = SigningKey::from_seed(&seed);
        assert_eq!((ours.sign_raw(&message), ours.public()), (signature, Card::pair(&card).verifying_key().to_bytes()));
        assert_eq!(verdicts::both(&ours.public(), &message, &signature), Ok(()));
    }
}

//! Signatures that strict verification refuses and a lenient one takes, made with the points of small order (the cases of "Taming the many EdDSAs",
//! Chalkias, Garillot and Nikolaenko 2020, table 6): the verdict is the same in both backends, and the strict one.

use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT as B, EIGHT_TORSION};
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::Identity;
use nuncio_proto::crypto::backend::{AwsLc, Backend, Card};
use nuncio_proto::crypto::{self, CryptoError, PublicKey};
use nuncio_proto::testing::rng;
use sha2::{Digest, Sha512};

use super::{array, bytes, points};

/// The verdict of all ways to verify.
pub(crate) fn both(public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> Result<(), CryptoError> {
    let card = Card::verify(public, message, signature);
    assert_eq!(card, AwsLc::verify(public, message, signature), "{public:02x?} {message:02x?} {signature:02x?}");
    if let Ok(key) = ed25519_dalek::VerifyingKey::from_bytes(public) {
        assert_eq!(AwsLc::verify_read(&key, message, signature), card.is_ok(), "{public:02x?}");
    }
    let ours = crypto::verify_raw(public, message, signature);
    match PublicKey::from_bytes(public) {
        Ok(read) => assert_eq!((read.verify_raw(message, signature), ours), (card, card), "{public:02x?}"),
        Err(_) => assert!(ours.is_err(), "under a key that is refused: {public:02x?}"),
    }
    ours
}

/// `k` of RFC 8032 section 5.1.7.
fn challenge(r: &[u8; 32], public: &[u8; 32], message: &[u8]) -> Scalar {
    let hash = Sha512::new().chain_update(r).chain_update(public).chain_update(message).finalize();
    Scalar::from_bytes_mod_order_wide(&hash.into())
}

fn joined(r: &[u8; 32], s: &Scalar) -> [u8; 64] {
    [*r, s.to_bytes()].concat().try_into().unwrap()
}

/// A signature by `a` and `r` with points of small order beside the public key and `R`, under a message for which the equation holds without a cofactor.
/// `None` where no message of a few hundred gives one.
fn with_torsion(
    a: &Scalar,
    of_a: &EdwardsPoint,
    r: &Scalar,
    of_r: &EdwardsPoint,
) -> Option<([u8; 32], Vec<u8>, [u8; 64])> {
    let public = (B * a + of_a).compress().to_bytes();
    let point = (B * r + of_r).compress().to_bytes();
    (0..400_u16).find_map(|number| {
        let message = number.to_be_bytes().to_vec();
        let k = challenge(&point, &public, &message);
        let holds = of_r + of_a * k == EdwardsPoint::identity();
        holds.then(|| (public, message, joined(&point, &(r + k * a))))
    })
}

fn is_small(point: &EdwardsPoint) -> bool {
    EIGHT_TORSION.contains(point)
}

/// Every choice of key and `R`: none, of small order, of the prime order, of mixed order. The strict rule takes what holds with neither small.
#[test]
fn points_of_small_order_are_refused_and_of_mixed_order_taken_by_both() {
    let (zero, a, r) = (Scalar::ZERO, Scalar::from(77_u8), Scalar::from(1_234_567_u32));
    let (mut refused, mut taken) = (0, 0);
    for (of_a, of_r) in EIGHT_TORSION.iter().flat_map(|of_a| EIGHT_TORSION.iter().map(move |of_r| (of_a, of_r))) {
        for (a, r) in [(zero, zero), (zero, r), (a, zero), (a, r)] {
            let Some((public, message, signature)) = with_torsion(&a, of_a, &r, of_r) else { continue };
            let small = is_small(&(B * a + of_a)) || is_small(&(B * r + of_r));
            let expected = if small { Err(CryptoError::BadSignature) } else { Ok(()) };
            assert_eq!(both(&public, &message, &signature), expected, "a {a:?} r {r:?}");
            *(if small { &mut refused } else { &mut taken }) += 1;
        }
    }
    assert!(refused > 80 && taken > 20, "the cases are there: {refused} refused, {taken} taken");
}

#[test]
fn a_key_of_small_order_is_refused_by_both() {
    for point in &EIGHT_TORSION {
        let public = point.compress().to_bytes();
        assert_eq!(PublicKey::from_bytes(&public), Err(CryptoError::BadPublicKey));
        let Some((_, message, signature)) =
            with_torsion(&Scalar::ZERO, point, &Scalar::from(5_u8), &EdwardsPoint::identity())
        else {
            panic!("no message for {public:02x?}")
        };
        assert_eq!(both(&public, &message, &signature), Err(CryptoError::BadSignature), "key {public:02x?}");
    }
}

#[test]
fn an_r_of_small_order_is_refused_by_both() {
    let a = Scalar::from(99_u8);
    for point in &EIGHT_TORSION {
        // The key has what takes R's part away again.
        let found = EIGHT_TORSION.iter().find_map(|of_a| with_torsion(&a, of_a, &Scalar::ZERO, point));
        let (public, message, signature) = found.unwrap();
        assert_eq!(PublicKey::from_bytes(&public).map(drop), Ok(()));
        assert_eq!(both(&public, &message, &signature), Err(CryptoError::BadSignature), "R {:02x?}", &signature[..32]);
    }
}

/// With the cofactor the equation holds, and both compute without.
#[test]
fn what_holds_with_the_cofactor_alone_is_refused_by_both() {
    let (a, r) = (Scalar::from(3_u8), Scalar::from(44_u8));
    for of_a in &EIGHT_TORSION[1..] {
        let public = (B * a + of_a).compress().to_bytes();
        let point = (B * r).compress().to_bytes();
        for number in 0..8_u8 {
            let k = challenge(&point, &public, &[number]);
            let holds = of_a * k == EdwardsPoint::identity();
            let expected = if holds { Ok(()) } else { Err(CryptoError::BadSignature) };
            assert_eq!(both(&public, &[number], &joined(&point, &(r + k * a))), expected);
        }
    }
}

/// `L`, the group's order, little-endian.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

fn sum(one: &[u8; 32], other: &[u8; 32]) -> [u8; 32] {
    let mut carry = 0;
    core::array::from_fn(|i| {
        carry = (carry >> 8) + u16::from(one[i]) + u16::from(other[i]);
        carry.to_le_bytes()[0]
    })
}

#[test]
fn an_s_that_is_not_below_the_order_is_refused_by_both() {
    let key = crypto::SigningKey::from_seed(&[9; 32]);
    for number in 0..20_u8 {
        let signature = key.sign_raw(&[number]);
        let (r, s) = signature.split_at(32);
        let mut s: [u8; 32] = s.try_into().unwrap();
        assert_eq!(both(&key.public(), &[number], &signature), Ok(()));
        // s + L up to s + 15 L: what fits 256 bits.
        for _ in 1..=15 {
            s = sum(&s, &ORDER);
            let malleated = [r, &s].concat().try_into().unwrap();
            assert_eq!(both(&key.public(), &[number], &malleated), Err(CryptoError::BadSignature), "s {s:02x?}");
        }
    }
    let k = challenge(&(B * Scalar::ONE).compress().to_bytes(), &key.public(), b"edge");
    for s in [ORDER, [0; 32], k.to_bytes(), [0xff; 32]] {
        let signature = [(B * Scalar::ONE).compress().to_bytes(), s].concat().try_into().unwrap();
        assert_eq!(both(&key.public(), b"edge", &signature), Err(CryptoError::BadSignature));
    }
}

/// Points whose `y` is not reduced, and the two with a sign for `x = 0`, as key and as `R`.
#[test]
fn what_is_not_canonical_is_refused_by_both() {
    let signed_zero = [0x01, 0xec].map(|low| {
        core::array::from_fn(|i| match (i, low) {
            (0, _) => low,
            (31, 0x01) => 0x80,
            (_, 0x01) => 0,
            _ => 0xff,
        })
    });
    let key = crypto::SigningKey::from_seed(&[8; 32]);
    let (mut points_of_large_order, mut message) = (0, 0_u16);
    for mut encoding in points::not_reduced().chain(signed_zero) {
        for _ in 0..2 {
            let Some(point) = CompressedEdwardsY(encoding).decompress() else {
                encoding[31] ^= 0x80;
                continue;
            };
            assert_eq!(PublicKey::from_bytes(&encoding), Err(CryptoError::BadPublicKey), "{encoding:02x?}");
            // As R of a genuine key; the equation holds where R is of no order at all.
            let k = challenge(&encoding, &key.public(), b"R");
            let a = Scalar::from_bytes_mod_order(ed25519_dalek::SigningKey::from_bytes(&[8; 32]).to_scalar_bytes());
            assert_eq!(both(&key.public(), b"R", &joined(&encoding, &(k * a))), Err(CryptoError::BadSignature));
            // As a key. One of large order stands for a point that has another, canonical spelling.
            let r = Scalar::from(6_u8);
            let large = !is_small(&point);
            for _ in 0..8 {
                message += 1;
                let signature = joined(&(B * r).compress().to_bytes(), &r);
                let verdict = both(&encoding, &message.to_be_bytes(), &signature);
                let reduced = encoding[0] < 0xed || encoding[1..31] != [0xff; 30];
                let expected = if reduced { CryptoError::BadSignature } else { CryptoError::BadPublicKey };
                assert_eq!(verdict, Err(expected), "{encoding:02x?}");
            }
            points_of_large_order += usize::from(large);
            encoding[31] ^= 0x80;
        }
    }
    assert!(points_of_large_order > 5, "{points_of_large_order}");
}

#[test]
fn any_bytes_have_one_verdict() {
    let mut rng = rng(5);
    for _ in 0..400 {
        both(&array(&mut rng), &bytes(&mut rng, 8), &array(&mut rng)).unwrap_err();
    }
    // One bit away from genuine.
    let key = crypto::SigningKey::from_seed(&[7; 32]);
    let signature = key.sign_raw(b"genuine");
    for bit in 0..768 {
        let mut all = [&key.public()[..], &signature].concat();
        all[bit / 8] ^= 1 << (bit % 8);
        let (public, signature) = all.split_at(32);
        both(public.try_into().unwrap(), b"genuine", signature.try_into().unwrap()).unwrap_err();
    }
}

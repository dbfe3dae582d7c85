//! `crypto.rs` against the known answers of the documents that it cites, and against other implementations.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::as_conversions)]

use ml_dsa::{Keypair as _, MlDsa44};
use ml_kem::kem::{Decapsulate, KeyExport};
use ml_kem::{EncapsulationKey768, FromSeed, MlKem768};
use nuncio_proto::crypto::{self, CryptoError, KEM_PUBLIC_LEN, KemSeed, SigningKey};
use nuncio_proto::secret::Key;
use nuncio_proto::testing::rng;
use rand_core::Rng;

fn hex(text: &str) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap()
}

fn hex32(text: &str) -> [u8; 32] {
    hex(text).try_into().unwrap()
}

fn counting<const N: usize>(from: u8) -> [u8; N] {
    core::array::from_fn(|i| from + i as u8)
}

#[test]
fn sha256_fips_180_4() {
    assert_eq!(crypto::sha256(&[]), hex32("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"));
    let abc = hex32("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_eq!((crypto::sha256(&[b"abc"]), crypto::sha256(&[b"a", b"", b"bc"])), (abc, abc));
}

#[test]
fn hmac_rfc_4231() {
    let long = [0xaa; 131];
    let longer: &[u8] = b"This is a test using a larger than block-size key and a larger than block-size data. \
        The key needs to be hashed before being used by the HMAC algorithm.";
    for (key, message, mac) in [
        (&[0x0b; 20][..], &b"Hi There"[..], "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
        (b"Jefe", b"what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
        (
            &long,
            b"Test Using Larger Than Block-Size Key - Hash Key First",
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        ),
        (&long, longer, "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"),
    ] {
        assert_eq!(crypto::hmac_sha256(key, &[message]), hex32(mac));
    }
}

#[test]
fn hkdf_rfc_5869() {
    let (ikm, salt, info) = (counting::<80>(0), counting::<80>(0x60), counting::<80>(0xb0));
    for (salt, ikm, info, okm) in [
        (
            &counting::<13>(0)[..],
            &[0x0b; 22][..],
            &counting::<10>(0xf0)[..],
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
        ),
        (
            &salt,
            &ikm,
            &info,
            "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71\
             cc30c58179ec3e87c14c01d5c1f3434f1d87",
        ),
        (&[], &[0x0b; 22], &[], "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"),
    ] {
        let okm = hex(okm);
        let mut out = vec![0; okm.len()];
        crypto::hkdf_sha256(salt, ikm, info, &mut out);
        assert_eq!(out, okm);
    }
}

#[test]
fn x25519_rfc_7748() {
    for (secret, public, shared) in [
        (
            "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
            "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
            "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
        ),
        (
            "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
            "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
            "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957",
        ),
    ] {
        assert_eq!(crypto::dh(&Key::new(hex32(secret)), &hex32(public)).unwrap().expose(), &hex32(shared));
    }
    let mut base = [0; 32];
    base[0] = 9;
    let (mut k, mut u) = (base, base);
    for _ in 0..1_000 {
        (k, u) = (*crypto::dh(&Key::new(k), &u).unwrap().expose(), k);
    }
    assert_eq!(k, hex32("684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51"));
    assert_eq!(crypto::dh_public(&Key::new(k)), *crypto::dh(&Key::new(k), &base).unwrap().expose());
}

const SUNSCREEN: &[u8] = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.";

#[test]
fn aead_rfc_8439_and_xchacha_draft() {
    let (key, ad) = (counting::<32>(0x80), hex("50515253c0c1c2c3c4c5c6c7"));
    let nonce = hex("070000004041424344454647").try_into().unwrap();
    let mut buf = SUNSCREEN.to_vec();
    assert_eq!(crypto::seal_in_place(&key, &nonce, &ad, &mut buf).to_vec(), hex("1ae10b594f09e26a7e902ecbd0600691"));
    assert_eq!(
        buf,
        hex(
            "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b6\
             7ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc3ff4def08e4b7a9de576d26586cec64b6116"
        )
    );
    let mut buf = SUNSCREEN.to_vec();
    let tag = crypto::xseal_in_place(&key, &counting(0x40), &ad, &mut buf);
    assert_eq!(tag.to_vec(), hex("c0875924c1c7987947deafd8780acf49"));
    assert_eq!(
        buf,
        hex(
            "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e\
             1213b4522f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff921f9664c97637da9768812f615c68b13b52e"
        )
    );
}

#[test]
fn a_signing_key_has_one_spelling() {
    // Every spelling of a y that is not below p, and as many that are.
    let high = (0xdb..=0xff).map(|lowest| {
        let mut spelled = [0xff; 32];
        spelled[0] = lowest;
        spelled
    });
    let low = (0..=36).map(|lowest| {
        let mut spelled = [0; 32];
        spelled[0] = lowest;
        spelled
    });
    // Below p by a byte in the middle or by the highest one alone.
    let below = high.clone().flat_map(|spelled| {
        [15, 31].map(|at| {
            let mut lower = spelled;
            lower[at] &= 0x7e;
            lower
        })
    });
    let (mut taken, mut doubled) = (0, 0);
    for mut spelled in high.chain(low).chain(below) {
        for sign in [0, 0x80] {
            spelled[31] = spelled[31] & 0x7f | sign;
            let point = ed25519_dalek::VerifyingKey::from_bytes(&spelled).ok().filter(|point| !point.is_weak());
            let respelled = point.map(|point| point.to_edwards().compress().to_bytes());
            assert_eq!(crypto::check_signing_public(&spelled).is_ok(), respelled == Some(spelled), "{spelled:?}");
            taken += usize::from(respelled == Some(spelled));
            doubled += usize::from(respelled.is_some_and(|other| other != spelled));
        }
    }
    assert!(taken > 10 && doubled > 10, "{taken} and {doubled}");
}

#[test]
fn weak_keys_and_malleable_signatures_are_refused() {
    // The neutral element as key and as R, with s = 0: the cofactorless equation holds for every message.
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let mut signature = [0; 64];
    signature[0] = 1;
    assert_eq!(crypto::check_signing_public(&neutral), Err(CryptoError::BadPublicKey));
    assert_eq!(crypto::verify_raw(&neutral, b"anything", &signature), Err(CryptoError::BadSignature));
    // y = 0 as p, and the neutral element's y = 1 as p + 1.
    for lowest in [0xed, 0xee] {
        let mut spelled_otherwise = [0xff; 32];
        (spelled_otherwise[0], spelled_otherwise[31]) = (lowest, 0x7f);
        assert_eq!(crypto::check_signing_public(&spelled_otherwise), Err(CryptoError::BadPublicKey));
        assert_eq!(crypto::verify_raw(&spelled_otherwise, b"anything", &signature), Err(CryptoError::BadPublicKey));
    }

    // s + L is the same residue in another spelling.
    let key = SigningKey::from_seed(&[1; 32]);
    let mut signature = key.sign_raw(b"letter");
    let order = hex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
    let mut carry = 0;
    for (byte, add) in signature[32..].iter_mut().zip(order) {
        carry += u16::from(*byte) + u16::from(add);
        (*byte, carry) = (carry as u8, carry >> 8);
    }
    assert_eq!(carry, 0);
    assert_eq!(crypto::verify_raw(&key.public(), b"letter", &signature), Err(CryptoError::BadSignature));
}

#[test]
fn pkcs8_rfc_8410() {
    // The key pair of section 10; section 7 says how both halves are written.
    let seed = "d4ee72dbf913584ad5b6d8f1f769f8ad3afe7c28cbf1d4fbe097a88f44755842";
    let public = "19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1";
    let document = hex(&format!("3051020101300506032b657004220420{seed}812100{public}"));
    assert_eq!(*SigningKey::from_seed(&hex32(seed)).to_pkcs8_der(), document);
}

#[test]
fn a_label_separates_signatures() {
    let key = SigningKey::from_seed(&[2; 32]);
    let signature = key.sign(b"one", b"letter");
    assert_eq!(crypto::verify(&key.public(), b"one", b"letter", &signature), Ok(()));
    assert_eq!(crypto::verify_raw(&key.public(), b"one\0letter", &signature), Ok(()));
    for (label, message) in
        [(&b"two"[..], &b"letter"[..]), (b"on", b"eletter"), (b"one\0", b"letter"), (b"one", b"lette")]
    {
        assert_eq!(crypto::verify(&key.public(), label, message, &signature), Err(CryptoError::BadSignature));
    }
}

#[test]
fn curve25519_agrees_with_vodozemac() {
    let mut rng = rng(1);
    for _ in 0..100 {
        let (ours, theirs, message) = (Key::random(&mut rng), Key::random(&mut rng), Key::random(&mut rng));
        let secret = vodozemac::Curve25519SecretKey::from_slice(theirs.expose());
        let public = vodozemac::Curve25519PublicKey::from_bytes(crypto::dh_public(&ours));
        let shared = secret.diffie_hellman(&public).unwrap();
        let their_public = vodozemac::Curve25519PublicKey::from(&secret).to_bytes();
        assert_eq!(crypto::dh(&ours, &their_public).unwrap().expose(), shared.as_bytes());

        let signing = vodozemac::Ed25519SecretKey::from_slice(theirs.expose());
        let signature = signing.sign(message.expose()).to_bytes();
        assert_eq!(SigningKey::from_seed(theirs.expose()).sign_raw(message.expose()), signature);
        assert_eq!(crypto::verify_raw(signing.public_key().as_bytes(), message.expose(), &signature), Ok(()));
    }
}

#[test]
fn ml_kem_768_agrees_with_rust_crypto() {
    let mut rng = rng(2);
    for _ in 0..200 {
        let (seed, m) = (KemSeed::random(&mut rng), Key::random(&mut rng));
        let (dk, ek) = MlKem768::from_seed(&(*seed.expose()).into());
        let public = crypto::kem_public(&seed);
        assert_eq!(public.as_slice(), ek.to_bytes().as_slice());

        let (ciphertext, shared) = crypto::kem_encapsulate_with(&public, &m).unwrap();
        let (their_ciphertext, their_shared) = ek.encapsulate_deterministic(&(*m.expose()).into());
        assert_eq!(
            (ciphertext.as_slice(), shared.expose().as_slice()),
            (their_ciphertext.as_slice(), their_shared.as_slice())
        );
        assert_eq!(crypto::kem_decapsulate(&seed, &ciphertext), shared);
        assert_eq!(dk.decapsulate(&their_ciphertext), their_shared);

        // Altered: the same secret in both, and another than that of the genuine one.
        let mut altered = ciphertext;
        altered[rng.next_u32() as usize % ciphertext.len()] ^= 1 << (rng.next_u32() % 8);
        let rejected = crypto::kem_decapsulate(&seed, &altered);
        assert_ne!(rejected, shared);
        assert_eq!(rejected.expose().as_slice(), dk.decapsulate(&altered.into()).as_slice());
    }
}

/// What one signs the other verifies, and both refuse what was altered anywhere.
#[test]
fn ml_dsa_44_agrees_with_rust_crypto() {
    let mut rng = rng(4);
    for round in 0..50 {
        let seed = Key::random(&mut rng);
        let signer = ml_dsa::SigningKey::<MlDsa44>::from_seed(&(*seed.expose()).into());
        let public = signer.verifying_key();
        let message: Vec<u8> = (0..round * 7).map(|_| rng.next_u32() as u8).collect();
        let signature = signer.expanded_key().sign_deterministic(&message, b"").unwrap();
        let (ours, theirs): ([u8; crypto::ML_DSA_PUBLIC_LEN], [u8; crypto::ML_DSA_SIGNATURE_LEN]) =
            (public.encode().into(), signature.encode().into());
        assert_eq!(crypto::verify_ml_dsa_44(&ours, &message, &theirs), Ok(()));

        let mut altered = theirs;
        altered[rng.next_u32() as usize % theirs.len()] ^= 1 << (rng.next_u32() % 8);
        let refused = Err(CryptoError::BadSignature);
        assert_eq!(crypto::verify_ml_dsa_44(&ours, &message, &altered), refused);
        let read = ml_dsa::Signature::<MlDsa44>::decode(&altered.into());
        assert!(read.is_none_or(|read| !public.verify_with_context(&message, b"", &read)));
        assert_eq!(crypto::verify_ml_dsa_44(&ours, &[message.as_slice(), b"."].concat(), &theirs), refused);
        let with_context = signer.expanded_key().sign_deterministic(&message, b"context").unwrap();
        assert_eq!(crypto::verify_ml_dsa_44(&ours, &message, &with_context.encode().into()), refused);
    }
}

#[test]
fn a_kem_key_that_fails_the_modulus_check_is_refused_by_both() {
    let mut rng = rng(3);
    let (public, m) = (crypto::kem_public(&KemSeed::random(&mut rng)), Key::random(&mut rng));
    // 384 bytes hold 256 coefficients of 12 bits for each of three polynomials; q = 3329, so 4095 and q are no residues.
    for value in [3_329_u16, 4_095] {
        for coefficient in [0, 1, 255, 256, 511, 767] {
            let mut weak = public;
            let at = coefficient / 2 * 3;
            let [low, high] = value.to_le_bytes();
            if coefficient % 2 == 0 {
                weak[at] = low;
                weak[at + 1] = (weak[at + 1] & 0xf0) | high;
            } else {
                weak[at + 1] = (weak[at + 1] & 0x0f) | (low << 4);
                weak[at + 2] = (low >> 4) | (high << 4);
            }
            assert_eq!(
                crypto::kem_encapsulate_with(&weak, &m).map(drop),
                Err(CryptoError::BadPublicKey),
                "{value} at {coefficient}"
            );
            assert!(EncapsulationKey768::new(&weak.into()).is_err());
        }
    }
    // The last 32 bytes are a seed, any value of which will do.
    let mut other_seed = public;
    other_seed[KEM_PUBLIC_LEN - 1] ^= 1;
    assert!(
        crypto::kem_encapsulate_with(&other_seed, &m).is_ok() && EncapsulationKey768::new(&other_seed.into()).is_ok()
    );
}

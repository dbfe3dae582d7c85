//! The handshakes: what is altered, or weak, opens nothing.

use nuncio_proto::bundle::SignedPrekeys;
use nuncio_proto::crypto::{self, CryptoError};
use nuncio_proto::handshake::{self, HandshakeError, rekey};
use nuncio_proto::identity::Identity;
use nuncio_proto::secret::Key;
use nuncio_proto::session::{Parties, Session};
use nuncio_proto::testing::rng;
use rand_core::Rng;

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

#[test]
fn a_start_that_was_altered_anywhere_is_refused() {
    let mut rng = rng(10);
    let (alice, bob) = (Identity::generate(&mut rng).unwrap(), Responder::new(&mut rng));
    let began = handshake::initiate(&alice, &bob.bundle(&bob.public), 0, &mut rng).unwrap();
    for at in 0..began.handshake.len() {
        let mut altered = began.handshake.clone();
        altered[at] ^= 1 << (rng.next_u32() % 8);
        assert!(bob.respond(&altered).is_err(), "byte {at}");
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

//! Rows of the protocol core, on one thread, beside vodozemac or the primitives that an operation cannot do without.

use anyhow::{Context, Result};
use nuncio_proto::crypto;
use nuncio_proto::identity::Identity;
use nuncio_proto::secret::{Key, Secret};
use nuncio_proto::session::Session;
use vodozemac::olm::Account;

use crate::measure::{Row, interleaved, time_us};
use crate::pair::{self, BlockRng};

/// Letters a round: half a window.
const BATCH: u32 = 500;

pub(crate) fn seal_32() -> Result<Row> {
    sealing(32)
}

pub(crate) fn seal_1k() -> Result<Row> {
    sealing(1_024)
}

pub(crate) fn open_32() -> Result<Row> {
    opening(32)
}

pub(crate) fn open_1k() -> Result<Row> {
    opening(1_024)
}

/// One round of ours: seal a batch, open it, acknowledge it. What each part took.
fn round(a: &mut Session, b: &mut Session, len: usize, rng: &mut BlockRng) -> Result<(f64, f64)> {
    let letter = pair::letter(len);
    let mut frames = Vec::with_capacity(500);
    let mut failed = None;
    let sealing = time_us(|| {
        for _ in 0..BATCH {
            match pair::seal(a, &letter, rng) {
                Ok(frame) => frames.push(frame),
                Err(error) => failed = Some(error),
            }
        }
    });
    let opening = time_us(|| {
        for frame in &frames {
            if let Err(error) = pair::open(b, frame, rng) {
                failed = Some(error);
            }
        }
    });
    pair::acknowledge(b, a, rng)?;
    failed.map_or(Ok((sealing, opening)), Err)
}

fn theirs(a: &mut vodozemac::olm::Session, b: &mut vodozemac::olm::Session, len: usize) -> Result<(f64, f64)> {
    let plaintext = vec![b'x'; len];
    let mut messages = Vec::with_capacity(500);
    let mut failed = None;
    let encrypting = time_us(|| {
        for _ in 0..BATCH {
            match a.encrypt(&plaintext) {
                Ok(message) => messages.push(message),
                Err(error) => failed = Some(error.into()),
            }
        }
    });
    let decrypting = time_us(|| {
        for message in &messages {
            if let Err(error) = b.decrypt(message) {
                failed = Some(error.into());
            }
        }
    });
    failed.map_or(Ok((encrypting, decrypting)), Err)
}

fn both(len: usize, pick: fn((f64, f64)) -> f64) -> Result<(f64, f64)> {
    let mut rng = BlockRng::new();
    let (mut a, mut b) = pair::confirmed(&mut rng)?;
    let (mut va, mut vb) = pair::vodozemac()?;
    let mut failed = None;
    let mut keep = |result: Result<(f64, f64)>| {
        result.map(pick).unwrap_or_else(|error| {
            failed = Some(error);
            f64::NAN
        })
    };
    let keep = core::cell::RefCell::new(&mut keep);
    let times = interleaved(
        BATCH,
        || (keep.borrow_mut())(round(&mut a, &mut b, len, &mut rng)),
        || (keep.borrow_mut())(theirs(&mut va, &mut vb, len)),
    );
    failed.map_or(Ok(times), Err)
}

fn sealing(len: usize) -> Result<Row> {
    let (ours, its) = both(len, |(seal, _)| seal)?;
    Ok(Row::time_us(ours, "vodozemac Session::encrypt", its))
}

fn opening(len: usize) -> Result<Row> {
    let (ours, its) = both(len, |(_, open)| open)?;
    Ok(Row::time_us(ours, "vodozemac Session::decrypt", its))
}

/// A letter with a DH turn on both sides: sealed in a new chain, opened with a turn.
pub(crate) fn turn_32() -> Result<Row> {
    const TURNS: u32 = 40;
    let mut rng = BlockRng::new();
    let (mut a, mut b) = pair::confirmed(&mut rng)?;
    let letter = pair::letter(32);
    let mut failed = None;
    let (secret, public) = (Secret::random(&mut rng), crypto::dh_public(&Secret::random(&mut rng)));
    let (ours, floor) = interleaved(
        TURNS,
        || {
            time_us(|| {
                for _ in 0..TURNS / 2 {
                    let there =
                        pair::seal(&mut a, &letter, &mut rng).and_then(|frame| pair::open(&mut b, &frame, &mut rng));
                    let back =
                        pair::seal(&mut b, &letter, &mut rng).and_then(|frame| pair::open(&mut a, &frame, &mut rng));
                    failed = there.err().or(back.err()).or(failed.take());
                }
            })
        },
        || {
            time_us(|| {
                for _ in 0..TURNS {
                    primitives_of_a_turn(&secret, &public);
                }
            })
        },
    );
    failed.map_or(Ok(Row::time_us(ours, "its primitives: 2 DH, 1 key pair, KDFs, 4 AEADs", floor)), Err)
}

/// What a letter with a turn cannot do without: two X25519, one key generation, two root steps, two tags, two chain steps, four AEADs.
fn primitives_of_a_turn(secret: &Key, public: &[u8; 32]) {
    let shared = crypto::dh(secret, public).map_or([0; 32], |shared| *shared.expose());
    std::hint::black_box(crypto::dh(secret, public).is_ok());
    std::hint::black_box(crypto::dh_public(secret));
    let mut out = [0; 96];
    for _ in 0..2 {
        crypto::hkdf_sha256(&[1; 32], &shared, b"root", &mut out);
        std::hint::black_box(crypto::hmac_sha256(&[2; 32], &[b"tag"]));
        for constant in [[1], [2]] {
            std::hint::black_box(crypto::hmac_sha256(&[3; 32], &[&constant]));
        }
    }
    let (mut body, mut header) = ([0_u8; 64], [0_u8; 74]);
    let tag = crypto::seal_in_place(&[4; 32], &[0; 12], &[0; 173], &mut body);
    std::hint::black_box(crypto::open_in_place(&[4; 32], &[0; 12], &[0; 173], &mut body, &tag).is_ok());
    let tag = crypto::seal_in_place(&[5; 32], &[0; 12], &[0; 117], &mut header);
    std::hint::black_box(crypto::open_in_place(&[5; 32], &[0; 12], &[0; 117], &mut header, &tag).is_ok());
}

/// A session begun and answered, bundle verified, hybrid, with its first letter on both sides.
pub(crate) fn handshake() -> Result<Row> {
    const SESSIONS: u32 = 10;
    let mut rng = BlockRng::new();
    let alice = Identity::generate(&mut rng)?;
    let bob = pair::Responder::new(&mut rng)?;
    let mut failed = None;
    let (ours, its) = interleaved(
        SESSIONS,
        || {
            time_us(|| {
                for _ in 0..SESSIONS {
                    let both =
                        pair::first(&alice, &bob, &mut rng).and_then(|(_, frame)| pair::answer(&bob, &frame, &mut rng));
                    failed = both.err().or(failed.take());
                }
            })
        },
        || {
            time_us(|| {
                for _ in 0..SESSIONS {
                    std::hint::black_box(olm_handshake().is_ok());
                }
            })
        },
    );
    failed.map_or(Ok(Row::time_us(ours, "vodozemac out + in (classical, no bundle)", its)), Err)
}

fn olm_handshake() -> Result<()> {
    let (alice, mut bob) = (Account::new(), Account::new());
    bob.generate_one_time_keys(1);
    let key = bob.one_time_keys().into_values().next().context("a one-time key")?;
    let mut a = alice.create_outbound_session(vodozemac::olm::SessionConfig::version_1(), bob.curve25519_key(), key)?;
    if let vodozemac::olm::OlmMessage::PreKey(first) = a.encrypt("hello")? {
        bob.create_inbound_session(vodozemac::olm::SessionConfig::version_1(), alice.curve25519_key(), &first)?;
    }
    Ok(())
}

/// A frame with a known tag that is not authentic, beside opening one genuine header.
pub(crate) fn reject_forged() -> Result<Row> {
    let mut rng = BlockRng::new();
    let (mut a, b) = pair::confirmed(&mut rng)?;
    let genuine = pair::seal(&mut a, &pair::letter(32), &mut rng)?;
    let mut forged = genuine.clone();
    *forged.last_mut().context("a frame")? ^= 1;
    // The floor: one AEAD over as many bytes as a header and what is in front of it, the tag right.
    let mut header = [0_u8; 74];
    let in_front = vec![0; genuine.len() - 90];
    let tag = crypto::seal_in_place(&[1; 32], &[2; 12], &in_front, &mut header);
    let (ours, its) = interleaved(
        BATCH,
        || {
            time_us(|| {
                for _ in 0..BATCH {
                    let refused = pair::sealed(&forged).is_ok_and(|sealed| b.open(&sealed, 1_024, &mut rng).is_err());
                    std::hint::black_box(refused);
                }
            })
        },
        || {
            time_us(|| {
                for _ in 0..BATCH {
                    let mut copy = header;
                    std::hint::black_box(crypto::open_in_place(&[1; 32], &[2; 12], &in_front, &mut copy, &tag).is_ok());
                }
            })
        },
    );
    Ok(Row::time_us(ours, "one header open, bare", its))
}

/// Bytes on the wire beyond a 35-byte payload, padding and all.
pub(crate) fn wire_overhead_35() -> Result<Row> {
    let mut rng = BlockRng::new();
    let (mut a, _) = pair::confirmed(&mut rng)?;
    let frame = pair::seal(&mut a, &pair::letter(35), &mut rng)?;
    let overhead = u32::try_from(frame.len() - 35)?;
    Ok(Row { unit: "bytes", ours: f64::from(overhead), beside: None, less_is_better: true })
}

/// A session's snapshot with no skipped keys.
pub(crate) fn state_bytes() -> Result<Row> {
    let mut rng = BlockRng::new();
    let (_, b) = pair::confirmed(&mut rng)?;
    let bytes = u32::try_from(b.to_bytes().len())?;
    Ok(Row { unit: "bytes", ours: f64::from(bytes), beside: None, less_is_better: true })
}

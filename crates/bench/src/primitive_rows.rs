//! The core's primitives, of the backend in use and of the other, on one thread. The last two are RustCrypto's in both; beside them is what aws-lc would
//! take.

use std::hint::black_box;

use anyhow::{Context, Result};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::hmac;
use nuncio_proto::crypto;
use nuncio_proto::crypto::backend::{Backend, InUse, Other};
use nuncio_proto::secret::Key;

use crate::measure::{Row, Rows, interleaved, time_us};

/// Operations a round.
const CURVE: u32 = 20;
const CIPHER: u32 = 500;

/// In front of a body: as long as a frame's header and what it stands behind.
const AD: [u8; 173] = [7; 173];
const KEY: [u8; 32] = [3; 32];
const NONCE: [u8; 12] = [5; 12];

pub(crate) fn all() -> Result<Rows> {
    let beside = |count, ours: &mut dyn FnMut(), its: &mut dyn FnMut()| row(count, Other::NAME, ours, its);
    let (secret, public) = (Key::new([1; 32]), crypto::dh_public(&Key::new([2; 32])));
    let dh = beside(CURVE, &mut || agree::<InUse>(&secret, &public), &mut || agree::<Other>(&secret, &public));
    let dh_public = beside(CURVE, &mut || key_pair::<InUse>(&secret), &mut || key_pair::<Other>(&secret));
    let mut rows = vec![("dh", dh), ("dh-public", dh_public)];
    for (seal, open, len) in
        [("seal-32", "open-32", 32), ("seal-1k", "open-1k", 1_024), ("seal-16k", "open-16k", 16_384)]
    {
        let (mut one, mut other) = (vec![9; len], vec![9; len]);
        rows.push((seal, beside(CIPHER, &mut || sealed::<InUse>(&mut one), &mut || sealed::<Other>(&mut other))));
        let mut genuine = vec![9; len];
        let tag = InUse::seal(&KEY, &NONCE, &AD, &mut genuine);
        let mut ours = || opened::<InUse>(&genuine, &tag, &mut one);
        rows.push((open, beside(CIPHER, &mut ours, &mut || opened::<Other>(&genuine, &tag, &mut other))));
    }
    rows.extend(signatures().context("a signature does not verify")?);
    rows.extend(kept());
    Ok(rows.into_iter().map(|(end, row)| (end.to_owned(), row)).collect())
}

fn row(count: u32, beside: &'static str, ours: &mut dyn FnMut(), its: &mut dyn FnMut()) -> Row {
    let (ours, its) = interleaved(
        count,
        || time_us(|| (0..count).for_each(|_| ours())),
        || time_us(|| (0..count).for_each(|_| its())),
    );
    Row::time_us(ours, beside, its)
}

/// What comes of it is not looked at, and not optimised away.
fn made<T>(made: T) {
    black_box(made);
}

fn agree<B: Backend>(secret: &Key, public: &[u8; 32]) {
    made(B::dh(black_box(secret), public));
}

fn key_pair<B: Backend>(secret: &Key) {
    made(B::dh_public(black_box(secret)));
}

fn sealed<B: Backend>(buf: &mut [u8]) {
    made(B::seal(black_box(&KEY), &NONCE, &AD, buf));
}

/// The copy that an opening takes is in both columns.
fn opened<B: Backend>(sealed: &[u8], tag: &[u8; crypto::TAG_LEN], buf: &mut [u8]) {
    buf.copy_from_slice(sealed);
    made(B::open(black_box(&KEY), &NONCE, &AD, buf, tag));
}

/// Of a message of 200 bytes: a transcript, a token. `None` when one of the two is not what it should be.
fn signatures() -> Option<Vec<(&'static str, Row)>> {
    const MESSAGE: [u8; 200] = [4; 200];
    let (ours, its) = (InUse::signing_key(&KEY), Other::signing_key(&KEY));
    let public = InUse::pair(&ours).verifying_key();
    let signature = InUse::sign(&ours, &MESSAGE);
    let agree = signature == Other::sign(&its, &MESSAGE)
        && InUse::verify_read(&public, &MESSAGE, &signature)
        && Other::verify_read(&public, &MESSAGE, &signature);
    let sign = row(CURVE, Other::NAME, &mut || made(InUse::sign(black_box(&ours), &MESSAGE)), &mut || {
        made(Other::sign(black_box(&its), &MESSAGE))
    });
    let verify = row(
        CURVE,
        Other::NAME,
        &mut || made(InUse::verify_read(black_box(&public), &MESSAGE, &signature)),
        &mut || made(Other::verify_read(black_box(&public), &MESSAGE, &signature)),
    );
    agree.then(|| vec![("sign", sign), ("verify", verify)])
}

/// A root step's 96 bytes.
struct Root;

impl KeyType for Root {
    fn len(&self) -> usize {
        96
    }
}

/// What is RustCrypto's in both backends, beside aws-lc's own: a chain step, and a root step.
fn kept() -> Vec<(&'static str, Row)> {
    let chain =
        row(CIPHER, "aws-lc, not used", &mut || made(crypto::hmac_sha256(black_box(&KEY), &[&[1]])), &mut || {
            made(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, black_box(&KEY)), &[1]))
        });
    let (mut ours, mut its) = ([0; 96], [0; 96]);
    let root = row(
        CIPHER,
        "aws-lc, not used",
        &mut || crypto::hkdf_sha256(black_box(&KEY), &KEY, b"root", &mut ours),
        &mut || {
            let prk = Salt::new(HKDF_SHA256, black_box(&KEY)).extract(&KEY);
            made(prk.expand(&[b"root"], Root).and_then(|derived| derived.fill(&mut its)));
        },
    );
    vec![("hmac", chain), ("hkdf", root)]
}

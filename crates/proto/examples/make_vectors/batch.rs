//! Batches of one-time prekeys (contracts/directory.md section 1). Each vector is as long as a batch, so there are few.

use nuncio_proto::batch::PrekeyBatch;
use nuncio_proto::bundle::OneTimePrekey;
use serde_json::{Value, json};

use super::bundle::{BATCH_NOT_AFTER, ONE_TIME, batch, one_time};
use super::cbor::{Array, Uint, bytes};
use super::kit::{Case, NOW, actor, hex};

const AREA: &str = "batch";

fn prekeys() -> Vec<OneTimePrekey> {
    (0..64).map(one_time).collect()
}

fn keys(of: &[OneTimePrekey]) -> Vec<u8> {
    of.iter().flat_map(|prekey| prekey.agreement.into_iter().chain(*prekey.kem)).collect()
}

pub(crate) fn cases() -> Vec<Case> {
    let bob = actor("bob");
    let whole = PrekeyBatch::of(batch(&bob), prekeys()).unwrap();
    let input = |bytes: &[u8], now: u64| -> Value {
        json!({ "agent": bob.identity.id().to_string(), "bytes": hex(bytes), "now": now })
    };
    let signature = *batch(&bob).offer(one_time(0)).signature();
    let with = |keys: Vec<u8>| {
        Array(vec![Uint(ONE_TIME.batch.into()), Uint(BATCH_NOT_AFTER.0), bytes(signature), bytes(keys)]).encode()
    };
    let mut moved = prekeys();
    moved.swap(40, 41);
    let no = |name: &str, comment: &str, bytes: &[u8], error: &str| {
        Case::refused(AREA, name, comment, input(bytes, NOW.0), error)
    };
    let expect = json!({
        "batch": whole.number(), "not_after": whole.not_after().0,
        "leaves": prekeys().iter().map(|prekey| hex(prekey.leaf())).collect::<Vec<_>>(),
    });
    let good = whole.to_bytes();
    assert_eq!(good, with(keys(&prekeys())));
    vec![
        Case::valid(AREA, "valid", "64 one-time prekeys under one signature", input(&good, NOW.0), expect),
        no("moved", "two prekeys changed places", &with(keys(&moved)), "one-time"),
        no("fewer", "a prekey too few", &with(keys(&prekeys()[..1])), "codec"),
        no("too-long", "a byte more than there can be", &[good.as_slice(), &[0; 5]].concat(), "too-long"),
        Case::refused(
            AREA,
            "over",
            "a millisecond after its end",
            input(&with(keys(&prekeys()))[..], BATCH_NOT_AFTER.0 + 1),
            "not-now",
        ),
    ]
}

//! Letters of calls, and knocks.

use nuncio_contracts::registry::{extension, limit};
use nuncio_proto::call::{CallPlace, Head};
use nuncio_proto::content_type::ContentType;
use nuncio_proto::ids::LetterId;
use nuncio_proto::knock::Knock;
use nuncio_proto::letter::{Extension, Letter};
use nuncio_proto::time::UnixMillis;

use super::same;

/// What a letter says of its call, in every letter that decides on it: refused, or it has one spelling, and fits one kind of letter alone. A knock is
/// refused, or has one spelling and no door of its own.
pub fn call(bytes: &[u8]) {
    let taken: Vec<CallPlace> = letters(bytes).filter_map(|letter| CallPlace::of(&letter).ok().flatten()).collect();
    for place in &taken {
        same("call", &place.extension().unwrap_or_else(empty).value, bytes);
        assert_eq!(Head::of(place.head.iter()), place.head, "call: a field travels that may not");
    }
    assert!(taken.windows(2).all(|two| matches!(two, [a, b] if a == b)), "call: two readings differ");
    if let Some(knock) = Knock::parse(bytes) {
        same("knock", &knock.to_bytes(), bytes);
        assert!(knock.from.knock.is_none() && bytes.len() <= limit::KNOCK_LEN_MAX, "knock: more than it may say");
    }
}

/// With and without reply-to, payload, and a place in a channel.
fn letters(bytes: &[u8]) -> impl Iterator<Item = Letter> + '_ {
    (0..8_u8).map(|bits| {
        let id = LetterId::new(UnixMillis(1_800_000_000_000), [bits; 10]);
        let payload = if bits & 1 == 0 { Vec::new() } else { b"{}".to_vec() };
        let mut letter = Letter::plain(id, ContentType::JSON, payload);
        letter.reply_to = (bits & 2 != 0).then_some(id);
        letter.set_extension(Extension { value: bytes.to_vec(), ..empty() });
        if bits & 4 != 0 {
            letter.set_extension(Extension { number: extension::CHANNEL, ..empty() });
        }
        letter
    })
}

const fn empty() -> Extension {
    Extension { number: extension::CALL, critical: true, value: Vec::new() }
}

//! Streams of queries, and their forms.

use nuncio_proto::crypto::CryptoError;
use nuncio_proto::ids::SessionId;
use nuncio_proto::query::{Between, Ephemeral, QuerySecret, Spoken};
use nuncio_proto::secret::Key;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::make_vectors::kit::hex;
use crate::{Hex, Outcome, input};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stream {
    exporter: Hex,
    session: Hex,
    opener: String,
    other: String,
    opener_private: Hex,
    other_private: Hex,
    /// In the stead of the one that belongs to the private half.
    other_key: Option<Hex>,
    said: Vec<Said>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    from: String,
    clear: Hex,
}

pub(crate) fn stream(value: &Value) -> Outcome {
    let Stream { exporter, session, opener, other, opener_private, other_private, other_key, said } = input(value);
    let between = Between {
        session: SessionId::from_bytes(session.array()),
        opener: opener.parse().unwrap(),
        other: other.parse().unwrap(),
    };
    let secret = QuerySecret::of(&Key::new(exporter.array()));
    let near = Ephemeral::of(Key::new(opener_private.array()));
    let far = Ephemeral::of(Key::new(other_private.array()));
    let (asks, answers) = (*near.public(), other_key.map_or(*far.public(), |key| key.array()));
    let named = |error: CryptoError| if error == CryptoError::AllZero { "all-zero" } else { "not-authentic" };
    let mut near = near.asking(&secret, &between, &answers).map_err(named)?;
    let mut far = far.answering(&secret, &between, &asks).map_err(named)?;
    let mut frames = Vec::new();
    for Said { from, clear } in said {
        let spoken = Spoken::parse(&clear.0).ok_or("malformed")?;
        let asks = from == "opener";
        let frame = if asks { near.sealer.seal(&spoken) } else { far.sealer.seal(&spoken) }.unwrap();
        let opened = if asks { far.opener.open(&frame) } else { near.opener.open(&frame) };
        assert_eq!(opened.as_ref(), Ok(&spoken));
        frames.push(json!({ "clear": hex(spoken.encode()), "frame": hex(frame) }));
    }
    Ok(json!({ "opener_key": hex(asks), "other_key": hex(answers), "frames": frames }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    bytes: Hex,
}

pub(crate) fn form(value: &Value) -> Outcome {
    let Form { bytes } = input(value);
    let spoken = Spoken::parse(&bytes.0).ok_or("malformed")?;
    assert_eq!(spoken.encode(), bytes.0, "one spelling");
    Ok(json!({
        "number": spoken.number,
        "call": spoken.place.map(|place| hex(place.value().unwrap())),
        "content_type": spoken.content_type.as_str(),
        "payload": hex(spoken.payload),
    }))
}

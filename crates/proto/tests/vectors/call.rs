//! Letters that are part of a call.

use nuncio_proto::call::{CallPlace, What};
use nuncio_proto::content_type::ContentType;
use nuncio_proto::ids::LetterId;
use nuncio_proto::letter::{Extension, Letter, LetterKind};
use nuncio_proto::time::UnixMillis;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::make_vectors::kit::hex;
use crate::{Hex, Outcome, input};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    bytes: Hex,
    kind: u8,
    reply_to: Option<Hex>,
    payload: Hex,
    beside: Vec<u16>,
}

pub(crate) fn outcome(value: &Value) -> Outcome {
    let Given { bytes, kind, reply_to, payload, beside } = input(value);
    let mut letter = Letter {
        kind: if kind == 17 { LetterKind::Control } else { LetterKind::Plain },
        reply_to: reply_to.map(|id| LetterId::parse(id.array()).unwrap()),
        ..Letter::plain(LetterId::new(UnixMillis(0), [0; 10]), ContentType::JSON, payload.0)
    };
    for number in beside {
        letter.set_extension(Extension { number, critical: false, value: Vec::new() });
    }
    letter.set_extension(Extension { number: 7, critical: true, value: bytes.0 });
    let letter = Letter::decode(&letter.encode()).unwrap();
    let place = CallPlace::of(&letter).map_err(|()| "malformed")?.unwrap();
    let again = place.extension().unwrap();
    assert_eq!(letter.extensions.iter().find(|extension| extension.number == 7), Some(&again), "one spelling");
    Ok(json!({
        "what": match place.what {
            What::Request => "request",
            What::Notice => "notice",
            What::Part => "part",
            What::Answer => "answer",
            What::Aside => "aside",
            What::End => "end",
        },
        "service": place.service.as_str(),
        "session": place.session.map(|session| hex(session.as_bytes())),
        "head": place.head.iter().collect::<Vec<_>>(),
    }))
}

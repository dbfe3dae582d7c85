//! A good vector with one thing done to its bytes, through the door that its bytes come in by.

use std::fs;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::make_vectors::folder;
use crate::make_vectors::kit::unhex;
use crate::{Hex, Outcome, Vector, call, handshake, input, messages, permit, sealing};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Spoiled {
    base: String,
    pointer: String,
    at: usize,
    remove: usize,
    insert: Hex,
}

pub(crate) fn outcome(value: &Value) -> Outcome {
    let Spoiled { base, pointer, at, remove, insert } = input(value);
    let vector = Vector::read(&fs::read_to_string(folder().join(&base)).unwrap());
    let whole = json!({ "input": vector.input, "expect": vector.expect });
    let mut bytes = unhex(whole.pointer(&pointer).unwrap());
    bytes.splice(at..at + remove, insert.0);
    let with = |field: &str| {
        let mut input = vector.input.clone();
        assert_eq!(pointer, format!("/input/{field}"));
        input[field] = json!(data_encoding::HEXLOWER.encode(&bytes));
        input
    };
    match vector.area.as_str() {
        "sealing" => sealing::open(&vector.input, &bytes),
        "frame" => messages::frame(&with("bytes")),
        "bundle" => messages::bundle(&with("bytes")),
        "letter" => messages::letter(&with("bytes")),
        "retirement" => messages::retirement(&with("bytes")),
        "snapshot" => messages::snapshot(&with("bytes")),
        "call" => call::outcome(&with("bytes")),
        "permit" => permit::outcome(&with("bytes")),
        "control" => messages::control(&with("payload")),
        "handshake" => {
            let of = |name: &str| vector.input[name].clone();
            let input = json!({
                "what": "respond",
                "responder": of("responder"),
                "signed_prekey": of("signed_prekey"),
                "one_time": of("one_time"),
                "handshake": data_encoding::HEXLOWER.encode(&bytes),
            });
            handshake::outcome(&input, &Value::Null)
        }
        other => panic!("nothing hostile is made of {other}"),
    }
}

//! OpenTimestamps.

use nuncio_proto::tlog::{Attestation, Attested, Detached, Timestamp, TimestampError};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::make_vectors::kit::hex;
use crate::make_vectors::timestamp::{of_whole, told};
use crate::{Hex, Outcome, input};

#[derive(Deserialize)]
#[serde(tag = "what", rename_all = "lowercase", deny_unknown_fields)]
enum Given {
    Detached { bytes: Hex },
    Answer { message: Hex, bytes: Hex },
    Merge { bytes: Hex, message: Hex, uri: String, answer: Hex },
}

pub(crate) fn outcome(value: &Value) -> Outcome {
    read(input(value)).map_err(|error| match error {
        TimestampError::TooLong => "too-long",
        TimestampError::Version => "version",
        TimestampError::Kind => "kind",
        _ => "malformed",
    })
}

fn read(given: Given) -> Result<Value, TimestampError> {
    match given {
        Given::Detached { bytes } => Detached::parse(&bytes.0).map(|read| of_whole(&read)),
        Given::Answer { message, bytes } => {
            let read = Timestamp::parse(&bytes.0, message.0.len())?;
            Ok(json!({ "attested": told(&read.evaluate(&message.0)), "written": hex(read.to_bytes()) }))
        }
        Given::Merge { bytes, message, uri, answer } => {
            let of = Attested { message: message.0, attestation: Attestation::Pending(uri) };
            let answer = Timestamp::parse(&answer.0, of.message.len())?;
            Detached::parse(&bytes.0)?.with_answer(&of, &answer).map(|merged| of_whole(&merged))
        }
    }
}

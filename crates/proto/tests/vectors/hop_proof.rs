//! Hop proofs, as whoever is shown one checks it.

use nuncio_proto::ids::{AgentId, SessionId};
use nuncio_proto::letter::Letter;
use nuncio_proto::token::Receiver;
use nuncio_proto::token::proof::Hop;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::make_vectors::kit::hex;
use crate::{Hex, Outcome, input};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    proof: String,
    from: String,
    to: String,
    session: Hex,
    letter: Hex,
    token: Hex,
}

pub(crate) fn outcome(value: &Value) -> Outcome {
    let given: Input = input(value);
    let (from, to): (AgentId, Receiver) = (given.from.parse().unwrap(), given.to.parse().unwrap());
    let session = SessionId::from_bytes(given.session.0.try_into().unwrap());
    let (letter, token) = (Letter::decode(&given.letter.0).unwrap(), given.token.0.try_into().unwrap());
    let content = letter.content();
    let hop = Hop { from: &from, to: &to, session: &session, letter: &letter.id, token: &token, content: &content };
    hop.check(given.proof.as_bytes()).map_err(|_| "token_proof")?;
    Ok(json!({ "content": hex(&content) }))
}

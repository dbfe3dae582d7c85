//! Events of the audit log, and their chain.

use nuncio_proto::audit::{Chain, EventPeer, Place, SignedEvent};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::make_vectors::kit::hex;
use crate::{Hex, Outcome, input};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    bytes: Hex,
}

pub(crate) fn event(value: &Value) -> Outcome {
    let Given { bytes } = input(value);
    let signed = SignedEvent::parse(&bytes.0).map_err(|error| error.name())?;
    assert_eq!(signed.as_bytes(), bytes.0);
    let event = signed.event();
    let peer = event.peer.map(|peer| match peer {
        EventPeer::Agent(agent) => json!(agent.to_string()),
        EventPeer::Pseudonym(pseudonym) => hex(pseudonym),
    });
    let head = event.head.map(|head| json!([head.epoch.to_string(), head.seq.to_string(), hex(head.hash)]));
    Ok(json!({
        "agent": event.agent.to_string(), "epoch": event.epoch.to_string(), "seq": event.seq.to_string(),
        "prev": hex(event.prev), "at": event.at.0, "what": event.what.number(), "outcome": event.outcome, "peer": peer,
        "transaction": event.transaction, "token": event.token.map(hex), "commitment": event.commitment.map(hex),
        "kind": event.kind, "size": event.size, "head": head, "hash": hex(signed.hash()),
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Come {
    events: Vec<Hex>,
}

pub(crate) fn chain(value: &Value) -> Outcome {
    let mut chain = Chain::default();
    let places: Vec<&str> = input::<Come>(value)
        .events
        .iter()
        .map(|bytes| {
            let signed = SignedEvent::parse(&bytes.0).unwrap();
            match chain.place(&signed) {
                Ok(Place::Next) => {
                    chain.follow(&signed);
                    "next"
                }
                Ok(Place::Known) => "known",
                Err(error) => error.name(),
            }
        })
        .collect();
    Ok(json!({ "places": places }))
}

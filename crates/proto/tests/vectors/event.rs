//! Events of the audit log, and their chain.

use nuncio_proto::audit::{
    Audited, Chain, EventChannel, EventPeer, Head, Opening, PairKey, Place, SignedEvent, commitment_key,
};
use nuncio_proto::crypto::SigningKey;
use nuncio_proto::ids::AgentId;
use nuncio_proto::secret::Key;
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
    let agent = event.peer.map(|peer| match peer {
        EventPeer::Agent(agent) => json!(agent.to_string()),
        EventPeer::Pseudonym(pseudonym) => hex(pseudonym),
    });
    let peer = match event.channel {
        Some(EventChannel::Id(id)) => Some(json!([hex(id.as_bytes()), agent])),
        Some(EventChannel::Pseudonym(pseudonym)) => Some(json!([hex(pseudonym), agent])),
        None => agent,
    };
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Committed {
    message_key: Hex,
    header: Hex,
    content: Hex,
    extension: Hex,
}

pub(crate) fn commitment(value: &Value) -> Outcome {
    let given: Committed = input(value);
    let key = commitment_key(&Key::new(given.message_key.array()));
    let commitment = nuncio_proto::audit::commitment(&key, &given.header.0, &given.content.0);
    let said = Audited::parse(&given.extension.0).ok_or("malformed")?;
    assert_eq!(said.encode(), given.extension.0);
    let head = said.head.map(|head| json!([head.epoch.to_string(), head.seq.to_string(), hex(head.hash)]));
    Ok(json!({
        "commitment_key": hex(key.expose()), "commitment": hex(commitment), "holds": said.commitment == commitment, "head": head,
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Shown {
    json: String,
}

pub(crate) fn opening(value: &Value) -> Outcome {
    let given: Shown = input(value);
    let opening = Opening::from_json(given.json.as_bytes()).ok_or("malformed")?;
    let letter = opening.letter().unwrap();
    Ok(json!({
        "commitment": hex(opening.commitment()), "id": hex(letter.id.as_bytes()), "payload": hex(&letter.payload),
        "content_type": letter.content_type.to_string(), "pair_key": opening.pair().map(|pair| hex(pair.expose())),
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pair {
    seed: Hex,
    other: Hex,
    head: (String, String, Hex),
}

/// contracts/audit.md V26.
pub(crate) fn pseudonym(value: &Value) -> Outcome {
    let given: Pair = input(value);
    let other = AgentId::from_bytes(given.other.0.try_into().unwrap()).map_err(|_| "bad-key")?;
    let own = SigningKey::from_seed(&given.seed.0.try_into().unwrap());
    let own_id = AgentId::from_bytes(own.public()).unwrap();
    let pair = PairKey::of(&own, &other).unwrap();
    assert!(pair.is_of(&EventPeer::Pseudonym(pair.pseudonym(&other)), &other));
    let (epoch, seq, hash) = given.head;
    let head = Head { epoch: epoch.parse().unwrap(), seq: seq.parse().unwrap(), hash: hash.0.try_into().unwrap() };
    let blind = pair.blind(&head);
    assert_eq!((blind.epoch, blind.seq), (0, 0));
    Ok(json!({
        "pair_key": hex(pair.expose()), "own": hex(pair.pseudonym(&own_id)), "others": hex(pair.pseudonym(&other)),
        "head": hex(blind.hash),
    }))
}

//! The areas that are one call: bytes in, fields or a refusal out.

use nuncio_proto::batch::PrekeyBatch;
use nuncio_proto::bundle::Bundle;
use nuncio_proto::control::Control;
use nuncio_proto::crypto;
use nuncio_proto::deposit::{Deposit, DepositKey, MailboxSecret};
use nuncio_proto::frame::Frame;
use nuncio_proto::identity::Retirement;
use nuncio_proto::ids::AgentId;
use nuncio_proto::invitation::Invitation;
use nuncio_proto::letter::{Letter, LetterKind};
use nuncio_proto::payload::PayloadKey;
use nuncio_proto::replay::Window;
use nuncio_proto::session::Session;
use nuncio_proto::time::UnixMillis;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::make_vectors::kit::hex;
use crate::names::Name;
use crate::{Hex, Outcome, input};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bytes {
    bytes: Hex,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Dated {
    bytes: Hex,
    now: u64,
}

pub(crate) fn did_key(value: &Value) -> Outcome {
    let Text { text } = input(value);
    let agent: AgentId = text.parse().map_err(|error: nuncio_proto::ids::IdError| error.name())?;
    assert_eq!(agent.to_string(), text, "one agent, one spelling");
    Ok(json!({ "key": hex(agent.as_bytes()) }))
}

pub(crate) fn invitation(value: &Value) -> Outcome {
    let Text { text } = input(value);
    let invitation: Invitation = text.parse().map_err(|error: nuncio_proto::invitation::NotInvitation| error.name())?;
    let mut says = json!({
        "agent": invitation.agent.to_string(),
        "endpoints": invitation.endpoints,
        "bundle_hash": invitation.bundle_hash.map(hex),
        "written": invitation.to_string(),
    });
    if let Some(mailbox) = &invitation.mailbox {
        says["mailbox"] = json!(mailbox.to_string());
    }
    if let Some(secret) = &invitation.knock {
        says["knock"] = hex(secret.expose());
    }
    Ok(says)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Owned {
    agent: String,
    bytes: Hex,
    now: u64,
}

/// contracts/directory.md section 1: each prekey comes with a proof that its claimer takes.
pub(crate) fn batch(value: &Value) -> Outcome {
    let Owned { agent, bytes, now } = input(value);
    let batch = PrekeyBatch::parse(&agent.parse().unwrap(), &bytes.0, UnixMillis(now)).map_err(|error| error.name())?;
    assert_eq!(batch.to_bytes(), bytes.0);
    assert!(batch.offer(64).is_none());
    let leaves: Vec<Value> = (0..64).map(|index| hex(batch.offer(index).unwrap().prekey().leaf())).collect();
    Ok(json!({ "batch": batch.number(), "not_after": batch.not_after().0, "leaves": leaves }))
}

/// contracts/mailbox.md M3, M18.
pub(crate) fn deposit(value: &Value) -> Outcome {
    let Bytes { bytes } = input(value);
    let deposit = Deposit::parse(&bytes.0).map_err(|error| error.name())?;
    assert_eq!(deposit.to_bytes(), bytes.0);
    if let Some(ends) = deposit.ends() {
        let to = deposit.frames().zip(ends).map(|((agent, key, frame), end)| {
            assert_eq!(*frame, [deposit.frame(), end].concat());
            json!([agent.to_string(), hex(key.unwrap().expose()), hex(end)])
        });
        return Ok(json!({ "to": to.collect::<Vec<_>>(), "common": hex(deposit.frame()) }));
    }
    let to = deposit.to().iter();
    let to: Vec<Value> =
        to.map(|(agent, key)| json!([agent.to_string(), key.as_ref().map(|key| hex(key.expose()))])).collect();
    Ok(json!({ "to": to, "frame": hex(deposit.frame()) }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Held {
    secret: Hex,
    key: Hex,
}

/// contracts/mailbox.md section 1.
pub(crate) fn deposit_key(value: &Value) -> Outcome {
    let Held { secret, key } = input(value);
    let secret = MailboxSecret::new(secret.0.try_into().unwrap());
    let key = DepositKey::new(key.0.try_into().unwrap());
    Ok(json!({ "key": hex(secret.deposit_key(key.id()).expose()), "holds": secret.has(&key) }))
}

pub(crate) fn bundle(value: &Value) -> Outcome {
    let Dated { bytes, now } = input(value);
    let bundle = Bundle::parse(&bytes.0, UnixMillis(now)).map_err(|error| error.name())?;
    let one_time = bundle.one_time.as_ref().map(|prekey| {
        json!({
            "batch": prekey.at.batch,
            "index": prekey.at.index,
            "agreement": hex(prekey.agreement),
            "kem_sha256": hex(crypto::sha256(&[prekey.kem.as_slice()])),
            "leaf": hex(prekey.leaf()),
        })
    });
    Ok(json!({
        "agent": bundle.agent.to_string(),
        "agreement": hex(bundle.prekeys.agreement),
        "id": bundle.prekeys.id,
        "agreement_prekey": hex(bundle.prekeys.agreement_prekey),
        "kem_prekey_sha256": hex(crypto::sha256(&[bundle.prekeys.kem_prekey.as_slice()])),
        "prekeys_hash": hex(bundle.prekeys.hash(&bundle.agent)),
        "invitation_hash": hex(Bundle::invitation_hash(&bytes.0).unwrap()),
        "not_before": bundle.not_before.0,
        "not_after": bundle.not_after.0,
        "endpoints": bundle.endpoints,
        "mailbox": bundle.mailbox,
        "audits": bundle.audits,
        "one_time": one_time,
    }))
}

pub(crate) fn retirement(value: &Value) -> Outcome {
    let Bytes { bytes } = input(value);
    let statement = Retirement::parse(&bytes.0).map_err(|error| error.name())?;
    let successor = statement.successor.map(|agent| agent.to_string());
    Ok(json!({ "agent": statement.agent.to_string(), "successor": successor, "made": statement.made.0 }))
}

pub(crate) fn frame(value: &Value) -> Outcome {
    let Bytes { bytes } = input(value);
    match Frame::decode(&bytes.0).map_err(|error| error.name())? {
        Frame::Sealed(sealed) => Ok(json!({
            "kind": sealed.kind(),
            "tag": hex(sealed.tag.as_bytes()),
            "nonce": hex(sealed.nonce),
            "handshake": sealed.handshake.map(hex),
            "body": sealed.body.map(hex),
            "header": hex(sealed.header),
            "in_front_len": sealed.in_front.len(),
        })),
        Frame::Notice(notice) => {
            assert_eq!(notice.encode(), bytes.0);
            Ok(json!({ "kind": 4, "tag": hex(notice.tag.as_bytes()), "code": notice.code }))
        }
    }
}

pub(crate) fn letter(value: &Value) -> Outcome {
    let Dated { bytes, now } = input(value);
    let letter = Letter::decode(&bytes.0).map_err(|(_, error)| error.name())?;
    letter.check_time(UnixMillis(now)).map_err(|error| error.name())?;
    assert_eq!(letter.encode(), bytes.0);
    let extension = |e: &nuncio_proto::letter::Extension| json!({ "number": e.number, "critical": e.critical, "value": hex(&e.value) });
    Ok(json!({
        "id": hex(letter.id.as_bytes()),
        "created": letter.id.created().0,
        "kind": match letter.kind { LetterKind::Plain => 16, LetterKind::Control => 17 },
        "reply_to": letter.reply_to.map(|id| hex(id.as_bytes())),
        "deadline": letter.deadline.map(|at| at.0),
        "content_type": letter.content_type.as_str(),
        "content": hex(letter.content()),
        "payload": hex(&letter.payload),
        "extensions": letter.extensions.iter().map(extension).collect::<Vec<_>>(),
        "expires": letter.expires().0,
    }))
}

pub(crate) fn control(value: &Value) -> Outcome {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Payload {
        payload: Hex,
    }
    let Payload { payload } = input(value);
    let control = Control::decode(&payload.0).ok_or("malformed")?;
    assert_eq!(control.encode(), payload.0);
    Ok(match control {
        Control::Refused { letter, code, frame } => {
            json!({ "what": "refused", "letter": hex(letter.as_bytes()), "code": code, "bytes": hex(frame) })
        }
        Control::RekeyOffer(bytes) => json!({ "what": "rekey-offer", "bytes": hex(bytes) }),
        Control::RekeyAnswer(bytes) => json!({ "what": "rekey-answer", "bytes": hex(bytes) }),
        Control::Hello => json!({ "what": "hello" }),
        Control::PayloadTaken(letter) => json!({ "what": "payload-taken", "letter": hex(letter.as_bytes()) }),
        Control::TokenWanted(hash) => json!({ "what": "token-wanted", "bytes": hex(hash) }),
        Control::Token(token) => json!({ "what": "token", "bytes": hex(token) }),
        Control::Statement(statement) => json!({ "what": "statement", "bytes": hex(statement) }),
        Control::Mailbox(given) => {
            let bytes = given.map(|given| given.to_bytes()).unwrap_or_default();
            json!({ "what": "mailbox", "bytes": hex(bytes) })
        }
        Control::Knock(knock) => json!({ "what": "knock", "bytes": hex(knock.to_bytes()) }),
        Control::Permit(bytes) => json!({ "what": "permit", "bytes": hex(bytes) }),
        Control::PermitOver(bytes) => json!({ "what": "permit-over", "bytes": hex(bytes) }),
        Control::Channel(word) => json!({ "what": "channel", "bytes": hex(word.to_bytes()) }),
        Control::Retired(bytes) => json!({ "what": "retired", "bytes": hex(bytes) }),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, untagged)]
enum Padding {
    Lengths { lengths: Vec<usize> },
    Padded { padded: Hex },
}

pub(crate) fn padding(value: &Value) -> Outcome {
    use nuncio_proto::padding::{pad, padded_len, unpad};
    match input(value) {
        Padding::Lengths { lengths } => {
            Ok(json!({ "padded": lengths.into_iter().map(padded_len).collect::<Vec<_>>() }))
        }
        Padding::Padded { padded } => {
            let plaintext = unpad(&padded.0).ok_or("padding")?;
            let mut again = plaintext.to_vec();
            pad(&mut again);
            assert_eq!(again, padded.0);
            Ok(json!({ "plaintext": hex(plaintext) }))
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Numbers {
    floor: String,
    numbers: Vec<String>,
}

pub(crate) fn window(value: &Value) -> Outcome {
    let Numbers { floor, numbers } = input(value);
    let floor = floor.parse().unwrap();
    let mut window = Window::default();
    let results: Vec<&str> = numbers
        .iter()
        .map(|seq| {
            let fresh = match window.check(seq.parse().unwrap(), floor) {
                Ok(fresh) => fresh,
                Err(error) => return error.name(),
            };
            // Up to the floor first: a number and the one a window below it share a bit.
            while window.advance(floor).is_some() {}
            window.accept(&fresh);
            while window.advance(floor).is_some() {}
            "fresh"
        })
        .collect();
    Ok(json!({ "results": results, "next": window.next().to_string(), "above": window.above().to_string() }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, tag = "what", rename_all = "kebab-case")]
enum Payload {
    Handle { bytes: Hex },
    Seal { handle: Hex, index: u64, byte: u8 },
    Open { handle: Hex, index: u64, sealed: Hex },
}

pub(crate) fn payload(value: &Value) -> Outcome {
    let read = |handle: &Hex| PayloadKey::decode(&handle.0).ok_or("malformed");
    match input(value) {
        Payload::Handle { bytes } => {
            let payload = read(&bytes)?;
            assert_eq!(payload.encode(), bytes.0);
            let (id, key) = (hex(payload.id), hex(payload.key.expose()));
            Ok(
                json!({ "id": id, "key": key, "len": payload.len, "chunks": payload.chunks(), "sealed_len": payload.sealed_len() }),
            )
        }
        Payload::Seal { handle, index, byte } => {
            let payload = read(&handle)?;
            let plaintext = vec![byte; payload.chunk_len(index)];
            let mut sealed = plaintext.clone();
            payload.seal_chunk(index, &mut sealed);
            assert_eq!(payload.open_chunk(index, &mut sealed.clone()), Ok(plaintext.as_slice()));
            let tag = hex(&sealed[sealed.len() - 16..]);
            Ok(json!({ "sealed_len": sealed.len(), "sealed_sha256": hex(crypto::sha256(&[&sealed])), "tag": tag }))
        }
        Payload::Open { handle, index, mut sealed } => {
            let payload = read(&handle)?;
            let plaintext = payload.open_chunk(index, &mut sealed.0).map_err(|error| error.name())?;
            Ok(json!({ "plaintext": hex(plaintext) }))
        }
    }
}

pub(crate) fn snapshot(value: &Value) -> Outcome {
    let Bytes { bytes } = input(value);
    let session = Session::from_bytes(&bytes.0).map_err(|error| error.name())?;
    assert_eq!(session.to_bytes(), bytes.0);
    Ok(json!({
        "session": hex(session.id().as_bytes()),
        "peer": session.peer().to_string(),
        "confirmed": session.is_confirmed(),
        "sealed": session.sealed_count(),
        "next_expected": session.next_expected(),
        "tags": session.tags().map(|tag| hex(tag.as_bytes())).collect::<Vec<_>>(),
    }))
}

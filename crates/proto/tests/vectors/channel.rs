//! Areas `channel-statement`, `channel-entry`, `channel-record`, `sender-key` and `channel-frame`.

use nuncio_contracts::registry::{change, limit};
use nuncio_proto::channel::{
    Change, ChangeError, ChannelFrame, Entry, EntryError, Heir, Incoming, Invite, Join, Judged, KeyError, Leave,
    Proposal, ReceiveError, Record, RecordError, SenderKey, SenderKeyError, StatementError, Support,
};
use nuncio_proto::ids::AgentId;
use nuncio_proto::time::UnixMillis;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::make_vectors::kit::hex;
use crate::names::Name;
use crate::{Hex, Outcome, input};

impl Name for ChangeError {
    fn name(&self) -> &'static str {
        match self {
            Self::Kind => "kind",
            Self::Agents => "agents",
            Self::Name => "name",
            Self::Id(why) => why.name(),
            other => panic!("{other} has no name"),
        }
    }
}

impl Name for StatementError {
    fn name(&self) -> &'static str {
        match self {
            Self::Codec(why) => why.name(),
            Self::Id(why) => why.name(),
            Self::Crypto(why) => why.name(),
            Self::Change(why) => why.name(),
            other => panic!("{other} has no name"),
        }
    }
}

impl Name for EntryError {
    fn name(&self) -> &'static str {
        match self {
            Self::Codec(why) => why.name(),
            Self::Version(_) => "version",
            Self::Change(why) => why.name(),
            Self::Consents => "consent",
            Self::Crypto(why) => why.name(),
            Self::Statement(why) => why.name(),
            other => panic!("{other} has no name"),
        }
    }
}

impl Name for RecordError {
    fn name(&self) -> &'static str {
        match self {
            Self::Entry(why) => why.name(),
            Self::NotFirst => "not-first",
            Self::Channel => "channel",
            Self::UnknownEpoch => "unknown-epoch",
            Self::Number => "number",
            Self::Impossible => "impossible",
            Self::Full => "full",
            Self::Roster => "roster",
            Self::Consent => "consent",
            Self::Majority => "majority",
            Self::TooLate => "too-late",
            Self::Outranked => "outranked",
            Self::NotAdmin => "not-admin",
            Self::Stale => "stale",
            other => panic!("{other} has no name"),
        }
    }
}

impl Name for SenderKeyError {
    fn name(&self) -> &'static str {
        match self {
            Self::Codec(why) => why.name(),
            Self::Chain => "chain",
            Self::Number => "number",
            other => panic!("{other} has no name"),
        }
    }
}

impl Name for KeyError {
    fn name(&self) -> &'static str {
        match self {
            Self::Malformed(why) => why.name(),
            Self::Channel => "channel",
            Self::UnknownEpoch => "unknown-epoch",
            Self::Stale => "stale",
            Self::NotMember => "not-member",
            Self::Number => "number",
            other => panic!("{other} has no name"),
        }
    }
}

impl Name for ReceiveError {
    fn name(&self) -> &'static str {
        match self {
            Self::UnknownTag => "unknown-tag",
            Self::Mac => "mac",
            Self::Crypto(why) => why.name(),
            Self::Signed => "signed",
            Self::Replay(why) => why.name(),
            Self::Contradiction => "contradiction",
            Self::Spent => "spent",
            Self::NoRoom => "no-room",
            Self::Malformed => "padding",
            other => panic!("{other} has no name"),
        }
    }
}

fn change_of(change: &Change) -> Value {
    let dids = |agents: &[AgentId]| agents.iter().map(ToString::to_string).collect::<Vec<_>>();
    let (what, agents, yes, name) = match change {
        Change::Create { owner, audits, name } => (change::CREATE, dids(&[*owner]), Some(*audits), Some(name)),
        Change::Add(agents) => (change::ADD, dids(agents), None, None),
        Change::Remove(agents) => (change::REMOVE, dids(agents), None, None),
        Change::Leave(agents) => (change::LEAVE, dids(agents), None, None),
        Change::Admin { agent, admin } => (change::ADMIN, dids(&[*agent]), Some(*admin), None),
        Change::Rename(name) => (change::RENAME, vec![], None, Some(name)),
        Change::HandOver(agent) => (change::HAND_OVER, dids(&[*agent]), None, None),
        Change::Succeed(agent) => (change::SUCCEED, dids(&[*agent]), None, None),
    };
    json!({ "what": what, "agents": agents, "yes": yes, "name": name })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    what: String,
    bytes: Hex,
}

/// contracts/channel.md section 3.
pub(crate) fn statement(value: &Value) -> Outcome {
    let Said { what, bytes: Hex(bytes) } = input(value);
    match what.as_str() {
        "invite" => Invite::parse(&bytes).map(|it| {
            json!({ "channel": hex(it.channel.as_bytes()), "epoch": hex(it.epoch.as_bytes()), "by": it.by.to_string(),
                    "agent": it.agent.to_string(), "expires": it.expires.0, "id": hex(it.id),
                    "hash": hex(Invite::hash(&bytes)) })
        }),
        "join" => Join::parse(&bytes).map(|it| {
            json!({ "channel": hex(it.channel.as_bytes()), "agent": it.agent.to_string(), "invite": hex(it.invite) })
        }),
        "leave" => Leave::parse(&bytes).map(|it| {
            json!({ "channel": hex(it.channel.as_bytes()), "epoch": hex(it.epoch.as_bytes()),
                    "agent": it.agent.to_string() })
        }),
        "heir" => Heir::parse(&bytes).map(|it| {
            json!({ "channel": hex(it.channel.as_bytes()), "epoch": hex(it.epoch.as_bytes()),
                    "agent": it.agent.to_string() })
        }),
        "proposal" => Proposal::parse(&bytes).map(|it| {
            json!({ "channel": hex(it.channel.as_bytes()), "epoch": hex(it.epoch.as_bytes()), "by": it.by.to_string(),
                    "change": change_of(&it.change) })
        }),
        "support" => Support::parse(&bytes).map(|it| {
            json!({ "channel": hex(it.channel.as_bytes()), "agent": it.agent.to_string(), "body": hex(it.body) })
        }),
        other => panic!("{other} is no statement"),
    }
    .map_err(|error| error.name())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct One {
    bytes: Hex,
}

/// contracts/channel.md section 1: its form; who has signed it is the record's to say.
pub(crate) fn entry(value: &Value) -> Outcome {
    let One { bytes } = input(value);
    let entry = Entry::parse(&bytes.0).map_err(|error| error.name())?;
    assert_eq!(entry.to_bytes(), bytes.0);
    Ok(json!({
        "number": entry.number,
        "prev": hex(entry.prev.as_bytes()),
        "at": entry.at.0,
        "change": change_of(&entry.change),
        "roster": hex(entry.roster),
        "consents": entry.consents.len(),
        "body_hash": hex(entry.body_hash()),
        "epoch": hex(entry.epoch().as_bytes()),
        "channel": hex(entry.channel().as_bytes()),
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    entries: Vec<Hex>,
    now: u64,
    then: Vec<Then>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Then {
    entry: Hex,
    now: u64,
}

fn verify(entries: &[Hex], now: u64) -> Result<Record, &'static str> {
    Record::verify(entries.iter().map(|entry| entry.0.as_slice()), UnixMillis(now)).map_err(|error| error.name())
}

/// contracts/channel.md sections 2 and 4.
pub(crate) fn record(value: &Value) -> Outcome {
    let Told { entries, now, then } = input(value);
    let mut record = verify(&entries, now)?;
    let mut said = Vec::new();
    for Then { entry, now } in then {
        said.push(match record.check(&entry.0, UnixMillis(now)) {
            Err(error) => error.name(),
            Ok(Judged::Known) => "known",
            Ok(Judged::Fork(_)) => "fork",
            Ok(Judged::Next(next)) => {
                if record.apply(*next).unwrap().is_empty() {
                    "next"
                } else {
                    "instead"
                }
            }
        });
    }
    let roster = record.roster();
    let members = roster.members().map(|(agent, member)| json!([agent.to_string(), member.admin_since.is_some()]));
    Ok(json!({
        "channel": hex(record.channel().as_bytes()),
        "epoch": hex(record.epoch().as_bytes()),
        "number": roster.number(),
        "owner": roster.owner().to_string(),
        "name": roster.name(),
        "audits": roster.audits(),
        "members": members.collect::<Vec<_>>(),
        "roster": hex(roster.hash()),
        "then": said,
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Handed {
    bytes: Hex,
    sender: String,
}

/// contracts/channel.md section 5.
pub(crate) fn sender_key(value: &Value) -> Outcome {
    let Handed { bytes, sender } = input(value);
    let key = SenderKey::parse(&bytes.0, &sender.parse().unwrap()).map_err(|error| error.name())?;
    assert_eq!(*key.encode(), bytes.0);
    Ok(json!({
        "channel": hex(key.channel.as_bytes()),
        "epoch": hex(key.epoch.as_bytes()),
        "first": key.first.to_string(),
        "chain": hex(key.chain.as_bytes()),
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Received {
    record: Vec<Hex>,
    sender: String,
    recipient: String,
    key: Hex,
    bytes: Hex,
}

/// contracts/channel.md sections 6 to 8: a member that was handed one chain receives one frame.
pub(crate) fn frame(value: &Value) -> Outcome {
    let Received { record, sender, recipient, key, bytes } = input(value);
    let (sender, recipient): (AgentId, AgentId) = (sender.parse().unwrap(), recipient.parse().unwrap());
    let record = verify(&record, u64::MAX)?;
    let mut into = Incoming::new(&record, recipient);
    let key = SenderKey::parse(&key.0, &sender).map_err(|error| error.name())?;
    let chain = key.chain;
    let taken = into.take_key(sender, key, &record, UnixMillis(0)).map_err(|error| error.name())?;
    assert_eq!(into.apply_key(taken), None);
    let frame = ChannelFrame::decode(&bytes.0).map_err(|error| error.name())?;
    assert_eq!([frame.common(), &frame.mac].concat(), bytes.0);
    let before = into.clone();
    let opened = into.receive(&frame, limit::SKIPPED_TOTAL_MAX).map_err(|error| error.name());
    assert_eq!(into, before, "nothing moves for a frame that is judged");
    let opened = opened?;
    let (header, letter) = (opened.header, opened.letter.clone());
    assert_eq!(into.tags().collect::<Vec<_>>(), [frame.tag]);
    into.apply(opened, UnixMillis(0));
    let hash = into.attest(Some(&sender), None).filter(|said| said.seq == header.seq);
    let attested =
        header.attestation.map(|said| json!([hex(said.sender), hex(said.seq.to_be_bytes()), hex(said.hash)]));
    Ok(json!({
        "tag": hex(frame.tag.as_bytes()),
        "chain": hex(chain.as_bytes()),
        "seq": header.seq.to_string(),
        "floor": header.floor().unwrap().to_string(),
        "attested": attested,
        "letter": hex(letter),
        "digest": hex(frame.digest()),
        "hash": hash.map(|said| hex(said.hash)),
    }))
}

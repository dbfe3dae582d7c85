//! What the service did, as a record: who asked for what, and what came of it. Tokens are in it by their hashes alone.

use nuncio_contracts::registry::event;
use nuncio_proto::audit::{Event, EventPeer, What};
use nuncio_proto::codec::{self, CodecError};
use nuncio_proto::ids::{AgentId, LetterId};
use nuncio_proto::time::UnixMillis;
use nuncio_proto::token::TokenHash;
use nuncio_store::Op;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use crate::once::UsedId;
use crate::rows;

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Deed {
    Issue,
    Replace,
    Renew,
    #[default]
    Deny,
    Revoke,
    /// The keys turned.
    Rotate,
    /// A policy came into force.
    Policy,
}

/// One record (contracts/txts.md N30). What is not known is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) at: UnixMillis,
    pub(crate) deed: Deed,
    pub(crate) client: Option<String>,
    pub(crate) txn: Option<String>,
    /// For whom; of a rotation the thumbprint of the key that signs now, of a policy the hash of its file.
    pub(crate) subject: Option<String>,
    pub(crate) receiver: Option<String>,
    pub(crate) hop: Option<u8>,
    /// The token that was made: issued, unless it is denied.
    pub(crate) token: Option<TokenHash>,
    /// The token that came as subject.
    pub(crate) input: Option<TokenHash>,
    /// The agent that the token is for, and what it may do.
    pub(crate) holder: Option<AgentId>,
    pub(crate) scope: Option<String>,
    /// The error that was answered.
    pub(crate) error: Option<String>,
    /// Ids that the request used up: what a restart remembers them by.
    pub(crate) used: Vec<UsedId>,
}

#[derive(Serialize, Deserialize)]
struct Wire(
    u8,
    u64,
    u8,
    [Option<String>; 4],
    Option<u8>,
    [Option<ByteArray<32>>; 2],
    Option<String>,
    Vec<(ByteArray<16>, u64)>,
    Option<ByteArray<32>>,
    Option<String>,
);

/// Version 1 ends before holder and scope.
#[derive(Serialize, Deserialize)]
struct First(
    u8,
    u64,
    u8,
    [Option<String>; 4],
    Option<u8>,
    [Option<ByteArray<32>>; 2],
    Option<String>,
    Vec<(ByteArray<16>, u64)>,
);

/// Ids of a record that has left.
#[derive(Serialize, Deserialize)]
struct Used(u8, String, Vec<(ByteArray<16>, u64)>);

const VERSION: u8 = 2;
const USED_VERSION: u8 = 1;
/// A subject of some kilobytes may stand in it.
const RECORD_LEN_MAX: usize = 64 * 1024;

impl Record {
    /// Of what the owner did.
    pub(crate) fn of_owner(deed: Deed, at: UnixMillis, subject: &str) -> Self {
        Self { at, deed, subject: Some(subject.to_owned()), ..Self::default() }
    }

    /// The row: its key holds the time, so records are in order and those of a moment are found.
    pub(crate) fn put(self, random: [u8; 10]) -> Op {
        let id = LetterId::new(self.at, random);
        let deed = match self.deed {
            Deed::Issue => 0,
            Deed::Replace => 1,
            Deed::Renew => 2,
            Deed::Deny => 3,
            Deed::Revoke => 4,
            Deed::Rotate => 5,
            Deed::Policy => 6,
        };
        let wire = Wire(
            VERSION,
            self.at.0,
            deed,
            [self.client, self.txn, self.subject, self.receiver],
            self.hop,
            [self.token.map(ByteArray::new), self.input.map(ByteArray::new)],
            self.error,
            self.used.into_iter().map(|used| (ByteArray::new(used.id), used.until_s)).collect(),
            self.holder.map(|agent| ByteArray::new(*agent.as_bytes())),
            self.scope,
        );
        Op::Put { key: [&[rows::RECORDS], id.as_bytes().as_slice()].concat(), value: codec::encode(&wire) }
    }

    /// What is kept of a record that leaves, for as long as its ids could serve again; `None` when they cannot any more.
    pub(crate) fn keep_used(self, now_s: u64, random: [u8; 10]) -> Option<Op> {
        let until_s = self.used.iter().map(|used| used.until_s).max().filter(|until_s| *until_s >= now_s)?;
        let used: Vec<_> = self.used.into_iter().map(|used| (ByteArray::new(used.id), used.until_s)).collect();
        let value = codec::encode(&Used(USED_VERSION, self.client.unwrap_or_default(), used));
        Some(Op::Put { key: rows::used(until_s, random), value })
    }

    /// Reads what [`Record::keep_used`] kept, as a record of nothing else.
    pub(crate) fn read_used(value: &[u8]) -> Result<Self, CodecError> {
        let Used(USED_VERSION, client, used) = codec::decode(value, RECORD_LEN_MAX)? else {
            return Err(CodecError::Malformed);
        };
        let used = used.into_iter().map(|(id, until_s)| UsedId { id: id.into_array(), until_s }).collect();
        Ok(Self { client: Some(client), used, ..Self::default() })
    }

    /// Reads a row's value.
    pub(crate) fn read(value: &[u8]) -> Result<Self, CodecError> {
        let wire = match value {
            // The version is the array's first item.
            [_, 1, ..] => {
                let First(_, at, deed, texts, hop, hashes, error, used) = codec::decode(value, RECORD_LEN_MAX)?;
                Wire(VERSION, at, deed, texts, hop, hashes, error, used, None, None)
            }
            _ => codec::decode(value, RECORD_LEN_MAX)?,
        };
        let Wire(VERSION, at, deed, [client, txn, subject, receiver], hop, [token, input], error, used, holder, scope) =
            wire
        else {
            return Err(CodecError::Malformed);
        };
        let deed = match deed {
            0 => Deed::Issue,
            1 => Deed::Replace,
            2 => Deed::Renew,
            3 => Deed::Deny,
            4 => Deed::Revoke,
            5 => Deed::Rotate,
            6 => Deed::Policy,
            _ => return Err(CodecError::Malformed),
        };
        let holder = holder.map(|key| AgentId::from_bytes(key.into_array())).transpose();
        let holder = holder.map_err(|_| CodecError::Malformed)?;
        let used = used.into_iter().map(|(id, until_s)| UsedId { id: id.into_array(), until_s }).collect();
        let (token, input) = (token.map(ByteArray::into_array), input.map(ByteArray::into_array));
        Ok(Self {
            at: UnixMillis(at),
            deed,
            client,
            txn,
            subject,
            receiver,
            hop,
            token,
            input,
            holder,
            scope,
            error,
            used,
        })
    }
}

impl Record {
    /// What the log is told of it (contracts/audit.md V17).
    pub(crate) fn event(&self, node: AgentId) -> Option<Event> {
        let (what, kind) = match self.deed {
            Deed::Issue => (event::TOKEN_ISSUED, self.scope.as_ref()),
            Deed::Replace | Deed::Renew => (event::TOKEN_REPLACED, self.scope.as_ref()),
            Deed::Deny => (event::TOKEN_DENIED, self.error.as_ref()),
            Deed::Revoke => (event::TOKEN_REVOKED, None),
            Deed::Rotate => (event::KEY_ROTATED, self.subject.as_ref()),
            Deed::Policy => (event::POLICY_CHANGED, self.subject.as_ref()),
        };
        Some(Event {
            peer: self.holder.map(EventPeer::Agent),
            transaction: self.txn.as_deref().map(Event::name_of),
            token: self.token,
            kind: kind.map(|kind| Event::name_of(kind)),
            ..Event::new(node, self.at, What::of(what)?)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let record = Record {
            at: UnixMillis(1_800_000_000_000),
            deed: Deed::Replace,
            client: Some("planner".to_owned()),
            hop: Some(1),
            token: Some([7; 32]),
            used: vec![UsedId { id: [1; 16], until_s: 1_800_000_060 }],
            ..Record::default()
        };
        let Op::Put { key, value } = record.clone().put([9; 10]) else { panic!("a record is put") };
        assert_eq!(key.first(), Some(&rows::RECORDS));
        assert_eq!(Record::read(&value), Ok(record));
    }
}

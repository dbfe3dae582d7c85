//! What is on disk of calls.

use nuncio_proto::codec;
use nuncio_proto::ids::{AgentId, CallSessionId, LetterId};
use nuncio_proto::rows;
use nuncio_store::{Engine as _, Op, Store, StoreError};
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};

use super::{Of, Open};
use crate::calls::{Asked, CALL_NOTE_MAX};

/// Requests that were begun: behind it the letter's number in the inbox; the method.
pub(super) const BEGUN: [u8; 2] = [rows::RUNTIME, b'B'];
/// What is kept of others' sessions: behind it the other agent and the session.
pub(super) const MEMORY: [u8; 2] = [rows::RUNTIME, b'M'];
/// Own requests: behind it the letter's id and to whom.
pub(super) const ASKED: [u8; 2] = [rows::RUNTIME, b'A'];
/// Own sessions: behind it with whom, and the session.
pub(super) const OPENED: [u8; 2] = [rows::RUNTIME, b'O'];

#[derive(Serialize, Deserialize)]
struct AskedRow(u8, String, Option<ByteArray<16>>, ByteBuf, Option<(u16, u64)>);

pub(super) fn numbered(tree: [u8; 2], no: u64) -> Vec<u8> {
    [tree.as_slice(), &no.to_be_bytes()].concat()
}

/// That a request is begun.
pub(crate) fn begun_row(no: u64, method: &str) -> Op {
    Op::Put { key: numbered(BEGUN, no), value: method.as_bytes().to_vec() }
}

pub(super) fn of_session(tree: [u8; 2], (agent, session): &Of) -> Vec<u8> {
    [tree.as_slice(), agent.as_bytes(), session.as_bytes()].concat()
}

pub(super) fn read_of(key: &[u8]) -> Option<Of> {
    let (agent, session) = key.split_first_chunk::<32>()?;
    Some((AgentId::from_bytes(*agent).ok()?, CallSessionId::from_bytes(session.try_into().ok()?)))
}

pub(super) fn asked_key((to, id): &(AgentId, LetterId)) -> Vec<u8> {
    [ASKED.as_slice(), id.as_bytes(), to.as_bytes()].concat()
}

pub(super) fn put_open(open: &Open) -> Op {
    let Asked { to, id, service, session, note } = &open.asked;
    let session = session.map(|session| ByteArray::new(*session.as_bytes()));
    let row = AskedRow(1, service.to_string(), session, ByteBuf::from(note.as_slice()), open.failed);
    Op::Put { key: asked_key(&(*to, *id)), value: codec::encode(&row) }
}

pub(super) fn read_open(key: &[u8], value: &[u8]) -> Option<Open> {
    let (id, to) = key.split_first_chunk::<16>()?;
    let (to, id) = (AgentId::from_bytes(to.try_into().ok()?).ok()?, LetterId::parse(*id)?);
    let AskedRow(_, service, session, note, failed) = codec::decode(value, CALL_NOTE_MAX + 256).ok()?;
    let session = session.map(|session| CallSessionId::from_bytes(session.into_array()));
    let asked = Asked { to, id, service: service.parse().ok()?, session, note: note.into_vec() };
    Some(Open { asked, failed, said: None })
}

/// Reads all rows of a tree; keys without their first two bytes.
pub(super) fn scan(store: &Store, tree: [u8; 2], mut row: impl FnMut(&[u8], &[u8])) -> Result<(), StoreError> {
    store.scan(&tree, &mut |key, value| {
        key.get(2..).into_iter().for_each(|key| row(key, value));
        Ok(())
    })
}

//! Rows of a session's letters that wait and of the keys that it keeps.

use std::sync::Arc;

use nuncio_contracts::registry::limit;
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};

use super::super::judge::expiry;
use super::super::{Out, Peer};
use crate::codec;
use crate::ids::{Seq, SessionId, Tag};
use crate::letter::Letter;
use crate::rows;
use crate::session::{Held, Hold, Moved, Session};
use crate::step::Op;
use crate::time::UnixMillis;
use crate::token::Genuine;

#[derive(Serialize, Deserialize)]
struct HeldRow(u8, ByteArray<12>, ByteBuf, u8, Option<ByteBuf>);

#[derive(Serialize, Deserialize)]
struct SkippedRow(u8, ByteArray<16>, ByteArray<32>, u64);

/// The version of inbox and waiting rows.
const ROW_VERSION: u8 = 2;

/// A letter and its token, with room for the rest.
const ROW_LEN_MAX: usize = limit::FRAME_LEN_MAX + limit::TOKEN_LEN_MAX;

impl Peer {
    /// Writes the rows of keys that are kept now, or no more.
    pub(in super::super) fn keep_moved(&mut self, id: SessionId, moved: &Moved, skipped_before: usize, out: &mut Out) {
        let Some(session) = self.sessions.get(&id) else { return };
        for seq in &moved.skipped {
            if let Some(kept) = session.skipped.get(seq) {
                let (tag, mk) = (ByteArray::new(*kept.tag.as_bytes()), ByteArray::new(*kept.mk.expose()));
                let value = codec::encode(&SkippedRow(1, tag, mk, kept.since.0));
                out.ops.push(Op::Put { key: rows::of_session(rows::SKIPPED, &id, *seq), value });
            }
        }
        for seq in &moved.dropped {
            out.ops.push(Op::Delete { key: rows::of_session(rows::SKIPPED, &id, *seq) });
        }
        self.skipped_total = (self.skipped_total + session.skipped.len()).saturating_sub(skipped_before);
    }

    pub(in super::super) fn load_held(session: &mut Session, seq: Seq, value: &[u8]) -> Option<()> {
        let HeldRow(version, nonce, letter, state, token) = codec::decode(value, ROW_LEN_MAX).ok()?;
        if version != ROW_VERSION {
            return None;
        }
        let state = [Hold::Turn, Hold::Refused, Hold::Token].into_iter().find(|known| held_state(*known) == state)?;
        let token = token.map(|token| Genuine::kept(&token).map(Arc::new).ok_or(())).transpose().ok()?;
        let read = if state == Hold::Refused { None } else { Letter::decode(&letter).ok() };
        let expires = read.map_or(UnixMillis::NEVER, |letter| expiry(&letter, token.as_deref()));
        session.restore_held(seq, Held { nonce: nonce.into_array(), letter: letter.into_vec(), state, expires, token });
        Some(())
    }

    pub(in super::super) fn load_skipped(session: &mut Session, seq: Seq, value: &[u8]) -> Option<()> {
        let SkippedRow(_, tag, mk, since) = codec::decode(value, 256).ok()?;
        session.restore_skipped(seq, Tag::from_bytes(tag.into_array()), mk.into_array(), UnixMillis(since));
        Some(())
    }
}

pub(in super::super) fn put_held(session: &SessionId, seq: Seq, held: &Held) -> Op {
    let token = held.token.as_ref().map(|token| ByteBuf::from(token.text().as_bytes()));
    let (nonce, letter) = (ByteArray::new(held.nonce), ByteBuf::from(held.letter.as_slice()));
    let row = HeldRow(ROW_VERSION, nonce, letter, held_state(held.state), token);
    Op::Put { key: rows::of_session(rows::HELD, session, seq), value: codec::encode(&row) }
}

const fn held_state(state: Hold) -> u8 {
    match state {
        Hold::Turn => 0,
        Hold::Refused => 1,
        Hold::Token => 2,
    }
}

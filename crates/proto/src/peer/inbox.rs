//! Letters that were delivered, until the application removes them.

use std::sync::Arc;

use nuncio_contracts::registry::limit;
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, Bytes};

use super::{Out, Peer};
use crate::codec;
use crate::ids::AgentId;
use crate::letter::Letter;
use crate::rows;
use crate::step::{Arrival, Effect, Op};
use crate::time::UnixMillis;
use crate::token::Genuine;

#[derive(Serialize, Deserialize)]
struct InboxRow<'a>(u8, ByteArray<32>, u64, #[serde(borrow)] &'a Bytes, #[serde(borrow)] Option<&'a Bytes>);

/// The version of inbox rows.
const ROW_VERSION: u8 = 2;
/// A letter and its token, with room for the rest.
const ROW_LEN_MAX: usize = limit::FRAME_LEN_MAX + limit::TOKEN_LEN_MAX;

impl Arrival {
    /// Reads an inbox row.
    #[must_use]
    pub fn from_row(key: &[u8], value: &[u8]) -> Option<Self> {
        let InboxRow(version, from, received, letter, token) = codec::decode(value, ROW_LEN_MAX).ok()?;
        if version != ROW_VERSION {
            return None;
        }
        let token = token.map(|token| Genuine::kept(token).map(Arc::new).ok_or(())).transpose().ok()?;
        Some(Self {
            token,
            no: rows::split_numbered(key)?,
            from: AgentId::from_bytes(from.into_array()).ok()?,
            received: UnixMillis(received),
            letter: Letter::decode(letter).ok()?,
        })
    }
}

impl Peer {
    /// A letter is in the inbox from now on.
    pub(super) fn deliver(
        &mut self,
        from: AgentId,
        letter: Letter,
        bytes: &[u8],
        token: Option<Arc<Genuine>>,
        received: UnixMillis,
        out: &mut Out,
    ) {
        let no = self.next_arrival;
        self.next_arrival += 1;
        let text = token.as_ref().map(|token| Bytes::new(token.text().as_bytes()));
        let row = InboxRow(ROW_VERSION, ByteArray::new(*from.as_bytes()), received.0, Bytes::new(bytes), text);
        let value = codec::encode_sized(&row, bytes.len() + text.map_or(0, |text| text.len()) + 64);
        self.note_came(no, from, &letter, bytes.len());
        self.inbox.insert(no, bytes.len());
        self.inbox_bytes += bytes.len();
        out.ops.push(Op::Put { key: rows::numbered(rows::INBOX, no), value });
        out.effects.push(Effect::Deliver(Arrival { no, from, received, letter, token }));
    }

    pub(super) fn apply_number_taken(&mut self, out: &mut Out) {
        self.next_arrival += 1;
        self.keep_next_arrival(out);
    }

    fn keep_next_arrival(&self, out: &mut Out) {
        let value = codec::encode(&(1_u8, self.next_arrival));
        out.ops.push(Op::Put { key: rows::next_arrival(), value });
    }

    /// A letter is removed from the inbox, for good.
    pub(super) fn apply_done(&mut self, no: u64, out: &mut Out) {
        if let Some(len) = self.inbox.remove(&no) {
            self.inbox_bytes -= len;
            self.note_gone(no, len);
            out.ops.push(Op::Delete { key: rows::numbered(rows::INBOX, no) });
            // A number is not used again: whoever asks twice for a letter to be removed would remove another one.
            if no + 1 == self.next_arrival {
                self.keep_next_arrival(out);
            }
        }
    }
}

//! What one who has stolen a session's row can send: frames that are authentic, and say anything.

use nuncio_contracts::registry::limit;
use nuncio_proto::codec;
use nuncio_proto::crypto;
use nuncio_proto::frame;
use nuncio_proto::header::{Ack, Header};
use nuncio_proto::ids::Seq;
use nuncio_proto::ratchet::tag_of;
use nuncio_proto::secret::Key;
use serde_bytes::{ByteArray, ByteBuf};

use crate::pair::End;

/// A session's snapshot, as its contract writes it.
pub(crate) type B32 = ByteArray<32>;
pub(crate) type ChainRow = (B32, B32, u32);
pub(crate) type RatchetRow = (B32, B32, B32, Option<ChainRow>, Option<(ChainRow, Seq)>, B32, B32, u32);
pub(crate) type SessionRow = (
    u8,
    B32,
    (B32, B32, bool),
    (u8, u64),
    (u64, u64, B32, Option<ByteBuf>, bool),
    RatchetRow,
    Vec<B32>,
    (Seq, B32),
    (Seq, Seq, B32),
);

/// What one who has stolen a session's row can send: frames that are authentic, and say anything.
pub(crate) struct Thief {
    pub(crate) row: SessionRow,
}

impl Thief {
    pub(crate) fn of(end: &End) -> Self {
        Self { row: codec::decode(&end.session.to_bytes(), 8_192).unwrap() }
    }

    pub(crate) fn chain(&self) -> (Key, Key, u32) {
        let (ck, hk, n) = self.row.5.3.as_ref().unwrap();
        (Key::new(ck.into_array()), Key::new(hk.into_array()), *n)
    }

    /// The header key of the chain that the next turn opens.
    pub(crate) fn next_hk(&self) -> Key {
        Key::new(self.row.5.5.into_array())
    }

    /// The message key of the next letter: `HMAC(ck, 0x01)`.
    pub(crate) fn mk(&self) -> [u8; 32] {
        crypto::hmac_sha256(self.chain().0.expose(), &[&[1]])
    }

    /// The header that the session would write next.
    pub(crate) fn header(&self) -> Header {
        let (received, sent) = (&self.row.7, &self.row.8);
        let check = *received.1.first_chunk().unwrap();
        let ack = Ack { next: received.0, check, above: 0 };
        let floor_below = u16::try_from(sent.0 - sent.1).unwrap();
        Header {
            ratchet_key: self.row.5.2.into_array(),
            n: self.chain().2,
            pn: self.row.5.7,
            seq: sent.0,
            floor_below,
            ack,
        }
    }

    /// `version ‖ kind ‖ direction ‖ initiator ‖ responder ‖ session id ‖ header`
    pub(crate) fn body_ad(&self, kind: u8, header: &Header) -> Vec<u8> {
        let (initiator, responder, initiated) = &self.row.2;
        let head = [limit::WIRE_VERSION, kind, u8::from(!initiated)];
        [head.as_slice(), &**initiator, &**responder, &*self.row.1, &header.to_bytes()].concat()
    }

    pub(crate) fn letter(&self, hk: &Key, mk: &[u8; 32], header: &Header) -> Vec<u8> {
        let (mk, ad) = (Key::new(*mk), self.body_ad(2, header));
        let body = frame::Body { letter: &[], mk: &mk, ad: &ad };
        frame::seal(hk, tag_of(hk), &[9; 12], None, Some(body), header).unwrap()
    }

    pub(crate) fn acknowledgement(&self, header: &Header) -> Vec<u8> {
        let hk = self.chain().1;
        frame::seal(&hk, tag_of(&hk), &[9; 12], None, None, header).unwrap()
    }
}

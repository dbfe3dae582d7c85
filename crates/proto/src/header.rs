//! What a frame tells only its receiver: 74 bytes of fixed width, sealed under a header key.

use crate::ids::Seq;

/// Bytes of a header in clear.
pub const HEADER_LEN: usize = 74;
/// Bytes of a sealed header.
pub const SEALED_HEADER_LEN: usize = HEADER_LEN + crate::crypto::TAG_LEN;

/// The header of one frame (contracts/ratchet.md section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The sender's current ratchet public key.
    pub ratchet_key: [u8; 32],
    /// Number of this letter in its sending chain; of the next letter, in an acknowledgement.
    pub n: u32,
    /// Length of the sender's previous sending chain.
    pub pn: u32,
    /// Session-wide number of this letter; of the next letter, in an acknowledgement.
    pub seq: Seq,
    /// How far below `seq` the lowest number lies that the sender may still send or resend.
    pub floor_below: u16,
    /// What the sender has received.
    pub ack: Ack,
}

/// What one side has received of the other: everything below `next`, and single letters above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The lowest number not yet received.
    pub next: Seq,
    /// Eight bytes of the running hash over the frames below `next` (contracts/ratchet.md section 5).
    pub check: [u8; 8],
    /// Bit `i` set: number `next + 1 + i` was received.
    pub above: u64,
}

impl Header {
    /// The lowest number that the sender may still send or resend.
    #[must_use]
    pub fn floor(&self) -> Option<Seq> {
        self.seq.checked_sub(self.floor_below.into())
    }

    /// Big-endian fields, one after the other.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        let fields: [&[u8]; 8] = [
            &self.ratchet_key,
            &self.n.to_be_bytes(),
            &self.pn.to_be_bytes(),
            &self.seq.to_be_bytes(),
            &self.floor_below.to_be_bytes(),
            &self.ack.next.to_be_bytes(),
            &self.ack.check,
            &self.ack.above.to_be_bytes(),
        ];
        let mut rest = out.as_mut_slice();
        for field in fields {
            if let Some((head, tail)) = core::mem::take(&mut rest).split_at_mut_checked(field.len()) {
                head.copy_from_slice(field);
                rest = tail;
            }
        }
        out
    }

    /// The inverse of [`Header::to_bytes`]: every 74 bytes are a header.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; HEADER_LEN]) -> Self {
        let mut at = Fields(bytes);
        Self {
            ratchet_key: at.take(),
            n: u32::from_be_bytes(at.take()),
            pn: u32::from_be_bytes(at.take()),
            seq: u64::from_be_bytes(at.take()),
            floor_below: u16::from_be_bytes(at.take()),
            ack: Ack { next: u64::from_be_bytes(at.take()), check: at.take(), above: u64::from_be_bytes(at.take()) },
        }
    }
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    /// The next `N` bytes. The widths add up to `HEADER_LEN`, which `header_round_trip` holds.
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (head, tail) = self.0.split_first_chunk::<N>().unwrap_or((&[0; N], &[]));
        self.0 = tail;
        *head
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_round_trip() {
        let bytes: [u8; HEADER_LEN] = core::array::from_fn(|i| u8::try_from(i + 1).unwrap());
        let header = Header::from_bytes(&bytes);
        assert_eq!(header.to_bytes(), bytes);
        assert_eq!(header.ack.above.to_be_bytes(), bytes[66..]);
        assert_eq!(header.floor_below, 0x3132);
    }
}

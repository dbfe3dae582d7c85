//! What a channel's frame tells only members: 66 bytes of fixed width, sealed under the chain's header key (contracts/channel.md section 6).

use crate::ids::{AgentId, Seq};

/// Bytes of a channel header in clear.
pub const CHANNEL_HEADER_LEN: usize = 66;
/// Bytes of a sealed one.
pub(super) const SEALED_LEN: usize = CHANNEL_HEADER_LEN + crate::crypto::TAG_LEN;

/// The header of one channel frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelHeader {
    /// Number of this letter among its sender's in the channel, over all chains, never used twice.
    pub seq: Seq,
    /// How far below `seq` the lowest number lies that the sender may still send to anybody.
    pub floor_below: u16,
    /// What its author has of another member.
    pub attestation: Option<Attestation>,
}

/// The newest letter that the author of a frame has of another member, with everything in front of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attestation {
    /// The member, as its bytes: whether it is one is judged where it is compared.
    pub sender: [u8; 32],
    /// The letter's number.
    pub seq: Seq,
    /// The first half of the running hash behind it.
    pub hash: [u8; 16],
}

impl Attestation {
    /// Of a member's letters.
    #[must_use]
    pub const fn of(sender: &AgentId, (seq, hash): (Seq, [u8; 16])) -> Self {
        Self { sender: *sender.as_bytes(), seq, hash }
    }
}

impl ChannelHeader {
    /// The lowest number that the sender may still send.
    #[must_use]
    pub fn floor(&self) -> Option<Seq> {
        self.seq.checked_sub(self.floor_below.into())
    }

    /// Big-endian fields, one after the other; no attestation is 56 zero bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; CHANNEL_HEADER_LEN] {
        let none = Attestation { sender: [0; 32], seq: 0, hash: [0; 16] };
        let Attestation { sender, seq, hash } = self.attestation.unwrap_or(none);
        let mut out = [0; CHANNEL_HEADER_LEN];
        let mut rest = out.as_mut_slice();
        put(&mut rest, &self.seq.to_be_bytes());
        put(&mut rest, &self.floor_below.to_be_bytes());
        put(&mut rest, &sender);
        put(&mut rest, &seq.to_be_bytes());
        put(&mut rest, &hash);
        out
    }

    /// The inverse: every 66 bytes are a header.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; CHANNEL_HEADER_LEN]) -> Self {
        let mut rest = bytes.as_slice();
        let seq = u64::from_be_bytes(take(&mut rest));
        let floor_below = u16::from_be_bytes(take(&mut rest));
        let (sender, other, hash) = (take(&mut rest), u64::from_be_bytes(take(&mut rest)), take(&mut rest));
        let attestation = (sender != [0; 32]).then_some(Attestation { sender, seq: other, hash });
        Self { seq, floor_below, attestation }
    }
}

/// Writes a field in front of what is left.
pub(super) fn put<const N: usize>(rest: &mut &mut [u8], field: &[u8; N]) {
    let Some((head, tail)) = core::mem::take(rest).split_first_chunk_mut() else { return };
    *head = *field;
    *rest = tail;
}

fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let (head, tail) = rest.split_first_chunk().unwrap_or((&[0; N], &[]));
    *rest = tail;
    *head
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_round_trip() {
        let bytes: [u8; CHANNEL_HEADER_LEN] = core::array::from_fn(|i| u8::try_from(i + 1).unwrap());
        let header = ChannelHeader::from_bytes(&bytes);
        assert_eq!(header.to_bytes(), bytes);
        assert_eq!(header.attestation.unwrap().hash, bytes[50..]);
        assert_eq!(header.floor_below, 0x090a);
    }
}

//! The length prefix: a QUIC variable-length integer (RFC 9000 section 16), in its shortest form only.

use bytes::{BufMut, BytesMut};

const TWO_BYTES: u32 = 0x4000;
const FOUR_BYTES: u32 = 0x8000_0000;

/// What the start of a buffer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prefix {
    /// A whole prefix of `width` bytes that says `len`.
    Whole { len: u32, width: usize },
    /// More bytes are needed.
    Partial,
    /// Longer than its value needs, or of the eight-byte form, which no frame needs.
    NotShortest,
}

/// Appends `len`, which is below 2^30 because frames are.
pub(crate) fn put(buf: &mut BytesMut, len: u32) {
    debug_assert!(len < 0x4000_0000, "a frame's length fits four bytes");
    match len {
        0..0x40 => buf.put_slice(&len.to_be_bytes()[3..]),
        0x40..TWO_BYTES => buf.put_slice(&(len | TWO_BYTES).to_be_bytes()[2..]),
        _ => buf.put_u32(len | FOUR_BYTES),
    }
}

/// Reads the prefix at the start of `buf`.
pub(crate) fn read(buf: &[u8]) -> Prefix {
    let Some(&first) = buf.first() else { return Prefix::Partial };
    let low = first & 0x3f;
    let (len, width, least) = match (first >> 6, buf) {
        (0, _) => (u32::from(low), 1, 0),
        (1, &[_, b, ..]) => (u32::from_be_bytes([0, 0, low, b]), 2, 0x40),
        (2, &[_, b, c, d, ..]) => (u32::from_be_bytes([low, b, c, d]), 4, TWO_BYTES),
        (3, _) => return Prefix::NotShortest,
        _ => return Prefix::Partial,
    };
    if len < least { Prefix::NotShortest } else { Prefix::Whole { len, width } }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, clippy::as_conversions)]

    use super::*;

    #[test]
    fn every_width_comes_back_and_needs_all_its_bytes() {
        for (len, width) in [(0, 1), (1, 1), (63, 1), (64, 2), (16_383, 2), (16_384, 4), (69_632, 4), (0x3fff_ffff, 4)]
        {
            let mut buf = BytesMut::new();
            put(&mut buf, len);
            assert_eq!(buf.len(), width);
            assert_eq!(read(&buf), Prefix::Whole { len, width });
            for short in 0..width {
                assert_eq!(read(&buf[..short]), Prefix::Partial);
            }
        }
    }

    #[test]
    fn a_longer_form_than_needed_is_refused() {
        for long in [&[0x40, 0x3f][..], &[0x80, 0, 0x3f, 0xff], &[0xc0, 0, 0, 0, 0, 0, 0, 1]] {
            assert_eq!(read(long), Prefix::NotShortest);
        }
    }
}

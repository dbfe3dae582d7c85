//! The only file that names `serde_cbor`: canonical bytes, or refused.
//!
//! Wire types are tuple structs of integers, byte strings and text, so their deterministic encoding (RFC 8949 section 4.2.1) is the one that
//! `serde_cbor` writes. Decoding is size cap, decode, encode again, compare: indefinite lengths, long integers, floats, tags, duplicate or
//! trailing bytes all fail the comparison, whatever the library makes of them.
#![expect(clippy::disallowed_methods, reason = "this is the one module that may name serde_cbor")]

use std::io::{self, Write};

use serde::{Deserialize, Serialize};
use zeroize::Zeroize as _;

/// Room for most of what is encoded.
const USUAL_LEN: usize = 192;

/// Why bytes are not one of our messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// Longer than any message of this kind may be; nothing was decoded.
    #[error("longer than {max} bytes")]
    TooLong {
        /// The bound that was met.
        max: usize,
    },
    /// Not CBOR, cut short, or not of the expected shape.
    #[error("not the expected CBOR")]
    Malformed,
    /// CBOR of the expected shape in another than its canonical spelling.
    #[error("not canonical CBOR")]
    NotCanonical,
}

/// Encodes a wire type. All of them are encodable by construction: no maps, floats or borrowed writers.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    encode_sized(value, USUAL_LEN)
}

/// [`encode`] into a buffer that is large enough from the start.
#[expect(clippy::expect_used, reason = "writing integers, strings and arrays to a Vec cannot fail")]
pub fn encode_sized<T: Serialize>(value: &T, capacity: usize) -> Vec<u8> {
    let mut out = Growing(Vec::with_capacity(capacity));
    serde_cbor::to_writer(&mut out, value).expect("wire types are encodable");
    out.0
}

/// Decodes a wire type from at most `max` bytes that are its canonical encoding.
pub fn decode<'a, T: Deserialize<'a> + Serialize>(bytes: &'a [u8], max: usize) -> Result<T, CodecError> {
    if bytes.len() > max {
        return Err(CodecError::TooLong { max });
    }
    let value: T = serde_cbor::from_slice(bytes).map_err(|_| CodecError::Malformed)?;
    let mut same = Same(bytes);
    if serde_cbor::to_writer(&mut same, &value).is_err() || !same.0.is_empty() {
        return Err(CodecError::NotCanonical);
    }
    Ok(value)
}

/// Grows without leaving behind what was written: rows hold keys.
struct Growing(Vec<u8>);

impl Growing {
    #[cold]
    fn grow(&mut self, len: usize) {
        let mut larger = Vec::with_capacity(len.max(2 * self.0.capacity()));
        larger.extend_from_slice(&self.0);
        core::mem::replace(&mut self.0, larger).zeroize();
    }
}

impl Write for Growing {
    fn write(&mut self, written: &[u8]) -> io::Result<usize> {
        self.write_all(written)?;
        Ok(written.len())
    }

    #[inline]
    fn write_all(&mut self, written: &[u8]) -> io::Result<()> {
        let len = self.0.len() + written.len();
        if len > self.0.capacity() {
            self.grow(len);
        }
        self.0.extend_from_slice(written);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Takes what is written for as long as it is what stands here: an encoding is compared and never kept.
struct Same<'a>(&'a [u8]);

impl Write for Same<'_> {
    fn write(&mut self, written: &[u8]) -> io::Result<usize> {
        self.write_all(written)?;
        Ok(written.len())
    }

    #[inline]
    fn write_all(&mut self, written: &[u8]) -> io::Result<()> {
        self.0 = self.0.strip_prefix(written).ok_or(io::ErrorKind::InvalidData)?;
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Pair(u64, String);

    #[test]
    fn one_spelling_is_taken_and_every_other_refused() {
        let canonical = [0x82, 0x05, 0x61, b'a'];
        assert_eq!(decode::<Pair>(&canonical, 16), Ok(Pair(5, "a".into())));
        for (hostile, why) in [
            (&[0x82, 0x18, 0x05, 0x61, b'a'][..], "long integer"),
            (&[0x9f, 0x05, 0x61, b'a', 0xff], "indefinite array"),
            (&[0x82, 0x05, 0x7f, 0x61, b'a', 0xff], "indefinite text"),
            (&[0xd9, 0xd9, 0xf7, 0x82, 0x05, 0x61, b'a'], "self-described tag"),
            (&[0x82, 0x05, 0x61, b'a', 0x00], "trailing byte"),
            (&[0x83, 0x05, 0x61, b'a', 0x00], "one item more"),
            (&[0x81, 0x05], "one item less"),
            (&[0x82, 0x05, 0x61], "cut"),
            (&[0xa1, 0x05, 0x61, b'a'], "map"),
            (&[0x82, 0xf9, 0x45, 0x00, 0x61, b'a'], "float"),
            (&[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], "huge length"),
        ] {
            assert!(decode::<Pair>(hostile, 16).is_err(), "{why}");
        }
        assert_eq!(decode::<Pair>(&canonical, 3), Err(CodecError::TooLong { max: 3 }));
    }
}

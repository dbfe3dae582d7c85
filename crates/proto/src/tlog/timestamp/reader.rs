//! Bytes of a timestamp, from front to back.

use super::TimestampError;

/// What is left to be read.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], TimestampError> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(TimestampError::Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, TimestampError> {
        let (byte, rest) = self.0.split_first().ok_or(TimestampError::Malformed)?;
        self.0 = rest;
        Ok(*byte)
    }

    /// A number in LEB128, in its shortest form.
    pub(super) fn number(&mut self) -> Result<u32, TimestampError> {
        let (mut number, mut shift) = (0_u64, 0_u32);
        loop {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                // A zero at the end says nothing, and would be a second spelling.
                let is_shortest = shift == 0 || byte != 0;
                return u32::try_from(number).ok().filter(|_| is_shortest).ok_or(TimestampError::Malformed);
            }
            shift += 7;
            // Five bytes hold 32 bits.
            if shift > 28 {
                return Err(TimestampError::Malformed);
            }
        }
    }

    /// Bytes behind their length.
    pub(super) fn bytes_up_to(&mut self, max: usize) -> Result<&'a [u8], TimestampError> {
        let len = usize::try_from(self.number()?).ok().filter(|len| *len <= max);
        self.take(len.ok_or(TimestampError::Malformed)?)
    }

    pub(super) const fn end(&self) -> Result<(), TimestampError> {
        if self.0.is_empty() { Ok(()) } else { Err(TimestampError::Malformed) }
    }
}

pub(super) fn put_number(out: &mut Vec<u8>, mut number: u32) {
    while let [low, ..] = number.to_le_bytes()
        && number > 0x7f
    {
        out.push(low | 0x80);
        number >>= 7;
    }
    let [last, ..] = number.to_le_bytes();
    out.push(last);
}

pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    out.extend_from_slice(bytes);
}

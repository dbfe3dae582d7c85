//! Padmé: a ciphertext's length tells at most O(log log n) bits of its plaintext's ("Reducing Metadata Leakage from Encrypted Files and
//! Communication with PURBs", section 4), with a floor under which all lengths are one.
//!
//! `padded = plaintext ‖ 0x80 ‖ 0x00…` (ISO/IEC 7816-4), as long as [`padded_len`] says.

use nuncio_contracts::registry::limit::PADDING_LEN_MIN;

const MARK: u8 = 0x80;

/// The length to which a plaintext of `len` bytes is padded, its one marker byte included.
#[must_use]
pub const fn padded_len(len: usize) -> usize {
    let marked = len.saturating_add(1);
    if marked <= PADDING_LEN_MIN {
        return PADDING_LEN_MIN;
    }
    let exponent = marked.ilog2();
    let kept = exponent.ilog2() + 1;
    let mask = (1_usize << (exponent - kept)) - 1;
    (marked + mask) & !mask
}

/// Pads in place.
pub fn pad(plaintext: &mut Vec<u8>) {
    let len = padded_len(plaintext.len());
    plaintext.push(MARK);
    plaintext.resize(len, 0);
}

/// Writes a plaintext and its mark over the first of a place of zeros. `None` if that is too short.
pub(crate) fn pad_in_place(zeros: &mut [u8], plaintext: &[u8]) -> Option<()> {
    let (place, rest) = zeros.split_at_mut_checked(plaintext.len())?;
    place.copy_from_slice(plaintext);
    *rest.first_mut()? = MARK;
    Some(())
}

/// The plaintext, or `None` unless the padding is exactly what [`pad`] adds.
#[must_use]
pub fn unpad(padded: &[u8]) -> Option<&[u8]> {
    // Zeros are passed eight at a time, as far as they go.
    let zeros = 8 * padded.rchunks_exact(8).take_while(|eight| *eight == [0; 8]).count();
    let (marked, _) = padded.split_at_checked(padded.len().saturating_sub(zeros))?;
    let len = marked.iter().rposition(|&byte| byte != 0)?;
    let (plaintext, rest) = padded.split_at_checked(len)?;
    (rest.first() == Some(&MARK) && padded_len(len) == padded.len()).then_some(plaintext)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_comes_back_and_costs_little() {
        for len in 0..5_000 {
            let plaintext: Vec<u8> = (0..len).map(|i| u8::try_from(i % 251).unwrap()).collect();
            let mut padded = plaintext.clone();
            pad(&mut padded);
            assert_eq!(unpad(&padded), Some(plaintext.as_slice()));
            assert!(len < PADDING_LEN_MIN || padded.len() <= len + 1 + len / 8, "{len} became {}", padded.len());
        }
    }

    #[test]
    fn padding_has_one_form() {
        let mut padded = b"letter".to_vec();
        pad(&mut padded);
        let mut longer = padded.clone();
        longer.push(0);
        assert_eq!(unpad(&longer), None);
        assert_eq!(unpad(&padded[..padded.len() - 1]), None);
        assert_eq!(unpad(&[0; 64]), None);
        assert_eq!(unpad(&[]), None);
    }
}

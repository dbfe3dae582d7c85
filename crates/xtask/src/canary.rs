//! A word that stands for secrets in tests: what any of them prints is looked through for it, in clear and in the usual spellings of bytes.
//!
//! Tests find it in the environment and plant it where a secret belongs (a passphrase, a letter, a key in a configuration). It is another in every run, so
//! that what is found was planted.

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::{BuildHasher as _, Hasher as _};
use std::path::Path;
use std::sync::OnceLock;

use anyhow::{Context as _, Result};

/// The environment variable that tells it to tests.
pub(crate) const VARIABLE: &str = "NUNCIO_CANARY";

/// The word of this run: letters and digits.
pub(crate) fn word() -> &'static str {
    static WORD: OnceLock<String> = OnceLock::new();
    WORD.get_or_init(|| format!("canary{:016x}", RandomState::new().build_hasher().finish()))
}

/// Whether a text holds this run's word.
pub(crate) fn sings(text: &str) -> bool {
    static SPELLINGS: OnceLock<Vec<String>> = OnceLock::new();
    SPELLINGS.get_or_init(|| spellings(word())).iter().any(|spelling| text.contains(spelling))
}

/// Lines of a file in which it is, by their numbers.
pub(crate) fn lines_of(file: &Path) -> Result<Vec<usize>> {
    let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.lines().zip(1..).filter(|(line, _)| sings(line)).map(|(_, number)| number).collect())
}

/// In clear, in hexadecimal, as a list of numbers, and in base64 behind any number of other bytes.
fn spellings(word: &str) -> Vec<String> {
    let hex: String = word.bytes().map(|byte| format!("{byte:02x}")).collect();
    let numbers: Vec<String> = word.bytes().map(|byte| byte.to_string()).collect();
    let mut all = vec![word.to_owned(), hex.to_uppercase(), hex, numbers.join(", "), numbers.join(",")];
    all.extend((0..3).map(|before| base64_behind(word.as_bytes(), before)));
    all
}

/// The digits that are of these bytes alone, with so many others in front. Letters and digits have no byte whose digits differ in base64url.
fn base64_behind(bytes: &[u8], before: usize) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits: Vec<u8> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
    let own = bits.get((6 - before * 8 % 6) % 6..).unwrap_or_default();
    let digit = |six: &[u8; 6]| six.iter().fold(0_usize, |digit, bit| digit << 1 | usize::from(*bit));
    own.as_chunks::<6>().0.iter().filter_map(|six| DIGITS.get(digit(six)).map(|digit| char::from(*digit))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_found_in_every_spelling_and_nothing_else_is() {
        let word = word();
        let bytes = word.as_bytes();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        for text in [
            format!("a letter: {word}."),
            hex.to_uppercase(),
            format!("0x{hex}"),
            format!("{bytes:?}"),
            format!("{word:?}"),
        ] {
            assert!(sings(&text), "{text}");
        }
        let other = format!("{}{}", word.get(..word.len() - 1).unwrap(), 'x');
        for text in ["", "canary", "a canary sang", other.as_str()] {
            assert!(!sings(text), "{text}");
        }
    }

    #[test]
    fn base64_is_what_others_write() {
        // Of `canary7`, `xcanary7` and `xycanary7` (RFC 4648 section 4).
        assert_eq!(base64_behind(b"canary7", 0), "Y2FuYXJ5N");
        assert_eq!(base64_behind(b"canary7", 1), "NhbmFyeT");
        assert_eq!(base64_behind(b"canary7", 2), "jYW5hcnk3");
        for (before, text) in ["Y2FuYXJ5Nw==", "eGNhbmFyeTc=", "eHljYW5hcnk3"].iter().enumerate() {
            assert!(text.contains(&base64_behind(b"canary7", before)), "{text}");
        }
    }

    #[test]
    fn a_files_lines_are_numbered() {
        let file = std::env::temp_dir().join(format!("{}-lines", word()));
        fs::write(&file, format!("one\n\u{fffd}two {}\nthree", word())).unwrap();
        assert_eq!(lines_of(&file).unwrap(), [2]);
        fs::remove_file(file).unwrap();
    }
}

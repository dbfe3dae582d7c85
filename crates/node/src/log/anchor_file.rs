//! The files of an anchor, by their places below the log (contracts/log.md G22).

use nuncio_contracts::registry::limit;

/// The folder that they are in.
pub(super) const ANCHORS: &str = "anchor";
/// The longest number that is a size, and a newline.
const NEWEST_LEN_MAX: usize = 21;

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnchorFile {
    /// The greatest size that is anchored.
    Newest,
    /// The note of this size, as it was published.
    Note(u64),
    /// Its timestamp.
    Timestamp(u64),
}

impl AnchorFile {
    /// Reads a file's name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name.strip_suffix(".ots") {
            None if name == "newest" => Some(Self::Newest),
            None => size(name).map(Self::Note),
            Some(name) => size(name).map(Self::Timestamp),
        }
    }

    /// Its place below the log.
    #[must_use]
    pub fn path(self) -> String {
        match self {
            Self::Newest => format!("{ANCHORS}/newest"),
            Self::Note(size) => format!("{ANCHORS}/{size}"),
            Self::Timestamp(size) => format!("{ANCHORS}/{size}.ots"),
        }
    }

    /// How long it may be.
    pub(super) const fn len_max(self) -> usize {
        match self {
            Self::Newest => NEWEST_LEN_MAX,
            Self::Note(_) => limit::NOTE_LEN_MAX,
            Self::Timestamp(_) => limit::TIMESTAMP_LEN_MAX,
        }
    }
}

/// What stands in [`AnchorFile::Newest`].
pub(super) fn read_newest(bytes: &[u8]) -> Option<u64> {
    size(std::str::from_utf8(bytes).ok()?.strip_suffix('\n')?)
}

/// In decimal, without zeros in front.
fn size(text: &str) -> Option<u64> {
    text.parse().ok().filter(|size: &u64| size.to_string() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_spelling() {
        for file in [AnchorFile::Newest, AnchorFile::Note(0), AnchorFile::Note(u64::MAX), AnchorFile::Timestamp(17)] {
            assert_eq!(AnchorFile::parse(file.path().strip_prefix("anchor/").unwrap()), Some(file));
        }
        for other in ["", "07", "+7", "7.otsx", ".ots", "7.ots.ots", "unfinished", "../checkpoint", "newest.ots"] {
            assert_eq!(AnchorFile::parse(other), None, "{other}");
        }
        assert_eq!(read_newest(b"17\n"), Some(17));
        for other in [&b"17"[..], b"17\n\n", b"017\n", b"\n", b"18446744073709551616\n"] {
            assert_eq!(read_newest(other), None);
        }
    }
}

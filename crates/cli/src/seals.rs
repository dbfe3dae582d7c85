//! The seals of a test build: written down as they are made, and looked through for a key used twice.
//!
//! With the feature `seal-log`, `NUNCIO_SEAL_LOG` names a file to which an agent appends a line (hashes only) for each seal and each frame sent. A
//! line is with the system before the frame is, so a killed agent leaves no frame without its line.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use crate::failure::Failure;

/// The file to which seals are appended.
pub(crate) const FILE: &str = "NUNCIO_SEAL_LOG";

/// Begins to write seals down, if `NUNCIO_SEAL_LOG` says where.
#[cfg(feature = "seal-log")]
pub(crate) fn write_down() -> Result<(), Failure> {
    use std::io::Write as _;

    let Some(path) = std::env::var_os(FILE) else { return Ok(()) };
    let path = Path::new(&path);
    let file = std::fs::File::options().append(true).create(true).open(path).map_err(Failure::io("open", path))?;
    #[expect(clippy::expect_used, reason = "a test build that cannot write its record must not go on")]
    nuncio_proto::seal_log::watch(move |line| (&file).write_all(line.as_bytes()).expect("the record of seals"));
    Ok(())
}

/// What a record of seals shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seals {
    /// Headers and bodies sealed.
    pub(crate) sealed: u64,
    /// Pairs of key and nonce under which two frames were sealed, and message keys of two frames that were sent.
    pub(crate) reused: u64,
}

impl Seals {
    /// Reads what an agent wrote down, through all its lives. A last line that a kill cut off is left out.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        Ok(Self::of(&std::fs::read_to_string(path).map_err(Failure::io("read", path))?))
    }

    fn of(record: &str) -> Self {
        let mut seals = Self::default();
        let mut pairs: HashMap<(&str, &str), &str> = HashMap::new();
        let mut bodies: HashMap<&str, Vec<&str>> = HashMap::new();
        let mut sent: HashSet<&str> = HashSet::new();
        for line in record.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            match line.split(' ').collect::<Vec<_>>().as_slice() {
                [what @ ("header" | "body"), key, nonce, frame] => {
                    seals.sealed += 1;
                    seals.reused += u64::from(pairs.insert((key, nonce), frame).is_some_and(|other| other != *frame));
                    if *what == "body" {
                        bodies.entry(key).or_default().push(frame);
                    }
                }
                ["sent", frame] => drop(sent.insert(frame)),
                // A line that is no line shows that the record cannot be trusted.
                _ => seals.reused += 1,
            }
        }
        for frames in bodies.into_values() {
            let out: HashSet<_> = frames.into_iter().filter(|frame| sent.contains(frame)).collect();
            seals.reused += u64::from(out.len() > 1);
        }
        seals
    }
}

#[cfg(test)]
mod tests {
    use super::Seals;

    #[test]
    fn a_key_used_twice_is_found_and_a_frame_sent_again_is_none() {
        let clean =
            "body k1 n1 f1\nheader h n1 f1\nsent f1\nsent f1\nbody k2 n2 f2\nheader h n2 f2\nsent f2\nbody k3 n";
        assert_eq!(Seals::of(clean), Seals { sealed: 4, reused: 0 });
        let same_pair = "header h n1 f1\nheader h n1 f2\n";
        assert_eq!(Seals::of(same_pair).reused, 1);
        let same_message_key = "body k1 n1 f1\nbody k1 n2 f2\nsent f1\nsent f2\n";
        assert_eq!(Seals::of(same_message_key).reused, 1);
        let never_sent = "body k1 n1 f1\nbody k1 n2 f2\nsent f2\n";
        assert_eq!(
            Seals::of(never_sent).reused,
            0,
            "a frame that a kill kept from being sent has shown its key to nobody"
        );
        assert_eq!(Seals::of("nonsense\n").reused, 1);
    }
}

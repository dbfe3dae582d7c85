//! The head of a log, as far as the reader's policy believes it.

use nuncio_proto::tlog::{Checkpoint, Note, PolicyWitness};

use super::place::Log;
use crate::failure::Failure;
use crate::output;

/// A head that its log has signed, and whose witnesses are enough.
pub(super) struct Head {
    pub(super) note: Note,
    pub(super) checkpoint: Checkpoint,
    pub(super) witnessed: Vec<(String, u64)>,
}

/// Who has cosigned, whether or not that is enough.
pub(super) struct Witnessed {
    /// By the names of their keys, each with the time in seconds.
    pub(super) by: Vec<(String, u64)>,
    pub(super) missing: Vec<String>,
    pub(super) is_quorum: bool,
}

impl Log {
    /// The head that every command but `verify` begins with.
    pub(super) fn head(&self) -> Result<Head, Failure> {
        let (note, checkpoint) = self.files.checkpoint(&self.key)?;
        let witnessed = self.witnessed(&note)?.enough()?;
        Ok(Head { note, checkpoint, witnessed })
    }

    /// An entry with its receipt, under a head that is believed.
    pub(super) fn receipt(&self, index: u64) -> Result<(Vec<u8>, nuncio_proto::tlog::Receipt), Failure> {
        let (entry, receipt) = self.files.receipt(index, &self.key)?;
        self.witnessed(&receipt.checkpoint)?.enough()?;
        Ok((entry, receipt))
    }

    /// Who has cosigned a head.
    pub(super) fn witnessed(&self, note: &Note) -> Result<Witnessed, Failure> {
        let cosigned =
            self.policy.cosigned(note).map_err(|error| Failure::Unsound(format!("a witness's line: {error}")))?;
        Ok(Witnessed {
            by: cosigned.by.iter().map(|(witness, at_s)| (witness.key.name().to_owned(), *at_s)).collect(),
            missing: cosigned.missing.iter().map(|witness| name(witness)).collect(),
            is_quorum: cosigned.is_quorum,
        })
    }
}

impl Witnessed {
    /// Those who have cosigned, if they are enough.
    pub(super) fn enough(self) -> Result<Vec<(String, u64)>, Failure> {
        if self.is_quorum { Ok(self.by) } else { Err(Failure::NoQuorum { missing: self.missing.join(", ") }) }
    }
}

/// As the policy and as the key call it.
fn name(witness: &PolicyWitness) -> String {
    let (name, key) = (String::from_utf8_lossy(&witness.name), witness.key.name());
    output::harmless_line(&if name == key { key.to_owned() } else { format!("{name} ({key})") })
}

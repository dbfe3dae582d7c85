//! What a log asks of a witness, and what the witness answers (C2SP tlog-witness).

use core::fmt;

use data_encoding::BASE64;
use nuncio_contracts::registry::limit;

use super::checkpoint::{Checkpoint, CheckpointError};
use super::note::{Note, NoteError, NoteKey, NoteSignature, unbase64};
use super::proof::{ProofError, verify_consistency};
use super::tree::Hash;

/// A witness takes no longer proof.
const PROOF_LEN_MAX: usize = 63;
/// A request at its longest: a line, the proof, the note.
pub const REQUEST_LEN_MAX: usize = 64 + PROOF_LEN_MAX * 45 + limit::NOTE_LEN_MAX;

/// `add-checkpoint`: a head that a witness is to cosign, with the proof that it begins with the one that it cosigned before. Nobody has checked it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// Entries of the head that the witness cosigned last.
    pub old: u64,
    /// The consistency proof from there.
    pub proof: Vec<Hash>,
    /// The log's checkpoint.
    pub checkpoint: Note,
}

/// Why a witness does not cosign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WitnessError {
    /// Not the form of a request, or `old` is larger than the checkpoint.
    #[error("not a request to cosign a checkpoint")]
    Malformed,
    /// No log of this origin is known.
    #[error("the witness knows no log of this origin")]
    Origin,
    /// The log's key has not signed it.
    #[error("the checkpoint is not signed by the key that is known of its log")]
    Signature,
    /// The witness cosigned another size last: this one.
    #[error("the witness cosigned a tree of {0} entries last")]
    Size(u64),
    /// The log has two trees.
    #[error("the checkpoint does not go on from the one that was cosigned last: {0}")]
    Proof(ProofError),
}

impl AddCheckpoint {
    /// Reads a request. Nothing of it is checked.
    ///
    /// # Errors
    /// [`WitnessError::Malformed`].
    // contracts/log.md G15.
    pub fn parse(request: &[u8]) -> Result<Self, WitnessError> {
        let read = || {
            let request = (request.len() <= REQUEST_LEN_MAX).then_some(request)?;
            let (head, checkpoint) = core::str::from_utf8(request).ok()?.split_once("\n\n")?;
            let mut lines = head.split('\n');
            let old = lines.next()?.strip_prefix("old ")?;
            let number = old.parse().ok().filter(|number: &u64| number.to_string() == old)?;
            let hash = |line: &str| unbase64(line)?.try_into().ok();
            let proof = lines.map(hash).collect::<Option<Vec<Hash>>>().filter(|proof| proof.len() <= PROOF_LEN_MAX)?;
            Some((number, proof, checkpoint))
        };
        let (old, proof, checkpoint) = read().ok_or(WitnessError::Malformed)?;
        let checkpoint = Note::parse(checkpoint.as_bytes()).map_err(|_: NoteError| WitnessError::Malformed)?;
        Ok(Self { old, proof, checkpoint })
    }

    /// The origin that the checkpoint names. Nobody has signed that yet.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.checkpoint.text().split('\n').next().unwrap_or_default()
    }

    /// The head that may be cosigned, where `last` is the one that was cosigned last.
    ///
    /// # Errors
    /// Why it may not, in the order in which C2SP tlog-witness has it.
    // contracts/log.md G16.
    pub fn check(&self, log: &NoteKey, last: Option<(u64, Hash)>) -> Result<Checkpoint, WitnessError> {
        let head = Checkpoint::open(&self.checkpoint, log).map_err(|error| match error {
            CheckpointError::Note(_) => WitnessError::Signature,
            CheckpointError::Origin => WitnessError::Origin,
            _ => WitnessError::Malformed,
        })?;
        if self.old > head.size {
            return Err(WitnessError::Malformed);
        }
        let (size, root) = last.unwrap_or((0, super::Edge::default().root()));
        if self.old != size {
            return Err(WitnessError::Size(size));
        }
        if head.size == size && head.root != root {
            return Err(WitnessError::Size(size));
        }
        verify_consistency(size, head.size, &self.proof, &root, &head.root).map_err(WitnessError::Proof)?;
        Ok(head)
    }
}

impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old)?;
        self.proof.iter().try_for_each(|hash| writeln!(f, "{}", BASE64.encode(hash)))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

/// The lines of a witness's answer; `None` where one is no signature line. Nobody has checked them.
#[must_use]
pub fn read_lines(answer: &[u8]) -> Option<Vec<NoteSignature>> {
    let answer = (answer.len() <= limit::NOTE_LEN_MAX).then_some(answer)?;
    let lines = core::str::from_utf8(answer).ok()?.strip_suffix('\n')?.split('\n');
    lines
        .map(NoteSignature::parse)
        .collect::<Option<Vec<_>>>()
        .filter(|lines| lines.len() <= limit::NOTE_SIGNATURES_MAX)
}

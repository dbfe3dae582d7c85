//! A log's promise that it holds an entry, to be checked by anybody, without the log (C2SP tlog-proof).

use core::fmt;

use data_encoding::BASE64;
use nuncio_contracts::registry::limit;

use super::checkpoint::{Checkpoint, CheckpointError};
use super::note::{Note, NoteError, NoteKey, unbase64};
use super::proof::{ProofError, verify_inclusion};
use super::tree::Hash;

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";
/// A tree of 2^64 leaves is not higher.
const PROOF_LEN_MAX: usize = 64;

/// A receipt that nobody has checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Which entry of the log.
    pub index: u64,
    /// From its sibling up to the root's child.
    pub proof: Vec<Hash>,
    /// The log's checkpoint, with all its signatures.
    pub checkpoint: Note,
}

/// Why a receipt is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiptError {
    /// Not the form of a receipt.
    #[error("not a receipt")]
    Malformed,
    /// Its checkpoint is not believed.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Its proof proves nothing.
    #[error(transparent)]
    Proof(#[from] ProofError),
}

impl Receipt {
    /// Reads a receipt. Nothing of it is checked.
    ///
    /// # Errors
    /// [`ReceiptError::Malformed`].
    // contracts/log.md G13.
    pub fn parse(receipt: &[u8]) -> Result<Self, ReceiptError> {
        let read = || {
            let receipt = (receipt.len() <= limit::RECEIPT_LEN_MAX).then_some(receipt)?;
            let (head, checkpoint) = core::str::from_utf8(receipt).ok()?.split_once("\n\n")?;
            let mut lines = head.split('\n').peekable();
            lines.next().filter(|line| *line == FIRST_LINE)?;
            if let Some(extra) = lines.peek().and_then(|line| line.strip_prefix("extra ")) {
                // Nothing vouches for it.
                unbase64(extra)?;
                lines.next();
            }
            let index = lines.next()?.strip_prefix("index ")?;
            let number = index.parse().ok().filter(|number: &u64| number.to_string() == index)?;
            let hash = |line: &str| unbase64(line)?.try_into().ok();
            let proof = lines.map(hash).collect::<Option<Vec<Hash>>>().filter(|proof| proof.len() <= PROOF_LEN_MAX)?;
            Some((number, proof, checkpoint))
        };
        let (index, proof, checkpoint) = read().ok_or(ReceiptError::Malformed)?;
        let checkpoint = Note::parse(checkpoint.as_bytes()).map_err(|_: NoteError| ReceiptError::Malformed)?;
        Ok(Self { index, proof, checkpoint })
    }

    /// The head of the log that holds this entry.
    ///
    /// # Errors
    /// Why the receipt proves nothing.
    // contracts/log.md G14.
    pub fn verify(&self, entry: &[u8], log: &NoteKey) -> Result<Checkpoint, ReceiptError> {
        let head = Checkpoint::open(&self.checkpoint, log)?;
        verify_inclusion(self.index, head.size, entry, &self.proof, &head.root)?;
        Ok(head)
    }
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{FIRST_LINE}\nindex {}\n", self.index)?;
        self.proof.iter().try_for_each(|hash| writeln!(f, "{}", BASE64.encode(hash)))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

//! A log's head: its name, its size, its root (C2SP tlog-checkpoint).

use data_encoding::BASE64;

use super::cosignature::cosigned_at;
use super::note::{KeyKind, Note, NoteError, NoteKey, unbase64};
use super::tree::Hash;
use crate::crypto::SigningKey;

/// The head of a log at one size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name, and its key's.
    pub origin: String,
    /// Entries.
    pub size: u64,
    /// The tree's root.
    pub root: Hash,
}

/// Why a checkpoint is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The note is not taken.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// Its text is not a checkpoint's.
    #[error("the note is not a checkpoint")]
    Malformed,
    /// It is of another log.
    #[error("the checkpoint is of another log")]
    Origin,
}

impl Checkpoint {
    /// The text that is signed.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, BASE64.encode(&self.root))
    }

    /// Reads a text. Extension lines are passed over: no auditor could check them.
    ///
    /// # Errors
    /// [`CheckpointError::Malformed`].
    // contracts/log.md G10.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let read = || {
            let mut lines = text.strip_suffix('\n')?.split('\n');
            let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
            if origin.is_empty() || lines.any(str::is_empty) {
                return None;
            }
            let number: u64 = size.parse().ok().filter(|number: &u64| number.to_string() == size)?;
            let root = unbase64(root)?.try_into().ok()?;
            Some(Self { origin: origin.to_owned(), size: number, root })
        };
        read().ok_or(CheckpointError::Malformed)
    }

    /// The note of a log's own key; `None` for a name that no note can hold.
    #[must_use]
    pub fn sign(&self, key: &NoteKey, signer: &SigningKey) -> Option<Note> {
        Note::new(self.text()).map(|note| note.signed(key, signer))
    }

    /// The head that a log has signed, by the key whose name is the log's.
    ///
    /// # Errors
    /// Why it is not believed.
    // contracts/log.md G11: authenticate, then read.
    pub fn open(note: &Note, log: &NoteKey) -> Result<Self, CheckpointError> {
        match log.kind() {
            KeyKind::MlDsa44 => drop(cosigned_at(note, log)?),
            _ => note.verify(log)?,
        }
        let checkpoint = Self::parse(note.text())?;
        if checkpoint.origin == log.name() { Ok(checkpoint) } else { Err(CheckpointError::Origin) }
    }
}

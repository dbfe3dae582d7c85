//! A session that audits (contracts/audit.md section 6).

use super::Session;
use crate::audit::{KeptOpening, commitment_key};
use crate::letter::Letter;
use crate::peer::AUDITS;

impl Session {
    /// Whether what is said in it is written down at both ends (contracts/audit.md section 6).
    #[must_use]
    pub const fn audits(&self) -> bool {
        self.parameters & AUDITS != 0
    }

    /// What opens the commitment of a letter that is sealed next.
    pub(crate) fn next_opening(&self, letter: &Letter) -> Option<KeptOpening> {
        let chain = self.ratchet.sending()?;
        Some(KeptOpening::of(commitment_key(&chain.mk), self.header(chain.n)?.to_bytes().to_vec(), letter, self.peer()))
    }
}

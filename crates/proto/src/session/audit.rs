//! A session that audits (contracts/audit.md section 6).

use super::Session;
use crate::audit::{commitment, commitment_key};
use crate::peer::AUDITS;

impl Session {
    /// Whether what is said in it is written down at both ends (contracts/audit.md section 6).
    #[must_use]
    pub const fn audits(&self) -> bool {
        self.parameters & AUDITS != 0
    }

    /// The commitment of a letter that is sealed next.
    pub(crate) fn next_commitment(&self, content: &[u8]) -> Option<[u8; 32]> {
        let (chain, _, mk) = self.ratchet.send_step()?;
        Some(commitment(&commitment_key(&mk), &self.header(chain.n)?.to_bytes(), content))
    }
}

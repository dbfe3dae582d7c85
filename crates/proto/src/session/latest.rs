//! Which tokens a session may name by their hashes.

use std::collections::VecDeque;

use nuncio_contracts::registry::limit;

use crate::token::TokenHash;

/// The latest tokens of a session, by their hashes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Latest(VecDeque<TokenHash>);

impl Latest {
    pub(crate) fn has(&self, hash: &TokenHash) -> bool {
        self.0.contains(hash)
    }

    pub(crate) fn note(&mut self, hash: TokenHash) {
        self.forget(&hash);
        self.0.push_back(hash);
        if self.0.len() > limit::SESSION_TOKENS_MAX {
            self.0.pop_front();
        }
    }

    pub(crate) fn forget(&mut self, hash: &TokenHash) {
        self.0.retain(|known| known != hash);
    }
}

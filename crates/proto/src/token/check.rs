//! What a genuine token allows a letter, here and now.

use std::collections::BTreeSet;

use nuncio_contracts::registry::time;

use super::{Denial, Genuine, Receiver, Scope, Thumbprint};
use crate::time::UnixMillis;

/// The letter that a token came with, and what its receiver knows.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'a> {
    /// The time.
    pub now: UnixMillis,
    /// The receiver's trust domain.
    pub domain: &'a str,
    /// The letter's sender, who was authenticated, by its key's thumbprint.
    pub peer: &'a Thumbprint,
    /// Whom the letter is for: the receiver, or a channel of which it is a member ([`Receiver::of`]).
    pub to: &'a Receiver,
    /// Transactions that were revoked.
    pub revoked: &'a BTreeSet<String>,
    /// What the receiver's policy wants for a letter of this kind.
    pub wanted: &'a Scope,
    /// What a token is bound to ([`Letter::bound_content`](crate::letter::Letter::bound_content)); looked at only for one that is.
    pub content: &'a [u8],
    /// Who was the first to come with a token of this `jti`, if one came.
    pub first_seen_from: Option<&'a Thumbprint>,
}

/// What a letter may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant<'a> {
    token: &'a Genuine,
}

impl Grant<'_> {
    /// The transaction.
    #[must_use]
    pub fn transaction(&self) -> &str {
        &self.token.claims.txn
    }

    /// For whom.
    #[must_use]
    pub fn principal(&self) -> &str {
        &self.token.claims.sub
    }

    /// For what.
    #[must_use]
    pub const fn scope(&self) -> &Scope {
        &self.token.claims.scope
    }

    /// How often it may still be handed on.
    #[must_use]
    pub const fn hops_left(&self) -> u8 {
        self.token.hops_left()
    }

    /// The token.
    #[must_use]
    pub const fn token(&self) -> &Genuine {
        self.token
    }
}

impl Genuine {
    /// Checks all that depends on the letter, in the order of contracts/token.md section 3. It is done for every letter, however well the token
    /// is known.
    ///
    /// # Errors
    /// The first step that fails.
    pub fn check(&self, at: &Circumstances<'_>) -> Result<Grant<'_>, Denial> {
        let claims = &self.claims;
        if claims.aud != at.domain {
            return Err(Denial::Audience);
        }
        self.check_time(at.now)?;
        if claims.cnf != *at.peer {
            return Err(Denial::Sender);
        }
        if claims.hop.to != *at.to {
            return Err(Denial::Receiver);
        }
        if claims.hop.n > claims.hop.max {
            return Err(Denial::Hops);
        }
        if at.revoked.contains(&claims.txn) {
            return Err(Denial::Revoked);
        }
        if !claims.scope.covers(at.wanted) {
            return Err(Denial::Scope);
        }
        if claims.hop.pay.as_ref().is_some_and(|pay| !pay.is_of(at.content)) {
            return Err(Denial::Payload);
        }
        if at.first_seen_from.is_some_and(|first| first != at.peer) {
            return Err(Denial::Sender);
        }
        Ok(Grant { token: self })
    }

    fn check_time(&self, now: UnixMillis) -> Result<(), Denial> {
        let (iat, exp) = (self.claims.iat.saturating_mul(1_000), self.claims.exp.saturating_mul(1_000));
        if exp.saturating_add(time::TOKEN_SKEW) <= now.0 {
            return Err(Denial::Expired);
        }
        if iat >= now.0.saturating_add(time::TOKEN_SKEW) {
            return Err(Denial::Early);
        }
        let lives = exp.checked_sub(iat).is_some_and(|life| (1..=time::TOKEN_LIFE_MAX).contains(&life));
        if lives { Ok(()) } else { Err(Denial::Life) }
    }
}

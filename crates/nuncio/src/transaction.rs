//! What a program does in the name of somebody: transactions that it begins, and what letters of others may do.

use core::fmt;
use std::sync::Arc;

use nuncio_proto::time::UnixMillis;
use nuncio_proto::token::{Genuine, Receiver, Scope};

/// A transaction in which this agent may act: begun with [`crate::Agent::begin`], or gone on with from a letter's [`Grant`].
///
/// It is worth nothing to anybody else: its token is bound to this agent's key. It lives some minutes; letters are sent under it with
/// [`crate::Message::under`].
#[derive(Clone, PartialEq, Eq)]
pub struct Transaction {
    pub(crate) token: Arc<Genuine>,
}

/// For whom a transaction is begun: what the trust domain's token service is shown.
#[derive(Clone)]
#[non_exhaustive]
pub enum Subject {
    /// An access token (RFC 9068) of an issuer that the token service knows.
    AccessToken(String),
    /// Another JWT of such an issuer.
    Jwt(String),
    /// An ID token (OpenID Connect) of such an issuer.
    IdToken(String),
    /// This agent's own word, signed with its key, that it acts for this principal.
    SelfSigned(String),
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AccessToken(_) => f.write_str("AccessToken(..)"),
            Self::Jwt(_) => f.write_str("Jwt(..)"),
            Self::IdToken(_) => f.write_str("IdToken(..)"),
            Self::SelfSigned(principal) => write!(f, "SelfSigned({principal})"),
        }
    }
}

/// What a letter may do: its token was verified before it was delivered.
#[derive(Clone, PartialEq, Eq)]
pub struct Grant {
    token: Arc<Genuine>,
}

impl Transaction {
    /// Goes on in the transaction of a token that was delivered, or issued, to this agent: what [`Grant::token`] and [`Transaction::token`] gave.
    /// `None` for what is no transaction token. Whether it is genuine is seen by the token service when it is exchanged.
    #[must_use]
    pub fn from_token(token: &str) -> Option<Self> {
        Genuine::kept(token.as_bytes()).map(|token| Self { token: Arc::new(token) })
    }

    /// Which transaction.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.token.claims().txn
    }

    /// For whom.
    #[must_use]
    pub fn principal(&self) -> &str {
        &self.token.claims().sub
    }

    /// For what.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.token.claims().scope
    }

    /// How often it may still be handed on.
    #[must_use]
    pub fn hops_left(&self) -> u8 {
        self.token.hops_left()
    }

    /// Until when letters can be sent under it.
    #[must_use]
    pub fn expires(&self) -> UnixMillis {
        UnixMillis(self.token.claims().exp.saturating_mul(1_000))
    }

    /// The token itself, for a tool of this very agent. It is not for logs.
    #[must_use]
    pub fn token(&self) -> &str {
        self.token.text()
    }
}

impl Grant {
    pub(crate) const fn new(token: Arc<Genuine>) -> Self {
        Self { token }
    }

    /// In which transaction.
    #[must_use]
    pub fn transaction(&self) -> &str {
        &self.token.claims().txn
    }

    /// For whom.
    #[must_use]
    pub fn principal(&self) -> &str {
        &self.token.claims().sub
    }

    /// Every workload that acted in it so far, the first first; the last is the sender.
    #[must_use]
    pub fn chain(&self) -> &[String] {
        &self.token.claims().req_wl_chain
    }

    /// Who acts for the principal (RFC 8693 section 4.1), if the token says so.
    #[must_use]
    pub fn actors(&self) -> Option<serde_json::Value> {
        serde_json::to_value(self.token.claims().act.as_ref()?).ok()
    }

    /// For what.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.token.claims().scope
    }

    /// Details that stay as they are through the whole transaction.
    #[must_use]
    pub fn details(&self) -> Option<serde_json::Value> {
        serde_json::to_value(self.token.claims().tctx.as_ref()?).ok()
    }

    /// The environment of the request that began it.
    #[must_use]
    pub fn context(&self) -> Option<serde_json::Value> {
        serde_json::to_value(self.token.claims().rctx.as_ref()?).ok()
    }

    /// How often the transaction may still be handed on.
    #[must_use]
    pub fn hops_left(&self) -> u8 {
        self.token.hops_left()
    }

    /// The receiver that the token names: this agent, or the channel of the letter. What is for a channel cannot be gone on with.
    #[must_use]
    pub fn receiver(&self) -> Receiver {
        self.token.claims().hop.to
    }

    /// Whether it is bound to this one letter.
    #[must_use]
    pub fn is_of_this_letter(&self) -> bool {
        self.token.claims().hop.pay.is_some()
    }

    /// Until when it can be gone on with.
    #[must_use]
    pub fn expires(&self) -> UnixMillis {
        UnixMillis(self.token.claims().exp.saturating_mul(1_000))
    }

    /// The transaction, to go on in it: letters of this agent to others.
    #[must_use]
    pub fn go_on(&self) -> Transaction {
        Transaction { token: Arc::clone(&self.token) }
    }

    /// The token itself, for a tool of this very agent. It is not for logs.
    #[must_use]
    pub fn token(&self) -> &str {
        self.token.text()
    }
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Transaction({}, {} for {})", self.id(), self.scope(), self.principal())
    }
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Grant({}, {} for {})", self.transaction(), self.scope(), self.principal())
    }
}

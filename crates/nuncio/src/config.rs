//! What an agent is opened with.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use nuncio_proto::invitation::Invitation;
use nuncio_proto::peer::AuditPolicy;
use nuncio_proto::secret::Key;
use nuncio_proto::step::Op;
use nuncio_proto::token::Rule;
use zeroize::Zeroizing;

/// How the store of a home is unlocked.
#[derive(Clone, Debug, Default)]
pub enum Unlock {
    /// The key file in the home (`key`, mode 0600); made with the home.
    #[default]
    KeyFile,
    /// A key file elsewhere.
    KeyFileAt(PathBuf),
    /// A passphrase, through Argon2id.
    Passphrase(Zeroizing<String>),
    /// 32 bytes of the caller's own.
    Key(Key),
}

/// What an agent is opened with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Directory with identity, sessions and letters. Made, with a new identity, if it is not there and `create` is set.
    pub home: PathBuf,
    /// How its store is unlocked.
    pub unlock: Unlock,
    /// UDP address for QUIC. `None` takes no connections and dials from any port.
    pub listen: Option<SocketAddr>,
    /// `host:port` at which others reach this agent, for invitations; by default the address it listens on.
    pub advertise: Vec<String>,
    /// Whether first letters of agents that were not added are taken. Off unless said in words.
    pub accept_strangers: bool,
    /// Whether letters without a transaction token are delivered. Off unless said in words.
    pub letters_without_token: bool,
    /// Whether letters with a token need a hop proof.
    pub wants_proof: bool,
    /// What letters need of their tokens.
    pub rules: Vec<Rule>,
    /// The trust domain whose tokens are taken and asked for.
    pub trust: Option<TrustDomain>,
    /// Whether sessions audit, and what becomes of letters when the log cannot be reached for long. It needs a trust domain: its node keeps the log.
    pub audit: AuditPolicy,
    /// Whether frames wait for this agent at the trust domain's node while it is away, and strangers claim its bundle there. It needs a trust domain, whose
    /// policy names this agent. Off unless said in words.
    pub mailbox: bool,
    /// Whether messages to services are taken from the start: [`crate::Agent::serve_calls`].
    pub serve_calls: bool,
    /// Whether what only reads is asked, and answered, without letters (contracts/query.md). On unless said in words.
    pub queries: bool,
    /// Whether agents that were not added are heard when they ask to be let in: [`crate::Agent::knocks`]. Off unless said in words.
    pub hear_knocks: bool,
    /// Whether a home that is not there is made.
    pub create: bool,
    /// Sees the writes of every commit before it is made: for the bench that replays them.
    #[doc(hidden)]
    pub trace: Option<Trace>,
}

/// A trust domain, and the node of its token service.
#[derive(Clone, Debug)]
pub struct TrustDomain {
    /// Its name: `aud` of its tokens.
    pub domain: String,
    /// The node: who, and where.
    pub node: Invitation,
}

/// What sees the writes of every commit.
#[doc(hidden)]
#[derive(Clone)]
pub struct Trace(Arc<Watch>);

type Watch = dyn Fn(&[Op]) + Send + Sync;

impl Trace {
    /// Calls this with the writes of each commit.
    #[must_use]
    pub fn new(watch: impl Fn(&[Op]) + Send + Sync + 'static) -> Self {
        Self(Arc::new(watch))
    }

    pub(crate) fn see(&self, ops: &[Op]) {
        (self.0)(ops);
    }
}

impl core::fmt::Debug for Trace {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Trace(..)")
    }
}

impl Config {
    /// A home with a key file, made if it is not there; no listening, no strangers.
    #[must_use]
    pub fn new(home: impl Into<PathBuf>) -> Self {
        Self {
            home: home.into(),
            unlock: Unlock::KeyFile,
            listen: None,
            advertise: Vec::new(),
            accept_strangers: false,
            letters_without_token: false,
            wants_proof: false,
            rules: Vec::new(),
            trust: None,
            audit: AuditPolicy::default(),
            mailbox: false,
            serve_calls: false,
            queries: true,
            hear_knocks: false,
            create: true,
            trace: None,
        }
    }

    /// Listens for peers on a UDP address; port 0 takes a free one.
    #[must_use]
    pub fn listen(self, addr: SocketAddr) -> Self {
        Self { listen: Some(addr), ..self }
    }

    /// Delivers letters that carry no transaction token, unless a rule wants a scope of them. Without this every letter needs a token, but for answers
    /// to [`crate::Agent::request`].
    #[must_use]
    pub fn letters_without_token(self) -> Self {
        Self { letters_without_token: true, ..self }
    }

    /// Delivers letters that the rule names only with a token of this scope.
    #[must_use]
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Takes tokens of a trust domain, and asks its node for them; the node's invitation is the line that it prints.
    #[must_use]
    pub fn trust(self, domain: impl Into<String>, node: Invitation) -> Self {
        Self { trust: Some(TrustDomain { domain: domain.into(), node }), ..self }
    }

    /// Writes down, signed, what happens in sessions, and has the trust domain's node log it (contracts/audit.md).
    #[must_use]
    pub fn audit(self, audit: AuditPolicy) -> Self {
        Self { audit, ..self }
    }

    /// Has a mailbox at the trust domain's node (contracts/mailbox.md), and lists its bundle and one-time prekeys there.
    #[must_use]
    pub fn mailbox(self) -> Self {
        Self { mailbox: true, ..self }
    }

    /// Takes messages to services: what they may do is decided by who serves them, and not by tokens alone.
    #[must_use]
    pub fn serve_calls(self) -> Self {
        Self { serve_calls: true, ..self }
    }

    /// Asks and answers everything by letters.
    #[must_use]
    pub fn without_queries(self) -> Self {
        Self { queries: false, ..self }
    }

    /// Hears agents that were not added when they ask to be let in.
    #[must_use]
    pub fn hear_knocks(self) -> Self {
        Self { hear_knocks: true, ..self }
    }

    /// Unlocks the store by other means than the home's key file.
    #[must_use]
    pub fn unlock(self, unlock: Unlock) -> Self {
        Self { unlock, ..self }
    }
}

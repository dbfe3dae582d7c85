//! What a node is started with.

use std::net::SocketAddr;
use std::path::PathBuf;

use nuncio_store::Kek;

/// What a node is started with. Everything that can change while it runs is in the policy file.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Directory with identity, keys and records, made by [`crate::init`].
    pub home: PathBuf,
    /// What opens its store.
    pub kek: Kek,
    /// The policy file.
    pub policy: PathBuf,
    /// TCP address for HTTP; port 0 takes a free one. Without `tls` loopback alone.
    pub tcp: Option<SocketAddr>,
    /// Certificate for TCP.
    pub tls: Option<Tls>,
    /// UDP address for QUIC; port 0 takes a free one.
    pub quic: Option<SocketAddr>,
    /// Records are left in the store, for tests that look at them.
    #[cfg(test)]
    pub(crate) records_stay: bool,
}

/// A certificate chain and its private key, PEM files.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The chain, the server's own certificate first.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl Config {
    /// Without an address yet.
    #[must_use]
    pub fn new(home: impl Into<PathBuf>, kek: Kek, policy: impl Into<PathBuf>) -> Self {
        Self {
            home: home.into(),
            kek,
            policy: policy.into(),
            tcp: None,
            tls: None,
            quic: None,
            #[cfg(test)]
            records_stay: false,
        }
    }
}

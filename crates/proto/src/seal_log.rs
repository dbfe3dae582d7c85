//! A record of every seal, for the campaign that kills agents and then looks for a key used twice. Only hashes are recorded, and only in builds with
//! the feature `seal-log`; without it nothing here does anything.
//!
//! ```text
//!   header <key hash> <nonce> <frame hash>     a header key and its nonce
//!   body <key hash> <nonce> <frame hash>       a message key
//!   sent <frame hash>                          the frame was handed to the network
//! ```

#[cfg(feature = "seal-log")]
mod log {
    use std::sync::OnceLock;

    use data_encoding::HEXLOWER;

    type Watch = Box<dyn Fn(&str) + Send + Sync>;

    static WATCH: OnceLock<Watch> = OnceLock::new();

    /// Hands every line to this from now on; the first caller wins.
    pub fn watch(with: impl Fn(&str) + Send + Sync + 'static) {
        drop(WATCH.set(Box::new(with)));
    }

    fn hash(bytes: &[u8]) -> String {
        HEXLOWER.encode(&crate::crypto::sha256(&[bytes]))
    }

    /// A frame was sealed: the line's first word, the key, the nonce.
    pub(crate) fn sealed(what: &str, key: &crate::secret::Key, nonce: &[u8], frame: &[u8]) {
        if let Some(watch) = WATCH.get() {
            watch(&format!("{what} {} {} {}\n", hash(key.expose()), HEXLOWER.encode(nonce), hash(frame)));
        }
    }

    /// A frame was handed to the network.
    pub fn sent(frame: &[u8]) {
        if let Some(watch) = WATCH.get() {
            watch(&format!("sent {}\n", hash(frame)));
        }
    }
}

#[cfg(not(feature = "seal-log"))]
mod log {
    pub(crate) const fn sealed(_: &str, _: &crate::secret::Key, _: &[u8], _: &[u8]) {}

    /// Does nothing without the feature `seal-log`.
    pub const fn sent(_: &[u8]) {}
}

pub(crate) use log::sealed;
pub use log::sent;
#[cfg(feature = "seal-log")]
pub use log::watch;

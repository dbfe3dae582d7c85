//! Key-encryption keys: what a person or a program opens a store with.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use nuncio_contracts::registry::label;
use nuncio_proto::crypto;
use nuncio_proto::secret::Key;
use zeroize::Zeroizing;

use crate::durable::sync_dir;
use crate::error::{KeyFault, StoreError};

const KEY_LEN: usize = 32;
pub(super) const SALT_LEN: usize = 16;

/// Widest costs that are taken from a file, so that a hostile one cannot ask for all memory: 1 GiB, 16 passes, 8 lanes.
const MAX_COST: Argon2Cost = Argon2Cost { memory_kib: 1 << 20, passes: 16, lanes: 8 };

/// What a passphrase costs to try (RFC 9106). The default is 64 MiB, three passes, one lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argon2Cost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl Default for Argon2Cost {
    fn default() -> Self {
        Self { memory_kib: 64 << 10, passes: 3, lanes: 1 }
    }
}

impl Argon2Cost {
    pub(super) const NONE: Self = Self { memory_kib: 0, passes: 0, lanes: 0 };

    fn is_within_bounds(self) -> bool {
        self.memory_kib <= MAX_COST.memory_kib && self.passes <= MAX_COST.passes && self.lanes <= MAX_COST.lanes
    }
}

/// A key-encryption key. Printed as `Kek(..)`.
#[derive(Clone)]
pub struct Kek(Source);

#[derive(Clone)]
enum Source {
    Key(Key),
    Passphrase { bytes: Zeroizing<Vec<u8>>, cost: Argon2Cost },
}

impl Kek {
    /// A caller's own key: 32 bytes that are random already.
    #[must_use]
    pub fn from_key(key: Key) -> Self {
        Self(Source::Key(key))
    }

    /// A passphrase, through Argon2id at the default cost.
    #[must_use]
    pub fn passphrase(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self::passphrase_with_cost(bytes, Argon2Cost::default())
    }

    /// A passphrase at another cost. The cost is stored with the file and used when it is opened; this one counts when a recipient is added.
    #[must_use]
    pub fn passphrase_with_cost(bytes: Zeroizing<Vec<u8>>, cost: Argon2Cost) -> Self {
        Self(Source::Passphrase { bytes, cost })
    }

    /// Makes a key file of 32 random bytes, mode 0600, on the device when this returns. Never overwrites one.
    pub fn create_key_file(path: &Path) -> Result<Self, StoreError> {
        let key = Key::new(random()?);
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .and_then(|mut file| file.write_all(key.expose()).and_then(|()| file.sync_all()))
            .map_err(|e| StoreError::io("make", path, e))?;
        path.parent().map_or(Ok(()), sync_dir)?;
        Ok(Self::from_key(key))
    }

    /// Reads a key file. Refused when others can read it or when it is not 32 bytes.
    pub fn read_key_file(path: &Path) -> Result<Self, StoreError> {
        let failed = |e| StoreError::io("read", path, e);
        let mode = fs::metadata(path).map_err(failed)?.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(StoreError::key(path, KeyFault::OthersCanRead(mode)));
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(KEY_LEN + 1));
        let limit = u64::try_from(KEY_LEN + 1).unwrap_or(u64::MAX);
        File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)).map_err(failed)?;
        Key::from_slice(&bytes).map(Self::from_key).ok_or_else(|| StoreError::key(path, KeyFault::NotAKey))
    }

    fn kind(&self) -> RecipientKind {
        match self.0 {
            Source::Key(_) => RecipientKind::Key,
            Source::Passphrase { .. } => RecipientKind::Passphrase,
        }
    }

    /// The key that wraps the root key for this recipient.
    fn wrapping_key(&self, salt: &[u8; SALT_LEN], cost: Argon2Cost) -> Result<Key, KeyFault> {
        let secret = match &self.0 {
            Source::Key(key) => key.clone(),
            Source::Passphrase { bytes, .. } => stretch(bytes, salt, cost)?,
        };
        Ok(derive(&secret, salt, label::WRAP))
    }
}

impl std::fmt::Debug for Kek {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Kek(..)")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecipientKind {
    Key,
    Passphrase,
}

impl RecipientKind {
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Key => 1,
            Self::Passphrase => 2,
        }
    }

    pub(super) fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Key),
            2 => Some(Self::Passphrase),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Key => "a key file",
            Self::Passphrase => "a passphrase",
        }
    }
}

/// The root key as wrapped for one KEK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Recipient {
    pub(super) kind: RecipientKind,
    pub(super) cost: Argon2Cost,
    pub(super) salt: [u8; SALT_LEN],
    pub(super) root: Wrapped,
}

impl Recipient {
    pub(super) fn seal(kek: &Kek, root: &Key) -> Result<Self, KeyFault> {
        let cost = match &kek.0 {
            Source::Key(_) => Argon2Cost::NONE,
            Source::Passphrase { cost, .. } => *cost,
        };
        let salt = random().map_err(|_| KeyFault::BadCost)?;
        let key = kek.wrapping_key(&salt, cost)?;
        let root = Wrapped::seal(&key, label::WRAP, root).map_err(|_| KeyFault::BadCost)?;
        Ok(Self { kind: kek.kind(), cost, salt, root })
    }

    fn open(&self, kek: &Kek) -> Result<Option<Key>, KeyFault> {
        if kek.kind() != self.kind {
            return Ok(None);
        }
        Ok(self.root.open(&kek.wrapping_key(&self.salt, self.cost)?, label::WRAP))
    }
}

/// The root key, if the KEK is one of the recipients'.
pub(super) fn open_root(kek: &Kek, recipients: &[Recipient]) -> Result<Key, KeyFault> {
    for recipient in recipients {
        if let Some(root) = recipient.open(kek)? {
            return Ok(root);
        }
    }
    let mut names: Vec<_> = recipients.iter().map(|recipient| recipient.kind.name()).collect();
    names.dedup();
    Err(KeyFault::WrongKey(names.join(" or ")))
}

/// A key sealed under another key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrapped {
    pub(super) nonce: [u8; 24],
    pub(super) sealed: [u8; KEY_LEN],
    pub(super) tag: [u8; 16],
}

impl Wrapped {
    pub(super) fn seal(under: &Key, ad: &[u8], key: &Key) -> Result<Self, StoreError> {
        let nonce = random()?;
        let mut sealed = *key.expose();
        let tag = crypto::xseal_in_place(under.expose(), &nonce, ad, &mut sealed);
        Ok(Self { nonce, sealed, tag })
    }

    pub(super) fn open(&self, under: &Key, ad: &[u8]) -> Option<Key> {
        let mut key = Zeroizing::new(self.sealed);
        crypto::xopen_in_place(under.expose(), &self.nonce, ad, key.as_mut_slice(), &self.tag).ok()?;
        Some(Key::new(*key))
    }
}

pub(super) fn derive(from: &Key, salt: &[u8], label: &[u8]) -> Key {
    let mut key = Zeroizing::new([0; KEY_LEN]);
    crypto::hkdf_sha256(salt, from.expose(), label, key.as_mut_slice());
    Key::new(*key)
}

fn stretch(passphrase: &[u8], salt: &[u8; SALT_LEN], cost: Argon2Cost) -> Result<Key, KeyFault> {
    if !cost.is_within_bounds() {
        return Err(KeyFault::BadCost);
    }
    let params =
        argon2::Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(KEY_LEN)).map_err(|_| KeyFault::BadCost)?;
    let mut key = Zeroizing::new([0; KEY_LEN]);
    argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params)
        .hash_password_into(passphrase, salt, key.as_mut_slice())
        .map_err(|_| KeyFault::BadCost)?;
    Ok(Key::new(*key))
}

pub(super) fn random<const N: usize>() -> Result<[u8; N], StoreError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(StoreError::Random)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answer is the reference implementation's (argon2-cffi), so that no newer library locks anybody out.
    #[test]
    fn a_passphrase_is_stretched_as_rfc_9106_says() {
        let cost = Argon2Cost { memory_kib: 64, passes: 3, lanes: 2 };
        let key = stretch(b"password", &[7; SALT_LEN], cost).unwrap();
        let hex: String = key.expose().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "55c713757efc9a6f213ef1e5e3914ae5198dbf4d5ea8cd5aff0b4d1ed1bf072b");
    }
}

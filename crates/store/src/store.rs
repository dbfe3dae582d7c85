//! A home's store: lock, keys, engine and vault together.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nuncio_proto::step::Op;

use crate::durable::sync_dir;
use crate::engine::{Engine, Visit, key_of};
use crate::error::{Refusal, RowFault, StoreError};
use crate::keys::{Kek, KeyFile};
use crate::layout::{Home, copies_on_write};
use crate::rest::Vault;
use crate::sled::SledEngine;
use crate::turn::turn;

/// The tree of the store's own records.
pub const OWN_TREE: u8 = b'!';
const FORMAT_KEY: &[u8] = b"!format";
/// Version of what the rows mean together; a row's own form has its own.
const FORMAT: u32 = 1;

/// Bytes copied to a backup in one commit.
const BACKUP_BATCH_BYTES: usize = 1 << 18;

type OpenEngine = fn(&Path) -> Result<SledEngine, StoreError>;

/// An open store. It is an [`Engine`] of plain values; share it in an [`std::sync::Arc`] and give the [`crate::Writer`] a clone.
#[derive(Debug)]
pub struct Store {
    vault: Vault<SledEngine>,
    keys: Mutex<KeyFile>,
    home: Home,
}

/// What [`Store::check`] found.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Checkup {
    /// Rows that opened, by the first byte of their key.
    pub rows: BTreeMap<u8, u64>,
    /// Bytes of all values, as they are sealed.
    pub sealed_bytes: u64,
    /// Rows that did not open.
    pub bad: u64,
    /// The first of them.
    pub first_bad: Option<StoreError>,
}

impl Store {
    /// Makes a store in a directory, which may be there but may hold no store. It is whole when its key file is there, which is made last.
    pub fn create(home: &Path, kek: &Kek) -> Result<Self, StoreError> {
        Self::create_with(home, kek, Vec::new())
    }

    /// [`Store::create`], with its first rows: a store that is there has them. What a creation that was cut short left is replaced.
    pub fn create_with(home: &Path, kek: &Kek, mut rows: Vec<Op>) -> Result<Self, StoreError> {
        let home = Home::take(home)?;
        let key_path = home.key_file();
        if key_path.exists() {
            return Err(StoreError::Exists(home.path().to_owned()));
        }
        let unfinished = home.path().join("keys.new");
        if unfinished.exists() {
            // It opens nothing, as its keys were never in place.
            fs::remove_dir_all(home.engine_dir())
                .or_else(fine_if_gone)
                .map_err(|e| StoreError::io("remove", home.path(), e))?;
        }
        let engine = SledEngine::open(&home.engine_dir())?;
        refuse_if_used(&engine, home.path())?;
        remove_if_there(&unfinished)?;
        let keys = KeyFile::create(&unfinished, kek)?;
        let vault = Vault::new(engine, keys.epochs().clone());
        rows.push(Op::Put { key: FORMAT_KEY.to_vec(), value: FORMAT.to_be_bytes().to_vec() });
        vault.commit(&rows)?;
        drop(keys);
        rename(&unfinished, &key_path)?;
        drop(vault);
        Self::open_taken(home, kek, SledEngine::open)
    }

    /// Opens the store of a directory. Finishes an epoch's turn that was cut short.
    pub fn open(home: &Path, kek: &Kek) -> Result<Self, StoreError> {
        Self::open_with(home, kek, SledEngine::open)
    }

    /// For the power-cut harness alone ([`SledEngine::open_without_sync`]).
    #[doc(hidden)]
    pub fn open_without_sync(home: &Path, kek: &Kek) -> Result<Self, StoreError> {
        Self::open_with(home, kek, SledEngine::open_without_sync)
    }

    fn open_with(home: &Path, kek: &Kek, open: OpenEngine) -> Result<Self, StoreError> {
        if !home.join("keys").exists() {
            return Err(StoreError::Missing(home.to_owned()));
        }
        Self::open_taken(Home::take(home)?, kek, open)
    }

    fn open_taken(home: Home, kek: &Kek, open: OpenEngine) -> Result<Self, StoreError> {
        let keys = KeyFile::open(&home.key_file(), kek)?;
        if let Some(file_system) = copies_on_write(home.path()) {
            tracing::warn!(home = %home.path().display(), file_system, "this file system copies on write: old epoch keys may stay on the device");
        }
        let vault = Vault::new(open(&home.engine_dir())?, keys.epochs().clone());
        check_format(&vault)?;
        let is_turning = keys.epochs().old().is_some();
        let store = Self { vault, keys: Mutex::new(keys), home };
        if is_turning {
            store.turn_epoch()?;
        }
        Ok(store)
    }

    /// The directory.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The epoch that new rows are sealed in.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.vault.epoch()
    }

    /// Seals every row anew under a fresh key and destroys the old one: what was overwritten or deleted before is gone with it. The number
    /// of rows. May run beside the writer, which waits for one batch at most.
    pub fn turn_epoch(&self) -> Result<u64, StoreError> {
        turn(&self.vault, &mut self.lock_keys(), &mut |_| {})
    }

    /// Adds a key-encryption key; with `drop_old` it becomes the only one. No row is touched.
    pub fn rekey(&self, add: &Kek, drop_old: bool) -> Result<(), StoreError> {
        self.lock_keys().rekey(add, drop_old)
    }

    /// Opens every row. A row that does not open is counted, and left as it is.
    pub fn check(&self) -> Result<Checkup, StoreError> {
        let mut checkup = Checkup::default();
        self.vault.engine().scan(&[], &mut |key, row| {
            checkup.sealed_bytes += u64::try_from(row.len()).unwrap_or(u64::MAX);
            match (self.vault.read(key, row.to_vec()), key.first()) {
                (Ok(Some(value)), Some(tree)) => {
                    drop(zeroize::Zeroizing::new(value));
                    *checkup.rows.entry(*tree).or_default() += 1;
                }
                (Ok(None), _) => {}
                (Ok(_), None) => checkup.bad += 1,
                (Err(error), _) => {
                    checkup.bad += 1;
                    checkup.first_bad.get_or_insert(error);
                }
            }
            Ok(())
        })?;
        Ok(checkup)
    }

    /// Copies the store, as of one commit, into a directory that holds none: live rows only, sealed as they are, and the key file, all
    /// 0600. Commits wait meanwhile. [`Store::open`] opens the copy with the same KEK.
    pub fn backup(&self, to: &Path) -> Result<(), StoreError> {
        let keys = self.lock_keys();
        let held = self.vault.hold_commits();
        let target = Home::take(to)?;
        if target.key_file().exists() {
            return Err(StoreError::Exists(to.to_owned()));
        }
        let engine = SledEngine::open(&target.engine_dir())?;
        refuse_if_used(&engine, to)?;
        copy_rows(self.vault.engine(), &engine)?;
        drop(engine);
        let unfinished = to.join("keys.new");
        let source = self.home.key_file();
        fs::copy(&source, &unfinished).map_err(|e| StoreError::io("copy the keys to", &unfinished, e))?;
        make_files_private(to)?;
        crate::durable::sync_file(&unfinished)?;
        drop((held, keys));
        rename(&unfinished, &target.key_file())
    }

    fn lock_keys(&self) -> MutexGuard<'_, KeyFile> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine for Store {
    fn commit(&self, ops: &[Op]) -> Result<(), StoreError> {
        if ops.iter().any(|op| key_of(op).first() == Some(&OWN_TREE)) {
            return Err(Refusal::ReservedKey.into());
        }
        self.vault.commit(ops)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.vault.get(key)
    }

    fn scan(&self, prefix: &[u8], each: &mut Visit<'_>) -> Result<(), StoreError> {
        self.vault
            .scan(prefix, &mut |key, value| if key.first() == Some(&OWN_TREE) { Ok(()) } else { each(key, value) })
    }
}

fn check_format<E: Engine>(vault: &Vault<E>) -> Result<(), StoreError> {
    let bytes = vault.get(FORMAT_KEY)?.ok_or_else(|| StoreError::row(FORMAT_KEY, RowFault::Missing))?;
    let found =
        bytes.try_into().map(u32::from_be_bytes).map_err(|_| StoreError::row(FORMAT_KEY, RowFault::Malformed))?;
    if found > FORMAT {
        return Err(StoreError::Newer { what: "the store".to_owned(), found, known: FORMAT });
    }
    Ok(())
}

/// A creation that was cut short leaves an engine with the format record alone, sealed under a key that nobody has.
fn refuse_if_used(engine: &SledEngine, home: &Path) -> Result<(), StoreError> {
    engine.scan(&[], &mut |key, _| {
        if key == FORMAT_KEY { Ok(()) } else { Err(StoreError::Exists(home.to_owned())) }
    })
}

fn copy_rows(from: &SledEngine, to: &SledEngine) -> Result<(), StoreError> {
    let mut batch = Vec::new();
    let mut bytes = 0;
    from.scan(&[], &mut |key, row| {
        bytes += key.len() + row.len();
        batch.push(Op::Put { key: key.to_vec(), value: row.to_vec() });
        if bytes < BACKUP_BATCH_BYTES {
            return Ok(());
        }
        bytes = 0;
        to.commit(&std::mem::take(&mut batch))
    })?;
    to.commit(&batch)
}

fn make_files_private(dir: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::PermissionsExt as _;
    let failed = |e| StoreError::io("restrict", dir, e);
    for entry in fs::read_dir(dir).map_err(failed)? {
        let path: PathBuf = entry.map_err(failed)?.path();
        if path.is_dir() {
            make_files_private(&path)?;
        } else {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
        }
    }
    Ok(())
}

fn remove_if_there(path: &Path) -> Result<(), StoreError> {
    fs::remove_file(path).or_else(fine_if_gone).map_err(|e| StoreError::io("remove", path, e))
}

fn fine_if_gone(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

fn rename(from: &Path, to: &Path) -> Result<(), StoreError> {
    fs::rename(from, to).map_err(|e| StoreError::io("rename", from, e))?;
    to.parent().map_or(Ok(()), sync_dir)
}

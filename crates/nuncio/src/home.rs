//! A home: made once, opened many times.

use std::fs::{DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use nuncio_proto::error::LoadError;
use nuncio_proto::identity::{Identity, Retirement};
use nuncio_proto::ids::AgentId;
use nuncio_proto::peer::{Peer, Record};
use nuncio_proto::rows;
use nuncio_store::{Engine, Kek, Store, StoreError};

use crate::config::{Config, Unlock};
use crate::entropy::{Entropy, now};
use crate::error::Error;

/// Makes a home with a new identity. Returns who it is, and the signed statement that retires it: to be kept offline.
///
/// # Errors
/// A home that exists, randomness that does not come, a disk that cannot be written.
pub fn init(config: &Config) -> Result<(AgentId, Vec<u8>), Error> {
    let mut kept = Vec::new();
    let agent = init_with(config, |statement| {
        kept = statement.to_vec();
        Ok(())
    })?;
    Ok((agent, kept))
}

/// [`init`], which hands the statement over while there is no home yet: a home without its statement is never left behind, whenever this is cut short.
///
/// # Errors
/// As [`init`], and what `keep` says: there is no home then.
pub fn init_with(config: &Config, keep: impl FnOnce(&[u8]) -> Result<(), Error>) -> Result<AgentId, Error> {
    let (_, peer) = create(config, |peer| keep(&Retirement::sign(peer.identity(), None, now())))?;
    Ok(peer.id())
}

/// Reads a statement that retires an identity, and says whose.
///
/// # Errors
/// A statement that its identity has not signed.
pub fn retirement_of(statement: &[u8]) -> Option<AgentId> {
    Retirement::parse(statement).ok().map(|retirement| retirement.agent)
}

fn create(config: &Config, before: impl FnOnce(&Peer) -> Result<(), Error>) -> Result<(Store, Peer), Error> {
    let mut entropy = Entropy::new();
    let identity = Identity::generate(entropy.ready()?)?;
    let (peer, staged) = Peer::create(identity, now(), entropy.ready()?);
    DirBuilder::new().recursive(true).mode(0o700).create(&config.home).map_err(Error::file(&config.home))?;
    // A directory that was there already may be open to others.
    std::fs::set_permissions(&config.home, Permissions::from_mode(0o700)).map_err(Error::file(&config.home))?;
    if is_home(&config.home) {
        return Err(StoreError::Exists(config.home.clone()).into());
    }
    before(&peer)?;
    let store = Store::create_with(&config.home, &kek(config, true)?, staged.ops)?;
    Ok((store, peer))
}

/// Opens a home, or makes it where that is wanted and it is not there.
pub(crate) fn open(config: &Config) -> Result<(Store, Peer), Error> {
    if !is_home(&config.home) {
        return if config.create { create(config, |_| Ok(())) } else { Err(Error::NoHome(config.home.clone())) };
    }
    let store = Store::open(&config.home, &kek(config, false)?)?;
    match load(&store) {
        Err(Error::Load(LoadError::NoIdentity)) if store.get(&[rows::NODE_IDENTITY])?.is_some() => {
            Err(Error::NodeHome(config.home.clone()))
        }
        peer => Ok((store, peer?)),
    }
}

fn is_home(home: &Path) -> bool {
    home.join("keys").exists()
}

fn load(store: &Store) -> Result<Peer, Error> {
    let mut records: Vec<Record> = Vec::new();
    store.scan(&[], &mut |key, value| {
        if key.first().is_some_and(|tree| Peer::loads(*tree)) {
            records.push((key.to_vec(), value.to_vec()));
        }
        Ok(())
    })?;
    let peer = Peer::load(&records, now())?;
    for (_, value) in &mut records {
        zeroize::Zeroize::zeroize(value);
    }
    Ok(peer)
}

fn kek(config: &Config, create: bool) -> Result<Kek, Error> {
    let at = |path: &Path| {
        Ok(if create && !path.exists() { Kek::create_key_file(path)? } else { Kek::read_key_file(path)? })
    };
    match &config.unlock {
        Unlock::KeyFile => at(&config.home.join("key")),
        Unlock::KeyFileAt(path) => at(path),
        Unlock::Passphrase(passphrase) => Ok(Kek::passphrase(zeroize::Zeroizing::new(passphrase.as_bytes().to_vec()))),
        Unlock::Key(key) => Ok(Kek::from_key(key.clone())),
    }
}

//! A node's home: its identity, made once; opened many times.

use std::fs::{DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;

use nuncio_proto::identity::Identity;
use nuncio_proto::ids::AgentId;
use nuncio_store::{Engine as _, Kek, Op, Store};

use crate::audit::{Deed, Record};
use crate::entropy::{Drawn, now, random};
use crate::error::NodeError;
use crate::keys::{Keys, Rotated};
use crate::{policy, rows};

/// Makes a home with a new identity. Keys that sign tokens are made when the policy is known.
///
/// # Errors
/// A home that exists, randomness that does not come, a disk that cannot be written.
pub fn init(home: &Path, kek: &Kek) -> Result<AgentId, NodeError> {
    let identity = Identity::generate(&mut Drawn::new()?)?;
    DirBuilder::new().recursive(true).mode(0o700).create(home).map_err(NodeError::io("make", home.display()))?;
    // A directory that was there already may be open to others.
    std::fs::set_permissions(home, Permissions::from_mode(0o700)).map_err(NodeError::io("close", home.display()))?;
    let store = Store::create(home, kek)?;
    store.commit(&[Op::Put { key: rows::IDENTITY.to_vec(), value: identity.to_bytes() }])?;
    Ok(identity.id())
}

/// Rotates the keys of a home on which no node runs.
///
/// # Errors
/// A home that is in use, no keys yet, or [`NodeError::TooEarly`].
pub fn rotate(home: &Path, kek: &Kek, force: bool) -> Result<Rotated, NodeError> {
    let (store, _) = open(home, kek)?;
    let mut keys = Keys::load(&store)?.ok_or(NodeError::NeverRan)?;
    let now = now();
    let (mut ops, rotated) = keys.rotate(now, force)?;
    ops.push(Record::of_owner(Deed::Rotate, now, &rotated.signs).put(random()?));
    store.commit(&ops)?;
    Ok(rotated)
}

/// Looks whether a policy can be used.
///
/// # Errors
/// What is wrong with it.
pub fn check(policy: &Path) -> Result<(), NodeError> {
    policy::load(policy).map(drop)
}

/// The same, of a policy that is not written yet and would be in a directory.
///
/// # Errors
/// What is wrong with it, in words.
pub fn check_text(policy: &str, beside: &Path) -> Result<(), String> {
    policy::parse(policy, beside).map(drop)
}

/// Whether a name can be a trust domain's (contracts/schema/policy.json).
#[must_use]
pub fn is_domain(name: &str) -> bool {
    (1..=255).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\".contains(&byte))
}

/// Opens a home.
pub(crate) fn open(home: &Path, kek: &Kek) -> Result<(Store, Identity), NodeError> {
    let store = Store::open(home, kek)?;
    let row = store.get(rows::IDENTITY)?.map(zeroize::Zeroizing::new);
    let identity = Identity::from_bytes(&row.ok_or_else(|| NodeError::NoNode(home.to_owned()))?)?;
    Ok((store, identity))
}

//! Where Nuncio keeps things: sealed at rest, and on the device before anyone hears of it.
//!
//! ```text
//!   Staged ──▶ Writer ── groups, coalesces ──▶ Vault ── seals ──▶ Engine ── commits ──▶ the device
//!     ops        │                              keys of            sled (files)
//!   + ticket     │                              the epoch          or memory (tests)
//!                └──── Durable<ticket> ◀──────────── only after the commit has returned
//! ```
//!
//! Three promises, each with a test that fails when it is broken:
//!
//! 1. **Durable before visible.** A [`Durable`] value is made by the one [`Writer`] after the commit that holds its writes is on the
//!    device, and by nobody else. What asks for one cannot be done too early.
//! 2. **Whole or not at all.** A commit is atomic across `kill -9`, a power cut and a full disk ([`Engine`]).
//! 3. **What an epoch sealed dies with its key.** Values are sealed under the data key of a short epoch ([`Vault`]); the engine keeps
//!    superseded bytes readable in its files, so the keys live apart, in a small file that is overwritten in place ([`KeyFile`]).
//!
//! The engine's types do not leave this crate: [`Engine`] is the seam, [`SledEngine`] and [`MemoryEngine`] are behind it.

mod durable;
mod engine;
mod error;
mod keys;
mod layout;
mod memory;
mod reserve;
mod rest;
mod sled;
mod store;
pub mod testing;
mod turn;
mod writer;

pub use engine::{Engine, MAX_KEY_LEN, MAX_VALUE_LEN, Visit};
pub use error::{KeyFault, Refusal, RowFault, StoreError};
pub use keys::{Argon2Cost, EpochKeys, Kek, KeyFile};
pub use layout::Home;
pub use memory::MemoryEngine;
pub use rest::{ROW_OVERHEAD, Vault};
pub use sled::SledEngine;
pub use store::{Checkup, OWN_TREE, Store};
pub use writer::{Backlog, Durable, Staged, Writer, WriterStats};

pub use nuncio_proto::step::Op;

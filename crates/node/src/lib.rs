//! The node of a trust domain: its token service (TxTS), after draft-ietf-oauth-transaction-tokens-11 and contracts/txts.md.
//!
//! ```text
//!   TCP (TLS beyond loopback) ─┐
//!   QUIC, stream kind 4 ───────┼─▶ gate: permission, form, who asks ─▶ routes ─▶ Service ─▶ Ledger ─▶ the device ─▶ answer
//!   node.sock of the owner ────┘          (routes/table.rs)                        │
//!                                                              Policy, Subject, Issue, Replace, Mint
//! ```
//!
//! `Service` knows no HTTP; the routes know no rule. What is answered was written to the store before.

mod anchor;
mod audit;
mod authn;
mod calendars;
mod config;
mod cosigner;
mod decisions;
mod directory;
mod entropy;
mod error;
mod exact;
mod fetch;
mod form;
mod gate;
mod holder;
mod home;
mod jose;
mod keys;
mod ledger;
mod limits;
pub mod log;
mod mailbox;
mod metrics;
mod mint;
mod node;
mod once;
mod page;
mod policy;
mod refusal;
mod request;
mod revoked;
mod routes;
mod rows;
mod scribe;
mod serve;
mod service;
mod statement;
mod subject;
#[doc(hidden)]
pub mod testing;
#[cfg(test)]
mod tests;
pub mod witness;

pub use config::{Config, Tls};
pub use error::NodeError;
pub use home::{check, check_text, init, is_domain, rotate};
pub use keys::Rotated;
pub use node::{LOG_FOLDER, LOG_KEY, Node, OWNER_SOCKET};
pub use rows::tree_name;

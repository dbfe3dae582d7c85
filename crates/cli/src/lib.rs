//! The `nuncio` binary, as a library for its own tests and campaigns.
//!
//! ```text
//!   command ──▶ client::Api ──▶ <home>/api.sock ──▶ local_api ──▶ nuncio::Agent     a daemon runs
//!                    └────────────────────────────▶ local_api ──▶ nuncio::Agent     none runs: the store is opened here
//! ```
//!
//! `nuncio node` runs the trust domain's node (`nuncio_node`) instead; `nuncio-node` is the same without the agent's commands.
//!
//! A command is written once, against the local API (contracts/openapi/local.yaml). Where no daemon runs, the command opens the store itself
//! and asks the very same router without a socket between.

pub mod chaos;
mod cli;
pub mod client;
mod commands;
mod demo;
mod dice;
mod domain;
mod ending;
mod failure;
mod image;
pub mod kills;
mod local_api;
mod logs;
mod output;
pub mod process;
mod seals;
mod settings;
mod span;
mod talk;
mod unlock;
pub mod walls;
pub mod wire;

pub use cli::{main, node_main};
pub use failure::Failure;

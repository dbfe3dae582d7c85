//! People at a gateway: a node, an issuer of logins, the gateway's agent, and an agent behind it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod chat;
mod door;
mod letters;
mod provider;
mod scene;
mod services;
mod silence;
mod task_tools;
mod tasks;

//! The commands, a file each.

pub(crate) mod agent;
pub(crate) mod audit;
pub(crate) mod backup;
pub(crate) mod begin;
pub(crate) mod channel;
pub(crate) mod completions;
pub(crate) mod connect;
pub(crate) mod doctor;
pub(crate) mod done;
pub(crate) mod expose;
pub(crate) mod id;
pub(crate) mod inbox;
pub(crate) mod init;
pub(crate) mod knocks;
mod letting;
pub(crate) mod mailbox;
pub(crate) mod mcp;
pub(crate) mod node;
pub(crate) mod outbox;
pub(crate) mod peers;
pub(crate) mod rekey;
pub(crate) mod request;
pub(crate) mod restore;
pub(crate) mod send;
pub(crate) mod services;
pub(crate) mod sessions;
pub(crate) mod status;

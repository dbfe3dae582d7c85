//! A node from outside: everything goes through its doors; the records are read from its home afterwards.

mod anchor;
mod begin;
mod clients;
mod decisions;
mod deposits;
mod directory;
mod doors;
mod errors;
mod hops;
mod keys;
mod log;
mod mailbox;
mod page;
mod quic;
mod records;
mod retirement;
mod revocation;
mod subjects;
pub(crate) mod support;
mod witness;

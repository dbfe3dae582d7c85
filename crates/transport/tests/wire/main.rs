//! The transport over real sockets on loopback, against itself and against bare QUIC ends that break the rules.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    unreachable_pub
)]

mod crash;
mod flood;
mod frames;
mod identity;
mod streams;
mod support;

//! Drives the real binary: what a person types, what a program asks, what a crash leaves.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::print_stderr
)]

mod a2a;
mod api;
mod audit;
mod bridge;
mod canary;
mod channel;
mod channel_owners;
mod chaos;
mod commands;
mod daemon;
mod demo;
mod errors;
mod gateway;
mod homes;
mod image;
mod kills;
mod languages;
mod mailbox;
mod node;
mod readme;
mod support;
mod walls;
mod words;

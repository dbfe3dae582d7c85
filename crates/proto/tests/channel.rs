//! Channels: each rule of contracts/channel.md, kept and broken.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "a test fails by panicking"
)]

#[path = "channel/forgeries.rs"]
mod forgeries;
#[path = "channel/group.rs"]
mod group;
#[path = "channel/letters.rs"]
mod letters;
#[path = "channel/order.rs"]
mod order;
#[path = "channel/record.rs"]
mod record;
#[path = "channel/succession.rs"]
mod succession;
#[path = "channel/telling.rs"]
mod telling;

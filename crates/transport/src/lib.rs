//! How frames travel: QUIC between agents that are their own keys.
//!
//! ```text
//!   Link ── one UDP socket, dials and accepts
//!     └─ Connection ── one peer, proved by its Ed25519 key (RFC 7250); may change address
//!          ├─ stream kind 1, Frames  ── FrameSender / FrameReceiver: many small frames, in order
//!          ├─ stream kind 2, Large   ── one large payload each, never ahead of a small frame
//!          └─ stream kind 3, Prekeys ── one question, one answer
//! ```
//!
//! This crate knows who sent bytes and nothing of what they mean: whether a peer is welcome, and what a frame holds, is
//! decided above. What it promises is in `contracts/transport.md`; every bound is in [`tuning`].
//!
//! Two things a caller must not conclude:
//!
//! - A successful [`Link::dial`] proves the peer to us, not us to the peer: a server that refuses our key closes the
//!   connection *after* the dialler's handshake is complete. Nothing counts as accepted before the peer's first byte.
//! - A write that returns has been handed to QUIC, not to the peer. Only an acknowledgement inside a frame says that.

mod accept;
mod admission;
mod close;
mod connection;
mod error;
mod frames;
mod identity;
mod link;
mod reset;
mod stream;
pub mod tuning;
mod varint;

pub use close::{CloseCode, CloseReason};
pub use connection::{Connection, ConnectionStats};
pub use error::TransportError;
pub use frames::{FrameReceiver, FrameSender};
pub use link::{Link, LinkConfig, LinkStats};
pub use quinn::{RecvStream, SendStream};
pub use stream::StreamKind;
pub use tuning::Tuning;

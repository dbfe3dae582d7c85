//! How frames travel: QUIC between agents that are their own keys.
//!
//! ```text
//!   Link ── one UDP socket, dials and accepts
//!     └─ Connection ── one peer, proved by its Ed25519 key (RFC 7250); may change address
//!          ├─ stream kind 1, Frames  ── FrameSender / FrameReceiver: many small frames, in order
//!          ├─ stream kind 2, Large   ── one large payload each, never ahead of a small frame
//!          ├─ stream kind 3, Prekeys ── one question, one answer
//!          ├─ stream kind 4, Http    ── requests to a node, where the other end is one
//!          └─ stream kind 6, Queries ── what only reads, asked and answered without letters
//! ```
//!
//! ```
//! use bytes::Bytes;
//! use nuncio_proto::{crypto::SigningKey, ids::AgentId};
//! use nuncio_transport::{CloseCode, FrameReceiver, FrameSender, Link, LinkConfig, StreamKind};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (alice, bob) = (SigningKey::from_seed(&[1; 32]), SigningKey::from_seed(&[2; 32]));
//! let near = Link::bind(LinkConfig::new("127.0.0.1:0".parse()?), &alice)?;
//! let far = Link::bind(LinkConfig::new("127.0.0.1:0".parse()?), &bob)?;
//!
//! let dialling = near.dial(AgentId::from_bytes(bob.public())?, far.local_addr()?);
//! let (to, from) = tokio::join!(dialling, far.accept());
//! let (to, from) = (to?, from.expect("the link is open"));
//! assert_eq!(from.peer(), AgentId::from_bytes(alice.public())?);
//!
//! let (send, _) = to.open(StreamKind::Frames).await?;
//! FrameSender::new(send).send_many(&[Bytes::from("one"), Bytes::from("two")]).await?;
//! let (_, _, recv) = from.accept_stream().await?;
//! let mut frames = Vec::new();
//! FrameReceiver::new(recv).recv_many(&mut frames, 16).await?;
//! assert_eq!(frames, ["one", "two"]);
//! near.close(CloseCode::CLOSED, "done").await;
//! # Ok(())
//! # }
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
mod signatures;
mod stream;
pub mod tuning;
mod varint;
mod web_tls;

pub use close::{CloseCode, CloseReason};
pub use connection::{Connection, ConnectionStats};
pub use error::TransportError;
pub use frames::{FrameReceiver, FrameSender};
pub use link::{Link, LinkConfig, LinkStats};
pub use quinn::{ReadExactError, RecvStream, SendStream};
pub use signatures::AwsLc;
pub use stream::{SERVED_BY_AGENTS, SERVED_BY_NODES, StreamKind};
pub use tuning::Tuning;
pub use web_tls::{WebTlsError, web_tls};

//! Unmodified MCP and A2A over sealed letters (contracts/call.md).
//!
//! ```text
//!   a program ─► front ─► Line ═ letters ═► serving ─► policy ─► service ─► a server
//!             ◄─ events ◄─     ═ letters ═          ◄─ answers ◄─
//! ```
//!
//! A message of either program is one letter, byte for byte. What a protocol needs of the two ends (sessions, resumption, errors) is made here; that a
//! request is done once is made of letters.

mod caller;
mod line;
mod message;

pub use caller::AgentLine;
pub use line::{Heard, HeardWhat, Line, LineError, Say};
pub use message::{Body, Message};

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
#[allow(dead_code, reason = "what serves calls uses it")]
mod config;
#[allow(dead_code, reason = "what serves calls uses it")]
mod jsonrpc;
mod line;
#[allow(dead_code, reason = "what serves calls uses it")]
mod mcp;
mod message;
#[allow(dead_code, reason = "what serves calls uses it")]
mod policy;
#[allow(dead_code, reason = "what serves calls uses it")]
mod service;

pub use caller::AgentLine;
pub use config::{ConfigError, FILE as SERVICES_FILE, allow, expose, withdraw};
pub use line::{Heard, HeardWhat, Line, LineError, Say};
pub use message::{Body, Message};

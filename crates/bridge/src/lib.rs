//! Unmodified MCP and A2A over sealed letters (contracts/call.md).
//!
//! ```text
//!   a program ─► front ─► Line ═ letters ═► serving ─► policy ─► service ─► a server
//!             ◄─ events ◄─     ═ letters ═          ◄─ answers ◄─
//! ```
//!
//! A message of either program is one letter, byte for byte. What a protocol needs of the two ends (sessions, resumption, errors) is made here; that a
//! request is done once is made of letters.

mod a2a;
mod bridge;
mod caller;
mod config;
mod connections;
mod descriptors;
mod files;
mod front;
mod fronts;
mod gateway;
mod hooks;
mod jsonrpc;
mod line;
pub mod local;
mod mcp;
mod message;
mod native;
mod policy;
mod probe;
mod reads;
mod service;
mod serving;
pub mod shim;
mod under;
mod web;

pub use bridge::{Bridge, BridgeError, forget_withdrawn};
pub use caller::AgentLine;
pub use config::{
    ConfigError, FILE as SERVICES_FILE, Offer, ServiceTold, allow, copy_peer, expose, expose_a2a, expose_native,
    forget_peer, offer, told as services, uncopy_peer, withdraw,
};
pub use connections::{Connection, Connections, FILE as CONNECTIONS_FILE, Wants};
pub use descriptors::make_room_for_connections;
pub use files::{check_files, native_services};
pub use front::flush::{Flushing, Mark, Marks};
pub use front::{Front, GRACE_BROKEN, GRACE_ENDED, Guard, Room, serve as serve_fronts};
pub use fronts::{Fronts, NotConnected, connected, disconnected};
pub use gateway::{FILE as GATEWAY_FILE, Gateway, GatewayConfig, GatewayError, routes_to as gateway_routes_to};
pub use hooks::FILE as WEBHOOKS_FILE;
pub use line::{Asks, Heard, HeardWhat, Line, LineError, Say};
pub use message::{Body, Message};
pub use native::Natives;
pub use policy::is_known as is_scope;
pub use probe::{Card, Found, NotFound, Tool, probe, probe_a2a};

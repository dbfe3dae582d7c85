//! One service that runs, and what is its to do.

use std::sync::Arc;

use super::Reason;
use crate::a2a;
use crate::config::{Runs, ServiceConfig, Speaks};
use crate::jsonrpc::{Envelope, NotRead};
use crate::message::Message;
use crate::service::Service;

/// One service that runs.
pub(super) struct Offered {
    pub(super) config: ServiceConfig,
    pub(super) service: Arc<Service>,
}

impl Offered {
    /// Whether what a message would have done is the service's to do, whoever asks; and whether it names a callback.
    ///
    /// # Errors
    /// It is not: why, for people.
    // contracts/call.md X32, X37.
    pub(super) async fn fits(&self, envelope: &Envelope, message: &Message) -> Result<bool, (Reason, String)> {
        let speaks = if let Runs::Url(upstream) = &self.config.runs { &upstream.speaks } else { &Speaks::Mcp };
        match speaks {
            Speaks::Mcp if envelope.is_card() || message.head.get(":path").is_some() => {
                Err((Reason::Malformed, "this service has no such place: it speaks MCP".to_owned()))
            }
            Speaks::A2a { webhooks, .. } if !envelope.is_card() => {
                let failed = |why: std::io::Error| (Reason::Malformed, why.to_string());
                let (method, body) = (envelope.method.clone(), message.body.clone());
                let look = move || Ok(a2a::webhooks(&method, body.reader()?)?);
                let named = aside(message, look).await.map_err(failed)?;
                let is_callback = |url: &str| url.strip_prefix(a2a::CALLBACK).and_then(a2a::session_of).is_some();
                let may = |url: &String| is_callback(url) || webhooks.iter().any(|origin| a2a::is_of(url, origin));
                if named.iter().all(may) {
                    return Ok(named.iter().any(|url| is_callback(url)));
                }
                let why =
                    "not allowed: the owner of this service does not name the origin of this webhook in `webhooks`";
                Err((Reason::Denied, why.to_owned()))
            }
            _ => Ok(false),
        }
    }
}

/// What a message says of itself.
pub(super) async fn envelope(message: &Message) -> Result<Envelope, NotRead> {
    let read = message.clone();
    aside(message, move || Ok(Envelope::of(&read))).await.map_err(NotRead::Io)?
}

/// Reads a message: one that is not in memory where waiting for a disk holds up nobody.
async fn aside<T: Send + 'static>(
    message: &Message,
    read: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    if message.body.is_in_memory() {
        return read();
    }
    tokio::task::spawn_blocking(read).await.map_err(std::io::Error::other)?
}

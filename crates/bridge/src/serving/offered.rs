//! One service that runs, and what is its to do.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

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
    /// Its owner was told that a token would allow more than `tokens` does.
    pub(super) told: AtomicBool,
}

impl Offered {
    /// Whether what a message would have done is the service's to do, whoever asks; and whether it names a callback.
    ///
    /// # Errors
    /// It is not: why, for people.
    // contracts/call.md X32, X37.
    pub(super) async fn fits(&self, envelope: &Envelope, message: &Message) -> Result<bool, (Reason, String)> {
        let Some(webhooks) = self.webhooks(envelope, message)? else { return Ok(false) };
        let (method, body) = (envelope.method.clone(), message.body.clone());
        let named = aside(message, move || Ok(a2a::webhooks(&method, body.reader()?)?)).await;
        judge(webhooks, named)
    }

    /// [`Offered::fits`] of a message that is in memory.
    pub(super) fn fits_at_once(&self, envelope: &Envelope, message: &Message) -> bool {
        match self.webhooks(envelope, message) {
            Ok(None) => true,
            Ok(Some(webhooks)) => {
                let named = message.body.reader().and_then(|body| Ok(a2a::webhooks(&envelope.method, body)?));
                judge(webhooks, named).is_ok()
            }
            Err(_) => false,
        }
    }

    /// The origins that the service may be told to call, where a message may name some.
    fn webhooks(&self, envelope: &Envelope, message: &Message) -> Result<Option<&BTreeSet<String>>, (Reason, String)> {
        let speaks = if let Runs::Url(upstream) = &self.config.runs { &upstream.speaks } else { &Speaks::Mcp };
        match speaks {
            Speaks::Mcp if envelope.is_card() || message.head.get(":path").is_some() => {
                Err((Reason::Malformed, "this service has no such place: it speaks MCP".to_owned()))
            }
            Speaks::A2a { webhooks, .. } if !envelope.is_card() => Ok(Some(webhooks)),
            _ => Ok(None),
        }
    }
}

/// Whether all that a message would have called may be, and whether a callback is among them.
fn judge(webhooks: &BTreeSet<String>, named: std::io::Result<Vec<String>>) -> Result<bool, (Reason, String)> {
    let named = named.map_err(|why| (Reason::Malformed, why.to_string()))?;
    let is_callback = |url: &str| url.strip_prefix(a2a::CALLBACK).and_then(a2a::session_of).is_some();
    let may = |url: &String| is_callback(url) || webhooks.iter().any(|origin| a2a::is_of(url, origin));
    if named.iter().all(may) {
        return Ok(named.iter().any(|url| is_callback(url)));
    }
    let why = "not allowed: the owner of this service does not name the origin of this webhook in `webhooks`";
    Err((Reason::Denied, why.to_owned()))
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

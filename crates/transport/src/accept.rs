//! The listener: judges first packets, carries handshakes to their end side by side, hands out finished connections.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use quinn::{Endpoint, Incoming};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::admission::{Admission, Verdict};
use crate::close::CloseCode;
use crate::connection::Connection;
use crate::identity;
use crate::stream::StreamKind;
use crate::tuning::Tuning;

/// What those who dial us get: bounds, and the kinds of streams that they may open.
pub(crate) type Terms = (Tuning, &'static [StreamKind]);

/// The admission state, shared between the listener and the handshakes that it counts.
#[derive(Clone)]
pub(crate) struct Door(Arc<Mutex<Admission>>);

impl Door {
    pub(crate) fn new(tuning: Tuning) -> Self {
        Self(Arc::new(Mutex::new(Admission::new(tuning, Instant::now()))))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Admission> {
        // Counters stay true even if a holder panicked between two of them.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One handshake under way; dropping it makes room for another.
struct Slot(Door);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.lock().release();
    }
}

/// Runs until the endpoint is closed. Handshakes die with it.
pub(crate) async fn listen(endpoint: Endpoint, door: Door, terms: Terms, ready: mpsc::Sender<Connection>) {
    let mut handshakes = JoinSet::new();
    loop {
        tokio::select! {
            incoming = endpoint.accept() => {
                let Some(incoming) = incoming else { break };
                if let Some((incoming, slot)) = admit(incoming, &door, endpoint.open_connections()) {
                    handshakes.spawn(finish(incoming, slot, terms, ready.clone()));
                }
            }
            Some(_) = handshakes.join_next() => {}
        }
    }
}

fn admit(incoming: Incoming, door: &Door, open: usize) -> Option<(Incoming, Slot)> {
    let from = incoming.remote_address();
    let verdict = door.lock().judge(Instant::now(), from.ip(), incoming.remote_address_validated(), open);
    match verdict {
        Verdict::Accept => return Some((incoming, Slot(door.clone()))),
        Verdict::Retry => {
            // Only an address that was not shown is asked, and those may always be; else the drop refuses.
            if incoming.retry().is_err() {
                tracing::debug!(%from, "a shown address was asked to show itself");
            }
        }
        Verdict::Refuse => incoming.refuse(),
    }
    None
}

async fn finish(incoming: Incoming, slot: Slot, (tuning, served): Terms, ready: mpsc::Sender<Connection>) {
    let from = incoming.remote_address();
    let quic = match timeout(tuning.handshake_timeout, incoming).await {
        Ok(Ok(quic)) => quic,
        Ok(Err(error)) => return tracing::debug!(%from, %error, "handshake failed"),
        Err(_) => return tracing::debug!(%from, "handshake took too long"),
    };
    // contracts/transport.md T6: a finished handshake has proved a key; one that did not is closed, whatever TLS says.
    let Ok(peer) = identity::proved(&quic) else {
        return quic.close(CloseCode::PROTOCOL.into(), b"no raw key");
    };
    // The slot is held until the layer above takes the connection: one that does not keep up meets the bound, not memory.
    if ready.send(Connection::new(quic, peer, served)).await.is_err() {
        tracing::debug!(%from, "the link closed while a connection was ready");
    }
    drop(slot);
}

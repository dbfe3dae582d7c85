//! Connections by keys that nobody knows: they may leave frames for agents, and nothing else (contracts/mailbox.md section 2).

use std::sync::Arc;
use std::time::Duration;

use nuncio_contracts::registry::time;
use nuncio_transport::{CloseCode, Connection, RecvStream, SendStream, StreamKind};
use tokio::time::timeout_at;

use super::Hall;
use super::deposits::{self, Asked};
use crate::service::Service;

/// How long a guest may ask for nothing.
const PATIENCE: Duration = Duration::from_millis(time::GUEST_PATIENCE);

/// Serves a guest until it, or the node, ends.
// contracts/mailbox.md M7.
pub(super) async fn serve_guest(connection: &Connection, hall: &Hall, service: &Arc<Service>) {
    connection.welcome_guest();
    let asked = Arc::new(Asked::now());
    loop {
        let last = asked.last();
        let opened = tokio::select! {
            () = hall.closing.cancelled() => return,
            opened = timeout_at(last + PATIENCE, connection.accept_stream()) => opened,
        };
        match opened {
            Ok(Ok((StreamKind::Deposit, send, recv))) => {
                asked.note();
                take(connection, hall, service, &asked, (send, recv));
            }
            Ok(Ok(_)) => {
                tracing::debug!(peer = %connection.peer(), "a stranger was turned away");
                return connection.close(CloseCode::STRANGER, "the policy names no client with this key");
            }
            Ok(Err(_)) => return,
            Err(_) if asked.last() > last => {}
            Err(_) => return connection.close(CloseCode::BUSY, "nothing was asked for a while"),
        }
    }
}

/// Takes the deposits of a stream apart from what else comes over the connection.
pub(super) fn take(
    connection: &Connection,
    hall: &Hall,
    service: &Arc<Service>,
    asked: &Arc<Asked>,
    stream: (SendStream, RecvStream),
) {
    let (service, asked, closing) = (Arc::clone(service), Arc::clone(asked), hall.closing.clone());
    let from = connection.remote_address().ip().to_canonical();
    hall.tasks.spawn(async move { deposits::serve((&service, from, &asked), &closing, stream).await });
}

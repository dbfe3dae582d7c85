//! Connections by keys that nobody knows: they may leave frames for agents, and nothing else (contracts/mailbox.md section 2).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use nuncio_contracts::registry::{limit, time};
use nuncio_proto::deposit::Deposit;
use nuncio_transport::{CloseCode, Connection, RecvStream, SendStream, StreamKind};
use tokio::time::timeout;

use super::Hall;
use crate::service::Service;

/// How long a deposit may take to come, and its answer to be taken.
const PATIENCE: Duration = Duration::from_millis(time::REQUEST_PATIENCE);

/// Serves a guest until it, or the node, ends.
pub(super) async fn serve_guest(connection: &Connection, hall: &Hall, service: &Arc<Service>) {
    loop {
        let opened = tokio::select! {
            () = hall.closing.cancelled() => return,
            opened = timeout(Duration::from_millis(time::GUEST_PATIENCE), connection.accept_stream()) => opened,
        };
        match opened {
            Ok(Ok((StreamKind::Deposit, send, recv))) => take(connection, hall, service, send, recv),
            Ok(Ok(_)) => {
                tracing::debug!(peer = %connection.peer(), "a stranger was turned away");
                return connection.close(CloseCode::STRANGER, "the policy names no client with this key");
            }
            Ok(Err(_)) => return,
            Err(_) => return connection.close(CloseCode::BUSY, "nothing was asked for a while"),
        }
    }
}

/// Takes a deposit apart from what else comes over the connection.
pub(super) fn take(connection: &Connection, hall: &Hall, service: &Arc<Service>, send: SendStream, recv: RecvStream) {
    let (service, from) = (Arc::clone(service), connection.remote_address().ip().to_canonical());
    hall.tasks.spawn(async move { deposit(&service, from, send, recv).await });
}

/// What has come whole is taken to its end: only coming and answering have a time.
// contracts/mailbox.md M3, M4.
async fn deposit(service: &Service, from: IpAddr, mut send: SendStream, mut recv: RecvStream) {
    if !service.sources.allow(from) {
        return refuse(&mut send, &mut recv, CloseCode::BUSY);
    }
    let Ok(read) = timeout(PATIENCE, recv.read_to_end(limit::DEPOSIT_LEN_MAX)).await else {
        return refuse(&mut send, &mut recv, CloseCode::BUSY);
    };
    let Some(deposit) = read.ok().and_then(|bytes| Deposit::parse(&bytes).ok()) else {
        return refuse(&mut send, &mut recv, CloseCode::PROTOCOL);
    };
    let Ok(codes) = service.deposit(&deposit).await else {
        return refuse(&mut send, &mut recv, CloseCode::BUSY);
    };
    let answer: Vec<u8> = codes.iter().flat_map(|code| code.to_be_bytes()).collect();
    // Whoever does not take the answer deposits again, and its recipient takes the frame as once.
    let answered = async {
        if send.write_all(&answer).await.is_ok() && send.finish().is_ok() {
            let _ = send.stopped().await;
        }
    };
    let _ = timeout(PATIENCE, answered).await;
}

fn refuse(send: &mut SendStream, recv: &mut RecvStream, code: CloseCode) {
    // A stream that is over already needs no refusal.
    let _ = send.reset(code.into());
    let _ = recv.stop(code.into());
}

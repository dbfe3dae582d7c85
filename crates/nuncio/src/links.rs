//! Connections and the tasks that serve them.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nuncio_contracts::registry::{limit, time};
use nuncio_proto::ids::AgentId;
use nuncio_transport::{
    CloseCode, CloseReason, Connection, FrameReceiver, FrameSender, Link, RecvStream, SendStream, StreamKind,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::task::TaskTracker;

use crate::chunks::PayloadId;
use crate::queries;
use crate::wake::Wake;

/// Frames that wait for one connection; more are dropped and sent again later.
const FRAMES_WAITING_MAX: usize = 4_096;
/// Bytes of them: twice what QUIC itself holds for a connection, and little enough for many peers that read slowly.
const WAITING_BYTES_MAX: usize = 16 << 20;
/// Frames handed to QUIC, or taken from it, at once.
const FRAMES_AT_ONCE: usize = 256;
/// How long a peer may take to answer a request for its bundle.
const BUNDLE_PATIENCE: Duration = Duration::from_millis(time::BUNDLE_PATIENCE);
/// What a peer says by the close `stranger`, for people.
pub(crate) const TURNED_AWAY: &str =
    "it does not let this agent in: `nuncio knocks` there shows who asks, `nuncio peers add` adds";

/// Tells connections apart.
pub(crate) type LinkId = u64;

/// What a connection's tasks need.
#[derive(Clone, Debug)]
pub(crate) struct Tasks {
    pub(crate) wakes: mpsc::Sender<Wake>,
    pub(crate) urgent: mpsc::UnboundedSender<Wake>,
    pub(crate) tracker: TaskTracker,
}

/// Frames that wait for one connection, bounded in number and in bytes.
#[derive(Debug)]
pub(crate) struct Outgoing {
    frames: mpsc::Sender<(Bytes, OwnedSemaphorePermit)>,
    room: Arc<Semaphore>,
    /// Ends with the task that sends them.
    sent: oneshot::Receiver<Infallible>,
}

/// The other end of it.
struct Waiting {
    frames: mpsc::Receiver<(Bytes, OwnedSemaphorePermit)>,
    _sent: oneshot::Sender<Infallible>,
}

impl Outgoing {
    fn new() -> (Self, Waiting) {
        let (frames, waiting) = mpsc::channel(FRAMES_WAITING_MAX);
        let (ends, sent) = oneshot::channel();
        let outgoing = Self { frames, room: Arc::new(Semaphore::new(WAITING_BYTES_MAX)), sent };
        (outgoing, Waiting { frames: waiting, _sent: ends })
    }

    /// Takes no more frames. What it gives back ends once the peer has those that wait, or is gone.
    pub(crate) fn end(self) -> oneshot::Receiver<Infallible> {
        self.sent
    }

    /// `false`: there is no room for it, or the connection is gone.
    pub(crate) fn push(&self, frame: Bytes) -> bool {
        let Ok(len) = u32::try_from(frame.len()) else { return false };
        let room = Arc::clone(&self.room).try_acquire_many_owned(len);
        room.is_ok_and(|room| self.frames.try_send((frame, room)).is_ok())
    }
}

/// Takes connections until the link closes. Each waits at the door until the actor lets it in.
pub(crate) async fn listen(link: Arc<Link>, tasks: Tasks) {
    while let Some(connection) = link.accept().await {
        if tasks.wakes.send(Wake::Arrived { connection }).await.is_err() {
            return;
        }
    }
}

/// Serves a connection that we dialled: opens its stream of frames.
pub(crate) async fn serve_dialled(link: LinkId, connection: Connection, tasks: Tasks) -> Ended {
    match connection.open(StreamKind::Frames).await {
        Ok((send, recv)) => {
            carry(link, &connection, send, recv, &tasks);
            serve(link, connection, true, tasks).await
        }
        Err(error) => down(link, &connection, error.to_string(), &tasks),
    }
}

/// Serves a connection until it is gone. It may carry frames already.
pub(crate) async fn serve(link: LinkId, connection: Connection, mut carries: bool, tasks: Tasks) -> Ended {
    let queries = Arc::new(Semaphore::new(limit::QUERIES_STREAMS_MAX));
    let reason = loop {
        match connection.accept_stream().await {
            // contracts/transport.md T21: one stream of frames, which the dialler opens.
            Ok((StreamKind::Frames, mut send, mut recv)) if carries => {
                // Both may fail only because the peer has ended that half already.
                let _ = send.reset(CloseCode::PROTOCOL.into());
                let _ = recv.stop(CloseCode::PROTOCOL.into());
            }
            Ok((StreamKind::Frames, send, recv)) => {
                carries = true;
                carry(link, &connection, send, recv, &tasks);
            }
            Ok((StreamKind::Prekeys, send, _)) => {
                tasks.tracker.spawn(give_bundle(connection.peer(), send, tasks.clone()));
            }
            Ok((StreamKind::Large, send, recv)) => {
                tasks.tracker.spawn(take_payload_request(connection.peer(), send, recv, tasks.clone()));
            }
            Ok((StreamKind::Queries, send, recv)) => {
                let answering = queries::answer(connection.peer(), (send, recv), tasks.clone(), Arc::clone(&queries));
                tasks.tracker.spawn(answering);
            }
            Ok((StreamKind::Http | StreamKind::Deposit, mut send, _)) => {
                drop(send.reset(CloseCode::UNSUPPORTED_STREAM.into()))
            }
            Err(error) => break error.to_string(),
        }
    };
    down(link, &connection, reason, &tasks)
}

fn down(link: LinkId, connection: &Connection, reason: String, tasks: &Tasks) -> Ended {
    let ended = Ended(connection.close_reason());
    let (by_stranger, peer) = (ended.is_by_stranger(), connection.peer());
    let reason = if by_stranger { TURNED_AWAY.to_owned() } else { reason };
    // The actor may have stopped already.
    let _ = tasks.urgent.send(Wake::LinkDown { link, peer, reason, by_stranger });
    ended
}

/// Why a connection is gone.
pub(crate) struct Ended(Option<CloseReason>);

impl Ended {
    /// The peer does not know this agent, or has removed it.
    pub(crate) fn is_by_stranger(&self) -> bool {
        matches!(self.0, Some(CloseReason::ByPeer { code: CloseCode::STRANGER, .. }))
    }
}

/// Carries frames both ways on one stream, in two tasks that end with it.
fn carry(link: LinkId, connection: &Connection, send: SendStream, recv: RecvStream, tasks: &Tasks) {
    let (frames, waiting) = Outgoing::new();
    tasks.tracker.spawn(send_frames(FrameSender::new(send), waiting));
    tasks.tracker.spawn(receive_frames(link, connection.clone(), FrameReceiver::new(recv), tasks.clone()));
    let _ = tasks.urgent.send(Wake::LinkUp { link, connection: connection.clone(), frames });
}

async fn send_frames(mut sender: FrameSender, mut waiting: Waiting) {
    let mut batch = Vec::with_capacity(FRAMES_AT_ONCE);
    while waiting.frames.recv_many(&mut batch, FRAMES_AT_ONCE).await > 0 {
        // Their room is free once QUIC has taken them all.
        let (frames, _room): (Vec<Bytes>, Vec<OwnedSemaphorePermit>) = batch.drain(..).unzip();
        if let Err(error) = sender.send_many(&frames).await {
            tracing::debug!(%error, "frames not sent; they go again on the next connection");
            return;
        }
    }
    // Everything was handed over; QUIC delivers it while the connection lives, and so long does this task.
    let _ = sender.drain().await;
}

async fn receive_frames(link: LinkId, connection: Connection, mut receiver: FrameReceiver, tasks: Tasks) {
    loop {
        let mut frames = Vec::new();
        match receiver.recv_many(&mut frames, FRAMES_AT_ONCE).await {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(%error, peer = %connection.peer(), "no more frames from this stream");
                return;
            }
        }
        if tasks.wakes.send(Wake::Frames { from: connection.peer(), link, frames }).await.is_err() {
            return;
        }
    }
}

/// Asks a peer for its bundle and one one-time prekey.
pub(crate) async fn ask_bundle(connection: Connection, tasks: Tasks) {
    let of = connection.peer();
    let asked = tokio::time::timeout(BUNDLE_PATIENCE, async {
        let (mut send, mut recv) = connection.open(StreamKind::Prekeys).await.map_err(|e| e.to_string())?;
        send.finish().map_err(|e| e.to_string())?;
        recv.read_to_end(limit::BUNDLE_LEN_MAX).await.map_err(|e| e.to_string())
    });
    let bundle = asked.await.unwrap_or_else(|_| Err("it did not answer in time".to_owned()));
    let _ = tasks.urgent.send(Wake::BundleCame { of, bundle });
}

async fn give_bundle(by: AgentId, mut send: SendStream, tasks: Tasks) {
    let (answer, bundle) = tokio::sync::oneshot::channel();
    if tasks.wakes.send(Wake::BundleAsked { by, answer }).await.is_err() {
        return;
    }
    match bundle.await {
        Ok(bundle) => {
            if send.write_all(&bundle).await.is_ok() {
                let _ = send.finish();
            }
        }
        // Over its rate, or we are stopping.
        Err(_) => drop(send.reset(CloseCode::BUSY.into())),
    }
}

/// A request for a large payload: its id and the first chunk wanted.
async fn take_payload_request(by: AgentId, send: SendStream, mut recv: RecvStream, tasks: Tasks) {
    let Ok(request) = recv.read_to_end(24).await else { return };
    let Some((id, from_chunk)) = request.split_first_chunk::<16>() else { return };
    let Ok(from_chunk) = <[u8; 8]>::try_from(from_chunk) else { return };
    let wake = Wake::PayloadAsked { by, id: PayloadId(*id), from_chunk: u64::from_be_bytes(from_chunk), stream: send };
    // The actor may have stopped already.
    let _ = tasks.wakes.send(wake).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_a_slow_peer_is_bounded_in_bytes_and_in_number() {
        let (large, small) = (Bytes::from_static(&[0; 64 << 10]), Bytes::from_static(&[0; 100]));
        let (outgoing, mut waiting) = Outgoing::new();
        let taken = (0..FRAMES_WAITING_MAX).take_while(|_| outgoing.push(large.clone())).count();
        assert_eq!(taken * large.len(), WAITING_BYTES_MAX);
        assert!(!outgoing.push(small.clone()));
        drop(waiting.frames.try_recv().unwrap());
        assert!(outgoing.push(large.clone()), "there is room again once one was sent");
        let (outgoing, _waiting) = Outgoing::new();
        assert_eq!((0..).take_while(|_| outgoing.push(small.clone())).count(), FRAMES_WAITING_MAX);
    }
}

//! One stream of queries, as the agent has it that answers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nuncio_contracts::registry::limit;
use nuncio_proto::call::{CallPlace, What};
use nuncio_proto::ids::{AgentId, SessionId};
use nuncio_proto::query::{Between, Ephemeral, Sealer, Spoken};
use nuncio_proto::secret::Key;
use nuncio_transport::{CloseCode, FrameReceiver, FrameSender, RecvStream, SendStream};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, timeout_at};

use super::{Answered, FRAMES_AT_ONCE, KEYS_LIFE};
use crate::calls::Called;
use crate::entropy;
use crate::links::Tasks;
use crate::message::Incoming;
use crate::wake::Wake;

/// How long an opener may take to say which session it means.
const HELLO_PATIENCE: Duration = Duration::from_secs(5);
/// A stream is ended so long after its keys are old, if its opener has not.
const OLD_GRACE: Duration = Duration::from_mins(1);

/// A query of another agent. One that is dropped without an answer wants a letter.
#[derive(Debug)]
pub struct Query {
    /// It, as a letter would have brought it. Its number is that of no letter, and nothing is kept under it; nor is its id one.
    pub called: Called,
    /// Whose session's its stream is.
    pub(super) under: SessionId,
    back: Option<Back>,
}

/// Where the answer goes.
#[derive(Debug)]
struct Back {
    number: u32,
    out: Arc<Mutex<Out>>,
    until: Instant,
    _room: OwnedSemaphorePermit,
}

#[derive(Debug)]
struct Out {
    sender: FrameSender,
    sealer: Sealer,
}

impl Query {
    /// Answers it. What is too long for an answer here wants a letter, as `None` does.
    pub async fn answer(mut self, answer: Option<Answered>) {
        let Some(back) = self.back.take() else { return };
        let (service, session) = (self.called.place.service.clone(), self.called.place.session);
        let spoken = answer.and_then(|Answered { head, content_type, payload }| {
            let place = CallPlace { what: What::Answer, service, session, head };
            let fits = Spoken::fits(&place, payload.len());
            fits.then_some(Spoken { number: back.number, place: Some(place), content_type, payload })
        });
        back.say(spoken).await;
    }
}

impl Drop for Query {
    fn drop(&mut self) {
        let Some(back) = self.back.take() else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            drop(runtime.spawn(async move { back.say(None).await }));
        }
    }
}

impl Back {
    async fn say(self, spoken: Option<Spoken>) {
        let spoken = spoken.unwrap_or_else(|| Spoken::letter(self.number));
        send(&self.out, &spoken, self.until).await;
    }
}

/// Says one, until the stream's keys are old: an opener that does not read keeps none of them. `false`: nothing goes that way any more.
// contracts/query.md Q8.
async fn send(out: &Mutex<Out>, spoken: &Spoken, until: Instant) -> bool {
    let sent = async {
        let mut out = out.lock().await;
        let Some(frame) = out.sealer.seal(spoken) else { return false };
        out.sender.send_many(&[Bytes::from(frame)]).await.is_ok()
    };
    let sent = timeout_at(until, sent).await == Ok(true);
    if !sent {
        tracing::debug!("an answer to a query is not sent: it comes as a letter");
    }
    sent
}

/// Answers a stream of queries until it ends, or its keys are old. `room` is the stream's own among those of its connection.
pub(crate) async fn answer(by: AgentId, streams: (SendStream, RecvStream), tasks: Tasks, room: Arc<Semaphore>) {
    answer_for(KEYS_LIFE + OLD_GRACE, by, streams, tasks, room).await;
}

/// [`answer`], of a stream whose keys live so long.
pub(super) async fn answer_for(
    life: Duration,
    by: AgentId,
    (mut send, mut recv): (SendStream, RecvStream),
    tasks: Tasks,
    room: Arc<Semaphore>,
) {
    let until = Instant::now() + life;
    let Ok(_room) = room.try_acquire() else { return refuse(&mut send, &mut recv, CloseCode::BUSY) };
    let mut hello = [0; 64];
    if !matches!(tokio::time::timeout(HELLO_PATIENCE, recv.read_exact(&mut hello)).await, Ok(Ok(()))) {
        return refuse(&mut send, &mut recv, CloseCode::PROTOCOL);
    }
    let (session, theirs) = halves(&hello);
    let (answer, told) = oneshot::channel();
    // The actor may have stopped already.
    let _ = tasks.wakes.send(Wake::QueriesOpened { by, session, answer }).await;
    let (us, secret) = match told.await.unwrap_or(Err(CloseCode::SHUTTING_DOWN)) {
        Ok(granted) => granted,
        Err(code) => return refuse(&mut send, &mut recv, code),
    };
    let Ok(private) = entropy::random() else { return refuse(&mut send, &mut recv, CloseCode::BUSY) };
    let ephemeral = Ephemeral::of(Key::new(private));
    let ours = *ephemeral.public();
    let Ok(keys) = ephemeral.answering(&secret, &Between { session, opener: by, other: us }, &theirs) else {
        return refuse(&mut send, &mut recv, CloseCode::PROTOCOL);
    };
    drop(secret);
    if send.write_all(&ours).await.is_err() {
        return;
    }
    let out = Arc::new(Mutex::new(Out { sender: FrameSender::new(send), sealer: keys.sealer }));
    hear((by, session), FrameReceiver::new(recv), keys.opener, (out, tasks), until).await;
}

async fn hear(
    (by, under): (AgentId, SessionId),
    mut receiver: FrameReceiver,
    mut opener: nuncio_proto::query::Opener,
    (out, tasks): (Arc<Mutex<Out>>, Tasks),
    until: Instant,
) {
    let open = Arc::new(Semaphore::new(limit::QUERIES_OPEN_MAX));
    let mut frames = Vec::new();
    while let Ok(Ok(1..)) = timeout_at(until, receiver.recv_many(&mut frames, FRAMES_AT_ONCE)).await {
        for frame in frames.drain(..) {
            let (number, place, content_type, payload) = match opener.open(&frame) {
                Ok(Spoken { number, place: Some(place), content_type, payload }) if place.what == What::Request => {
                    (number, place, content_type, payload)
                }
                // contracts/query.md Q7, Q9.
                _ => {
                    tracing::warn!(peer = %by, "a stream of queries is broken off: a frame is not what it must be");
                    return receiver.stop(CloseCode::PROTOCOL);
                }
            };
            // contracts/query.md Q10.
            let Ok(room) = Arc::clone(&open).try_acquire_owned() else {
                if !send(&out, &Spoken::letter(number), until).await {
                    return;
                }
                continue;
            };
            let back = Some(Back { number, out: Arc::clone(&out), until, _room: room });
            let letter = Incoming::of_query(by, content_type, payload);
            let called = Called { letter, place, own: false, begun: None, at_hand: true, by: None, admitted: false };
            let query = Query { called, under, back };
            if tasks.wakes.send(Wake::QueryCame(Box::new(query))).await.is_err() {
                return;
            }
        }
    }
}

fn halves(hello: &[u8; 64]) -> (SessionId, [u8; 32]) {
    let (mut session, mut key) = ([0; 32], [0; 32]);
    let (first, second) = hello.split_at(32);
    session.copy_from_slice(first);
    key.copy_from_slice(second);
    (SessionId::from_bytes(session), key)
}

fn refuse(send: &mut SendStream, recv: &mut RecvStream, code: CloseCode) {
    // Both may fail only because the peer has ended that half already.
    let _ = send.reset(code.into());
    let _ = recv.stop(code.into());
}

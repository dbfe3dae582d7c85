//! A stream of queries on the wire, with an opener that does as it likes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nuncio_contracts::registry::limit;
use nuncio_proto::call::{CallPlace, Head, What};
use nuncio_proto::content_type::ContentType;
use nuncio_proto::crypto::SigningKey;
use nuncio_proto::ids::{AgentId, SessionId};
use nuncio_proto::query::{Between, Directions, Ephemeral, QuerySecret, Spoken};
use nuncio_proto::secret::Key;
use nuncio_transport::{
    CloseCode, Connection, FrameReceiver, FrameSender, Link, LinkConfig, RecvStream, SendStream, StreamKind,
    TransportError,
};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::task::TaskTracker;

use super::Answered;
use super::answering::answer_for;
use super::asking::{self, Out};
use crate::links::Tasks;
use crate::wake::Wake;

const SESSION: SessionId = SessionId::from_bytes([7; 32]);

async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.expect("in time")
}

fn secret() -> QuerySecret {
    QuerySecret::of(&Key::new([3; 32]))
}

/// A bare link to one that answers whatever comes, and tells how much came.
struct Scene {
    _links: (Link, Link),
    connection: Connection,
    between: Between,
    came: mpsc::UnboundedReceiver<String>,
}

impl Scene {
    async fn new() -> Self {
        Self::for_keys_of(Duration::from_secs(60)).await
    }

    /// One whose answerer's keys live so long.
    async fn for_keys_of(life: Duration) -> Self {
        let (near_key, far_key) = (SigningKey::from_seed(&[1; 32]), SigningKey::from_seed(&[2; 32]));
        let id = |key: &SigningKey| AgentId::from_bytes(key.public()).unwrap();
        let bind = |key| Link::bind(LinkConfig::new("127.0.0.1:0".parse().unwrap()), key).unwrap();
        let (near, far) = (bind(&near_key), bind(&far_key));
        let (to, from) = tokio::join!(near.dial(id(&far_key), far.local_addr().unwrap()), far.accept());
        let (connection, from) = (to.unwrap(), from.unwrap());
        from.welcome();
        let (told, came) = mpsc::unbounded_channel();
        tokio::spawn(serve(from, id(&far_key), told, life));
        let between = Between { session: SESSION, opener: id(&near_key), other: id(&far_key) };
        Self { _links: (near, far), connection, between, came }
    }

    /// Opens a stream with a key of its choice: its halves, and the other end's key.
    async fn open(&self, ours: &[u8; 32]) -> (SendStream, RecvStream, [u8; 32]) {
        let (mut send, mut recv) = self.connection.open(StreamKind::Queries).await.unwrap();
        send.write_all(&[SESSION.as_bytes().as_slice(), ours].concat()).await.unwrap();
        let mut theirs = [0; 32];
        within(recv.read_exact(&mut theirs)).await.unwrap();
        (send, recv, theirs)
    }

    fn keys(&self, private: u8, theirs: &[u8; 32]) -> Directions {
        Ephemeral::of(Key::new([private; 32])).asking(&secret(), &self.between, theirs).unwrap()
    }
}

/// In the actor's stead.
async fn serve(connection: Connection, us: AgentId, told: mpsc::UnboundedSender<String>, life: Duration) {
    let (wakes, mut woken) = mpsc::channel(16);
    let (urgent, _quiet) = mpsc::unbounded_channel();
    let tasks = Tasks { wakes, urgent, tracker: TaskTracker::new() };
    let room = Arc::new(Semaphore::new(limit::QUERIES_STREAMS_MAX));
    loop {
        tokio::select! {
            stream = connection.accept_stream() => match stream {
                Ok((StreamKind::Queries, send, recv)) => {
                    tokio::spawn(answer_for(life, connection.peer(), (send, recv), tasks.clone(), Arc::clone(&room)));
                }
                _ => return,
            },
            Some(wake) = woken.recv() => match wake {
                Wake::QueriesOpened { session, answer, .. } => {
                    let known = session == SESSION;
                    let _ = answer.send(if known { Ok((us, secret())) } else { Err(CloseCode::BUSY) });
                }
                Wake::QueryCame(query) => {
                    let crate::message::Payload::Inline(bytes) = &query.called.letter.payload else { panic!() };
                    told.send(String::from_utf8(bytes.clone()).unwrap()).unwrap();
                    let head = Head::default();
                    // From a hundred on it is a long one.
                    let payload = if bytes.len() < 3 { b"{}".to_vec() } else { vec![b'x'; limit::PAYLOAD_INLINE_MAX] };
                    query.answer(Some(Answered { head, content_type: ContentType::JSON, payload })).await;
                }
                _ => panic!(),
            },
        }
    }
}

fn spoken(number: u32, what: What) -> Spoken {
    let place = CallPlace { what, service: "files".parse().unwrap(), session: None, head: Head::default() };
    Spoken { number, place: Some(place), content_type: ContentType::JSON, payload: number.to_string().into_bytes() }
}

async fn stopped(send: &mut SendStream) -> u64 {
    within(send.stopped()).await.unwrap().expect("it is stopped").into_inner()
}

// contracts/query.md Q6, Q7.
#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_stream_that_is_said_again_hands_nothing_over() {
    let mut scene = Scene::new().await;
    let ours = *Ephemeral::of(Key::new([4; 32])).public();
    let (send, recv, theirs) = scene.open(&ours).await;
    let mut keys = scene.keys(4, &theirs);
    let recorded: Vec<Bytes> =
        (0..3).map(|number| keys.sealer.seal(&spoken(number, What::Request)).unwrap().into()).collect();
    let (mut sender, mut receiver, mut frames) = (FrameSender::new(send), FrameReceiver::new(recv), Vec::new());
    sender.send_many(&recorded).await.unwrap();
    for number in 0..3 {
        assert_eq!(within(scene.came.recv()).await.unwrap(), number.to_string());
    }
    while frames.len() < 3 {
        within(receiver.recv_many(&mut frames, 8)).await.unwrap();
    }
    assert!(frames.iter().all(|frame| keys.opener.open(frame).is_ok()));
    // The same bytes, from the first on, on a stream of their own.
    let (mut send, _recv, again) = scene.open(&ours).await;
    assert_ne!(again, theirs, "who answers draws anew");
    let mut whole = bytes::BytesMut::new();
    for frame in &recorded {
        // A length of two bytes.
        whole.extend_from_slice(&(u16::try_from(frame.len()).unwrap() | 0x4000).to_be_bytes());
        whole.extend_from_slice(frame);
    }
    send.write_all(&whole).await.unwrap();
    assert_eq!(stopped(&mut send).await, CloseCode::PROTOCOL.get());
    // And one of them again on its own stream.
    sender.send_many(&recorded[2..]).await.unwrap();
    frames.clear();
    assert!(matches!(within(receiver.recv_many(&mut frames, 8)).await, Ok(0) | Err(_)), "it is over");
    assert!(scene.came.try_recv().is_err(), "nothing was handed over");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_query_or_of_another_session_ends_the_stream_alone() {
    let mut scene = Scene::new().await;
    let ours = *Ephemeral::of(Key::new([4; 32])).public();
    let (send, mut recv, theirs) = scene.open(&ours).await;
    let mut keys = scene.keys(4, &theirs);
    FrameSender::new(send).send_many(&[keys.sealer.seal(&spoken(0, What::Answer)).unwrap().into()]).await.unwrap();
    assert!(!matches!(within(recv.read(&mut [0; 16])).await, Ok(Some(_))), "an answer asks nothing");
    // Another session's.
    let (mut send, mut recv) = scene.connection.open(StreamKind::Queries).await.unwrap();
    send.write_all(&[[8; 32], ours].concat()).await.unwrap();
    let error = within(recv.read(&mut [0; 32])).await.unwrap_err();
    assert!(matches!(TransportError::from(error), TransportError::StreamReset(CloseCode::BUSY)));
    // A key of small order.
    let (mut send, _recv) = scene.connection.open(StreamKind::Queries).await.unwrap();
    send.write_all(&[*SESSION.as_bytes(), [0; 32]].concat()).await.unwrap();
    assert_eq!(stopped(&mut send).await, CloseCode::PROTOCOL.get());
    assert!(scene.came.try_recv().is_err());
    let (send, _recv, theirs) = scene.open(&ours).await;
    let mut keys = scene.keys(4, &theirs);
    let mut sender = FrameSender::new(send);
    sender.send_many(&[keys.sealer.seal(&spoken(5, What::Request)).unwrap().into()]).await.unwrap();
    assert_eq!(within(scene.came.recv()).await.unwrap(), "5", "the connection goes on");
}

// contracts/query.md Q6.
#[tokio::test(flavor = "multi_thread")]
async fn one_connection_has_few_streams_of_queries() {
    let scene = Scene::new().await;
    let ours = *Ephemeral::of(Key::new([4; 32])).public();
    let mut open = Vec::new();
    for _ in 0..limit::QUERIES_STREAMS_MAX {
        open.push(scene.open(&ours).await);
    }
    let (mut send, mut recv) = scene.connection.open(StreamKind::Queries).await.unwrap();
    let _ = send.write_all(&[*SESSION.as_bytes(), ours].concat()).await;
    let error = within(recv.read(&mut [0; 32])).await.unwrap_err();
    assert!(matches!(TransportError::from(error), TransportError::StreamReset(CloseCode::BUSY)));
    drop(open.pop());
    within(async {
        loop {
            let (mut send, mut recv) = scene.connection.open(StreamKind::Queries).await.unwrap();
            let _ = send.write_all(&[*SESSION.as_bytes(), ours].concat()).await;
            if recv.read_exact(&mut [0; 32]).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

// contracts/query.md Q8.
#[tokio::test(flavor = "multi_thread")]
async fn an_opener_that_does_not_read_keeps_no_keys_in_memory() {
    let mut scene = Scene::for_keys_of(Duration::from_secs(2)).await;
    let (send, recv, theirs) = scene.open(Ephemeral::of(Key::new([4; 32])).public()).await;
    let mut keys = scene.keys(4, &theirs);
    let all: Vec<Bytes> = (100..612).map(|no| keys.sealer.seal(&spoken(no, What::Request)).unwrap().into()).collect();
    let mut sender = FrameSender::new(send);
    sender.send_many(&all).await.unwrap();
    // Each comes once the answer before it was sent, or its time is over.
    for no in 100..612 {
        assert_eq!(within(scene.came.recv()).await.unwrap(), no.to_string());
    }
    let (mut receiver, mut frames) = (FrameReceiver::new(recv), Vec::new());
    within(async { while let Ok(1..) = receiver.recv_many(&mut frames, 8).await {} }).await;
    assert!(frames.len() < all.len(), "not all was read in time");
}

// contracts/query.md Q8.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_its_opener_asks_nothing_any_more_keeps_no_keys_in_memory() {
    let scene = Scene::new().await;
    let (send, recv, theirs) = scene.open(Ephemeral::of(Key::new([4; 32])).public()).await;
    let Directions { sealer, opener } = scene.keys(4, &theirs);
    let out = Arc::new(tokio::sync::Mutex::new(Some(Out { sender: FrameSender::new(send), sealer })));
    let until = tokio::time::Instant::now() + Duration::from_millis(300);
    within(asking::hear((recv, opener), Arc::default(), Arc::clone(&out), until)).await;
    assert!(out.lock().await.is_none());
}

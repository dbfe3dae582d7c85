//! Frames wait for agents that are away, whoever left them.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use nuncio_contracts::registry::{code, limit, time};
use nuncio_proto::crypto::SigningKey;
use nuncio_proto::deposit::{Deposit, DepositKey, MailboxSecret};
use nuncio_proto::ids::AgentId;
use nuncio_proto::time::UnixMillis;
use nuncio_store::{Engine as _, Op};
use nuncio_transport::{CloseCode, CloseReason, Connection, Link, LinkConfig, StreamKind};

use super::support::{BOOKING, Fixture, PAYMENT, PLANNER, agent, key, policy, write_policy};
use crate::entropy::{now, random};
use crate::rows;

const PATIENCE: Duration = Duration::from_secs(20);

/// Somebody who is connected.
pub(super) struct End {
    pub(super) connection: Connection,
    _link: Link,
}

/// A stream of what waits.
pub(super) struct Fetching {
    body: Incoming,
    read: BytesMut,
}

impl End {
    async fn new(at: &Fixture, key: &SigningKey) -> Self {
        let link = Link::bind(LinkConfig::new("127.0.0.1:0".parse().unwrap()), key).unwrap();
        let connection = link.dial(at.node().id(), at.node().quic_addr().unwrap()).await.unwrap();
        Self { connection, _link: link }
    }

    pub(super) async fn agent(at: &Fixture, number: u8) -> Self {
        Self::new(at, &key(number)).await
    }

    /// With a key that nobody knows.
    pub(super) async fn guest(at: &Fixture) -> Self {
        Self::new(at, &SigningKey::from_seed(&random().unwrap())).await
    }

    async fn ask(&self, method: &str, path: &str, body: &[u8]) -> (u16, Incoming) {
        let (send, recv) = self.connection.open(StreamKind::Http).await.unwrap();
        let (mut client, driver) = handshake(TokioIo::new(tokio::io::join(recv, send))).await.unwrap();
        tokio::spawn(driver);
        let request = hyper::Request::builder().method(method).uri(path).header("host", "node");
        let request = request.body(Full::new(Bytes::copy_from_slice(body))).unwrap();
        let response = client.send_request(request).await.unwrap();
        (response.status().as_u16(), response.into_body())
    }

    pub(super) async fn open(&self, secret: &MailboxSecret) {
        assert_eq!(self.ask("PUT", "/mailbox/secret", secret.expose()).await.0, 204);
    }

    pub(super) async fn fetch(&self) -> Fetching {
        let (status, body) = self.ask("GET", "/mailbox", &[]).await;
        assert_eq!(status, 200);
        Fetching { body, read: BytesMut::new() }
    }

    pub(super) async fn taken(&self, number: u64) {
        assert_eq!(self.ask("POST", "/mailbox/taken", &number.to_be_bytes()).await.0, 204);
    }

    /// The codes of an answer; `None` where there is none.
    async fn deposit(&self, bytes: &[u8]) -> Option<Vec<u16>> {
        Some(self.write(&framed(bytes)).await?).filter(|codes| !codes.is_empty())
    }

    /// The codes of all answers to what is written on one stream; `None` of a stream that was reset.
    pub(super) async fn write(&self, bytes: &[u8]) -> Option<Vec<u16>> {
        let (mut send, mut recv) = self.connection.open(StreamKind::Deposit).await.unwrap();
        // It may be refused while it is written.
        let write = async {
            let _ = send.write_all(bytes).await;
            let _ = send.finish();
        };
        let ((), answers) = tokio::join!(write, recv.read_to_end(1 << 20));
        Some(answers.ok()?.chunks(2).map(|code| u16::from_be_bytes(code.try_into().unwrap())).collect())
    }

    pub(super) async fn leave(&self, to: AgentId, key: Option<&DepositKey>, frame: &[u8]) -> u16 {
        let deposit = Deposit::new(vec![(to, key.cloned())], frame.to_vec()).unwrap();
        self.deposit(&deposit.to_bytes()).await.unwrap()[0]
    }
}

impl Fetching {
    /// The next frame; `None` at the end of the stream.
    async fn next(&mut self) -> Option<(u64, Vec<u8>)> {
        loop {
            if let Some((head, rest)) = self.read.split_first_chunk::<12>() {
                let (number, len) = head.split_at(8);
                let len = usize::try_from(u32::from_be_bytes(len.try_into().unwrap())).unwrap();
                if let Some(frame) = rest.get(..len) {
                    let found = (u64::from_be_bytes(number.try_into().unwrap()), frame.to_vec());
                    self.read.advance(12 + len);
                    return Some(found);
                }
            }
            let part = tokio::time::timeout(PATIENCE, self.body.frame()).await.expect("nothing comes")?;
            self.read.extend_from_slice(&part.ok()?.into_data().unwrap());
        }
    }

    pub(super) async fn frames(&mut self, count: usize) -> Vec<(u64, Vec<u8>)> {
        let mut frames = Vec::new();
        for _ in 0..count {
            frames.push(self.next().await.unwrap());
        }
        frames
    }
}

/// Bytes behind their length (contracts/transport.md T12).
pub(super) fn framed(bytes: &[u8]) -> Vec<u8> {
    let len = u32::try_from(bytes.len()).unwrap();
    let head = match len {
        0..0x40 => len.to_be_bytes()[3..].to_vec(),
        0x40..0x4000 => (len | 0x4000).to_be_bytes()[2..].to_vec(),
        _ => (len | 0x8000_0000).to_be_bytes().to_vec(),
    };
    [head, bytes.to_vec()].concat()
}

pub(super) fn secret() -> MailboxSecret {
    MailboxSecret::new(random().unwrap())
}

/// A frame that says which it is; only its first bytes are looked at.
fn start(number: u8) -> Vec<u8> {
    vec![0x87, 1, 1, number]
}

/// contracts/mailbox.md M9, M10: in their order, through restarts, until they are taken; no number is given twice.
#[tokio::test]
async fn frames_wait_in_their_order_until_they_are_taken() {
    let mut at = Fixture::new().await;
    let (own, me) = (secret(), agent(PLANNER));
    End::agent(&at, PLANNER).await.open(&own).await;
    let key = own.deposit_key([1; 16]);
    let mut expected = Vec::new();
    for number in 0..20_u8 {
        let guest = End::guest(&at).await;
        assert_eq!(guest.leave(me, Some(&key), &[number, 7]).await, 0);
        expected.push(vec![number, 7]);
        if number == 9 {
            at.stop().await;
            at.start().await;
        }
    }
    let planner = End::agent(&at, PLANNER).await;
    let first = planner.fetch().await.frames(20).await;
    assert_eq!(first.iter().map(|(_, frame)| frame.clone()).collect::<Vec<_>>(), expected);
    assert!(first.is_sorted_by(|one, other| one.0 < other.0));
    // Those that were not taken are there again, also for the next life.
    planner.taken(first[11].0).await;
    at.stop().await;
    at.start().await;
    let planner = End::agent(&at, PLANNER).await;
    assert_eq!(planner.fetch().await.frames(8).await, first[12..]);
    planner.taken(u64::MAX).await;
    at.stop().await;
    at.start().await;
    let planner = End::agent(&at, PLANNER).await;
    let mut fetching = planner.fetch().await;
    assert_eq!(End::guest(&at).await.leave(me, Some(&key), b"new").await, 0);
    let (number, frame) = fetching.next().await.unwrap();
    assert!(number > first[19].0 && frame == b"new", "{number}");
}

/// contracts/mailbox.md M4: one word for whoever may not, so that nobody learns who has a mailbox.
#[tokio::test]
async fn who_shows_no_key_of_the_recipient_leaves_nothing() {
    let mut at = Fixture::new().await;
    let (own, others) = (secret(), secret());
    let (planner, booking) = (End::agent(&at, PLANNER).await, End::agent(&at, BOOKING).await);
    planner.open(&own).await;
    booking.open(&others).await;
    let guest = End::guest(&at).await;
    let key = own.deposit_key([1; 16]);
    let (mut id, mut mac) = (*key.expose(), *key.expose());
    (id[0], mac[31]) = (id[0] ^ 1, mac[31] ^ 1);
    for lie in [others.deposit_key([1; 16]), DepositKey::new(id), DepositKey::new(mac)] {
        assert_eq!(guest.leave(agent(PLANNER), Some(&lie), b"frame").await, code::DEPOSIT_DENIED);
    }
    let nobody = SigningKey::from_seed(&[99; 32]);
    let nobody = AgentId::from_bytes(nobody.public()).unwrap();
    assert_eq!(guest.leave(nobody, Some(&key), b"frame").await, code::DEPOSIT_DENIED);
    // Of a secret from before, of one that is closed, and of an agent that has left.
    assert_eq!(guest.leave(agent(PLANNER), Some(&key), b"one").await, 0);
    planner.open(&secret()).await;
    assert_eq!(guest.leave(agent(PLANNER), Some(&key), b"two").await, code::DEPOSIT_DENIED);
    planner.open(&own).await;
    assert_eq!(guest.leave(agent(PLANNER), Some(&key), b"three").await, 0);
    assert_eq!(planner.ask("DELETE", "/mailbox/secret", &[]).await.0, 204);
    at.stop().await;
    at.start().await;
    let (planner, guest) = (End::agent(&at, PLANNER).await, End::guest(&at).await);
    assert_eq!(guest.leave(agent(PLANNER), Some(&key), b"four").await, code::DEPOSIT_DENIED);
    assert_eq!(
        planner.fetch().await.frames(2).await.iter().map(|(_, frame)| &**frame).collect::<Vec<_>>(),
        [b"one".as_slice(), b"three"]
    );
    let key = others.deposit_key([1; 16]);
    assert_eq!(guest.leave(agent(BOOKING), Some(&key), b"five").await, 0);
    let left = policy().replace(&agent(BOOKING).to_string(), &nobody.to_string());
    write_policy(at.folder.path(), &left);
    at.node().reload().await.unwrap();
    assert_eq!(guest.leave(agent(BOOKING), Some(&key), b"six").await, code::DEPOSIT_DENIED);
}

/// contracts/mailbox.md M5, M7.
#[tokio::test]
async fn strangers_and_the_busy_have_a_quota_of_their_own() {
    let at = Fixture::new().await;
    let own = secret();
    let planner = End::agent(&at, PLANNER).await;
    planner.open(&own).await;
    let (guest, me) = (End::guest(&at).await, agent(PLANNER));
    for other in [b"frame".as_slice(), &[0x86, 1, 2, 0], &[0x87, 1, 2, 0], &[0x87, 1]] {
        assert_eq!(guest.leave(me, None, other).await, code::DEPOSIT_DENIED, "{other:?}");
    }
    for number in 0..limit::MAILBOX_STRANGERS_MAX {
        assert_eq!(guest.leave(me, None, &start(u8::try_from(number).unwrap())).await, 0);
    }
    assert_eq!(guest.leave(me, None, &start(77)).await, code::MAILBOX_FULL);
    let key = own.deposit_key([1; 16]);
    assert_eq!(guest.leave(me, Some(&key), &start(78)).await, 0, "who has a key has other room");
    let first = planner.fetch().await.next().await.unwrap();
    planner.taken(first.0).await;
    assert_eq!(guest.leave(me, None, &start(79)).await, 0);
    // One key, faster than it may.
    let mut codes = BTreeMap::<u16, u32>::new();
    for _ in 0..limit::DEPOSITS_BURST + 4 {
        *codes.entry(guest.leave(me, Some(&key), b"many").await).or_default() += 1;
    }
    assert!(codes[&code::BUSY] >= 1 && codes[&0] >= limit::DEPOSITS_BURST - 1, "{codes:?}");
    assert_eq!(guest.leave(me, Some(&own.deposit_key([2; 16])), b"another").await, 0);
}

/// contracts/mailbox.md M6: also of a node that was started again, which does not know by whom frames were left.
#[tokio::test]
async fn one_peer_fills_its_share_and_leaves_room_to_others() {
    let mut at = Fixture::new().await;
    let own = secret();
    let planner = End::agent(&at, PLANNER).await;
    planner.open(&own).await;
    let (guest, me, frame) = (End::guest(&at).await, agent(PLANNER), vec![7; limit::FRAME_LEN_MAX]);
    let [one, other] = [1, 2].map(|id| own.deposit_key([id; 16]));
    let share = limit::MAILBOX_KEY_BYTES_MAX / u64::try_from(limit::FRAME_LEN_MAX).unwrap();
    for number in 0..share {
        assert_eq!(guest.leave(me, Some(&one), &frame).await, 0, "{number}");
    }
    assert_eq!(guest.leave(me, Some(&one), b"more").await, code::MAILBOX_FULL);
    assert_eq!(guest.leave(me, Some(&other), &frame).await, 0);
    let first = planner.fetch().await.next().await.unwrap();
    planner.taken(first.0).await;
    assert_eq!(guest.leave(me, Some(&one), b"more").await, 0);
    assert_eq!(guest.leave(me, Some(&one), &frame).await, code::MAILBOX_FULL);
    at.stop().await;
    at.start().await;
    let guest = End::guest(&at).await;
    assert_eq!(guest.leave(me, Some(&one), &frame).await, 0);
}

/// contracts/mailbox.md M3, transport.md T16: a guest leaves frames and does nothing else.
#[tokio::test]
async fn a_guest_leaves_frames_and_does_nothing_else() {
    let at = Fixture::new().await;
    let own = secret();
    End::agent(&at, PLANNER).await.open(&own).await;
    let guest = End::guest(&at).await;
    for lie in [b"deposit".to_vec(), vec![0; limit::DEPOSIT_LEN_MAX + 1], Vec::new()] {
        assert_eq!(guest.deposit(&lie).await, None);
    }
    // One frame for two, of whom one has no mailbox.
    let key = own.deposit_key([1; 16]);
    let deposit =
        Deposit::new(vec![(agent(PLANNER), Some(key.clone())), (agent(BOOKING), Some(key))], b"both".to_vec()).unwrap();
    let codes = guest.deposit(&deposit.to_bytes()).await.unwrap();
    let expected = deposit.to().iter().map(|(to, _)| if *to == agent(PLANNER) { 0 } else { code::DEPOSIT_DENIED });
    assert_eq!(codes, expected.collect::<Vec<_>>());
    // An agent of the policy may leave one over its own connection.
    assert_eq!(
        End::agent(&at, BOOKING).await.leave(agent(PLANNER), Some(&own.deposit_key([3; 16])), b"known").await,
        0
    );
    let (mut send, _recv) = guest.connection.open(StreamKind::Http).await.unwrap();
    let _ = send.write_all(b"GET /log/checkpoint HTTP/1.1\r\nhost: node\r\n\r\n").await;
    let closed = tokio::time::timeout(PATIENCE, guest.connection.closed()).await.unwrap();
    assert!(matches!(closed, CloseReason::ByPeer { code: CloseCode::STRANGER, .. }), "{closed}");
}

/// contracts/mailbox.md M18: one letter for three, of whom one has no room and one is asked by a key that is not its own: each has its own answer, and the
/// third its frame, put together.
#[tokio::test]
async fn what_one_recipient_of_a_shared_deposit_is_refused_is_no_others() {
    let mut at = Fixture::new().await;
    let (numbers, own) = ([PLANNER, BOOKING, PAYMENT], [secret(), secret(), secret()]);
    for (number, own) in numbers.iter().zip(&own) {
        End::agent(&at, *number).await.open(own).await;
    }
    let [good, wrong, full] = numbers.map(agent);
    let guest = End::guest(&at).await;
    // By this key there is no more room, though by others there is.
    let (key, frame) = (own[2].deposit_key([1; 16]), vec![7; limit::FRAME_LEN_MAX]);
    for _ in 0..limit::MAILBOX_KEY_BYTES_MAX / u64::try_from(limit::FRAME_LEN_MAX).unwrap() {
        assert_eq!(guest.leave(full, Some(&key), &frame).await, 0);
    }
    let common = vec![8; 40_000];
    let to = vec![
        (good, own[0].deposit_key([1; 16]), [1; 16]),
        (wrong, own[0].deposit_key([2; 16]), [2; 16]),
        (full, key, [3; 16]),
    ];
    let deposit = Deposit::shared(to, common.clone()).unwrap();
    let expected = deposit.to().iter().map(|(to, _)| match to {
        to if *to == good => 0,
        to if *to == wrong => code::DEPOSIT_DENIED,
        _ => code::MAILBOX_FULL,
    });
    let expected: Vec<u16> = expected.collect();
    assert_eq!(guest.deposit(&deposit.to_bytes()).await.unwrap(), expected);
    at.stop().await;
    at.start().await;
    let planner = End::agent(&at, PLANNER).await;
    let (_, frame) = planner.fetch().await.next().await.unwrap();
    assert_eq!(frame, [common.as_slice(), &[1; 16]].concat(), "on the disk, whole");
    // To a stranger the form is closed: there is nothing to be left without a key.
    let mut bytes = Deposit::shared(vec![(good, own[0].deposit_key([3; 16]), [1; 16])], start(1)).unwrap().to_bytes();
    assert_eq!(End::guest(&at).await.deposit(&bytes).await, Some(vec![0]));
    let at_end = bytes.len() - 1;
    bytes.truncate(at_end);
    assert_eq!(End::guest(&at).await.deposit(&bytes).await, None);
    let mut fetching = End::agent(&at, BOOKING).await.fetch().await;
    assert!(
        tokio::time::timeout(Duration::from_millis(300), fetching.next()).await.is_err(),
        "nothing was kept for it"
    );
}

/// contracts/mailbox.md M7: connections that say nothing take no more room than that, and go.
#[tokio::test]
async fn guests_are_so_many_and_silent_ones_go() {
    let at = Fixture::new().await;
    let begun = std::time::Instant::now();
    let mut guests = Vec::new();
    for _ in 0..limit::GUESTS_PER_SOURCE {
        guests.push(End::guest(&at).await);
    }
    let closed = |end: End| async move {
        let closed = tokio::time::timeout(PATIENCE, end.connection.closed()).await.unwrap();
        assert!(matches!(closed, CloseReason::ByPeer { code: CloseCode::BUSY, .. }), "{closed}");
    };
    closed(End::guest(&at).await).await;
    assert!(begun.elapsed() < Duration::from_millis(time::GUEST_PATIENCE), "it went at once");
    for guest in guests {
        closed(guest).await;
    }
    assert!(begun.elapsed() >= Duration::from_millis(time::GUEST_PATIENCE));
    let own = secret();
    End::agent(&at, PLANNER).await.open(&own).await;
    assert_eq!(End::guest(&at).await.leave(agent(PLANNER), Some(&own.deposit_key([1; 16])), b"frame").await, 0);
}

/// contracts/mailbox.md M8, M9.
#[tokio::test]
async fn the_newest_stream_alone_has_the_frames_and_what_is_over_goes() {
    let at = Fixture::new().await;
    let own = secret();
    let planner = End::agent(&at, PLANNER).await;
    planner.open(&own).await;
    let (guest, key) = (End::guest(&at).await, own.deposit_key([1; 16]));
    let mut older = planner.fetch().await;
    assert_eq!(guest.leave(agent(PLANNER), Some(&key), b"one").await, 0);
    assert_eq!(older.next().await.unwrap().1, b"one");
    let mut newer = planner.fetch().await;
    assert_eq!(newer.next().await.unwrap().1, b"one");
    assert_eq!(older.next().await, None);
    assert_eq!(guest.leave(agent(PLANNER), Some(&key), b"two").await, 0);
    assert_eq!(newer.next().await.unwrap().1, b"two");
    let service = at.node().service();
    service.mailboxes.expire(&service.ledger, UnixMillis(now().0 + time::MAILBOX_LIFE - 60_000));
    assert_eq!(planner.fetch().await.frames(2).await.len(), 2);
    service.mailboxes.expire(&service.ledger, UnixMillis(now().0 + time::MAILBOX_LIFE + 60_000));
    assert_eq!(guest.leave(agent(PLANNER), Some(&key), b"three").await, 0);
    assert_eq!(planner.fetch().await.next().await.unwrap().1, b"three");
}

/// A row that is damaged takes its own frame, and no other.
#[tokio::test]
async fn a_frame_that_cannot_be_read_holds_up_no_other() {
    let at = Fixture::new().await;
    let own = secret();
    let planner = End::agent(&at, PLANNER).await;
    planner.open(&own).await;
    let (guest, key) = (End::guest(&at).await, own.deposit_key([1; 16]));
    for number in 0..20_u8 {
        assert_eq!(guest.leave(agent(PLANNER), Some(&key), &[number]).await, 0);
    }
    let numbers: Vec<u64> = planner.fetch().await.frames(20).await.into_iter().map(|(number, _)| number).collect();
    // More of them than are read at once.
    let damaged =
        numbers[..18].iter().map(|number| Op::Put { key: rows::frame(&agent(PLANNER), *number), value: vec![7] });
    at.node().service().store.commit(&damaged.collect::<Vec<_>>()).unwrap();
    let left: Vec<Vec<u8>> = planner.fetch().await.frames(2).await.into_iter().map(|(_, frame)| frame).collect();
    assert_eq!(left, [[18], [19]]);
}

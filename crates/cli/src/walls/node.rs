//! What is thrown at a node: by clients that its policy names, and by strangers.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::Request;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use nuncio_contracts::registry::{event, limit, time};
use nuncio_proto::audit::{Chain, Event, SignedEvent, What};
use nuncio_proto::crypto::SigningKey;
use nuncio_proto::deposit::{Deposit, DepositKey, MailboxSecret};
use nuncio_proto::ids::AgentId;
use nuncio_proto::testing::jws;
use nuncio_proto::time::UnixMillis;
use nuncio_proto::token::sign;
use nuncio_transport::{Connection, FrameSender, Link, StreamKind};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use super::{Tried, link};
use crate::domain::{DOMAIN, SCOPE};

/// Clients of the policy that are hostile.
pub(super) const HOSTILE: u8 = 4;
/// Guests that leave frames, and how many of them come from one address.
const GUESTS: u32 = 128;
const GUESTS_PER_SOURCE: u32 = 16;
/// Of what is left by many, so that it is their number that has an end, and by one, so that it is the rate.
const FRAME_LEN: usize = 1_000;
const LONG_FRAME_LEN: usize = 30_000;
/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Of an answer that is looked at.
const ANSWER_LEN_MAX: usize = 64 << 10;

#[derive(Clone, Copy, Debug)]
pub(super) enum Attack {
    DepositsOfMany,
    DepositsOfOne,
    Tokens,
    TokensOfStrangers,
    Events,
    SlowClients,
}

/// Who is attacked, whose clients attack, and somebody's mailbox.
pub(super) struct Target {
    pub(super) node: AgentId,
    pub(super) quic: SocketAddr,
    pub(super) tcp: SocketAddr,
    pub(super) someone: AgentId,
    pub(super) hostile: Vec<SigningKey>,
}

/// What all who attack together have done.
#[derive(Default)]
struct Tally {
    attempts: AtomicU64,
    through: AtomicU64,
}

impl Tally {
    fn count(&self, attempts: usize, through: usize) {
        let wide = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        self.attempts.fetch_add(wide(attempts), Ordering::Relaxed);
        self.through.fetch_add(wide(through), Ordering::Relaxed);
    }

    fn tried(&self, (through_min, through_max): (u64, u64)) -> Tried {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Tried { attempts: of(&self.attempts), through: of(&self.through), through_min, through_max: Some(through_max) }
    }
}

impl Target {
    pub(super) async fn is_met_by(&self, attack: Attack, during: Duration) -> Result<Tried> {
        let (tally, began) = (Arc::new(Tally::default()), Instant::now());
        let until = began + during;
        match attack {
            Attack::DepositsOfMany => self.deposits_of_many(&tally, until).await?,
            Attack::DepositsOfOne => self.deposits_of_one(&tally, until).await?,
            Attack::Tokens => self.tokens(&tally, until).await?,
            Attack::TokensOfStrangers => self.tokens_of_strangers(&tally, until).await?,
            Attack::Events => self.events(&tally, until).await?,
            Attack::SlowClients => self.slow_clients(&tally, until).await?,
        }
        Ok(tally.tried((attack.through_min(), attack.through_max(began.elapsed()))))
    }

    /// A connection of a client's, or of a guest's.
    async fn connection(&self, key: &SigningKey, from: Ipv4Addr) -> Result<(Link, Connection)> {
        let link = link(key, from)?;
        let connection = link.dial(self.node, self.quic).await?;
        Ok((link, connection))
    }

    /// As many connections of each client as it may have, on its own link.
    async fn clients(&self) -> Result<Vec<(SigningKey, Link, Vec<Connection>)>> {
        let mut clients = Vec::new();
        for key in &self.hostile {
            let (link, first) = self.connection(key, Ipv4Addr::LOCALHOST).await?;
            let mut connections = vec![first];
            for _ in 1..limit::NODE_CONNECTIONS_PER_PEER {
                connections.push(link.dial(self.node, self.quic).await?);
            }
            clients.push((key.clone(), link, connections));
        }
        Ok(clients)
    }

    /// Each hostile client opens its mailbox, and guests leave frames there with keys that nobody used before and as strangers, as fast as they are taken;
    /// for somebody else, too, by a key that they made up.
    async fn deposits_of_many(&self, tally: &Arc<Tally>, until: Instant) -> Result<()> {
        let mailboxes = self.open_mailboxes().await?;
        let (mut guests, mut links) = (JoinSet::new(), Vec::new());
        for number in 0..GUESTS {
            let [.., fourth] = (number / GUESTS_PER_SOURCE).to_be_bytes();
            let mut seed = [78; 32];
            seed.iter_mut().zip(number.to_be_bytes()).for_each(|(byte, of)| *byte = of);
            let from = Ipv4Addr::new(127, 7, 0, fourth.saturating_add(1));
            let (link, connection) = self.connection(&SigningKey::from_seed(&seed), from).await?;
            links.push(link);
            let at = usize::try_from(number)?.checked_rem(mailboxes.len()).unwrap_or_default();
            let (agent, secret) = mailboxes.get(at).cloned().context("no mailbox")?;
            let (tally, someone) = (Arc::clone(tally), self.someone);
            guests.spawn(async move {
                for batch in 0_u64.. {
                    let (mut id, own) = ([0; 16], batch % 4 != 3);
                    id.iter_mut()
                        .zip(number.to_be_bytes().into_iter().chain(batch.to_be_bytes()))
                        .for_each(|(a, b)| *a = b);
                    let to = match own {
                        true => (agent, Some(secret.deposit_key(id))),
                        false if batch % 8 == 3 => (someone, Some(DepositKey::new([3; 32]))),
                        false => (agent, None),
                    };
                    let left = timeout_at(until, leave(&connection, to, FRAME_LEN)).await;
                    let Ok(Ok((attempts, through))) = left else { return };
                    tally.count(attempts, through);
                }
            });
        }
        drop(guests.join_all().await);
        Ok(())
    }

    /// One client leaves long frames for itself with one key, on every stream of every connection that it may have.
    async fn deposits_of_one(&self, tally: &Arc<Tally>, until: Instant) -> Result<()> {
        let mailboxes = self.open_mailboxes().await?;
        let (agent, secret) = mailboxes.first().context("no mailbox")?;
        let (to, clients) = ((*agent, Some(secret.deposit_key([1; 16]))), self.clients().await?);
        let mut streams = JoinSet::new();
        for connection in clients.iter().take(1).flat_map(|(_, _, connections)| connections) {
            for _ in 0..limit::STREAMS_MAX {
                let (connection, to, tally) = (connection.clone(), to.clone(), Arc::clone(tally));
                streams.spawn(async move {
                    while let Ok(Ok((attempts, through))) =
                        timeout_at(until, leave(&connection, to.clone(), LONG_FRAME_LEN)).await
                    {
                        tally.count(attempts, through);
                    }
                });
            }
        }
        drop(streams.join_all().await);
        Ok(())
    }

    async fn open_mailboxes(&self) -> Result<Vec<(AgentId, MailboxSecret)>> {
        let mut mailboxes = Vec::new();
        for (key, nth) in self.hostile.iter().zip(1..) {
            let (agent, secret) = (AgentId::from_bytes(key.public())?, MailboxSecret::new([nth; 32]));
            let (_link, connection) = self.connection(key, Ipv4Addr::LOCALHOST).await?;
            let opened = asker(&connection).await?.ask("PUT", "/mailbox/secret", secret.expose().to_vec()).await?;
            anyhow::ensure!(opened.0 == 204, "no mailbox is opened: {}", opened.0);
            mailboxes.push((agent, secret));
        }
        Ok(mailboxes)
    }

    /// Good requests and bad ones by turns, on every stream of every connection of every hostile client.
    async fn tokens(&self, tally: &Arc<Tally>, until: Instant) -> Result<()> {
        let (mut streams, clients) = (JoinSet::new(), self.clients().await?);
        for (key, _, connections) in &clients {
            let word = Arc::new(Word { by: key.clone(), to: self.node, made: AtomicU64::new(0) });
            for connection in connections {
                for _ in 0..limit::STREAMS_MAX {
                    let (connection, word, tally) = (connection.clone(), Arc::clone(&word), Arc::clone(tally));
                    streams.spawn(async move {
                        let Ok(mut asker) = asker(&connection).await else { return };
                        for number in 0_u32.. {
                            let Ok(form) = word.form(number % 4) else { return };
                            let asked = timeout_at(until, asker.ask("POST", "/token", form)).await;
                            let Ok(Ok((status, _))) = asked else { return };
                            tally.count(1, usize::from(status == 200));
                        }
                    });
                }
            }
        }
        drop(streams.join_all().await);
        Ok(())
    }

    /// Over TCP, by keys that nobody knows: what leaves a record has come through.
    async fn tokens_of_strangers(&self, tally: &Arc<Tally>, until: Instant) -> Result<()> {
        let mut connections = JoinSet::new();
        for number in 0..limit::NODE_CONNECTIONS_PER_SOURCE {
            let (to, tally) = (self.tcp, Arc::clone(tally));
            connections.spawn(async move {
                let Ok(mut asker) = tcp_asker(to).await else { return };
                for nth in 0_u64.. {
                    let form = stranger_form(number, nth);
                    let Ok(Ok((status, _))) = timeout_at(until, asker.ask("POST", "/token", form)).await else {
                        return;
                    };
                    tally.count(1, usize::from(status != 429));
                }
            });
        }
        drop(connections.join_all().await);
        Ok(())
    }

    /// On one stream of each client's connections its chain as it should be, on all others what is none: the same again, another story, a gap, the future,
    /// and no events at all.
    async fn events(&self, tally: &Arc<Tally>, until: Instant) -> Result<()> {
        let (mut streams, clients) = (JoinSet::new(), self.clients().await?);
        for (key, _, connections) in &clients {
            let agent = AgentId::from_bytes(key.public())?;
            for (nth, connection) in
                connections.iter().flat_map(|one| (0..limit::STREAMS_MAX).map(move |_| one)).enumerate()
            {
                let (connection, tally) = (connection.clone(), Arc::clone(tally));
                let mut teller = Teller { key: key.clone(), agent, chain: Chain::default(), epoch: now()?.0 };
                streams.spawn(async move {
                    let Ok(mut asker) = asker(&connection).await else { return };
                    for number in 0_u64.. {
                        let Ok(body) = (if nth == 0 { teller.next() } else { teller.bad(nth, number) }) else { return };
                        let Ok(Ok((_, answer))) = timeout_at(until, asker.ask("POST", "/events", body)).await else {
                            return;
                        };
                        tally.count(limit::EVENTS_MAX, logged(&answer));
                    }
                });
            }
        }
        drop(streams.join_all().await);
        Ok(())
    }

    /// A byte a second of requests, on half of the streams of one client and on as many connections over TCP as one address may have. The other streams ask
    /// for what has no end, and read none of it. Requests that are still open in the end have come through.
    async fn slow_clients(&self, tally: &Arc<Tally>, until: Instant) -> Result<()> {
        let (mut slow, clients) = (JoinSet::new(), self.clients().await?);
        for connection in clients.iter().take(1).flat_map(|(_, _, connections)| connections) {
            for nth in 0..limit::STREAMS_MAX {
                let (connection, tally) = (connection.clone(), Arc::clone(tally));
                slow.spawn(async move {
                    let Ok((mut send, _recv)) = connection.open(StreamKind::Http).await else { return };
                    if nth % 2 == 0 {
                        let asked = send.write_all(b"GET /log/stream?from=0 HTTP/1.1\r\nhost: node\r\n\r\n").await;
                        tally.count(1, 0);
                        tokio::time::sleep_until(until).await;
                        return drop(asked);
                    }
                    tally.count(1, usize::from(is_still_heard(send, until).await));
                });
            }
        }
        for _ in 0..limit::NODE_CONNECTIONS_PER_SOURCE {
            let (to, tally) = (self.tcp, Arc::clone(tally));
            slow.spawn(async move {
                let Ok(stream) = tcp_stream(to).await else { return };
                tally.count(1, usize::from(is_still_heard(stream, until).await));
            });
        }
        drop(slow.join_all().await);
        Ok(())
    }
}

impl Attack {
    /// It goes on for so long at the least.
    pub(super) fn during(self, flood: Duration) -> Duration {
        match self {
            // A head and a body each have their patience.
            Self::SlowClients => flood.max(Duration::from_millis(2 * time::REQUEST_PATIENCE + 5_000)),
            _ => flood,
        }
    }

    /// Of what is good among it some is taken, or it shows nothing.
    const fn through_min(self) -> u64 {
        match self {
            Self::SlowClients => 0,
            _ => 1,
        }
    }

    /// What the contracts let through in such a time.
    fn through_max(self, during: Duration) -> u64 {
        let (seconds, clients) = (during.as_secs() + 1, u64::from(HOSTILE));
        let wide = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let requests = u64::from(limit::REQUESTS_PER_CLIENT) * (2 + seconds);
        match self {
            // contracts/mailbox.md M6.
            Self::DepositsOfMany => clients * wide(limit::MAILBOX_FRAMES_MAX),
            // contracts/mailbox.md M7.
            Self::DepositsOfOne => u64::from(limit::DEPOSITS_BURST) + seconds * 1_000 / time::DEPOSIT_EVERY,
            // contracts/txts.md N34.
            Self::Tokens => clients * requests,
            Self::TokensOfStrangers => u64::from(limit::FAILURES_PER_SOURCE) * (10 + seconds),
            Self::Events => clients * requests * wide(limit::EVENTS_MAX),
            Self::SlowClients => 0,
        }
    }
}

/// Leaves as many frames on one stream as may be under way, for one: how many, and how many were taken.
async fn leave(connection: &Connection, to: (AgentId, Option<DepositKey>), len: usize) -> Result<(usize, usize)> {
    // As a start begins, which a stranger may leave.
    let mut frame = vec![0x87, 1, 1];
    frame.resize(len, 7);
    let deposit = Bytes::from(Deposit::new(vec![to], frame)?.to_bytes());
    let (send, mut recv) = connection.open(StreamKind::Deposit).await?;
    let mut send = FrameSender::deposits(send);
    send.send_many(&vec![deposit; limit::DEPOSITS_UNDER_WAY]).await?;
    send.finish()?;
    let answers = timeout(PATIENCE, recv.read_to_end(2 * limit::DEPOSITS_UNDER_WAY)).await??;
    let (codes, _) = answers.as_chunks::<2>();
    Ok((limit::DEPOSITS_UNDER_WAY, codes.iter().filter(|code| **code == [0, 0]).count()))
}

/// Writes a request of which a byte comes each second: whether it may still be written in the end.
async fn is_still_heard(mut stream: impl AsyncWrite + Unpin, until: Instant) -> bool {
    let head = b"POST /token HTTP/1.1\r\nhost: node\r\ncontent-length: 4000\r\n\r\n";
    for byte in head.iter().chain([b'x'; 4_000].iter()) {
        if stream.write_all(&[*byte]).await.is_err() {
            return false;
        }
        if timeout_at(until, tokio::time::sleep(Duration::from_secs(1))).await.is_err() {
            break;
        }
    }
    true
}

/// HTTP on one stream, one request after the other.
struct Asker(SendRequest<Full<Bytes>>);

async fn asker(connection: &Connection) -> Result<Asker> {
    let (send, recv) = connection.open(StreamKind::Http).await?;
    let (sender, driver) = http1::handshake(TokioIo::new(tokio::io::join(recv, send))).await?;
    tokio::spawn(driver);
    Ok(Asker(sender))
}

/// From an address of its own: what is counted by address is not the honest agents'.
async fn tcp_stream(to: SocketAddr) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::new(127, 8, 0, 1), 0).into())?;
    Ok(socket.connect(to).await?)
}

async fn tcp_asker(to: SocketAddr) -> Result<Asker> {
    let (sender, driver) = http1::handshake(TokioIo::new(tcp_stream(to).await?)).await?;
    tokio::spawn(driver);
    Ok(Asker(sender))
}

impl Asker {
    /// The status and the body of the answer.
    async fn ask(&mut self, method: &str, path: &str, body: impl Into<Bytes>) -> Result<(u16, Bytes)> {
        let request = Request::builder().method(method).uri(path).header("host", "node");
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        self.0.ready().await?;
        let response = timeout(PATIENCE, self.0.send_request(request.body(Full::new(body.into()))?)).await??;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), ANSWER_LEN_MAX).collect().await;
        Ok((status, body.map_err(|error| anyhow::anyhow!("{error}"))?.to_bytes()))
    }
}

/// A client's word that it acts for somebody, each another.
struct Word {
    by: SigningKey,
    to: AgentId,
    made: AtomicU64,
}

impl Word {
    /// A good request, one for what is not granted, one by a word that nobody gave, and one that is as long as may be.
    fn form(&self, kind: u32) -> Result<String> {
        let (iss, now_s) = (AgentId::from_bytes(self.by.public())?, now()?.0 / 1_000);
        let jti = self.made.fetch_add(1, Ordering::Relaxed);
        let claims = serde_json::json!({
            "iss": iss.to_string(), "sub": "user:mallory", "aud": self.to.to_string(), "iat": now_s, "exp": now_s + 60, "jti": format!("{jti:032}"),
        });
        let word = sign(&self.by, "JWT", &claims.to_string());
        Ok(match kind {
            0 => token_form(&word, SCOPE),
            1 => token_form(&word, "admin"),
            2 => token_form(&word.replace('.', ".A"), SCOPE),
            _ => token_form(&"A".repeat(limit::REQUEST_LEN_MAX - 1_000), SCOPE),
        })
    }
}

fn token_form(subject: &str, scope: &str) -> String {
    let urn = "urn:ietf:params:oauth";
    format!(
        "grant_type={urn}:grant-type:token-exchange&requested_token_type={urn}:token-type:txn_token&audience={DOMAIN}&scope={scope}\
         &subject_token_type=urn:ietf:params:oauth:token-type:self_signed&subject_token={subject}"
    )
}

/// A request by a client that the policy does not name, with a signature that has to be looked at or with much that has to be read.
fn stranger_form(number: usize, nth: u64) -> String {
    let key = SigningKey::from_seed(&[79; 32]);
    let claims = serde_json::json!({ "iss": "agent-0", "sub": "agent-0", "aud": DOMAIN, "jti": format!("{number}-{nth}"), "exp": u32::MAX });
    let assertion = jws(&key, r#"{"alg":"EdDSA"}"#, &claims.to_string());
    let subject = "A".repeat(if nth.is_multiple_of(2) { 30_000 } else { 100 });
    format!(
        "{}&client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer&client_assertion={assertion}",
        token_form(&subject, SCOPE)
    )
}

/// A client that tells the log of what it has done.
struct Teller {
    key: SigningKey,
    agent: AgentId,
    chain: Chain,
    epoch: u64,
}

impl Teller {
    /// The next events of its chain, as many as one request may have.
    fn next(&mut self) -> Result<Vec<u8>> {
        self.tell(|_| {})
    }

    /// What is no chain's.
    fn bad(&mut self, nth: usize, number: u64) -> Result<Vec<u8>> {
        match nth % 4 {
            // Another beginning, under numbers that the chain has.
            0 => {
                self.chain = Chain::default();
                self.tell(|event| event.transaction = Some(number.to_string()))
            }
            1 => self.tell(|event| event.seq += 1_000_000),
            2 => self.tell(|event| event.at = event.at.plus(time::LETTER_LIFE_MAX)),
            _ => Ok(vec![0; limit::EVENTS_MAX * limit::EVENT_LEN_MAX]),
        }
    }

    fn tell(&mut self, alter: impl Fn(&mut Event)) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        for _ in 0..limit::EVENTS_MAX {
            let mut event = Event::new(self.agent, now()?, What::of(event::LETTER_SENT).context("no such event")?);
            self.chain.number(&mut event, self.epoch);
            alter(&mut event);
            let signed = SignedEvent::sign(event, &self.key).context("no event")?;
            self.chain.follow(&signed);
            body.extend_from_slice(&u16::try_from(signed.as_bytes().len())?.to_be_bytes());
            body.extend_from_slice(signed.as_bytes());
        }
        Ok(body)
    }
}

/// How many events of a request are in the log.
fn logged(answer: &[u8]) -> usize {
    let answer: serde_json::Value = serde_json::from_slice(answer).unwrap_or_default();
    let answers = answer.get("answers").and_then(serde_json::Value::as_array);
    answers.map_or(0, |answers| answers.iter().filter(|one| one.get("index").is_some()).count())
}

fn now() -> Result<UnixMillis> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    Ok(UnixMillis(u64::try_from(since.as_millis())?))
}

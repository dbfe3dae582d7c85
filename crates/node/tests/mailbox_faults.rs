//! The node is killed while frames are left and fetched, its disk fills, and strangers flood it: no frame that was acknowledged is lost, and
//! memory stays under its bound.
//!
//! The tests start their own binary as the node. `NUNCIO_KILLS` and `NUNCIO_FLOOD` make them longer.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs
)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use nuncio_contracts::registry::{code, limit};
use nuncio_node::{Config, Node, init};
use nuncio_proto::crypto::SigningKey;
use nuncio_proto::deposit::{Deposit, DepositKey, MailboxSecret};
use nuncio_proto::ids::AgentId;
use nuncio_proto::secret::Key;
use nuncio_store::Kek;
use nuncio_transport::{Connection, FrameSender, Link, LinkConfig, RecvStream, SendStream, StreamKind};
use tokio_util::sync::CancellationToken;

const HOME: &str = "NUNCIO_MAILBOX_FAULTS_HOME";
const ADDRESS: &str = "NUNCIO_MAILBOX_FAULTS_ADDRESS";
const PATIENCE: Duration = Duration::from_secs(10);
const WRITERS: u8 = 4;
/// Shortest and longest life of a node in milliseconds, once it serves.
const LIFE_MS: (u64, u64) = (20, 400);

fn kek() -> Kek {
    Kek::from_key(Key::new([7; 32]))
}

fn recipient() -> SigningKey {
    SigningKey::from_seed(&[1; 32])
}

fn me() -> AgentId {
    AgentId::from_bytes(recipient().public()).unwrap()
}

fn secret() -> MailboxSecret {
    MailboxSecret::new([9; 32])
}

/// A number that differs from call to call.
fn random() -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).unwrap();
    u64::from_be_bytes(bytes)
}

fn deposit_key() -> DepositKey {
    let mut id = [0; 16];
    getrandom::fill(&mut id).unwrap();
    secret().deposit_key(id)
}

#[test]
#[ignore = "started by the tests below"]
fn victim() {
    let (Some(home), Ok(address)) = (std::env::var_os(HOME), std::env::var(ADDRESS)) else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let home = PathBuf::from(home);
    let mut config = Config::new(home.join("node"), kek(), home.join("policy.toml"));
    config.quic = Some(address.parse().unwrap());
    let started = runtime.block_on(Node::start(config));
    println!("\n{}", started.as_ref().map_or_else(|error| format!("refused: {error}"), |_| "serving".to_owned()));
    std::io::stdout().flush().unwrap();
    if started.is_err() {
        std::process::exit(3);
    }
    // Until it is killed, or its parent has gone.
    let _ = std::io::stdin().lines().next();
}

/// The node, in a process of its own.
struct Victim {
    child: Child,
}

impl Victim {
    /// Makes a home, and says whose it is.
    fn make(home: &Path) -> AgentId {
        let node = init(&home.join("node"), &kek()).unwrap();
        let policy = format!(
            "schema = \"nuncio/policy/1\"\n[service]\ntrust_domain = \"acme.example\"\nissuer = \"https://txts.example\"\n\
             transaction_life_s = 3600\n[[client]]\nname = \"recipient\"\ndid = \"{}\"\n",
            me()
        );
        std::fs::write(home.join("policy.toml"), policy).unwrap();
        node
    }

    /// A port that nobody has now.
    fn address() -> SocketAddr {
        UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
    }

    fn start(home: &Path, address: SocketAddr) -> Self {
        Self::try_start(home, address).expect("the node does not start")
    }

    /// A node that serves, or what it says instead.
    fn try_start(home: &Path, address: SocketAddr) -> Result<Self, String> {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "victim", "--ignored", "--nocapture", "--test-threads=1"])
            .env(HOME, home)
            .env(ADDRESS, address.to_string())
            .env_remove("NUNCIO_NOT_RUN_FILE")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let said = said.find(|line| line == "serving" || line.starts_with("refused")).unwrap_or_default();
        let started = Self { child };
        if said == "serving" { Ok(started) } else { Err(said) }
    }

    fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        // One that was killed is there no more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Somebody who is connected to the node.
struct End {
    connection: Connection,
    _link: Link,
}

impl End {
    /// `None` where nobody answers.
    async fn new(node: AgentId, address: SocketAddr, key: &SigningKey, from: Ipv4Addr) -> Option<Self> {
        let link = Link::bind(LinkConfig::new((from, 0).into()), key).ok()?;
        let connection = tokio::time::timeout(Duration::from_secs(2), link.dial(node, address)).await.ok()?.ok()?;
        Some(Self { connection, _link: link })
    }

    async fn guest(node: AgentId, address: SocketAddr, from: Ipv4Addr) -> Option<Self> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).unwrap();
        Self::new(node, address, &SigningKey::from_seed(&seed), from).await
    }

    /// The codes of the answer; `None` where none came.
    async fn leave(&self, to: Vec<(AgentId, Option<DepositKey>)>, frame: &[u8]) -> Option<Vec<u16>> {
        self.deposit(&Deposit::new(to, frame.to_vec()).unwrap()).await
    }

    async fn deposit(&self, deposit: &Deposit) -> Option<Vec<u16>> {
        self.deposits(core::slice::from_ref(deposit)).await
    }

    /// The codes of all, left on one stream; `None` where one has no answer.
    async fn deposits(&self, deposits: &[Deposit]) -> Option<Vec<u16>> {
        let bytes: Vec<Bytes> = deposits.iter().map(|deposit| deposit.to_bytes().into()).collect();
        let mut answers = vec![0; deposits.iter().map(|deposit| 2 * deposit.to().len()).sum()];
        let asked = async {
            let (send, mut recv) = self.connection.open(StreamKind::Deposit).await.ok()?;
            let mut send = FrameSender::deposits(send);
            send.send_many(&bytes).await.ok()?;
            send.finish().ok()?;
            recv.read_exact(&mut answers).await.ok()
        };
        tokio::time::timeout(PATIENCE, asked).await.ok()??;
        Some(answers.chunks(2).map(|code| u16::from_be_bytes(code.try_into().unwrap())).collect())
    }

    /// [`End::leave`] of one frame for the recipient.
    async fn leave_one(&self, key: &DepositKey, frame: &[u8]) -> Option<u16> {
        self.leave(vec![(me(), Some(key.clone()))], frame).await.map(|codes| codes[0])
    }

    /// Leaves frames for the recipient on one stream, every other as it is left where others share it: the codes of those that were answered, and whether the
    /// rest has no answer.
    async fn leave_all(&self, key: &DepositKey, frames: &[Vec<u8>]) -> (Vec<u16>, bool) {
        let deposit = |(at, frame): (usize, &Vec<u8>)| {
            let (common, end) = frame.split_last_chunk().unwrap();
            let shared = || Deposit::shared(vec![(me(), key.clone(), *end)], common.to_vec());
            let whole = || Deposit::new(vec![(me(), Some(key.clone()))], frame.clone());
            let deposit = if at % 2 == 0 { whole() } else { shared() };
            Bytes::from(deposit.unwrap().to_bytes())
        };
        let (bytes, mut codes): (Vec<_>, _) = (frames.iter().enumerate().map(deposit).collect(), Vec::new());
        let asked = async {
            let (send, mut recv) = self.connection.open(StreamKind::Deposit).await.ok()?;
            let mut send = FrameSender::deposits(send);
            let write = async {
                let _ = send.send_many(&bytes).await;
                let _ = send.finish();
            };
            let read = async {
                let mut code = [0; 2];
                while codes.len() < frames.len() && recv.read_exact(&mut code).await.is_ok() {
                    codes.push(u16::from_be_bytes(code));
                }
            };
            tokio::join!(write, read);
            Some(())
        };
        let _ = tokio::time::timeout(PATIENCE, asked).await;
        let ended = codes.len() < frames.len();
        (codes, ended)
    }

    async fn ask(&self, method: &str, path: &str, body: &[u8]) -> Option<(u16, Incoming)> {
        let asked = async {
            let (send, recv) = self.connection.open(StreamKind::Http).await.ok()?;
            let (mut client, driver) = handshake(TokioIo::new(tokio::io::join(recv, send))).await.ok()?;
            tokio::spawn(driver);
            let request = hyper::Request::builder().method(method).uri(path).header("host", "node");
            let request = request.body(Full::new(Bytes::copy_from_slice(body))).unwrap();
            let response = client.send_request(request).await.ok()?;
            Some((response.status().as_u16(), response.into_body()))
        };
        tokio::time::timeout(PATIENCE, asked).await.ok()?
    }
}

/// What the recipient has seen.
#[derive(Default)]
struct Seen {
    /// By number: it is given once.
    frames: BTreeMap<u64, Vec<u8>>,
    /// The node said that frames up to here are deleted.
    taken: u64,
    /// Numbers in the order in which they came in the newest stream.
    in_stream: Option<u64>,
}

impl Seen {
    fn take(&mut self, number: u64, frame: &[u8]) {
        assert!(number > self.taken, "frame {number} was taken and comes again");
        assert!(self.in_stream.is_none_or(|last| number > last), "frames are not in their order");
        self.in_stream = Some(number);
        let known = self.frames.entry(number).or_insert_with(|| frame.to_vec());
        assert_eq!(known, frame, "number {number} was given twice");
    }
}

/// Fetches, and says now and then what it has, until it is told to stop and nothing came for a while.
async fn fetch(node: AgentId, address: SocketAddr, seen: Arc<Mutex<Seen>>, stop: CancellationToken) {
    loop {
        // A connection to a node that was killed says nothing either: only what a later one does not bring is not there.
        let is_last = stop.is_cancelled();
        let end = End::new(node, address, &recipient(), Ipv4Addr::LOCALHOST).await;
        let stream = match &end {
            Some(end) => end.ask("GET", "/mailbox", &[]).await,
            None => None,
        };
        let (Some(end), Some((200, mut body))) = (end, stream) else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        seen.lock().unwrap().in_stream = None;
        let (mut read, mut since) = (BytesMut::new(), 0);
        loop {
            let part = tokio::time::timeout(Duration::from_secs(2), body.frame()).await;
            let Ok(part) = part else {
                match (is_last, stop.is_cancelled()) {
                    (true, _) => return,
                    (false, true) => break,
                    (false, false) => continue,
                }
            };
            let Some(Ok(part)) = part else { break };
            read.extend_from_slice(&part.into_data().unwrap());
            while let Some((head, rest)) = read.split_first_chunk::<12>() {
                let number = u64::from_be_bytes(*head.first_chunk().unwrap());
                let len = usize::try_from(u32::from_be_bytes(*head.last_chunk().unwrap())).unwrap();
                let Some(frame) = rest.get(..len) else { break };
                seen.lock().unwrap().take(number, frame);
                read.advance(12 + len);
                since += 1;
                if since >= 50 {
                    since = 0;
                    let Some((204, _)) = end.ask("POST", "/mailbox/taken", &number.to_be_bytes()).await else { break };
                    seen.lock().unwrap().taken = number;
                }
            }
        }
    }
}

/// Leaves frames, each another, until it is told to stop: those that were acknowledged, in their order.
async fn write(writer: u8, node: AgentId, address: SocketAddr, stop: CancellationToken) -> Vec<Vec<u8>> {
    let (mut number, mut kept) = (0_u32, Vec::new());
    while !stop.is_cancelled() {
        let Some(end) = End::guest(node, address, Ipv4Addr::new(127, 0, 0, 10 + writer)).await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let mut key = deposit_key();
        while !stop.is_cancelled() {
            // One, or many on one stream without waiting.
            let count = [1, 1, 40][usize::try_from(random() % 3).unwrap()];
            let frames: Vec<_> = (number..number + count)
                .map(|number| [&[writer], number.to_be_bytes().as_slice(), &[7; 400]].concat())
                .collect();
            number += count;
            let (codes, ended) = end.leave_all(&key, &frames).await;
            let refused = codes.iter().copied().find(|code| *code != 0);
            let first = codes.iter().position(|code| *code != 0).unwrap_or(codes.len());
            assert!(codes.iter().skip(first).all(|code| Some(*code) == refused), "{codes:?}");
            kept.extend(frames.into_iter().take(first));
            match refused {
                Some(code::BUSY) => key = deposit_key(),
                Some(code::MAILBOX_FULL) => tokio::time::sleep(Duration::from_millis(50)).await,
                Some(other) => panic!("code {other}"),
                None if ended => break,
                None => {}
            }
        }
    }
    kept
}

async fn open_mailbox(node: AgentId, address: SocketAddr) {
    let end = End::new(node, address, &recipient(), Ipv4Addr::LOCALHOST).await.unwrap();
    assert_eq!(end.ask("PUT", "/mailbox/secret", secret().expose()).await.unwrap().0, 204);
}

/// contracts/mailbox.md section 2: 0 means that the frame is on the node's disk.
#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_frame_is_lost_to_kills_at_random_moments() {
    let kills: u32 = std::env::var("NUNCIO_KILLS").map_or(50, |text| text.parse().expect("NUNCIO_KILLS is a number"));
    let dir = tempfile::tempdir().unwrap();
    let (node, address) = (Victim::make(dir.path()), Victim::address());
    let mut victim = Victim::start(dir.path(), address);
    open_mailbox(node, address).await;
    let (seen, stop) = (Arc::<Mutex<Seen>>::default(), CancellationToken::new());
    let reader = tokio::spawn(fetch(node, address, Arc::clone(&seen), stop.clone()));
    let writers: Vec<_> = (0..WRITERS).map(|writer| tokio::spawn(write(writer, node, address, stop.clone()))).collect();
    for _ in 0..kills {
        let life = LIFE_MS.0 + random() % (LIFE_MS.1 - LIFE_MS.0);
        tokio::time::sleep(Duration::from_millis(life)).await;
        victim = tokio::task::block_in_place(|| {
            victim.kill();
            Victim::start(dir.path(), address)
        });
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    stop.cancel();
    let mut kept = Vec::new();
    for writer in writers {
        kept.push(writer.await.unwrap());
    }
    tokio::time::timeout(Duration::from_secs(60), reader).await.expect("it has all in the end").unwrap();
    let seen = seen.lock().unwrap();
    let came: BTreeMap<&[u8], Vec<u64>> = seen.frames.iter().fold(BTreeMap::new(), |mut came, (number, frame)| {
        came.entry(frame.as_slice()).or_default().push(*number);
        came
    });
    for kept in &kept {
        let numbers = kept.iter().map(|frame| came.get(frame.as_slice()).expect("an acknowledged frame is lost"));
        let first: Vec<u64> = numbers.map(|numbers| numbers[0]).collect();
        assert!(first.is_sorted(), "frames of one writer are not in their order");
    }
    let total: usize = kept.iter().map(Vec::len).sum();
    println!("{kills} kills, {total} frames acknowledged, {} fetched, taken up to {}", seen.frames.len(), seen.taken);
    assert!(total > 10 * usize::try_from(kills).unwrap() && seen.taken > 0, "{total} frames, taken {}", seen.taken);
    assert!(came.values().all(|numbers| numbers.len() == 1), "a frame was kept twice that was left once");
    drop(victim);
}

/// From many guests, on all streams that they may open: many deposits without waiting for answers, and of one more all but its last byte.
async fn hold_deposits(node: AgentId, address: SocketAddr) -> Vec<(SendStream, RecvStream, Arc<End>)> {
    let to = vec![(me(), Some(DepositKey::new([3; 32])))];
    let deposit: Bytes = Deposit::new(to, vec![7; limit::FRAME_LEN_MAX]).unwrap().to_bytes().into();
    let len = (u32::try_from(deposit.len()).unwrap() | 0x8000_0000).to_be_bytes();
    let framed = [len.as_slice(), &deposit].concat();
    let (_, cut) = framed.split_last().unwrap();
    let mut held = Vec::new();
    for number in 0..128 {
        let end = End::guest(node, address, Ipv4Addr::new(127, 4, 0, 1 + number / 8)).await;
        let end = Arc::new(end.expect("there is a place"));
        for _ in 0..limit::STRANGER_STREAMS_MAX {
            let (mut send, mut recv) = end.connection.open(StreamKind::Deposit).await.unwrap();
            send.write_all(&[&framed, &framed, &framed, cut].concat()).await.expect("it is read");
            recv.read_exact(&mut [0; 3 * 2]).await.expect("what is whole is answered");
            held.push((send, recv, Arc::clone(&end)));
        }
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    held
}

/// Strangers that say nothing, and more frames than anybody may leave: memory has a bound, and others are served.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_strangers_and_frames_takes_no_more_memory_than_there_is_for_them() {
    /// What a node holds at the most beside what it has at its start: guests with their windows, and rows that are on their way.
    const MORE_KIB_MAX: u64 = 96 << 10;
    let scale: u32 = std::env::var("NUNCIO_FLOOD").map_or(10, |text| text.parse().expect("NUNCIO_FLOOD is a number"));
    let (connections, deposits) = (10_000 / scale, 100_000 / scale);
    let dir = tempfile::tempdir().unwrap();
    let (node, address) = (Victim::make(dir.path()), Victim::address());
    let victim = Victim::start(dir.path(), address);
    open_mailbox(node, address).await;
    let before = victim.resident_kib();
    // From as many addresses as loopback has for it, so that it is the bound of all that they meet.
    let next = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let silent = (0..64).map(|_| {
        let next = Arc::clone(&next);
        tokio::spawn(async move {
            let mut held = Vec::new();
            loop {
                let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                if number >= connections {
                    return held;
                }
                let [.., third, fourth] = (number % 512).to_be_bytes();
                held.extend(End::guest(node, address, Ipv4Addr::new(127, 1, third, fourth.max(1))).await);
            }
        })
    });
    let silent: Vec<_> = silent.collect();
    let mut held = Vec::new();
    for task in silent {
        held.extend(task.await.unwrap());
    }
    let silent_kib = victim.resident_kib();
    assert!(!held.is_empty(), "nobody came through");
    // Its own agents are served meanwhile.
    let own = End::new(node, address, &recipient(), Ipv4Addr::LOCALHOST).await.expect("an agent is let in");
    assert_eq!(own.ask("POST", "/mailbox/taken", &0_u64.to_be_bytes()).await.unwrap().0, 204);
    drop(held);
    // Over the quota of one key, and of strangers, and without any right.
    let mut codes = BTreeMap::<Option<u16>, u32>::new();
    let (key, lie, frame) = (deposit_key(), DepositKey::new([3; 32]), [0x87, 1, 1, 0].repeat(4_000));
    let mut guest = None;
    for number in 0..deposits {
        if guest.is_none() {
            guest = Some(loop {
                match End::guest(node, address, Ipv4Addr::new(127, 2, 0, 1)).await {
                    Some(guest) => break guest,
                    None => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            });
        }
        let key = [Some(&key), Some(&lie), None][usize::try_from(number % 3).unwrap()];
        let left = guest.as_ref().unwrap().leave(vec![(me(), key.cloned())], &frame).await.map(|codes| codes[0]);
        *codes.entry(left).or_default() += 1;
        if left.is_none() {
            guest = None;
        }
    }
    let flooded_kib = victim.resident_kib();
    let held = hold_deposits(node, address).await;
    let cut_kib = victim.resident_kib();
    println!(
        "{connections} silent connections: {} MiB more; {deposits} deposits ({codes:?}): {} MiB more; {} that do not come whole: {} MiB more",
        silent_kib.saturating_sub(before) >> 10,
        flooded_kib.saturating_sub(before) >> 10,
        held.len(),
        cut_kib.saturating_sub(before) >> 10
    );
    drop(held);
    assert!(silent_kib.saturating_sub(before) < MORE_KIB_MAX, "{before} KiB became {silent_kib} KiB");
    assert!(flooded_kib.saturating_sub(before) < MORE_KIB_MAX, "{before} KiB became {flooded_kib} KiB");
    assert!(cut_kib.saturating_sub(before) < MORE_KIB_MAX, "{before} KiB became {cut_kib} KiB");
    for refused in [code::BUSY, code::DEPOSIT_DENIED, code::MAILBOX_FULL] {
        assert!(codes.contains_key(&Some(refused)), "{codes:?}");
    }
    let guest = End::guest(node, address, Ipv4Addr::new(127, 3, 0, 1)).await.expect("another guest is let in");
    assert_eq!(guest.leave_one(&deposit_key(), b"frame").await, Some(0));
    let kept = u64::from(limit::DEPOSITS_BURST) + u64::from(deposits) / 5;
    assert!(u64::from(codes.get(&Some(0)).copied().unwrap_or(0)) <= kept, "{codes:?}");
}

/// A mounted tmpfs, unmounted on drop.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Result<Self, String> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=40m", "tmpfs"]).arg(dir.path()).output();
        match mounted {
            Ok(output) if output.status.success() => Ok(Self(dir)),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _left_behind = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

fn not_run(reason: &str) {
    let line = format!("mailbox_faults (crates/node): no tmpfs mount: {reason}");
    eprintln!("NOT RUN: {line}");
    if let Some(path) = std::env::var_os("NUNCIO_NOT_RUN_FILE") {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        writeln!(file, "{line}").unwrap();
    }
}

/// What was acknowledged is there after a full disk; while it is full nothing is, and once there is space frames are taken again.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_frames_and_loses_none() {
    let disk = match SmallDisk::mount() {
        Ok(disk) => disk,
        Err(reason) => return not_run(&reason),
    };
    let home = disk.0.path();
    let (node, address) = (Victim::make(home), Victim::address());
    let ballast = home.join("ballast");
    std::fs::write(&ballast, vec![1; 8 << 20]).unwrap();
    let victim = Victim::start(home, address);
    open_mailbox(node, address).await;
    let (mut kept, mut number) = (BTreeSet::new(), 0_u32);
    let frame = |number: u32| [number.to_be_bytes().as_slice(), &[7; 30_000]].concat();
    let guest = End::guest(node, address, Ipv4Addr::LOCALHOST).await.unwrap();
    loop {
        match guest.leave_one(&deposit_key(), &frame(number)).await {
            Some(0) => kept.insert(number),
            Some(code::BUSY) => break,
            other => panic!("{other:?}"),
        };
        number += 1;
        assert!(number < 2_000, "the disk is never full");
    }
    assert!(kept.len() > 100, "only {} frames fitted", kept.len());
    // It goes on saying no to whoever comes.
    let guest = End::guest(node, address, Ipv4Addr::LOCALHOST).await.unwrap();
    assert_eq!(guest.leave_one(&deposit_key(), &frame(number)).await, Some(code::BUSY));
    victim.kill();
    // Still full: it says so.
    let refused = Victim::try_start(home, address).err().expect("it has no space to start in");
    assert!(refused.contains("full"), "{refused}");
    std::fs::remove_file(&ballast).unwrap();
    let _victim = Victim::start(home, address);
    let guest = End::guest(node, address, Ipv4Addr::LOCALHOST).await.unwrap();
    assert_eq!(guest.leave_one(&deposit_key(), &frame(number)).await, Some(0));
    kept.insert(number);
    let (seen, stop) = (Arc::<Mutex<Seen>>::default(), CancellationToken::new());
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(60), fetch(node, address, Arc::clone(&seen), stop)).await.unwrap();
    let seen = seen.lock().unwrap();
    let came: BTreeSet<u32> =
        seen.frames.values().map(|frame| u32::from_be_bytes(*frame.first_chunk().unwrap())).collect();
    assert!(kept.is_subset(&came), "lost: {:?}", kept.difference(&came).collect::<Vec<_>>());
    println!("{} frames were kept; {} came", kept.len(), came.len());
}

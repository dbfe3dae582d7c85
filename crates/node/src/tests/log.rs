//! The audit log behind its doors.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use nuncio_contracts::registry::{event, limit, time};
use nuncio_proto::audit::{Chain, Event, SignedEvent, What};
use nuncio_proto::tlog::{Checkpoint, KeyKind, Note, NoteKey, Tile, inclusion_proof, verify_inclusion};
use nuncio_proto::tlog::{TileKind, TileNodes};
use nuncio_transport::{Connection, Link, LinkConfig, StreamKind};
use serde_json::Value;

use super::support::{
    BOOKING, DOMAIN, Fixture, GATEWAY, OPERATOR, PLANNER, Params, agent, body, key, policy, write_policy,
};
use crate::NodeError;
use crate::entropy::now;
use crate::log::verify;

/// An agent that tells what it did.
struct Teller {
    number: u8,
    chain: Chain,
    connection: Connection,
    _link: Link,
}

impl Teller {
    async fn new(at: &Fixture, number: u8) -> Self {
        let link = Link::bind(LinkConfig::new("127.0.0.1:0".parse().unwrap()), &key(number)).unwrap();
        let connection = link.dial(at.node().id(), at.node().quic_addr().unwrap()).await.unwrap();
        Self { number, chain: Chain::default(), connection, _link: link }
    }

    /// A stream of its own: the node ends one whose body it has not read.
    async fn client(&self) -> SendRequest<Full<Bytes>> {
        let (send, recv) = self.connection.open(StreamKind::Http).await.unwrap();
        let (client, driver) = handshake(TokioIo::new(tokio::io::join(recv, send))).await.unwrap();
        tokio::spawn(driver);
        client
    }

    fn sign(&self, bend: impl FnOnce(&mut Event)) -> SignedEvent {
        let mut event = Event::new(agent(self.number), now(), What::of(event::HEARTBEAT).unwrap());
        self.chain.number(&mut event, 1_000);
        bend(&mut event);
        SignedEvent::sign(event, &key(self.number)).unwrap()
    }

    fn next(&mut self) -> SignedEvent {
        let signed = self.sign(|_| {});
        self.chain.follow(&signed);
        signed
    }

    async fn post(&self, path: &str, body: Vec<u8>) -> (u16, Value) {
        let request = hyper::Request::post(path).header("host", "node").body(Full::from(body)).unwrap();
        let response = self.client().await.send_request(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    async fn get(&self, path: &str) -> (u16, Vec<u8>) {
        let request = hyper::Request::get(path).header("host", "node").body(Full::default()).unwrap();
        let response = self.client().await.send_request(request).await.unwrap();
        let status = response.status().as_u16();
        (status, response.into_body().collect().await.unwrap().to_bytes().to_vec())
    }

    async fn give(&self, events: &[SignedEvent]) -> (u16, Value) {
        self.post("/events", list(events)).await
    }
}

fn list(events: &[SignedEvent]) -> Vec<u8> {
    let event = |event: &SignedEvent| {
        [u16::try_from(event.as_bytes().len()).unwrap().to_be_bytes().as_slice(), event.as_bytes()].concat()
    };
    events.iter().flat_map(event).collect()
}

fn log_key(at: &Fixture) -> NoteKey {
    NoteKey::new(&format!("{DOMAIN}/log"), KeyKind::Ed25519, *at.node().id().as_bytes()).unwrap()
}

fn open(at: &Fixture, answer: &Value) -> Checkpoint {
    let note = Note::parse(answer["checkpoint"].as_str().unwrap().as_bytes()).unwrap();
    Checkpoint::open(&note, &log_key(at)).unwrap()
}

async fn fixture() -> Fixture {
    let mut at = Fixture::new().await;
    at.stop().await;
    at.records_stay = false;
    at.start().await;
    // The node's own events, that its policy came into force at two starts, come first.
    published(&at, 2).await;
    at
}

/// The published log, once it has so many entries.
async fn published(at: &Fixture, least: u64) -> Checkpoint {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let (status, note) = at.get("/log/checkpoint").await;
        if status == 200 {
            let head = Checkpoint::open(&Note::parse(note.as_bytes()).unwrap(), &log_key(at)).unwrap();
            if head.size >= least {
                return head;
            }
        }
        assert!(Instant::now() < until, "it is not published");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// contracts/audit.md V13, V14: every event is in the tree of the checkpoint that is answered, out of tiles that can be had at once.
#[tokio::test]
async fn events_are_in_the_tree_of_the_checkpoint_that_is_answered() {
    let at = fixture().await;
    let (mut planner, mut booking) = (Teller::new(&at, PLANNER).await, Teller::new(&at, BOOKING).await);
    for round in 0..12_u64 {
        for teller in [&mut planner, &mut booking] {
            let events: Vec<SignedEvent> = (0..=round * 5).map(|_| teller.next()).collect();
            let (status, answer) = teller.give(&events).await;
            assert_eq!(status, 200, "{answer}");
            let head = open(&at, &answer);
            for (event, said) in events.iter().zip(answer["answers"].as_array().unwrap()) {
                let index = said["index"].as_u64().unwrap();
                let mut tiles = std::collections::BTreeMap::new();
                for tile in Tile::all(head.size).filter(|tile| tile.kind() != TileKind::Entries) {
                    let (status, bytes) = teller.get(&format!("/log/{}", tile.path())).await;
                    assert_eq!(status, 200, "{}", tile.path());
                    tiles.insert(tile.path(), bytes);
                }
                let nodes = TileNodes::new(head.size, |tile: &Tile| tiles.get(&tile.path()).cloned().ok_or(()));
                let proof = inclusion_proof(&nodes, index, head.size).ok().unwrap();
                verify_inclusion(index, head.size, event.as_bytes(), &proof, &head.root).unwrap();
                if round > 3 {
                    break;
                }
            }
            // The same events have the same places, whenever they come again.
            assert_eq!(teller.give(&events).await.1["answers"], answer["answers"]);
        }
    }
    let size = open(&at, &planner.give(&[planner.sign(|_| {})]).await.1).size;
    published(&at, size).await;
    let verdict = verify(&at.home().join("log"), &log_key(&at), |_| {}).unwrap();
    assert_eq!(verdict.chains.len(), 3, "two agents', and the node's own");
}

/// contracts/audit.md V13, issue: what is refused is refused by name, nothing of it is appended, and others are served.
#[tokio::test]
async fn what_is_no_next_event_of_the_one_who_asks_is_refused_by_name() {
    let at = fixture().await;
    let (mut planner, mut booking) = (Teller::new(&at, PLANNER).await, Teller::new(&at, BOOKING).await);
    let first = planner.next();
    planner.give(std::slice::from_ref(&first)).await;
    let before = published(&at, 3).await.size;

    let foreign = booking.next();
    let mut altered = first.as_bytes().to_vec();
    *altered.last_mut().unwrap() ^= 1;
    let mut unsigned = list(std::slice::from_ref(&first));
    unsigned.truncate(unsigned.len() - 64);
    let altered = [u16::try_from(altered.len()).unwrap().to_be_bytes().as_slice(), &altered].concat();
    let many: Vec<SignedEvent> = (0..=limit::EVENTS_MAX).map(|_| first.clone()).collect();
    for (bytes, why) in [
        (Vec::new(), "no list"),
        (vec![7], "no list"),
        (vec![0, 9, 1], "shorter"),
        (vec![0, 0], "codec"),
        (altered, "signature"),
        (unsigned, "shorter"),
        (list(std::slice::from_ref(&foreign)), "another agent's"),
        (list(&many), "one too many"),
        (list(&[planner.sign(|event| event.what = What::of(event::TOKEN_REVOKED).unwrap())]), "a token service alone"),
        (list(&[first.clone(), foreign.clone()]), "event 1"),
    ] {
        let (status, answer) = planner.post("/events", bytes).await;
        assert_eq!((status, &answer["error"]), (400, &"invalid_request".into()), "{why}: {answer}");
        assert!(answer["error_description"].as_str().unwrap().contains(why), "{why}: {answer}");
    }
    let (status, answer) = planner.post("/events", vec![0; 70_000]).await;
    assert_eq!(status, 413, "{answer}");
    assert_eq!(published(&at, 0).await.size, before, "nothing was appended");

    let gap = planner.sign(|event| event.seq += 3);
    let future = planner.sign(|event| event.at = now().plus(time::CLOCK_SKEW + 60_000));
    let past = planner.sign(|event| (event.epoch, event.seq, event.prev) = (999, 0, [0; 32]));
    for (event, why) in [(gap, "gap"), (future, "future"), (past, "past")] {
        let (status, answer) = planner.give(&[event]).await;
        assert_eq!((status, &answer["answers"][0]["refused"]), (200, &why.into()), "{answer}");
        assert!(answer["answers"][0].get("index").is_none(), "{answer}");
    }
    let other = planner.sign(|event| event.prev = [7; 32]);
    let (_, answer) = planner.give(&[other]).await;
    let said = &answer["answers"][0];
    assert_eq!((&said["refused"], said["index"].as_u64()), (&"other-story".into(), Some(before)), "{answer}");
    assert_eq!(booking.give(&[foreign]).await.0, 200, "others are served");
}

/// contracts/audit.md V13, V16.
#[tokio::test]
async fn over_tcp_nobody_gives_events_and_this_machine_reads_them() {
    let at = fixture().await;
    for path in ["/events", "/checkpoint"] {
        assert_eq!(at.post(path, &Params::none().asserted(OPERATOR)).await.error(), (401, "invalid_client"));
    }
    published(&at, 1).await;
    assert_eq!(at.get("/log/tile/entries/000.p/1").await.0, 200);
    for path in
        ["/log/tile/entries/000", "/log/tile/0/000.p/200", "/log/tile/0/0", "/log/tile/../key", "/log/tile/9/000"]
    {
        assert_eq!(at.get(path).await.0, 404, "{path}");
    }
    let mut planner = Teller::new(&at, PLANNER).await;
    assert_eq!(planner.get("/log/checkpoint").await.0, 200);
    write_policy(at.folder.path(), &policy().replace(&agent(PLANNER).to_string(), &agent(78).to_string()));
    at.node().reload().await.unwrap();
    let event = planner.next();
    assert_eq!(planner.give(&[event]).await.0, 401, "who has left the policy gives nothing more");
    assert_eq!(planner.get("/log/checkpoint").await.0, 403, "nor reads");
}

/// A node that was killed before it published what it had appended does it in its next life, without being given more.
#[tokio::test]
async fn a_head_that_was_not_published_is_published_by_the_next_life() {
    let mut at = fixture().await;
    let size = published(&at, 1).await.size;
    at.stop().await;
    std::fs::remove_file(at.home().join("log/checkpoint")).unwrap();
    at.start().await;
    assert!(published(&at, size).await.size >= size);
}

/// What its clock said when it was ahead does not end a node's own chain.
#[tokio::test]
async fn a_node_whose_clock_was_ahead_goes_on_with_its_chain() {
    let mut at = fixture().await;
    let (log_key, signer, node) = (log_key(&at), at.node().service().identity().signing().clone(), at.node().id());
    at.stop().await;
    let (store, _) = crate::home::open(&at.home(), &super::support::kek()).unwrap();
    let store = std::sync::Arc::new(store);
    let log = crate::log::Log::open(store, &at.home().join("log"), log_key, signer.clone()).unwrap();
    let mut events = crate::log::Events::open(log).unwrap();
    let ahead = now().plus(3_600_000);
    let mut event = Event::new(node, ahead, What::of(event::HEARTBEAT).unwrap());
    Chain::default().number(&mut event, ahead.0);
    let signed = SignedEvent::sign(event, &signer).unwrap();
    events.take_all(&[signed], ahead, vec![]).unwrap();
    let size = events.log().size();
    drop(events);
    at.start().await;
    at.node().rotate(true).await.unwrap();
    published(&at, size + 1).await;
    assert_eq!(at.get("/health/ready").await.0, 200);
}

/// contracts/audit.md V17.
#[tokio::test]
async fn what_the_token_service_did_is_in_the_log_and_leaves_the_store() {
    let mut at = fixture().await;
    let begun = at.begun().await;
    let handed = at.token(GATEWAY, Params::replace(&begun, PLANNER)).await;
    at.ask(PLANNER, Params::replace(&handed, BOOKING).set("scope", "travel.fly")).await;
    at.post("/revoke", &Params::none().with("token", &handed).asserted(OPERATOR)).await;
    at.node().rotate(true).await.unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    while at.node().service().ledger.waiting().load(std::sync::atomic::Ordering::Relaxed) > 0 {
        assert!(Instant::now() < until, "records wait");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let key = log_key(&at);
    at.stop().await;
    let verdict = verify(&at.home().join("log"), &key, |_| {}).unwrap();
    let (store, _) = crate::home::open(&at.home(), &super::support::kek()).unwrap();
    let log =
        crate::log::Log::open(std::sync::Arc::new(store), &at.home().join("log"), key, super::support::key(0)).unwrap();
    let events: Vec<Event> = (0..verdict.head.size)
        .map(|index| SignedEvent::parse(&log.view().entry(index).unwrap()).unwrap().event().clone())
        .collect();
    let names: Vec<&str> = events.iter().map(|event| event::name(event.what.number())).collect();
    let told = &names[names.len() - 5..];
    assert_eq!(told, ["token_issued", "token_replaced", "token_denied", "token_revoked", "key_rotated"], "{names:?}");
    assert!(names[..names.len() - 5].iter().all(|name| *name == "policy_changed"), "{names:?}");
    let [issued, replaced, denied, revoked, _] = &events[events.len() - 5..] else { unreachable!() };
    let txn = body(&begun)["txn"].as_str().unwrap().to_owned();
    assert!([issued, replaced, denied, revoked].iter().all(|event| event.transaction.as_deref() == Some(&txn)));
    let hash = |token: &str| Some(nuncio_proto::token::hash_of(token.as_bytes()));
    assert_eq!((issued.token, replaced.token), (hash(&begun), hash(&handed)));
    assert_eq!(issued.kind.as_deref(), Some("travel.book travel.pay"));
    assert_eq!(denied.kind.as_deref(), Some("invalid_scope"));
    assert_eq!(issued.peer, Some(nuncio_proto::audit::EventPeer::Agent(agent(GATEWAY))));
    drop(log);
    // Nothing of it is told again, and what was used up is used up still.
    assert!(
        crate::ledger::records(&at.home(), &super::support::kek())
            .unwrap()
            .iter()
            .all(|record| !record.used.is_empty())
    );
    at.start().await;
    published(&at, verdict.head.size + 1).await;
    at.stop().await;
}

/// contracts/txts.md N30: an id stays used up through the log and a restart.
#[tokio::test]
async fn an_assertion_does_not_serve_again_when_its_record_has_left() {
    let mut at = fixture().await;
    let form = Params::begin().asserted(GATEWAY);
    assert_eq!(at.post("/token", &form).await.status, 200);
    let until = Instant::now() + Duration::from_secs(20);
    while at.node().service().ledger.waiting().load(std::sync::atomic::Ordering::Relaxed) > 0 {
        assert!(Instant::now() < until, "records wait");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    at.stop().await;
    at.start().await;
    assert_eq!(at.post("/token", &form).await.error(), (401, "invalid_client"));
}

/// contracts/audit.md V15.
#[tokio::test]
async fn a_log_that_is_shown_a_head_that_it_does_not_have_takes_nothing_more() {
    let at = fixture().await;
    let mut planner = Teller::new(&at, PLANNER).await;
    let event = planner.next();
    let (_, answer) = planner.give(&[event]).await;
    let note = answer["checkpoint"].as_str().unwrap().as_bytes().to_vec();
    assert_eq!(planner.post("/checkpoint", note.clone()).await.0, 204);
    // A head that it never signed proves nothing.
    let mut forged = open(&at, &answer);
    forged.size += 10;
    let by_another = NoteKey::new(&format!("{DOMAIN}/log"), KeyKind::Ed25519, key(7).public()).unwrap();
    let by_another = forged.sign(&by_another, &key(7)).unwrap();
    assert_eq!(planner.post("/checkpoint", by_another.to_string().into_bytes()).await.0, 400);
    assert_eq!(planner.post("/checkpoint", b"no note".to_vec()).await.0, 400);
    let event = planner.next();
    assert_eq!(planner.give(&[event]).await.0, 200);
    // One that it did sign, of another past.
    for change in [|head: &mut Checkpoint| head.size += 10, |head: &mut Checkpoint| head.root = [7; 32]] {
        let mut at = fixture().await;
        let mut planner = Teller::new(&at, PLANNER).await;
        let event = planner.next();
        let mut head = open(&at, &planner.give(&[event]).await.1);
        change(&mut head);
        let signed = head.sign(&log_key(&at), at.node().service().identity().signing()).unwrap();
        assert_eq!(planner.post("/checkpoint", signed.to_string().into_bytes()).await.0, 409);
        let event = planner.next();
        assert_eq!(planner.give(&[event]).await.0, 503, "it has ended");
        assert_eq!(at.get("/health/ready").await.0, 503);
        at.stop().await;
        let started = at.try_start().await;
        assert!(matches!(started, Err(NodeError::Log(_))), "a restart changes nothing: {started:?}");
    }
}

/// contracts/audit.md V16.
#[tokio::test]
async fn the_stream_tells_what_is_there_and_what_comes_and_goes_on_where_it_broke_off() {
    let at = fixture().await;
    let mut planner = Teller::new(&at, PLANNER).await;
    let before = published(&at, 1).await.size;
    let events: Vec<SignedEvent> = (0..40).map(|_| planner.next()).collect();
    planner.give(&events).await;
    let mut response = at.http.get(at.url("/log/stream?from=0")).send().await.unwrap();
    let mut text = String::new();
    let mut more = planner.next();
    let total = before + 41;
    while !text.contains(&format!("id: {}\n", total - 1)) {
        let piece = tokio::time::timeout(Duration::from_secs(20), response.chunk()).await.expect("it comes").unwrap();
        text.push_str(std::str::from_utf8(&piece.expect("it goes on")).unwrap());
        if text.contains(&format!("id: {}\n", total - 2)) && more.event().seq == 40 {
            planner.give(std::slice::from_ref(&more)).await;
            more = planner.next();
        }
    }
    let told: Vec<Value> = text
        .lines()
        .filter_map(|line| line.strip_prefix("data: ").or_else(|| line.strip_prefix("data:")))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let indexes: Vec<u64> = told.iter().map(|event| event["index"].as_u64().unwrap()).collect();
    assert_eq!(indexes, (0..total).collect::<Vec<_>>());
    let last = told.last().unwrap();
    assert_eq!((&last["what"], &last["agent"]), (&"heartbeat".into(), &agent(PLANNER).to_string().into()));
    let again = at.http.get(at.url("/log/stream")).header("last-event-id", (total - 2).to_string());
    let piece = again.send().await.unwrap().chunk().await.unwrap().unwrap();
    assert!(std::str::from_utf8(&piece).unwrap().contains(&format!("id: {}\n", total - 1)));
}

/// A full disk takes no event and loses none, and no new start is wanted once there is space.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_goes_on_when_its_disk_has_space_again() {
    let at = fixture().await;
    let mut teller = Teller::new(&at, PLANNER).await;
    let one = [teller.next()];
    assert_eq!(teller.give(&one).await.0, 200);
    let before = published(&at, 3).await;
    // Whatever is written there finds no space.
    let unfinished = at.home().join("log/unfinished");
    let fill = || std::os::unix::fs::symlink("/dev/full", &unfinished).unwrap();
    let free = || std::fs::remove_file(&unfinished).unwrap();
    fill();
    // They are durable, and cannot be published.
    let few = [teller.next(), teller.next()];
    assert_eq!(teller.give(&few).await.0, 200);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert!(at.node().takes_events());
    assert_eq!(published(&at, before.size).await.size, before.size);
    free();
    published(&at, before.size + 2).await;
    // A bundle fills, and cannot be a file.
    fill();
    let more: Vec<SignedEvent> = (0..300).map(|_| teller.next()).collect();
    let (until, mut refused) = (Instant::now() + Duration::from_secs(20), 0);
    for part in more.chunks(limit::EVENTS_MAX) {
        while teller.give(part).await.0 != 200 {
            refused += 1;
            if refused == 3 {
                free();
            }
            assert!(Instant::now() < until, "it does not go on");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    assert!(refused >= 3, "something was refused meanwhile");
    let size = before.size + 2 + u64::try_from(more.len()).unwrap();
    published(&at, size).await;
    assert_eq!(verify(&at.home().join("log"), &log_key(&at), |_| {}).unwrap().head.size, size);
}

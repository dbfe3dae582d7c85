//! A node whose log is anchored, and calendars of all kinds: each is a stand-in on loopback, which speaks what OpenTimestamps' calendars speak.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use data_encoding::HEXLOWER;
use nuncio_contracts::registry::limit;
use nuncio_proto::crypto;
use nuncio_proto::tlog::{
    Attestation, Attested, Checkpoint, Detached, KeyKind, Note, NoteKey, Operation, Timestamp, blinded, cosigned_at,
};
use tokio_util::sync::CancellationToken;

use super::support::{Fixture, kek, key, policy, write_policy};
use crate::log::{Anchored, verify};
use crate::witness::{Witness, bind};

/// What a stand-in does.
#[derive(Clone, Debug)]
enum Mood {
    /// What calendars do; with a height once there is a block.
    Honest(Option<u32>),
    /// These bytes for whatever is asked.
    Says(Vec<u8>),
    /// A pending attestation of another place, whatever is asked.
    Elsewhere(String),
    Broken,
    /// It takes connections and says nothing.
    Silent,
}

#[derive(Clone)]
struct Calendar {
    url: String,
    mood: Arc<Mutex<Mood>>,
    sent: Arc<Mutex<Vec<Vec<u8>>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

fn pending(uri: &str) -> Timestamp {
    Timestamp::attested(Attestation::Pending(uri.to_owned()))
}

fn in_block(height: u32) -> Timestamp {
    let block = Timestamp::attested(Attestation::Bitcoin(height));
    Timestamp::path([Operation::Append(vec![9; 32]), Operation::Sha256, Operation::Sha256], block)
}

impl Calendar {
    async fn new(mood: Mood) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let calendar = Self { url, mood: Arc::new(Mutex::new(mood)), sent: Arc::default(), asked: Arc::default() };
        let app = Router::new()
            .route("/digest", post(digest))
            .route("/timestamp/{message}", get(timestamp))
            .with_state(calendar.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        calendar
    }

    fn is_now(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    fn sent(&self) -> Vec<Vec<u8>> {
        self.sent.lock().unwrap().clone()
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    async fn answer(&self, honest: impl Fn(Option<u32>) -> Option<Timestamp>) -> Response {
        let mood = self.mood.lock().unwrap().clone();
        match mood {
            Mood::Honest(height) => match honest(height) {
                Some(answer) => answer.to_bytes().into_response(),
                None => StatusCode::NOT_FOUND.into_response(),
            },
            Mood::Says(bytes) => bytes.into_response(),
            Mood::Elsewhere(uri) => pending(&uri).to_bytes().into_response(),
            Mood::Broken => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            Mood::Silent => std::future::pending().await,
        }
    }
}

async fn digest(State(calendar): State<Calendar>, body: Bytes) -> Response {
    calendar.sent.lock().unwrap().push(body.to_vec());
    let to_commitment = [Operation::Append(vec![5; 32]), Operation::Sha256, Operation::Prepend(vec![1; 4])];
    calendar.answer(|_| Some(Timestamp::path(to_commitment.clone(), pending(&calendar.url)))).await
}

async fn timestamp(State(calendar): State<Calendar>, Path(message): Path<String>) -> Response {
    calendar.asked.lock().unwrap().push(message);
    calendar.answer(|height| height.map(in_block)).await
}

fn with_calendars(calendars: &[&Calendar]) -> String {
    let named = |calendar: &&Calendar| format!("[[anchor]]\ncalendar = \"{}\"\n", calendar.url);
    policy() + &calendars.iter().map(named).collect::<String>()
}

/// A node whose records become events, under a policy with these calendars.
async fn start(at: &mut Fixture, calendars: &[&Calendar]) {
    if at.node.is_some() {
        at.stop().await;
    }
    at.records_stay = false;
    write_policy(at.folder.path(), &with_calendars(calendars));
    at.start().await;
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(40);
    while !is_so() {
        assert!(Instant::now() < until, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// An anchor's file.
fn file(at: &Fixture, name: &str) -> Option<Vec<u8>> {
    std::fs::read(at.home().join("log/anchor").join(name)).ok()
}

fn newest(at: &Fixture) -> Option<u64> {
    file(at, "newest").map(|bytes| String::from_utf8(bytes).unwrap().trim_end().parse().unwrap())
}

async fn anchored(at: &Fixture) -> u64 {
    until("no anchor", || newest(at).is_some()).await;
    newest(at).unwrap()
}

fn stamp(at: &Fixture, size: u64) -> Detached {
    Detached::parse(&file(at, &format!("{size}.ots")).unwrap()).unwrap()
}

fn heights(stamp: &Detached) -> Vec<u32> {
    stamp.attested().iter().filter_map(|it| it.block().map(|(height, _)| height)).collect()
}

fn log_key(at: &Fixture) -> NoteKey {
    at.node().service().scribe.view().borrow().key().clone()
}

async fn verified(at: &Fixture) -> Option<Anchored> {
    let (folder, key) = (at.home().join("log"), log_key(at));
    tokio::task::spawn_blocking(move || verify(&folder, &key, |_| {}).unwrap().anchor).await.unwrap()
}

fn published(at: &Fixture) -> u64 {
    at.node().service().scribe.published().borrow().size()
}

/// contracts/log.md G22, G25, G26.
#[tokio::test]
async fn a_head_is_anchored_and_its_block_asked_for_until_there_is_one() {
    let mut at = Fixture::new().await;
    let (one, two) = (Calendar::new(Mood::Honest(None)).await, Calendar::new(Mood::Honest(None)).await);
    start(&mut at, &[&one, &two]).await;
    let size = anchored(&at).await;
    let note = file(&at, &size.to_string()).unwrap();
    let head = Checkpoint::open(&Note::parse(&note).unwrap(), &log_key(&at)).unwrap();
    assert_eq!(head.size, size);
    let before = stamp(&at, size);
    assert_eq!(before.digest, crypto::sha256(&[&note]));
    let told = before.attested();
    let at_calendar = |url: &str| told.iter().find(|it| it.pending() == Some(url)).unwrap().clone();
    assert!(told.len() == 2 && heights(&before).is_empty());
    let sent = one.sent();
    assert!(sent.len() == 1 && sent == two.sent(), "both are sent the same, once");
    let (blind, nonce) = (sent[0].clone(), before.to_bytes()[67..83].try_into().unwrap());
    assert_eq!(blind, blinded(&before.digest, &nonce), "which does not say whose it is");
    assert_eq!(verified(&at).await.unwrap().attested, told);
    // It is served as it lies there.
    for name in ["newest".to_owned(), size.to_string(), format!("{size}.ots")] {
        let answer = at.http.get(at.url(&format!("/log/anchor/{name}"))).send().await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), answer.bytes().await.unwrap().to_vec()),
            (200, file(&at, &name).unwrap())
        );
    }
    for name in ["0", "07", "unfinished", "..%2fcheckpoint", "newest.ots"] {
        assert_eq!(at.get(&format!("/log/anchor/{name}")).await.0, 404, "{name}");
    }
    // It is pending still.
    start(&mut at, &[&one, &two]).await;
    until("nobody was asked", || one.asked().len() == 1 && two.asked().len() == 1).await;
    assert_eq!(one.asked(), [HEXLOWER.encode(&at_calendar(&one.url).message)]);
    assert_eq!(stamp(&at, size), before);
    // One of them names a block; the other stays as it is.
    one.is_now(Mood::Honest(Some(970_000)));
    start(&mut at, &[&one, &two]).await;
    until("no block", || heights(&stamp(&at, size)) == [970_000]).await;
    let after = stamp(&at, size);
    let gone: Vec<_> = told.iter().filter(|it| !after.attested().contains(it)).filter_map(Attested::pending).collect();
    assert_eq!(gone, [one.url.as_str()], "what was answered waits no more, and nothing else has gone");
    let wanted = in_block(970_000).evaluate(&at_calendar(&one.url).message);
    assert!(wanted.iter().all(|it| after.attested().contains(it)));
    assert_eq!(verified(&at).await.unwrap().attested, after.attested());
    assert_eq!(file(&at, &size.to_string()).unwrap(), note, "a note stays as it is");
    // It is not asked any more.
    let asked = one.asked().len();
    start(&mut at, &[&one, &two]).await;
    at.begun().await;
    until("no head", || published(&at) > size).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!((one.asked().len(), newest(&at)), (asked, Some(size)));
    at.stop().await;
}

/// contracts/log.md G22: a head waits a while for its witnesses, and not for one that is away.
#[tokio::test]
async fn what_is_anchored_has_its_witnesses_lines() {
    let mut at = Fixture::new().await;
    let calendar = Calendar::new(Mood::Honest(None)).await;
    let home = tempfile::tempdir().unwrap();
    let witness = Witness::open(&home.path().join("w"), &kek(), "witness.example/w1", vec![log_key(&at)]).unwrap();
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let url = format!("http://{}/add-checkpoint", listener.local_addr().unwrap());
    let (witness, closing) = (Arc::new(witness), CancellationToken::new());
    tokio::spawn(Arc::clone(&witness).serve(listener, closing.clone()));
    let away = NoteKey::new("witness.example/away", KeyKind::CosignatureV1, key(4).public()).unwrap();
    let named = |key: &NoteKey, url: &str| format!("[[witness]]\nkey = \"{key}\"\nurl = \"{url}\"\n");
    let witnesses = named(witness.key(), &url) + &named(&away, "http://127.0.0.1:1/add-checkpoint");
    at.stop().await;
    at.records_stay = false;
    write_policy(at.folder.path(), &(with_calendars(&[&calendar]) + &witnesses));
    at.start().await;
    let size = anchored(&at).await;
    let note = Note::parse(&file(&at, &size.to_string()).unwrap()).unwrap();
    assert!(cosigned_at(&note, witness.key()).is_ok());
    assert!(cosigned_at(&note, &away).is_err());
    closing.cancel();
    at.stop().await;
}

#[tokio::test]
async fn the_next_head_is_anchored_when_its_time_has_come() {
    let mut at = Fixture::new().await;
    let calendar = Calendar::new(Mood::Honest(None)).await;
    // A policy that is read again is enough.
    at.stop().await;
    at.records_stay = false;
    at.start().await;
    at.begun().await;
    write_policy(at.folder.path(), &with_calendars(&[&calendar]));
    at.node().reload().await.unwrap();
    at.begun().await;
    let first = anchored(&at).await;
    at.begun().await;
    until("no head", || published(&at) > first).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(newest(&at), Some(first), "an hour is not over");
    at.stop().await;
    let long_ago = SystemTime::now() - Duration::from_secs(3_601);
    std::fs::File::options()
        .write(true)
        .open(at.home().join("log/anchor/newest"))
        .and_then(|file| file.set_modified(long_ago))
        .unwrap();
    at.start().await;
    until("no second anchor", || newest(&at) > Some(first)).await;
    assert_eq!(calendar.sent().len(), 2);
    assert!(file(&at, &format!("{first}.ots")).is_some(), "the first stays");
    // It is not forgotten because another one was due first.
    let second = newest(&at).unwrap();
    calendar.is_now(Mood::Honest(Some(970_001)));
    at.begun().await;
    until("the first is not asked for", || heights(&stamp(&at, first)) == [970_001]).await;
    assert_eq!((newest(&at), calendar.asked().len()), (Some(second), 1), "it is not time yet for the second");
    assert_eq!(verified(&at).await.unwrap().head.size, newest(&at).unwrap());
    at.stop().await;
}

/// Whatever others answer, what one calendar has taken is kept, and nothing of theirs.
#[tokio::test]
async fn what_is_no_answer_is_not_kept() {
    let mut at = Fixture::new().await;
    let good = Calendar::new(Mood::Honest(None)).await;
    let elsewhere = Calendar::new(Mood::Honest(None)).await;
    let whole = Detached { digest: [7; 32], timestamp: in_block(9) }.to_bytes();
    let garbage = b"<html>".to_vec();
    let too_much = [vec![0xf0, 0x01], vec![0; limit::TIMESTAMP_ANSWER_LEN_MAX]].concat();
    let other = Timestamp::attested(Attestation::Other { tag: *b"whatever", payload: vec![] }).to_bytes();
    let block = Timestamp::attested(Attestation::Bitcoin(9));
    let long = [Operation::Append(vec![7; limit::TIMESTAMP_FURTHER_LEN_MAX]), Operation::Sha256];
    let bad = [
        Mood::Says(garbage),
        Mood::Says(Timestamp::path(long, block).to_bytes()),
        Mood::Says(too_much),
        Mood::Says(whole),
        Mood::Says(other),
        Mood::Elsewhere(elsewhere.url.clone()),
        Mood::Broken,
    ];
    let mut calendars = vec![good.clone()];
    for mood in &bad {
        calendars.push(Calendar::new(mood.clone()).await);
    }
    let named: Vec<&Calendar> = calendars.iter().collect();
    start(&mut at, &named).await;
    let size = anchored(&at).await;
    assert!(calendars.iter().all(|calendar| calendar.sent().len() == 1), "all were sent it");
    let before = stamp(&at, size);
    assert_eq!(before.attested().iter().filter_map(|it| it.pending()).collect::<Vec<_>>(), [good.url.as_str()]);
    for mood in &bad {
        good.is_now(mood.clone());
        let asked = good.asked().len();
        start(&mut at, &[&good]).await;
        until("it was not asked", || good.asked().len() > asked).await;
        at.begun().await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(stamp(&at, size), before, "{mood:?}");
    }
    assert!(elsewhere.asked().is_empty() && elsewhere.sent().is_empty(), "it is not in the policy");
    at.stop().await;
}

/// contracts/log.md G25, G26: what one calendar says takes neither the room nor the place of what another does.
#[tokio::test]
async fn one_calendar_that_lies_keeps_no_other_from_its_block() {
    let mut at = Fixture::new().await;
    let (good, liar) = (Calendar::new(Mood::Honest(None)).await, Calendar::new(Mood::Honest(Some(1))).await);
    let flood = |count: u8| {
        let one = |number: u8| {
            let way = [Operation::Append(vec![number; 8]), Operation::Sha256];
            Timestamp::path(way, pending(&liar.url)).to_bytes()
        };
        let (last, first) = (one(count), (0..count).flat_map(|number| [vec![0xff], one(number)].concat()));
        first.chain(last).collect::<Vec<u8>>()
    };
    let long = Timestamp::path([Operation::Append(vec![7; 1_100]), Operation::Sha256], pending(&liar.url)).to_bytes();
    // Each of these is refused, and the other's is kept.
    for lie in [flood(20), flood(1), long, in_block(2).to_bytes()] {
        let mut fresh = Fixture::new().await;
        liar.is_now(Mood::Says(lie));
        start(&mut fresh, &[&liar, &good]).await;
        let size = anchored(&fresh).await;
        assert_eq!(
            stamp(&fresh, size).attested().iter().filter_map(Attested::pending).collect::<Vec<_>>(),
            [good.url.as_str()]
        );
        fresh.stop().await;
    }
    // One that names a false block at once; the other has none yet.
    liar.is_now(Mood::Honest(Some(1)));
    start(&mut at, &[&liar, &good]).await;
    let size = anchored(&at).await;
    // A node that starts asks at once.
    start(&mut at, &[&liar, &good]).await;
    until("no block", || heights(&stamp(&at, size)) == [1]).await;
    let asked = liar.asked().len();
    good.is_now(Mood::Honest(Some(970_000)));
    start(&mut at, &[&liar, &good]).await;
    until("the honest one is not asked any more", || heights(&stamp(&at, size)).contains(&970_000)).await;
    assert_eq!((liar.asked().len(), stamp(&at, size).open().len()), (asked, 0));
    at.stop().await;
}

/// A pending attestation of a calendar that the policy does not name any more, or never did.
#[tokio::test]
async fn nobody_is_asked_whom_the_policy_does_not_name() {
    let mut at = Fixture::new().await;
    let (named, stranger) = (Calendar::new(Mood::Honest(None)).await, Calendar::new(Mood::Honest(Some(1))).await);
    start(&mut at, &[&named, &stranger]).await;
    let size = anchored(&at).await;
    assert_eq!(stamp(&at, size).attested().len(), 2);
    start(&mut at, &[&named]).await;
    until("it was not asked", || named.asked().len() == 1).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(stranger.asked().is_empty());
    assert!(heights(&stamp(&at, size)).is_empty());
    at.stop().await;
}

#[tokio::test]
async fn calendars_that_are_away_hold_nothing_up() {
    let mut at = Fixture::new().await;
    let (silent, broken) = (Calendar::new(Mood::Silent).await, Calendar::new(Mood::Broken).await);
    let dead = Calendar { url: "http://127.0.0.1:1".to_owned(), ..broken.clone() };
    start(&mut at, &[&silent, &dead, &broken]).await;
    until("it was not sent", || !silent.sent().is_empty()).await;
    for _ in 0..3 {
        let before = published(&at);
        at.begun().await;
        until("no head", || published(&at) > before).await;
    }
    assert_eq!(newest(&at), None);
    let stopped = tokio::time::timeout(Duration::from_secs(8), at.stop()).await;
    assert!(stopped.is_ok(), "the stop waits for a calendar");
}

/// A disk on which no anchor can be kept.
#[tokio::test]
async fn an_anchor_that_cannot_be_kept_does_not_end_the_log() {
    let mut at = Fixture::new().await;
    let calendar = Calendar::new(Mood::Honest(None)).await;
    at.stop().await;
    std::fs::create_dir_all(at.home().join("log/anchor")).unwrap();
    // What is written first cannot be put in its place.
    std::fs::create_dir_all(at.home().join("log/anchor/unfinished")).unwrap();
    at.records_stay = false;
    write_policy(at.folder.path(), &with_calendars(&[&calendar]));
    at.start().await;
    until("it was not sent", || !calendar.sent().is_empty()).await;
    let before = published(&at);
    at.begun().await;
    until("no head", || published(&at) > before).await;
    assert!(at.node().takes_events());
    assert_eq!(newest(&at), None);
    at.stop().await;
    // And once there is room.
    std::fs::remove_dir(at.home().join("log/anchor/unfinished")).unwrap();
    at.start().await;
    anchored(&at).await;
    at.stop().await;
}

/// A node that was killed between two files of an anchor.
#[tokio::test]
async fn half_an_anchor_is_finished_or_made_again() {
    let mut at = Fixture::new().await;
    let calendar = Calendar::new(Mood::Honest(None)).await;
    start(&mut at, &[&calendar]).await;
    let size = anchored(&at).await;
    at.stop().await;
    let before = file(&at, &format!("{size}.ots"));
    std::fs::remove_file(at.home().join("log/anchor/newest")).unwrap();
    at.records_stay = true;
    // Nothing new is in the log meanwhile, but that its policy came into force.
    at.start().await;
    assert_eq!(anchored(&at).await, size);
    assert_eq!((file(&at, &format!("{size}.ots")), calendar.sent().len()), (before.clone(), 1));
    at.stop().await;
    let folder = at.home().join("log/anchor");
    std::fs::write(folder.join("newest"), "damaged").unwrap();
    std::fs::remove_file(folder.join(format!("{size}.ots"))).unwrap();
    at.start().await;
    until("no anchor", || file(&at, "newest") == Some(format!("{size}\n").into_bytes())).await;
    assert_eq!(calendar.sent().len(), 2);
    assert_ne!(file(&at, &format!("{size}.ots")), before, "another nonce");
    at.stop().await;
}

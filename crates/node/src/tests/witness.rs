//! A witness, over its own HTTP; and a node that has one.

use std::sync::Arc;

use nuncio_proto::tlog::{AddCheckpoint, Checkpoint, Edge, KeyKind, Note, NoteKey, Tile, TileNodes, consistency_proof};
use nuncio_proto::tlog::{cosigned_at, read_lines};
use tokio_util::sync::CancellationToken;

use super::support::{Fixture, kek, key, policy};
use crate::log::LogError;
use crate::witness::{Witness, bind};
use crate::{Node, NodeError};

const ORIGIN: &str = "log.example/one";

fn log_key() -> NoteKey {
    NoteKey::new(ORIGIN, KeyKind::Ed25519, key(3).public()).unwrap()
}

/// A log of so many entries, each of this text.
struct Told {
    edge: Edge,
    full: Vec<(Tile, Vec<u8>)>,
}

impl Told {
    fn new(size: u64, text: &str) -> Self {
        let (mut edge, mut full) = (Edge::default(), Vec::new());
        (0..size).for_each(|index| full.extend(edge.push(format!("{text} {index}").as_bytes())));
        Self { edge, full }
    }

    fn note(&self) -> Note {
        let head = Checkpoint { origin: ORIGIN.to_owned(), size: self.edge.size(), root: self.edge.root() };
        head.sign(&log_key(), &key(3)).unwrap()
    }

    fn request(&self, old: u64) -> AddCheckpoint {
        let nodes = TileNodes::new(self.edge.size(), |tile: &Tile| {
            let unfinished: Vec<(Tile, Vec<u8>)> = self.edge.unfinished().collect();
            self.full
                .iter()
                .chain(&unfinished)
                .find(|(there, _)| there == tile)
                .map(|(_, bytes)| bytes.clone())
                .ok_or(())
        });
        let proof = consistency_proof(&nodes, old, self.edge.size()).unwrap();
        AddCheckpoint { old, proof, checkpoint: self.note() }
    }
}

struct Served {
    url: String,
    witness: Arc<Witness>,
    closing: CancellationToken,
    http: reqwest::Client,
}

impl Served {
    async fn new(home: &std::path::Path, logs: Vec<NoteKey>) -> Self {
        Self::named("witness.example/w1", home, logs).await
    }

    async fn named(name: &str, home: &std::path::Path, logs: Vec<NoteKey>) -> Self {
        let witness = Arc::new(Witness::open(home, &kek(), name, logs).unwrap());
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let url = format!("http://{}/add-checkpoint", listener.local_addr().unwrap());
        let closing = CancellationToken::new();
        tokio::spawn(Arc::clone(&witness).serve(listener, closing.clone()));
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        Self { url, witness, closing, http: reqwest::Client::builder().no_proxy().build().unwrap() }
    }

    async fn ask(&self, body: impl Into<reqwest::Body>) -> (u16, String, String) {
        let response = self.http.post(&self.url).body(body).send().await.unwrap();
        let kind = response.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
        let status = response.status().as_u16();
        (status, kind.unwrap_or_default(), response.text().await.unwrap())
    }
}

/// C2SP tlog-witness, each of its answers; contracts/log.md G15, G16.
#[tokio::test]
async fn a_witness_cosigns_what_only_grew_and_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    let served = Served::new(&home.path().join("w"), vec![log_key()]).await;
    let cosigns = async |told: &Told, old: u64| {
        let (status, _, lines) = served.ask(told.request(old).to_string()).await;
        assert_eq!(status, 200, "{lines}");
        let mut note = told.note();
        read_lines(lines.as_bytes()).unwrap().into_iter().for_each(|line| note.add(line));
        assert!(cosigned_at(&note, served.witness.key()).unwrap() > 1_700_000_000);
    };
    cosigns(&Told::new(3, "a"), 0).await;
    cosigns(&Told::new(300, "a"), 3).await;
    cosigns(&Told::new(300, "a"), 300).await;
    let size = |(status, kind, body): (u16, String, String)| (status, kind.as_str() == "text/x.tlog.size", body);
    assert_eq!(size(served.ask(Told::new(400, "a").request(3).to_string()).await), (409, true, "300\n".to_owned()));
    assert_eq!(size(served.ask(Told::new(300, "b").request(300).to_string()).await), (409, true, "300\n".to_owned()));
    assert_eq!(served.ask(Told::new(400, "b").request(300).to_string()).await.0, 422, "another past");
    assert_eq!(served.ask(Told::new(299, "a").request(299).to_string()).await.0, 409, "smaller");
    let mut more = Told::new(400, "a").request(300);
    more.old = 401;
    assert_eq!(served.ask(more.to_string()).await.0, 400);
    let good = Told::new(400, "a").request(300).to_string();
    assert_eq!(served.ask(good.replace(ORIGIN, "log.example/two")).await.0, 404);
    assert_eq!(served.ask(good.replace("\n400\n", "\n500\n")).await.0, 403, "not what was signed");
    for bad in
        [String::new(), "old 300".to_owned(), good.replace("old 300", "old 0300"), good.replacen('\n', "\n!\n", 1)]
    {
        assert_eq!(served.ask(bad.clone()).await.0, 400, "{bad}");
    }
    assert_eq!(served.ask(vec![b'x'; 400_000]).await.0, 413);
    cosigns(&Told::new(400, "a"), 300).await;
    served.closing.cancel();
}

/// What it cosigned it knows in its next life, and its key is the same.
#[tokio::test]
async fn a_witness_remembers_what_it_cosigned() {
    let home = tempfile::tempdir().unwrap();
    let open = || Witness::open(&home.path().join("w"), &kek(), "witness.example/w1", vec![log_key()]).unwrap();
    let first = open();
    let written = first.key().to_string();
    first.add_checkpoint(Told::new(30, "a").request(0).to_string().as_bytes(), 7).unwrap();
    drop(first);
    let again = open();
    assert_eq!(again.key().to_string(), written);
    assert!(again.add_checkpoint(Told::new(20, "a").request(0).to_string().as_bytes(), 8).is_err());
    assert!(again.add_checkpoint(Told::new(40, "b").request(30).to_string().as_bytes(), 8).is_err());
    again.add_checkpoint(Told::new(40, "a").request(30).to_string().as_bytes(), 8).unwrap();
}

/// A policy whose witnesses are at these addresses.
fn with_witnesses(witnesses: &[(&NoteKey, &str)]) -> String {
    let named = |(key, url): &(&NoteKey, &str)| format!("[[witness]]\nkey = \"{key}\"\nurl = \"{url}\"\n");
    policy() + &witnesses.iter().map(named).collect::<String>()
}

/// The published checkpoint, as it lies in its folder, once all of these have cosigned it.
async fn cosigned_file(at: &Fixture, witnesses: &[&NoteKey]) -> Note {
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        let note = std::fs::read(at.home().join("log/checkpoint")).ok().map(|note| Note::parse(&note).unwrap());
        let by_all = |note: &Note| witnesses.iter().all(|witness| cosigned_at(note, witness).is_ok());
        if let Some(note) = note.filter(by_all) {
            return note;
        }
        assert!(std::time::Instant::now() < until, "the published head is not cosigned");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// Starts a node whose records become events, under another policy.
async fn start_under(at: &mut Fixture, policy: &str) {
    if at.node.is_some() {
        at.stop().await;
    }
    at.records_stay = false;
    super::support::write_policy(at.folder.path(), policy);
    at.start().await;
}

/// One that takes connections and says nothing holds up neither the start, nor the log, nor the other witness.
#[tokio::test]
async fn a_witness_that_never_answers_holds_nothing_up() {
    let mut at = Fixture::new().await;
    let log = at.node().service().scribe.view().borrow().key().clone();
    let home = tempfile::tempdir().unwrap();
    let served = Served::new(&home.path().join("w"), vec![log.clone()]).await;
    let silent = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let nowhere = format!("http://{}/add-checkpoint", silent.local_addr().unwrap());
    let holding = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((connection, _)) = silent.accept().await {
            held.push(connection);
        }
    });
    let dumb = NoteKey::new("witness.example/dumb", KeyKind::CosignatureV1, key(4).public()).unwrap();
    let policy = with_witnesses(&[(&dumb, &nowhere), (served.witness.key(), &served.url)]);
    let started = tokio::time::timeout(std::time::Duration::from_secs(60), start_under(&mut at, &policy)).await;
    assert!(started.is_ok(), "the start waits for a witness");
    // While the log grows without an end, and has a new head all the time.
    let busy = async {
        loop {
            at.begun().await;
        }
    };
    let witnesses = [served.witness.key()];
    let note = tokio::select! {
        note = cosigned_file(&at, &witnesses) => note,
        () = busy => unreachable!("it has no end"),
    };
    assert!(Checkpoint::open(&note, &log).unwrap().size > 0);
    assert!(cosigned_at(&note, &dumb).is_err());
    at.begun().await;
    let stopped = tokio::time::timeout(std::time::Duration::from_secs(60), at.stop()).await;
    assert!(stopped.is_ok(), "the stop waits for a witness");
    holding.abort();
    served.closing.cancel();
}

/// What witnesses have cosigned stays under the head through a restart, and one that was away then comes in.
#[tokio::test]
async fn cosignatures_survive_a_restart() {
    let mut at = Fixture::new().await;
    let log = at.node().service().scribe.view().borrow().key().clone();
    let home = tempfile::tempdir().unwrap();
    let first = Served::new(&home.path().join("w1"), vec![log.clone()]).await;
    let late = Served::named("witness.example/w2", &home.path().join("w2"), vec![log.clone()]).await;
    start_under(&mut at, &with_witnesses(&[(first.witness.key(), &first.url)])).await;
    let before = cosigned_file(&at, &[first.witness.key()]).await;
    let head = Checkpoint::open(&before, &log).unwrap();
    at.stop().await;
    first.closing.cancel();
    // The first is away now: only its old line can be there.
    let policy =
        with_witnesses(&[(first.witness.key(), "http://127.0.0.1:1/add-checkpoint"), (late.witness.key(), &late.url)]);
    super::support::write_policy(at.folder.path(), &policy);
    at.records_stay = true;
    at.start().await;
    let after = cosigned_file(&at, &[late.witness.key(), first.witness.key()]).await;
    assert_eq!(Checkpoint::open(&after, &log).unwrap(), head);
    assert_eq!(cosigned_at(&after, first.witness.key()), cosigned_at(&before, first.witness.key()));
    late.closing.cancel();
}

/// A node that was killed between its commit and its file: the head is published, and cosigned, at the next start.
#[tokio::test]
async fn a_head_that_was_never_published_is_published_and_cosigned_at_the_start() {
    let mut at = Fixture::new().await;
    let log = at.node().service().scribe.view().borrow().key().clone();
    let home = tempfile::tempdir().unwrap();
    let served = Served::new(&home.path().join("w"), vec![log]).await;
    let policy = with_witnesses(&[(served.witness.key(), &served.url)]);
    start_under(&mut at, &policy).await;
    cosigned_file(&at, &[served.witness.key()]).await;
    at.stop().await;
    std::fs::remove_file(at.home().join("log/checkpoint")).unwrap();
    at.records_stay = true;
    at.start().await;
    cosigned_file(&at, &[served.witness.key()]).await;
    served.closing.cancel();
}

/// contracts/log.md G17.
#[tokio::test]
async fn a_node_does_not_start_behind_its_witness() {
    let mut at = Fixture::new().await;
    let log = at.node().service().scribe.view().borrow().key().clone();
    let home = tempfile::tempdir().unwrap();
    let served = Served::new(&home.path().join("w"), vec![log.clone()]).await;
    start_under(&mut at, &with_witnesses(&[(served.witness.key(), &served.url)])).await;
    let signed = cosigned_file(&at, &[served.witness.key()]).await;
    assert!(Checkpoint::open(&signed, &log).unwrap().size > 0);
    at.stop().await;
    // The log is lost, store and files.
    std::fs::remove_dir_all(at.home().join("log")).unwrap();
    let (store, _) = crate::home::open(&at.home(), &kek()).unwrap();
    let mut rows = Vec::new();
    for tree in [b"L", b"F", b"H", b"C", b"I"] {
        nuncio_store::Engine::scan(&store, tree, &mut |key, _| {
            rows.push(nuncio_store::Op::Delete { key: key.to_vec() });
            Ok(())
        })
        .unwrap();
    }
    nuncio_store::Engine::commit(&store, &rows).unwrap();
    drop(store);
    let started: Result<Node, NodeError> = at.try_start().await;
    assert!(matches!(started, Err(NodeError::Log(LogError::BehindWitness { .. }))), "{started:?}");
    served.closing.cancel();
}

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
        let witness = Arc::new(Witness::open(home, &kek(), "witness.example/w1", logs).unwrap());
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

/// contracts/log.md G17.
#[tokio::test]
async fn a_node_does_not_start_behind_its_witness() {
    let mut at = Fixture::new().await;
    let log = at.node().service().scribe.view().borrow().key().clone();
    let home = tempfile::tempdir().unwrap();
    let served = Served::new(&home.path().join("w"), vec![log.clone()]).await;
    at.stop().await;
    at.records_stay = false;
    let named = format!("{}[[witness]]\nkey = \"{}\"\nurl = \"{}\"\n", policy(), served.witness.key(), served.url);
    super::support::write_policy(at.folder.path(), &named);
    at.start().await;
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let signed = loop {
        let (status, note) = at.get("/log/checkpoint").await;
        let note = (status == 200).then(|| Note::parse(note.as_bytes()).unwrap());
        if let Some(note) = note.filter(|note| cosigned_at(note, served.witness.key()).is_ok()) {
            break note;
        }
        assert!(std::time::Instant::now() < until, "its head is not cosigned");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
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

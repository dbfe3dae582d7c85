//! Events that wait for the log: given to the node in their order, and let go once the log is seen to have them (contracts/audit.md V13 to V15).
//!
//! ```text
//!   rows of events ─► POST /events ─► indexes, a checkpoint ─► tiles of its tree ─► every event is in it,
//!                                                              and it begins with the tree that was seen before ─► the rows go
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nuncio_contracts::registry::{limit, time};
use nuncio_proto::audit::SignedEvent;
use nuncio_proto::rows;
use nuncio_proto::tlog::{
    Checkpoint, Hash, KeyKind, NodeError, Note, NoteKey, Tile, TileKind, TileNodes, consistency_proof, inclusion_proof,
    leaf_hash, verify_consistency, verify_inclusion,
};
use nuncio_store::{Engine as _, Op, Store, StoreError};
use serde::Deserialize;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::chunks::blocking;
use crate::entropy::now;
use crate::error::Error;
use crate::exchange::Exchange;
use crate::wake::Wake;

/// Rows of the runtime with the newest checkpoint that was seen, each by its log's key.
const SEEN_ROW: [u8; 2] = [rows::RUNTIME, b'c'];
/// Events are gathered so long before they are given.
const GATHER: Duration = Duration::from_millis(50);
/// Between two tries while the node does not answer.
const PAUSE: Duration = Duration::from_secs(5);
/// Between two tries while the log does not take them, which somebody has to look at.
const LONG_PAUSE: Duration = Duration::from_secs(60);
/// Tiles that one look at a tree needs: of two paths through it and its edge, 8 levels each.
const TILES_MAX: usize = 64;

/// Why events go on waiting.
#[derive(Debug, thiserror::Error)]
enum Waits {
    /// The node cannot be asked now.
    #[error("{0}")]
    Node(String),
    /// The log does not take an event, or is not what it was.
    #[error("{0}")]
    Log(String),
    /// The log does not know what came before the first that waits.
    #[error("{0}")]
    Unknown(String),
    #[error(transparent)]
    Own(#[from] Error),
}

#[derive(Deserialize)]
struct Logged {
    answers: Vec<Said>,
    checkpoint: String,
}

#[derive(Deserialize)]
struct Said {
    index: Option<u64>,
    refused: Option<String>,
}

/// Events as they wait: their numbers, and their bytes.
type Waiting = Vec<(u64, Vec<u8>)>;

/// One agent's way to its log.
pub(crate) struct Spool {
    exchange: Arc<Exchange>,
    store: Arc<Store>,
    key: NoteKey,
    /// The newest checkpoint that was seen.
    seen: Option<Note>,
}

impl Spool {
    /// `None` where the domain cannot be a log's name.
    pub(crate) fn new(exchange: Arc<Exchange>, store: Arc<Store>) -> Result<Self, Error> {
        let origin = format!("{}/log", exchange.domain);
        let key = NoteKey::new(&origin, KeyKind::Ed25519, *exchange.node.id().as_bytes());
        let key = key.ok_or_else(|| Error::Node(format!("{origin:?} cannot be a log's name")))?;
        let seen = store.get(&seen_row(&key))?.and_then(|note| Note::parse(&note).ok());
        Ok(Self { exchange, store, key, seen })
    }

    /// Gives events until the agent stops.
    pub(crate) async fn keep(mut self, more: Arc<Notify>, wakes: mpsc::Sender<Wake>, cancel: CancellationToken) {
        let (mut shown, mut said, mut recounted) = (false, None, None::<Instant>);
        loop {
            let mut turn = self.turn(&mut shown, &wakes).await;
            // A node that refuses without end does not have all signed again without end.
            if let Err(Waits::Unknown(reason)) = &turn
                && recounted.is_none_or(|last| last.elapsed() >= LONG_PAUSE)
            {
                recounted = Some(Instant::now());
                turn = self.recount(reason, &wakes).await.map(|()| true);
            }
            let (pause, why) = match turn {
                Ok(true) => continue,
                Ok(false) => (None, None),
                Err(Waits::Log(reason) | Waits::Unknown(reason)) => {
                    // It may have lost what it had signed: then it has to hear of it now.
                    let reason = match self.show().await {
                        Err(Waits::Log(lost)) => lost,
                        _ => reason,
                    };
                    shown = false;
                    tracing::error!(reason, "the audit log does not take this agent's events; they wait");
                    (Some(LONG_PAUSE), Some(reason))
                }
                Err(waits) => {
                    shown = false;
                    let reason = waits.to_string();
                    tracing::info!(reason, "the audit log cannot be asked; events wait for it");
                    (Some(PAUSE), Some(reason))
                }
            };
            if core::mem::replace(&mut said, why.clone()) != why && wakes.send(Wake::EventsWait { why }).await.is_err()
            {
                return;
            }
            let rest = async {
                match pause {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => {
                        more.notified().await;
                        tokio::time::sleep(GATHER).await;
                    }
                }
            };
            tokio::select! {
                () = cancel.cancelled() => return,
                () = rest => {}
            }
        }
    }

    /// Gives the events that wait first; `false` when there are none.
    async fn turn(&mut self, shown: &mut bool, wakes: &mpsc::Sender<Wake>) -> Result<bool, Waits> {
        let store = Arc::clone(&self.store);
        let waiting = blocking(move || first_events(&store, limit::EVENTS_MAX)).await?;
        if !core::mem::replace(shown, true) {
            self.show().await?;
        }
        let Some((last, _)) = waiting.last() else { return Ok(false) };
        let (taken, checkpoint) = self.give(&waiting).await?;
        let up_to = waiting.get(taken).map_or_else(|| last.saturating_add(1), |(no, _)| *no);
        let (done, gone) = oneshot::channel();
        let seen = Op::Put { key: seen_row(&self.key), value: checkpoint.to_string().into_bytes() };
        wakes.send(Wake::EventsLogged { up_to, seen, done }).await.map_err(|_| Error::Stopped)?;
        gone.await.map_err(|_| Error::Stopped)??;
        self.seen = Some(checkpoint);
        Ok(true)
    }

    /// contracts/audit.md V23.
    async fn recount(&self, reason: &str, wakes: &mpsc::Sender<Wake>) -> Result<(), Waits> {
        self.show().await?;
        tracing::warn!(
            reason,
            "the audit log does not know what came before; what waits is told again, as a new chain"
        );
        let (done, told) = oneshot::channel();
        wakes.send(Wake::EventsUnknown { done }).await.map_err(|_| Error::Stopped)?;
        Ok(told.await.map_err(|_| Error::Stopped)??)
    }

    /// contracts/audit.md V15.
    async fn show(&self) -> Result<(), Waits> {
        let Some(seen) = &self.seen else { return Ok(()) };
        let answered = self.exchange.node.post_bytes("/checkpoint", seen.to_string().into()).await;
        let answered = answered.map_err(|unreachable| Waits::Node(unreachable.reason))?;
        match answered.status.as_u16() {
            200..=299 => Ok(()),
            409 => Err(Waits::Log("it has lost or changed what it had signed".to_owned())),
            status => Err(Waits::Node(format!("the node answers {status} to a checkpoint of its log"))),
        }
    }

    /// Gives events, and sees that the log has them: how many of them it has, and the checkpoint that shows it.
    async fn give(&self, waiting: &Waiting) -> Result<(usize, Note), Waits> {
        let body: Vec<u8> = waiting
            .iter()
            .flat_map(|(_, event)| [&u16::try_from(event.len()).unwrap_or(0).to_be_bytes(), event.as_slice()].concat())
            .collect();
        let answered = self.exchange.node.post_bytes("/events", body.into()).await;
        let answered = answered.map_err(|unreachable| Waits::Node(unreachable.reason))?;
        if !answered.status.is_success() {
            let said = String::from_utf8_lossy(&answered.body).into_owned();
            let reason = format!("the node answers {}: {said}", answered.status);
            let later = answered.status.is_server_error() || answered.status.as_u16() == 429;
            return Err(if later { Waits::Node(reason) } else { Waits::Log(reason) });
        }
        let logged: Logged = serde_json::from_slice(&answered.body).map_err(|error| Waits::Log(error.to_string()))?;
        let note = Note::parse(logged.checkpoint.as_bytes()).map_err(|error| Waits::Log(error.to_string()))?;
        let head = Checkpoint::open(&note, &self.key).map_err(|error| Waits::Log(error.to_string()))?;
        let places = places(waiting, &logged.answers)?;
        let mut tiles = Tiles { source: self, there: BTreeMap::new() };
        tiles.hold(&places, &head).await?;
        if let Some(before) = &self.seen {
            let before = Checkpoint::open(before, &self.key).map_err(|error| Waits::Log(error.to_string()))?;
            tiles.follow(&before, &head).await?;
        }
        Ok((places.len(), note))
    }
}

/// Where the log says that the first events are: all in front of one that it does not take.
fn places<'a>(waiting: &'a Waiting, answers: &[Said]) -> Result<Vec<(u64, &'a [u8])>, Waits> {
    if answers.len() != waiting.len() {
        return Err(Waits::Log("it does not answer for every event".to_owned()));
    }
    let mut places = Vec::with_capacity(waiting.len());
    for ((no, event), said) in waiting.iter().zip(answers) {
        match said.index.filter(|_| said.refused.is_none()) {
            Some(index) => places.push((index, event.as_slice())),
            None if !places.is_empty() => break,
            None => return Err(refused(*no, event, said.refused.as_deref())),
        }
    }
    Ok(places)
}

/// Why the log does not take the first event that waits.
fn refused(no: u64, event: &[u8], reason: Option<&str>) -> Waits {
    let said = format!("event {no} of this agent: {}", reason.unwrap_or("no answer"));
    let is_ahead = || {
        let told = SignedEvent::parse(event).map(|signed| signed.event().epoch.max(signed.event().at.0));
        told.is_ok_and(|told| told > now().0.saturating_add(time::CLOCK_SKEW))
    };
    match reason {
        Some("past" | "gap" | "prev" | "other-story") => Waits::Unknown(said),
        Some("future") if is_ahead() => Waits::Unknown(said),
        Some("future") => Waits::Node("its clock is behind".to_owned()),
        _ => Waits::Log(said),
    }
}

fn seen_row(log: &NoteKey) -> Vec<u8> {
    [&SEEN_ROW, log.id().as_slice()].concat()
}

impl Source for Spool {
    async fn fetch(&self, tile: &Tile) -> Result<Vec<u8>, Waits> {
        let path = format!("/log/{}", tile.path());
        let answered = self.exchange.node.get(&path).await.map_err(|unreachable| Waits::Node(unreachable.reason))?;
        if answered.status.is_success() && answered.body.len() == usize::from(tile.width()) * 32 {
            return Ok(answered.body.to_vec());
        }
        Err(Waits::Node(format!("the node answers {} to {path}", answered.status)))
    }
}

/// Where tiles are had.
trait Source: Sync {
    fn fetch(&self, tile: &Tile) -> impl Future<Output = Result<Vec<u8>, Waits>> + Send;
}

/// Tiles of a tree, fetched as they are wanted.
struct Tiles<'a, S> {
    source: &'a S,
    there: BTreeMap<String, Vec<u8>>,
}

impl<S: Source> Tiles<'_, S> {
    /// Every event is in the tree, at its index: one proof for each tile authenticates all hashes of it.
    async fn hold(&mut self, places: &[(u64, &[u8])], head: &Checkpoint) -> Result<(), Waits> {
        let absent = || Waits::Log("an event is not where it says that it is".to_owned());
        let mut by_tile: BTreeMap<u64, Vec<(u64, &[u8])>> = BTreeMap::new();
        places.iter().for_each(|place| by_tile.entry(place.0 / 256).or_default().push(*place));
        for (number, places) in by_tile {
            let Some((index, event)) = places.first() else { continue };
            let tile = Tile::in_tree(TileKind::Hashes(0), number, head.size).ok_or_else(absent)?;
            // The proof needs every hash of it but the event's own: of a tile of one hash, none.
            if !self.there.contains_key(&tile.path()) {
                let bytes = self.source.fetch(&tile).await?;
                self.there.insert(tile.path(), bytes);
            }
            let proof = self.with(head.size, |nodes| inclusion_proof(nodes, *index, head.size)).await?;
            verify_inclusion(*index, head.size, event, &proof, &head.root).map_err(|_| absent())?;
            let hashes = self.there.get(&tile.path()).ok_or_else(absent)?.as_chunks::<32>().0;
            for (index, event) in places {
                let at = usize::try_from(index % 256).map_err(|_| absent())?;
                if hashes.get(at) != Some(&leaf_hash(event)) {
                    return Err(absent());
                }
            }
        }
        Ok(())
    }

    /// The tree begins with the one that was seen before.
    async fn follow(&mut self, before: &Checkpoint, head: &Checkpoint) -> Result<(), Waits> {
        let rewritten = || Waits::Log("its tree does not begin with the one that it had signed before".to_owned());
        if before.size > head.size {
            return Err(rewritten());
        }
        let proof = self.with(head.size, |nodes| consistency_proof(nodes, before.size, head.size)).await?;
        verify_consistency(before.size, head.size, &proof, &before.root, &head.root).map_err(|_| rewritten())
    }

    /// Works on the tree's tiles; one that is missing is fetched, and the work begun again.
    async fn with(&mut self, size: u64, work: impl Fn(&Nodes<'_>) -> Made) -> Result<Vec<Hash>, Waits> {
        for _ in 0..TILES_MAX {
            let there = &self.there;
            let read = |tile: &Tile| there.get(&tile.path()).cloned().ok_or(*tile);
            let made = work(&TileNodes::new(size, &read));
            match made {
                Ok(made) => return Ok(made),
                Err(NodeError::Read(tile)) => {
                    let bytes = self.source.fetch(&tile).await?;
                    self.there.insert(tile.path(), bytes);
                }
                Err(_) => return Err(Waits::Log("a tile of it is not as wide as it must be".to_owned())),
            }
        }
        Err(Waits::Log("its tree has more tiles than one can have".to_owned()))
    }
}

type Reading<'a> = dyn Fn(&Tile) -> Result<Vec<u8>, Tile> + 'a;
type Nodes<'a> = TileNodes<&'a Reading<'a>>;
type Made = Result<Vec<Hash>, NodeError<Tile>>;

/// The first events that wait.
pub(crate) fn first_events(store: &Store, max: usize) -> Result<Waiting, Error> {
    let mut first = Vec::new();
    let scanned = store.scan(&[rows::SPOOL], &mut |key, event| {
        if first.len() == max {
            return Err(StoreError::Stopped);
        }
        first.extend(rows::split_numbered(key).map(|no| (no, event.to_vec())));
        Ok(())
    });
    match scanned {
        // The first that is one too many ends the scan.
        Ok(()) | Err(StoreError::Stopped) => Ok(first),
        Err(error) => Err(error.into()),
    }
}

/// The numbers of the events that wait.
pub(crate) fn numbers(store: &Store) -> Result<core::ops::Range<u64>, Error> {
    let mut range = 0..0;
    store.scan(&[rows::SPOOL], &mut |key, _| {
        if let Some(no) = rows::split_numbered(key) {
            range = if range.is_empty() { no..no.saturating_add(1) } else { range.start..no.saturating_add(1) };
        }
        Ok(())
    })?;
    Ok(range)
}

#[cfg(test)]
mod tests {
    use nuncio_proto::tlog::Edge;

    use super::*;

    /// A log of entries that are their own numbers, but for some that are others.
    struct Told {
        edge: Edge,
        full: BTreeMap<String, Vec<u8>>,
    }

    impl Told {
        fn new(size: u64, other: Option<u64>) -> Self {
            let (mut edge, mut full) = (Edge::default(), BTreeMap::new());
            for index in 0..size {
                let text = if other == Some(index) { "another".to_owned() } else { index.to_string() };
                full.extend(edge.push(text.as_bytes()).into_iter().map(|(tile, hashes)| (tile.path(), hashes)));
            }
            Self { edge, full }
        }

        fn head(&self) -> Checkpoint {
            Checkpoint { origin: "log".to_owned(), size: self.edge.size(), root: self.edge.root() }
        }

        fn tiles(&self) -> Tiles<'_, Self> {
            Tiles { source: self, there: BTreeMap::new() }
        }
    }

    impl Source for Told {
        async fn fetch(&self, tile: &Tile) -> Result<Vec<u8>, Waits> {
            let unfinished = || self.edge.unfinished().find(|(there, _)| there == tile).map(|(_, hashes)| hashes);
            let found = self.full.get(&tile.path()).cloned().or_else(unfinished);
            found.ok_or_else(|| Waits::Node("no such tile".to_owned()))
        }
    }

    /// contracts/audit.md V23.
    #[test]
    fn what_is_in_front_of_a_refused_event_is_let_go_and_the_refused_one_says_why() {
        let waiting: Waiting = (7..10).map(|no| (no, vec![0; 4])).collect();
        let said = |refused: &[Option<&str>]| -> Vec<Said> {
            let said = |(index, refused): (u64, &Option<&str>)| Said {
                index: Some(index),
                refused: refused.map(str::to_owned),
            };
            (40..).zip(refused).map(said).collect()
        };
        let of = |refused: &[Option<&str>]| places(&waiting, &said(refused)).map(|places| places.len());
        assert_eq!(of(&[None, None, None]).unwrap(), 3);
        assert_eq!(of(&[None, None, Some("gap")]).unwrap(), 2);
        // Evidence has an index too, and is not taken.
        assert_eq!(of(&[None, Some("other-story"), None]).unwrap(), 1);
        for reason in ["past", "gap", "prev", "other-story"] {
            assert!(matches!(of(&[Some(reason), None, None]), Err(Waits::Unknown(_))), "{reason}");
        }
        assert!(matches!(of(&[Some("future"), None, None]), Err(Waits::Node(_))), "the log's clock is behind");
        assert!(matches!(of(&[Some("flood"), None, None]), Err(Waits::Log(_))));
        assert!(matches!(of(&[None, None]), Err(Waits::Log(_))), "one too few");
    }

    const SIZES: [u64; 6] = [1, 255, 256, 257, 600, 70_000];

    #[tokio::test]
    async fn events_are_seen_where_they_are_and_nowhere_else() {
        for size in SIZES {
            let told = Told::new(size, None);
            let entries: Vec<(u64, String)> =
                (size.saturating_sub(64)..size).map(|index| (index, index.to_string())).collect();
            let places: Vec<(u64, &[u8])> = entries.iter().map(|(index, text)| (*index, text.as_bytes())).collect();
            told.tiles().hold(&places, &told.head()).await.unwrap();
            // Each of them, moved, altered, or said to be behind the end.
            for at in 0..places.len() {
                for (index, event) in [(places[at].0, b"lie".as_slice()), (size, places[at].1), (size + 300, b"lie")] {
                    let mut lie = places.clone();
                    lie[at] = (index, event);
                    assert!(told.tiles().hold(&lie, &told.head()).await.is_err(), "{size} {at} {index}");
                }
                if size > 600 {
                    break;
                }
            }
        }
    }

    /// The node cannot show another log's tiles under a head.
    #[tokio::test]
    async fn tiles_of_another_log_are_not_believed() {
        for size in SIZES {
            let (told, other) = (Told::new(size, None), Told::new(size, Some(size / 2)));
            let last = (size - 1).to_string();
            let place = [(size - 1, last.as_bytes())];
            let shown = other.tiles().hold(&place, &told.head()).await;
            assert!(shown.is_err(), "{size}");
        }
    }

    #[tokio::test]
    async fn a_tree_that_does_not_go_on_from_the_one_before_is_found_out() {
        for (old, new) in [(1, 2), (255, 256), (256, 600), (257, 70_000), (600, 600)] {
            let (before, now) = (Told::new(old, None), Told::new(new, None));
            now.tiles().follow(&before.head(), &now.head()).await.unwrap();
            let rewritten = Told::new(old, Some(old / 2));
            assert!(now.tiles().follow(&rewritten.head(), &now.head()).await.is_err(), "{old} {new}");
            if old < new {
                assert!(before.tiles().follow(&now.head(), &before.head()).await.is_err(), "smaller");
            }
        }
    }
}

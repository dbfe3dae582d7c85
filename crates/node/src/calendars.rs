//! Has the log's head anchored with OpenTimestamps: calendars take its hash, and name the Bitcoin block that it came into (contracts/log.md section 8).
//!
//! ```text
//!   due ─► POST digest, all calendars at once ─► size, size.ots, newest          what is kept is in these files alone,
//!   open ─► GET timestamp, where it is pending ─► size.ots, until a block is named   so a restart goes on from them
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;
use nuncio_contracts::registry::{limit, time};
use nuncio_proto::crypto;
use nuncio_proto::tlog::{Attested, Checkpoint, Detached, Note, Timestamp, blinded, cosigned_at};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::anchor::{self, Anchor, Vouched};
use crate::entropy;
use crate::fetch::Fetch;
use crate::log::{AnchorFile, LogError, View};
use crate::policy::Policy;
use crate::service::Service;

/// Messages of one anchor that are asked for at once: each calendar's first answer has made one.
const ASKED_MAX: usize = 16;

/// Has heads anchored until the node stops.
pub(crate) async fn keep(service: Arc<Service>, closing: CancellationToken) {
    let Ok(fetch) = Fetch::new(time::ANCHOR_PATIENCE) else { return tracing::error!("no calendar can be asked") };
    let now = Instant::now();
    let calendars = Calendars { fetch, open: None, retry: now, rests: now, waits: None };
    anchor::keep(calendars, service, closing).await;
}

/// What is known between two times.
struct Calendars {
    fetch: Fetch,
    /// Anchors of which no block is named, as far as is known, and when each is asked for next; `None` before the files were looked at.
    open: Option<BTreeMap<u64, Instant>>,
    /// No head is sent before.
    retry: Instant,
    /// Nothing is done before: files could not be read.
    rests: Instant,
    /// Since when a head that is due waits for its witnesses' lines.
    waits: Option<Instant>,
}

/// A head that is due: its note as it lies there.
struct Due {
    note: Note,
    size: u64,
    /// Its note and timestamp are there, and only the pointer to them is missing.
    is_kept: bool,
}

type Files = Vec<(AnchorFile, Vec<u8>)>;

impl Anchor for Calendars {
    async fn vouch(&mut self, view: &View, policy: &Policy) -> Vouched {
        if policy.anchors.calendars.is_empty() || self.rests > Instant::now() {
            return Vouched::Nothing;
        }
        match self.turn(view, policy).await {
            Ok(files) if files.is_empty() => Vouched::Nothing,
            Ok(files) => Vouched::Files(files),
            Err(error) => {
                tracing::error!(%error, "the log's anchors cannot be read");
                self.rests = in_ms(time::ANCHOR_RETRY);
                Vouched::Nothing
            }
        }
    }
}

impl Calendars {
    async fn turn(&mut self, view: &View, policy: &Policy) -> Result<Files, LogError> {
        let (own, every) = (view.clone(), policy.anchors.every);
        let due = blocking(move || due(&own, every)).await?;
        if self.open.is_none() {
            let own = view.clone();
            self.open = Some(blocking(move || read_open(&own)).await?);
        }
        match due.filter(|_| self.retry <= Instant::now()) {
            Some(due) if due.is_kept => {
                self.retry = in_ms(time::ANCHOR_RETRY);
                Ok(vec![newest(due.size)])
            }
            Some(due) if !self.waits_for_lines(&due.note, policy) => Ok(self.send(due, policy).await),
            _ => self.ask(view, policy).await,
        }
    }

    /// A head has its witnesses' lines some seconds after it was published, if they are there.
    fn waits_for_lines(&mut self, note: &Note, policy: &Policy) -> bool {
        let lacks = policy.witnesses.iter().any(|witness| cosigned_at(note, &witness.key).is_err());
        let waited = self.waits.get_or_insert_with(Instant::now).elapsed();
        lacks && waited < Duration::from_millis(time::ANCHOR_WAIT)
    }

    /// Sends a head to every calendar; the files of its anchor, if one of them has taken it.
    // contracts/log.md G25, G26.
    async fn send(&mut self, due: Due, policy: &Policy) -> Files {
        self.waits = None;
        self.retry = in_ms(time::ANCHOR_RETRY);
        let Ok(nonce) = entropy::random() else { return Vec::new() };
        let note = due.note.to_string().into_bytes();
        let digest = crypto::sha256(&[&note]);
        let sent = blinded(&digest, &nonce);
        let mut tasks = JoinSet::new();
        for calendar in &policy.anchors.calendars {
            let (fetch, calendar, url) = (self.fetch.clone(), calendar.clone(), format!("{calendar}/digest"));
            tasks.spawn(async move { (calendar, fetch.post_digest(&url, sent).await) });
        }
        let (mut answers, mut kept) = (Vec::new(), None);
        for (calendar, answer) in tasks.join_all().await {
            let answer = answer.and_then(|answer| taken(&answer, &sent, &policy.anchors.calendars));
            let more = answer.and_then(|answer| {
                let more = [answers.as_slice(), &[answer]].concat();
                let stamp = Detached::of_answers(digest, nonce, more.clone()).map_err(|error| error.to_string())?;
                Ok((more, stamp))
            });
            match more {
                Ok((more, stamp)) => (answers, kept) = (more, Some(stamp)),
                Err(reason) => tracing::warn!(calendar, reason, "a calendar has not taken the head"),
            }
        }
        let Some(stamp) = kept else { return Vec::new() };
        let open = self.open.get_or_insert_default();
        open.insert(due.size, in_ms(time::ANCHOR_ASK));
        if open.len() > limit::ANCHORS_OPEN_MAX {
            open.pop_first();
        }
        let (note_file, timestamp_file) = (AnchorFile::Note(due.size), AnchorFile::Timestamp(due.size));
        vec![(note_file, note), (timestamp_file, stamp.to_bytes()), newest(due.size)]
    }

    /// Asks for one anchor that is open, if it is time for one.
    async fn ask(&mut self, view: &View, policy: &Policy) -> Result<Files, LogError> {
        let open = self.open.get_or_insert_default();
        let now = Instant::now();
        while let Some((&size, next)) = open.iter_mut().min_by_key(|(_, next)| **next).filter(|(_, next)| **next <= now)
        {
            let own = view.clone();
            let read = blocking(move || own.anchor(AnchorFile::Timestamp(size))).await;
            if let Err(error) = &read {
                tracing::error!(%error, size, "an anchor cannot be read");
            }
            let stamp = read.ok().flatten().and_then(|stamp| Detached::parse(&stamp).ok());
            // One that cannot be read, is damaged, or has all its blocks.
            let Some(stamp) = stamp.filter(|stamp| !stamp.open().is_empty()) else {
                open.remove(&size);
                continue;
            };
            *next = in_ms(time::ANCHOR_ASK);
            let more = ask_for(&self.fetch, &stamp, &policy.anchors.calendars).await;
            return Ok(more.map(|more| (AnchorFile::Timestamp(size), more.to_bytes())).into_iter().collect());
        }
        Ok(Vec::new())
    }
}

/// The published head, if it is to be anchored now.
// contracts/log.md G26.
fn due(view: &View, every: Duration) -> Result<Option<Due>, LogError> {
    let Some(note) = view.published()? else { return Ok(None) };
    let size = Checkpoint::open(&note, view.key())?.size;
    let is_due = match view.newest_anchor()? {
        None => true,
        // A clock that was set back does not hold up the next.
        Some((newest, at)) => newest < size && at.elapsed().map_or(true, |age| age >= every),
    };
    if !is_due {
        return Ok(None);
    }
    let there = (view.anchor(AnchorFile::Note(size))?, view.anchor(AnchorFile::Timestamp(size))?);
    let is_kept = match there {
        (Some(note), Some(stamp)) => {
            Detached::parse(&stamp).is_ok_and(|stamp| stamp.digest == crypto::sha256(&[&note]))
        }
        _ => false,
    };
    Ok(Some(Due { note, size, is_kept }))
}

/// The newest anchors: each is looked at once.
fn read_open(view: &View) -> Result<BTreeMap<u64, Instant>, LogError> {
    let (mut sizes, now) = (view.timestamped()?, Instant::now());
    sizes.sort_unstable();
    Ok(sizes.into_iter().rev().take(limit::ANCHORS_OPEN_MAX).map(|size| (size, now)).collect())
}

fn in_ms(ms: u64) -> Instant {
    Instant::now() + Duration::from_millis(ms)
}

fn newest(size: u64) -> (AnchorFile, Vec<u8>) {
    (AnchorFile::Newest, format!("{size}\n").into_bytes())
}

/// A first answer, if it can come to something.
// contracts/log.md G25.
fn taken(answer: &[u8], sent: &[u8], calendars: &[String]) -> Result<Timestamp, String> {
    if answer.len() > limit::TIMESTAMP_FIRST_LEN_MAX {
        return Err("its answer is longer than a first one is".to_owned());
    }
    let answer = Timestamp::parse(answer, sent.len()).map_err(|error| error.to_string())?;
    match answer.evaluate(sent).as_slice() {
        [one] if calendar_of(one, calendars).is_some() => Ok(answer),
        [one] => {
            Err(format!("it is pending at no calendar of the policy, but at {:?}", one.pending().unwrap_or_default()))
        }
        told => Err(format!("it says {} things where one is wanted", told.len())),
    }
}

/// The calendar of the policy that it is pending at.
fn calendar_of<'a>(attested: &Attested, calendars: &'a [String]) -> Option<&'a String> {
    let uri = attested.pending()?.trim_end_matches('/');
    calendars.iter().find(|calendar| *calendar == uri)
}

/// A timestamp with the blocks that calendars name, if one of them does.
async fn ask_for(fetch: &Fetch, stamp: &Detached, calendars: &[String]) -> Option<Detached> {
    let mut tasks = JoinSet::new();
    let pending = stamp.open().into_iter().filter(|it| it.message.len() <= limit::TIMESTAMP_ASKED_LEN_MAX);
    let asked = pending.filter_map(|it| Some((calendar_of(&it, calendars)?.clone(), it)));
    for (calendar, pending) in asked.take(ASKED_MAX) {
        let (fetch, url) = (fetch.clone(), format!("{calendar}/timestamp/{}", HEXLOWER.encode(&pending.message)));
        tasks.spawn(async move { (calendar, pending, fetch.get_timestamp(&url).await) });
    }
    let mut merged = None;
    for (calendar, pending, answer) in tasks.join_all().await {
        let stamp = merged.as_ref().unwrap_or(stamp);
        match answer.and_then(|answer| answer.map(|answer| with_block(stamp, &pending, &answer)).transpose()) {
            Ok(Some(more)) => merged = Some(more),
            Ok(None) => {}
            Err(reason) => tracing::warn!(calendar, reason, "a calendar does not say more of an anchor"),
        }
    }
    merged
}

/// contracts/log.md G25.
fn with_block(stamp: &Detached, pending: &Attested, answer: &[u8]) -> Result<Detached, String> {
    if answer.len() > limit::TIMESTAMP_FURTHER_LEN_MAX {
        return Err("its answer is longer than it may be".to_owned());
    }
    let answer = Timestamp::parse(answer, pending.message.len()).map_err(|error| error.to_string())?;
    if answer.evaluate(&pending.message).iter().all(|it| it.block().is_none()) {
        return Err("it names no block".to_owned());
    }
    stamp.settled(pending, &answer).map_err(|error| error.to_string())
}

/// What reads files does it apart from the tasks that serve.
async fn blocking<T: Default + Send + 'static>(
    work: impl FnOnce() -> Result<T, LogError> + Send + 'static,
) -> Result<T, LogError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Ok(T::default()))
}

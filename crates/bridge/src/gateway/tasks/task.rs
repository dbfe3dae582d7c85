//! One task: how it stands, what is told of it, and its row.
//!
//! ```text
//!   submitted ─► working ─┬─► completed
//!                         ├─► failed
//!                         └─► canceled
//! ```
//!
//! Pieces of an answer are text and where each ends: whoever listens goes from end to end, and all get the same.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use nuncio_contracts::registry::limit;
use nuncio_proto::codec;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::forms::History;
use super::weight::weight;

/// The first item of a row.
const VERSION: u8 = 1;
/// Of a row beside message and answer, whose texts grow when they are written in JSON.
const ROW_LEN_MAX: usize = (limit::GATEWAY_TASK_MESSAGE_MAX + limit::GATEWAY_TASK_ANSWER_MAX) * 6 + (64 << 10);
/// What a piece counts beside its text.
const PIECE_LEN: usize = size_of::<u32>();
/// The one artifact of a task.
const ARTIFACT: &str = "answer";

/// Where a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Submitted,
    Working,
    Completed,
    Failed,
    Canceled,
}

impl Stage {
    const ALL: [Self; 5] = [Self::Submitted, Self::Working, Self::Completed, Self::Failed, Self::Canceled];

    pub(super) const fn is_over(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Canceled)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Submitted => "TASK_STATE_SUBMITTED",
            Self::Working => "TASK_STATE_WORKING",
            Self::Completed => "TASK_STATE_COMPLETED",
            Self::Failed => "TASK_STATE_FAILED",
            Self::Canceled => "TASK_STATE_CANCELED",
        }
    }

    fn number(self) -> u8 {
        (0..).zip(Self::ALL).find(|(_, stage)| *stage == self).map_or(0, |(number, _)| number)
    }
}

/// How a task ended.
#[derive(Debug)]
pub(super) struct End {
    pub(super) stage: Stage,
    /// For people.
    pub(super) words: Option<String>,
    /// Parts of its answer, where that is not text in pieces.
    pub(super) parts: Option<Vec<Value>>,
}

impl End {
    pub(super) const fn completed(parts: Option<Vec<Value>>) -> Self {
        Self { stage: Stage::Completed, words: None, parts }
    }

    pub(super) fn failed(words: impl Into<String>) -> Self {
        Self { stage: Stage::Failed, words: Some(words.into()), parts: None }
    }

    pub(super) const fn canceled() -> Self {
        Self { stage: Stage::Canceled, words: None, parts: None }
    }
}

/// Whose a task is, and what it was asked.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub(super) id: String,
    pub(super) principal: String,
    pub(super) route: String,
    pub(super) context: String,
    /// The transaction that it was begun in.
    pub(super) transaction: String,
    /// A message of A2A.
    pub(super) asked: Value,
}

/// A task.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) of: Origin,
    standing: Mutex<Standing>,
    bell: watch::Sender<()>,
    /// Somebody wants it to end.
    pub(super) canceling: CancellationToken,
}

#[derive(Debug)]
struct Standing {
    stage: Stage,
    changed_ms: u64,
    working_ms: Option<u64>,
    words: Option<String>,
    text: String,
    /// Where pieces of the text end.
    ends: Vec<u32>,
    parts: Option<Vec<Value>>,
}

/// What somebody who listens has had.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Had {
    works: bool,
    pieces: usize,
    len: usize,
    pub(super) is_over: bool,
}

impl Task {
    pub(super) fn new(of: Origin, now_ms: u64) -> Self {
        let stage = Stage::Submitted;
        let standing = Standing {
            stage,
            changed_ms: now_ms,
            working_ms: None,
            words: None,
            text: String::new(),
            ends: Vec::new(),
            parts: None,
        };
        Self::of(of, standing)
    }

    fn of(of: Origin, standing: Standing) -> Self {
        let (standing, bell) = (Mutex::new(standing), watch::Sender::new(()));
        Self { of, standing, bell, canceling: CancellationToken::new() }
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        // What it guards stays whole even if a holder panicked.
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stage(&self) -> Stage {
        self.standing().stage
    }

    pub(super) fn state(&self) -> &'static str {
        self.stage().name()
    }

    pub(super) fn changed_ms(&self) -> u64 {
        self.standing().changed_ms
    }

    /// It is worked on.
    pub(super) fn works(&self, now_ms: u64) {
        let mut standing = self.standing();
        (standing.stage, standing.changed_ms, standing.working_ms) = (Stage::Working, now_ms, Some(now_ms));
        drop(standing);
        self.bell.send_replace(());
    }

    /// The next piece of its answer.
    ///
    /// # Errors
    /// There is no room for it.
    // contracts/gateway.md W32, W36.
    pub(super) fn say(&self, piece: &str) -> Result<(), String> {
        let mut standing = self.standing();
        let len = standing.text.len().saturating_add(piece.len());
        let pieces = standing.ends.len().saturating_add(1).saturating_mul(PIECE_LEN);
        let end = u32::try_from(len).ok().filter(|_| len.saturating_add(pieces) <= limit::GATEWAY_TASK_ANSWER_MAX);
        let end = end.ok_or_else(too_long)?;
        standing.text.push_str(piece);
        standing.ends.push(end);
        drop(standing);
        self.bell.send_replace(());
        Ok(())
    }

    /// Its end, which is on disk.
    pub(super) fn end(&self, end: End, now_ms: u64) {
        let mut standing = self.standing();
        (standing.stage, standing.changed_ms) = (end.stage, now_ms);
        (standing.words, standing.parts) = (end.words, end.parts);
        drop(standing);
        self.bell.send_replace(());
    }

    /// Rings whenever something has come.
    pub(super) fn follow(&self) -> watch::Receiver<()> {
        self.bell.subscribe()
    }

    /// Returns when it is over.
    pub(super) async fn over(&self) {
        let mut bell = self.follow();
        while !self.stage().is_over() {
            if bell.changed().await.is_err() {
                return;
            }
        }
    }

    /// As A2A shows it, and what somebody has had who is shown this.
    pub(super) fn shown(&self, history: History, artifacts: bool) -> (Value, Had) {
        let standing = self.standing();
        let of = &self.of;
        let mut task = json!({
            "id": of.id,
            "contextId": of.context,
            "status": self.status(&standing),
            "metadata": { "transaction": of.transaction },
        });
        if let Some(task) = task.as_object_mut() {
            if let (true, Some(artifact)) = (artifacts, standing.artifact()) {
                task.insert("artifacts".to_owned(), json!([artifact]));
            }
            if history == History::All {
                task.insert("history".to_owned(), json!([of.asked]));
            }
        }
        let (works, is_over) = (standing.working_ms.is_some(), standing.stage.is_over());
        (task, Had { works, pieces: standing.ends.len(), len: standing.text.len(), is_over })
    }

    /// What came since, in its order.
    // contracts/gateway.md W37.
    pub(super) fn news(&self, had: &mut Had) -> Vec<Value> {
        let standing = self.standing();
        let mut news = Vec::new();
        if let (false, Some(since_ms)) = (had.works, standing.working_ms) {
            had.works = true;
            news.push(self.event("statusUpdate", json!({ "status": status(Stage::Working, since_ms, None) })));
        }
        for end in standing.ends.iter().skip(had.pieces) {
            let (begin, end) = (had.len, usize::try_from(*end).unwrap_or(usize::MAX));
            let piece = standing.text.get(begin..end).unwrap_or_default();
            let artifact = artifact(&[json!({ "text": piece })]);
            news.push(self.event("artifactUpdate", json!({ "artifact": artifact, "append": had.pieces > 0 })));
            (had.pieces, had.len) = (had.pieces.saturating_add(1), end);
        }
        if standing.stage.is_over() && !had.is_over {
            had.is_over = true;
            if let Some(parts) = standing.parts.as_ref().filter(|parts| !parts.is_empty()) {
                let whole = json!({ "artifact": artifact(parts), "append": false, "lastChunk": true });
                news.push(self.event("artifactUpdate", whole));
            }
            news.push(self.event("statusUpdate", json!({ "status": self.status(&standing) })));
        }
        news
    }

    fn event(&self, kind: &str, mut event: Value) -> Value {
        if let Some(event) = event.as_object_mut() {
            event.insert("taskId".to_owned(), self.of.id.as_str().into());
            event.insert("contextId".to_owned(), self.of.context.as_str().into());
        }
        Value::Object(Map::from_iter([(kind.to_owned(), event)]))
    }

    fn status(&self, standing: &Standing) -> Value {
        let words = standing.words.as_ref().map(|words| {
            json!({
                "messageId": format!("{}-end", self.of.id),
                "taskId": self.of.id,
                "contextId": self.of.context,
                "role": "ROLE_AGENT",
                "parts": [{ "text": words }],
            })
        });
        status(standing.stage, standing.changed_ms, words)
    }

    /// Its row, with an end that is not told yet, and what that is in memory.
    pub(super) fn row(&self, end: Option<(&End, u64)>) -> (Vec<u8>, usize) {
        let standing = self.standing();
        let of = self.of.clone();
        let (mut stage, mut changed_ms, mut words, mut parts) =
            (standing.stage, standing.changed_ms, &standing.words, &standing.parts);
        if let Some((end, now_ms)) = end {
            (stage, changed_ms, words, parts) = (end.stage, now_ms, &end.words, &end.parts);
        }
        let asked = of.asked.to_string();
        let parts = parts.as_ref().map(|parts| Value::from(parts.clone()).to_string());
        let values = weight(asked.as_bytes()) + parts.as_ref().map_or(0, |parts| weight(parts.as_bytes()));
        let pieces = standing.text.len() + standing.ends.len() * PIECE_LEN;
        let row = Row(
            VERSION,
            of.principal,
            of.route,
            of.context,
            of.transaction,
            asked,
            stage.number(),
            changed_ms,
            words.clone(),
            standing.text.clone(),
            parts,
        );
        (codec::encode(&row), values.saturating_add(pieces))
    }

    /// Reads one.
    pub(super) fn read(id: String, row: &[u8]) -> Option<Self> {
        let Row(version, principal, route, context, transaction, asked, stage, changed_ms, words, text, parts) =
            codec::decode(row, ROW_LEN_MAX).ok()?;
        let stage = Stage::ALL.get(usize::from(stage)).copied().filter(|_| version == VERSION)?;
        let parts = parts.map(|parts| serde_json::from_str(&parts)).transpose().ok()?;
        let asked = serde_json::from_str(&asked).ok()?;
        let standing = Standing { stage, changed_ms, working_ms: None, words, text, ends: Vec::new(), parts };
        Some(Self::of(Origin { id, principal, route, context, transaction, asked }, standing))
    }
}

#[derive(Serialize, Deserialize)]
struct Row(u8, String, String, String, String, String, u8, u64, Option<String>, String, Option<String>);

impl Standing {
    fn artifact(&self) -> Option<Value> {
        match &self.parts {
            Some(parts) if !parts.is_empty() => Some(artifact(parts)),
            _ if self.text.is_empty() => None,
            _ => Some(artifact(&[json!({ "text": self.text })])),
        }
    }
}

pub(super) fn too_long() -> String {
    format!("the answer is longer than {} KiB, which is what is kept of one", limit::GATEWAY_TASK_ANSWER_MAX >> 10)
}

fn artifact(parts: &[Value]) -> Value {
    json!({ "artifactId": ARTIFACT, "name": ARTIFACT, "parts": parts })
}

fn status(stage: Stage, since_ms: u64, message: Option<Value>) -> Value {
    let mut status = json!({ "state": stage.name(), "timestamp": time(since_ms) });
    if let (Some(status), Some(message)) = (status.as_object_mut(), message) {
        status.insert("message".to_owned(), message);
    }
    status
}

fn time(ms: u64) -> String {
    let time = i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or(Timestamp::MAX);
    format!("{time:.3}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task() -> Task {
        let text = |text: &str| text.to_owned();
        let (id, principal, route) = (text("i"), text("user:anna"), text("ask"));
        let (context, transaction, asked) = (text("c"), text("t"), json!({ "parts": [{ "text": "?" }] }));
        Task::new(Origin { id, principal, route, context, transaction, asked }, 1_000)
    }

    fn kinds(news: &[Value]) -> Vec<String> {
        news.iter().flat_map(|one| one.as_object().unwrap().keys().cloned()).collect()
    }

    /// contracts/gateway.md W37.
    #[test]
    fn everyone_who_listens_is_told_the_same_in_the_same_order() {
        let task = task();
        let (first, mut late) = (task.shown(History::All, true), Had::default());
        let (shown, mut had) = first;
        assert_eq!((&shown["status"]["state"], had.is_over), (&json!("TASK_STATE_SUBMITTED"), false));
        let mut told = task.news(&mut had);
        task.works(2_000);
        task.say("blü").unwrap();
        told.extend(task.news(&mut had));
        task.say("e").unwrap();
        let (middle, mut from_the_middle) = task.shown(History::None, true);
        assert_eq!(middle["artifacts"][0]["parts"], json!([{ "text": "blüe" }]));
        assert!(middle.get("history").is_none());
        task.say(".").unwrap();
        task.end(End::completed(None), 3_000);
        told.extend(task.news(&mut had));
        assert_eq!(
            kinds(&told),
            ["statusUpdate", "artifactUpdate", "artifactUpdate", "artifactUpdate", "statusUpdate"]
        );
        assert_eq!(told, task.news(&mut late), "whoever reads late is told it in the same pieces");
        assert_eq!(told[3..], task.news(&mut from_the_middle));
        assert!(had.is_over && task.news(&mut had).is_empty());
        assert_eq!(told[1]["artifactUpdate"]["append"], false);
        assert_eq!(told[2]["artifactUpdate"]["append"], true);
        assert_eq!(told[4]["statusUpdate"]["status"]["timestamp"], "1970-01-01T00:00:03.000Z");
    }

    #[test]
    fn a_row_is_read_as_it_was() {
        let task = task();
        task.say("a").unwrap();
        let end = End { parts: Some(vec![json!({ "data": 1 })]), ..End::failed("why") };
        let (row, _) = task.row(Some((&end, 5_000)));
        assert_eq!(task.stage(), Stage::Submitted, "it is not told before it is kept");
        task.end(end, 5_000);
        let read = Task::read("i".to_owned(), &row).unwrap();
        assert_eq!(read.shown(History::All, true).0, task.shown(History::All, true).0);
        assert_eq!(read.of.principal, "user:anna");
        assert!(Task::read("i".to_owned(), &row[1..]).is_none());
    }

    #[test]
    fn an_answer_has_an_end() {
        let task = task();
        let half = "x".repeat(limit::GATEWAY_TASK_ANSWER_MAX / 2 - PIECE_LEN);
        assert!(task.say(&half).is_ok() && task.say(&half).is_ok());
        assert!(task.say("").is_err(), "a piece counts beside its text");
    }
}

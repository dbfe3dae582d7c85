//! Two agents that write each other numbered letters, and what is counted of them: for the campaigns.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::client::{Api, is_gone};
use crate::failure::Failure;
use crate::wire::{Accepted, InboxPage, NewLetter, NewTransaction, SubjectType, Transaction, Under};

/// Before an agent that is gone is asked again.
const GONE_PAUSE: Duration = Duration::from_millis(20);
/// How long a letter under a token waits for a token service that is away.
const TOKEN_PATIENCE_MS: u64 = 2_000;

/// How the writers write.
#[derive(Clone, Debug)]
pub(crate) struct Writing {
    /// Between two letters of one writer.
    pub(crate) pause: Duration,
    /// Letters of one writer.
    pub(crate) letters: u64,
    /// The scope of the transaction that a letter acts in, each in one of its own, if any.
    pub(crate) scope: Option<String>,
}

/// The two writers and the two readers.
pub(crate) struct Talk {
    stop_writing: CancellationToken,
    stop_reading: CancellationToken,
    writing: Writing,
    writers: TaskTracker,
    readers: TaskTracker,
}

impl Talk {
    pub(crate) fn new(writing: Writing) -> Self {
        Self {
            stop_writing: CancellationToken::new(),
            stop_reading: CancellationToken::new(),
            writing,
            writers: TaskTracker::new(),
            readers: TaskTracker::new(),
        }
    }

    /// Begins to write at one home, and to read at the other.
    pub(crate) fn direction(&self, from: &Path, to: String, at: &Path) -> Direction {
        let direction = Direction(Arc::default());
        let (writer, reader) = (direction.clone(), direction.clone());
        let (sender, receiver) = (Api::at(from), Api::at(at));
        let (plan, writing, reading) = (self.writing.clone(), self.stop_writing.clone(), self.stop_reading.clone());
        self.writers.spawn(async move { writing.run_until_cancelled(writer.write(sender, to, plan)).await });
        self.readers.spawn(async move { reading.run_until_cancelled(reader.read(receiver)).await });
        direction
    }

    /// No more letters are written.
    pub(crate) fn stop_writing(&self) {
        self.stop_writing.cancel();
    }

    /// Waits until all letters are written.
    pub(crate) async fn written(&self) {
        self.writers.close();
        self.writers.wait().await;
    }

    /// Ends everything.
    pub(crate) async fn end(&self) {
        self.stop_writing.cancel();
        self.stop_reading.cancel();
        self.readers.close();
        self.written().await;
        self.readers.wait().await;
    }
}

/// What was counted of one direction, or of both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    /// Letters whose `send` was answered.
    pub(crate) accepted: u64,
    /// Letters whose `send` was refused or cut off.
    pub(crate) unanswered: u64,
    /// Letters that arrived.
    pub(crate) arrived: u64,
    /// Accepted and not arrived.
    pub(crate) missing: u64,
    /// Arrived more than once.
    pub(crate) twice: u64,
    /// Arrived after a later one.
    pub(crate) disordered: u64,
    /// Arrived and never sent, or with another content.
    pub(crate) strange: u64,
}

impl std::ops::AddAssign for Counted {
    fn add_assign(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.unanswered += other.unanswered;
        self.arrived += other.arrived;
        self.missing += other.missing;
        self.twice += other.twice;
        self.disordered += other.disordered;
        self.strange += other.strange;
    }
}

/// One direction's letters: written and read.
#[derive(Clone)]
pub(crate) struct Direction(Arc<Mutex<Book>>);

#[derive(Default)]
struct Book {
    /// Letters by their number, with their id where `send` was answered.
    written: BTreeMap<u64, Option<String>>,
    /// Ids of letters read, with their place in the inbox and whether `done` was answered.
    seen: BTreeMap<String, (u64, bool)>,
    /// Numbers in the order of arrival.
    arrived: Vec<u64>,
    read: BTreeSet<u64>,
    twice: u64,
    strange: u64,
    /// Why letters were not accepted.
    refusals: BTreeMap<String, u64>,
}

impl Direction {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ids of the letters that were accepted and have not arrived.
    pub(crate) fn missing(&self) -> Vec<String> {
        let book = self.book();
        let missing = book.written.iter().filter(|(number, _)| !book.read.contains(number));
        missing.filter_map(|(_, id)| id.clone()).collect()
    }

    /// Why letters were not accepted, and how many.
    pub(crate) fn refusals(&self) -> BTreeMap<String, u64> {
        self.book().refusals.clone()
    }

    /// Writes numbered letters. A number whose `send` was not answered is not used again.
    async fn write(self, api: Api, to: String, plan: Writing) {
        for number in 0..plan.letters {
            self.book().written.insert(number, None);
            match said(&api, &to, number, plan.scope.as_deref()).await {
                Ok(accepted) => {
                    self.book().written.insert(number, Some(accepted.id));
                    tokio::time::sleep(plan.pause).await;
                }
                Err(failure) => {
                    *self.book().refusals.entry(failure.to_string()).or_default() += 1;
                    tokio::time::sleep(GONE_PAUSE).await;
                }
            }
        }
    }

    /// Reads letters and removes them.
    async fn read(self, api: Api) {
        loop {
            match api.get::<InboxPage>("/v1/inbox?wait_ms=1000").await {
                Ok(page) => {
                    for letter in &page.letters {
                        self.take(&letter.id, letter.no, letter.text.as_deref().unwrap_or_default());
                        match api.tell(&format!("/v1/inbox/{}/done", letter.no)).await {
                            Ok(()) => drop(self.book().seen.insert(letter.id.clone(), (letter.no, true))),
                            Err(failure) if is_gone(&failure) => break,
                            Err(_) => self.book().strange += 1,
                        }
                    }
                }
                Err(_) => tokio::time::sleep(GONE_PAUSE).await,
            }
        }
    }

    /// A letter that was shown before, in the same place and not removed, is the same arrival.
    fn take(&self, id: &str, no: u64, text: &str) {
        let mut book = self.book();
        match book.seen.get(id) {
            Some((place, false)) if *place == no => return,
            Some(_) => {
                book.twice += 1;
                return;
            }
            None => drop(book.seen.insert(id.to_owned(), (no, false))),
        }
        match number_of(text).filter(|number| book.written.contains_key(number)) {
            Some(number) => {
                if !book.read.insert(number) {
                    book.twice += 1;
                }
                book.arrived.push(number);
            }
            None => book.strange += 1,
        }
    }

    pub(crate) fn count(&self) -> Counted {
        let missing = wide(self.missing().len());
        let book = self.book();
        let accepted = wide(book.written.values().flatten().count());
        let steps = book.arrived.iter().zip(book.arrived.iter().skip(1));
        Counted {
            accepted,
            unanswered: wide(book.written.len()) - accepted,
            arrived: wide(book.read.len()),
            missing,
            twice: book.twice,
            disordered: wide(steps.filter(|(earlier, later)| earlier > later).count()),
            strange: book.strange,
        }
    }
}

/// Sends the letter of a number, under a token of its own if it needs one.
pub(crate) async fn said(api: &Api, to: &str, number: u64, scope: Option<&str>) -> Result<Accepted, Failure> {
    let under = match scope {
        None => None,
        Some(scope) => {
            let (subject_type, subject) = (SubjectType::SelfSigned, "user:anna".to_owned());
            let new = NewTransaction { subject_type, subject, scope: scope.to_owned(), details: None };
            let token = api.post::<Transaction>("/v1/transactions", &new).await?.token;
            let wait_ms = Some(TOKEN_PATIENCE_MS);
            Some(Under { token, wait_ms, ..Under::default() })
        }
    };
    let letter = NewLetter { to: to.to_owned(), text: Some(content(number)), under, ..NewLetter::default() };
    api.post("/v1/letters", &letter).await
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// A content that shows its number, and a damage to itself.
fn content(number: u64) -> String {
    format!("letter {number} {}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

fn number_of(text: &str) -> Option<u64> {
    let number = text.strip_prefix("letter ")?.split(' ').next()?.parse().ok()?;
    (content(number) == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn direction() -> Direction {
        let direction = Direction(Arc::default());
        let written = [(0, Some("a")), (1, None), (2, Some("b")), (3, Some("c"))];
        direction.book().written.extend(written.map(|(number, id)| (number, id.map(str::to_owned))));
        direction
    }

    fn counted(arrivals: &[(&str, u64, u64)]) -> Counted {
        let direction = direction();
        arrivals.iter().for_each(|(id, no, number)| direction.take(id, *no, &content(*number)));
        direction.count()
    }

    #[test]
    fn an_honest_run_is_clean_and_a_letter_shown_again_is_no_second_arrival() {
        let clean = counted(&[("a", 0, 0), ("b", 1, 2), ("b", 1, 2), ("c", 2, 3)]);
        assert_eq!(clean, Counted { accepted: 3, unanswered: 1, arrived: 3, ..Counted::default() });
    }

    #[test]
    fn every_broken_claim_is_found() {
        assert_eq!(counted(&[("a", 0, 0), ("b", 1, 2)]).missing, 1);
        assert_eq!(counted(&[("a", 0, 0), ("b", 1, 2), ("b", 2, 2), ("c", 3, 3)]).twice, 1, "one letter in two places");
        assert_eq!(
            counted(&[("a", 0, 0), ("b", 1, 2), ("d", 2, 2), ("c", 3, 3)]).twice,
            1,
            "one content in two letters"
        );
        assert_eq!(counted(&[("b", 1, 2), ("a", 2, 0), ("c", 3, 3)]).disordered, 1);
        assert_eq!(counted(&[("a", 0, 0), ("b", 1, 2), ("c", 3, 3), ("d", 4, 9)]).strange, 1);
        let removed = direction();
        removed.take("a", 0, &content(0));
        removed.book().seen.insert("a".to_owned(), (0, true));
        removed.take("a", 0, &content(0));
        assert_eq!(removed.book().twice, 1, "a letter that was removed came back");
    }
}

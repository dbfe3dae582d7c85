//! Two agents talk both ways while one or the other is killed with SIGKILL at random moments. Then everything is counted.
//!
//! What is claimed: a letter whose `send` was answered arrives; no letter arrives twice; each direction arrives in order. A `send` that the
//! kill left unanswered may have been accepted or not, so its letter arrives once or not at all. No key is used for two plaintexts: a test build
//! (feature `seal-log`) writes the hash of every key it seals with down.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::client::{Api, is_gone};
use crate::failure::Failure;
use crate::process::{AgentProcess, Program, seals_of};
use crate::seals::Seals;
use crate::wire::{Accepted, InboxPage, NewLetter, Status};

/// How long the last letters may take to arrive once nobody is killed any more: a few resends, which back off.
const SETTLE_PATIENCE: Duration = Duration::from_secs(120);
/// Between two letters of one writer, where a link carries them.
pub const WRITE_PAUSE: Duration = Duration::from_millis(2);
/// Before an agent that is gone is asked again.
const GONE_PAUSE: Duration = Duration::from_millis(20);
/// Shortest and longest life of an agent in milliseconds.
const LIFE_MS: (u64, u64) = (30, 700);

/// One campaign.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How often somebody is killed.
    pub kills: u32,
    /// Chooses moments and victims; the machine's own timing differs from run to run.
    pub seed: u64,
    /// Between two letters of one writer.
    pub write_pause: Duration,
    /// Is told after each kill how many there were.
    pub killed: fn(u32),
}

/// What was counted, both directions together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tally {
    /// Processes killed.
    pub kills: u32,
    /// Letters whose `send` was answered.
    pub accepted: u64,
    /// Letters whose `send` was cut off by a kill.
    pub unanswered: u64,
    /// Letters that arrived.
    pub arrived: u64,
    /// Accepted and not arrived.
    pub lost: u64,
    /// Arrived more than once.
    pub twice: u64,
    /// Arrived after a later one.
    pub disordered: u64,
    /// Arrived and never sent, or with another content.
    pub strange: u64,
    /// Headers and bodies sealed.
    pub seals: u64,
    /// Keys used twice: pairs of key and nonce with two plaintexts, message keys of two frames.
    pub reused: u64,
    /// Frames that came again and were dropped, as far as the agents alive at the end know.
    pub duplicates_refused: u64,
    /// Frames sent again, as far as they know.
    pub resent: u64,
}

impl Tally {
    /// Whether every claim is true.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.lost == 0 && self.twice == 0 && self.disordered == 0 && self.strange == 0 && self.reused == 0
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} kills: {} letters accepted, {} sends cut off, {} arrived; {} lost, {} twice, {} out of order, {} strange; {} seals, {} keys used twice; {} resent, {} duplicates refused",
            self.kills,
            self.accepted,
            self.unanswered,
            self.arrived,
            self.lost,
            self.twice,
            self.disordered,
            self.strange,
            self.seals,
            self.reused,
            self.resent,
            self.duplicates_refused
        )
    }
}

/// Runs a campaign in a directory that the caller removes.
///
/// # Errors
/// Agents that cannot be started, or letters that do not settle.
pub async fn run(program: &Program, dir: &Path, plan: Plan) -> Result<Tally, Failure> {
    make_homes(program, dir).await?;
    campaign(program, dir, plan, Some((Ipv4Addr::LOCALHOST, 0).into())).await
}

/// Makes the homes of a campaign: who the two agents are.
///
/// # Errors
/// What kept one from being made.
pub async fn make_homes(program: &Program, dir: &Path) -> Result<[(PathBuf, String); 2], Failure> {
    let [anna, ben] = ["anna", "ben"].map(|name| dir.join(name));
    let ids = [program.init(&anna).await?, program.init(&ben).await?];
    let [of_anna, of_ben] = ids;
    Ok([(anna, of_anna), (ben, of_ben)])
}

/// Runs a campaign in homes that are made. Without an address to listen at the agents' own settings say how letters reach them.
///
/// # Errors
/// As [`run`].
pub async fn campaign(program: &Program, dir: &Path, plan: Plan, listen: Option<SocketAddr>) -> Result<Tally, Failure> {
    let homes = [dir.join("anna"), dir.join("ben")];
    let [anna, ben] = &homes;
    let mut agents = [program.launch(anna, listen).await?, program.launch(ben, listen).await?];
    let [first, second] = &agents;
    let (to_ben, to_anna) = (first.add(second, "ben").await?, second.add(first, "anna").await?);

    let talk = Talk {
        stop_writing: CancellationToken::new(),
        stop_reading: CancellationToken::new(),
        write_pause: plan.write_pause,
        tasks: TaskTracker::new(),
    };
    let there = talk.direction(anna, to_ben, ben);
    let back = talk.direction(ben, to_anna, anna);
    let killed = kill_at_random(program, &mut agents, plan).await;
    talk.stop_writing.cancel();
    let settled = match killed {
        Ok(()) => settle(&agents, [&there, &back]).await,
        Err(failure) => Err(failure),
    };
    talk.stop_reading.cancel();
    talk.tasks.close();
    talk.tasks.wait().await;
    let (resent, duplicates_refused) = settled?;

    let mut tally = Tally { kills: plan.kills, resent, duplicates_refused, ..Tally::default() };
    there.count(&mut tally);
    back.count(&mut tally);
    for agent in agents {
        agent.stop().await?;
    }
    for home in &homes {
        let seals = Seals::read(&seals_of(home))?;
        tally.seals += seals.sealed;
        tally.reused += seals.reused;
    }
    Ok(tally)
}

async fn kill_at_random(program: &Program, agents: &mut [AgentProcess; 2], plan: Plan) -> Result<(), Failure> {
    let mut dice = Dice(plan.seed | 1);
    let (shortest, longest) = LIFE_MS;
    for done in 1..=plan.kills {
        tokio::time::sleep(Duration::from_millis(shortest + dice.roll(longest - shortest))).await;
        let [first, second] = agents;
        let victim = if dice.roll(2) == 0 { first } else { second };
        let (home, listening) = (victim.home().to_owned(), victim.listens_at());
        victim.kill().await?;
        *victim = program.launch(&home, listening).await?;
        (plan.killed)(done);
    }
    Ok(())
}

/// Waits until nothing is on its way and everything accepted was read.
async fn settle(agents: &[AgentProcess; 2], directions: [&Direction; 2]) -> Result<(u64, u64), Failure> {
    let until = Instant::now() + SETTLE_PATIENCE;
    loop {
        let mut statuses = Vec::new();
        for agent in agents {
            statuses.push(agent.api().get::<Status>("/v1/status").await?);
        }
        let under_way: u64 = statuses.iter().map(|status| status.outbox + status.inbox).sum();
        let unread = directions.iter().any(|direction| direction.book().missing() > 0);
        if under_way == 0 && !unread || Instant::now() >= until {
            let counters = || statuses.iter().map(|status| status.counters);
            return Ok((counters().map(|c| c.resent).sum(), counters().map(|c| c.duplicates).sum()));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The two writers and the two readers.
struct Talk {
    stop_writing: CancellationToken,
    stop_reading: CancellationToken,
    write_pause: Duration,
    tasks: TaskTracker,
}

impl Talk {
    fn direction(&self, from: &Path, to: String, at: &Path) -> Direction {
        let direction = Direction(Arc::default());
        let (writer, reader) = (direction.clone(), direction.clone());
        let (sender, receiver) = (Api::at(from), Api::at(at));
        let pause = self.write_pause;
        let (writing, reading) = (self.stop_writing.clone(), self.stop_reading.clone());
        self.tasks
            .spawn(async move { writing.run_until_cancelled(writer.write(sender, to, pause, writing.clone())).await });
        self.tasks.spawn(async move { reading.run_until_cancelled(reader.read(receiver)).await });
        direction
    }
}

/// One direction's letters: written and read.
#[derive(Clone)]
struct Direction(Arc<Mutex<Book>>);

#[derive(Default)]
struct Book {
    /// Letters by their number, with whether `send` was answered.
    written: BTreeMap<u64, bool>,
    /// Ids of letters read, with their place in the inbox and whether `done` was answered.
    seen: BTreeMap<String, (u64, bool)>,
    /// Numbers in the order of arrival.
    arrived: Vec<u64>,
    read: BTreeSet<u64>,
    twice: u64,
    strange: u64,
}

impl Book {
    fn missing(&self) -> usize {
        self.written.iter().filter(|(number, answered)| **answered && !self.read.contains(number)).count()
    }
}

impl Direction {
    fn book(&self) -> std::sync::MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes numbered letters. A number whose `send` was not answered is not used again.
    async fn write(self, api: Api, to: String, pause: Duration, stop: CancellationToken) {
        for number in 0.. {
            if stop.is_cancelled() {
                return;
            }
            self.book().written.insert(number, false);
            let letter = NewLetter { to: to.clone(), text: Some(content(number)), ..NewLetter::default() };
            match api.post::<Accepted>("/v1/letters", &letter).await {
                Ok(_) => {
                    self.book().written.insert(number, true);
                    tokio::time::sleep(pause).await;
                }
                Err(_) => tokio::time::sleep(GONE_PAUSE).await,
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

    fn count(&self, tally: &mut Tally) {
        let book = self.book();
        let wide = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let answered = wide(book.written.values().filter(|answered| **answered).count());
        tally.accepted += answered;
        tally.unanswered += wide(book.written.len()) - answered;
        tally.arrived += wide(book.read.len());
        tally.lost += wide(book.missing());
        tally.twice += book.twice;
        tally.strange += book.strange;
        let steps = book.arrived.iter().zip(book.arrived.iter().skip(1));
        tally.disordered += wide(steps.filter(|(earlier, later)| earlier > later).count());
    }
}

/// A content that shows its number, and a damage to itself.
fn content(number: u64) -> String {
    format!("letter {number} {}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

fn number_of(text: &str) -> Option<u64> {
    let number = text.strip_prefix("letter ")?.split(' ').next()?.parse().ok()?;
    (content(number) == text).then_some(number)
}

/// A repeatable sequence (xorshift64); the moments need no better one.
struct Dice(u64);

impl Dice {
    const fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn direction() -> Direction {
        let direction = Direction(Arc::default());
        direction.book().written.extend([(0, true), (1, false), (2, true), (3, true)]);
        direction
    }

    fn tally(arrivals: &[(&str, u64, u64)]) -> Tally {
        let direction = direction();
        arrivals.iter().for_each(|(id, no, number)| direction.take(id, *no, &content(*number)));
        let mut tally = Tally::default();
        direction.count(&mut tally);
        tally
    }

    #[test]
    fn an_honest_run_is_clean_and_a_letter_shown_again_is_no_second_arrival() {
        let clean = tally(&[("a", 0, 0), ("b", 1, 2), ("b", 1, 2), ("c", 2, 3)]);
        assert!(clean.is_clean(), "{clean}");
        assert_eq!((clean.accepted, clean.unanswered, clean.arrived), (3, 1, 3));
    }

    #[test]
    fn every_broken_claim_is_found() {
        assert_eq!(tally(&[("a", 0, 0), ("b", 1, 2)]).lost, 1);
        assert_eq!(tally(&[("a", 0, 0), ("b", 1, 2), ("b", 2, 2), ("c", 3, 3)]).twice, 1, "one letter in two places");
        assert_eq!(tally(&[("a", 0, 0), ("b", 1, 2), ("d", 2, 2), ("c", 3, 3)]).twice, 1, "one content in two letters");
        assert_eq!(tally(&[("b", 1, 2), ("a", 2, 0), ("c", 3, 3)]).disordered, 1);
        assert_eq!(tally(&[("a", 0, 0), ("b", 1, 2), ("c", 3, 3), ("d", 4, 9)]).strange, 1);
        let removed = direction();
        removed.take("a", 0, &content(0));
        removed.book().seen.insert("a".to_owned(), (0, true));
        removed.take("a", 0, &content(0));
        assert_eq!(removed.book().twice, 1, "a letter that was removed came back");
    }
}

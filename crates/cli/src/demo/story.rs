//! What happens, chapter by chapter.

mod transaction;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::Teller;
use super::figures::{Summary, percentile_us, total};
use super::travel::domain::Domain;
use super::travel::untrue;
use crate::client::Api;
use crate::failure::Failure;
use crate::output;
use crate::process::{AgentProcess, Program};
use crate::wire::{Accepted, Counters, Delivery, InboxLetter, InboxPage, LetterState, NewLetter, Sessions, Status};

/// Letters one at a time, each way.
const SINGLES: usize = 100;
/// Their length: that of a short sentence.
const SINGLE_LEN: usize = 35;
/// Letters of the burst, and how many have to be there before the kill.
const BURST: usize = 400;
const BURST_BEFORE_KILL: u64 = 120;
const MEBIBYTE: usize = 1 << 20;
/// How long letters may take to come: a resend or two after the kill.
const PATIENCE: Duration = Duration::from_secs(30);
/// In every letter that the story writes; looked for in the homes at the end.
const MARK: &str = "a secret between anna and ben";

pub(super) struct Story {
    teller: Teller,
    program: Program,
    domain: Domain,
    anna: AgentProcess,
    ben: AgentProcess,
    letters: u64,
    payload_bytes: u64,
    shown: Vec<String>,
    times: Vec<Duration>,
    overhead: u64,
    ack: u64,
    token: transaction::Cost,
    arrived_before_kill: u64,
    recovery: Duration,
    /// What the killed agent had counted.
    before_kill: Counters,
}

/// Letters sent one at a time: how long each took, and what each side sent for it.
#[derive(Default)]
struct Singles {
    times: Vec<Duration>,
    frame_bytes: Vec<u64>,
    ack_bytes: Vec<u64>,
    /// All of them, as they were written.
    arrived: bool,
}

impl Story {
    pub(super) async fn begin(program: &Program, dir: &Path, teller: Teller) -> Result<Self, Failure> {
        let any: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
        let (a, b) = (dir.join("anna"), dir.join("ben"));
        let domain =
            transaction::found(dir, &[("anna", program.init(&a).await?), ("ben", program.init(&b).await?)]).await?;
        let (anna, ben) = (program.start(&a, any).await?, program.start(&b, any).await?);
        teller.say("Two agents, each a process with a home of its own, talk over QUIC on this machine.\n")?;
        let (to_ben, to_anna) = (anna.add(&ben, "ben").await?, ben.add(&anna, "anna").await?);
        for (name, did, agent) in [("anna", to_anna, &anna), ("ben", to_ben, &ben)] {
            let pid = agent.pid().map(|pid| pid.to_string()).unwrap_or_default();
            teller.say(format_args!("  {name:<5} {did}  process {pid}, {}", agent.listening()))?;
        }
        teller.say(format_args!("  node  {}  issues tokens to both", domain.invitation().map_err(untrue)?.agent))?;
        Ok(Self {
            teller,
            program: program.clone(),
            domain,
            anna,
            ben,
            letters: 0,
            payload_bytes: 0,
            shown: Vec::new(),
            times: Vec::new(),
            overhead: 0,
            ack: 0,
            token: transaction::Cost::default(),
            arrived_before_kill: 0,
            recovery: Duration::ZERO,
            before_kill: Counters::default(),
        })
    }

    /// Holds a claim against what was found. The first that is untrue ends the story.
    fn show(&mut self, is_true: bool, claim: &str) -> Result<(), Failure> {
        if !is_true {
            return Err(Failure::Unsound(format!("this is not true: {claim}")));
        }
        self.shown.push(claim.to_owned());
        Ok(())
    }

    pub(super) async fn first_letters(&mut self) -> Result<(), Failure> {
        let began = Instant::now();
        deliver(self.anna.api(), &text("ben", format!("hello ben, {MARK}"))).await?;
        let took = began.elapsed();
        deliver(self.ben.api(), &text("anna", format!("hello anna, {MARK}"))).await?;
        let there = take(self.ben.api(), 1).await?;
        let back = take(self.anna.api(), 1).await?;
        let texts =
            [&there, &back].map(|letters| letters.iter().filter_map(|letter| letter.text.clone()).collect::<String>());
        let arrived = texts == [format!("hello ben, {MARK}"), format!("hello anna, {MARK}")];
        self.count(&[there, back].concat());

        let mut sessions = Vec::new();
        for agent in [&self.anna, &self.ben] {
            let list: Sessions = agent.api().get("/v1/sessions").await?;
            sessions.push(
                list.sessions
                    .into_iter()
                    .find(|session| session.current && session.confirmed)
                    .map(|session| session.id),
            );
        }
        let agree = matches!(sessions.as_slice(), [Some(one), Some(other)] if one == other);
        self.teller.say(format_args!(
            "\n1  Handshake: QUIC with both agents' own keys, then X25519 and ML-KEM-768; the first letter was delivered {} ms after anna wrote it.",
            took.as_millis()
        ))?;
        self.show(agree, "the handshake gave both agents the same session")?;
        self.show(arrived, "each first letter arrived as it was written")
    }

    pub(super) async fn one_at_a_time(&mut self) -> Result<(), Failure> {
        let there = self.singles(&self.anna, "ben", &self.ben).await?;
        let back = self.singles(&self.ben, "anna", &self.anna).await?;
        self.overhead = median(there.frame_bytes).saturating_sub(wide(SINGLE_LEN));
        self.ack = median(there.ack_bytes);
        self.teller.say(format_args!("2  {SINGLES} short letters each way, one at a time: each on disk on both sides before the next was written."))?;
        self.times.extend(there.times.into_iter().chain(back.times));
        self.letters += 2 * wide(SINGLES);
        self.payload_bytes += 2 * wide(SINGLES * SINGLE_LEN);
        self.show(there.arrived && back.arrived, "letters sent one at a time arrived once and in order")
    }

    async fn singles(&self, from: &AgentProcess, to: &str, at: &AgentProcess) -> Result<Singles, Failure> {
        let mut singles = Singles::default();
        let mut before = (frame_bytes(from).await?, frame_bytes(at).await?);
        for number in 0..SINGLES {
            let began = Instant::now();
            deliver(from.api(), &text(to, single(number))).await?;
            singles.times.push(began.elapsed());
            let after = (frame_bytes(from).await?, frame_bytes(at).await?);
            singles.frame_bytes.push(after.0 - before.0);
            singles.ack_bytes.push(after.1 - before.1);
            before = after;
        }
        singles.arrived = are(&take(at.api(), SINGLES).await?, SINGLES, single);
        Ok(singles)
    }

    pub(super) async fn a_mebibyte_each_way(&mut self) -> Result<(), Failure> {
        let mut bytes = vec![0; MEBIBYTE];
        getrandom::fill(&mut bytes).map_err(|error| Failure::Unsound(error.to_string()))?;
        let base64 = Some(data_encoding::BASE64.encode(&bytes));
        let began = Instant::now();
        deliver(self.anna.api(), &NewLetter { to: "ben".to_owned(), base64: base64.clone(), ..NewLetter::default() })
            .await?;
        deliver(self.ben.api(), &NewLetter { to: "anna".to_owned(), base64, ..NewLetter::default() }).await?;
        let took = began.elapsed();
        let same = self.arrived_whole(&bytes, true).await? && self.arrived_whole(&bytes, false).await?;
        self.teller.say(format_args!("3  1 MiB each way: {} ms for both.", took.as_millis()))?;
        self.show(same, "1 MiB of random bytes arrived each way, the same to the last bit")
    }

    /// Takes a large letter out of ben's inbox, or anna's, and compares.
    async fn arrived_whole(&mut self, bytes: &[u8], at_ben: bool) -> Result<bool, Failure> {
        let api = if at_ben { self.ben.api() } else { self.anna.api() };
        let page = page(api, 1).await?;
        let Some(letter) = page.first() else { return Ok(false) };
        let found = api.bytes(&format!("/v1/inbox/{}/payload?wait_ms=60000", letter.no)).await?;
        api.tell(&format!("/v1/inbox/{}/done", letter.no)).await?;
        self.letters += 1;
        self.payload_bytes += letter.len;
        Ok(found == bytes)
    }

    pub(super) async fn a_file(&mut self) -> Result<(), Failure> {
        let path = real_file()?;
        let bytes = fs::read(&path).map_err(Failure::io("read", &path))?;
        deliver(self.anna.api(), &NewLetter { to: "ben".to_owned(), file: Some(path.clone()), ..NewLetter::default() })
            .await?;
        let same = self.arrived_whole(&bytes, true).await?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.teller.say(format_args!("4  A file: {name}, {}.", output::size(wide(bytes.len()))))?;
        self.show(same, "the file arrived, the same to the last bit")
    }

    pub(super) async fn a_kill_in_the_middle(&mut self) -> Result<(), Failure> {
        self.before_kill = status(&self.ben).await?.counters;
        let (home, listening) = (self.ben.home().to_owned(), self.ben.listening());
        let (written, killed) = tokio::join!(burst(&self.anna), kill_when_busy(&mut self.ben));
        written?;
        self.arrived_before_kill = killed?;
        let began = Instant::now();
        self.ben = self.program.start(&home, listening).await?;
        self.recovery = began.elapsed();
        let arrived = take(self.ben.api(), BURST).await?;
        self.teller.say(format_args!(
            "6  Anna writes {BURST} letters in a burst. Ben gets SIGKILL with {} of them in his inbox, and starts again: he answers after {} ms.",
            self.arrived_before_kill,
            self.recovery.as_millis()
        ))?;
        let (middle, whole) = (self.arrived_before_kill < wide(BURST), are(&arrived, BURST, burst_text));
        self.count(&arrived);
        self.show(middle, "the kill came in the middle of the burst")?;
        self.show(whole, "all letters of the burst arrived once and in order, through the kill")?;
        let nothing_more = take_what_is_there(self.ben.api()).await?.is_empty();
        self.show(nothing_more, "nothing arrived that was not written")
    }

    /// Looks at what is left, stops both, and adds up.
    pub(super) async fn end(mut self) -> Result<Summary, Failure> {
        let until = Instant::now() + PATIENCE;
        let (anna, ben) = loop {
            let both = (status(&self.anna).await?, status(&self.ben).await?);
            if both.0.outbox + both.1.outbox == 0 || Instant::now() >= until {
                break both;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        self.show(anna.outbox + ben.outbox == 0, "every letter is acknowledged: nothing is left on its way")?;
        let homes = [self.anna.home().to_owned(), self.ben.home().to_owned()];
        let shown = &mut self.shown;
        let mut stopped = true;
        for agent in [self.anna, self.ben] {
            stopped &= agent.stop().await?.success();
        }
        self.domain.stop().await.map_err(untrue)?;
        let sealed =
            !homes.iter().map(|home| holds(home, MARK.as_bytes())).collect::<Result<Vec<_>, _>>()?.contains(&true);
        for (is_true, claim) in [
            (stopped, "both agents stopped in good order"),
            (sealed, "no file of either home holds a word of the letters"),
        ] {
            if !is_true {
                return Err(Failure::Unsound(format!("this is not true: {claim}")));
            }
            shown.push(claim.to_owned());
        }
        let lives = [anna.counters, ben.counters, self.before_kill];
        Ok(Summary {
            letters: self.letters,
            payload_bytes: self.payload_bytes,
            delivered_p50_us: percentile_us(&mut self.times, 50),
            delivered_p99_us: percentile_us(&mut self.times, 99),
            overhead_bytes_per_letter: self.overhead,
            ack_bytes_per_letter: self.ack,
            token_bytes_first_letter: self.token.first,
            token_bytes_later_letter: self.token.later,
            ratchet_turns: total(&lives, |counters| counters.turns),
            handshakes: total(&lives, |counters| counters.handshakes),
            resent: total(&lives, |counters| counters.resent),
            duplicates_refused: total(&lives, |counters| counters.duplicates),
            arrived_before_kill: self.arrived_before_kill,
            recovery_ms: self.recovery.as_millis().try_into().unwrap_or(u64::MAX),
            shown: self.shown,
        })
    }

    fn count(&mut self, letters: &[InboxLetter]) {
        self.letters += wide(letters.len());
        self.payload_bytes += letters.iter().map(|letter| letter.len).sum::<u64>();
    }
}

fn text(to: &str, text: String) -> NewLetter {
    NewLetter { to: to.to_owned(), text: Some(text), ..NewLetter::default() }
}

fn single(number: usize) -> String {
    format!("{MARK} {number:>len$}", len = SINGLE_LEN - MARK.len() - 1)
}

fn burst_text(number: usize) -> String {
    format!("{MARK}, letter {number} of a burst")
}

/// Whether these are the letters written, all of them, once and in order.
fn are(letters: &[InboxLetter], count: usize, written: impl Fn(usize) -> String) -> bool {
    letters.len() == count
        && letters.iter().enumerate().all(|(number, letter)| letter.text.as_deref() == Some(&written(number)))
}

async fn deliver(api: &Api, letter: &NewLetter) -> Result<(), Failure> {
    let sent: Accepted = api.post("/v1/letters", letter).await?;
    let state: LetterState = api.get(&format!("/v1/letters/{}/{}?wait_ms=60000", sent.to, sent.id)).await?;
    match state.state {
        Delivery::Delivered => Ok(()),
        _ => Err(Failure::Unsound(
            state.reason.unwrap_or_else(|| "a letter was not delivered within a minute".to_owned()),
        )),
    }
}

async fn burst(from: &AgentProcess) -> Result<(), Failure> {
    for number in 0..BURST {
        from.send("ben", &burst_text(number)).await?;
    }
    Ok(())
}

/// SIGKILL, as soon as a good part of the burst is there. The number of letters in its inbox then.
async fn kill_when_busy(victim: &mut AgentProcess) -> Result<u64, Failure> {
    let until = Instant::now() + PATIENCE;
    loop {
        let arrived = status(victim).await?.inbox;
        if arrived >= BURST_BEFORE_KILL || Instant::now() >= until {
            victim.kill().await?;
            return Ok(arrived);
        }
    }
}

async fn status(agent: &AgentProcess) -> Result<Status, Failure> {
    agent.api().get("/v1/status").await
}

async fn frame_bytes(agent: &AgentProcess) -> Result<u64, Failure> {
    Ok(status(agent).await?.wire.frame_bytes_sent)
}

/// What one letter cost: agents that hear from their node in between, or send a frame again, cost more for once.
fn median(mut of: Vec<u64>) -> u64 {
    of.sort_unstable();
    of.get(of.len() / 2).copied().unwrap_or(0)
}

async fn page(api: &Api, max: usize) -> Result<Vec<InboxLetter>, Failure> {
    Ok(api.get::<InboxPage>(&format!("/v1/inbox?wait_ms=10000&max={max}")).await?.letters)
}

/// Takes so many letters out of an inbox; fewer, if they do not come in time.
async fn take(api: &Api, count: usize) -> Result<Vec<InboxLetter>, Failure> {
    let until = Instant::now() + PATIENCE;
    let mut taken = Vec::with_capacity(count);
    while taken.len() < count && Instant::now() < until {
        for letter in page(api, count - taken.len()).await? {
            api.tell(&format!("/v1/inbox/{}/done", letter.no)).await?;
            taken.push(letter);
        }
    }
    Ok(taken)
}

async fn take_what_is_there(api: &Api) -> Result<Vec<InboxLetter>, Failure> {
    Ok(api.get::<InboxPage>("/v1/inbox").await?.letters)
}

/// Cargo.lock of the repository that this program was built in, or is run in; elsewhere the program itself.
fn real_file() -> Result<PathBuf, Failure> {
    let program = std::env::current_exe().map_err(Failure::io("find", "this program"))?;
    let here = std::env::current_dir().unwrap_or_default();
    let near =
        program.ancestors().chain(here.ancestors()).map(|dir| dir.join("Cargo.lock")).find(|path| path.is_file());
    Ok(near.unwrap_or(program))
}

/// Whether any file below a directory holds these bytes.
fn holds(dir: &Path, needle: &[u8]) -> Result<bool, Failure> {
    for entry in fs::read_dir(dir).map_err(Failure::io("read", dir))? {
        let path = entry.map_err(Failure::io("read", dir))?.path();
        let found = if path.is_dir() {
            holds(&path, needle)?
        } else {
            let bytes = fs::read(&path).map_err(Failure::io("read", &path))?;
            contains(&bytes, needle)
        };
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    let starts = bytes.iter().zip(0..).filter(|(byte, _)| Some(*byte) == needle.first());
    starts.into_iter().any(|(_, at): (_, usize)| bytes.get(at..).is_some_and(|rest| rest.starts_with(needle)))
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_left_in_a_home_is_found() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("deep")).unwrap();
        fs::write(dir.path().join("deep/file"), format!("aa a a secret {MARK}!")).unwrap();
        assert!(holds(dir.path(), MARK.as_bytes()).unwrap());
        assert!(!holds(dir.path(), b"another word").unwrap());
    }

    #[test]
    fn a_letter_missing_doubled_or_out_of_place_is_found() {
        let letter = |number: usize| InboxLetter { text: Some(single(number)), ..InboxLetter::default() };
        let all: Vec<_> = (0..4).map(letter).collect();
        assert!(are(&all, 4, single) && single(3).len() == SINGLE_LEN);
        assert!(!are(&all[..3], 4, single));
        assert!(!are(&[letter(0), letter(1), letter(1), letter(3)], 4, single));
        assert!(!are(&[letter(0), letter(2), letter(1), letter(3)], 4, single));
    }
}

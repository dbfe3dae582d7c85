//! A channel of agents over QUIC: the whole runtime, each agent with its own store, several in a process.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use nuncio::{Agent, ChannelId, Config, ContentType, Inbox, Message};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::floors;
use crate::measure::Row;
use crate::twin::{Batches, Recorder, Spoken, say};

/// Set for a child: the folder of its agents' homes.
pub(crate) const CHILD_HOME: &str = "NUNCIO_BENCH_CREW_HOME";

/// Two cores have no use for 32 processes: every agent has a store, an endpoint and connections of its own in any.
const PROCESSES: usize = 4;
const IN_EACH: usize = 8;
const AGENTS: usize = PROCESSES * IN_EACH;
/// Letters that each agent sends, all at once. With the first it stays under one chain.
const EACH: usize = 64;
const LETTER_LEN: usize = 1_024;
/// How long anything is waited for.
const PATIENCE: Duration = Duration::from_secs(100);

/// Deliveries a second among 32 agents over QUIC on loopback: every letter sealed once, durable at both ends, handed to every other agent's
/// application and removed by it, beside all their stores alone.
///
/// For orientation: SLIM's groups, whose letters are signed and not kept, are given as 31,000/s.
pub(crate) fn channel_32_quic() -> Result<Row> {
    let dir = tempfile::tempdir()?;
    let begun = Instant::now();
    let mut crew = Crew::start(dir.path())?;
    let ready = begun.elapsed();
    crew.all("forget")?;
    let begun = Instant::now();
    crew.all(&format!("say {EACH}"))?;
    let seconds = begun.elapsed().as_secs_f64();
    let runs = crew.finish()?;
    let commits: usize = runs.iter().map(Vec::len).sum();
    let store = floors::replay(dir.path(), runs)?;
    let count = f64::from(u32::try_from(AGENTS * (AGENTS - 1) * EACH)?);
    eprintln!(
        "channel-32-quic: {IN_EACH} agents in each of {PROCESSES} processes, {commits} commits; all their stores alone {:.0}/s; \
         sessions and chains of all in {:.1} s; SLIM, for orientation, 31,000/s",
        count / store,
        ready.as_secs_f64(),
    );
    let beside = Some(("the store alone, all agents' very batches", count / store));
    Ok(Row { unit: "/s", ours: count / seconds, beside, less_is_better: false })
}

/// The processes, all of whose agents are in one channel and have heard each other.
struct Crew(Vec<Spoken>);

impl Crew {
    fn start(dir: &Path) -> Result<Self> {
        let start = |number| Spoken::start(CHILD_HOME, &dir.join(format!("process-{number}")));
        let mut crew = Self((0..PROCESSES).map(start).collect::<Result<_>>()?);
        let mut invitations = Vec::new();
        for process in &mut crew.0 {
            invitations.extend(serde_json::from_str::<Vec<String>>(&process.answer()?)?);
        }
        let (owner, others) = invitations.split_first().context("an owner")?;
        crew.all(&format!("meet {owner}"))?;
        let founded = crew.0.first_mut().context("a process")?.ask(&format!("found {}", others.join(" ")))?;
        ensure!(founded == "done", "no channel: {founded}");
        crew.all(&format!("join {AGENTS}"))?;
        // Sessions, connections and chains are there once each has sent one.
        crew.all("say 1")?;
        Ok(crew)
    }

    /// All do something at once.
    fn all(&mut self, line: &str) -> Result<()> {
        self.0.iter_mut().try_for_each(|process| process.tell(line))?;
        for process in &mut self.0 {
            let answer = process.answer()?;
            ensure!(answer == "done", "{line}: {answer}");
        }
        Ok(())
    }

    fn finish(self) -> Result<Vec<Batches>> {
        let (mut crew, mut runs) = (self.0, Vec::new());
        crew.iter_mut().try_for_each(|process| process.tell("finish"))?;
        for mut process in crew {
            runs.extend(serde_json::from_str::<Vec<Batches>>(&process.answer()?)?);
            process.end()?;
        }
        Ok(runs)
    }
}

/// A child: it does what it is told, and answers each line once.
pub(crate) fn be_some(home: &Path) -> Result<()> {
    tokio::runtime::Runtime::new()?.block_on(serve(home))
}

async fn serve(home: &Path) -> Result<()> {
    let mut some = Vec::new();
    for number in 0..IN_EACH {
        some.push(Arc::new(One::open(&home.join(format!("agent-{number}"))).await?));
    }
    let mut invitations = Vec::new();
    for one in &some {
        invitations.push(one.agent.invitation().await?.to_string());
    }
    say(&serde_json::to_string(&invitations)?)?;
    for line in std::io::stdin().lines() {
        let line = line?;
        if line == "finish" {
            each(&some, |one| async move { Ok(one.agent.shutdown().await?) }).await?;
            let runs: Vec<Batches> = some.iter().map(|one| one.recorder.take()).collect();
            return say(&serde_json::to_string(&runs)?);
        }
        match tokio::time::timeout(PATIENCE, follow(&some, &line)).await {
            Ok(Ok(())) => say("done")?,
            Ok(Err(error)) => say(&format!("{error:#}"))?,
            Err(_) => say("not in time")?,
        }
    }
    Ok(())
}

async fn follow(some: &[Arc<One>], line: &str) -> Result<()> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let first = some.first().context("an agent")?;
    match word {
        "found" => return first.found(rest).await,
        "forget" => some.iter().for_each(|one| drop(one.recorder.take())),
        _ => {
            let told = |one: Arc<One>| {
                let (word, rest) = (word.to_owned(), rest.to_owned());
                async move { one.follow(&word, &rest).await }
            };
            return each(some, told).await;
        }
    }
    Ok(())
}

/// All do something at once.
async fn each<F>(some: &[Arc<One>], does: impl Fn(Arc<One>) -> F) -> Result<()>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let mut tasks: JoinSet<_> = some.iter().cloned().map(does).collect();
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

struct One {
    agent: Agent,
    recorder: Recorder,
    /// How many letters its application was given.
    heard: watch::Receiver<usize>,
    /// How many it is given once all have said what they were told to say.
    wanted: AtomicUsize,
}

impl One {
    async fn open(home: &Path) -> Result<Self> {
        let recorder = Recorder::default();
        let mut config = Config::new(home).listen("127.0.0.1:0".parse()?).letters_without_token();
        config.trace = Some(recorder.trace());
        let agent = Agent::open(config).await?;
        let (sender, heard) = watch::channel(0);
        tokio::spawn(take(agent.clone(), agent.inbox().await?, sender));
        Ok(Self { agent, recorder, heard, wanted: AtomicUsize::new(0) })
    }

    async fn found(&self, others: &str) -> Result<()> {
        let channel = self.agent.create_channel("bench").await?;
        for other in others.split(' ') {
            let other = self.agent.add_peer(&other.parse()?, None).await?;
            self.agent.invite_to_channel(channel, other).await?;
        }
        Ok(())
    }

    async fn follow(&self, word: &str, rest: &str) -> Result<()> {
        match word {
            "meet" => {
                let owner: nuncio::Invitation = rest.parse()?;
                if owner.agent != self.agent.id() {
                    self.agent.add_peer(&owner, None).await?;
                }
                Ok(())
            }
            "join" => self.join(rest.parse()?).await,
            "say" => self.say_and_hear(rest.parse()?).await,
            _ => bail!("nobody has told it to {word}"),
        }
    }

    /// Answers its invitation, and waits until as many are in.
    async fn join(&self, members: usize) -> Result<()> {
        let mut news = self.agent.channel_news().await?;
        while self.channel().await.map_or(0, |(_, members)| members) < members {
            for invitation in self.agent.channel_invitations().await? {
                if !invitation.joining {
                    self.agent.join_channel(invitation.channel).await?;
                }
            }
            news.next().await?;
        }
        Ok(())
    }

    async fn channel(&self) -> Result<(ChannelId, usize)> {
        let channels = self.agent.channels().await?;
        channels.first().map(|channel| (channel.id, channel.members.len())).context("no channel")
    }

    /// Sends letters, and waits until its application was given as many of each other agent.
    async fn say_and_hear(&self, count: usize) -> Result<()> {
        let more = count * (AGENTS - 1);
        let wanted = self.wanted.fetch_add(more, Ordering::Relaxed) + more;
        let (channel, _) = self.channel().await?;
        let mut sending = JoinSet::new();
        for _ in 0..count {
            let agent = self.agent.clone();
            let letter = Message::bytes(ContentType::BYTES, vec![b'x'; LETTER_LEN]);
            sending.spawn(async move { agent.send_to_channel(channel, letter).await });
        }
        while let Some(sent) = sending.join_next().await {
            sent??;
        }
        let mut heard = self.heard.clone();
        heard.wait_for(|heard| *heard >= wanted).await.map_err(|_| anyhow!("its inbox has ended"))?;
        Ok(())
    }
}

/// Takes every letter out of the inbox, and removes it.
async fn take(agent: Agent, mut inbox: Inbox, heard: watch::Sender<usize>) {
    while let Ok(letter) = inbox.next().await {
        heard.send_modify(|heard| *heard += 1);
        let agent = agent.clone();
        tokio::spawn(async move { agent.done(letter.no).await });
    }
}

//! What happens to the eight, scene by scene; what each of them said, and who is to read it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::ledger::{Ledger, Row, Said};
use super::member::{Order, Told};
use super::process::{Member, Words};

/// All of them; the first makes the channel, and is the only one whom the others know.
pub(crate) const NAMES: [&str; 8] = ["anna", "ben", "cleo", "dora", "emil", "finn", "gina", "hugo"];
const OWNER: &str = "anna";
const AWAY: &str = "finn";
const REMOVED: &str = "gina";
const LATE: &str = "hugo";
const KILLED: &str = "cleo";

/// Letters of each who speaks while one is killed, and how many of its own it has said by then.
const FLOW: usize = 40;
const SAID_BEFORE_KILL: usize = 15;
/// How long the one that was removed tries to be heard.
const TRIES: Duration = Duration::from_secs(1);
/// How long letters may take to come: a few resends.
const PATIENCE: Duration = Duration::from_secs(45);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The story as far as it is told. `say` prints.
pub(crate) struct Story<S> {
    say: S,
    members: BTreeMap<&'static str, Member>,
    ledger: Ledger,
    shown: Vec<String>,
}

impl<S: Fn(String) -> Result<()>> Story<S> {
    /// Eight processes.
    pub(crate) async fn begin(words: Words, dir: &Path, say: S) -> Result<Self> {
        let mut members = BTreeMap::new();
        say("Eight agents, each a process with a home of its own. Each knows anna, and anna knows each.\n".to_owned())?;
        for name in NAMES {
            let mut member = Member::new(name, dir, words);
            member.start().await?;
            let pid = member.pid().map(|pid| pid.to_string()).unwrap_or_default();
            say(format!("  {name:<5} {}  process {pid}", member.id()?))?;
            members.insert(name, member);
        }
        Ok(Self { say, members, ledger: Ledger::default(), shown: Vec::new() })
    }

    /// All of it: who read what, and what was shown.
    pub(crate) async fn tell(mut self) -> Result<(Vec<Row>, Vec<String>)> {
        self.seven_join().await?;
        self.one_is_away().await?;
        self.one_is_removed().await?;
        self.one_joins_late().await?;
        self.one_is_killed().await?;
        self.end().await
    }

    fn member(&mut self, name: &str) -> Result<&mut Member> {
        self.members.get_mut(name).with_context(|| format!("nobody is called {name}"))
    }

    /// Holds a claim against what was found. The first that is untrue ends the story.
    fn show(&mut self, is_true: bool, claim: &str) -> Result<()> {
        ensure!(is_true, "this is not true: {claim}");
        self.shown.push(claim.to_owned());
        (self.say)(format!("  ✓ {claim}"))
    }

    async fn seven_join(&mut self) -> Result<()> {
        (self.say)("\nAnna makes a channel and invites six; hugo is not asked yet.".to_owned())?;
        self.member(OWNER)?.ask(Order::Create).await?;
        for name in NAMES.into_iter().filter(|name| ![OWNER, LATE].contains(name)) {
            self.join(name).await?;
        }
        let seven: Vec<&str> = NAMES.into_iter().filter(|name| *name != LATE).collect();
        self.agree(&seven, &seven).await?;
        self.all_speak("at first", &seven, &seven).await?;
        self.settle().await?;
        self.show(
            true,
            "seven are in, and each reads what the six others say, also of those whom it knew by the channel alone",
        )
    }

    async fn one_is_away(&mut self) -> Result<()> {
        (self.say)(format!("\n{AWAY} is switched off. The others go on."))?;
        self.member(AWAY)?.stop().await?;
        let seven: Vec<&str> = NAMES.into_iter().filter(|name| *name != LATE).collect();
        let six: Vec<&str> = seven.iter().copied().filter(|name| *name != AWAY).collect();
        let letter = self.all_speak("finn away", &six, &seven).await?;
        self.until_tally(OWNER, &letter, (5, 1, 0)).await?;
        self.show(true, "anna is told that five have her letter, and one has not yet")?;
        self.member(AWAY)?.start().await?;
        self.settle().await?;
        self.until_tally(OWNER, &letter, (6, 0, 0)).await?;
        self.show(true, "finn is back and has read all six, and anna is told so")
    }

    /// It is taken out while it sleeps, and wakes when nobody is there who could tell it.
    async fn one_is_removed(&mut self) -> Result<()> {
        (self.say)(format!(
            "\n{REMOVED} is removed while it sleeps, and wakes while anna, who could tell it, is away."
        ))?;
        self.member(REMOVED)?.stop().await?;
        let removed = self.member(REMOVED)?.id()?;
        self.member(OWNER)?.ask(Order::Remove(removed)).await?;
        let six: Vec<&str> = NAMES.into_iter().filter(|name| ![LATE, REMOVED].contains(name)).collect();
        self.agree(&six, &six).await?;
        self.member(OWNER)?.stop().await?;
        let five: Vec<&str> = six.iter().copied().filter(|name| *name != OWNER).collect();

        self.member(REMOVED)?.start().await?;
        let believes = self.member(REMOVED)?.members().await?;
        self.show(believes.0.len() == 7 && believes.1, "gina still takes itself for a member of seven")?;
        let spoken = self.speak("gina, removed", REMOVED, &[]).await?;
        self.all_speak("without gina", &five, &six).await?;
        self.settle().await?;
        tokio::time::sleep(TRIES).await;
        let tally = self.tally(REMOVED, &spoken).await?;
        self.show(tally == (0, 6, 0), "gina says something to all six: not one of them takes it")?;
        let heard = self.member(REMOVED)?.read().await?;
        let without = self.ledger.texts("without gina");
        let reads_nothing = !heard.iter().any(|letter| without.contains(&letter.text));
        self.show(reads_nothing, "gina listens meanwhile, and reads nothing of what the others say")?;

        self.member(OWNER)?.start().await?;
        let until = Instant::now() + PATIENCE;
        while self.member(REMOVED)?.members().await?.1 {
            ensure!(Instant::now() < until, "{REMOVED} was not told that it is removed");
            tokio::time::sleep(LOOK_EVERY).await;
        }
        self.until_tally(REMOVED, &spoken, (0, 0, 6)).await?;
        let member = self.member(REMOVED)?;
        member.order(&Order::Say("and now?".to_owned())).await?;
        let refused = matches!(member.next().await?, Told::Refused(_));
        self.show(
            refused,
            "anna is back: gina is told, its letter has failed for all six, and it can say nothing more",
        )?;
        self.settle().await
    }

    async fn one_joins_late(&mut self) -> Result<()> {
        (self.say)(format!("\n{LATE} joins late."))?;
        self.join(LATE).await?;
        let seven: Vec<&str> = NAMES.into_iter().filter(|name| *name != REMOVED).collect();
        self.agree(&seven, &seven).await?;
        self.all_speak("with hugo", &seven, &seven).await?;
        self.settle().await?;
        let letters = self.member(LATE)?.read().await?.len();
        self.show(letters == seven.len() - 1, "hugo reads what is said from then on, and nothing from before")
    }

    async fn one_is_killed(&mut self) -> Result<()> {
        (self.say)(format!(
            "\nFour speak at once, {FLOW} letters each; {KILLED}, one of them, is killed (SIGKILL) in the middle."
        ))?;
        let seven: Vec<&str> = NAMES.into_iter().filter(|name| *name != REMOVED).collect();
        let speakers = ["ben", KILLED, "dora", "emil"];
        for name in speakers {
            self.member(name)?.order(&Order::SayMany(format!("{name} in the flow"), FLOW)).await?;
        }
        let mut said = Vec::new();
        for _ in 0..SAID_BEFORE_KILL {
            said.push(self.said(KILLED).await?);
        }
        self.member(KILLED)?.kill().await?;
        let began = Instant::now();
        self.member(KILLED)?.start().await?;
        let took = began.elapsed().as_millis();
        for name in speakers.into_iter().filter(|name| *name != KILLED) {
            for _ in 0..FLOW {
                said.push(self.said(name).await?);
            }
        }
        (self.say)(format!("  {KILLED} is back after {took} ms"))?;
        said.into_iter().for_each(|said| self.ledger.said("the flow", said, &seven));
        self.settle().await?;
        // It may have accepted more than it could still say.
        let id = self.member(KILLED)?.id()?;
        let of_killed =
            |letters: Vec<super::member::Heard>| letters.into_iter().filter(move |letter| letter.from == id);
        let more: Vec<_> = of_killed(self.member(OWNER)?.read().await?).collect();
        more.into_iter().for_each(|letter| {
            self.ledger.said("the flow", Said { by: KILLED, id: letter.id, text: letter.text }, &seven);
        });
        self.settle().await?;
        self.show(
            true,
            "the killed one has each letter of the flow, and everybody has each letter that it had accepted",
        )
    }

    async fn end(mut self) -> Result<(Vec<Row>, Vec<String>)> {
        (self.say)("\nAt the end all eight are asked what they have read:\n".to_owned())?;
        // What is under way where it must not be would come now.
        tokio::time::sleep(TRIES).await;
        let names = self.ids()?;
        let mut read = BTreeMap::new();
        for (name, member) in &mut self.members {
            read.insert(*name, member.read().await?);
        }
        let rows = self.ledger.check(&names, &read)?;
        self.show(true, "nobody has read anything that was not for it, and nobody misses anything that was")?;
        self.show(
            true,
            "each letter was read once by each, and the letters of each in the order in which they were said",
        )?;
        for member in self.members.values_mut() {
            member.stop().await?;
        }
        self.show(true, "every agent stopped in good order")?;
        Ok((rows, self.shown))
    }

    fn ids(&self) -> Result<BTreeMap<String, &'static str>> {
        self.members.iter().map(|(name, member)| Ok((member.id()?, *name))).collect()
    }

    /// The owner and one other come to know each other; the other is invited, and joins.
    async fn join(&mut self, name: &str) -> Result<()> {
        let owner = self.member(OWNER)?.invitation()?.to_string();
        let other = self.member(name)?.invitation()?.clone();
        self.member(name)?.ask(Order::Meet(owner)).await?;
        self.member(OWNER)?.ask(Order::Meet(other.to_string())).await?;
        self.member(OWNER)?.ask(Order::Invite(other.agent.to_string())).await?;
        self.member(name)?.ask(Order::Join).await.map(drop)
    }

    /// Waits until all of some know that just these are in.
    async fn agree(&mut self, all: &[&str], members: &[&str]) -> Result<()> {
        let names = self.ids()?;
        let until = Instant::now() + PATIENCE;
        for name in all {
            loop {
                let known = self.member(name)?.members().await?.0;
                let known: BTreeSet<&str> = known.iter().filter_map(|agent| names.get(agent).copied()).collect();
                if known == members.iter().copied().collect() {
                    break;
                }
                ensure!(Instant::now() < until, "{name} takes the members for {known:?}");
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
        Ok(())
    }

    /// One says something, in a scene, that some are to read: the letter's id.
    async fn speak(&mut self, scene: &'static str, by: &'static str, readers: &[&'static str]) -> Result<String> {
        let text = format!("{by}, {scene}");
        let id = self.member(by)?.say(text.clone()).await?;
        self.ledger.said(scene, Said { by, id: id.clone(), text }, readers);
        Ok(id)
    }

    /// Each says something: the id of the first one's.
    async fn all_speak(
        &mut self,
        scene: &'static str,
        speakers: &[&'static str],
        readers: &[&'static str],
    ) -> Result<String> {
        let mut first = None;
        for name in speakers {
            let id = self.speak(scene, name, readers).await?;
            first.get_or_insert(id);
        }
        first.context("nobody speaks")
    }

    async fn said(&mut self, by: &'static str) -> Result<Said> {
        match self.member(by)?.next().await? {
            Told::Said(id, text) => Ok(Said { by, id, text }),
            other => bail!("{by} was to speak, and answers {other:?}"),
        }
    }

    /// Waits until everybody who is there has read what it is to read.
    async fn settle(&mut self) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        for (name, member) in self.members.iter_mut().filter(|(_, member)| member.is_there()) {
            loop {
                let read: BTreeSet<String> = member.read().await?.into_iter().map(|letter| letter.id).collect();
                let missing = self.ledger.missing(name, &read);
                if missing.is_empty() {
                    break;
                }
                ensure!(Instant::now() < until, "{name} has not read {missing:?}");
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
        Ok(())
    }

    /// Of a letter: how many have it, how many not yet, and for how many it failed.
    async fn tally(&mut self, by: &str, id: &str) -> Result<(usize, usize, usize)> {
        match self.member(by)?.ask(Order::Tally(id.to_owned())).await? {
            Told::Tally { delivered, waiting, failed } => Ok((delivered, waiting, failed)),
            other => bail!("{by} was to say who has its letter, and answers {other:?}"),
        }
    }

    async fn until_tally(&mut self, by: &str, id: &str, wanted: (usize, usize, usize)) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        loop {
            let tally = self.tally(by, id).await?;
            if tally == wanted {
                return Ok(());
            }
            ensure!(
                Instant::now() < until,
                "of a letter of {by}: {tally:?}, and not {wanted:?}, have it, wait for it, never get it"
            );
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

//! Two agents talk both ways while one or the other is killed with SIGKILL at random moments. Then everything is counted.
//!
//! What is claimed: a letter whose `send` was answered arrives; no letter arrives twice; each direction arrives in order. A `send` that the
//! kill left unanswered may have been accepted or not, so its letter arrives once or not at all. No key is used for two plaintexts: a test build
//! (feature `seal-log`) writes the hash of every key it seals with down.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use crate::dice::Dice;
use crate::failure::Failure;
use crate::process::{AgentProcess, Program, seals_of};
use crate::seals::Seals;
use crate::talk::{Counted, Direction, Talk, Writing};
use crate::wire::Status;

/// How long the last letters may take to arrive once nobody is killed any more: a few resends, which back off.
const SETTLE_PATIENCE: Duration = Duration::from_secs(120);
/// Between two letters of one writer, where a link carries them.
pub const WRITE_PAUSE: Duration = Duration::from_millis(2);
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
    fn of(counted: Counted) -> Self {
        let Counted { accepted, unanswered, arrived, missing: lost, twice, disordered, strange } = counted;
        Self { accepted, unanswered, arrived, lost, twice, disordered, strange, ..Self::default() }
    }

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

    let talk = Talk::new(Writing { pause: plan.write_pause, letters: u64::MAX, scope: None });
    let there = talk.direction(anna, to_ben, ben);
    let back = talk.direction(ben, to_anna, anna);
    let killed = kill_at_random(program, &mut agents, plan).await;
    talk.stop_writing();
    let settled = match killed {
        Ok(()) => settle(&agents, [&there, &back]).await,
        Err(failure) => Err(failure),
    };
    talk.end().await;
    let (resent, duplicates_refused) = settled?;

    let mut counted = there.count();
    counted += back.count();
    let mut tally = Tally { kills: plan.kills, resent, duplicates_refused, ..Tally::of(counted) };
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
        let unread = directions.iter().any(|direction| !direction.missing().is_empty());
        if under_way == 0 && !unread || Instant::now() >= until {
            let counters = || statuses.iter().map(|status| status.counters);
            return Ok((counters().map(|c| c.resent).sum(), counters().map(|c| c.duplicates).sum()));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_broken_claim_is_unclean() {
        let counted = |counted: Counted| Tally::of(counted).is_clean();
        let fair = Counted { accepted: 3, unanswered: 1, arrived: 3, ..Counted::default() };
        assert!(counted(fair));
        assert!(!counted(Counted { missing: 1, ..fair }) && !counted(Counted { twice: 1, ..fair }));
        assert!(!counted(Counted { disordered: 1, ..fair }) && !counted(Counted { strange: 1, ..fair }));
        assert!(!Tally { reused: 1, ..Tally::of(fair) }.is_clean());
    }
}

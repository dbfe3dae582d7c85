//! Two agents write each other over lines, networks, nodes and clocks that misbehave. Then everything is counted.
//!
//! What is claimed, in every condition: a letter whose `send` was answered arrives once and in its place, or its sender is told why not;
//! which of the two it may be is said with the condition.
//!
//! ```text
//!   Lines      anna ── path ── ben        a relay of ours: loss, jitter, overtaking, doubles, black holes, other addresses
//!   Networks   anna ── veth ── ben        two namespaces: loss in the kernel, MTU, another address, a line pulled out
//!   Domain     anna ── node ── ben        the node that holds mailboxes, directory and tokens is killed
//!   Clocks     anna ────────── ben        somebody sets a clock
//! ```

mod clock;
pub mod conditions;
pub mod path;
pub mod places;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path as FilePath;
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::{self, Domain};
use crate::failure::Failure;
use crate::kills::make_homes;
use crate::process::{AgentProcess, Program};
use crate::talk::{Counted, Direction, Talk, Writing};
use crate::wire::{Delivery, Outbox, Status};
use clock::Clock;
use conditions::{Condition, Deed, Ground};
use path::Path;
use places::Places;

/// How long the last letters may take to arrive, or to fail, once all is well again.
const SETTLE_PATIENCE: Duration = Duration::from_secs(180);
/// Where the agents of two networks listen.
const PORT: u16 = 4433;

/// How a condition ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// It was met.
    Ran(Row),
    /// This machine cannot have it, and why.
    NotRun(String),
}

/// What was counted in one condition, both directions together.
#[derive(Debug)]
#[non_exhaustive]
pub struct Row {
    /// Which.
    pub condition: &'static str,
    /// Letters whose `send` was answered.
    pub letters: u64,
    /// Of those, arrived.
    pub delivered: u64,
    /// Arrived more than once.
    pub double: u64,
    /// Arrived after a later one.
    pub disordered: u64,
    /// Neither arrived nor told to have failed, or arrived and never sent.
    pub lost: u64,
    /// Not delivered, by the reason that their sender was told.
    pub told: BTreeMap<String, u64>,
    /// Not taken from the writer, by the reason that it was told.
    pub refused: BTreeMap<String, u64>,
    /// Frames that the agents sent again.
    pub resent: u64,
    /// From the first letter until all had arrived.
    pub took: Duration,
    /// Of those, behind the last letter.
    pub behind: Duration,
    is_clean: bool,
}

impl Row {
    /// Whether every claim of the condition is true.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.is_clean
    }

    /// The names of what is printed.
    pub const HEAD: &'static str = "condition                        letters  delivered  double  disorder   lost   told  refused  resent  seconds  behind  letters/s";
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sum = |why: &BTreeMap<String, u64>| why.values().sum::<u64>();
        let seconds = self.took.as_secs_f64();
        let rate = Duration::from_secs(self.delivered).div_duration_f64(self.took.max(Duration::from_millis(1)));
        write!(
            f,
            "{:<32} {:>7}  {:>9}  {:>6}  {:>8}  {:>5}  {:>5}  {:>7}  {:>6}  {seconds:>7.1}  {:>6.1}  {rate:>9.0}{}",
            self.condition,
            self.letters,
            self.delivered,
            self.double,
            self.disordered,
            self.lost,
            sum(&self.told),
            sum(&self.refused),
            self.resent,
            self.behind.as_secs_f64(),
            if self.is_clean { "" } else { "  NOT CLEAN" }
        )?;
        let whys = self.told.iter().map(|why| ("told", why)).chain(self.refused.iter().map(|why| ("refused", why)));
        for (what, (why, count)) in whys {
            write!(f, "\n    {what} {count}: {why}")?;
        }
        Ok(())
    }
}

/// Meets one condition in a directory that the caller removes: so many letters each way, and what happens meanwhile.
///
/// # Errors
/// Agents that cannot be started, or that do not answer.
pub async fn run(
    program: &Program,
    dir: &FilePath,
    condition: &Condition,
    letters: u64,
    seed: u64,
) -> Result<Outcome, Failure> {
    let homes = make_homes(program, dir).await?;
    let mut scene = match Scene::set(program, dir, &homes, condition, seed).await? {
        Ok(scene) => scene,
        Err(reason) => return Ok(Outcome::NotRun(reason)),
    };
    let [first, second] = &scene.agents;
    let (to_ben, to_anna) = (first.add(second, "ben").await?, second.add(first, "anna").await?);
    // The letters are there before the deeds are, and go on behind them.
    let span = condition.span() + Duration::from_secs(1);
    let pause = if condition.deeds.is_empty() {
        Duration::ZERO
    } else {
        span / u32::try_from(letters.max(1)).unwrap_or(u32::MAX)
    };
    let scope = condition.is_under_tokens().then(|| domain::SCOPE.to_owned());
    let talk = Talk::new(Writing { pause, letters, scope });
    let [(anna, _), (ben, _)] = &homes;
    let began = Instant::now();
    let directions = [talk.direction(anna, to_ben, ben), talk.direction(ben, to_anna, anna)];
    let settled = async {
        for (at, deed) in condition.deeds {
            tokio::time::sleep_until(began + Duration::from_millis(*at)).await;
            scene.act(*deed).await?;
        }
        talk.written().await;
        let written = Instant::now();
        let settled = settle(&scene.agents, &directions).await?;
        Ok::<_, Failure>((settled, written))
    };
    let settled = settled.await;
    talk.end().await;
    let (settled, written) = settled?;
    let row = settled.row(condition, &directions, (began, written));
    scene.end().await?;
    Ok(Outcome::Ran(row))
}

/// What the agents say once nothing is on its way.
struct Settled {
    /// Ids of letters that failed, with the reason told.
    failed: BTreeMap<String, String>,
    resent: u64,
    at: Instant,
}

/// Waits until everything accepted was read or has failed, and nothing is on its way.
async fn settle(agents: &[AgentProcess; 2], directions: &[Direction; 2]) -> Result<Settled, Failure> {
    let until = Instant::now() + SETTLE_PATIENCE;
    // When the last letter was seen to have arrived: what is on its way after that are acknowledgements.
    let mut all_read = None;
    loop {
        let mut settled = Settled { failed: BTreeMap::new(), resent: 0, at: Instant::now() };
        let mut under_way = 0;
        for agent in agents {
            let status: Status = agent.api().get("/v1/status").await?;
            settled.resent += status.counters.resent;
            under_way += status.outbox + status.inbox;
            if status.letters_failed > 0 {
                let outbox: Outbox = agent.api().get("/v1/letters?max=65536").await?;
                let failed = outbox.letters.into_iter().filter(|letter| letter.state == Delivery::Failed);
                settled
                    .failed
                    .extend(failed.map(|letter| (letter.id, letter.code.or(letter.reason).unwrap_or_default())));
            }
        }
        let missing = directions.iter().flat_map(Direction::missing).any(|id| !settled.failed.contains_key(&id));
        if !missing {
            all_read.get_or_insert(settled.at);
        }
        if !missing && under_way == 0 || Instant::now() >= until {
            return Ok(Settled { at: all_read.unwrap_or(settled.at), ..settled });
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

impl Settled {
    fn row(self, condition: &Condition, directions: &[Direction; 2], (began, written): (Instant, Instant)) -> Row {
        let (mut counted, mut refused) = (Counted::default(), BTreeMap::new());
        for direction in directions {
            counted += direction.count();
            for (why, count) in direction.refusals() {
                *refused.entry(why).or_default() += count;
            }
        }
        let missing: BTreeSet<_> = directions.iter().flat_map(Direction::missing).collect();
        let (mut told, mut lost) = (BTreeMap::<_, u64>::new(), counted.strange);
        for id in &missing {
            match self.failed.get(id) {
                Some(why) => *told.entry(why.clone()).or_default() += 1,
                None => lost += 1,
            }
        }
        let is_clean = lost == 0
            && counted.twice == 0
            && counted.disordered == 0
            && counted.arrived + counted.missing >= counted.accepted
            && told.keys().all(|why| condition.may_tell.contains(&why.as_str()))
            && (refused.is_empty() || condition.may_refuse);
        Row {
            condition: condition.name,
            letters: counted.accepted,
            delivered: counted.arrived,
            double: counted.twice,
            disordered: counted.disordered,
            lost,
            told,
            refused,
            resent: self.resent,
            took: self.at - began,
            behind: self.at.saturating_duration_since(written),
            is_clean,
        }
    }
}

/// The two agents and what is between them.
struct Scene {
    agents: [AgentProcess; 2],
    between: Between,
}

enum Between {
    Lines([Path; 2]),
    Networks(Box<Places>),
    Domain(Box<Domain>),
    Clocks([Clock; 2]),
}

type Homes = [(std::path::PathBuf, String); 2];

impl Scene {
    /// The agents run; or why they cannot in this condition.
    async fn set(
        program: &Program,
        dir: &FilePath,
        homes: &Homes,
        condition: &Condition,
        seed: u64,
    ) -> Result<Result<Self, String>, Failure> {
        let [(anna, of_anna), (ben, of_ben)] = homes;
        let loopback: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
        Ok(Ok(match condition.ground {
            Ground::Lines(weather) => {
                let line = async |nth| Path::open(weather, seed + nth).await.map_err(Failure::io("open", "a line"));
                let lines = [line(0).await?, line(1).await?];
                let start = async |home, line: &Path| {
                    program.launch_with(home, Some(loopback), &["--advertise", &line.addr().to_string()]).await
                };
                let [to_anna, to_ben] = &lines;
                let agents = [start(anna, to_anna).await?, start(ben, to_ben).await?];
                for (line, agent) in lines.iter().zip(&agents) {
                    line.leads_to(agent.listening());
                }
                Self { agents, between: Between::Lines(lines) }
            }
            Ground::Networks { loss_percent } => {
                let places = match Places::two().await {
                    Ok(places) => places,
                    Err(reason) => return Ok(Err(reason)),
                };
                if loss_percent > 0
                    && let Err(reason) = places.loses(loss_percent).await
                {
                    return Ok(Err(reason));
                }
                let start = async |home, place| {
                    let advertised = format!("{}:{PORT}", Places::address(place));
                    let everywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT));
                    let program = places.program(place, program);
                    program.launch_with(home, Some(everywhere), &["--advertise", &advertised]).await
                };
                let agents = [start(anna, 0).await?, start(ben, 1).await?];
                Self { agents, between: Between::Networks(Box::new(places)) }
            }
            Ground::Domain => {
                let domain = Domain::found(program, dir, &[of_anna.clone(), of_ben.clone()]).await?;
                domain.settle(anna, "")?;
                domain.settle(ben, "")?;
                let agents = [program.launch(anna, None).await?, program.launch(ben, None).await?];
                Self { agents, between: Between::Domain(Box::new(domain)) }
            }
            Ground::Clocks => {
                let clocks = match (Clock::new(dir, "anna"), Clock::new(dir, "ben")) {
                    (Ok(of_anna), Ok(of_ben)) => [of_anna, of_ben],
                    (Err(reason), _) | (_, Err(reason)) => return Ok(Err(reason)),
                };
                let [of_anna, of_ben] = &clocks;
                let agents = [
                    of_anna.program(program).launch(anna, Some(loopback)).await?,
                    of_ben.program(program).launch(ben, Some(loopback)).await?,
                ];
                Self { agents, between: Between::Clocks(clocks) }
            }
        }))
    }

    async fn act(&mut self, deed: Deed) -> Result<(), Failure> {
        match (&mut self.between, deed) {
            (Between::Lines(lines), Deed::Weather(weather)) => lines.iter().for_each(|line| line.turns(weather)),
            (Between::Lines(lines), Deed::Readdress) => lines.iter().for_each(Path::readdress),
            (Between::Networks(places), Deed::Mtu(mtu)) => places.narrows(mtu).await.map_err(Failure::Unsound)?,
            (Between::Networks(places), Deed::Plug(plugged)) => {
                places.is_plugged(plugged).await.map_err(Failure::Unsound)?;
            }
            (Between::Networks(places), Deed::Move { place, host }) => {
                places.readdress(place, host).await.map_err(Failure::Unsound)?;
            }
            (Between::Domain(domain), Deed::KillNode) => domain.kill().await?,
            (Between::Domain(domain), Deed::StartNode) => domain.rise().await?,
            (Between::Clocks(clocks), Deed::Clocks { off_s }) => {
                for (clock, seconds) in clocks.iter().zip(off_s) {
                    clock.is_off(seconds)?;
                }
            }
            (_, deed) => return Err(Failure::Unsound(format!("{deed:?} cannot be done here"))),
        }
        Ok(())
    }

    async fn end(self) -> Result<(), Failure> {
        for agent in self.agents {
            agent.stop().await?;
        }
        Ok(())
    }
}

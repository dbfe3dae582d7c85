//! `nuncio demo travel`: a transaction through five agents, and four attacks on it.
//!
//! The journey is that of examples/travel, the same code. Here its agents' logs leak their tokens: that is what the attackers work with.

mod attacks;
#[path = "../../../../examples/travel/domain.rs"]
pub(super) mod domain;
#[path = "../../../../examples/travel/journey.rs"]
mod journey;
#[path = "../../../../examples/travel/process.rs"]
mod process;
#[path = "../../../../examples/travel/roles.rs"]
mod roles;
mod watch;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use attacks::{Attack, Siege};
use clap::Args;
use domain::Domain;
use journey::{Crew, Hop};
use nuncio::Invitation;
use process::Words;
use roles::{ROLES, Wish};
use serde::Serialize;

use super::Teller;
use crate::failure::Failure;
use crate::output;

const USER: &str = "mia";
const BUDGET_EUR: u64 = 400;
const CLAIMS: [&str; 3] = [
    "the transaction went through five processes, always for the same user and within the same budget",
    "each agent was handed less than the one before it, and one hop less",
    "every agent stopped in good order",
];

/// Shows a transaction going through five agents, and four attacks on it that fail.
///
/// A user's login token becomes a transaction token at a node; gateway, planner, booking, payment and notification, each in a process of its own, hand it
/// on, narrowed. Then it is stolen, sent astray, widened and revoked. Nothing is left behind.
#[derive(Args)]
pub(crate) struct Travel {
    /// Watch it in a browser: a link to the node's page is printed, and it goes on when Enter is pressed, at the beginning and at the end
    #[arg(long)]
    pub(super) watch: bool,
}

/// One of the agents of `nuncio demo travel`.
#[derive(Args)]
pub(crate) struct Role {
    role: String,
    home: PathBuf,
    node: Invitation,
}

/// What was shown.
#[derive(Debug, Serialize)]
pub(crate) struct Shown {
    answer: String,
    path: Vec<Hop>,
    attacks: Vec<Attack>,
    shown: Vec<&'static str>,
}

impl Role {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        process::play(&self.role, &self.home, self.node, true).await.map_err(untrue)
    }
}

/// The first thing that is not as it was claimed to be.
pub(super) fn untrue(error: anyhow::Error) -> Failure {
    match error.downcast::<Failure>() {
        Ok(failure) => failure,
        Err(error) => Failure::Unsound(format!("{error:#}")),
    }
}

pub(super) async fn tell(dir: &Path, teller: Teller, watched: bool) -> Result<Shown> {
    let agents = domain::identities(dir, &[&ROLES[..], &[attacks::THIEF]].concat())?;
    let policy = domain::policy(&agents) + &attacks::policy_of_thief(&agents)?;
    let domain = Domain::start(dir, &policy).await?;
    let mut crew = Crew::start(Words(&["demo", "role"]), dir, &domain).await?;
    introduce(&crew, &domain, teller)?;
    if watched {
        watch::begin(&domain).await?;
    }

    let (answer, path) = crew.travel(wish(&domain)?).await?;
    let transaction = path.first().map(|hop| hop.transaction.clone()).context("no hop was made")?;
    teller.say(format_args!("\nMia logs in, and asks the gateway: transaction {transaction}.\n"))?;
    path.iter().try_for_each(|hop| teller.say(hop))?;
    teller.say(format_args!("  mia reads: \"{answer}\"\n"))?;
    journey::check(&path, BUDGET_EUR)?;
    ensure!(answer.ends_with("340 EUR paid, user:mia told"), "the journey ended with: {answer}");

    let mut siege = Siege::begin(dir, &domain, crew, &path, teller).await?;
    let attacks = siege.all().await?;
    if watched {
        watch::end().await?;
    }
    siege.end().await?;
    domain.stop().await?;
    let path = path.into_iter().map(|hop| Hop { token: None, ..hop }).collect();
    Ok(Shown { answer, path, attacks, shown: CLAIMS.to_vec() })
}

fn introduce(crew: &Crew, domain: &Domain, teller: Teller) -> Result<()> {
    teller.say("Five agents, each a process with a home of its own, and the node of their trust domain.\n")?;
    for (role, process) in ROLES.iter().filter_map(|role| crew.0.get_key_value(role)) {
        let pid = process.id().map(|pid| pid.to_string()).unwrap_or_default();
        teller.say(format_args!("  {role:<12} {}  process {pid}", process.invitation.agent))?;
    }
    Ok(teller.say(format_args!("  {:<12} {}", "node", domain.invitation()?.agent))?)
}

fn wish(domain: &Domain) -> Result<Wish> {
    Ok(Wish { login: domain.log_in(USER)?, journey: "Rome, two nights".to_owned(), budget_eur: BUDGET_EUR })
}

impl Shown {
    pub(super) fn print(&self) -> Result<(), Failure> {
        output::line("\nShown:")?;
        self.shown.iter().try_for_each(|claim| output::line(format_args!("  ✓ {claim}")))?;
        self.attacks.iter().try_for_each(|attack| output::line(format_args!("  ✓ {} is refused", attack.what)))
    }
}

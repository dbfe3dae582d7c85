//! A user's wish goes from agent to agent: gateway, planner, booking, payment, notification. Each is a process of its own, each letter carries a token
//! that says for whom it acts and how little it may do. `roles.rs` is what the agents do; the rest starts them and looks.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

mod domain;
mod journey;
mod process;
mod roles;

use anyhow::{Context as _, Result, ensure};
use domain::Domain;
use journey::Crew;
use process::Words;
use roles::{ROLES, Wish};

const BUDGET_EUR: u64 = 400;

#[tokio::main]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        None => travel().await,
        Some("agent") => {
            let mut next = || args.next().context("travel agent ROLE HOME NODE");
            process::play(&next()?, next()?.as_ref(), next()?.parse()?, false).await
        }
        Some(other) => anyhow::bail!("{other}: travel takes no argument"),
    }
}

async fn travel() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let agents = domain::identities(dir.path(), &ROLES)?;
    let domain = Domain::start(dir.path(), &domain::policy(&agents)).await?;
    let mut crew = Crew::start(Words(&["agent"]), dir.path(), &domain).await?;
    crew.0.iter().for_each(|(role, process)| println!("{role} is process {}", process.id().unwrap_or_default()));
    let wish = Wish { login: domain.log_in("mia")?, journey: "Rome, two nights".to_owned(), budget_eur: BUDGET_EUR };
    let (answer, path) = crew.travel(wish).await?;
    path.iter().for_each(|hop| println!("{hop}"));
    println!("mia reads: {answer}");
    journey::check(&path, BUDGET_EUR)?;
    ensure!(answer.ends_with("340 EUR paid, user:mia told"));
    crew.stop().await?;
    domain.stop().await
}

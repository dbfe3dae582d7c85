//! `nuncio agent` with 10,000 sessions: what it keeps in memory.

use anyhow::{Context, Result};
use nuncio_cli::process::Program;
use nuncio_cli::wire::Status;
use nuncio_proto::peer::{Peer, Record};
use nuncio_store::{Engine, Kek, Store};

use crate::measure::Row;
use crate::owner::Owner;
use crate::pair::NOW;

/// By this word the program becomes `nuncio`.
pub(crate) const BECOME: &str = "become-nuncio";

const SESSIONS: u64 = 10_000;

/// MiB resident of an agent that has just started with 10,000 sessions, each confirmed and idle.
pub(crate) fn sessions() -> Result<Row> {
    let dir = tempfile::tempdir()?;
    let resident = tokio::runtime::Runtime::new()?.block_on(async {
        let home = dir.path().join("home");
        let program = Program::this(&[BECOME])?;
        program.init(&home).await?;
        tokio::task::block_in_place(|| fill(&home))?;
        let agent = program.start(&home, "127.0.0.1:0".parse()?).await?;
        let resident = resident_kib(agent.pid().context("its process")?)?;
        let status: Status = agent.api().get("/v1/status").await?;
        anyhow::ensure!(status.sessions == SESSIONS, "it has {} sessions", status.sessions);
        anyhow::ensure!(status.outbox == 0 && status.inbox == 0, "its sessions are not idle");
        agent.stop().await?;
        anyhow::Ok(resident)
    })?;
    Ok(Row { unit: "MiB", ours: resident / 1024.0, beside: None, less_is_better: true })
}

pub(crate) fn resident_kib(pid: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).context("the process's status (Linux only)")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// Strangers between two commits.
const BATCH: u64 = 100;

fn fill(home: &std::path::Path) -> Result<()> {
    let store = Store::open(home, &Kek::read_key_file(&home.join("key"))?)?;
    let mut records: Vec<Record> = Vec::new();
    store.scan(&[], &mut |key, value| {
        records.push((key.to_vec(), value.to_vec()));
        Ok(())
    })?;
    let mut owner = Owner::new(Peer::load(&records, NOW)?);
    for number in 0..SESSIONS {
        owner.meet(number)?;
        if (number + 1).is_multiple_of(BATCH) {
            store.commit(&owner.take_writes())?;
        }
    }
    Ok(store.commit(&owner.take_writes())?)
}

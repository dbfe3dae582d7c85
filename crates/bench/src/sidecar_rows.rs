//! What a call through two agents costs more than the same call to the server itself.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nuncio_proto::rows;

use crate::floors;
use crate::measure::Row;
use crate::sidecar::{Client, READS, Sidecar, WRITES};
use crate::twin::Batches;

/// Calls of one block, all to the server itself or all through the agents, one after the other.
const BLOCK: usize = 40;
const BLOCKS: usize = 10;
/// Microseconds that a call that only reads may take more than directly.
const READONLY_US: f64 = 250.0;
/// A query as it travels.
const QUERY_LEN: usize = 400;

/// Microseconds that a tool's call takes more than directly, by the SDK's client and server of MCP over HTTP on loopback: p50 less p50, in one run.
pub(crate) fn mcp() -> Result<Row> {
    run(async {
        let sidecar = Sidecar::begin().await?;
        let clients = sidecar.mcp(WRITES).await?;
        durable("sidecar-mcp", sidecar, clients).await
    })
}

/// The same of a tool that only reads, which goes without letters, and so without a commit (contracts/query.md).
pub(crate) fn mcp_readonly() -> Result<Row> {
    run(async {
        let sidecar = Sidecar::begin().await?;
        let clients = sidecar.mcp(READS).await?;
        let measured = measure(sidecar, clients).await?;
        let echo = floors::echo_us(QUERY_LEN, Duration::ZERO).await?;
        eprintln!(
            "sidecar-mcp-readonly: {:.0} us, directly {:.0} us, {:.1} commits; an echo alone {echo:.0} us",
            measured.through,
            measured.directly,
            measured.commits(),
        );
        // One that was slow to be answered once may have gone as a letter.
        anyhow::ensure!(measured.commits() < 0.5, "it goes by letters");
        Ok(Row::time_us(measured.added(), "what was promised", READONLY_US))
    })
}

/// The same of a message to an agent of A2A.
pub(crate) fn a2a() -> Result<Row> {
    run(async {
        let sidecar = Sidecar::begin().await?;
        let clients = sidecar.a2a()?;
        durable("sidecar-a2a", sidecar, clients).await
    })
}

fn run<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Runtime::new()?.block_on(work)
}

/// What was measured of calls.
struct Measured {
    /// Microseconds, p50.
    directly: f64,
    through: f64,
    /// What both agents wrote.
    runs: [Batches; 2],
    frame_len: usize,
    dir: tempfile::TempDir,
}

impl Measured {
    fn added(&self) -> f64 {
        self.through - self.directly
    }

    /// How many commits one call took, of both agents.
    fn commits(&self) -> f64 {
        let commits: usize = self.runs.iter().map(Vec::len).sum();
        u32::try_from(commits).map_or(f64::NAN, f64::from) / u32::try_from(BLOCKS * BLOCK).map_or(f64::NAN, f64::from)
    }
}

/// Beside four durable commits, each alone, and one round trip of QUIC, alone: the letters of the request and of the answer, at either end.
async fn durable<C: Client>(name: &str, sidecar: Sidecar, clients: [C; 2]) -> Result<Row> {
    let measured = measure(sidecar, clients).await?;
    let letters = measured.runs.clone().map(of_letters);
    let floor = async |pause| {
        let commits = floors::commits_us(measured.dir.path(), &letters, pause)? * 2.0;
        anyhow::Ok((commits, floors::echo_us(measured.frame_len, pause).await?))
    };
    let (commits, echo) = floor(Duration::ZERO).await?;
    let (slow_commits, slow_echo) = floor(Duration::from_secs_f64(measured.added() / 5e6)).await?;
    eprintln!(
        "{name}: {:.0} us, directly {:.0} us, {:.1} commits; four commits alone {commits:.0} us, an echo alone {echo:.0} us; \
         each after a pause: {slow_commits:.0} us and {slow_echo:.0} us",
        measured.through,
        measured.directly,
        measured.commits(),
    );
    Ok(Row::time_us(measured.added(), "four durable commits and one QUIC round trip", commits + echo))
}

/// Blocks of calls, in turn directly and through the agents.
async fn measure<C: Client>(mut sidecar: Sidecar, clients: [C; 2]) -> Result<Measured> {
    let [server, front] = &clients;
    let mut times = [Vec::new(), Vec::new()];
    // Sessions, connections and code are warm then.
    block(server, &mut Vec::new()).await?;
    block(front, &mut Vec::new()).await?;
    tokio::time::sleep(Duration::from_millis(200)).await;
    sidecar.forget()?;
    let before = sidecar.sent().await?;
    for _ in 0..BLOCKS {
        let [directly, through] = &mut times;
        block(server, directly).await?;
        block(front, through).await?;
    }
    let after = sidecar.sent().await?;
    let frames = after.0.saturating_sub(before.0).max(1);
    let frame_len = usize::try_from(after.1.saturating_sub(before.1) / frames)?;
    drop(clients);
    let (runs, dir) = sidecar.finish().await?;
    let [directly, through] = times.each_mut().map(|times| floors::median(times));
    Ok(Measured { directly, through, runs, frame_len, dir })
}

async fn block(client: &impl Client, times: &mut Vec<f64>) -> Result<()> {
    for _ in 0..BLOCK {
        let start = Instant::now();
        client.call().await.context("a call")?;
        times.push(start.elapsed().as_secs_f64() * 1e6);
    }
    Ok(())
}

/// The commits that brought a letter to an agent's outbox or inbox.
fn of_letters(batches: Batches) -> Batches {
    let is_letter = |(key, len): &(Vec<u8>, Option<usize>)| {
        len.is_some() && key.first().is_some_and(|tree| [rows::OUTBOX, rows::INBOX].contains(tree))
    };
    batches.into_iter().filter(|batch| batch.iter().any(is_letter)).collect()
}

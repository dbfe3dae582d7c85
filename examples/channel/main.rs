//! Eight agents share a channel: one is away for a while, one is removed, one joins late, one is killed. `member.rs` is what an agent does, `story.rs`
//! what happens to the eight; at the end it is held against what everybody has read.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

mod ledger;
mod member;
mod process;
mod story;

use anyhow::{Context as _, Result};
use ledger::Row;
use process::Words;
use story::Story;

#[tokio::main]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        None => channel().await,
        Some("member") => {
            let mut next = || args.next().context("channel member HOME PORT");
            member::play(next()?.as_ref(), next()?.parse()?).await
        }
        Some(other) => anyhow::bail!("{other}: channel takes no argument"),
    }
}

async fn channel() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let say = |line: String| {
        println!("{line}");
        Ok(())
    };
    let (rows, _) = Story::begin(Words(&["member"]), dir.path(), say).await?.tell().await?;
    println!("\n{}", Row::heading());
    rows.iter().for_each(|row| println!("{row}"));
    Ok(())
}

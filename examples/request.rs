//! Request and response: one agent asks, the other answers, and a question that nobody answers runs out of time.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use anyhow::{Result, ensure};
use nuncio::{Agent, Config, Error, Message};

#[tokio::main]
async fn main() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let anna = Agent::open(Config::new(dir.path().join("anna")).listen("127.0.0.1:0".parse()?).letters_without_token())
        .await?;
    let ben =
        Agent::open(Config::new(dir.path().join("ben")).listen("127.0.0.1:0".parse()?).letters_without_token()).await?;
    anna.add_peer(&ben.invitation().await?, Some("ben")).await?;
    ben.add_peer(&anna.invitation().await?, Some("anna")).await?;
    let server = tokio::spawn(answer_sums(ben.clone()));

    let answer = anna.request(ben.id(), Message::text("20 + 22"), Duration::from_secs(30)).await?;
    println!("20 + 22 = {}", answer.payload.text()?);
    ensure!(answer.payload.text()? == "42");

    let silence = anna.request(ben.id(), Message::text("why?"), Duration::from_millis(300)).await;
    ensure!(matches!(silence, Err(Error::TimedOut)), "{silence:?}");
    println!("why? no answer in time");

    anna.shutdown().await?;
    ben.shutdown().await?;
    server.await??;
    Ok(())
}

/// Answers what it understands, until its agent stops.
async fn answer_sums(agent: Agent) -> Result<()> {
    let mut inbox = agent.inbox().await?;
    while let Ok(letter) = inbox.next().await {
        if let Some(sum) = letter.payload.text().ok().and_then(sum) {
            // The answer first, then `done`: a crash between the two answers twice, never not at all.
            agent.send(letter.from, Message::text(sum.to_string()).reply_to(letter.id)).await?;
        }
        agent.done(letter.no).await?;
    }
    Ok(())
}

fn sum(question: &str) -> Option<u64> {
    let (left, right) = question.split_once('+')?;
    left.trim().parse::<u64>().ok()?.checked_add(right.trim().parse().ok()?)
}

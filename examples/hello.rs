//! Two agents in one process: a letter there and a letter back, over real QUIC on loopback, each on disk before it is acknowledged.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use anyhow::{Result, ensure};
use nuncio::{Agent, Config, Message};

#[tokio::main]
async fn main() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let anna = Agent::open(Config::new(dir.path().join("anna")).listen("127.0.0.1:0".parse()?).letters_without_token())
        .await?;
    let ben =
        Agent::open(Config::new(dir.path().join("ben")).listen("127.0.0.1:0".parse()?).letters_without_token()).await?;

    // Each side adds the other from the line that `nuncio id` would print. Letters of strangers are not taken.
    anna.add_peer(&ben.invitation().await?, Some("ben")).await?;
    ben.add_peer(&anna.invitation().await?, Some("anna")).await?;

    let id = anna.send(ben.id(), Message::text("good morning")).await?;
    let letter = ben.inbox().await?.next().await?;
    println!("ben reads: {}", letter.payload.text()?);
    ensure!(letter.id == id && letter.from == anna.id());

    // `done` removes it for good. Without it the letter would be here again after a restart.
    ben.done(letter.no).await?;
    ben.send(anna.id(), Message::text("good morning, anna").reply_to(letter.id)).await?;
    let answer = anna.inbox().await?.next().await?;
    println!("anna reads: {}", answer.payload.text()?);
    ensure!(answer.reply_to == Some(id));
    anna.done(answer.no).await?;

    anna.shutdown().await?;
    ben.shutdown().await?;
    Ok(())
}

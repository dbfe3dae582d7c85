//! A large payload: a file that travels beside its letter, in constant memory, and can be watched while it comes.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use anyhow::{Context as _, Result, ensure};
use nuncio::{Agent, Config, ContentType, Message, Payload};

const LEN: usize = 16 << 20;

#[tokio::main]
async fn main() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let anna = Agent::open(Config::new(dir.path().join("anna")).listen("127.0.0.1:0".parse()?).letters_without_token())
        .await?;
    let ben =
        Agent::open(Config::new(dir.path().join("ben")).listen("127.0.0.1:0".parse()?).letters_without_token()).await?;
    anna.add_peer(&ben.invitation().await?, Some("ben")).await?;
    ben.add_peer(&anna.invitation().await?, Some("anna")).await?;

    let (film, copy) = (dir.path().join("film"), dir.path().join("copy"));
    let bytes: Vec<u8> = (0_u32..).flat_map(u32::to_le_bytes).take(LEN).collect();
    std::fs::write(&film, &bytes)?;
    let id = anna.send(ben.id(), Message::file(ContentType::BYTES, &film)).await?;
    // Sealed into anna's home by now: the file may go.
    std::fs::remove_file(&film)?;

    let letter = ben.inbox().await?.next().await?;
    let Payload::Large(large) = &letter.payload else { anyhow::bail!("so large a payload is not in the letter") };
    println!("the letter is here, and {} of {} bytes of its payload", large.arrived(), large.len());
    large.whole().await.context("the rest of it")?;
    letter.payload.save(&copy).await?;
    ensure!(std::fs::read(&copy)? == bytes, "what came is not what was sent");
    println!("all of it is here, the same to the last bit");

    // Delivered means that the payload is there too; only then does anna's home let go of it.
    anna.delivered(ben.id(), id).await?;
    ben.done(letter.no).await?;
    anna.shutdown().await?;
    ben.shutdown().await?;
    Ok(())
}

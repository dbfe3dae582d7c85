//! Letters with large payloads, from inside.

use std::time::Duration;

use nuncio_contracts::registry::extension;
use nuncio_proto::content_type::ContentType;
use nuncio_proto::ids::AgentId;
use nuncio_proto::letter::Extension;
use nuncio_proto::secret::Key;

use super::Agent;
use crate::chunks::{self, Handle, Unsent};
use crate::command::Command;
use crate::config::Config;
use crate::message::Message;

/// Sends a large payload under an id of the sender's choice.
async fn send_as(agent: &Agent, to: AgentId, id: [u8; 16], content: &[u8]) {
    let handle = Handle { id, key: Key::new([9; 32]), len: u64::try_from(content.len()).unwrap() };
    let (mut from, path) = (content, chunks::out_path(&agent.shared.home, chunks::PayloadId(id)));
    chunks::write_sealed(&handle, &mut from, std::path::Path::new("content"), &path).unwrap();
    let (mut letter, _) = agent.write(to, Message::bytes(ContentType::BYTES, Vec::new())).await.unwrap();
    let value = handle.encode();
    letter.extensions.push(Extension { number: extension::LARGE_PAYLOAD, critical: true, value });
    let (letter, payload) = (Box::new(letter), Some(Unsent::new(&agent.shared.home, handle)));
    agent.ask(|reply| Command::Send { to, letter, payload, reply }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sealed_for_a_letter_that_is_not_accepted_goes() {
    let dir = tempfile::tempdir().unwrap();
    let agent = Agent::open(Config::new(dir.path())).await.unwrap();
    let sealed = || std::fs::read_dir(dir.path().join("large/out")).unwrap().count();
    let large = || Message::bytes(ContentType::BYTES, vec![7; 100_000]);
    // As a send that is dropped while it waits for a token, or for its turn.
    let written = agent.write(agent.id(), large()).await.unwrap();
    assert_eq!(sealed(), 1);
    drop(written);
    assert_eq!(sealed(), 0);
    agent.send(agent.id(), large()).await.unwrap_err();
    assert_eq!(sealed(), 0, "refused");
    agent.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_senders_that_choose_the_same_id_do_not_meet() {
    let dir = tempfile::tempdir().unwrap();
    let config =
        |name: &str| Config::new(dir.path().join(name)).listen(([127, 0, 0, 1], 0).into()).letters_without_token();
    let bob = Agent::open(config("bob")).await.unwrap();
    let mut inbox = bob.inbox().await.unwrap();
    let mut letters = Vec::new();
    for (name, byte) in [("alice", 1), ("carol", 2)] {
        let agent = Agent::open(config(name)).await.unwrap();
        agent.add_peer(&bob.invitation().await.unwrap(), None).await.unwrap();
        bob.add_peer(&agent.invitation().await.unwrap(), None).await.unwrap();
        send_as(&agent, bob.id(), [5; 16], &vec![byte; 100_000]).await;
        let letter = tokio::time::timeout(Duration::from_secs(30), inbox.next()).await.unwrap().unwrap();
        letters.push((agent, letter, byte));
    }
    for (agent, letter, byte) in letters {
        let saved = dir.path().join("saved");
        tokio::time::timeout(Duration::from_secs(30), letter.payload.save(&saved)).await.unwrap().unwrap();
        assert_eq!((letter.from, std::fs::read(&saved).unwrap()), (agent.id(), vec![byte; 100_000]));
        // Nor does the one go with the other.
        bob.done(letter.no).await.unwrap();
        agent.shutdown().await.unwrap();
    }
    bob.shutdown().await.unwrap();
}

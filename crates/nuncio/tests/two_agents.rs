//! Two agents over real QUIC on loopback, with real stores.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::time::Duration;

use nuncio::{Agent, Config, ContentType, Error, Message, Payload};

fn config(dir: &tempfile::TempDir, name: &str) -> Config {
    Config::new(dir.path().join(name)).listen("127.0.0.1:0".parse().unwrap()).letters_without_token()
}

async fn pair(dir: &tempfile::TempDir) -> (Agent, Agent) {
    let alice = Agent::open(config(dir, "alice")).await.unwrap();
    let bob = Agent::open(config(dir, "bob")).await.unwrap();
    alice.add_peer(&bob.invitation().await.unwrap(), Some("bob")).await.unwrap();
    bob.add_peer(&alice.invitation().await.unwrap(), Some("alice")).await.unwrap();
    (alice, bob)
}

async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("in time")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_arrives_and_is_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let (alice, bob) = pair(&dir).await;
    let id = alice.send(bob.id(), Message::text("hello")).await.unwrap();
    let mut inbox = bob.inbox().await.unwrap();
    let letter = within(inbox.next()).await.unwrap();
    assert_eq!((letter.payload.text().unwrap(), letter.id, letter.from), ("hello", id, alice.id()));
    within(alice.delivered(bob.id(), id)).await.unwrap();
    assert!(bob.done(letter.no).await.unwrap());
    assert!(!bob.done(letter.no).await.unwrap());
    alice.shutdown().await.unwrap();
    bob.shutdown().await.unwrap();
    assert!(matches!(alice.status().await, Err(Error::Stopped)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let (alice, bob) = pair(&dir).await;
    let answering = bob.clone();
    let serve = tokio::spawn(async move {
        let mut inbox = answering.inbox().await.unwrap();
        let question = inbox.next().await.unwrap();
        let answer = format!("you said {}", question.payload.text().unwrap());
        answering.send(question.from, Message::text(answer).reply_to(question.id)).await.unwrap();
        answering.done(question.no).await.unwrap();
    });
    let answer = alice.request(bob.id(), Message::text("ping"), Duration::from_secs(30)).await.unwrap();
    assert_eq!(answer.payload.text().unwrap(), "you said ping");
    serve.await.unwrap();
    alice.shutdown().await.unwrap();
    bob.shutdown().await.unwrap();
}

/// Answers each question with its own text.
fn echo(agent: &Agent) -> tokio::task::JoinHandle<()> {
    let agent = agent.clone();
    tokio::spawn(async move {
        let mut inbox = agent.inbox().await.unwrap();
        while let Ok(question) = inbox.next().await {
            let answer = Message::text(question.payload.text().unwrap()).reply_to(question.id);
            agent.send(question.from, answer).await.unwrap();
            agent.done(question.no).await.unwrap();
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_not_taken_is_in_the_inbox() {
    let dir = tempfile::tempdir().unwrap();
    let (alice, bob) = pair(&dir).await;
    let (mut inbox, echoing) = (alice.inbox().await.unwrap(), echo(&bob));
    let (to, patience) = (bob.id(), Duration::from_secs(30));
    let held = alice.request_held(to, Message::text("one"), patience).await.unwrap();
    assert!(alice.letters(None, 10).await.unwrap().is_empty(), "somebody holds it");
    drop(held);
    let letter = within(inbox.next()).await.unwrap();
    assert_eq!(letter.payload.text().unwrap(), "one");
    assert!(alice.done(letter.no).await.unwrap());

    let held = alice.request_held(to, Message::text("two"), patience).await.unwrap();
    assert_eq!(held.take().await.unwrap().payload.text().unwrap(), "two");
    let held = alice.request_held(to, Message::text("three"), patience).await.unwrap();
    alice.shutdown().await.unwrap();
    assert!(matches!(held.take().await, Err(Error::Stopped)));
    let alice = Agent::open(config(&dir, "alice")).await.unwrap();
    let letters = alice.letters(None, 10).await.unwrap();
    let texts: Vec<_> = letters.iter().map(|letter| letter.payload.text().unwrap()).collect();
    assert_eq!(texts, ["three"], "what was taken is shown no more, and what was not is");
    alice.shutdown().await.unwrap();
    bob.shutdown().await.unwrap();
    echoing.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_survive_a_restart_of_the_receiver() {
    let dir = tempfile::tempdir().unwrap();
    let (alice, bob) = pair(&dir).await;
    let addr = bob.status().await.unwrap().listening.unwrap();
    for i in 0..50 {
        alice.send(bob.id(), Message::text(i.to_string())).await.unwrap();
    }
    bob.shutdown().await.unwrap();
    let to = bob.id();
    for i in 50..100 {
        alice.send(to, Message::text(i.to_string())).await.unwrap();
    }
    let bob = Agent::open(Config::new(dir.path().join("bob")).listen(addr.parse().unwrap()).letters_without_token())
        .await
        .unwrap();
    let mut inbox = bob.inbox().await.unwrap();
    for i in 0..100 {
        let letter = within(inbox.next()).await.unwrap();
        assert_eq!(letter.payload.text().unwrap(), i.to_string());
        bob.done(letter.no).await.unwrap();
    }
    alice.shutdown().await.unwrap();
    bob.shutdown().await.unwrap();
}

/// What an agent has when it stops it acknowledges before it goes, however much is on its way to it: none of that comes again.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_stops_has_acknowledged_what_it_has() {
    for at in [1, 100, 300] {
        let dir = tempfile::tempdir().unwrap();
        let (alice, bob) = pair(&dir).await;
        let (sender, to) = (alice.clone(), bob.id());
        let sending = tokio::spawn(async move {
            for number in 0..500 {
                sender.send(to, Message::text(number.to_string())).await.unwrap();
            }
        });
        let mut inbox = bob.inbox().await.unwrap();
        for _ in 0..at {
            within(inbox.next()).await.unwrap();
        }
        bob.shutdown().await.unwrap();
        sending.await.unwrap();
        // Where alice does not reach it.
        let bob = Agent::open(config(&dir, "bob")).await.unwrap();
        let has = bob.letters(None, 1_000).await.unwrap();
        assert!((at..500).contains(&has.len()), "{} letters", has.len());
        for letter in has {
            let told = tokio::time::timeout(Duration::from_secs(1), alice.delivered(to, letter.id)).await;
            told.unwrap_or_else(|_| panic!("letter {} of {at} was not acknowledged", letter.no)).unwrap();
        }
        alice.shutdown().await.unwrap();
        bob.shutdown().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_payload_arrives_whole_and_is_forgotten_by_its_sender() {
    let dir = tempfile::tempdir().unwrap();
    let (alice, bob) = pair(&dir).await;
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|i| u8::try_from(i % 251).unwrap()).collect();
    let id = alice.send(bob.id(), Message::bytes(ContentType::BYTES, bytes.clone())).await.unwrap();
    let mut inbox = bob.inbox().await.unwrap();
    let letter = within(inbox.next()).await.unwrap();
    assert!(matches!(letter.payload, Payload::Large(_)));
    let saved = dir.path().join("saved");
    within(letter.payload.save(&saved)).await.unwrap();
    assert_eq!(std::fs::read(&saved).unwrap(), bytes);
    within(alice.delivered(bob.id(), id)).await.unwrap();
    assert_eq!(std::fs::read_dir(dir.path().join("alice/large/out")).unwrap().count(), 0);
    bob.done(letter.no).await.unwrap();
    assert_eq!(std::fs::read_dir(dir.path().join("bob/large/in")).unwrap().count(), 0);
    alice.shutdown().await.unwrap();
    bob.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_turned_away_and_told() {
    let dir = tempfile::tempdir().unwrap();
    let alice = Agent::open(config(&dir, "alice")).await.unwrap();
    let bob = Agent::open(config(&dir, "bob")).await.unwrap();
    alice.add_peer(&bob.invitation().await.unwrap(), None).await.unwrap();
    alice.send(bob.id(), Message::text("let me in")).await.unwrap();
    within(async {
        loop {
            let peers = alice.peers().await.unwrap();
            if peers[0].problem.as_ref().is_some_and(|problem| problem.contains("does not let this agent in")) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(bob.status().await.unwrap().inbox, 0);
    assert_eq!(bob.status().await.unwrap().sessions, 0);
    alice.shutdown().await.unwrap();
    bob.shutdown().await.unwrap();
}

/// contracts/transport.md, `stranger`.
#[tokio::test(flavor = "multi_thread")]
async fn who_was_turned_away_dials_for_nothing_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let (alice, bob) = pair(&dir).await;
    let id = alice.send(bob.id(), Message::text("hello")).await.unwrap();
    within(alice.delivered(bob.id(), id)).await.unwrap();
    bob.remove_peer(alice.id()).await.unwrap();
    within(async {
        while alice.peers().await.unwrap()[0].connected {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    // Longer than the first pauses between tries are together.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let turned_away = bob.status().await.unwrap().refused.iter().map(|(_, times)| *times).sum::<u64>();
    assert!(turned_away <= 1, "{turned_away} times, and nothing waits");
    // What waits is a cause.
    alice.send(bob.id(), Message::text("let me in")).await.unwrap();
    within(async {
        while bob.status().await.unwrap().refused.iter().map(|(_, times)| *times).sum::<u64>() <= turned_away {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    alice.shutdown().await.unwrap();
    bob.shutdown().await.unwrap();
}

/// A failure is in memory before it is on disk; nobody who asks in between may hear that the letter was delivered.
#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_expired_is_never_called_delivered() {
    let dir = tempfile::tempdir().unwrap();
    let (alice, bob) = pair(&dir).await;
    let to = bob.id();
    bob.shutdown().await.unwrap();
    let mut asking = tokio::task::JoinSet::new();
    for number in 0..60 {
        let letter = Message::text("too late").expires_in(Duration::from_millis(500 + 5 * number));
        let (id, alice) = (alice.send(to, letter).await.unwrap(), alice.clone());
        asking.spawn(async move {
            loop {
                let soon = Duration::from_micros(300);
                if let Ok(answer) = tokio::time::timeout(soon, alice.delivered(to, id)).await {
                    return answer;
                }
                tokio::time::sleep(soon).await;
            }
        });
    }
    while let Some(answer) = within(asking.join_next()).await {
        assert!(matches!(answer.unwrap(), Err(Error::NotDelivered(_))));
    }
    alice.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_corrected_is_used_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let (alice, bob) =
        (Agent::open(config(&dir, "alice")).await.unwrap(), Agent::open(config(&dir, "bob")).await.unwrap());
    bob.add_peer(&alice.invitation().await.unwrap(), Some("alice")).await.unwrap();
    let right = bob.invitation().await.unwrap();
    let wrong = nuncio::Invitation { endpoints: vec!["127.0.0.1:9".to_owned()], ..right.clone() };
    alice.add_peer(&wrong, Some("bob")).await.unwrap();
    let id = alice.send(bob.id(), Message::text("by and by")).await.unwrap();
    // Until the pauses between two tries have grown.
    tokio::time::sleep(Duration::from_secs(2)).await;
    alice.add_peer(&right, Some("bob")).await.unwrap();
    tokio::time::timeout(Duration::from_secs(5), alice.delivered(bob.id(), id)).await.unwrap().unwrap();
    alice.shutdown().await.unwrap();
    bob.shutdown().await.unwrap();
}

/// Whoever is dialled while it is away is asked at growing intervals, within a try and between two: a new cause waits for neither.
#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_has_come_back_is_reached_as_soon_as_there_is_something_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let (alice, bob) = pair(&dir).await;
    let (to, addr) = (bob.id(), bob.status().await.unwrap().listening.unwrap());
    bob.shutdown().await.unwrap();
    alice.send(to, Message::text("are you there?")).await.unwrap();
    // By now the first packets of a try are some 5 s apart.
    tokio::time::sleep(Duration::from_millis(5_200)).await;
    let bob = Agent::open(Config::new(dir.path().join("bob")).listen(addr.parse().unwrap()).letters_without_token())
        .await
        .unwrap();
    let last = alice.send(to, Message::text("and now?")).await.unwrap();
    let reached = tokio::time::timeout(Duration::from_millis(2_500), alice.delivered(to, last)).await;
    reached.expect("as soon as there is something for it").unwrap();
    assert_eq!(bob.letters(None, 10).await.unwrap().len(), 2);
    alice.shutdown().await.unwrap();
    bob.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_names_another_address_or_none_takes_back_none_that_was_good() {
    let dir = tempfile::tempdir().unwrap();
    let (alice, bob) = pair(&dir).await;
    let right = bob.invitation().await.unwrap();
    let endpoints = async || {
        let peers = alice.peers().await.unwrap();
        peers.into_iter().find(|peer| peer.agent == bob.id()).unwrap().endpoints
    };
    let good = right.endpoints[0].clone();
    let stale = |port: u16| nuncio::Invitation { endpoints: vec![format!("127.0.0.1:{port}")], ..right.clone() };
    alice.add_peer(&nuncio::Invitation { endpoints: Vec::new(), ..right.clone() }, None).await.unwrap();
    assert_eq!(endpoints().await, std::slice::from_ref(&good));
    alice.add_peer(&stale(9), None).await.unwrap();
    assert_eq!(endpoints().await, ["127.0.0.1:9".to_owned(), good]);
    // The one before the last is not kept for ever.
    alice.add_peer(&stale(10), None).await.unwrap();
    assert_eq!(endpoints().await, ["127.0.0.1:10", "127.0.0.1:9"]);
    alice.shutdown().await.unwrap();
    bob.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retired_agent_is_cut_off_in_the_middle_of_a_conversation() {
    let dir = tempfile::tempdir().unwrap();
    let (_, statement) = nuncio::init(&config(&dir, "alice")).unwrap();
    let (alice, bob) = pair(&dir).await;
    let id = alice.send(bob.id(), Message::text("one")).await.unwrap();
    within(alice.delivered(bob.id(), id)).await.unwrap();
    bob.retire(statement).await.unwrap();
    let id = alice.send(bob.id(), Message::text("two")).await.unwrap();
    let told = tokio::time::timeout(Duration::from_secs(3), alice.delivered(bob.id(), id)).await;
    assert!(!matches!(told, Ok(Ok(()))), "{told:?}");
    assert_eq!(bob.letters(None, 10).await.unwrap().len(), 1);
    alice.shutdown().await.unwrap();
    bob.shutdown().await.unwrap();
}

/// A receiver that acknowledges the letter and never has all of its payload: the file that it was promised is cut short.
#[tokio::test(flavor = "multi_thread")]
async fn a_payload_that_is_never_taken_goes_when_its_letter_expires() {
    let dir = tempfile::tempdir().unwrap();
    let (alice, bob) = pair(&dir).await;
    let (to, addr) = (bob.id(), bob.status().await.unwrap().listening.unwrap());
    bob.shutdown().await.unwrap();
    let message = Message::bytes(ContentType::BYTES, vec![7; 300_000]).expires_in(Duration::from_secs(4));
    let id = alice.send(to, message).await.unwrap();
    let out = dir.path().join("alice/large/out");
    let file = std::fs::read_dir(&out).unwrap().next().unwrap().unwrap().path();
    std::fs::File::options().write(true).open(&file).unwrap().set_len(1_000).unwrap();
    let bob = Agent::open(Config::new(dir.path().join("bob")).listen(addr.parse().unwrap()).letters_without_token())
        .await
        .unwrap();
    let letter = within(bob.inbox().await.unwrap().next()).await.unwrap();
    assert_eq!(letter.id, id);
    while rows_of(&alice, b"o") > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(file.exists(), "acknowledged, and in time");
    // It is on its way still, for whoever asks.
    assert_eq!((alice.status().await.unwrap().outbox, alice.peers().await.unwrap()[0].waiting), (1, 1));
    assert!(alice.undelivered().await.unwrap()[0].failed.is_none());
    let told = tokio::time::timeout(Duration::from_secs(15), alice.delivered(to, id)).await.expect("it expires");
    assert!(matches!(told, Err(Error::NotDelivered(_))), "{told:?}");
    assert!(matches!(alice.delivered(to, id).await, Err(Error::NotDelivered(_))), "also later");
    assert_eq!(std::fs::read_dir(&out).unwrap().count(), 0);
    alice.shutdown().await.unwrap();
    let alice = Agent::open(config(&dir, "alice")).await.unwrap();
    assert_eq!(payload_rows(&alice), 0);
    alice.shutdown().await.unwrap();
    bob.shutdown().await.unwrap();
}

/// Whoever takes a letter back, or removes its receiver, takes its payload back too, although the letter was acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn a_payload_goes_with_the_letter_that_is_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let (alice, bob) = pair(&dir).await;
    let (to, addr) = (bob.id(), bob.status().await.unwrap().listening.unwrap());
    bob.shutdown().await.unwrap();
    drop(bob);
    let out = dir.path().join("alice/large/out");
    for removes in [false, true] {
        let id = alice.send(to, Message::bytes(ContentType::BYTES, vec![7; 300_000])).await.unwrap();
        let file = std::fs::read_dir(&out).unwrap().next().unwrap().unwrap().path();
        std::fs::File::options().write(true).open(&file).unwrap().set_len(1_000).unwrap();
        let home = Config::new(dir.path().join("bob")).listen(addr.parse().unwrap()).letters_without_token();
        let bob = Agent::open(home).await.unwrap();
        within(bob.inbox().await.unwrap().next()).await.unwrap();
        while rows_of(&alice, b"o") > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if removes {
            assert!(alice.remove_peer(to).await.unwrap());
        } else {
            assert!(alice.cancel(to, id).await.unwrap());
        }
        let told = within(alice.delivered(to, id)).await;
        assert_eq!(told.unwrap_err().letter_code(), Some("cancelled"));
        assert_eq!(std::fs::read_dir(&out).unwrap().count(), 0);
        while payload_rows(&alice) > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bob.shutdown().await.unwrap();
    }
    alice.shutdown().await.unwrap();
}

/// Rows that remember large payloads on their way from here.
fn payload_rows(agent: &Agent) -> usize {
    rows_of(agent, b"ro")
}

fn rows_of(agent: &Agent, prefix: &[u8]) -> usize {
    let mut rows = 0;
    let count = &mut |_: &[u8], _: &[u8]| {
        rows += 1;
        Ok(())
    };
    nuncio_store::Engine::scan(&*agent.store().unwrap(), prefix, count).unwrap();
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_answer_stays_on_disk_for_as_long_as_somebody_holds_it() {
    let dir = tempfile::tempdir().unwrap();
    let (alice, bob) = pair(&dir).await;
    let answering = bob.clone();
    let serve = tokio::spawn(async move {
        let question = answering.inbox().await.unwrap().next().await.unwrap();
        let answer = Message::bytes(ContentType::BYTES, vec![5; 400_000]).reply_to(question.id);
        answering.send(question.from, answer).await.unwrap();
    });
    let answer = within(alice.request(bob.id(), Message::text("all of it"), Duration::from_secs(30))).await.unwrap();
    serve.await.unwrap();
    let files = || std::fs::read_dir(dir.path().join("alice/large/in")).unwrap().count();
    let (kept, saved) = (answer.payload.clone(), dir.path().join("saved"));
    drop(answer);
    within(kept.save(&saved)).await.unwrap();
    within(kept.save(&saved)).await.unwrap();
    assert_eq!((std::fs::read(&saved).unwrap(), files()), (vec![5; 400_000], 1), "a clone is there");
    drop(kept);
    let gone = async {
        while files() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone).await.expect("the file goes with the last handle");
    alice.shutdown().await.unwrap();
    bob.shutdown().await.unwrap();
}

/// The sealed file of the only payload in a directory of a home.
fn only_file(dir: &std::path::Path) -> std::path::PathBuf {
    let mut files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let (first, second) = (files.next().unwrap(), files.next());
    assert!(second.is_none(), "{second:?}");
    first
}

/// The payload is whole on its receiver's disk, and what would have told its sender so is lost with the process.
#[tokio::test(flavor = "multi_thread")]
async fn that_a_payload_was_taken_is_told_again_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let (alice, bob) = pair(&dir).await;
    let (to, addr) = (bob.id(), bob.status().await.unwrap().listening.unwrap());
    bob.shutdown().await.unwrap();
    let id = alice.send(to, Message::bytes(ContentType::BYTES, vec![7; 300_000])).await.unwrap();
    let sealed = only_file(&dir.path().join("alice/large/out"));
    let whole = std::fs::read(&sealed).unwrap();
    std::fs::File::options().write(true).open(&sealed).unwrap().set_len(100_000).unwrap();
    let again = Config::new(dir.path().join("bob")).listen(addr.parse().unwrap()).letters_without_token();
    let bob = Agent::open(again.clone()).await.unwrap();
    within(bob.inbox().await.unwrap().next()).await.unwrap();
    let part = dir.path().join("bob/large/in");
    while std::fs::read_dir(&part).map_or(0, Iterator::count) == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    bob.shutdown().await.unwrap();
    let part = only_file(&part);
    std::fs::write(&part, whole).unwrap();
    std::fs::rename(&part, part.with_extension("")).unwrap();
    let bob = Agent::open(again).await.unwrap();
    tokio::time::timeout(Duration::from_secs(20), alice.delivered(to, id)).await.expect("told again").unwrap();
    alice.shutdown().await.unwrap();
    bob.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_contact_has_a_bounded_number_of_connections() {
    use nuncio_transport::{Link, LinkConfig, StreamKind};
    let dir = tempfile::tempdir().unwrap();
    let (alice, bob) = pair(&dir).await;
    let key = nuncio_proto::crypto::SigningKey::from_seed(&[3; 32]);
    let greedy = nuncio::AgentId::from_bytes(key.public()).unwrap();
    let invitation =
        nuncio::Invitation { agent: greedy, endpoints: Vec::new(), mailbox: None, bundle_hash: None, knock: None };
    bob.add_peer(&invitation, Some("greedy")).await.unwrap();
    let addr = bob.status().await.unwrap().listening.unwrap().parse().unwrap();
    let link = Link::bind(LinkConfig::new("127.0.0.1:0".parse().unwrap()), &key).unwrap();
    let id = alice.send(bob.id(), Message::text("first")).await.unwrap();
    within(alice.delivered(bob.id(), id)).await.unwrap();
    let mut open = Vec::new();
    for _ in 0..20 {
        open.extend(link.dial(bob.id(), addr).await);
    }
    assert_eq!(open.len(), 20, "a connection is turned away once its key is proved");
    tokio::time::sleep(Duration::from_secs(1)).await;
    open.retain(|connection| connection.close_reason().is_none());
    assert!((1..=8).contains(&open.len()), "{} connections stay", open.len());
    let mut streams = Vec::new();
    for connection in &open {
        streams.extend(connection.open(StreamKind::Frames).await);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    // One is alice's.
    assert_eq!(bob.status().await.unwrap().connections, 3, "of the {} only two carry frames", streams.len());
    let id = alice.send(bob.id(), Message::text("and others are served")).await.unwrap();
    within(alice.delivered(bob.id(), id)).await.unwrap();
    alice.shutdown().await.unwrap();
    bob.shutdown().await.unwrap();
}

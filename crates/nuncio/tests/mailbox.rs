//! Agents that are away, or that nobody can dial: their frames wait at the node of their domain.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, dead_code)]

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use domain::{DOMAIN, Domain, Member, PATIENCE, kek};
use nuncio::{Agent, AgentId, AuditPolicy, Config, Invitation, LetterId, Message, Trace, Way};
use nuncio_contracts::registry::{code, limit};
use nuncio_proto::crypto::SigningKey;
use nuncio_proto::deposit::Deposit;
use nuncio_proto::rows;
use nuncio_store::{Engine as _, Op, Store};
use nuncio_transport::{CloseCode, FrameSender, Link, LinkConfig, StreamKind};

#[path = "support/domain.rs"]
mod domain;

impl Domain {
    async fn asleep(names: &[&str]) -> Self {
        Self::with_homes("EdDSA", names, AuditPolicy::default()).await
    }

    fn asleep_config(&self, name: &str) -> Config {
        let home = Config::new(self.dir.path().join(name)).letters_without_token();
        home.trust(DOMAIN, self.invitation.clone()).mailbox()
    }

    /// An agent with a mailbox that takes no connections.
    async fn wake(&self, name: &str) -> Member {
        member(self.asleep_config(name)).await
    }

    /// The line of an agent, which does not run when this returns: its bundle and a batch are listed.
    async fn line(&self, name: &str) -> Invitation {
        let asleep = self.wake(name).await;
        let line = asleep.agent.invitation().await.unwrap();
        assert_eq!(line.mailbox.as_ref().map(|at| at.node), Some(self.invitation.agent));
        listed(&asleep.agent).await;
        asleep.agent.shutdown().await.unwrap();
        line
    }

    /// Two agents that know each other by their lines and have never met.
    async fn strangers() -> (Self, [Invitation; 2]) {
        let domain = Self::asleep(&["alice", "bob"]).await;
        let lines = [domain.line("alice").await, domain.line("bob").await];
        for (name, other) in [("alice", &lines[1]), ("bob", &lines[0])] {
            let member = domain.wake(name).await;
            member.agent.add_peer(other, None).await.unwrap();
            member.agent.shutdown().await.unwrap();
        }
        (domain, lines)
    }

    async fn restart(&mut self) {
        let quic = self.node.as_ref().unwrap().quic_addr().unwrap().to_string();
        self.stop().await;
        self.start(&quic).await;
    }
}

async fn member(config: Config) -> Member {
    let agent = Agent::open(config).await.unwrap();
    let inbox = agent.inbox().await.unwrap();
    Member { agent, inbox }
}

async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(Instant::now() < end, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Its mailbox is open, and the directory has something of it.
async fn listed(agent: &Agent) -> u64 {
    until("it is not listed", async || {
        let mailbox = agent.status().await.unwrap().mailbox.unwrap();
        mailbox.listed_prekeys.filter(|_| mailbox.open)
    })
    .await
}

/// The letter's frame is at the receiver's node.
async fn left(member: &Member, id: LetterId) {
    until("it was not left", async || {
        let letters = member.agent.undelivered().await.unwrap();
        letters
            .iter()
            .find(|letter| letter.id == id)
            .filter(|letter| matches!(letter.way, Some(Way::Mailbox(_))))
            .map(drop)
    })
    .await;
}

async fn delivered(member: &Member, to: AgentId, id: LetterId) {
    tokio::time::timeout(PATIENCE, member.agent.delivered(to, id)).await.expect("an end in time").unwrap();
}

async fn nothing_more(member: &mut Member) {
    assert!(tokio::time::timeout(Duration::from_millis(500), member.inbox.next()).await.is_err(), "once is enough");
}

/// Neither runs while the other does: bundle and one-time prekey from the directory, the letter, its answer and its acknowledgement through mailboxes.
#[tokio::test(flavor = "multi_thread")]
async fn two_that_are_never_there_at_once_write_and_answer_from_the_first_letter_on() {
    let (mut domain, [alice_line, bob_line]) = Domain::strangers().await;
    let alice = domain.wake("alice").await;
    let first = alice.agent.send(bob_line.agent, Message::text("first")).await.unwrap();
    left(&alice, first).await;
    alice.agent.shutdown().await.unwrap();
    // The node's life goes on too.
    domain.restart().await;
    let mut bob = domain.wake("bob").await;
    let letter = bob.next().await;
    assert_eq!((letter.from, letter.payload.text().unwrap().to_owned()), (alice_line.agent, "first".to_owned()));
    bob.agent.done(letter.no).await.unwrap();
    let answer = bob.agent.send(alice_line.agent, Message::text("answer")).await.unwrap();
    left(&bob, answer).await;
    bob.agent.shutdown().await.unwrap();
    let mut alice = domain.wake("alice").await;
    assert_eq!(alice.next().await.payload.text().unwrap(), "answer");
    delivered(&alice, bob_line.agent, first).await;
    nothing_more(&mut alice).await;
    alice.agent.shutdown().await.unwrap();
    let mut bob = domain.wake("bob").await;
    nothing_more(&mut bob).await;
    bob.agent.shutdown().await.unwrap();
    domain.stop().await;
}

/// contracts/mailbox.md M9: two that only dial out talk as they run, and an acknowledgement alone finds its way.
#[tokio::test(flavor = "multi_thread")]
async fn two_that_nobody_can_dial_talk_through_the_node() {
    let (mut domain, [alice_line, bob_line]) = Domain::strangers().await;
    let (mut alice, mut bob) = (domain.wake("alice").await, domain.wake("bob").await);
    for round in 0..10 {
        let text = format!("to bob {round}");
        let id = alice.agent.send(bob_line.agent, Message::text(&*text)).await.unwrap();
        assert_eq!(bob.next().await.payload.text().unwrap(), text);
        let text = format!("to alice {round}");
        bob.agent.send(alice_line.agent, Message::text(&*text)).await.unwrap();
        assert_eq!(alice.next().await.payload.text().unwrap(), text);
        delivered(&alice, bob_line.agent, id).await;
    }
    let alone = alice.agent.send(bob_line.agent, Message::text("no answer")).await.unwrap();
    delivered(&alice, bob_line.agent, alone).await;
    assert_eq!(alice.agent.status().await.unwrap().connections, 0);
    for member in [alice, bob] {
        member.agent.shutdown().await.unwrap();
    }
    domain.stop().await;
}

/// contracts/mailbox.md M14: what finds no room stays with its sender, which comes again.
#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_finds_a_full_mailbox_arrives_later() {
    let (mut domain, [_, bob_line]) = Domain::strangers().await;
    for number in 0..u8::try_from(limit::MAILBOX_STRANGERS_MAX).unwrap() {
        assert_eq!(leave_junk(&domain, bob_line.agent, number).await, Some(0));
    }
    let alice = domain.wake("alice").await;
    let id = alice.agent.send(bob_line.agent, Message::text("when there is room")).await.unwrap();
    until("it is not told", async || {
        let peers = alice.agent.peers().await.unwrap();
        let full = code::name(code::MAILBOX_FULL);
        peers[0].problem.as_ref().filter(|problem| problem.contains(full)).map(drop)
    })
    .await;
    assert_eq!(alice.agent.undelivered().await.unwrap()[0].way, Some(Way::Waiting));
    // What strangers left is no letter, and is taken away.
    let mut bob = domain.wake("bob").await;
    assert_eq!(bob.next().await.payload.text().unwrap(), "when there is room");
    delivered(&alice, bob_line.agent, id).await;
    for member in [alice, bob] {
        member.agent.shutdown().await.unwrap();
    }
    domain.stop().await;
}

/// contracts/mailbox.md M18, M19: what was sealed once is left once for all who are away, and each has it when it comes.
#[tokio::test(flavor = "multi_thread")]
async fn a_letter_to_a_large_channel_is_left_once_for_all_who_are_away() {
    const LETTERS: usize = 3;
    let names: Vec<String> = (0..10).map(|no| format!("agent-{no}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut domain = Domain::asleep(&names).await;
    let anna = member(domain.asleep_config(names[0]).listen(([127, 0, 0, 1], 0).into())).await;
    let channel = anna.agent.create_channel("crew").await.unwrap();
    let mut others = Vec::new();
    for name in &names[1..] {
        // They dial, and nobody can dial them.
        let other = domain.wake(name).await;
        listed(&other.agent).await;
        anna.agent.add_peer(&other.agent.invitation().await.unwrap(), None).await.unwrap();
        other.agent.add_peer(&anna.agent.invitation().await.unwrap(), None).await.unwrap();
        anna.agent.invite_to_channel(channel, other.agent.id()).await.unwrap();
        until("nobody is invited", async || other.agent.channel_invitations().await.unwrap().first().map(drop)).await;
        other.agent.join_channel(channel).await.unwrap();
        others.push(other);
    }
    for member in others.iter().chain([&anna]) {
        let members = async || member.agent.channels().await.unwrap().first().map(|channel| channel.members.len());
        until("they are not all in", async || members().await.filter(|members| *members == 10)).await;
    }
    let first = anna.agent.send_to_channel(channel, Message::text("are you all here?")).await.unwrap();
    let delivered = async |id| anna.agent.tally(id).await.unwrap().unwrap().delivered();
    until("some have it not", async || (delivered(first).await == others.len()).then_some(())).await;
    for other in others {
        other.agent.shutdown().await.unwrap();
    }
    until("they are there", async || (anna.agent.status().await.unwrap().connections == 0).then_some(())).await;
    for number in 0..LETTERS {
        anna.agent.send_to_channel(channel, Message::text(format!("{number}"))).await.unwrap();
    }
    let left = until("they are not left", async || {
        let letters = anna.agent.undelivered().await.unwrap();
        letters.iter().all(|letter| matches!(letter.way, Some(Way::Mailbox(_)))).then_some(letters)
    })
    .await;
    assert_eq!(left.len(), 9 * LETTERS);
    assert!(left.iter().all(|letter| letter.channel == Some((channel, 9))), "{left:?}");
    anna.agent.shutdown().await.unwrap();
    let quic = domain.node.as_ref().unwrap().quic_addr().unwrap().to_string();
    domain.stop().await;
    // Each was taken when its deposit came: all of a letter at once.
    let mut came = std::collections::BTreeMap::<Vec<u8>, Vec<[u8; 8]>>::new();
    {
        let store = Store::open(&domain.dir.path().join("node"), &kek()).unwrap();
        let mut keep = |_: &[u8], row: &[u8]| {
            // [version, when, by a stranger, frame], and of a channel's frame its tag and nonce.
            if let Some(at) = row.windows(3).take(16).position(|head| head == [0x88, 1, 5]) {
                came.entry(row[at + 3..at + 33].to_vec()).or_default().push(row[3..11].try_into().unwrap());
            }
            Ok(())
        };
        store.scan(b"V", &mut keep).unwrap();
    }
    assert_eq!(came.len(), LETTERS);
    for at in came.values() {
        assert!(at.len() == 9 && at.iter().all(|when| *when == at[0]), "{came:?}");
    }
    domain.start(&quic).await;
    for name in &names[1..] {
        let mut other = domain.wake(name).await;
        let mut heard = Vec::new();
        while heard.len() < 1 + LETTERS {
            heard.push(other.next().await.payload.text().unwrap().to_owned());
        }
        assert_eq!(heard, ["are you all here?", "0", "1", "2"]);
        other.agent.shutdown().await.unwrap();
    }
    domain.stop().await;
}

/// What was left at the node goes over a connection too, once there is one: one letter.
#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_goes_both_ways_is_delivered_once() {
    let (mut domain, [alice_line, bob_line]) = Domain::strangers().await;
    let alice = domain.wake("alice").await;
    let mut sent = Vec::new();
    for number in 0..5 {
        let id = alice.agent.send(bob_line.agent, Message::text(format!("{number}"))).await.unwrap();
        left(&alice, id).await;
        sent.push(id);
    }
    // Now bob can be dialled, by the address that alice is told.
    let bob = member(domain.asleep_config("bob").listen(([127, 0, 0, 1], 0).into())).await;
    let mut bob = bob;
    alice.agent.add_peer(&bob.agent.invitation().await.unwrap(), None).await.unwrap();
    for number in 0..5 {
        assert_eq!(bob.next().await.payload.text().unwrap(), format!("{number}"));
    }
    for id in sent {
        delivered(&alice, bob_line.agent, id).await;
    }
    let id = alice.agent.send(bob_line.agent, Message::text("5")).await.unwrap();
    delivered(&alice, bob_line.agent, id).await;
    assert_eq!(bob.next().await.payload.text().unwrap(), "5");
    nothing_more(&mut bob).await;
    assert_eq!(bob.agent.peers().await.unwrap()[0].agent, alice_line.agent);
    for member in [alice, bob] {
        member.agent.shutdown().await.unwrap();
    }
    domain.stop().await;
}

/// contracts/mailbox.md M1, M13: keys of before serve nobody, and peers are given others.
#[tokio::test(flavor = "multi_thread")]
async fn after_another_secret_peers_leave_letters_with_another_key() {
    let (mut domain, [_, bob_line]) = Domain::strangers().await;
    let (alice, mut bob) = (domain.wake("alice").await, domain.wake("bob").await);
    let id = alice.agent.send(bob_line.agent, Message::text("first")).await.unwrap();
    bob.next().await;
    delivered(&alice, bob_line.agent, id).await;
    alice.agent.shutdown().await.unwrap();
    bob.agent.renew_mailbox().await.unwrap();
    // What tells alice waits for her; what she sends before she has read it may be denied, and waits for the key.
    let alice = domain.wake("alice").await;
    for number in 0..3 {
        let id = alice.agent.send(bob_line.agent, Message::text(format!("{number}"))).await.unwrap();
        assert_eq!(bob.next().await.payload.text().unwrap(), format!("{number}"));
        delivered(&alice, bob_line.agent, id).await;
    }
    for member in [alice, bob] {
        member.agent.shutdown().await.unwrap();
    }
    domain.stop().await;
}

/// contracts/directory.md D7: when few one-time prekeys are left, the agent lists more by itself.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_lists_more_when_few_are_left() {
    let mut domain = Domain::asleep(&["bob"]).await;
    domain.line("bob").await;
    domain.stop().await;
    let few = u64::try_from(limit::ONE_TIME_LOW).unwrap() - 1;
    {
        // All but a few are given away.
        let store = Store::open(&domain.dir.path().join("node"), &kek()).unwrap();
        let mut rows = Vec::new();
        let mut keep = |key: &[u8], _: &[u8]| {
            rows.push(key.to_vec());
            Ok(())
        };
        store.scan(b"P", &mut keep).unwrap();
        assert_eq!(rows.len(), usize::from(limit::ONE_TIME_BATCH));
        let given = rows.split_off(usize::try_from(few).unwrap());
        store.commit(&given.into_iter().map(|key| Op::Delete { key }).collect::<Vec<_>>()).unwrap();
    }
    domain.start("127.0.0.1:0").await;
    let bob = domain.wake("bob").await;
    let own = bob.agent.status().await.unwrap().one_time_prekeys;
    assert_eq!(listed(&bob.agent).await, few + u64::from(limit::ONE_TIME_BATCH));
    assert_eq!(bob.agent.status().await.unwrap().one_time_prekeys, own, "its own are its own");
    bob.agent.shutdown().await.unwrap();
    domain.stop().await;
}

/// Holds a writer back before commits that it is told of.
struct Gate {
    /// How many commits came, and how many are let through.
    counts: Mutex<(u32, u32)>,
    moved: Condvar,
}

/// Opens a gate at the end of a test, also of one that fails.
struct Opens(Arc<Gate>);

impl Drop for Opens {
    fn drop(&mut self) {
        self.0.let_through(u32::MAX);
    }
}

impl Gate {
    fn letting_through(count: u32) -> (Arc<Self>, Opens) {
        let gate = Arc::new(Self { counts: Mutex::new((0, count)), moved: Condvar::new() });
        (Arc::clone(&gate), Opens(gate))
    }

    /// Counts commits with a row of this tree, and holds those that are too many.
    fn trace(self: &Arc<Self>, tree: u8) -> Trace {
        let gate = Arc::clone(self);
        Trace::new(move |ops| {
            if !ops.iter().any(|op| matches!(op, Op::Put { key, .. } if key[0] == tree)) {
                return;
            }
            let mut counts = gate.counts.lock().unwrap();
            counts.0 += 1;
            let mine = counts.0;
            while mine > counts.1 {
                counts = gate.moved.wait(counts).unwrap();
            }
        })
    }

    fn let_through(&self, count: u32) {
        self.counts.lock().unwrap().1 = count;
        self.moved.notify_all();
    }

    fn count(&self) -> u32 {
        self.counts.lock().unwrap().0
    }

    async fn came(&self, count: u32) {
        until("no such commit", async || (self.count() >= count).then_some(())).await;
    }
}

/// Leaves what is no letter, as a stranger: the node's answer, `None` where it has no time.
async fn leave_junk(domain: &Domain, to: AgentId, number: u8) -> Option<u16> {
    let link = Link::bind(LinkConfig::new("127.0.0.1:0".parse().unwrap()), &SigningKey::from_seed(&[9; 32])).unwrap();
    let node = domain.node.as_ref().unwrap();
    let connection = link.dial(node.id(), node.quic_addr().unwrap()).await.unwrap();
    let deposit = Deposit::new(vec![(to, None)], vec![0x87, 1, 1, number]).unwrap();
    let (send, mut recv) = connection.open(StreamKind::Deposit).await.unwrap();
    let mut send = FrameSender::deposits(send);
    send.send_many(&[deposit.to_bytes().into()]).await.unwrap();
    send.finish().unwrap();
    let answer = recv.read_to_end(2).await.ok();
    connection.close(CloseCode::CLOSED, "done");
    link.close(CloseCode::CLOSED, "done").await;
    Some(u16::from_be_bytes(answer?.try_into().unwrap()))
}

/// contracts/mailbox.md M10: the node deletes nothing before it is on the recipient's disk.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_fetched_stays_at_the_node_until_its_commit_is_durable() {
    let (mut domain, [_, bob_line]) = Domain::strangers().await;
    let alice = domain.wake("alice").await;
    let id = alice.agent.send(bob_line.agent, Message::text("kept")).await.unwrap();
    left(&alice, id).await;
    alice.agent.shutdown().await.unwrap();
    let mut junk = 0;
    while leave_junk(&domain, bob_line.agent, junk).await == Some(0) {
        junk += 1;
    }
    assert!(junk > 0 && usize::from(junk) < limit::MAILBOX_STRANGERS_MAX);
    let (gate, _opens) = Gate::letting_through(0);
    let mut config = domain.asleep_config("bob");
    config.trace = Some(gate.trace(rows::INBOX));
    let mut bob = member(config).await;
    gate.came(1).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    // The letter that tells where alice's mailbox is came before it, and is in no inbox: its place is free, and no other.
    let mut free = 0;
    while free < 4 && leave_junk(&domain, bob_line.agent, junk).await == Some(0) {
        free += 1;
    }
    assert!(free <= 1, "{free} were taken away too early");
    gate.let_through(u32::MAX);
    assert_eq!(bob.next().await.payload.text().unwrap(), "kept");
    until("it was not taken away", async || {
        tokio::time::sleep(Duration::from_millis(300)).await;
        (leave_junk(&domain, bob_line.agent, junk).await == Some(0)).then_some(())
    })
    .await;
    bob.agent.shutdown().await.unwrap();
    domain.stop().await;
}

/// Commit, then publish: a frame that is sealed and not on disk is left nowhere, also not with one that is.
#[tokio::test(flavor = "multi_thread")]
async fn a_frame_is_left_at_a_node_only_once_its_commit_is_durable() {
    let (mut domain, [_, bob_line]) = Domain::strangers().await;
    let (gate, _opens) = Gate::letting_through(u32::MAX);
    let mut config = domain.asleep_config("alice");
    config.trace = Some(gate.trace(rows::OUTBOX));
    let (alice, mut bob) = (member(config).await, domain.wake("bob").await);
    let id = alice.agent.send(bob_line.agent, Message::text("0")).await.unwrap();
    delivered(&alice, bob_line.agent, id).await;
    assert_eq!(bob.next().await.payload.text().unwrap(), "0");
    until("its runtime is not done", async || (alice.agent.status().await.unwrap().outbox == 0).then_some(())).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let commits = gate.count();
    gate.let_through(commits);
    let send = |text: &'static str| {
        let (agent, to) = (alice.agent.clone(), bob_line.agent);
        tokio::spawn(async move { agent.send(to, Message::text(text)).await.unwrap() })
    };
    let first = send("1");
    gate.came(commits + 1).await;
    let second = send("2");
    tokio::time::sleep(Duration::from_millis(300)).await;
    // The first goes through, and the second is held.
    gate.let_through(commits + 1);
    gate.came(commits + 2).await;
    first.await.unwrap();
    tokio::time::sleep(Duration::from_millis(700)).await;
    let early = tokio::time::timeout(Duration::from_millis(10), bob.inbox.next()).await;
    if let Ok(early) = early {
        assert_eq!(early.unwrap().payload.text().unwrap(), "1");
        assert!(tokio::time::timeout(Duration::from_millis(300), bob.inbox.next()).await.is_err(), "left too early");
        gate.let_through(u32::MAX);
    } else {
        gate.let_through(u32::MAX);
        assert_eq!(bob.next().await.payload.text().unwrap(), "1");
    }
    second.await.unwrap();
    assert_eq!(bob.next().await.payload.text().unwrap(), "2");
    for member in [alice, bob] {
        member.agent.shutdown().await.unwrap();
    }
    domain.stop().await;
}

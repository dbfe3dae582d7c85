//! What agents did stands in the log of their domain's node, once, in their order, through stops of either.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, dead_code)]

use std::time::{Duration, Instant};

use domain::{DOMAIN, Domain, Member, PATIENCE, begin};
use nuncio::{
    AuditPolicy, Auditing, CallNews, CallPlace, CallSessionId, ContentType, Head, Message, PeerNames, What, WhenFull,
};
use nuncio_node::log::{Verdict, verify};
use nuncio_proto::audit::{Event, SignedEvent};
use nuncio_proto::tlog::{KeyKind, NoteKey, TileKind, entries_of};
use nuncio_store::testing::copy_dir;

#[path = "support/domain.rs"]
mod domain;

const AUDITED: AuditPolicy = AuditPolicy {
    auditing: Auditing::Required,
    peer_names: PeerNames::Keys,
    room: 10_000,
    when_full: WhenFull::Stop,
    heartbeat: 0,
};

async fn members(names: &[&str]) -> (Domain, Vec<Member>) {
    Domain::with("EdDSA", names, AUDITED).await
}

impl Domain {
    fn key(&self) -> NoteKey {
        NoteKey::new(&format!("{DOMAIN}/log"), KeyKind::Ed25519, *self.invitation.agent.as_bytes()).unwrap()
    }

    /// The log as it is published, verified, once it has so many events of these agents.
    async fn events_of(&self, agents: &[nuncio::AgentId], least: usize) -> Vec<(u64, Event)> {
        let folder = self.dir.path().join("node/log");
        let until = Instant::now() + PATIENCE;
        loop {
            if let Ok(Verdict { head, .. }) = verify(&folder, &self.key(), |_| {}) {
                let events = read(&folder, head.size);
                let events: Vec<_> = events.into_iter().filter(|(_, event)| agents.contains(&event.agent)).collect();
                if events.len() >= least {
                    return events;
                }
            }
            assert!(Instant::now() < until, "they are not in the log");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn read(folder: &std::path::Path, size: u64) -> Vec<(u64, Event)> {
    let tiles = nuncio_proto::tlog::Tile::all(size).filter(|tile| tile.kind() == TileKind::Entries);
    let entries = tiles.flat_map(|tile| {
        let bytes = std::fs::read(folder.join(tile.path())).unwrap();
        entries_of(&bytes, tile.width()).unwrap().into_iter().map(<[u8]>::to_vec).collect::<Vec<_>>()
    });
    (0..).zip(entries.map(|entry| SignedEvent::parse(&entry).unwrap().event().clone())).collect()
}

async fn given(member: &Member) {
    let until = Instant::now() + PATIENCE;
    while member.agent.status().await.unwrap().events_waiting > 0 {
        assert!(Instant::now() < until, "its events wait");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn named(events: &[(u64, Event)]) -> Vec<&'static str> {
    events.iter().map(|(_, event)| nuncio_contracts::registry::event::name(event.what.number())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_is_in_the_log_from_both_ends_with_its_token() {
    let (domain, members) = members(&["gateway", "planner"]).await;
    let [gateway, mut planner] = <[Member; 2]>::try_from(members).ok().unwrap();
    let begun = begin(&gateway, "travel.book").await;
    gateway.outcome(planner.agent.id(), Message::text("to Rome").under(&begun)).await.unwrap();
    planner.next().await;
    given(&gateway).await;
    given(&planner).await;
    let (from, to) = (gateway.agent.id(), planner.agent.id());
    let events = domain.events_of(&[from, to, domain.invitation.agent], 7).await;
    let of = |agent, what: &str| {
        let found = events.iter().find(|(_, event)| {
            event.agent == agent && nuncio_contracts::registry::event::name(event.what.number()) == what
        });
        found.unwrap_or_else(|| panic!("{what} is not in {:?}", named(&events))).1.clone()
    };
    let (sent, received) = (of(from, "letter_sent"), of(to, "letter_received"));
    let replaced = of(domain.invitation.agent, "token_replaced");
    assert!(sent.commitment.is_some() && sent.commitment == received.commitment);
    assert!(sent.token.is_some() && sent.token == received.token && sent.token == replaced.token);
    for event in [&sent, &received, &replaced, &of(domain.invitation.agent, "token_issued")] {
        assert_eq!(event.transaction.as_deref(), Some(begun.id()));
    }
}

/// contracts/call.md X8: what was begun has an event that closes it, also where its asker has ended the session.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_session_is_ended_is_told_as_of_unknown_outcome() {
    let (domain, members) = members(&["gateway", "planner"]).await;
    let [gateway, planner] = <[Member; 2]>::try_from(members).ok().unwrap();
    planner.agent.serve_calls(true).await.unwrap();
    let session = CallSessionId::from_bytes([3; 16]);
    let (what, service, head) = (What::Request, "files".parse().unwrap(), Head::default());
    let place = CallPlace { what, service, session: Some(session), head };
    let mut calls = planner.agent.calls().await.unwrap();
    for _ in 0..2 {
        let (id, message) =
            (nuncio::Agent::new_letter_id().unwrap(), Message::bytes(ContentType::JSON, b"{}".to_vec()));
        gateway.agent.say(planner.agent.id(), id, &place, message, Vec::new()).await.unwrap();
        let CallNews::Came(came) = calls.next().await.unwrap() else { panic!("failed") };
        assert!(planner.agent.begin_call(came.letter.no, "tools/call").await.unwrap());
    }
    planner.agent.close_calls(gateway.agent.id(), session).await.unwrap();
    given(&planner).await;
    let events = domain.events_of(&[planner.agent.id()], 4).await;
    let count = |what: &str| named(&events).iter().filter(|name| **name == what).count();
    assert_eq!((count("tool_invoked"), count("tool_unknown")), (2, 2), "{:?}", named(&events));
}

/// The node is away for a while, and the agent is stopped meanwhile: nothing is lost, nothing is told twice.
#[tokio::test(flavor = "multi_thread")]
async fn events_wait_for_a_node_that_is_away_through_a_stop_of_their_agent() {
    let (mut domain, members) = members(&["gateway", "planner"]).await;
    let [gateway, planner] = <[Member; 2]>::try_from(members).ok().unwrap();
    let (from, to) = (gateway.agent.id(), planner.agent.id());
    let begun = begin(&gateway, "travel.book").await;
    gateway.outcome(to, Message::text("0").under(&begun)).await.unwrap();
    given(&gateway).await;
    let quic = domain.node.as_ref().unwrap().quic_addr().unwrap().to_string();
    domain.stop().await;
    for text in ["1", "2", "3"] {
        gateway.outcome(to, Message::text(text).under(&begun)).await.unwrap();
    }
    let waiting = gateway.agent.status().await.unwrap().events_waiting;
    assert!(waiting >= 3, "{waiting}");
    let address = gateway.agent.status().await.unwrap().listening.unwrap();
    gateway.agent.shutdown().await.unwrap();
    drop(gateway);
    let gateway = domain.member_at("gateway", &address).await;
    assert_eq!(gateway.agent.status().await.unwrap().events_waiting, waiting);
    domain.start(&quic).await;
    given(&gateway).await;
    let events = domain.events_of(&[from], 5).await;
    let sent = named(&events).iter().filter(|name| **name == "letter_sent").count();
    assert_eq!(sent, 4, "{:?}", named(&events));
    let epochs: std::collections::BTreeSet<u64> = events.iter().map(|(_, event)| event.epoch).collect();
    assert_eq!(epochs.len(), 1, "one count through the stop");
}

/// contracts/audit.md V15: the node came back with an older disk, and its agents do not let it go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_rolled_back_is_found_out_by_its_agents() {
    rolled_back(true).await;
    rolled_back(false).await;
}

async fn rolled_back(speaks: bool) {
    let (mut domain, members) = members(&["gateway", "planner"]).await;
    let [mut gateway, planner] = <[Member; 2]>::try_from(members).ok().unwrap();
    let to = planner.agent.id();
    let begun = begin(&gateway, "travel.book").await;
    gateway.outcome(to, Message::text("one").under(&begun)).await.unwrap();
    given(&gateway).await;
    let quic = domain.node.as_ref().unwrap().quic_addr().unwrap().to_string();
    domain.stop().await;
    let (home, copy) = (domain.dir.path().join("node"), domain.dir.path().join("copy"));
    copy_dir(&home, &copy).unwrap();
    domain.start(&quic).await;
    gateway.outcome(to, Message::text("two").under(&begun)).await.unwrap();
    given(&gateway).await;
    domain.stop().await;
    std::fs::remove_dir_all(&home).unwrap();
    std::fs::rename(&copy, &home).unwrap();
    domain.start(&quic).await;
    if speaks {
        gateway.outcome(to, Message::text("three").under(&begun)).await.unwrap();
    } else {
        // One that has nothing to tell shows what it has seen when it starts.
        let address = gateway.agent.status().await.unwrap().listening.unwrap();
        gateway.agent.shutdown().await.unwrap();
        drop(gateway);
        gateway = domain.member_at("gateway", &address).await;
    }
    let until = Instant::now() + PATIENCE + PATIENCE;
    let node = domain.node.as_ref().unwrap();
    while node.takes_events() {
        assert!(Instant::now() < until, "nobody has noticed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let status = async |member: &Member| member.agent.status().await.unwrap();
    // Whoever shows its head first is told; to the other the log has ended.
    let says = |why: Option<String>| why.is_some_and(|why| why.contains("lost or changed"));
    while !says(status(&gateway).await.events_wait) && !says(status(&planner).await.events_wait) {
        let why = status(&gateway).await.events_wait;
        assert!(Instant::now() < until, "nobody says why: {why:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(status(&gateway).await.events_waiting > 0, speaks, "what it did is kept");
}

/// contracts/audit.md V23: the domain has another node, whose log knows nothing of what its agents told before.
#[tokio::test(flavor = "multi_thread")]
async fn events_go_to_the_log_of_another_node() {
    let (mut domain, members) = members(&["gateway", "planner"]).await;
    let [gateway, planner] = <[Member; 2]>::try_from(members).ok().unwrap();
    let (from, to) = (gateway.agent.id(), planner.agent.id());
    let begun = begin(&gateway, "travel.book").await;
    gateway.outcome(to, Message::text("one").under(&begun)).await.unwrap();
    given(&gateway).await;
    domain.stop().await;
    gateway.outcome(to, Message::text("two").under(&begun)).await.unwrap();
    gateway.agent.shutdown().await.unwrap();
    planner.agent.shutdown().await.unwrap();
    std::fs::remove_dir_all(domain.dir.path().join("node")).unwrap();
    nuncio_node::init(&domain.dir.path().join("node"), &domain::kek()).unwrap();
    domain.start("127.0.0.1:0").await;
    let gateway = domain.member("gateway").await;
    given(&gateway).await;
    let events = domain.events_of(&[from], 1).await;
    assert_eq!((named(&events)[0], events[0].1.seq), ("letter_sent", 0));
    let (_, planner) = (begin(&gateway, "travel.book").await, domain.member("planner").await);
    given(&planner).await;
}

/// A home that was copied by hand and put back: the log keeps that its agent told two stories, and takes what it tells from then on.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_whose_home_was_put_back_by_hand_goes_on() {
    let (domain, members) = members(&["gateway", "planner"]).await;
    let [gateway, planner] = <[Member; 2]>::try_from(members).ok().unwrap();
    let (from, to) = (gateway.agent.id(), planner.agent.id());
    let begun = begin(&gateway, "travel.book").await;
    gateway.outcome(to, Message::text("one").under(&begun)).await.unwrap();
    given(&gateway).await;
    let address = gateway.agent.status().await.unwrap().listening.unwrap();
    gateway.agent.shutdown().await.unwrap();
    drop(gateway);
    let (home, copy) = (domain.dir.path().join("gateway"), domain.dir.path().join("copy"));
    copy_dir(&home, &copy).unwrap();
    let gateway = domain.member_at("gateway", &address).await;
    gateway.outcome(to, Message::text("two").under(&begun)).await.unwrap();
    given(&gateway).await;
    gateway.agent.shutdown().await.unwrap();
    drop(gateway);
    std::fs::remove_dir_all(&home).unwrap();
    std::fs::rename(&copy, &home).unwrap();
    let gateway = domain.member_at("gateway", &address).await;
    gateway.outcome(to, Message::text("three").under(&begun)).await.unwrap();
    given(&gateway).await;
    let events = domain.events_of(&[from], 4).await;
    let epochs: std::collections::BTreeSet<u64> = events.iter().map(|(_, event)| event.epoch).collect();
    assert_eq!(epochs.len(), 2, "a new chain behind the evidence: {:?}", named(&events));
    let verdict = verify(&domain.dir.path().join("node/log"), &domain.key(), |_| {}).unwrap();
    assert!(!verdict.other_stories.is_empty(), "the evidence");
}

//! Channels between agents over real QUIC on loopback: each knows the owner, and the others by the channel alone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::time::Duration;

use members::{has, info, told, within};
use nuncio::{
    Agent, ChannelError, ChannelId, ChannelInfo, Config, ContentType, Error, Happened, Inbox, Incoming, Message, Role,
    Told,
};
use nuncio_proto::error::PeerError;

#[path = "support/members.rs"]
mod members;

fn config(dir: &tempfile::TempDir, name: &str) -> Config {
    Config::new(dir.path().join(name)).listen("127.0.0.1:0".parse().unwrap()).letters_without_token()
}

/// The owner and another come to know each other; the other joins.
async fn join(owner: &Agent, channel: ChannelId, other: &Agent, name: &str) {
    owner.add_peer(&other.invitation().await.unwrap(), Some(name)).await.unwrap();
    other.add_peer(&owner.invitation().await.unwrap(), Some("anna")).await.unwrap();
    let mut news = other.channel_news().await.unwrap();
    owner.invite_to_channel(channel, other.id()).await.unwrap();
    let invited = within(news.next()).await.unwrap();
    assert_eq!((invited.channel, invited.happened), (channel, Happened::Invited { by: owner.id() }));
    let invitations = other.channel_invitations().await.unwrap();
    assert_eq!((invitations[0].name.as_str(), invitations[0].by_name.as_deref()), ("crew", Some("anna")));
    assert_eq!(other.resolve_invitation("crew").await.unwrap(), channel);
    other.join_channel(channel).await.unwrap();
}

struct Crew {
    dir: tempfile::TempDir,
    channel: ChannelId,
    anna: Agent,
    ben: Agent,
    cleo: Agent,
}

/// Anna's channel, with Ben and Cleo, who have never heard of each other.
async fn crew() -> Crew {
    let dir = tempfile::tempdir().unwrap();
    let open = async |name| Agent::open(config(&dir, name)).await.unwrap();
    let (anna, ben, cleo) = (open("anna").await, open("ben").await, open("cleo").await);
    let channel = anna.create_channel("crew").await.unwrap();
    join(&anna, channel, &ben, "ben").await;
    has(&ben, channel, 2).await;
    join(&anna, channel, &cleo, "cleo").await;
    for agent in [&anna, &ben, &cleo] {
        has(agent, channel, 3).await;
    }
    Crew { dir, channel, anna, ben, cleo }
}

impl Crew {
    async fn end(self) {
        for agent in [self.anna, self.ben, self.cleo] {
            agent.shutdown().await.unwrap();
        }
    }
}

/// The next letter to a channel.
async fn hears(inbox: &mut Inbox, channel: ChannelId) -> Incoming {
    let letter = within(inbox.next()).await.unwrap();
    assert_eq!(letter.channel, Some(channel));
    letter
}

fn not_member<T: std::fmt::Debug>(answer: &Result<T, Error>) -> bool {
    matches!(answer, Err(Error::Peer(PeerError::Channel(ChannelError::NotMember))))
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_know_the_owner_alone_hear_each_other() {
    let crew = crew().await;
    let roles = |info: ChannelInfo| {
        info.members
            .into_iter()
            .map(|member| (member.agent, (member.name, member.role)))
            .collect::<std::collections::BTreeMap<_, _>>()
    };
    let known = info(&crew.ben, crew.channel).await.unwrap();
    assert_eq!((known.name.as_str(), known.owner, known.role), ("crew", crew.anna.id(), Role::Member));
    let known = roles(known);
    assert_eq!(known[&crew.anna.id()], (Some("anna".to_owned()), Role::Owner));
    assert_eq!(known[&crew.cleo.id()], (None, Role::Member));
    let peer = crew.ben.peers().await.unwrap().into_iter().find(|peer| peer.agent == crew.cleo.id()).unwrap();
    assert!(peer.fellow && !peer.allowed, "{peer:?}");

    let mut inboxes =
        [crew.anna.inbox().await.unwrap(), crew.ben.inbox().await.unwrap(), crew.cleo.inbox().await.unwrap()];
    let id = crew.ben.send_to_channel(crew.channel, Message::text("hello all")).await.unwrap();
    for inbox in [0, 2] {
        let letter = hears(&mut inboxes[inbox], crew.channel).await;
        assert_eq!((letter.id, letter.from, letter.payload.text().unwrap()), (id, crew.ben.id(), "hello all"));
    }
    let tally = told(&crew.ben, id).await;
    assert_eq!((tally.channel, tally.members.len(), tally.delivered()), (crew.channel, 2, 2));
    // The answer of one is heard by all, and says what it answers.
    let answer = crew.cleo.send_to_channel(crew.channel, Message::text("hello ben").reply_to(id)).await.unwrap();
    for inbox in [0, 1] {
        let letter = hears(&mut inboxes[inbox], crew.channel).await;
        assert_eq!((letter.id, letter.reply_to), (answer, Some(id)));
    }
    // A letter to one of them is no letter to the channel.
    let alone = crew.anna.send(crew.ben.id(), Message::text("between us")).await.unwrap();
    let letter = within(inboxes[1].next()).await.unwrap();
    assert_eq!((letter.id, letter.channel), (alone, None));
    assert!(crew.anna.tally(alone).await.unwrap().is_none());
    crew.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_away_is_told_later_and_the_tally_outlives_its_agent() {
    let mut crew = crew().await;
    crew.cleo.shutdown().await.unwrap();
    let id = crew.anna.send_to_channel(crew.channel, Message::text("who is here?")).await.unwrap();
    let mut bell = crew.anna.tallied().await.unwrap();
    while crew.anna.tally(id).await.unwrap().unwrap().delivered() == 0 {
        within(bell.changed()).await.unwrap();
    }
    crew.anna.shutdown().await.unwrap();
    crew.anna = Agent::open(config(&crew.dir, "anna")).await.unwrap();
    let tally = crew.anna.tally(id).await.unwrap().unwrap();
    let waits = |agent| tally.members.iter().any(|(member, told)| *member == agent && matches!(told, Told::Waiting));
    assert!(tally.delivered() == 1 && waits(crew.cleo.id()), "{tally:?}");
    crew.cleo = Agent::open(config(&crew.dir, "cleo")).await.unwrap();
    // She is where nobody knows, and it is she who looks for Anna.
    crew.cleo.add_peer(&crew.anna.invitation().await.unwrap(), None).await.unwrap();
    crew.anna.add_peer(&crew.cleo.invitation().await.unwrap(), None).await.unwrap();
    let mut inbox = crew.cleo.inbox().await.unwrap();
    assert_eq!(hears(&mut inbox, crew.channel).await.id, id);
    assert_eq!(told(&crew.anna, id).await.delivered(), 2);
    crew.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_taken_out_neither_speaks_nor_hears() {
    let crew = crew().await;
    crew.anna.remove_from_channel(crew.channel, crew.cleo.id()).await.unwrap();
    for agent in [&crew.anna, &crew.ben, &crew.cleo] {
        has(agent, crew.channel, 2).await;
    }
    assert_eq!(info(&crew.cleo, crew.channel).await.unwrap().role, Role::Gone);
    assert!(not_member(&crew.cleo.send_to_channel(crew.channel, Message::text("still here")).await));
    let id = crew.anna.send_to_channel(crew.channel, Message::text("she is gone")).await.unwrap();
    let tally = told(&crew.anna, id).await;
    assert_eq!((tally.members.len(), tally.delivered()), (1, 1));
    assert_eq!(tally.members[0].0, crew.ben.id());
    // Ben knew her by the channel alone: he takes nothing of her any more.
    let before = stranger(&crew.ben).await;
    crew.cleo.send(crew.ben.id(), Message::text("ben?")).await.unwrap();
    within(async {
        while stranger(&crew.ben).await == before {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert_eq!(crew.ben.letters(None, 10).await.unwrap().len(), 1);
    assert!(crew.cleo.letters(None, 10).await.unwrap().is_empty());
    crew.end().await;
}

/// How often somebody who is not known here was turned away.
async fn stranger(agent: &Agent) -> u64 {
    agent
        .status()
        .await
        .unwrap()
        .refused
        .into_iter()
        .find(|(name, _)| *name == "stranger")
        .map_or(0, |(_, count)| count)
}

#[tokio::test(flavor = "multi_thread")]
async fn members_leave_owners_hand_over_and_what_is_not_allowed_is_said() {
    let crew = crew().await;
    let (channel, anna, ben, cleo) = (crew.channel, &crew.anna, &crew.ben, &crew.cleo);
    let error = |answer: Result<(), Error>| match answer {
        Err(Error::Peer(PeerError::Channel(error))) => error,
        other => panic!("{other:?}"),
    };
    assert_eq!(error(ben.rename_channel(channel, "ours").await), ChannelError::NotAllowed);
    assert_eq!(error(ben.invite_to_channel(channel, anna.id()).await), ChannelError::NotAllowed);
    assert_eq!(error(anna.leave_channel(channel).await), ChannelError::OwnerStays);
    assert_eq!(error(ben.join_channel(channel).await), ChannelError::NotInvited);
    assert!(matches!(ben.resolve_invitation("crew").await, Err(Error::InChannel(_))));
    assert!(matches!(ben.resolve_invitation("board").await, Err(Error::NoInvitation(_))));
    let long = Message::bytes(ContentType::BYTES, vec![0; 50_000]);
    assert!(matches!(anna.send_to_channel(channel, long).await, Err(Error::NotForChannels)));
    assert!(matches!(anna.resolve_channel("crews").await, Err(Error::NoSuchChannel(_))));

    anna.set_channel_admin(channel, ben.id(), true).await.unwrap();
    let role = async |agent: &Agent| info(agent, channel).await.unwrap().role;
    let mut news = ben.channel_news().await.unwrap();
    while role(ben).await != Role::Admin {
        within(news.next()).await.unwrap();
    }
    // An admin proposes, and the owner does it.
    ben.rename_channel(channel, "ours").await.unwrap();
    let mut heard = cleo.channel_news().await.unwrap();
    while info(cleo, channel).await.unwrap().name != "ours" {
        within(heard.next()).await.unwrap();
    }
    assert_eq!(cleo.resolve_channel("ours").await.unwrap(), channel);
    assert_eq!(error(ben.take_over_channel(channel).await), ChannelError::NotOffered);
    anna.hand_over_channel(channel, ben.id()).await.unwrap();
    while info(ben, channel).await.unwrap().heir != Some(ben.id()) {
        within(news.next()).await.unwrap();
    }
    assert_eq!((role(anna).await, info(anna, channel).await.unwrap().heir), (Role::Owner, Some(ben.id())));
    ben.take_over_channel(channel).await.unwrap();
    while role(ben).await != Role::Owner {
        within(news.next()).await.unwrap();
    }
    anna.send_to_channel(channel, Message::text("farewell")).await.unwrap();
    anna.leave_channel(channel).await.unwrap();
    for agent in [anna, ben, cleo] {
        has(agent, channel, 2).await;
    }
    assert_eq!(role(anna).await, Role::Gone);
    let said = async || anna.said_to_channel(channel, None, 10).await.unwrap().len();
    assert_eq!(said().await, 1);
    assert!(not_member(&anna.leave_channel(channel).await));
    assert_eq!(error(cleo.forget_channel(channel).await), ChannelError::StillMember);
    anna.forget_channel(channel).await.unwrap();
    assert_eq!(said().await, 0);
    assert!(info(anna, channel).await.is_none() && not_member(&anna.forget_channel(channel).await));
    crew.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_fails_for_one_is_told_of_that_one() {
    let crew = crew().await;
    let (channel, anna, ben, cleo) = (crew.channel, &crew.anna, &crew.ben, &crew.cleo);
    cleo.shutdown().await.unwrap();
    let one = anna.send_to_channel(channel, Message::text("one")).await.unwrap();
    within(anna.delivered(ben.id(), one)).await.unwrap();
    assert!(anna.cancel(cleo.id(), one).await.unwrap());
    let tally = told(anna, one).await;
    let failed = |agent| tally.members.iter().any(|(member, told)| *member == agent && matches!(told, Told::Failed(_)));
    assert!(tally.delivered() == 1 && failed(cleo.id()), "{tally:?}");
    anna.delivered(ben.id(), one).await.unwrap();
    assert!(matches!(anna.delivered(cleo.id(), one).await, Err(Error::NotDelivered(_))));
    // Where it fails for both, both are listed.
    ben.shutdown().await.unwrap();
    let other = anna.send_to_channel(channel, Message::text("other")).await.unwrap();
    for agent in [ben.id(), cleo.id()] {
        assert!(anna.cancel(agent, other).await.unwrap());
    }
    assert_eq!(told(anna, other).await.delivered(), 0);
    let listed = anna.undelivered().await.unwrap();
    let failed = |id| listed.iter().filter(|letter| letter.id == id && letter.failed.is_some()).count();
    assert_eq!((failed(one), failed(other)), (1, 2), "{listed:?}");
    anna.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_eight_share_letters_that_are_sealed_once_and_one_of_them_stops_in_between() {
    let dir = tempfile::tempdir().unwrap();
    let open = async |name: &str| Agent::open(config(&dir, name)).await.unwrap();
    let owner = open("anna").await;
    let channel = owner.create_channel("crew").await.unwrap();
    let mut agents = vec![owner];
    for no in 1..10 {
        let agent = open(&format!("agent-{no}")).await;
        join(&agents[0], channel, &agent, &format!("agent-{no}")).await;
        has(&agent, channel, no + 1).await;
        agents.push(agent);
    }
    for agent in &agents {
        has(agent, channel, 10).await;
    }
    let mut letters = Vec::new();
    for (no, agent) in agents.iter().enumerate() {
        letters.push(agent.send_to_channel(channel, Message::text(format!("by {no}"))).await.unwrap());
    }
    for (agent, letter) in agents.iter().zip(&letters) {
        assert_eq!(told(agent, *letter).await.delivered(), 9);
    }
    let read = async |agent: &Agent| {
        let letters = agent.letters(None, 1_000).await.unwrap();
        letters.iter().map(|letter| (letter.id, letter.channel)).collect::<std::collections::BTreeMap<_, _>>()
    };
    for (no, agent) in agents.iter().enumerate() {
        let others = letters.iter().enumerate().filter(|(other, _)| *other != no).map(|(_, id)| (*id, Some(channel)));
        assert_eq!(read(agent).await, others.collect());
    }
    // One is away, and one is out.
    let (away, out) = (agents.pop().unwrap(), agents.pop().unwrap());
    away.shutdown().await.unwrap();
    agents[0].remove_from_channel(channel, out.id()).await.unwrap();
    for agent in agents.iter().chain([&out]) {
        has(agent, channel, 9).await;
    }
    let id = agents[1].send_to_channel(channel, Message::text("without you")).await.unwrap();
    let mut bell = agents[1].tallied().await.unwrap();
    let tally = loop {
        let tally = agents[1].tally(id).await.unwrap().unwrap();
        if tally.waiting() == 1 {
            break tally;
        }
        within(bell.changed()).await.unwrap();
    };
    assert_eq!((tally.members.len(), tally.delivered()), (8, 7), "{tally:?}");
    let waits = tokio::time::timeout(Duration::from_millis(100), agents[1].delivered(away.id(), id)).await;
    assert!(waits.is_err(), "nobody says that it is delivered");
    assert!(!read(&out).await.contains_key(&id));
    for agent in agents.iter().chain([&out]) {
        agent.shutdown().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_hears_nothing_more_whatever_the_owner_does() {
    let mut crew = crew().await;
    let (channel, anna) = (crew.channel, crew.anna.id());
    crew.anna.shutdown().await.unwrap();
    crew.cleo.leave_channel(channel).await.unwrap();
    assert_eq!(info(&crew.cleo, channel).await.unwrap().role, Role::Leaving);
    assert!(not_member(&crew.cleo.send_to_channel(channel, Message::text("still here")).await));
    let mut inbox = crew.cleo.inbox().await.unwrap();
    crew.ben.send_to_channel(channel, Message::text("between us")).await.unwrap();
    crew.cleo.forget_channel(channel).await.unwrap();
    let known: Vec<_> = crew.cleo.peers().await.unwrap().into_iter().map(|peer| peer.agent).collect();
    assert_eq!(known, [anna], "Ben was known by the channel alone");
    crew.anna = Agent::open(config(&crew.dir, "anna")).await.unwrap();
    for (agent, other) in [(&crew.anna, &crew.ben), (&crew.anna, &crew.cleo)] {
        other.add_peer(&agent.invitation().await.unwrap(), Some("anna")).await.unwrap();
    }
    has(&crew.anna, channel, 2).await;
    crew.anna.send(crew.cleo.id(), Message::text("farewell")).await.unwrap();
    let letter = within(inbox.next()).await.unwrap();
    assert_eq!((letter.payload.text().unwrap(), letter.channel), ("farewell", None));
    assert!(info(&crew.cleo, channel).await.is_none());
    crew.end().await;
}

/// contracts/channel.md C49: an owner that knows a member by the channel alone tells it that it is out, whenever they meet.
#[tokio::test(flavor = "multi_thread")]
async fn who_was_taken_out_while_it_was_away_is_told() {
    let mut crew = crew().await;
    let (channel, anna, ben, cleo) = (crew.channel, &crew.anna, &crew.ben, crew.cleo.id());
    let mut news = ben.channel_news().await.unwrap();
    anna.hand_over_channel(channel, ben.id()).await.unwrap();
    while info(ben, channel).await.unwrap().heir.is_none() {
        within(news.next()).await.unwrap();
    }
    ben.take_over_channel(channel).await.unwrap();
    let mut heard = crew.cleo.channel_news().await.unwrap();
    while info(&crew.cleo, channel).await.unwrap().owner != ben.id() {
        within(heard.next()).await.unwrap();
    }
    drop(heard);
    crew.cleo.shutdown().await.unwrap();
    ben.remove_from_channel(channel, cleo).await.unwrap();
    crew.cleo = Agent::open(config(&crew.dir, "cleo")).await.unwrap();
    let mut heard = crew.cleo.channel_news().await.unwrap();
    crew.cleo.send_to_channel(channel, Message::text("what did I miss?")).await.unwrap();
    while info(&crew.cleo, channel).await.unwrap().role != Role::Gone {
        within(heard.next()).await.unwrap();
    }
    crew.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_is_handed_what_was_said_before() {
    let dir = tempfile::tempdir().unwrap();
    let open = async |name| Agent::open(config(&dir, name)).await.unwrap();
    let (anna, ben, cleo) = (open("anna").await, open("ben").await, open("cleo").await);
    let channel = anna.create_channel("crew").await.unwrap();
    join(&anna, channel, &ben, "ben").await;
    has(&anna, channel, 2).await;
    has(&ben, channel, 2).await;
    let mut inbox = anna.inbox().await.unwrap();
    let mut said = Vec::new();
    for text in ["who has the map?", "I have it myself"] {
        let id = ben.send_to_channel(channel, Message::text(text)).await.unwrap();
        said.push((hears(&mut inbox, channel).await.no, id));
    }
    let beside = ben.send(anna.id(), Message::text("between us")).await.unwrap();
    let beside = {
        let letter = within(inbox.next()).await.unwrap();
        assert_eq!(letter.id, beside);
        letter.no
    };
    join(&anna, channel, &cleo, "cleo").await;
    has(&cleo, channel, 3).await;
    let mut news = cleo.inbox().await.unwrap();
    let numbers: Vec<u64> = said.iter().map(|(no, _)| *no).collect();
    let other = anna.hand_over_history(channel, cleo.id(), &[numbers[0], beside], &[]).await;
    assert!(matches!(other, Err(Error::NoHistory(no)) if no == beside));
    let many = anna.hand_over_history(channel, cleo.id(), &[0; 256], &[0]).await;
    assert!(matches!(many, Err(Error::TooMuchHistory)));
    let ids = anna.hand_over_history(channel, cleo.id(), &numbers, &[]).await.unwrap().letters;
    for (at, text) in ["who has the map?", "I have it myself"].into_iter().enumerate() {
        let letter = within(news.next()).await.unwrap();
        assert_eq!((letter.id, letter.from, letter.channel), (ids[at], anna.id(), None));
        let earlier = letter.handed_over.unwrap();
        assert_eq!((earlier.channel, earlier.author, earlier.id), (channel, ben.id(), said[at].1));
        assert_eq!(letter.payload.text().unwrap(), text);
        within(anna.delivered(cleo.id(), ids[at])).await.unwrap();
    }
    // Nothing goes twice unless that is asked for.
    let twice = anna.hand_over_history(channel, cleo.id(), &numbers, &[]).await.unwrap();
    assert_eq!((twice.letters.len(), twice.before), (0, 2));
    let other = anna.hand_over_history(channel, ben.id(), &numbers, &[]).await.unwrap();
    assert_eq!((other.letters.len(), other.before), (2, 0), "another has it not");
    let again = anna.hand_over_history_again(channel, cleo.id(), &numbers[..1], &[]).await.unwrap();
    assert_eq!((again.letters.len(), again.before), (1, 0));
    assert_eq!(within(news.next()).await.unwrap().id, again.letters[0]);
    assert!(cleo.letters(None, 100).await.unwrap().len() == 3);
    for agent in [anna, ben, cleo] {
        agent.shutdown().await.unwrap();
    }
}

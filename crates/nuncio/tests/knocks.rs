//! Agents that nobody has added, and that would be let in (contracts/call.md section 7).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use nuncio::{Agent, AgentId, Config, Error, Invitation, Knocked, Message, Scope};

async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), what).await.expect("it takes too long")
}

async fn open(dir: &Path, name: &str) -> Agent {
    let config = Config::new(dir.join(name)).listen(([127, 0, 0, 1], 0).into()).letters_without_token();
    Agent::open(if name == "house" { config.hear_knocks() } else { config }).await.unwrap()
}

fn scope(text: &str) -> Scope {
    Scope::parse(text).unwrap()
}

/// A house, and its line, which lets in for `files` and `tools.read` as often as said.
async fn house(dir: &Path, times: u32, life: Duration) -> (Agent, Invitation) {
    let house = open(dir, "house").await;
    let service = Some("files".parse().unwrap());
    let line = house.invite_for(service, scope("tools.read"), life, times).await.unwrap();
    // As it is pasted.
    (house, line.to_string().parse().unwrap())
}

const DAY: Duration = Duration::from_secs(86_400);

async fn ask(agent: &Agent, line: &Invitation, wants: &str) -> AgentId {
    agent.knock(line, None, Some("files".parse().unwrap()), scope(wants), None).await.unwrap()
}

/// The knocks, once there are so many.
async fn heard(house: &Agent, many: usize) -> Vec<Knocked> {
    let mut bell = house.knock_bell().await.unwrap();
    within(async {
        loop {
            let knocks = house.knocks().await.unwrap();
            if knocks.len() == many {
                return knocks;
            }
            bell.changed().await.unwrap();
        }
    })
    .await
}

async fn stop(agents: &[&Agent]) {
    for agent in agents {
        agent.shutdown().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_the_line_is_let_in_and_its_letters_come() {
    let dir = tempfile::tempdir().unwrap();
    let (house, line) = house(dir.path(), 1, DAY).await;
    let guest = open(dir.path(), "guest").await;
    let to = ask(&guest, &line, "tools.write").await;
    guest.send(to, Message::text("hello")).await.unwrap();
    let knocks = heard(&house, 1).await;
    // For what the line means, and not for what was asked.
    let meant = knocks[0].let_in.clone().unwrap();
    assert_eq!((meant.service.unwrap().as_str(), meant.scope), ("files", scope("tools.read")));
    // It is kept until whoever serves has taken note, and let in then.
    house.shutdown().await.unwrap();
    let house = open(dir.path(), "house").await;
    assert!(house.knocks().await.unwrap()[0].let_in.is_some() && house.peers().await.unwrap().is_empty());
    assert!(house.admit(guest.id()).await.unwrap() && !house.admit(guest.id()).await.unwrap());
    let letter = within(house.inbox().await.unwrap().next()).await.unwrap();
    assert_eq!((letter.from, letter.payload.text().unwrap()), (guest.id(), "hello"));
    assert_eq!(house.knocks().await.unwrap(), []);
    stop(&[&house, &guest]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_is_good_as_often_as_it_says() {
    let dir = tempfile::tempdir().unwrap();
    let (house, line) = house(dir.path(), 2, DAY).await;
    let (first, second) = (open(dir.path(), "first").await, open(dir.path(), "second").await);
    let third = open(dir.path(), "third").await;
    ask(&first, &line, "").await;
    assert!(heard(&house, 1).await[0].let_in.is_some());
    house.admit(first.id()).await.unwrap();
    // Its knock comes again in the session, and uses nothing.
    within(first.delivered(house.id(), first.send(house.id(), Message::text("in")).await.unwrap())).await.unwrap();
    ask(&second, &line, "tools.read").await;
    let knocks = heard(&house, 1).await;
    assert!(knocks[0].by == second.id() && knocks[0].let_in.is_some());
    house.admit(second.id()).await.unwrap();
    ask(&third, &line, "tools.read").await;
    let knocks = heard(&house, 1).await;
    assert_eq!((knocks[0].by, knocks[0].let_in.clone()), (third.id(), None));
    assert!(!house.peers().await.unwrap().iter().any(|peer| peer.agent == third.id()));
    stop(&[&house, &first, &second, &third]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_come_at_once_with_one_line_one_is_let_in() {
    let dir = tempfile::tempdir().unwrap();
    let (house, line) = house(dir.path(), 1, DAY).await;
    let mut guests = Vec::new();
    for number in 0..8 {
        guests.push(open(dir.path(), &format!("guest{number}")).await);
    }
    for guest in &guests {
        ask(guest, &line, "tools.read").await;
    }
    let heard = heard(&house, guests.len()).await;
    assert_eq!(heard.iter().filter(|knock| knock.let_in.is_some()).count(), 1, "{heard:?}");
    assert_eq!(house.lines().await.unwrap(), []);
    guests.push(house);
    stop(&guests.iter().collect::<Vec<_>>()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_was_revoked_lets_nobody_in() {
    let dir = tempfile::tempdir().unwrap();
    let (house, line) = house(dir.path(), 3, DAY).await;
    let other = house.invite_for(None, scope("tools.read"), DAY, 2).await.unwrap();
    let lines = house.lines().await.unwrap();
    assert_eq!(lines.iter().map(|line| line.left).sum::<u32>(), 5);
    let revoked = lines.iter().find(|line| line.left == 3).unwrap().id;
    assert!(house.revoke_line(revoked).await.unwrap() && !house.revoke_line(revoked).await.unwrap());
    house.shutdown().await.unwrap();
    let house = open(dir.path(), "house").await;
    assert_eq!(house.lines().await.unwrap().iter().map(|line| line.left).collect::<Vec<_>>(), [2]);
    let (guest, friend) = (open(dir.path(), "guest").await, open(dir.path(), "friend").await);
    // Where it listens now the old line does not say.
    let line = Invitation { endpoints: house.invitation().await.unwrap().endpoints, ..line };
    let other = Invitation { endpoints: line.endpoints.clone(), ..other };
    ask(&guest, &line, "tools.read").await;
    ask(&friend, &other, "tools.read").await;
    for knock in heard(&house, 2).await {
        assert_eq!(knock.let_in.is_some(), knock.by == friend.id());
    }
    stop(&[&house, &guest, &friend]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_is_good_for_a_while() {
    let dir = tempfile::tempdir().unwrap();
    let (house, line) = house(dir.path(), 5, Duration::ZERO).await;
    let guest = open(dir.path(), "guest").await;
    ask(&guest, &line, "tools.read").await;
    assert_eq!(heard(&house, 1).await[0].let_in, None);
    stop(&[&house, &guest]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_lets_in_who_has_no_line() {
    let dir = tempfile::tempdir().unwrap();
    let (house, line) = house(dir.path(), 1, DAY).await;
    let line = Invitation { knock: None, ..line };
    let guest = open(dir.path(), "guest").await;
    let to = ask(&guest, &line, "tools.read").await;
    let id = guest.send(to, Message::text("hello")).await.unwrap();
    let knocks = heard(&house, 1).await;
    assert_eq!((knocks[0].by, knocks[0].let_in.clone()), (guest.id(), None));
    // It is kept, and nothing of it is taken before.
    house.shutdown().await.unwrap();
    let house = open(dir.path(), "house").await;
    let kept = house.knocks().await.unwrap();
    assert_eq!((kept.len(), kept[0].by, &kept[0].scope), (1, guest.id(), &scope("tools.read")));
    assert_eq!(house.letters(None, 9).await.unwrap().len(), 0);
    assert!(house.let_in(guest.id(), Some("guest")).await.unwrap());
    let letter = within(house.inbox().await.unwrap().next()).await.unwrap();
    assert_eq!((letter.id, letter.from), (id, guest.id()));
    assert!(!house.let_in(guest.id(), None).await.unwrap());
    stop(&[&house, &guest]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_declined_is_not_heard_again() {
    let dir = tempfile::tempdir().unwrap();
    let (house, line) = house(dir.path(), 1, DAY).await;
    let guest = open(dir.path(), "guest").await;
    let to = ask(&guest, &Invitation { knock: None, ..line.clone() }, "tools.read").await;
    heard(&house, 1).await;
    assert!(house.decline_knock(guest.id()).await.unwrap());
    assert_eq!(house.knocks().await.unwrap(), []);
    ask(&guest, &Invitation { knock: None, ..line.clone() }, "tools.read").await;
    let late = guest.send(to, Message::text("hello")).await.unwrap();
    let waits = tokio::time::timeout(Duration::from_secs(3), guest.delivered(to, late)).await;
    assert!(waits.is_err() && house.knocks().await.unwrap().is_empty());
    // A line counts more than what was said before.
    ask(&guest, &line, "").await;
    assert!(heard(&house, 1).await[0].let_in.is_some());
    stop(&[&house, &guest]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_hears_nobody_keeps_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let shut = open(dir.path(), "shut").await;
    let guest = open(dir.path(), "guest").await;
    let to = ask(&guest, &shut.invitation().await.unwrap(), "tools.read").await;
    let letter = guest.send(to, Message::text("hello")).await.unwrap();
    let waits = tokio::time::timeout(Duration::from_secs(3), guest.delivered(to, letter)).await;
    assert!(waits.is_err());
    shut.hear_knocks(true).await.unwrap();
    assert_eq!(shut.knocks().await.unwrap(), []);
    assert!(matches!(
        guest.knock(&guest.invitation().await.unwrap(), None, None, scope(""), None).await,
        Err(Error::Myself(_))
    ));
    stop(&[&shut, &guest]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_agent_uses_a_line_once() {
    let dir = tempfile::tempdir().unwrap();
    let (house, line) = house(dir.path(), 2, DAY).await;
    let (first, second) = (open(dir.path(), "first").await, open(dir.path(), "second").await);
    let to = ask(&first, &line, "").await;
    heard(&house, 1).await;
    assert!(house.admit(first.id()).await.unwrap());
    let letter = first.send(to, Message::text("hello")).await.unwrap();
    within(first.delivered(to, letter)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    ask(&second, &line, "tools.read").await;
    let knocks = heard(&house, 1).await;
    assert!(knocks.iter().all(|knock| knock.let_in.is_some()), "{knocks:?}");
    stop(&[&house, &first, &second]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_removed_is_heard_again_and_let_in_by_a_new_line_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (house, line) = house(dir.path(), 9, DAY).await;
    let guest = open(dir.path(), "guest").await;
    let to = ask(&guest, &line, "tools.read").await;
    heard(&house, 1).await;
    assert!(house.admit(guest.id()).await.unwrap());
    within(guest.delivered(to, guest.send(to, Message::text("in")).await.unwrap())).await.unwrap();
    // Asking for something else, it uses the line no second time.
    ask(&guest, &line, "tools.write").await;
    assert_eq!(heard(&house, 1).await[0].let_in, None);
    assert!(house.let_in(guest.id(), Some("guest")).await.unwrap());
    ask(&guest, &line, "tools.other").await;
    heard(&house, 1).await;
    assert!(house.let_in(guest.id(), None).await.unwrap());
    assert_eq!(house.peers().await.unwrap()[0].name.as_deref(), Some("guest"), "its name stays");
    house.remove_peer(guest.id()).await.unwrap();
    // What it has used lets it in no more; a line that it has not does.
    ask(&guest, &line, "tools.other").await;
    assert_eq!(heard(&house, 1).await[0].let_in, None);
    house.shutdown().await.unwrap();
    let house = open(dir.path(), "house").await;
    let line = house.invite_for(None, scope("tools.read"), DAY, 1).await.unwrap();
    ask(&guest, &line, "tools.other").await;
    within(async {
        while house.knocks().await.unwrap()[0].let_in.is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    stop(&[&house, &guest]).await;
}

// Of two lines by turns, and where the knock itself is forgotten.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_uses_each_line_once_whatever_it_has_used_since() {
    let dir = tempfile::tempdir().unwrap();
    let (house, line) = house(dir.path(), 3, DAY).await;
    let other = house.invite_for(Some("files".parse().unwrap()), scope("tools.read"), DAY, 3).await.unwrap();
    let guest = open(dir.path(), "guest").await;
    ask(&guest, &line, "tools.read").await;
    heard(&house, 1).await;
    let left = async |house: &Agent| {
        let mut left: Vec<_> = house.lines().await.unwrap().iter().map(|line| line.left).collect();
        left.sort_unstable();
        left
    };
    assert_eq!(left(&house).await, [2, 3]);
    assert!(house.admit(guest.id()).await.unwrap());
    within(guest.delivered(house.id(), guest.send(house.id(), Message::text("in")).await.unwrap())).await.unwrap();
    ask(&guest, &other, "tools.write").await;
    within(async {
        while left(&house).await != [2, 2] {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    // Through a start, too.
    house.shutdown().await.unwrap();
    let house = open(dir.path(), "house").await;
    let endpoints = house.invitation().await.unwrap().endpoints;
    assert!(house.admit(guest.id()).await.unwrap());
    house.remove_peer(guest.id()).await.unwrap();
    for (line, wants) in [(&line, "tools.a"), (&other, "tools.b"), (&line, "tools.c")] {
        let line = Invitation { endpoints: endpoints.clone(), ..line.clone() };
        ask(&guest, &line, wants).await;
        within(async {
            loop {
                let knocks = house.knocks().await.unwrap();
                assert!(knocks.iter().all(|knock| knock.let_in.is_none()), "{knocks:?}");
                if knocks.iter().any(|knock| knock.scope == scope(wants)) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }
    assert_eq!(left(&house).await, [2, 2]);
    stop(&[&house, &guest]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_added_by_hand_waits_no_more_if_it_asks_for_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (house, line) = house(dir.path(), 1, DAY).await;
    let line = Invitation { knock: None, ..line };
    let (idle, wanting) = (open(dir.path(), "idle").await, open(dir.path(), "wanting").await);
    ask(&idle, &line, "").await;
    ask(&wanting, &line, "tools.read").await;
    heard(&house, 2).await;
    for guest in [&idle, &wanting] {
        house.add_peer(&guest.invitation().await.unwrap(), None).await.unwrap();
    }
    assert_eq!(heard(&house, 1).await[0].by, wanting.id());
    stop(&[&house, &idle, &wanting]).await;
}

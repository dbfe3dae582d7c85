//! Letters to channels that act in transactions, over real QUIC and with the domain's token service; channels that audit.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, dead_code)]

use domain::{Domain, Member, begin, scope};
use members::{has, told, within};
use nuncio::{
    AuditPolicy, Auditing, ChannelId, Error, Happened, LetterId, Message, PeerNames, Receiver, Tally, Told, WhenFull,
};

#[path = "support/domain.rs"]
mod domain;
#[path = "support/members.rs"]
mod members;

const AUDITED: AuditPolicy = AuditPolicy {
    auditing: Auditing::Offered,
    peer_names: PeerNames::Keys,
    room: 10_000,
    when_full: WhenFull::Stop,
    heartbeat: 0,
};

/// All but the first, which owns the channel, join.
async fn fill(channel: ChannelId, members: &[Member]) {
    let owner = &members[0].agent;
    for (at, member) in members.iter().enumerate().skip(1) {
        let mut news = member.agent.channel_news().await.unwrap();
        owner.invite_to_channel(channel, member.agent.id()).await.unwrap();
        while !matches!(within(news.next()).await.unwrap().happened, Happened::Invited { .. }) {}
        member.agent.join_channel(channel).await.unwrap();
        for one in members.iter().take(at + 1) {
            has(&one.agent, channel, at + 1).await;
        }
    }
}

fn failed_with(tally: &Tally, code: &str) -> bool {
    let is_it = |told: &Told| matches!(told, Told::Failed(error) if error.letter_code() == Some(code));
    !tally.members.is_empty() && tally.members.iter().all(|(_, told)| is_it(told))
}

/// In a channel that audits letters are sealed once, however few its members are; in another this small they go by sessions.
#[tokio::test(flavor = "multi_thread")]
async fn a_letter_to_a_channel_acts_for_all_its_members_and_nobody_goes_on_with_it() {
    for audits in [false, true] {
        let policy = if audits { AUDITED } else { AuditPolicy::default() };
        let (_domain, mut members) = Domain::with("EdDSA", &["gateway", "planner", "booking"], policy).await;
        let gateway = members[0].agent.clone();
        let channel = match audits {
            true => gateway.create_audited_channel("trip").await.unwrap(),
            false => gateway.create_channel("trip").await.unwrap(),
        };
        fill(channel, &members).await;
        assert_eq!(gateway.channels().await.unwrap()[0].audits, audits);
        let begun = begin(&members[0], "travel.book travel.pay").await;
        let bound =
            Message::text("to Rome").under(&begun).narrowed(scope("travel.book")).bound_to_letter().with_proof();
        let sent = gateway.send_to_channel(channel, bound).await.unwrap();
        assert_eq!(told(&gateway, sent).await.delivered(), 2, "audits: {audits}");
        for at in [1, 2] {
            let letter = members[at].next().await;
            assert_eq!((letter.channel, letter.payload.text().unwrap()), (Some(channel), "to Rome"));
            assert!(letter.proof.is_some());
            let grant = letter.grant.expect("a grant");
            assert_eq!((grant.transaction(), grant.scope().to_string()), (begun.id(), "travel.book".to_owned()));
            assert_eq!(grant.receiver(), Receiver::Channel(channel));
            assert!(grant.is_of_this_letter());
            // Neither to an agent nor to the channel.
            let (one, other) = (&members[at].agent, members[3 - at].agent.id());
            let on = one.send(other, Message::text("on").under(&grant.go_on())).await;
            assert!(matches!(&on, Err(Error::TokenRefused { code, .. }) if code == "invalid_grant"), "{on:?}");
            let on = one.send_to_channel(channel, Message::text("on").under(&grant.go_on())).await;
            assert!(matches!(&on, Err(Error::TokenRefused { code, .. }) if code == "invalid_grant"), "{on:?}");
            // As it stands it is the gateway's.
            let stolen = Message::text("stolen").with_raw_token(grant.token());
            let stolen = one.send_to_channel(channel, stolen).await.unwrap();
            assert!(failed_with(&told(one, stolen).await, "token_sender"), "audits: {audits}");
        }
        let bare = gateway.send_to_channel(channel, Message::text("bare")).await.unwrap();
        assert!(failed_with(&told(&gateway, bare).await, "token_missing"), "audits: {audits}");
        let last = gateway.send_to_channel(channel, Message::text("still here").under(&begun)).await.unwrap();
        assert_eq!(told(&gateway, last).await.delivered(), 2);
        assert_eq!(members[1].next().await.payload.text().unwrap(), "still here");
        if audits {
            opens(&members, sent).await;
        }
        for member in members {
            member.agent.shutdown().await.unwrap();
        }
    }
}

/// Author and readers show the same of a letter, and what was refused is opened by its author alone.
async fn opens(members: &[Member], letter: LetterId) {
    let author = members[0].agent.id();
    let mut commitments = Vec::new();
    for member in members {
        let opening = member.agent.opening(author, letter, b"to Rome".to_vec(), false).await.unwrap();
        commitments.push(opening.commitment());
    }
    assert!(commitments.iter().all(|one| *one == commitments[0]));
}

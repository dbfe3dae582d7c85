//! Agents and the token service of their domain, over QUIC: transactions begun, handed on, refused, renewed, revoked.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::time::Duration;

use domain::{Domain, Member, PATIENCE, begin, said, scope};
use nuncio::{Error, Message, Subject};

#[path = "support/domain.rs"]
mod domain;

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_goes_from_agent_to_agent_and_narrows() {
    let (_domain, members) = Domain::new(&["gateway", "planner", "booking", "payment"]).await;
    let [gateway, mut planner, mut booking, payment] = <[Member; 4]>::try_from(members).ok().unwrap();
    let details = serde_json::json!({ "trip": "4711", "dropped": true });
    let begun = gateway
        .agent
        .begin(Subject::SelfSigned("user:anna".to_owned()), &scope("travel.book travel.pay"), Some(&details))
        .await
        .unwrap();
    let trip = Message::text("to Rome").under(&begun);
    gateway.outcome(planner.agent.id(), trip).await.unwrap();

    let letter = planner.next().await;
    let grant = letter.grant.expect("a grant");
    assert_eq!((grant.principal(), grant.transaction()), ("user:anna", begun.id()));
    assert_eq!(grant.details(), Some(serde_json::json!({ "trip": "4711" })));
    assert_eq!(grant.scope().to_string(), "travel.book travel.pay");

    let book = Message::text("a seat").under(&grant.go_on()).narrowed(scope("travel.book")).bound_to_letter();
    planner.outcome(booking.agent.id(), book).await.unwrap();
    let letter = booking.next().await;
    let grant = letter.grant.expect("a grant");
    assert_eq!(grant.scope().to_string(), "travel.book");
    assert!(grant.is_of_this_letter());
    assert_eq!(grant.chain().last().map(String::as_str), Some("planner"));
    assert!(grant.hops_left() < begun.hops_left());

    // What was narrowed away is gone for good.
    let wider = Message::text("pay").under(&grant.go_on()).narrowed(scope("travel.pay"));
    let refused = booking.agent.send(payment.agent.id(), wider).await;
    assert!(matches!(&refused, Err(Error::TokenRefused { code, .. }) if code == "invalid_scope"), "{refused:?}");
    // Nor does a transaction go back to where it came from.
    let back = booking.agent.send(gateway.agent.id(), Message::text("again").under(&grant.go_on())).await;
    assert!(matches!(&back, Err(Error::TokenRefused { code, .. }) if code == "invalid_grant"), "{back:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_or_with_anothers_nothing_is_delivered() {
    let (_domain, members) = Domain::new(&["gateway", "planner", "thief"]).await;
    let [gateway, mut planner, thief] = <[Member; 3]>::try_from(members).ok().unwrap();
    assert!(
        said(gateway.outcome(planner.agent.id(), Message::text("bare")).await).contains("wants a transaction token")
    );

    let begun = begin(&gateway, "travel.book").await;
    gateway.outcome(planner.agent.id(), Message::text("mine").under(&begun)).await.unwrap();
    let stolen = planner.next().await.grant.unwrap();
    // The token service hands nothing on to whom the token does not name.
    let stolen = nuncio::Transaction::from_token(stolen.token()).unwrap();
    let theft = thief.agent.send(planner.agent.id(), Message::text("stolen").under(&stolen)).await;
    assert!(matches!(&theft, Err(Error::TokenRefused { code, .. }) if code == "invalid_grant"), "{theft:?}");
    // An answer that is awaited needs none.
    let to = planner.agent.id();
    let answering = async {
        let question = planner.next().await;
        planner.agent.send(question.from, Message::text("noon").reply_to(question.id)).await.unwrap();
    };
    let asking = gateway.agent.request(to, Message::text("when?").under(&begun), PATIENCE);
    let (answer, ()) = tokio::join!(asking, answering);
    assert_eq!(answer.unwrap().payload.text().unwrap(), "noon");

    // One that comes after the patience of whoever asked does.
    let asked = Message::text("and now?").under(&begun);
    let given_up = gateway.agent.request(to, asked, Duration::from_millis(100)).await;
    assert!(matches!(given_up, Err(Error::TimedOut)), "{given_up:?}");
    let question = planner.next().await;
    let late = planner.outcome(question.from, Message::text("midnight").reply_to(question.id)).await;
    assert!(said(late).contains("wants a transaction token"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_service_that_is_gone_stops_new_tokens_alone() {
    let (mut domain, members) = Domain::new(&["gateway", "planner"]).await;
    let [gateway, mut planner] = <[Member; 2]>::try_from(members).ok().unwrap();
    let begun = begin(&gateway, "travel.book").await;
    gateway.outcome(planner.agent.id(), Message::text("one").under(&begun)).await.unwrap();
    let quic = domain.invitation.endpoints[0].clone();
    domain.stop().await;

    // The token for this receiver is there already, and its key is known.
    gateway.outcome(planner.agent.id(), Message::text("two").under(&begun)).await.unwrap();
    let bound = || Message::text("three").under(&begun).bound_to_letter();
    let refused = gateway.agent.send(planner.agent.id(), bound()).await;
    assert!(matches!(refused, Err(Error::Node(_))), "{refused:?}");

    let waiting = gateway.outcome(planner.agent.id(), bound().wait_for_token(PATIENCE));
    let back = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        domain.start(&quic).await;
    };
    let (waited, ()) = tokio::join!(waiting, back);
    waited.unwrap();
    for expected in ["one", "two", "three"] {
        assert_eq!(planner.next().await.payload.text().unwrap(), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_known_after_a_restart_without_the_node() {
    let (mut domain, members) = Domain::new(&["gateway", "planner"]).await;
    let [gateway, mut planner] = <[Member; 2]>::try_from(members).ok().unwrap();
    let begun = begin(&gateway, "travel.book").await;
    gateway.outcome(planner.agent.id(), Message::text("one").under(&begun)).await.unwrap();
    planner.next().await;
    let address = planner.agent.invitation().await.unwrap();
    planner.agent.shutdown().await.unwrap();
    domain.stop().await;
    planner = domain.member("planner").await;
    gateway.agent.add_peer(&planner.agent.invitation().await.unwrap(), None).await.unwrap();
    assert_ne!(address.endpoints, planner.agent.invitation().await.unwrap().endpoints);
    gateway.outcome(planner.agent.id(), Message::text("two").under(&begun)).await.unwrap();
    let letters: Vec<_> = planner.agent.letters(None, 10).await.unwrap();
    assert!(letters.iter().all(|letter| letter.grant.is_some()), "a grant outlives the restart: {letters:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_transaction_is_over_everywhere() {
    let (domain, members) = Domain::new(&["gateway", "planner", "booking"]).await;
    let [gateway, mut planner, booking] = <[Member; 3]>::try_from(members).ok().unwrap();
    let begun = begin(&gateway, "travel.book").await;
    gateway.outcome(planner.agent.id(), Message::text("one").under(&begun)).await.unwrap();
    let grant = planner.next().await.grant.unwrap();
    planner.outcome(booking.agent.id(), Message::text("two").under(&grant.go_on())).await.unwrap();

    gateway.agent.revoke(&begun).await.unwrap();
    let bound = Message::text("three").under(&grant.go_on()).bound_to_letter();
    let refused = planner.agent.send(booking.agent.id(), bound).await;
    assert!(matches!(&refused, Err(Error::TokenRefused { code, .. }) if code == "invalid_grant"), "{refused:?}");
    // The token that was handed on before is refused by its receiver once it has heard.
    let mut heard = false;
    for _ in 0..40 {
        match planner.outcome(booking.agent.id(), Message::text("four").under(&grant.go_on())).await {
            Ok(()) => tokio::time::sleep(Duration::from_millis(500)).await,
            Err(error) => {
                assert!(error.to_string().contains("revoked"), "{error}");
                heard = true;
                break;
            }
        }
    }
    assert!(heard, "the receiver never heard of the revocation");
    drop(domain);
}

/// Who revokes does not wait for its next look at the list: the node is gone before that.
/// The letter comes with the first connection, at once; what it acts in was revoked while its receiver did not run.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_revoked_while_an_agent_did_not_run_is_heard_before_a_letter_is_taken() {
    let (domain, members) = Domain::new(&["gateway", "planner"]).await;
    let [gateway, planner] = <[Member; 2]>::try_from(members).ok().unwrap();
    let to = planner.agent.id();
    let known = begin(&gateway, "travel.book").await;
    gateway.outcome(to, Message::text("its keys are known").under(&known)).await.unwrap();
    let address = gateway.agent.status().await.unwrap().listening.unwrap();
    let from = gateway.agent.id();
    gateway.agent.shutdown().await.unwrap();
    drop(gateway);
    // A letter of its own, so that it dials as soon as it runs.
    planner.agent.send(from, Message::text("hello")).await.unwrap();
    planner.agent.shutdown().await.unwrap();
    drop(planner);

    let gateway = domain.member_at("gateway", &address).await;
    let begun = begin(&gateway, "travel.book").await;
    let id = gateway.agent.send(to, Message::text("pay twice").under(&begun)).await.unwrap();
    gateway.agent.revoke(&begun).await.unwrap();
    let planner = domain.member("planner").await;
    let outcome = tokio::time::timeout(PATIENCE, gateway.agent.delivered(to, id)).await.expect("an end in time");
    assert!(said(outcome).contains("revoked"));
    let taken = planner.agent.letters(None, 10).await.unwrap();
    assert_eq!(taken.len(), 1, "the first one alone: {taken:?}");
}

/// The same where the node does not answer, or not even its name is known: peers wait, and not for ever.
#[tokio::test(flavor = "multi_thread")]
async fn at_a_start_peers_are_not_heard_until_the_node_was_asked() {
    let (mut domain, members) = Domain::new(&["gateway", "planner"]).await;
    let [gateway, mut planner] = <[Member; 2]>::try_from(members).ok().unwrap();
    let to = planner.agent.id();
    let begun = begin(&gateway, "travel.book").await;
    gateway.outcome(to, Message::text("its keys are known").under(&begun)).await.unwrap();
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    for node in [silent.local_addr().unwrap().to_string(), "nobody.invalid:7431".to_owned()] {
        let address = planner.agent.status().await.unwrap().listening.unwrap();
        planner.agent.shutdown().await.unwrap();
        drop(planner);
        domain.invitation.endpoints = vec![node];
        planner = domain.member_at("planner", &address).await;
        gateway.agent.add_peer(&planner.agent.invitation().await.unwrap(), None).await.unwrap();
        let id = gateway.agent.send(to, Message::text("was it revoked?").under(&begun)).await.unwrap();
        let soon = tokio::time::timeout(Duration::from_secs(1), gateway.agent.delivered(to, id)).await;
        assert!(soon.is_err(), "{soon:?}");
        tokio::time::timeout(PATIENCE, gateway.agent.delivered(to, id)).await.expect("an end in time").unwrap();
    }
}

/// Whom the policy does not name is told what is missing, not to wait.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_the_policy_does_not_name_is_told_so() {
    let (domain, members) = Domain::new(&["gateway"]).await;
    nuncio::init(&nuncio::Config::new(domain.dir.path().join("nobody"))).unwrap();
    let nobody = domain.member("nobody").await;
    let refused = nobody.agent.begin(Subject::SelfSigned("user:anna".to_owned()), &scope("travel.book"), None).await;
    let Err(Error::TokenRefused { code, reason }) = refused else { panic!("{refused:?}") };
    assert!(code == "unauthorized_client" && reason.contains("policy.toml"), "{reason}");
    drop(members);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_revokes_a_transaction_refuses_it_from_then_on() {
    let (mut domain, members) = Domain::new(&["operator", "planner"]).await;
    let [mut operator, planner] = <[Member; 2]>::try_from(members).ok().unwrap();
    let begun = begin(&planner, "travel.book").await;
    planner.outcome(operator.agent.id(), Message::text("one").under(&begun)).await.unwrap();
    let grant = operator.next().await.grant.unwrap();
    // Its first look, at its start, is over.
    tokio::time::sleep(Duration::from_secs(3)).await;

    operator.agent.revoke(&grant.go_on()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    domain.stop().await;
    // The planner has the token for this letter already.
    let refused = planner.outcome(operator.agent.id(), Message::text("two").under(&begun)).await;
    assert!(said(refused).contains("revoked"));
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_every_algorithm_are_verified() {
    for algorithm in ["ES256", "RS256"] {
        let (_domain, members) = Domain::signing(algorithm, &["gateway", "planner"]).await;
        let [gateway, mut planner] = <[Member; 2]>::try_from(members).ok().unwrap();
        let begun = begin(&gateway, "travel.book").await;
        gateway.outcome(planner.agent.id(), Message::text(algorithm).under(&begun)).await.unwrap();
        assert_eq!(planner.next().await.payload.text().unwrap(), algorithm);
    }
}

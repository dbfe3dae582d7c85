//! A line between two agents: what is kept of whoever is gone.

use std::sync::Arc;
use std::time::Duration;

use nuncio::{Agent, CallNews, Config};

use super::*;

async fn agent(home: &std::path::Path) -> Agent {
    Agent::open(Config::new(home).listen(([127, 0, 0, 1], 0).into()).serve_calls()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_no_program_follows_ends_and_its_service_is_told() {
    let homes = tempfile::tempdir().unwrap();
    let (near, far) = (agent(&homes.path().join("near")).await, agent(&homes.path().join("far")).await);
    near.add_peer(&far.invitation().await.unwrap(), None).await.unwrap();
    far.add_peer(&near.invitation().await.unwrap(), None).await.unwrap();
    let calling = Calling::new(near.clone());
    let line = AgentLine::new(Arc::clone(&calling), far.id(), "files".parse().unwrap(), Standing::default());
    let session = CallSessionId::from_bytes([7; 16]);
    let id = Agent::new_letter_id().unwrap();
    let (session, message) = (Some(session), Message::json(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#));
    line.say(Say { id, what: What::Request, session, reply_to: None, message, note: Vec::new(), under: None })
        .await
        .unwrap();
    let heard = line.listen(session, None).await.unwrap();

    let look = async |before| calling.end_of(near.opened_calls().await.unwrap(), before, Duration::ZERO).await;
    let followed = look(HashMap::new()).await;
    let followed = look(followed).await;
    assert_eq!((followed.len(), near.opened_calls().await.unwrap().len()), (1, 1), "a program follows it");
    drop(heard);
    let key = line.key(session);
    while calling.is_followed(&key) {
        tokio::task::yield_now().await;
    }
    let there = async {
        while calling.lanes().contains_key(&key) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), there).await.expect("nothing is kept of who is gone");
    look(HashMap::new()).await;
    assert_eq!(near.opened_calls().await.unwrap().len(), 1, "the time since a start counts, not the time before");
    look(followed).await;
    assert_eq!(near.opened_calls().await.unwrap(), []);
    let mut calls = far.calls().await.unwrap();
    let told = async {
        loop {
            if let CallNews::Came(came) = calls.next().await.unwrap()
                && came.place.what == What::End
            {
                return came.place.session;
            }
        }
    };
    assert_eq!(tokio::time::timeout(Duration::from_secs(30), told).await.unwrap(), session);
    near.shutdown().await.unwrap();
    far.shutdown().await.unwrap();
}

/// contracts/call.md section 4, -32041.
#[test]
fn what_came_and_cannot_be_read_was_delivered() {
    let (request, gone) = (Agent::new_letter_id().unwrap(), || Err("its sender has gone".to_owned()));
    let is_last = |what| match came(what, Some(request), gone()) {
        HeardWhat::Unread { request: of, last, .. } => (of == request).then_some(last),
        _ => None,
    };
    assert_eq!((is_last(What::Answer), is_last(What::Part)), (Some(true), Some(false)));
}

/// contracts/call.md section 4, -32041: a request to who was removed meanwhile may have been done.
#[tokio::test]
async fn what_was_asked_of_who_was_removed_is_not_told_as_not_done() {
    let is_unread = async |code| {
        let to = AgentId::from_bytes(nuncio_proto::crypto::SigningKey::from_seed(&[1; 32]).public()).unwrap();
        let (id, service) = (Agent::new_letter_id().unwrap(), "files".parse().unwrap());
        let asked = nuncio::Asked { to, id, service, session: None, note: Vec::new() };
        let heard = heard(1, CallNews::Failed { no: 1, asked, why: Error::NotDelivered(code) }).await;
        matches!(heard.what, HeardWhat::Unread { request, last: true, .. } if request == id)
    };
    assert!(is_unread(code::REMOVED).await && is_unread(code::UNHEARD).await && !is_unread(code::CANCELLED).await);
}

//! Calls that end without an answer, and what goes with a peer (contracts/call.md X13, X43).

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use super::*;

/// contracts/call.md section 4, -32041: no answer comes of what an agent had of whom it has removed.
#[tokio::test(flavor = "multi_thread")]
async fn who_was_removed_while_its_request_was_done_is_told_that_nobody_knows() {
    let mut two = Two::new().await;
    let id = two.say(What::Request, "begun").await;
    let begun = came(&two.server, &mut two.serving).await;
    assert!(two.server.begin_call(begun.letter.no, "tools/call").await.unwrap());
    two.acknowledged().await;
    two.server.remove_peer(two.asker.id()).await.unwrap();
    let (_, failed, _, why) = failed(&mut two.asking).await;
    assert_eq!((failed, why.letter_code()), (id, Some("removed")));
}

/// contracts/call.md X13: what went and was not acknowledged may be done all the same; what never went is not.
#[tokio::test(flavor = "multi_thread")]
async fn what_went_and_was_not_acknowledged_is_not_told_as_not_done() {
    let mut two = Two::new().await;
    two.server.shutdown().await.unwrap();
    let stuck = Arc::new(AtomicBool::new(false));
    let stands = Arc::clone(&stuck);
    let mut config = Config::new(two.dir.path().join("server")).listen(([127, 0, 0, 1], 0).into()).serve_calls();
    config.trace = Some(Trace::new(move |_| {
        while stands.load(SeqCst) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }));
    two.server = Agent::open(config).await.unwrap();
    two.serving = two.server.calls().await.unwrap();
    two.acquaint().await;
    two.say(What::Request, "first").await;
    let first = came(&two.server, &mut two.serving).await;
    assert!(two.answer(&first, "done", Outcome::Answered).await);
    let answer = came(&two.asker, &mut two.asking).await;
    two.asker.call_taken(answer.letter.no).await.unwrap();
    // From here on it reads, and writes nothing down.
    stuck.store(true, SeqCst);
    let ask = async |life: u64| {
        let id = Agent::new_letter_id().unwrap();
        let message = json("second").expires_in(Duration::from_millis(life));
        within(two.asker.say(two.server.id(), id, &place(What::Request), message, Vec::new())).await.unwrap();
        id
    };
    let (expires, cancelled) = (ask(1_000).await, ask(60_000).await);
    let (_, id, _, why) = failed(&mut two.asking).await;
    assert_eq!((id, why.letter_code()), (expires, Some("unheard")));
    assert!(two.asker.cancel(two.server.id(), cancelled).await.unwrap());
    let (_, id, _, why) = failed(&mut two.asking).await;
    assert_eq!((id, why.letter_code()), (cancelled, Some("unheard")));
    stuck.store(false, SeqCst);
    two.server.shutdown().await.unwrap();
    within(async {
        while two.asker.status().await.unwrap().connections > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let never = ask(1_000).await;
    let (_, id, _, why) = failed(&mut two.asking).await;
    assert_eq!((id, why.letter_code()), (never, Some("expired")));
}

/// contracts/call.md section 4, -32042: who was never let in was heard by nobody.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_asked_at_a_door_that_was_never_open_is_not_done() {
    let dir = tempfile::tempdir().unwrap();
    let (asker, mut asking) = open(dir.path(), "asker").await;
    let (server, _serving) = open(dir.path(), "server").await;
    // A stranger may begin a session there, of which nothing is heard but a knock.
    server.hear_knocks(true).await.unwrap();
    let to = asker.add_peer(&server.invitation().await.unwrap(), None).await.unwrap();
    let (id, message) = (Agent::new_letter_id().unwrap(), json("let me").expires_in(Duration::from_secs(3)));
    within(asker.say(to, id, &place(What::Request), message, Vec::new())).await.unwrap();
    let (_, told, _, why) = failed(&mut asking).await;
    assert_eq!((told, why.letter_code()), (id, Some("expired")));
    assert!(asker.status().await.unwrap().counters.sealed > 0, "it had gone to the door");
}

/// contracts/call.md X43.
#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_retires_leaves_no_call_and_whoever_asked_it_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (_, asker) = nuncio::init(&Config::new(dir.path().join("asker"))).unwrap();
    let (_, server) = nuncio::init(&Config::new(dir.path().join("server"))).unwrap();
    let mut two = Two::within(dir).await;
    let id = two.say(What::Request, "begun").await;
    let begun = came(&two.server, &mut two.serving).await;
    assert!(two.server.begin_call(begun.letter.no, "tools/call").await.unwrap());
    two.acknowledged().await;
    // It has the request, and retires.
    two.asker.retire(server).await.unwrap();
    let (_, told, _, why) = failed(&mut two.asking).await;
    assert_eq!((told, why.letter_code()), (id, Some("removed")));
    // And so does whoever asked.
    let mut removed = two.server.removed_peers().await.unwrap();
    two.server.retire(asker).await.unwrap();
    assert_eq!(within(removed.recv()).await, Some(two.asker.id()));
    assert!(two.server.call(begun.letter.no).await.unwrap().is_none());
    assert!(!two.answer(&begun, "done", Outcome::Answered).await, "there is nobody to answer");
    assert_eq!(two.server.status().await.unwrap().inbox, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_kept_of_calls_of_who_was_removed() {
    let mut two = Two::new().await;
    two.say(What::Request, "begun").await;
    let begun = came(&two.server, &mut two.serving).await;
    assert!(two.server.begin_call(begun.letter.no, "tools/call").await.unwrap());
    two.part(&begun, "half").await;
    let half = came(&two.asker, &mut two.asking).await;
    two.asker.remove_peer(two.server.id()).await.unwrap();
    two.server.remove_peer(two.asker.id()).await.unwrap();
    assert!(two.server.call(begun.letter.no).await.unwrap().is_none());
    assert!(two.asker.call(half.letter.no).await.unwrap().is_none());
    let (_, id, _, why) = failed(&mut two.asking).await;
    assert_eq!(id, begun.letter.id, "whoever asked is told");
    assert_eq!(why.letter_code(), Some("removed"), "not that it was not done");
    assert_eq!((two.asker.status().await.unwrap().inbox, two.server.status().await.unwrap().inbox), (0, 0));
    two.restart_server().await;
    assert!(two.serving.try_next().is_none());
}

//! What becomes of a peer's calls when it is removed, and when it is added again (contracts/call.md X43).

use super::*;

/// Asks which process answers, in a session or in a request that stands alone.
async fn process(line: &AgentLine, heard: &mut mpsc::Receiver<Heard>, session: Option<CallSessionId>) -> u64 {
    let (id, message) = (Agent::new_letter_id().unwrap(), Message::json(call(1, "who", json!(null)).to_string()));
    let say = Say { id, what: What::Request, session, reply_to: None, message, note: Vec::new(), under: None };
    within(line.say(say)).await.unwrap();
    answer(line, heard, id).await.1["result"]["pid"].as_u64().unwrap()
}

/// Waits until a process has ended.
async fn ends(process: u64) {
    let lives = || std::fs::read_to_string(format!("/proc/{process}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
    within(async {
        while lives() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ran_for_a_removed_peer_ends_and_what_runs_for_another_goes_on() {
    let two = Two::new(&["tools.write"]).await;
    let files = "files".parse().unwrap();
    allow(&two.dir.path().join("far"), &files, "guest", &["tools.write".to_owned()]).unwrap();
    two.far.bridge.reload().await.unwrap();
    let guest = End::open(&two.dir.path().join("guest")).await;
    guest.agent.add_peer(&two.far.agent.invitation().await.unwrap(), Some("far")).await.unwrap();
    two.far.agent.add_peer(&guest.agent.invitation().await.unwrap(), Some("guest")).await.unwrap();
    let (line, other) = (two.line(), guest.bridge.line(two.far.agent.id(), files));
    let mut in_session = line.listen(Some(SESSION), None).await.unwrap();
    let mut alone = line.listen(None, None).await.unwrap();
    let mut of_guest = other.listen(None, None).await.unwrap();
    initialize(&line, &mut in_session).await;
    let ran = [process(&line, &mut in_session, Some(SESSION)).await, process(&line, &mut alone, None).await];
    let goes_on = process(&other, &mut of_guest, None).await;
    two.far.agent.remove_peer(two.near.agent.id()).await.unwrap();
    for process in ran {
        ends(process).await;
    }
    assert_eq!(process(&other, &mut of_guest, None).await, goes_on);
    // Added again it is served anew.
    two.acquaint().await;
    let anew = process(&line, &mut alone, None).await;
    assert!(!ran.contains(&anew) && anew != goes_on);
    guest.stop().await;
    two.near.stop().await;
    two.far.stop().await;
}

/// What is asked while a peer goes and comes is answered or said to have failed, each; what is asked when it is one again is answered.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_of_who_has_removed_and_added_its_asker_again_and_again_has_an_end() {
    let two = Two::new(&["tools.write"]).await;
    let line = two.line();
    let mut heard = line.listen(None, None).await.unwrap();
    let near = two.near.agent.id();
    let mut asked = Vec::new();
    for round in 0..12_u64 {
        asked.extend([echo(&line, round).await, echo(&line, round).await, echo(&line, round).await]);
        tokio::time::sleep(Duration::from_millis(7 * round)).await;
        two.far.agent.remove_peer(near).await.unwrap();
        tokio::time::sleep(Duration::from_millis(40 * (round % 3))).await;
        two.far.agent.add_peer(&two.near.agent.invitation().await.unwrap(), Some("near")).await.unwrap();
    }
    let last = echo(&line, 12).await;
    asked.push(last);
    let (mut answered, mut failed) = (Vec::new(), 0);
    while !asked.is_empty() {
        let Heard { no, what, .. } = within(heard.recv()).await.unwrap();
        line.taken(no).await.unwrap();
        let of = match what {
            HeardWhat::Answer(request, message) => {
                assert!(read(&message)["result"].is_u64());
                answered.push(request);
                request
            }
            HeardWhat::Failed { request, .. } | HeardWhat::Unread { request, last: true, .. } => {
                failed += 1;
                request
            }
            other => panic!("{other:?}"),
        };
        let before = asked.len();
        asked.retain(|id| *id != of);
        assert_eq!(asked.len() + 1, before, "one end each");
    }
    assert!(answered.contains(&last), "{} answered, {failed} failed", answered.len());
    two.near.stop().await;
    two.far.stop().await;
}

async fn echo(line: &AgentLine, what: u64) -> LetterId {
    let (id, message) = (Agent::new_letter_id().unwrap(), Message::json(call(what, "echo", json!(what)).to_string()));
    let say = Say { id, what: What::Request, session: None, reply_to: None, message, note: Vec::new(), under: None };
    within(line.say(say)).await.unwrap();
    id
}

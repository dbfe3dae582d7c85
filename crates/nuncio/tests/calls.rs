//! Calls between two agents: what is kept of them, through restarts (contracts/call.md).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::future::Future;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nuncio::{
    Admission, Agent, AgentId, CallNews, CallPlace, CallSessionId, CallWatch, Called, Coming, Config, ContentType,
    Error, Head, LetterId, Message, Outcome, Payload, Trace, What,
};
use nuncio_proto::error::PeerError;
use nuncio_proto::rows;
use nuncio_store::Op;

use nuncio_contracts::registry::limit::{CALL_SESSIONS_MAX, CALLS_OUT_LARGE_MAX};

#[path = "calls/over.rs"]
mod over;

const SESSION: CallSessionId = CallSessionId::from_bytes([9; 16]);

async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), what).await.expect("it takes too long")
}

struct Two {
    dir: tempfile::TempDir,
    asker: Agent,
    server: Agent,
    asking: CallWatch,
    serving: CallWatch,
}

/// Every letter of these needs a token: calls are decided by who serves them.
async fn open(dir: &Path, name: &str) -> (Agent, CallWatch) {
    let config = Config::new(dir.join(name)).listen(([127, 0, 0, 1], 0).into());
    let config = if name == "server" { config.serve_calls() } else { config };
    let agent = Agent::open(config).await.unwrap();
    let watch = agent.calls().await.unwrap();
    (agent, watch)
}

impl Two {
    async fn new() -> Self {
        Self::within(tempfile::tempdir().unwrap()).await
    }

    async fn within(dir: tempfile::TempDir) -> Self {
        let (asker, asking) = open(dir.path(), "asker").await;
        let (server, serving) = open(dir.path(), "server").await;
        let two = Self { dir, asker, server, asking, serving };
        two.acquaint().await;
        two
    }

    async fn acquaint(&self) {
        self.asker.add_peer(&self.server.invitation().await.unwrap(), None).await.unwrap();
        self.server.add_peer(&self.asker.invitation().await.unwrap(), None).await.unwrap();
    }

    async fn restart_server(&mut self) {
        self.server.shutdown().await.unwrap();
        (self.server, self.serving) = open(self.dir.path(), "server").await;
        self.acquaint().await;
    }

    async fn restart_asker(&mut self) {
        self.asker.shutdown().await.unwrap();
        (self.asker, self.asking) = open(self.dir.path(), "asker").await;
        self.acquaint().await;
    }

    /// Waits until the server has what the asker said.
    async fn acknowledged(&self) {
        within(async {
            while self.asker.status().await.unwrap().outbox > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    async fn say(&self, what: What, text: &str) -> LetterId {
        let id = Agent::new_letter_id().unwrap();
        self.say_as(id, what, text).await.unwrap();
        id
    }

    async fn say_as(&self, id: LetterId, what: What, text: &str) -> Result<(), Error> {
        within(self.asker.say(self.server.id(), id, &place(what), json(text), b"note".to_vec())).await
    }

    async fn part(&self, request: &Called, text: &str) {
        let (to, id) = (request.letter.from, Agent::new_letter_id().unwrap());
        let message = json(text).reply_to(request.letter.id);
        self.server.say(to, id, &place(What::Part), message, Vec::new()).await.unwrap();
    }

    async fn answer(&self, request: &Called, text: &str, outcome: Outcome) -> bool {
        let how = (outcome, "tools/call");
        within(self.server.answer_call(request, &place(What::Answer), json(text), how, None)).await.unwrap()
    }
}

fn place(what: What) -> CallPlace {
    CallPlace { what, service: "files".parse().unwrap(), session: Some(SESSION), head: Head::default() }
}

fn json(text: &str) -> Message {
    Message::bytes(ContentType::JSON, text.as_bytes().to_vec())
}

async fn came(agent: &Agent, watch: &mut CallWatch) -> Called {
    let no = match within(watch.next()).await.unwrap() {
        CallNews::Came(called) => called.letter.no,
        other => panic!("{other:?}"),
    };
    match within(agent.call(no)).await.unwrap().unwrap() {
        CallNews::Came(called) => *called,
        other => panic!("{other:?}"),
    }
}

async fn failed(watch: &mut CallWatch) -> (u64, LetterId, Vec<u8>, Error) {
    match within(watch.next()).await.unwrap() {
        CallNews::Failed { no, asked, why } => (no, asked.id, asked.note, why),
        CallNews::Came(called) => panic!("{called:?}"),
    }
}

fn text(called: &Called) -> String {
    match &called.letter.payload {
        Payload::Inline(bytes) => String::from_utf8(bytes.clone()).unwrap(),
        Payload::Large(_) => panic!("large"),
    }
}

/// Of each commit the rows that it wrote, or took away: their trees, by two bytes.
type Commits = Arc<Mutex<Vec<Vec<(bool, Vec<u8>)>>>>;

/// An agent whose commits are seen.
async fn seen(home: &Path) -> (Agent, Commits) {
    let commits = Commits::default();
    let seen = Arc::clone(&commits);
    let mut config = Config::new(home).listen(([127, 0, 0, 1], 0).into()).serve_calls();
    config.trace = Some(Trace::new(move |ops| {
        let row = |op: &Op| match op {
            Op::Put { key, .. } => (true, key.iter().copied().take(2).collect()),
            Op::Delete { key } => (false, key.iter().copied().take(2).collect()),
        };
        seen.lock().unwrap().push(ops.iter().map(row).collect());
    }));
    (Agent::open(config).await.unwrap(), commits)
}

/// Two whose server begins at once what says `yes`, and what it writes.
async fn admitting() -> (Two, Commits) {
    let mut two = Two::new().await;
    two.server.shutdown().await.unwrap();
    let (server, commits) = seen(&two.dir.path().join("server")).await;
    let yes = |coming: &Coming<'_>| (coming.letter.payload == b"yes").then(|| "tools/call".to_owned());
    server.admit_calls(Admission::new(yes)).await.unwrap();
    two.serving = server.calls().await.unwrap();
    two.server = server;
    two.acquaint().await;
    (two, commits)
}

/// The commits since this was asked last in which a request is begun.
fn begun(commits: &Commits) -> Vec<Vec<(bool, Vec<u8>)>> {
    let mut commits = commits.lock().unwrap();
    commits.drain(..).filter(|commit| commit.contains(&(true, vec![rows::RUNTIME, b'B']))).collect()
}

// contracts/call.md X10.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_admitted_is_begun_in_the_commit_in_which_it_comes() {
    let (mut two, commits) = admitting().await;
    two.say(What::Request, "yes").await;
    let request = came(&two.server, &mut two.serving).await;
    let together = begun(&commits);
    assert_eq!(together.len(), 1, "it is on disk before anybody is told of it");
    assert!(together[0].iter().any(|(put, tree)| *put && tree[0] == rows::INBOX), "{together:?}");
    assert_eq!(request.begun, None, "nobody has handed it over");
    assert!(two.server.begin_call(request.letter.no, "tools/call").await.unwrap());
    assert!(!two.server.begin_call(request.letter.no, "tools/call").await.unwrap(), "begun twice");
    assert!(begun(&commits).is_empty(), "one commit");
    assert!(two.answer(&request, "whole", Outcome::Answered).await);
    // What is not admitted waits to be begun.
    two.say(What::Request, "no").await;
    let request = came(&two.server, &mut two.serving).await;
    assert!(begun(&commits).is_empty());
    assert!(two.server.begin_call(request.letter.no, "tools/call").await.unwrap());
    assert_eq!(begun(&commits).len(), 1);
}

async fn told(watch: &mut CallWatch) -> Called {
    match within(watch.next()).await.unwrap() {
        CallNews::Came(called) => *called,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_is_told_with_its_bytes_and_what_was_there_or_is_long_without() {
    let (mut two, _) = admitting().await;
    let said = |called: &Called| (text(called), called.at_hand, called.admitted, called.by.is_some());
    two.say(What::Request, "yes").await;
    let yes = told(&mut two.serving).await;
    assert_eq!(said(&yes), ("yes".into(), true, true, true));
    two.say(What::Request, "no").await;
    assert_eq!(said(&told(&mut two.serving).await), ("no".into(), true, false, true));
    two.say(What::Request, &"x".repeat(20_000)).await;
    assert_eq!(said(&told(&mut two.serving).await), (String::new(), false, false, true));
    // Whoever begins to watch now knows of none that it was begun for it.
    let mut other = two.server.calls().await.unwrap();
    let there = told(&mut other).await;
    assert_eq!((there.letter.no, said(&there)), (yes.letter.no, (String::new(), false, false, false)));
    assert!(two.server.begun_call(&yes));
    assert!(!two.server.begin_call(yes.letter.no, "tools/call").await.unwrap(), "begun twice");
    let mut other = two.server.calls().await.unwrap();
    assert_eq!(told(&mut other).await.begun.as_deref(), Some("tools/call"), "it is in somebody's hands");
}

// contracts/call.md X11.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_was_admitted_and_has_no_answer_counts_as_begun_after_a_start() {
    let (mut two, _) = admitting().await;
    two.say(What::Request, "yes").await;
    came(&two.server, &mut two.serving).await;
    two.say(What::Request, "no").await;
    came(&two.server, &mut two.serving).await;
    two.restart_server().await;
    for (said, begun) in [("yes", Some("tools/call".to_owned())), ("no", None)] {
        let request = came(&two.server, &mut two.serving).await;
        assert_eq!((text(&request), &request.begun), (said.to_owned(), &begun));
        assert_eq!(two.server.begin_call(request.letter.no, "tools/call").await.unwrap(), begun.is_none());
    }
}

// contracts/call.md X11.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_stands_behind_another_of_its_session_is_not_begun_as_it_comes() {
    let (mut two, commits) = admitting().await;
    for _ in 0..3 {
        two.say(What::Request, "yes").await;
    }
    let first = came(&two.server, &mut two.serving).await;
    for _ in 0..2 {
        came(&two.server, &mut two.serving).await;
    }
    assert_eq!(begun(&commits).len(), 1, "the first alone");
    two.restart_server().await;
    let mut all = Vec::new();
    for _ in 0..3 {
        let request = came(&two.server, &mut two.serving).await;
        all.push((request.letter.no == first.letter.no, request.begun.is_some()));
    }
    assert_eq!(all, [(true, true), (false, false), (false, false)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_one_that_is_in_its_service_s_hands_the_next_is_begun_as_it_comes() {
    let (mut two, _) = admitting().await;
    for _ in 0..2 {
        two.say(What::Request, "yes").await;
        let request = told(&mut two.serving).await;
        assert!(request.admitted && two.server.begun_call(&request));
        // The agent has heard of it.
        two.server.peers().await.unwrap();
    }
}

// contracts/call.md X7: what was known of a peer when it asked counts no longer than it holds.
#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_is_removed_while_its_request_waits_is_not_served() {
    let (mut two, _) = admitting().await;
    two.say(What::Request, "yes").await;
    let request = told(&mut two.serving).await;
    assert!(request.admitted && request.by.as_ref().is_some_and(nuncio::Added::still_holds));
    assert!(two.server.remove_peer(two.asker.id()).await.unwrap());
    assert!(!request.by.as_ref().is_some_and(nuncio::Added::still_holds) && !two.server.begun_call(&request));
    assert!(!two.server.begin_call(request.letter.no, "tools/call").await.unwrap(), "it went with its peer");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_let_go_of_is_written_down_though_nothing_else_is() {
    let mut two = Two::new().await;
    two.asker.shutdown().await.unwrap();
    let (asker, commits) = seen(&two.dir.path().join("asker")).await;
    two.asking = asker.calls().await.unwrap();
    two.asker = asker;
    two.acquaint().await;
    two.say(What::Request, "ask").await;
    let request = came(&two.server, &mut two.serving).await;
    assert!(two.answer(&request, "whole", Outcome::Answered).await);
    let heard = came(&two.asker, &mut two.asking).await;
    two.asker.let_go_of_call(heard.letter.no).await.unwrap();
    assert!(two.asker.call(heard.letter.no).await.unwrap().is_none());
    let gone = || commits.lock().unwrap().iter().flatten().any(|(put, tree)| !put && tree[0] == rows::INBOX);
    within(async {
        while !gone() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_begun_answered_and_taken() {
    let mut two = Two::new().await;
    let id = two.say(What::Request, "ask").await;
    let request = came(&two.server, &mut two.serving).await;
    assert_eq!((text(&request), request.letter.id, request.place.what), ("ask".into(), id, What::Request));
    assert!(two.server.begin_call(request.letter.no, "tools/call").await.unwrap());
    assert!(!two.server.begin_call(request.letter.no, "tools/call").await.unwrap(), "begun twice");
    two.part(&request, "half").await;
    assert!(two.answer(&request, "whole", Outcome::Answered).await);
    assert!(!two.answer(&request, "again", Outcome::Answered).await, "answered twice");
    for (said, what) in [("half", What::Part), ("whole", What::Answer)] {
        let heard = came(&two.asker, &mut two.asking).await;
        assert_eq!((text(&heard), heard.place.what, heard.letter.reply_to), (said.into(), what, Some(id)));
        two.asker.call_taken(heard.letter.no).await.unwrap();
    }
    for agent in [&two.asker, &two.server] {
        assert_eq!(agent.letters(None, 10).await.unwrap().len(), 0);
        assert_eq!(agent.status().await.unwrap().inbox, 0);
    }
    two.restart_asker().await;
    two.restart_server().await;
    assert!(two.asking.try_next().is_none() && two.serving.try_next().is_none(), "nothing is left of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_begun_before_a_start_is_told_as_such_and_once() {
    let mut two = Two::new().await;
    two.say(What::Request, "first").await;
    two.say(What::Request, "second").await;
    let first = came(&two.server, &mut two.serving).await;
    let second = came(&two.server, &mut two.serving).await;
    assert!(two.server.begin_call(first.letter.no, "tools/call").await.unwrap());
    two.restart_server().await;
    let again = came(&two.server, &mut two.serving).await;
    assert_eq!((again.letter.no, again.begun.as_deref()), (first.letter.no, Some("tools/call")));
    assert!(!two.server.begin_call(again.letter.no, "tools/call").await.unwrap(), "never handed over again");
    assert!(two.answer(&again, "nobody knows", Outcome::Unknown).await);
    let other = came(&two.server, &mut two.serving).await;
    assert_eq!((other.letter.no, other.begun), (second.letter.no, None));
    assert_eq!(text(&came(&two.asker, &mut two.asking).await), "nobody knows");
    two.restart_server().await;
    assert_eq!(came(&two.server, &mut two.serving).await.letter.no, second.letter.no);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_waits_until_it_is_taken_and_is_heard_after_a_start() {
    let mut two = Two::new().await;
    let id = two.say(What::Request, "ask").await;
    let request = came(&two.server, &mut two.serving).await;
    // Said again: one request.
    two.say_as(id, What::Request, "ask").await.unwrap();
    // Who asks forgets nothing: without its session the answer would be refused.
    two.restart_asker().await;
    assert!(two.answer(&request, "whole", Outcome::Answered).await);
    let heard = came(&two.asker, &mut two.asking).await;
    two.restart_asker().await;
    let again = came(&two.asker, &mut two.asking).await;
    assert_eq!((again.letter.no, text(&again)), (heard.letter.no, "whole".into()));
    two.say_as(id, What::Request, "ask").await.unwrap();
    two.asker.call_taken(again.letter.no).await.unwrap();
    two.restart_asker().await;
    assert!(two.asking.try_next().is_none());
    assert!(two.serving.try_next().is_none(), "the request came once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_nobody_serves_fails_until_that_is_taken() {
    let mut two = Two::new().await;
    two.server.serve_calls(false).await.unwrap();
    let id = two.say(What::Request, "ask").await;
    let told = failed(&mut two.asking).await;
    assert_eq!((told.1, told.2.as_slice()), (id, b"note".as_slice()));
    assert!(told.3.to_string().contains("serve"), "{}", told.3);
    two.restart_asker().await;
    let again = failed(&mut two.asking).await;
    assert_eq!((again.0, again.1), (told.0, id));
    two.asker.call_taken(again.0).await.unwrap();
    two.restart_asker().await;
    assert!(two.asking.try_next().is_none());
    two.server.serve_calls(true).await.unwrap();
    // Its number is nobody else's.
    two.say(What::Request, "other").await;
    let request = came(&two.server, &mut two.serving).await;
    assert!(two.answer(&request, "whole", Outcome::Answered).await);
    assert!(came(&two.asker, &mut two.asking).await.letter.no > told.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_kept_of_a_session_that_is_over() {
    let mut two = Two::new().await;
    two.say(What::Request, "ask").await;
    let request = came(&two.server, &mut two.serving).await;
    let of: (AgentId, CallSessionId) = (request.letter.from, SESSION);
    let kept = (Outcome::Answered, "initialize");
    let memory = Some(b"initialize".to_vec());
    let answered = two.server.answer_call(&request, &place(What::Answer), json("{}"), kept, memory).await;
    assert!(answered.unwrap());
    two.restart_server().await;
    assert_eq!(two.server.call_memory(of.0, of.1).await.unwrap().as_deref(), Some(b"initialize".as_slice()));
    came(&two.asker, &mut two.asking).await;
    two.say(What::End, "").await;
    two.asker.close_calls(two.server.id(), SESSION).await.unwrap();
    let end = came(&two.server, &mut two.serving).await;
    assert_eq!(end.place.what, What::End);
    two.server.close_calls(of.0, of.1).await.unwrap();
    assert_eq!(two.server.call_memory(of.0, of.1).await.unwrap(), None);
    let aside = Agent::new_letter_id().unwrap();
    two.server.say(of.0, aside, &place(What::Aside), json("late"), Vec::new()).await.unwrap();
    within(two.server.delivered(of.0, aside)).await.unwrap_err();
    two.restart_asker().await;
    assert!(two.asking.try_next().is_none());
}

// contracts/call.md X12.
#[tokio::test(flavor = "multi_thread")]
async fn of_each_agent_the_newest_sessions_are_remembered() {
    let mut two = Two::new().await;
    let from = two.asker.id();
    let session = |n: usize| CallSessionId::from_bytes(u128::try_from(n).unwrap().to_be_bytes());
    let of = |what, n| CallPlace { session: Some(session(n)), ..place(what) };
    for n in 0..=CALL_SESSIONS_MAX {
        let id = Agent::new_letter_id().unwrap();
        two.asker.say(two.server.id(), id, &of(What::Request, n), json("ask"), Vec::new()).await.unwrap();
        let request = came(&two.server, &mut two.serving).await;
        let kept = (Outcome::Answered, "initialize");
        let answered = two.server.answer_call(&request, &of(What::Answer, n), json("{}"), kept, Some(vec![1])).await;
        assert!(answered.unwrap());
        if n == 10 {
            two.restart_server().await;
        }
    }
    for (n, is_kept) in [(0, false), (1, true), (CALL_SESSIONS_MAX, true)] {
        assert_eq!(two.server.call_memory(from, session(n)).await.unwrap().is_some(), is_kept, "{n}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_messages_travel_and_go() {
    let mut two = Two::new().await;
    let large = "x".repeat(300_000);
    two.say(What::Request, &large).await;
    let request = came(&two.server, &mut two.serving).await;
    let there = || std::fs::read_dir(two.dir.path().join("server/large/in")).unwrap().count();
    let Payload::Large(payload) = &request.letter.payload else { panic!("inline") };
    within(payload.whole()).await.unwrap();
    assert_eq!((payload.len(), there()), (300_000, 1));
    assert!(two.answer(&request, &large, Outcome::Answered).await);
    assert_eq!(there(), 0);
    let heard = came(&two.asker, &mut two.asking).await;
    let Payload::Large(payload) = &heard.letter.payload else { panic!("inline") };
    within(payload.whole()).await.unwrap();
    two.asker.call_taken(heard.letter.no).await.unwrap();
    assert_eq!(std::fs::read_dir(two.dir.path().join("asker/large/in")).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_fetches_nothing_does_not_fill_the_disk_of_whom_it_asks() {
    let mut two = Two::new().await;
    two.say(What::Request, "much").await;
    let request = came(&two.server, &mut two.serving).await;
    assert!(two.server.begin_call(request.letter.no, "tools/call").await.unwrap());
    two.asker.shutdown().await.unwrap();
    let large = "x".repeat(300_000);
    two.part(&request, &large).await;
    let out = two.dir.path().join("server/large/out");
    let files = || std::fs::read_dir(&out).unwrap().map(|file| file.unwrap().path()).collect::<Vec<_>>();
    let file = std::fs::File::options().write(true).open(&files()[0]).unwrap();
    let len = file.metadata().unwrap().len();
    // A file with a hole takes no room; it is as long as one that has none.
    file.set_len(CALLS_OUT_LARGE_MAX - 299_999).unwrap();
    let how = (Outcome::Answered, "tools/call");
    let answer = two.server.answer_call(&request, &place(What::Answer), json(&large), how, None).await;
    assert!(matches!(answer, Err(Error::Peer(PeerError::TooManyCalls(peer))) if peer == two.asker.id()), "{answer:?}");
    assert_eq!(files().len(), 1, "of what is not sent nothing stays");
    two.part(&request, "a small one").await;
    file.set_len(len).unwrap();
    assert!(two.answer(&request, &large, Outcome::Answered).await);
    assert_eq!(files().len(), 2);
}

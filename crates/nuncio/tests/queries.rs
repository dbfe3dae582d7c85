//! Queries between two agents: what only reads, asked and answered without a commit (contracts/query.md).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use nuncio::{
    Admission, Agent, Answered, CallNews, CallPlace, CallSessionId, CallWatch, Config, ContentType, Head, LetterId,
    Message, Outcome, Payload, Queried, Queries, Query, What,
};
use nuncio_contracts::registry::limit;

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
    queries: Queries,
}

async fn open(dir: &Path, name: &str, alter: impl FnOnce(Config) -> Config) -> (Agent, CallWatch) {
    let config = Config::new(dir.join(name)).listen(([127, 0, 0, 1], 0).into());
    let config = if name == "server" { config.serve_calls() } else { config };
    let agent = Agent::open(alter(config)).await.unwrap();
    let watch = agent.calls().await.unwrap();
    (agent, watch)
}

impl Two {
    async fn new() -> Self {
        Self::with(|config| config, |config| config).await
    }

    async fn with(asker: impl FnOnce(Config) -> Config, server: impl FnOnce(Config) -> Config) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (asker, asking) = open(dir.path(), "asker", asker).await;
        let (server, serving) = open(dir.path(), "server", server).await;
        let queries = server.queries().await.unwrap();
        let mut two = Self { dir, asker, server, asking, serving, queries };
        two.acquaint().await;
        two.converse().await;
        two
    }

    async fn acquaint(&self) {
        self.asker.add_peer(&self.server.invitation().await.unwrap(), None).await.unwrap();
        self.server.add_peer(&self.asker.invitation().await.unwrap(), None).await.unwrap();
    }

    /// A request and its answer as letters: there is a session of both kinds from then on.
    async fn converse(&mut self) {
        self.say(What::Request).await;
        let request = self.came().await;
        assert!(self.server.begin_call(request.letter.no, "initialize").await.unwrap());
        let how = (Outcome::Answered, "initialize");
        within(self.server.answer_call(&request, &place(What::Answer), json("{}"), how, None)).await.unwrap();
        let CallNews::Came(answer) = within(self.asking.next()).await.unwrap() else { panic!() };
        self.asker.call_taken(answer.letter.no).await.unwrap();
        self.settle().await;
    }

    /// Until nothing is under way.
    async fn settle(&self) {
        within(async {
            for agent in [&self.asker, &self.server] {
                while agent.status().await.unwrap().outbox > 0 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        })
        .await;
    }

    async fn say(&self, what: What) -> LetterId {
        let id = Agent::new_letter_id().unwrap();
        within(self.asker.say(self.server.id(), id, &place(what), json("{}"), Vec::new())).await.unwrap();
        id
    }

    async fn came(&mut self) -> nuncio::Called {
        let no = match within(self.serving.next()).await.unwrap() {
            CallNews::Came(called) => called.letter.no,
            other => panic!("{other:?}"),
        };
        match within(self.server.call(no)).await.unwrap().unwrap() {
            CallNews::Came(called) => *called,
            other => panic!("{other:?}"),
        }
    }

    async fn commits(&self) -> (u64, u64) {
        let count = async |agent: &Agent| agent.status().await.unwrap().commits.0;
        (count(&self.asker).await, count(&self.server).await)
    }

    async fn query(&self, text: &str) -> Queried {
        query(&self.asker, &self.server, text).await
    }

    /// A query of which nothing comes but that it is to be a letter.
    async fn is_not_asked(&mut self, why: &str) {
        assert_ne!(within(self.query("{}")).await, Queried::Answered(answered("{}")), "{why}");
        let none = tokio::time::timeout(Duration::from_millis(200), self.queries.next()).await;
        assert!(none.is_err(), "{why}: it came all the same");
    }

    /// A query that is answered.
    async fn is_asked(&mut self, text: &str) {
        let (said, ()) = tokio::join!(query(&self.asker, &self.server, text), answer(&mut self.queries));
        assert_eq!(said, Queried::Answered(answered(text)));
    }
}

async fn query(asker: &Agent, server: &Agent, text: &str) -> Queried {
    let place = place(What::Request);
    within(asker.query(server.id(), &place, ContentType::JSON, text.as_bytes().to_vec())).await.unwrap()
}

fn answered(text: &str) -> Answered {
    let head = Head::of([("x", "y")]);
    Answered { head, content_type: ContentType::JSON, payload: text.as_bytes().to_vec() }
}

/// Says what was said.
async fn answer(queries: &mut Queries) {
    let query = within(queries.next()).await.unwrap();
    let text = text(&query);
    query.answer(Some(answered(&text))).await;
}

fn text(query: &Query) -> String {
    match &query.called.letter.payload {
        Payload::Inline(bytes) => String::from_utf8(bytes.clone()).unwrap(),
        Payload::Large(_) => panic!("large"),
    }
}

fn place(what: What) -> CallPlace {
    CallPlace { what, service: "files".parse().unwrap(), session: Some(SESSION), head: Head::default() }
}

fn json(text: &str) -> Message {
    Message::bytes(ContentType::JSON, text.as_bytes().to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_asked_and_answered_without_a_commit_on_either_side() {
    let mut two = Two::new().await;
    two.is_asked("first").await;
    let before = two.commits().await;
    for number in 0..20 {
        two.is_asked(&format!("{number} {}", "x".repeat(number * 500))).await;
    }
    assert_eq!(two.commits().await, before);
    let sent = two.asker.status().await.unwrap().frames_sent;
    two.say(What::Notice).await;
    two.came().await;
    assert!(two.asker.status().await.unwrap().frames_sent > sent, "a letter is a frame");
    assert!(two.commits().await > before, "and a commit");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_are_under_way_at_once_and_what_is_above_goes_as_letters() {
    let mut two = Two::new().await;
    two.is_asked("opens the stream").await;
    let mut asked = tokio::task::JoinSet::new();
    for number in 0..limit::QUERIES_OPEN_MAX + 8 {
        let (asker, server) = (two.asker.clone(), two.server.clone());
        asked.spawn(async move { (number.to_string(), query(&asker, &server, &number.to_string()).await) });
    }
    let mut held = Vec::new();
    for _ in 0..limit::QUERIES_OPEN_MAX {
        held.push(within(two.queries.next()).await.unwrap());
    }
    // In another order.
    for query in held.into_iter().rev() {
        let text = text(&query);
        query.answer(Some(answered(&text))).await;
    }
    let all = within(asked.join_all()).await;
    let (good, letters): (Vec<_>, Vec<_>) = all.into_iter().partition(|(_, said)| *said != Queried::Letter);
    assert_eq!((good.len(), letters.len()), (limit::QUERIES_OPEN_MAX, 8));
    good.into_iter().for_each(|(text, said)| assert_eq!(said, Queried::Answered(answered(&text))));
}

// contracts/query.md Q3.
#[tokio::test(flavor = "multi_thread")]
async fn a_query_overtakes_no_letter_of_its_session() {
    let mut two = Two::new().await;
    two.is_asked("before").await;
    two.say(What::Request).await;
    let request = two.came().await;
    two.settle().await;
    two.is_not_asked("a request waits for its service").await;
    assert!(two.server.begin_call(request.letter.no, "tools/call").await.unwrap());
    two.is_asked("it was begun").await;
    two.say(What::Notice).await;
    let notice = two.came().await;
    two.settle().await;
    two.is_not_asked("a notice waits").await;
    two.server.call_taken(notice.letter.no).await.unwrap();
    two.is_asked("it was taken").await;
    // What is under way, and may not be there yet.
    for _ in 0..5 {
        two.say(What::Notice).await;
        let answers = tokio::time::timeout(Duration::from_millis(300), answer(&mut two.queries));
        let (said, answers) = tokio::join!(query(&two.asker, &two.server, "{}"), answers);
        assert!(answers.is_err(), "it came before what was said before it: {said:?}");
        let notice = two.came().await;
        two.server.call_taken(notice.letter.no).await.unwrap();
        two.settle().await;
    }
    two.is_asked("all is there").await;
}

// contracts/query.md Q3: begun as it comes, it is on disk, and in nobody's hands.
#[tokio::test(flavor = "multi_thread")]
async fn a_query_overtakes_no_request_that_was_begun_as_it_came() {
    let mut two = Two::new().await;
    two.server.admit_calls(Admission::new(|_| Some("tools/call".to_owned()))).await.unwrap();
    two.say(What::Request).await;
    let request = two.came().await;
    two.settle().await;
    two.is_not_asked("nobody has handed it over").await;
    assert!(two.server.begin_call(request.letter.no, "tools/call").await.unwrap());
    two.is_asked("it is handed over").await;
    two.server.call_taken(request.letter.no).await.unwrap();
    two.is_asked("it is over").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_session_of_this_agents_is_not_asked_and_what_stands_alone_is() {
    let mut two = Two::new().await;
    let other = CallPlace { session: Some(CallSessionId::from_bytes([8; 16])), ..place(What::Request) };
    let asked = two.asker.query(two.server.id(), &other, ContentType::JSON, b"{}".to_vec());
    assert_eq!(within(asked).await.unwrap(), Queried::NotAsked);
    let alone = CallPlace { session: None, ..place(What::Request) };
    let asked = two.asker.query(two.server.id(), &alone, ContentType::JSON, b"alone".to_vec());
    let (said, ()) = tokio::join!(within(asked), answer(&mut two.queries));
    assert_eq!(said.unwrap(), Queried::Answered(answered("alone")));
    let long = vec![b'x'; limit::PAYLOAD_INLINE_MAX + 1];
    let asked = two.asker.query(two.server.id(), &alone, ContentType::JSON, long);
    assert_eq!(within(asked).await.unwrap(), Queried::NotAsked);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_answered_or_too_long_goes_as_a_letter() {
    let mut two = Two::new().await;
    let slow = tokio::spawn({
        let (asker, server) = (two.asker.clone(), two.server.clone());
        async move { query(&asker, &server, "slow").await }
    });
    let held = within(two.queries.next()).await.unwrap();
    assert_eq!(within(slow).await.unwrap(), Queried::Letter);
    // Nobody waits for it, and the stream goes on.
    held.answer(Some(answered("late"))).await;
    two.is_asked("goes on").await;
    let (said, ()) = tokio::join!(query(&two.asker, &two.server, "dropped"), async {
        drop(within(two.queries.next()).await.unwrap());
    });
    assert_eq!(said, Queried::Letter);
    let (said, ()) = tokio::join!(query(&two.asker, &two.server, "long"), async {
        let long = Answered { payload: vec![b'x'; limit::PAYLOAD_INLINE_MAX + 1], ..answered("") };
        within(two.queries.next()).await.unwrap().answer(Some(long)).await;
    });
    assert_eq!(said, Queried::Letter);
    two.is_asked("goes on").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_asks_or_answers_none_has_letters_alone() {
    let mut two = Two::with(Config::without_queries, |config| config).await;
    two.is_not_asked("the asker asks none").await;
    let mut two = Two::with(|config| config, Config::without_queries).await;
    assert_eq!(two.query("{}").await, Queried::NotAsked);
    two.is_not_asked("the server answers none").await;
    let two = Two::new().await;
    two.server.serve_calls(false).await.unwrap();
    assert_eq!(two.query("{}").await, Queried::NotAsked);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_dies_or_is_removed_leaves_a_letter() {
    let mut two = Two::new().await;
    two.is_asked("there").await;
    let open = tokio::spawn({
        let (asker, server) = (two.asker.clone(), two.server.clone());
        async move { query(&asker, &server, "held").await }
    });
    let held = within(two.queries.next()).await.unwrap();
    two.server.shutdown().await.unwrap();
    assert_ne!(within(open).await.unwrap(), Queried::Answered(answered("held")));
    drop(held);
    assert_eq!(two.query("{}").await, Queried::NotAsked, "it is not there");
    (two.server, two.serving) = open_again(&two).await;
    two.queries = two.server.queries().await.unwrap();
    two.acquaint().await;
    two.converse().await;
    two.is_asked("there again, under new keys").await;
    two.server.remove_peer(two.asker.id()).await.unwrap();
    assert_ne!(two.query("{}").await, Queried::Answered(answered("{}")));
    let none = tokio::time::timeout(Duration::from_millis(200), two.queries.next()).await;
    assert!(none.is_err(), "of one that was removed nothing comes");
}

async fn open_again(two: &Two) -> (Agent, CallWatch) {
    open(two.dir.path(), "server", |config| config).await
}

//! What a program asks: both doors of the local API.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use nuncio_cli::Failure;
use nuncio_cli::wire::{
    Accepted, Cancelled, Channel, ChannelAccepted, ChannelTally, Channels, Delivery, InboxLetter, InboxPage,
    LetterState, NewLetter, Role, Status,
};
use serde_json::{Value, json};

use crate::support::{Daemon, Homes, http};

fn text(to: &str, text: &str) -> NewLetter {
    NewLetter { to: to.to_owned(), text: Some(text.to_owned()), ..NewLetter::default() }
}

fn code<T: std::fmt::Debug>(answer: Result<T, Failure>) -> String {
    match answer {
        Err(Failure::Api(problem)) => problem.code,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_tcp_door_looks_at_host_origin_and_token() {
    let homes = Homes::new();
    let agent = Daemon::start(&homes.init("home"), &["--api-tcp", "127.0.0.1:0"]);
    let address = agent.ready["api_tcp"].as_str().unwrap().to_owned();
    let path = agent.home.join("api.token");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let token = std::fs::read_to_string(&path).unwrap();
    assert_eq!(token.len(), 64);
    let get = |headers: &str| http(&address, &format!("GET /v1/id HTTP/1.1\r\n{headers}"), "");
    let problem = |(status, body): (u16, String)| {
        (status, serde_json::from_str::<Value>(&body).unwrap()["code"].as_str().unwrap_or_default().to_owned())
    };

    let (status, body) = get(&format!("host: {address}\r\nauthorization: Bearer {token}"));
    assert_eq!((status, serde_json::from_str::<Value>(&body).unwrap()["agent"].as_str()), (200, Some(agent.did())));
    assert_eq!(problem(get(&format!("host: {address}"))), (401, "token".to_owned()));
    assert_eq!(
        problem(get(&format!("host: {address}\r\nauthorization: Bearer {}", "0".repeat(64)))),
        (401, "token".to_owned())
    );
    assert_eq!(problem(get(&format!("host: evil.example\r\nauthorization: Bearer {token}"))), (403, "host".to_owned()));
    let foreign = get(&format!("host: {address}\r\norigin: http://evil.example\r\nauthorization: Bearer {token}"));
    assert_eq!(problem(foreign), (403, "origin".to_owned()));

    // The token is for the agent, not for its owner's files.
    let bearer = format!("host: {address}\r\nauthorization: Bearer {token}");
    let post = |path: &str, body: Value| {
        problem(http(&address, &format!("POST {path} HTTP/1.1\r\n{bearer}"), &body.to_string()))
    };
    assert_eq!(post("/v1/letters", json!({ "to": agent.did(), "file": path })), (403, "socket_only".to_owned()));
    assert_eq!(post("/v1/backups", json!({ "to": homes.path("b") })), (403, "socket_only".to_owned()));

    agent.stop();
    assert!(!path.exists(), "the token is left");
}

#[test]
fn the_token_is_another_one_at_each_start() {
    let homes = Homes::new();
    let home = homes.init("home");
    let token = || {
        let agent = Daemon::start(&home, &["--api-tcp", "127.0.0.1:0"]);
        let token = std::fs::read_to_string(home.join("api.token")).unwrap();
        agent.stop();
        token
    };
    assert_ne!(token(), token());
}

#[tokio::test]
async fn what_is_not_of_its_form_is_refused_by_name() {
    let homes = Homes::new();
    let (anna, ben) = homes.pair();
    let api = anna.api();
    let letter = |body: Value| {
        let api = anna.api();
        async move { code(api.post::<Accepted>("/v1/letters", &body).await) }
    };
    assert_eq!(letter(json!({ "to": "ben" })).await, "bad_request");
    assert_eq!(letter(json!({ "to": "ben", "text": "a", "base64": "YQ==" })).await, "bad_request");
    assert_eq!(letter(json!({ "to": "ben", "base64": "not base64" })).await, "bad_request");
    assert_eq!(letter(json!({ "to": "ben", "text": "a", "colour": "red" })).await, "bad_request");
    assert_eq!(letter(json!({ "to": "ben", "text": "a", "reply_to": "x" })).await, "bad_request");
    assert_eq!(letter(json!({ "to": "ben", "file": "relative" })).await, "bad_request");
    assert_eq!(letter(json!({ "to": "ben", "file": homes.path("none") })).await, "file");
    assert_eq!(letter(json!({ "to": "carl", "text": "a" })).await, "no_such_peer");
    assert_eq!(letter(json!({ "to": "ben", "text": "x".repeat(17 << 20) })).await, "too_large");
    assert_eq!(code(api.get::<Value>("/v1/nothing").await), "no_such_endpoint");
    assert_eq!(code(api.delete::<Value>("/v1/status").await), "no_such_method");
    assert_eq!(code(api.tell("/v1/inbox/7/done").await), "no_such_letter");
    assert_eq!(code(api.tell("/v1/inbox/seven/done").await), "bad_request");
    assert_eq!(code(api.get::<Value>("/v1/inbox?wait_ms=long").await), "bad_request");
    assert_eq!(code(api.get::<Value>("/v1/letters/ben/12").await), "bad_request");
    assert_eq!(code(api.delete::<Value>("/v1/peers/carl").await), "no_such_peer");
    assert_eq!(api.get::<Status>("/v1/status").await.unwrap().outbox, 0);
    drop(ben);
}

#[tokio::test]
async fn a_long_poll_ends_with_the_first_letter_and_goes_on_after_it() {
    let homes = Homes::new();
    let (anna, ben) = homes.pair();
    let waiting = tokio::spawn({
        let api = ben.api();
        async move { api.get::<InboxPage>("/v1/inbox?wait_ms=60000").await.unwrap() }
    });
    let api = anna.api();
    api.post::<Accepted>("/v1/letters", &text("ben", "one")).await.unwrap();
    let first = waiting.await.unwrap().letters;
    assert_eq!(first.iter().map(|letter| letter.text.as_deref()).collect::<Vec<_>>(), [Some("one")]);

    api.post::<Accepted>("/v1/letters", &text("ben", "two")).await.unwrap();
    let second: InboxPage = ben.api().get(&format!("/v1/inbox?wait_ms=60000&after={}", first[0].no)).await.unwrap();
    assert_eq!(second.letters.iter().map(|letter| letter.text.as_deref()).collect::<Vec<_>>(), [Some("two")]);
    assert!(second.letters[0].no > first[0].no);
    let nothing: InboxPage =
        ben.api().get(&format!("/v1/inbox?wait_ms=50&after={}", second.letters[0].no)).await.unwrap();
    assert!(nothing.letters.is_empty());
    let all: InboxPage = ben.api().get("/v1/inbox?max=1").await.unwrap();
    assert_eq!(all.letters, first);
}

#[tokio::test]
async fn events_bring_what_is_there_and_what_comes() {
    let homes = Homes::new();
    let (anna, ben) = homes.pair();
    let api = anna.api();
    for number in 0..3 {
        api.post::<Accepted>("/v1/letters", &text("ben", &format!("letter {number}"))).await.unwrap();
    }
    let events = ben.api();
    let mut heard = String::new();
    let followed = events.pour("/v1/inbox/events", |piece| {
        heard.push_str(std::str::from_utf8(piece).unwrap());
        if heard.contains("letter 3") { Err(Failure::NotYet("enough".to_owned())) } else { Ok(()) }
    });
    let more = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        api.post::<Accepted>("/v1/letters", &text("ben", "letter 3")).await.unwrap();
    };
    let (ended, ()) = tokio::join!(tokio::time::timeout(crate::support::PATIENCE, followed), more);
    assert!(matches!(ended.unwrap(), Err(Failure::NotYet(_))));
    let data: Vec<InboxLetter> = heard
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let texts: Vec<_> = data.iter().map(|letter| letter.text.clone().unwrap()).collect();
    assert_eq!(texts, ["letter 0", "letter 1", "letter 2", "letter 3"]);
    assert_eq!(heard.matches("event: letter").count(), 4);
    assert!(heard.contains(&format!("id: {}", data[3].no)));
}

#[tokio::test]
async fn requests_are_answered_or_run_out_of_time() {
    let homes = Homes::new();
    let (anna, ben) = homes.pair();
    let asking = tokio::spawn({
        let api = anna.api();
        async move { api.post::<InboxLetter>("/v1/requests?timeout_ms=60000", &text("ben", "how large?")).await.unwrap() }
    });
    let api = ben.api();
    let page: InboxPage = api.get("/v1/inbox?wait_ms=60000").await.unwrap();
    let large = data_encoding::BASE64.encode(&vec![9; 100_000]);
    let answer = NewLetter {
        to: "anna".to_owned(),
        base64: Some(large.clone()),
        reply_to: Some(page.letters[0].id.clone()),
        ..NewLetter::default()
    };
    api.post::<Accepted>("/v1/letters", &answer).await.unwrap();
    let answered = asking.await.unwrap();
    assert_eq!((answered.len, answered.base64), (100_000, Some(large)));
    assert!(anna.api().get::<InboxPage>("/v1/inbox").await.unwrap().letters.is_empty(), "an answer is handed out once");
    assert_eq!(
        code(anna.api().post::<InboxLetter>("/v1/requests?timeout_ms=100", &text("ben", "and?")).await),
        "timed_out"
    );
}

/// The first letter of an inbox, once there is one.
async fn first(agent: &Daemon) -> InboxLetter {
    let page: InboxPage = agent.api().get("/v1/inbox?wait_ms=60000").await.unwrap();
    page.letters.into_iter().next().unwrap()
}

/// Answers a question with a file of so many bytes, and removes the question.
async fn answer_with_file(homes: &Homes, agent: &Daemon, len: usize) {
    let question = first(agent).await;
    let file = homes.path("answer");
    std::fs::write(&file, vec![9; len]).unwrap();
    let (to, reply_to) = ("anna".to_owned(), Some(question.id));
    let answer = NewLetter { to, reply_to, file: Some(file), ..NewLetter::default() };
    agent.api().post::<Accepted>("/v1/letters", &answer).await.unwrap();
    agent.api().tell(&format!("/v1/inbox/{}/done", question.no)).await.unwrap();
}

#[tokio::test]
async fn an_answer_that_cannot_be_handed_out_stays_in_the_inbox() {
    let homes = Homes::new();
    let (anna, ben) = homes.pair();
    let asking = tokio::spawn({
        let api = anna.api();
        async move { code(api.post::<InboxLetter>("/v1/requests?timeout_ms=60000", &text("ben", "all of it")).await) }
    });
    answer_with_file(&homes, &ben, 9 << 20).await;
    assert_eq!(asking.await.unwrap(), "too_large");
    assert_eq!(first(&anna).await.len, 9 << 20);
}

/// The caller goes away in the middle of a response that the system does not hold whole.
#[tokio::test]
async fn an_answer_whose_caller_goes_away_stays_in_the_inbox() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let homes = Homes::new();
    let (anna, ben) = homes.pair();
    let mut caller = tokio::net::UnixStream::connect(anna.home.join("api.sock")).await.unwrap();
    let body = serde_json::to_string(&text("ben", "most of it")).unwrap();
    let head =
        format!("POST /v1/requests?timeout_ms=60000 HTTP/1.1\r\nhost: nuncio\r\ncontent-length: {}\r\n", body.len());
    caller.write_all(format!("{head}content-type: application/json\r\n\r\n{body}").as_bytes()).await.unwrap();
    answer_with_file(&homes, &ben, 6 << 20).await;
    let mut begun = [0; 12];
    tokio::time::timeout(crate::support::PATIENCE, caller.read_exact(&mut begun)).await.unwrap().unwrap();
    assert_eq!(&begun, b"HTTP/1.1 200");
    assert!(anna.api().get::<InboxPage>("/v1/inbox").await.unwrap().letters.is_empty(), "it is being handed out");
    drop(caller);
    assert_eq!(first(&anna).await.len, 6 << 20);
}

#[tokio::test]
async fn a_letter_can_be_followed_and_taken_back() {
    let homes = Homes::new();
    let (anna, ben) = homes.pair();
    let api = anna.api();
    let sent: Accepted = api.post("/v1/letters", &text("ben", "one")).await.unwrap();
    let state: LetterState = api.get(&format!("/v1/letters/ben/{}?wait_ms=60000", sent.id)).await.unwrap();
    assert_eq!((state.state, state.to.as_str()), (Delivery::Delivered, ben.did()));
    ben.stop();
    let sent: Accepted = api.post("/v1/letters", &text("ben", "two")).await.unwrap();
    let path = format!("/v1/letters/ben/{}", sent.id);
    assert_eq!(api.get::<LetterState>(&path).await.unwrap().state, Delivery::Waiting);
    assert!(api.delete::<Cancelled>(&path).await.unwrap().cancelled);
    let state: LetterState = api.get(&path).await.unwrap();
    assert_eq!(state.state, Delivery::Failed);
    assert!(state.reason.unwrap().contains("cancelled"));
    assert!(!api.delete::<Cancelled>(&path).await.unwrap().cancelled);
    let large =
        NewLetter { base64: Some(data_encoding::BASE64.encode(&vec![9; 200_000])), text: None, ..text("ben", "") };
    let sent: Accepted = api.post("/v1/letters", &large).await.unwrap();
    let state: LetterState = api.get(&format!("/v1/letters/ben/{}", sent.id)).await.unwrap();
    let sealed = 200_000 + 4 * 16;
    assert_eq!((state.payload_sent, state.payload_len), (Some(0), Some(sealed)), "four chunks, each with its tag");
}

#[tokio::test]
async fn a_large_payload_is_read_from_the_api_as_it_was_written() {
    let homes = Homes::new();
    let (anna, ben) = homes.pair();
    let bytes: Vec<u8> = (0..2_500_000_u32).map(|n| (n.wrapping_mul(n) >> 9) as u8).collect();
    let path = homes.path("film");
    std::fs::write(&path, &bytes).unwrap();
    let letter = NewLetter { to: "ben".to_owned(), file: Some(path), ..NewLetter::default() };
    anna.api().post::<Accepted>("/v1/letters", &letter).await.unwrap();
    let api = ben.api();
    let page: InboxPage = api.get("/v1/inbox?wait_ms=60000").await.unwrap();
    let letter = &page.letters[0];
    assert_eq!((letter.len, &letter.text, &letter.base64), (2_500_000, &None, &None));
    assert_eq!(api.bytes(&format!("/v1/inbox/{}/payload?wait_ms=60000", letter.no)).await.unwrap(), bytes);
    api.tell(&format!("/v1/inbox/{}/done", letter.no)).await.unwrap();
    assert_eq!(code(api.bytes(&format!("/v1/inbox/{}/payload", letter.no)).await), "no_such_letter");
}

#[tokio::test(flavor = "multi_thread")]
async fn channels_are_had_and_changed_and_their_letters_waited_for() {
    let homes = Homes::new();
    let (anna, ben) = homes.pair();
    let (a, b) = (anna.api(), ben.api());
    let made: Channel = a.post("/v1/channels", &json!({ "name": "crew" })).await.unwrap();
    assert_eq!((made.role, made.members.len(), made.owner.as_str()), (Role::Owner, 1, anna.did()));
    let one = format!("/v1/channels/{}", made.channel);
    let change = async |body: Value| code(a.post::<Value>(&format!("{one}/changes"), &body).await);
    assert_eq!(change(json!({})).await, "bad_request");
    assert_eq!(change(json!({ "rename": "a", "admin": "ben" })).await, "bad_request");
    assert_eq!(change(json!({ "remove": "ben" })).await, "channel_refused", "he is no member");
    assert_eq!(
        code(a.post::<Value>(&format!("{one}/letters"), &json!({ "text": "a", "base64": "AA==" })).await),
        "bad_request"
    );
    assert_eq!(code(b.get::<Value>(&one).await), "no_such_channel");

    a.post::<Value>(&format!("{one}/invitations"), &json!({ "agent": "ben" })).await.unwrap();
    while b.get::<Channels>("/v1/channels").await.unwrap().invitations.is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    b.post::<Value>("/v1/channels/crew/join", &()).await.unwrap();
    while b.get::<Channel>("/v1/channels/crew").await.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Whoever waits is told when it comes, and not of other letters.
    let waits = async { b.get::<InboxPage>("/v1/channels/crew/letters?wait_ms=30000").await.unwrap() };
    let says = async {
        a.post::<Accepted>("/v1/letters", &text("ben", "aside")).await.unwrap();
        a.post::<ChannelAccepted>(&format!("{one}/letters"), &json!({ "text": "all hands" })).await.unwrap()
    };
    let (page, sent) = tokio::join!(waits, says);
    let heard: Vec<_> = page.letters.iter().map(|letter| (letter.text.as_deref(), letter.channel.as_deref())).collect();
    assert_eq!(heard, [(Some("all hands"), Some(made.channel.as_str()))]);
    let tally: ChannelTally = a.get(&format!("{one}/letters/{}?wait_ms=30000", sent.id)).await.unwrap();
    assert_eq!((tally.of, tally.delivered, tally.waiting), (1, 1, 0));
    assert_eq!((tally.members[0].name.as_deref(), tally.members[0].state), (Some("ben"), Delivery::Delivered));
    assert_eq!(code(a.get::<Value>(&format!("{one}/letters/{}", "0".repeat(32))).await), "bad_request");
    anna.stop();
    ben.stop();
}

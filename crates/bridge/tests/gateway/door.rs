//! The gateway's bounds: who shows false tokens, who asks too much at once, and who goes away.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::provider::Provider;
use super::scene::{Scene, login, within};

const LETTERS: &str = "/v1/agents/planner/letters";
const CHAT: &str = "/v1/chat/completions";

fn letters(timeout_s: u64) -> String {
    format!("[agents.planner]\nletters = \"travel.plan\"\ntimeout_s = {timeout_s}\n")
}

fn chat(provider: &Provider) -> String {
    format!(
        "[chat]\nurl = \"http://{}/v1/chat/completions\"\nkey_file = \"provider.key\"\nscope = \"chat.complete\"\nmodels = [\"small\"]\ntimeout_s = 30\n",
        provider.at
    )
}

async fn scene(provider: &Provider, more: &str) -> Scene {
    let scene = Scene::new("").await;
    super::scene::private(&scene.home().join("provider.key"), "sk-1");
    scene.again(&format!("{more}{}", chat(provider))).await
}

fn forged() -> String {
    login(&json!({})).rsplit_once('.').map(|(signed, _)| format!("{signed}.{}", "A".repeat(86))).unwrap()
}

/// contracts/gateway.md W5.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_shows_false_tokens_without_end_is_stopped_before_the_token_service_is_asked() {
    let scene = Scene::new(&letters(5)).await;
    let ask = async |token: &str| scene.ask(LETTERS, token, &json!({})).await.0;
    // What no login gives costs nothing, however often.
    for _ in 0..200 {
        assert_eq!(ask("a.b.c").await, 401);
        assert_eq!(ask(&login(&json!({ "exp": 1_700_000_000 }))).await, 401);
    }
    assert_eq!(ask(&login(&json!({}))).await, 400, "a good one, and no letter");
    let (mut asked, forged) = (0, forged());
    while ask(&forged).await == 401 {
        asked += 1;
        assert!(asked < 200, "nothing stops them");
    }
    assert!(asked >= 50, "{asked}");
    let over = within(scene.post(LETTERS, &forged, "{}").send()).await.unwrap();
    assert!(over.status() == 401 || (over.status() == 429 && over.headers().contains_key("retry-after")));
    scene.stop().await;
}

/// contracts/gateway.md W41.
#[tokio::test(flavor = "multi_thread")]
async fn one_person_has_so_many_requests_under_way_and_others_have_theirs() {
    let provider = Provider::new(200, "application/json", "{}").await;
    let scene = scene(&provider, "").await;
    let (anna, ben) = (login(&json!({})), login(&json!({ "sub": "ben" })));
    provider.leave.forget_permits(1_000);
    let body = json!({ "model": "small" });
    let under_way: Vec<_> = (0..32).map(|_| tokio::spawn(scene.post(CHAT, &anna, body.to_string()).send())).collect();
    let since = Instant::now();
    while provider.asked() < 32 {
        assert!(since.elapsed() < Duration::from_secs(30), "{}", provider.asked());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (status, told) = scene.ask(CHAT, &anna, &body).await;
    assert_eq!((status, &told["error"]["code"]), (429, &json!("too_many")));
    assert_eq!(scene.ask(CHAT, &ben, &json!({ "model": "none" })).await.0, 403, "another's are another's");
    provider.leave.add_permits(1_000);
    for one in under_way {
        assert_eq!(one.await.unwrap().unwrap().status(), 200);
    }
    assert_eq!(scene.ask(CHAT, &anna, &body).await.0, 200);
    scene.stop().await;
}

/// contracts/gateway.md W9, W41.
#[tokio::test(flavor = "multi_thread")]
async fn a_letter_whose_client_has_gone_is_under_way_and_its_answer_is_taken() {
    let scene = Scene::new(&letters(30)).await;
    let mut inbox = scene.planner.inbox().await.unwrap();
    let token = login(&json!({}));
    let under_way: Vec<_> =
        (0..32).map(|_| tokio::spawn(scene.post(LETTERS, &token, r#"{"text":"to Rome"}"#).send())).collect();
    let mut came = Vec::new();
    for _ in 0..32 {
        came.push(within(inbox.next()).await.unwrap());
    }
    under_way.iter().for_each(tokio::task::JoinHandle::abort);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (status, told) = scene.ask(LETTERS, &token, &json!({ "text": "again" })).await;
    assert_eq!((status, &told["error"]["code"]), (429, &json!("too_many")), "{told}");
    for letter in came {
        scene.planner.send(letter.from, nuncio::Message::text("booked").reply_to(letter.id)).await.unwrap();
        scene.planner.done(letter.no).await.unwrap();
    }
    let since = Instant::now();
    while scene.ask(LETTERS, &token, &json!({})).await.0 == 429 {
        assert!(since.elapsed() < Duration::from_secs(20), "they are under way still");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(scene.agent.letters(None, 100).await.unwrap().is_empty(), "an answer lies in the inbox");
    scene.stop().await;
}

/// contracts/gateway.md W7.
#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_cannot_be_handed_over_does_not_outlive_its_wait() {
    let scene = Scene::new(&letters(2)).await;
    let token = login(&json!({}));
    scene.planner.shutdown().await.unwrap();
    let (status, told) = scene.ask(LETTERS, &token, &json!({ "text": "to Rome" })).await;
    assert_eq!((status, &told["error"]["code"]), (504, &json!("timed_out")), "{told}");
    let since = Instant::now();
    while scene.agent.status().await.unwrap().outbox > 0 {
        assert!(since.elapsed() < Duration::from_secs(20), "it waits still");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    scene.gateway.stop().await;
    scene.bridge.stop().await;
    scene.agent.shutdown().await.unwrap();
    scene.node.stop().await.unwrap();
}

/// contracts/gateway.md W7.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_too_long_is_none_and_a_long_one_is_whole() {
    let scene = Scene::new(&letters(60)).await;
    let mut inbox = scene.planner.inbox().await.unwrap();
    let token = login(&json!({}));
    for (len, status) in [(8 << 20, 200), ((8 << 20) + 1, 502)] {
        let (text, asked) = ("a".repeat(len), json!({ "text": "to Rome" }));
        let (answered, _) = tokio::join!(scene.ask(LETTERS, &token, &asked), scene.answer(&mut inbox, &text));
        assert_eq!(answered.0, status, "{len}");
        let whole = answered.1["text"].as_str().map(str::len);
        assert_eq!(whole, (status == 200).then_some(len), "{len}");
    }
    scene.stop().await;
}

/// contracts/gateway.md W41.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_not_taken_is_memory_of_its_person() {
    let scene = Scene::new(&letters(60)).await;
    let mut inbox = scene.planner.inbox().await.unwrap();
    let token = login(&json!({}));
    // Twice as long as JSON: more than the sockets hold.
    let text = "\"".repeat(8 << 20);
    let asked = scene.post(LETTERS, &token, r#"{"text":"to Rome"}"#).send();
    let (untaken, _) = tokio::join!(asked, scene.answer(&mut inbox, &text));
    let untaken = untaken.unwrap();
    assert_eq!(untaken.status(), 200);
    let letter = json!({ "text": "again" });
    let (over, _) = tokio::join!(scene.ask(LETTERS, &token, &letter), scene.answer(&mut inbox, &text));
    assert_eq!((over.0, &over.1["error"]["code"]), (429, &json!("too_many")));
    assert!(within(untaken.text()).await.unwrap().len() > 16 << 20);
    let (answered, _) = tokio::join!(scene.ask(LETTERS, &token, &letter), scene.answer(&mut inbox, &text));
    assert_eq!(answered.0, 200);
    scene.stop().await;
}

/// contracts/gateway.md W6, W42.
#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_is_no_text_leads_nowhere_and_a_completion_has_its_length() {
    let provider = Provider::new(200, "application/json", "{}").await;
    let scene = scene(&provider, &letters(5)).await;
    let token = login(&json!({}));
    for path in ["/v1/agents/%ff/letters", "/v1/mcp/planner/%ff", "/v1/mcp/%ff/files"] {
        let (status, told) = scene.ask(path, &token, &json!({})).await;
        assert_eq!((status, &told["error"]["code"]), (404, &json!("not_found")), "{path}");
    }
    let long = json!({ "model": "small", "messages": "a".repeat(4 << 20) });
    let (status, told) = scene.ask(CHAT, &token, &long).await;
    assert_eq!((status, &told["error"]["code"], provider.asked()), (413, &json!("too_large"), 0));
    scene.stop().await;
}

/// contracts/gateway.md W13.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_behind_the_exchange_was_a_request() {
    let provider = Provider::new(200, "application/json", "{}").await;
    let budget = "[budget.requests]\nmode = \"hard\"\nlimit = 5\nper = \"day\"\n";
    let more = format!(
        "{budget}{}services = {{ files = \"tools.read\" }}\n[agents.lost]\npeer = \"nobody\"\nletters = \"travel.plan\"\n",
        letters(5)
    );
    let scene = scene(&provider, &more).await;
    let token = login(&json!({}));
    let file = "/v1/mcp/planner/files";
    assert_eq!(scene.ask(CHAT, &token, &json!({ "model": "none" })).await.0, 403);
    assert_eq!(scene.ask(CHAT, &token, &json!({})).await.0, 400);
    assert_eq!(scene.ask(LETTERS, &token, &json!({})).await.0, 400);
    assert_eq!(scene.ask("/v1/agents/lost/letters", &token, &json!({ "text": "a" })).await.0, 503);
    let url = format!("http://{}{file}", scene.gateway.address());
    let end = scene.client.delete(url).bearer_auth(&token).header("mcp-session-id", "0".repeat(32));
    assert_eq!(within(end.send()).await.unwrap().status(), 404);
    assert_eq!(scene.ask(CHAT, &token, &json!({ "model": "small" })).await.0, 429);
    assert_eq!(provider.asked(), 0);
    scene.stop().await;
}

/// contracts/gateway.md W14.
#[tokio::test(flavor = "multi_thread")]
async fn where_tokens_have_an_end_a_body_says_its_most_and_a_stream_what_it_used() {
    let provider = Provider::new(200, "application/json", "{}").await;
    let budget = "[budget.tokens]\nmode = \"hard\"\nlimit = 1000\nper = \"day\"\n";
    let scene = scene(&provider, budget).await;
    let token = login(&json!({}));
    let asks = async |body: Value| scene.ask(CHAT, &token, &body).await.0;
    assert_eq!(asks(json!({ "model": "small" })).await, 400);
    assert_eq!(asks(json!({ "model": "small", "max_tokens": 9, "stream": true })).await, 400);
    assert_eq!(provider.asked(), 0);
    let whole =
        json!({ "model": "small", "max_tokens": 9, "stream": true, "stream_options": { "include_usage": true } });
    assert_eq!(asks(whole).await, 200);
    scene.stop().await;
}

/// contracts/gateway.md W15.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_settled_by_its_last_word_and_one_that_broke_off_used_what_was_reserved() {
    let said = "data: {\"choices\":[],\"usage\":{\"total_tokens\":12}}\n\n";
    let provider = Provider::new(200, "text/event-stream", &format!("{said}data: [DONE]\n\n")).await;
    let budget = "[budget.tokens]\nmode = \"hard\"\nlimit = 260\nper = \"day\"\n";
    let scene = scene(&provider, budget).await;
    let token = login(&json!({}));
    let body =
        json!({ "model": "small", "max_tokens": 50, "stream": true, "stream_options": { "include_usage": true } });
    let asks = async || {
        let response = within(scene.post(CHAT, &token, body.to_string()).send()).await.unwrap();
        let status = response.status().as_u16();
        let text = within(response.text()).await;
        // Until it is settled.
        tokio::time::sleep(Duration::from_millis(200)).await;
        (status, text.is_ok())
    };
    // Of some 75 each 12 were used.
    for _ in 0..6 {
        assert_eq!(asks().await, (200, true));
    }
    provider.breaks_off_after(said);
    assert_eq!(asks().await, (200, false));
    assert_eq!(asks().await, (200, false), "72 and 75 were used");
    assert_eq!(asks().await.0, 429, "and 75 again");
    scene.stop().await;
}

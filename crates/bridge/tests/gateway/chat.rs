//! Completions: whose key goes where, what is counted, and what is said where there is no provider.

use serde_json::json;

use super::provider::Provider;
use super::scene::{Scene, login, within};

const PATH: &str = "/v1/chat/completions";
const KEY: &str = "sk-of-the-owner-alone";
/// Not as a program would write it.
const BODY: &str =
    "{ \"model\":\"small\",\n\t\"messages\":[ {\"role\":\"user\",\"content\":\"\\u00e9é\"} ],\"max_tokens\" : 7 }";
const ANSWER: &str = "{ \"choices\" :[{\"message\":{\"content\":\"\\u00e9é\"}}],\n\"usage\":{\"total_tokens\":12} }";

fn file(provider: &Provider, more: &str) -> String {
    let at = provider.at;
    format!(
        "{more}\n[chat]\nurl = \"http://{at}/v1/chat/completions\"\nkey_file = \"provider.key\"\nscope = \"chat.complete\"\nmodels = [\"small\"]\ntimeout_s = 5\n"
    )
}

fn budget(what: &str, limit: u64) -> String {
    format!("[budget.{what}]\nmode = \"hard\"\nlimit = {limit}\nper = \"day\"\n")
}

async fn scene(provider: &Provider, more: &str) -> Scene {
    let scene = Scene::new("").await;
    super::scene::private(&scene.home().join("provider.key"), KEY);
    scene.again(&file(provider, more)).await
}

/// contracts/gateway.md W10.
#[tokio::test(flavor = "multi_thread")]
async fn bodies_go_both_ways_untouched_and_each_key_to_its_own_side_alone() {
    let provider = Provider::new(200, "application/json", ANSWER).await;
    let scene = scene(&provider, "").await;
    let token = login(&json!({}));
    let request = scene.post(PATH, &token, BODY).header("cookie", "c=d").header("openai-organization", "mine");
    let response = within(request.send()).await.unwrap();
    assert_eq!(response.status(), 200);
    let head = format!("{:?}", response.headers());
    assert!(!head.contains("a=b") && !head.contains("elsewhere") && !head.contains(KEY), "{head}");
    assert_eq!(within(response.text()).await.unwrap(), ANSWER);
    let (path, head, body) = provider.seen.lock().unwrap()[0].clone();
    assert_eq!((path.as_str(), &body[..]), (PATH, BODY.as_bytes()));
    assert!(head.contains(KEY) && !head.contains(&token) && !head.contains("c=d") && !head.contains("mine"), "{head}");

    let stream = "data: {\"choices\":[]}\n\ndata: {\"usage\":{\"total_tokens\":3}}\r\n\r\ndata: [DONE]\n\n";
    provider.says(200, "text/event-stream", stream);
    let response = within(scene.post(PATH, &token, BODY).send()).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(within(response.text()).await.unwrap(), stream);
    scene.stop().await;
}

/// contracts/gateway.md W10.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_provider_says_of_the_key_is_not_the_person_s_and_no_redirect_is_followed() {
    let provider = Provider::new(200, "application/json", ANSWER).await;
    let scene = scene(&provider, "").await;
    let token = login(&json!({}));
    let told = format!("{{\"error\":{{\"message\":\"Incorrect API key provided: {KEY}\"}}}}");
    for (asked, status) in [401, 403, 407, 302, 307, 308].into_iter().enumerate() {
        provider.says(status, "application/json", &told);
        let response = within(scene.post(PATH, &token, BODY).send()).await.unwrap();
        assert_eq!((response.status().as_u16(), provider.asked()), (502, asked + 1), "{status}");
        assert!(!response.headers().contains_key("www-authenticate"));
        assert!(!within(response.text()).await.unwrap().contains(KEY), "{status}");
    }
    provider.says(429, "application/json", "{\"error\":1}");
    let (status, told) = scene.ask(PATH, &token, &serde_json::from_str(BODY).unwrap()).await;
    assert_eq!((status, told), (429, json!({ "error": 1 })));
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_not_complete_reaches_no_provider() {
    let provider = Provider::new(200, "application/json", ANSWER).await;
    let scene = scene(&provider, "").await;
    let (body, good) = (json!({ "model": "small" }), login(&json!({})));
    for (token, body, status, code) in [
        (login(&json!({ "scope": "travel.plan" })), &body, 403, "insufficient_scope"),
        (login(&json!({ "exp": 1_700_000_600, "iat": 1_700_000_000 })), &body, 401, "invalid_token"),
        (login(&json!({ "sub": "mallory" })), &body, 403, "denied"),
        (good.clone(), &json!({ "model": "large" }), 403, "no_model"),
        (good.clone(), &json!({ "messages": [] }), 400, "bad_request"),
        (good.clone(), &json!({ "model": "small", "Max_Tokens": 9 }), 400, "bad_request"),
    ] {
        let (was, told) = scene.ask(PATH, &token, body).await;
        assert_eq!((was, &told["error"]["code"]), (status, &json!(code)), "{told}");
    }
    assert_eq!(provider.asked(), 0);
    scene.stop().await;
}

/// contracts/gateway.md W11.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_provider_there_is_no_completion() {
    let scene = Scene::new("").await;
    let (status, told) = scene.ask(PATH, &login(&json!({})), &json!({ "model": "small" })).await;
    assert_eq!((status, &told["error"]["code"]), (503, &json!("no_provider")));
    assert!(told.get("choices").is_none());
    scene.stop().await;
}

/// contracts/gateway.md W13, W14.
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_at_once_on_a_budget_for_ten_are_ten_at_the_provider() {
    let provider = Provider::new(200, "application/json", ANSWER).await;
    let scene = scene(&provider, &budget("requests", 10)).await;
    let (token, body) = (login(&json!({})), json!({ "model": "small" }));
    let mut statuses = Vec::new();
    // As many at once as one person may have, and again.
    for _ in 0..4 {
        let asked = (0..25).map(|_| scene.post(PATH, &token, body.to_string()).send());
        let answered = within(futures(asked.collect())).await;
        statuses.extend(answered.into_iter().map(|response| response.unwrap().status().as_u16()));
    }
    let of = |wanted: u16| statuses.iter().filter(|status| **status == wanted).count();
    assert_eq!((of(200), of(429), provider.asked()), (10, 90, 10), "{statuses:?}");
    let over = within(scene.post(PATH, &token, body.to_string()).send()).await.unwrap();
    let again: u64 = over.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=86_400).contains(&again));
    let (status, _) = scene.ask(PATH, &login(&json!({ "sub": "ben" })), &body).await;
    assert_eq!(status, 200, "another's budget is another's");
    scene.stop().await;
}

async fn futures<T: Send + 'static>(all: Vec<impl Future<Output = T> + Send + 'static>) -> Vec<T> {
    let tasks: Vec<_> = all.into_iter().map(tokio::spawn).collect();
    let mut done = Vec::new();
    for task in tasks {
        done.push(task.await.unwrap());
    }
    done
}

/// contracts/gateway.md W15.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_used_counts_and_what_nobody_knows_counts_whole() {
    let provider = Provider::new(200, "application/json", ANSWER).await;
    let scene = scene(&provider, &budget("tokens", 200)).await;
    let token = login(&json!({}));
    let body = |most: u64| json!({ "model": "small", "max_tokens": most });
    // Of 100 and the body's 12 or so 12 were used.
    for _ in 0..3 {
        assert_eq!(scene.ask(PATH, &token, &body(100)).await.0, 200);
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    provider.says(500, "application/json", "{}");
    assert_eq!(scene.ask(PATH, &token, &body(100)).await.0, 500);
    provider.says(200, "application/json", "{}");
    assert_eq!(scene.ask(PATH, &token, &body(100)).await.0, 200, "36 were used, and nothing by what failed");
    let (status, told) = scene.ask(PATH, &token, &body(100)).await;
    assert_eq!((status, &told["error"]["code"]), (429, &json!("budget")), "it said nothing of what it used");
    scene.stop().await;
}

/// contracts/gateway.md W15.
#[tokio::test(flavor = "multi_thread")]
async fn a_completion_that_nobody_waits_for_has_used_what_was_reserved() {
    let provider = Provider::new(200, "application/json", ANSWER).await;
    let scene = scene(&provider, &budget("tokens", 150)).await;
    let (token, body) = (login(&json!({})), json!({ "model": "small", "max_tokens": 100 }));
    provider.leave.forget_permits(1_000);
    let gone = tokio::time::timeout(std::time::Duration::from_secs(1), scene.ask(PATH, &token, &body)).await;
    assert!(gone.is_err() && provider.asked() == 1, "it was under way");
    // Until the gateway has seen that its client is gone.
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    provider.leave.add_permits(10);
    assert_eq!(scene.ask(PATH, &token, &body).await.0, 429);
    // Also at the next gateway of this agent.
    let scene = scene.again(&file(&provider, &budget("tokens", 150))).await;
    assert_eq!(scene.ask(PATH, &token, &body).await.0, 429);
    scene.stop().await;
}

//! Letters of people, and who may write them.

use std::time::Duration;

use serde_json::json;

use super::scene::{Scene, login, within};

const FILE: &str = "[agents.planner]\nletters = \"travel.plan\"\ntimeout_s = 5\n[agents.mute]\npeer = \"planner\"\n[agents.chat]\npeer = \"planner\"\nletters = \"chat.complete\"\ntimeout_s = 5\n";
const PATH: &str = "/v1/agents/planner/letters";

#[tokio::test(flavor = "multi_thread")]
async fn a_person_s_login_becomes_the_transaction_of_a_letter_and_the_answer_comes_back() {
    let scene = Scene::new(FILE).await;
    let mut inbox = scene.planner.inbox().await.unwrap();
    let (token, asked) = (login(&json!({})), json!({ "text": "to Rome" }));
    let (answered, letter) = tokio::join!(scene.ask(PATH, &token, &asked), scene.answer(&mut inbox, "booked"));
    let (status, answer) = answered;
    assert_eq!((status, &answer["text"]), (200, &json!("booked")), "{answer}");
    let grant = letter.grant.expect("a letter under a transaction");
    assert_eq!((grant.principal(), grant.scope().to_string().as_str()), ("user:anna", "travel.plan"));
    assert_eq!(
        (answer["transaction"].as_str(), letter.payload.text().unwrap()),
        (Some(grant.transaction()), "to Rome")
    );
    // contracts/gateway.md W4: the person's token stays where it was shown.
    assert!(!grant.token().contains(&token) && !format!("{grant:?}{answer}").contains(&token));
    assert!(scene.agent.letters(None, 10).await.unwrap().is_empty(), "the answer is nobody else's");
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_comes_as_a_stream_where_it_is_wanted() {
    let scene = Scene::new(FILE).await;
    let mut inbox = scene.planner.inbox().await.unwrap();
    let request = scene.post(PATH, &login(&json!({})), r#"{"text":"to Rome"}"#).header("accept", "text/event-stream");
    let asking = async { within(within(request.send()).await.unwrap().text()).await.unwrap() };
    let (events, _) = tokio::join!(asking, scene.answer(&mut inbox, "booked\nat noon"));
    let names: Vec<_> = events.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    assert_eq!(names, ["begun", "answer"], "{events}");
    assert!(events.contains(r#""text":"booked\nat noon""#), "{events}");
    // Nobody answers: that is an event too.
    let request = scene.post(PATH, &login(&json!({})), r#"{"text":"?"}"#).header("accept", "text/event-stream");
    let events = within(within(request.send()).await.unwrap().text()).await.unwrap();
    assert!(events.contains("event: failed") && events.contains("timed_out"), "{events}");
    scene.stop().await;
}

/// contracts/gateway.md W1, W2, W3.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_that_the_service_takes_for_that_scope_no_letter_is_sent() {
    let scene = Scene::new(FILE).await;
    let old = json!({ "iat": 1_700_000_000, "exp": 1_700_000_600 });
    let forged = login(&json!({})).rsplit_once('.').map(|(signed, _)| format!("{signed}.{}", "A".repeat(86))).unwrap();
    for (token, status, code) in [
        (login(&old), 401, "invalid_token"),
        (forged, 401, "invalid_token"),
        (login(&json!({ "aud": "others" })), 401, "invalid_token"),
        ("x".to_owned(), 401, "invalid_token"),
        (login(&json!({ "scope": "profile" })), 403, "insufficient_scope"),
        (login(&json!({ "sub": "mallory" })), 403, "denied"),
    ] {
        let response = within(scene.post(PATH, &token, r#"{"text":"to Rome"}"#).send()).await.unwrap();
        let challenge = response.headers().get("www-authenticate").map(|field| field.to_str().unwrap().to_owned());
        assert_eq!(response.status(), status, "{code}");
        assert_eq!(challenge.is_some(), status == 401 || code == "insufficient_scope", "{code}");
        assert!(challenge.unwrap_or_default().contains(code) || code == "denied");
        let told: serde_json::Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
        assert_eq!(told["error"]["code"], code);
    }
    let url = format!("http://{}{PATH}", scene.gateway.address());
    let bare = within(scene.client.post(&url).body(r#"{"text":"to Rome"}"#).send()).await.unwrap();
    assert_eq!((bare.status().as_u16(), bare.headers()["www-authenticate"].to_str().unwrap()), (401, "Bearer"));
    let page = scene.post(PATH, &login(&json!({})), r#"{"text":"to Rome"}"#).header("origin", url.clone());
    assert_eq!(within(page.send()).await.unwrap().status(), 403);
    let mut inbox = scene.planner.inbox().await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(500), inbox.next()).await.is_err(), "no letter came");
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_served_not_read_or_not_answered_is_said_so() {
    let scene = Scene::new(FILE).await;
    let (token, letter) = (login(&json!({})), json!({ "text": "to Rome" }));
    for path in ["/v1/agents/nobody/letters", "/v1/agents/mute/letters", "/v1/letters", "/"] {
        assert_eq!(scene.ask(path, &token, &letter).await.0, 404, "{path}");
    }
    assert_eq!(scene.ask(PATH, &token, &json!({ "text": "a", "to": "b" })).await.0, 400);
    let url = format!("http://{}{PATH}", scene.gateway.address());
    assert_eq!(within(scene.client.get(&url).bearer_auth(&token).send()).await.unwrap().status(), 405);
    let long = within(scene.post(PATH, &token, vec![b' '; (16 << 20) + 1]).send()).await.unwrap();
    assert_eq!(long.status(), 413);
    // The planner wants another scope than this route has.
    let (status, told) = scene.ask("/v1/agents/chat/letters", &token, &letter).await;
    assert_eq!((status, &told["error"]["code"]), (403, &json!("denied")), "{told}");
    let (status, told) = scene.ask(PATH, &token, &letter).await;
    assert_eq!((status, &told["error"]["code"]), (504, &json!("timed_out")), "{told}");
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_token_service_nobody_is_anybody() {
    let scene = Scene::new(FILE).await;
    let Scene { dir: _dir, node, gateway, agent, bridge, planner, client, .. } = scene;
    node.stop().await.unwrap();
    let url = format!("http://{}{PATH}", gateway.address());
    let asked = client.post(url).bearer_auth(login(&json!({}))).body(r#"{"text":"to Rome"}"#).send();
    let response = within(asked).await.unwrap();
    assert_eq!((response.status().as_u16(), response.headers().contains_key("retry-after")), (503, true));
    gateway.stop().await;
    bridge.stop().await;
    agent.shutdown().await.unwrap();
    planner.shutdown().await.unwrap();
}

/// contracts/gateway.md W5.
#[tokio::test(flavor = "multi_thread")]
async fn with_a_certificate_the_gateway_is_tls_and_nothing_else() {
    let scene = Scene::new("").await;
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(scene.home().join("cert.pem"), made.cert.pem()).unwrap();
    super::scene::private(&scene.home().join("key.pem"), &made.signing_key.serialize_pem());
    let scene = scene.again(&format!("[tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n{FILE}")).await;
    let at = scene.gateway.address();
    let root = reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap();
    let trusting = reqwest::Client::builder().no_proxy().tls_certs_only([root]).resolve("localhost", at);
    let url = format!("https://localhost:{}{PATH}", at.port());
    let asked = within(trusting.build().unwrap().post(url).body("{}").send()).await.unwrap();
    assert_eq!(asked.status(), 401);
    assert!(within(scene.client.post(format!("http://{at}{PATH}")).body("{}").send()).await.is_err(), "plain");
    scene.stop().await;
}

/// contracts/gateway.md W19.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_a_token_is_told_where_its_person_logs_in() {
    let scene = Scene::new(FILE).await;
    let at = |path: &str, scene: &Scene| format!("http://{}{path}", scene.gateway.address());
    let (known, challenge) = ("/.well-known/oauth-protected-resource", "www-authenticate");
    assert_eq!(within(scene.client.get(at(known, &scene)).send()).await.unwrap().status(), 404, "nobody said");
    let login_at = "[login]\nurl = \"https://gate.example/\"\nissuers = [\"https://login.example\"]\n";
    let scene = scene.again(&format!("{login_at}{FILE}")).await;
    let told = within(scene.client.get(at(known, &scene)).send()).await.unwrap().text().await.unwrap();
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(
        (&told["resource"], &told["authorization_servers"]),
        (&json!("https://gate.example"), &json!(["https://login.example"]))
    );
    assert_eq!(told["scopes_supported"], json!(["chat.complete", "travel.plan"]));
    let place = format!("resource_metadata=\"https://gate.example{known}\"");
    let bare = within(scene.client.post(at(PATH, &scene)).body("{}").send()).await.unwrap();
    assert_eq!(bare.headers()[challenge].to_str().unwrap(), format!("Bearer {place}"));
    let other = within(scene.post(PATH, &login(&json!({ "scope": "profile" })), "{}").send()).await.unwrap();
    let said = other.headers()[challenge].to_str().unwrap();
    assert!(said.starts_with("Bearer error=\"insufficient_scope\"") && said.ends_with(&format!(", {place}")), "{said}");
    scene.stop().await;
}

//! The page: signing in, what a session may, and what a browser is told to keep to (contracts/txts.md section 12).

use std::time::{Duration, Instant};

use nuncio_contracts::registry::{limit, time};
use reqwest::header::HeaderMap;
use reqwest::{Method, Response};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::support::{Fixture, GATEWAY, agent};
use crate::Node;
use crate::page::Page;

type Pairs<'a> = &'a [(&'a str, &'a str)];

/// A browser that is signed in asks so for its own page's parts.
const OWN: (&str, &str) = ("sec-fetch-site", "same-origin");

async fn ask(at: &Fixture, method: Method, path: &str, headers: Pairs<'_>, body: String) -> Response {
    let request = headers
        .iter()
        .fold(at.http.request(method, at.url(path)), |request, (name, value)| request.header(*name, *value));
    request.body(body).send().await.unwrap()
}

async fn get(at: &Fixture, path: &str, headers: Pairs<'_>) -> Response {
    ask(at, Method::GET, path, headers, String::new()).await
}

async fn status(at: &Fixture, path: &str, headers: Pairs<'_>) -> u16 {
    get(at, path, headers).await.status().as_u16()
}

/// The link's secret, as the owner's socket gives it.
async fn secret(at: &Fixture) -> String {
    let mut socket = tokio::net::UnixStream::connect(at.node().owner_socket()).await.unwrap();
    let head = b"POST /owner/page HTTP/1.1\r\nhost: node\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    socket.write_all(head).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    let said: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(said["life_s"], 600);
    let (place, secret) = said["link"].as_str().unwrap().split_once('#').unwrap();
    assert_eq!(place, at.url("/sign-in"));
    secret.to_owned()
}

async fn sign_in(at: &Fixture, secret: &str, headers: Pairs<'_>) -> Response {
    ask(at, Method::POST, "/sign-in", headers, secret.to_owned()).await
}

fn set_cookie(headers: &HeaderMap) -> &str {
    headers["set-cookie"].to_str().unwrap()
}

/// A session's cookie, as a browser sends it.
async fn session(at: &Fixture) -> String {
    let answer = sign_in(at, &secret(at).await, &[OWN, ("origin", &at.url(""))]).await;
    assert_eq!(answer.status(), 204);
    set_cookie(answer.headers()).split(';').next().unwrap().to_owned()
}

/// contracts/txts.md N38.
#[tokio::test]
async fn a_link_signs_one_browser_in_once() {
    let at = Fixture::new().await;
    let secret = secret(&at).await;
    for other in [&secret[1..], &format!("{secret}A"), "nonsense"] {
        assert_eq!(sign_in(&at, other, &[OWN]).await.status(), 403, "{other}");
    }
    assert_eq!(sign_in(&at, "", &[OWN]).await.status(), 400);
    let first = sign_in(&at, &secret, &[OWN]).await;
    assert_eq!(first.status(), 204);
    let cookie = set_cookie(first.headers()).to_owned();
    let (pair, attributes) = cookie.split_once("; ").unwrap();
    assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Strict");
    assert!(!pair.contains(&secret), "the cookie is another secret");
    assert_eq!(sign_in(&at, &secret, &[OWN]).await.status(), 403, "it serves once");
    assert_eq!(status(&at, "/", &[OWN, ("cookie", pair)]).await, 200);
    assert_eq!(status(&at, "/", &[OWN, ("cookie", &format!("theme=dark; {pair}; x=y"))]).await, 200);
    for other in [&pair[..pair.len() - 1], &pair.to_lowercase(), "", pair.split_once('=').unwrap().1] {
        assert_eq!(status(&at, "/", &[OWN, ("cookie", other)]).await, 403, "{other}");
    }
}

/// contracts/txts.md N38: links and sessions are over after their times.
#[test]
fn a_link_that_lay_too_long_signs_nobody_in() {
    let page = Page::new("127.0.0.1:7430".parse().ok(), false, "http://127.0.0.1:7430");
    let link = || page.link().unwrap().split_once('#').unwrap().1.to_owned();
    let now = Instant::now();
    let in_ms = |ms| now + Duration::from_millis(ms);
    assert!(page.sign_in_at(&link(), in_ms(time::PAGE_LINK_LIFE - 1_000)).unwrap().is_some());
    assert!(page.sign_in_at(&link(), in_ms(time::PAGE_LINK_LIFE + 1_000)).unwrap().is_none());
    // A session of one minute short of its life ago, and one of a minute more.
    let began = |ago_ms: u64| now.checked_sub(Duration::from_millis(ago_ms));
    let Some((young, old)) = began(time::PAGE_SESSION_LIFE - 60_000).zip(began(time::PAGE_SESSION_LIFE + 60_000))
    else {
        return;
    };
    for (began, serves) in [(young, true), (old, false)] {
        let cookie = page.sign_in_at(&link(), began).unwrap().unwrap();
        let headers = axum::http::HeaderMap::from_iter([(
            axum::http::header::COOKIE,
            cookie.split(';').next().unwrap().parse().unwrap(),
        )]);
        assert_eq!(page.session(&axum::http::Method::GET, &headers).is_some(), serves);
    }
}

/// contracts/txts.md N38.
#[tokio::test]
async fn links_and_sessions_are_bounded_and_the_oldest_go() {
    let at = Fixture::new().await;
    let mut links = Vec::new();
    for _ in 0..=limit::PAGE_LINKS_MAX {
        links.push(secret(&at).await);
    }
    assert_eq!(sign_in(&at, &links[0], &[OWN]).await.status(), 403, "one too many ends the oldest");
    assert_eq!(sign_in(&at, &links[1], &[OWN]).await.status(), 204);
    let first = session(&at).await;
    for _ in 1..limit::PAGE_SESSIONS_MAX {
        session(&at).await;
    }
    assert_eq!(status(&at, "/", &[OWN, ("cookie", &first)]).await, 200);
    session(&at).await;
    assert_eq!(status(&at, "/", &[OWN, ("cookie", &first)]).await, 403);
}

/// contracts/txts.md N39: what every reader has, and nothing more.
#[tokio::test]
async fn a_session_is_a_reader_and_no_more() {
    let mut at = Fixture::new().await;
    at.stop().await;
    at.records_stay = false;
    at.start().await;
    let cookie = session(&at).await;
    let signed_in = [OWN, ("cookie", cookie.as_str())];
    for path in ["/", "/log/names", "/log/stream?from=0", "/jwks", "/keys", "/health/ready"] {
        assert_eq!(status(&at, path, &signed_in).await, 200, "{path}");
    }
    assert_eq!(status(&at, "/metrics", &signed_in).await, 403);
    for (path, wanted) in [
        ("/owner/page", 403),
        ("/owner/reload", 403),
        ("/owner/keys/rotate", 403),
        ("/owner/revoke?txn=01a21892-77f0-77d1-a1be-1ff4b8bf8ce3", 403),
        ("/events", 401),
        ("/checkpoint", 401),
        ("/token", 400),
        ("/revoke", 400),
    ] {
        let answer = ask(&at, Method::POST, path, &signed_in, String::new()).await;
        assert_eq!(answer.status(), wanted, "{path}");
    }
    let names = get(&at, "/log/names", &signed_in).await.text().await.unwrap();
    let names: Value = serde_json::from_str(&names).unwrap();
    assert_eq!(names["agents"][agent(GATEWAY).to_string()], "gateway");
    assert_eq!(names["node"], at.node().id().to_string());
}

/// contracts/txts.md N39, N41: a browser reads by its session alone, and no name that was made to point here reads.
#[tokio::test]
async fn without_a_session_no_browser_reads_and_no_foreign_name() {
    let at = Fixture::new().await;
    for path in ["/", "/log/names", "/log/checkpoint", "/log/stream?from=0", "/log/tile/entries/000.p/1"] {
        for browser in [("sec-fetch-site", "none"), OWN, ("sec-fetch-site", "cross-site"), ("origin", "null")] {
            assert_eq!(status(&at, path, &[browser]).await, 403, "{path} {browser:?}");
        }
        let rebound = ("host", "evil.example");
        assert_eq!(status(&at, path, &[rebound]).await, 403, "{path}");
    }
    assert_eq!(status(&at, "/metrics", &[("host", "evil.example")]).await, 403);
    assert_eq!(status(&at, "/log/names", &[]).await, 200, "a program of this machine");
    let door = get(&at, "/", &[("sec-fetch-site", "none")]).await;
    assert_eq!(door.headers()["content-type"], "text/html; charset=utf-8");
    let text = door.text().await.unwrap();
    assert!(text.contains("nuncio node page"), "it says how to sign in");
    assert!(!text.contains("did:key:") && !text.contains("main.js"), "and nothing else");
}

/// contracts/txts.md N40.
#[tokio::test]
async fn what_another_page_sends_is_not_taken() {
    let at = Fixture::new().await;
    let own = at.url("");
    for foreign in [
        [("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")],
        [("sec-fetch-site", "same-site"), ("origin", "http://127.0.0.1:1")],
        [("sec-fetch-site", "none"), ("origin", &own)],
        [OWN, ("origin", "null")],
        [OWN, ("origin", "http://127.0.0.1:1")],
    ] {
        let secret = secret(&at).await;
        assert_eq!(sign_in(&at, &secret, &foreign).await.status(), 403, "{foreign:?}");
        assert_eq!(sign_in(&at, &secret, &[OWN, ("origin", &own)]).await.status(), 204, "and the link is not used up");
        let cookie = session(&at).await;
        let sent = [foreign[0], foreign[1], ("cookie", &cookie)];
        let answer = ask(&at, Method::POST, "/sign-out", &sent, String::new()).await;
        assert_eq!(answer.status(), 403, "{foreign:?}");
        assert_eq!(status(&at, "/", &[OWN, ("cookie", &cookie)]).await, 200, "it is signed in still");
    }
    let cookie = session(&at).await;
    assert_eq!(status(&at, "/log/names", &[("sec-fetch-site", "same-site"), ("cookie", &cookie)]).await, 403);
}

/// contracts/txts.md N38: with a session ends what it reads.
#[tokio::test]
async fn whoever_signs_out_reads_no_more() {
    let at = Fixture::new().await;
    let (cookie, other) = (session(&at).await, session(&at).await);
    let signed_in = [OWN, ("cookie", cookie.as_str())];
    let mut stream = get(&at, "/log/stream?from=0", &signed_in).await;
    let mut others = get(&at, "/log/stream?from=0", &[OWN, ("cookie", &other)]).await;
    assert_eq!((stream.status().as_u16(), others.status().as_u16()), (200, 200));
    let gone = ask(&at, Method::POST, "/sign-out", &signed_in, String::new()).await;
    assert_eq!(gone.status(), 204);
    assert!(set_cookie(gone.headers()).contains("=; ") && set_cookie(gone.headers()).ends_with("Max-Age=0"));
    let ended = async { while stream.chunk().await.unwrap().is_some() {} };
    tokio::time::timeout(Duration::from_secs(20), ended).await.expect("its stream ends");
    assert_eq!(status(&at, "/", &signed_in).await, 403);
    assert_eq!(status(&at, "/log/names", &signed_in).await, 403);
    let goes_on =
        tokio::time::timeout(Duration::from_millis(200), async { while others.chunk().await.unwrap().is_some() {} });
    assert!(goes_on.await.is_err(), "another's goes on");
}

/// contracts/txts.md N38: they end with the node.
#[tokio::test]
async fn no_session_and_no_link_outlives_the_node() {
    let mut at = Fixture::new().await;
    let (cookie, link) = (session(&at).await, secret(&at).await);
    let former = at.tcp;
    at.stop().await;
    let mut config = at.config();
    config.tcp = Some(former);
    at.node = Some(Node::start(config).await.unwrap());
    assert_eq!(status(&at, "/", &[OWN, ("cookie", &cookie)]).await, 403);
    assert_eq!(sign_in(&at, &link, &[OWN]).await.status(), 403);
}

/// contracts/txts.md N41.
#[tokio::test]
async fn every_part_of_the_page_keeps_the_browser_to_this_node() {
    let at = Fixture::new().await;
    let cookie = session(&at).await;
    for path in ["/", "/sign-in", "/page/main.js", "/page/style.css", "/page/icon.svg", "/page/sign-in.js"] {
        let answer = get(&at, path, &[OWN, ("cookie", &cookie)]).await;
        let headers = answer.headers();
        let policy = headers["content-security-policy"].to_str().unwrap();
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "connect-src 'self'",
            "img-src 'self'",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
        ] {
            assert!(policy.split("; ").any(|there| there == part), "{path}: {part}");
        }
        assert!(!policy.contains("unsafe"), "{path}");
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert_eq!(headers["referrer-policy"], "no-referrer");
        assert_eq!(headers["cache-control"], "no-store");
        assert!(!headers.contains_key("access-control-allow-origin"));
    }
    let door = get(&at, "/", &[("sec-fetch-site", "none")]).await;
    assert!(door.headers().contains_key("content-security-policy"));
    assert_eq!(status(&at, "/page/Cargo.toml", &[]).await, 404);
    assert_eq!(status(&at, "/page/..%2f..%2fCargo.toml", &[]).await, 404);
}

/// contracts/txts.md N38.
#[tokio::test]
async fn over_tls_the_cookie_is_for_tls_alone() {
    let mut at = Fixture::new().await;
    let (node, address, trusting) = at.with_certificate().await;
    let link = node.page_link().unwrap();
    let (place, secret) = link.split_once('#').unwrap();
    assert_eq!(place, "https://txts.acme.example/sign-in", "the name that the certificate should have");
    let url = |path: &str| format!("https://localhost:{}{path}", address.port());
    let answer = trusting.post(url("/sign-in")).body(secret.to_owned()).send().await.unwrap();
    let cookie = set_cookie(answer.headers()).to_owned();
    assert!(cookie.starts_with("__Host-nuncio="), "{cookie}");
    assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Strict; Secure"), "{cookie}");
    let page = trusting.get(url("/")).header("cookie", cookie.split(';').next().unwrap());
    assert_eq!(page.send().await.unwrap().status(), 200);
    node.stop().await.unwrap();
}

#[tokio::test]
async fn a_node_without_tcp_has_no_page() {
    let mut at = Fixture::new().await;
    at.stop().await;
    let mut config = at.config();
    config.tcp = None;
    let node = Node::start(config).await.unwrap();
    assert!(matches!(node.page_link(), Err(crate::NodeError::NoPage)));
    node.stop().await.unwrap();
}

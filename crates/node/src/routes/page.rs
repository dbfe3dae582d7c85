//! The page to watch the log in a browser (contracts/txts.md section 12). Its files are in the binary; what it shows it asks of the routes of every reader.

use axum::extract::{Path, Request, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use nuncio_contracts::registry::limit;
use serde::Serialize;

use super::Served;
use super::answers::refused;
use crate::gate;
use crate::page::{Session, is_from_page};
use crate::refusal::{Code, Refusal};

/// Where it is.
pub(crate) const PATH: &str = "/";

const INDEX: &str = include_str!("../../page/index.html");
const SIGN_IN: &str = include_str!("../../page/sign-in.html");

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SVG: &str = "image/svg+xml";
const JS: &str = "text/javascript; charset=utf-8";

macro_rules! files {
    ($($name:literal: $kind:expr),* $(,)?) => { &[$(($name, $kind, include_str!(concat!("../../page/", $name)))),*] };
}

/// Name, content type, content.
const FILES: &[(&str, &str, &str)] = files! {
    "style.css": CSS,
    "icon.svg": SVG,
    "agents.js": JS,
    "bytes.js": JS,
    "checkpoint.js": JS,
    "denials.js": JS,
    "dom.js": JS,
    "entries.js": JS,
    "entry.js": JS,
    "health.js": JS,
    "keys.js": JS,
    "log.js": JS,
    "main.js": JS,
    "names.js": JS,
    "node.js": JS,
    "path.js": JS,
    "proof.js": JS,
    "sign-in.js": JS,
    "signed.js": JS,
    "stream.js": JS,
    "transactions.js": JS,
    "tree.js": JS,
    "words.js": JS,
};

// contracts/txts.md N41
const HEADERS: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; \
         form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

fn answer(status: StatusCode, kind: &'static str, content: &'static str) -> Response {
    (status, HEADERS, [(header::CONTENT_TYPE, kind)], content).into_response()
}

pub(super) async fn show() -> Response {
    answer(StatusCode::OK, HTML, INDEX)
}

/// For whoever has not signed in.
pub(crate) fn sign_in_first() -> Response {
    let mut response = answer(StatusCode::FORBIDDEN, HTML, SIGN_IN);
    response.extensions_mut().insert(Code::AccessDenied);
    response
}

pub(super) async fn file(Path(name): Path<String>) -> Result<Response, Refusal> {
    let found = FILES.iter().find(|(there, ..)| *there == name);
    let (_, kind, content) = found.ok_or_else(|| Refusal::new(Code::NotFound, "the page has no such file"))?;
    Ok(answer(StatusCode::OK, kind, content))
}

pub(super) async fn sign_in_page() -> Response {
    answer(StatusCode::OK, HTML, SIGN_IN)
}

/// contracts/txts.md N38
pub(super) async fn sign_in(State(at): State<Served>, request: Request) -> Result<Response, Refusal> {
    if !is_from_page(request.headers(), false) {
        return Err(Refusal::new(Code::AccessDenied, "another page cannot sign a browser in"));
    }
    let body = gate::read(request.into_body(), limit::REQUEST_LEN_MAX).await?;
    let secret = std::str::from_utf8(&body).ok().filter(|secret| !secret.is_empty());
    let secret = secret.ok_or_else(|| Refusal::request("the body is what stands behind the # of a link"))?;
    let cookie = at.page.sign_in(secret).map_err(refused)?;
    let over =
        || Refusal::new(Code::AccessDenied, "the link was used, or is too old: `nuncio node page` prints another");
    Ok(set_cookie(cookie.ok_or_else(over)?))
}

pub(super) async fn sign_out(State(at): State<Served>, session: Option<Extension<Session>>) -> Response {
    set_cookie(at.page.sign_out(session.as_deref()))
}

fn set_cookie(cookie: String) -> Response {
    (StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie), (header::CACHE_CONTROL, "no-store".to_owned())])
        .into_response()
}

/// A link that signs a browser in, once.
#[derive(Serialize)]
pub(super) struct Link {
    link: String,
    life_s: u64,
}

pub(super) async fn link(State(at): State<Served>) -> Result<Json<Link>, Refusal> {
    let link = at.page.link().map_err(refused)?;
    Ok(Json(Link { link, life_s: at.page.link_life_s() }))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use nuncio_contracts::registry::{code, event};

    use super::*;

    /// A name, which nobody asks for anything.
    const SVG_NAMESPACE: &str = "http://www.w3.org/2000/svg";

    fn content(name: &str) -> &'static str {
        FILES.iter().find(|(there, ..)| *there == name).unwrap().2
    }

    #[test]
    fn every_file_of_the_folder_is_served_and_none_of_another_origin_is_named() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/page");
        let there: BTreeSet<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !name.ends_with(".html"))
            .collect();
        assert_eq!(there, FILES.iter().map(|(name, ..)| (*name).to_owned()).collect());
        for (name, _, text) in FILES.iter().chain(&[("index.html", HTML, INDEX), ("sign-in.html", HTML, SIGN_IN)]) {
            for foreign in ["http:", "https:", "src=\"//", "innerHTML", "outerHTML", "insertAdjacentHTML", "eval("] {
                assert!(!text.replace(SVG_NAMESPACE, "").contains(foreign), "{name} has {foreign}");
            }
        }
    }

    #[test]
    fn the_page_has_words_for_every_event_and_every_refusal() {
        let words = content("words.js");
        let events: Vec<&str> = (0..=u8::MAX).map(event::name).filter(|name| *name != "unknown").collect();
        let places: Vec<Option<usize>> = events.iter().map(|name| words.find(&format!("  {name}:"))).collect();
        assert!(places.is_sorted() && events.first() == Some(&event::name(1)), "the page tells them by their place");
        let refusals = (0..=u16::MAX).map(code::name).filter(|name| name.starts_with("token_"));
        let missing: Vec<&str> =
            events.into_iter().chain(refusals).filter(|name| !words.contains(&format!("{name}:"))).collect();
        assert_eq!(missing, Vec::<&str>::new());
    }

    #[test]
    fn the_page_keeps_as_many_entries_as_the_registry_says() {
        assert!(content("entries.js").contains(&format!("export const KEPT = {};", limit::PAGE_ENTRIES_MAX)));
    }
}

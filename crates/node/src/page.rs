//! Who watches the node in a browser: links that serve once, and the sessions that they become (contracts/txts.md section 12).

mod passes;

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use axum::http::{HeaderMap, HeaderName, Method, header};
use nuncio_contracts::registry::{limit, time};

use crate::error::NodeError;
use passes::Passes;

pub(crate) use passes::Pass as Session;

/// Where the page's link leads.
const SIGN_IN: &str = "/sign-in";
/// Browsers say by it where a request began; programs do not send it.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The page of a node: where it is, and who may see it.
#[derive(Debug)]
pub(crate) struct Page {
    /// Where browsers reach it; `None` for a node without TCP.
    base: Option<String>,
    is_tls: bool,
    cookie: String,
    links: Passes,
    sessions: Passes,
}

impl Page {
    /// Of a node that listens here, or not over TCP at all.
    pub(crate) fn new(listening: Option<SocketAddr>, is_tls: bool, issuer: &str) -> Self {
        let base = listening.map(|address| match (is_tls, issuer.starts_with("https://")) {
            // The certificate is of that name.
            (true, true) => issuer.to_owned(),
            (true, false) => format!("https://{address}"),
            (false, _) => format!("http://{address}"),
        });
        // Cookies do not tell ports apart, and there may be more than one node on a machine.
        let cookie = match listening {
            Some(address) if !is_tls => format!("nuncio-{}", address.port()),
            _ => "__Host-nuncio".to_owned(),
        };
        let links = Passes::new(time::PAGE_LINK_LIFE, limit::PAGE_LINKS_MAX);
        let sessions = Passes::new(time::PAGE_SESSION_LIFE, limit::PAGE_SESSIONS_MAX);
        Self { base, is_tls, cookie, links, sessions }
    }

    /// A link that signs one browser in. What stands behind `#` stays in it.
    pub(crate) fn link(&self) -> Result<String, NodeError> {
        let base = self.base.as_ref().ok_or(NodeError::NoPage)?;
        Ok(format!("{base}{SIGN_IN}#{}", self.links.issue(Instant::now())?))
    }

    /// How long a link waits to be opened.
    pub(crate) const fn link_life_s(&self) -> u64 {
        self.links.life().as_secs()
    }

    /// Begins a session with a link's secret: its cookie. `None` for one that serves no more.
    pub(crate) fn sign_in(&self, secret: &str) -> Result<Option<String>, NodeError> {
        self.sign_in_at(secret, Instant::now())
    }

    pub(crate) fn sign_in_at(&self, secret: &str, now: Instant) -> Result<Option<String>, NodeError> {
        if !self.links.take(secret, now) {
            return Ok(None);
        }
        self.sessions.issue(now).map(|secret| Some(self.set_cookie(&secret, "")))
    }

    /// Ends a session: what takes its cookie away.
    pub(crate) fn sign_out(&self, session: Option<&Session>) -> String {
        if let Some(session) = session {
            self.sessions.end(session, Instant::now());
        }
        self.set_cookie("", "; Max-Age=0")
    }

    /// Whose session a request is of, if its own page sends it.
    pub(crate) fn session(&self, method: &Method, headers: &HeaderMap) -> Option<Session> {
        let is_read = matches!(*method, Method::GET | Method::HEAD);
        if !is_from_page(headers, is_read) {
            return None;
        }
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let (_, secret) = pairs.find(|(name, _)| *name == self.cookie)?;
        self.sessions.find(secret, Instant::now())
    }

    /// Whether a request from an address of this machine is a program's here: no browser's, which any page could have sent, and for no
    /// other name, which could have been made to point here (contracts/txts.md N39).
    pub(crate) fn is_of_program_here(&self, headers: &HeaderMap) -> bool {
        let is_browser = headers.contains_key(&SEC_FETCH_SITE) || headers.contains_key(header::ORIGIN);
        !is_browser && (self.is_tls || text(headers, &header::HOST).is_some_and(is_this_machine))
    }

    fn set_cookie(&self, value: &str, more: &str) -> String {
        let secure = if self.is_tls { "; Secure" } else { "" };
        format!("{}={value}; Path=/; HttpOnly; SameSite=Strict{secure}{more}", self.cookie)
    }
}

/// Whether the page itself sends this, or a program (contracts/txts.md N40). A page of another port of this machine is another's.
pub(crate) fn is_from_page(headers: &HeaderMap, is_read: bool) -> bool {
    let site = match text(headers, &SEC_FETCH_SITE) {
        None | Some("same-origin") => true,
        // Typed, or opened from a bookmark.
        Some("none") => is_read,
        Some(_) => false,
    };
    let host = text(headers, &header::HOST);
    let names_host = |origin: &str| origin.split_once("://").map(|(_, host)| host) == host && host.is_some();
    site && text(headers, &header::ORIGIN).is_none_or(names_host)
}

/// A header, where it is there; what is no text is nobody's.
fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name).map(|value| value.to_str().unwrap_or(""))
}

/// Whether a `Host` names this machine, whatever the port.
fn is_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    /// contracts/txts.md N39.
    #[test]
    fn a_program_here_is_no_browser_and_names_this_machine() {
        let plain = Page::new("127.0.0.1:7430".parse().ok(), false, "http://127.0.0.1:7430");
        for host in ["127.0.0.1:7430", "localhost:7430", "LocalHost", "[::1]:7430", "[::1]", "127.0.0.9"] {
            assert!(plain.is_of_program_here(&headers(&[("host", host)])), "{host}");
        }
        for host in ["evil.example:7430", "evil.example", "127.0.0.1.evil.example", "192.0.2.1", "localhost.evil:1", ""]
        {
            assert!(!plain.is_of_program_here(&headers(&[("host", host)])), "{host}");
        }
        assert!(!plain.is_of_program_here(&HeaderMap::new()));
        for sign in [("sec-fetch-site", "none"), ("sec-fetch-site", "same-origin"), ("origin", "http://127.0.0.1:7430")]
        {
            assert!(!plain.is_of_program_here(&headers(&[("host", "127.0.0.1:7430"), sign])), "{sign:?}");
        }
        // A certificate is of a name: nobody else's name leads here.
        let tls = Page::new("0.0.0.0:443".parse().ok(), true, "https://txts.acme.example");
        assert!(tls.is_of_program_here(&headers(&[("host", "txts.acme.example")])));
    }

    /// contracts/txts.md N40.
    #[test]
    fn what_changes_something_comes_from_the_page_itself() {
        let host = ("host", "127.0.0.1:7430");
        let verdict = |more: &[(&'static str, &'static str)]| {
            let headers = headers(&[&[host], more].concat());
            (is_from_page(&headers, true), is_from_page(&headers, false))
        };
        assert_eq!(verdict(&[]), (true, true), "a program");
        assert_eq!(verdict(&[("sec-fetch-site", "same-origin"), ("origin", "http://127.0.0.1:7430")]), (true, true));
        assert_eq!(verdict(&[("sec-fetch-site", "none")]), (true, false));
        for site in ["same-site", "cross-site", ""] {
            assert_eq!(verdict(&[("sec-fetch-site", site)]), (false, false), "{site}");
        }
        for origin in
            ["null", "", "http://127.0.0.1:8080", "https://evil.example", "http://127.0.0.1:7430.evil.example"]
        {
            assert_eq!(verdict(&[("origin", origin)]), (false, false), "{origin}");
        }
        assert!(!is_from_page(&headers(&[("origin", "null")]), true), "without Host either");
    }

    /// contracts/txts.md N38.
    #[test]
    fn the_link_leads_to_where_browsers_reach_the_node() {
        let link = |listening: Option<&str>, is_tls, issuer| {
            let page = Page::new(listening.map(|address| address.parse().unwrap()), is_tls, issuer);
            page.link().ok().map(|link| link.split_once('#').unwrap().0.to_owned())
        };
        let issuer = "https://txts.acme.example";
        assert_eq!(link(Some("127.0.0.1:7430"), false, issuer).unwrap(), "http://127.0.0.1:7430/sign-in");
        assert_eq!(link(Some("[::1]:7430"), false, issuer).unwrap(), "http://[::1]:7430/sign-in");
        assert_eq!(link(Some("0.0.0.0:443"), true, issuer).unwrap(), "https://txts.acme.example/sign-in");
        assert_eq!(link(Some("127.0.0.1:7430"), true, "http://127.0.0.1:1").unwrap(), "https://127.0.0.1:7430/sign-in");
        assert_eq!(link(None, false, issuer), None);
    }
}

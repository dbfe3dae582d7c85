//! What stands in front of the front: a web page in the user's browser, and every other user of the machine, can reach a loopback port too.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode, header};
use nuncio_proto::call::ServiceName;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::fault::Fault;

/// What a request is held against: `Host`, `Origin`, then the path.
#[derive(Clone)]
pub struct Guard {
    /// `Host` values that name this very port of this very machine.
    hosts: Arc<[String]>,
    name: Option<ServiceName>,
    secret: Arc<Zeroizing<String>>,
}

impl Guard {
    /// Of a front that listens there and is reached at `/{name}/{secret}`, or at `/{secret}` where it has no name.
    #[must_use]
    pub fn new(listening: SocketAddr, name: Option<ServiceName>, secret: Zeroizing<String>) -> Self {
        Self { hosts: hosts(listening.port()).into(), name, secret: Arc::new(secret) }
    }

    /// What stands behind the path that was given out: nothing, or one of an agent's places.
    // contracts/call.md X15.
    pub(super) fn check<'a>(&self, path: &'a str, headers: &HeaderMap) -> Result<&'a str, Fault> {
        is_here(&self.hosts, headers)?;
        self.behind(path)
            .filter(|behind| super::agent::is_place(behind))
            .ok_or_else(|| Fault::malformed("nothing is served under this address").with(StatusCode::NOT_FOUND))
    }

    /// What stands behind the secret.
    fn behind<'a>(&self, path: &'a str) -> Option<&'a str> {
        let path = path.strip_prefix('/')?;
        let path = match &self.name {
            Some(name) => path.strip_prefix(name.as_str()).and_then(|rest| rest.strip_prefix('/'))?,
            None => path,
        };
        let (given, behind) = path.split_at(path.find('/').unwrap_or(path.len()));
        bool::from(given.as_bytes().ct_eq(self.secret.as_bytes())).then_some(behind)
    }
}

/// The names of a port of this very machine.
pub(crate) fn hosts(port: u16) -> [String; 3] {
    [format!("127.0.0.1:{port}"), format!("localhost:{port}"), format!("[::1]:{port}")]
}

/// Whether a request means one of these places, and comes from no other: asked before anything is looked up.
// contracts/call.md X15.
pub(crate) fn is_here(hosts: &[String], headers: &HeaderMap) -> Result<(), Fault> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or(""));
    // A name that somebody's DNS points to 127.0.0.1 is not one of ours: this ends DNS rebinding.
    let host = text(header::HOST).filter(|host| hosts.iter().any(|known| known.eq_ignore_ascii_case(host)));
    let host = host.ok_or_else(|| {
        Fault::malformed("the Host header names another place than this port").with(StatusCode::FORBIDDEN)
    })?;
    let foreign = text(header::ORIGIN).is_some_and(|origin| origin.strip_prefix("http://") != Some(host));
    if foreign {
        let fault = Fault::malformed("a page of another origin may not use this service");
        return Err(fault.with(StatusCode::FORBIDDEN));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn verdict(path: &str, headers: &[(header::HeaderName, &str)]) -> u16 {
        let name = Some("files".parse().unwrap());
        let guard = Guard::new(([127, 0, 0, 1], 4000).into(), name, Zeroizing::new("s3cret".to_owned()));
        let map = headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect();
        guard.check(path, &map).map_or_else(|fault| fault.status().as_u16(), |_| 200)
    }

    #[test]
    fn only_this_port_this_origin_and_this_path_pass() {
        let (host, origin) = (header::HOST, header::ORIGIN);
        let ours = (host.clone(), "127.0.0.1:4000");
        let path = "/files/s3cret";
        assert_eq!(verdict(path, std::slice::from_ref(&ours)), 200);
        assert_eq!(verdict(path, &[(host.clone(), "LocalHost:4000")]), 200);
        assert_eq!(verdict(path, &[ours.clone(), (origin.clone(), "http://127.0.0.1:4000")]), 200);
        for foreign in ["http://evil.example", "null", "https://127.0.0.1:4000", "http://127.0.0.1:4001", ""] {
            assert_eq!(verdict(path, &[ours.clone(), (origin.clone(), foreign)]), 403, "{foreign}");
        }
        for other in ["evil.example:4000", "127.0.0.1:4001", "127.0.0.1", "127.0.0.1:4000.evil.example"] {
            assert_eq!(verdict(path, &[(host.clone(), other)]), 403, "{other}");
        }
        assert_eq!(verdict(path, &[]), 403);
        for elsewhere in [
            "/",
            "",
            "/files",
            "/files/",
            "/files/s3cre",
            "/files/s3crett",
            "/files/s3cret/",
            "/s3cret",
            "/mail/s3cret",
        ] {
            assert_eq!(verdict(elsewhere, std::slice::from_ref(&ours)), 404, "{elsewhere}");
        }
    }
}

//! What stands in front of the TCP form: a web page in the user's browser can reach a loopback port too.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::refused::Refused;

/// What a request over TCP is held against.
#[derive(Clone)]
pub(super) struct Guard {
    /// `Host` values that name this very port of this very machine.
    hosts: Arc<[String]>,
    token: Arc<Zeroizing<String>>,
}

impl Guard {
    pub(super) fn new(listening: SocketAddr, token: Zeroizing<String>) -> Self {
        let port = listening.port();
        let hosts = [format!("127.0.0.1:{port}"), format!("localhost:{port}"), format!("[::1]:{port}")];
        Self { hosts: hosts.into(), token: Arc::new(token) }
    }

    fn check(&self, headers: &HeaderMap) -> Result<(), Refused> {
        let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or(""));
        // A name that somebody's DNS points to 127.0.0.1 is not one of ours: this ends DNS rebinding.
        let host = text(header::HOST).filter(|host| self.hosts.iter().any(|known| known.eq_ignore_ascii_case(host)));
        let host = host.ok_or_else(|| {
            Refused::new(StatusCode::FORBIDDEN, "host", "the Host header names another place than this port")
        })?;
        let foreign = text(header::ORIGIN).is_some_and(|origin| origin.strip_prefix("http://") != Some(host));
        if foreign {
            return Err(Refused::new(StatusCode::FORBIDDEN, "origin", "a page of another origin may not use this API"));
        }
        let given = text(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer ")).unwrap_or("");
        if bool::from(given.as_bytes().ct_eq(self.token.as_bytes())) {
            return Ok(());
        }
        Err(Refused::new(
            StatusCode::UNAUTHORIZED,
            "token",
            "send `Authorization: Bearer` with the content of api.token in the home",
        ))
    }
}

/// Lets a request through, or not.
pub(super) async fn stand(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    match guard.check(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refused) => refused.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn verdict(headers: &[(header::HeaderName, &str)]) -> u16 {
        let guard = Guard::new(([127, 0, 0, 1], 4000).into(), Zeroizing::new("secret".to_owned()));
        let map = headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect();
        guard.check(&map).map_or_else(|refused| refused.into_response().status().as_u16(), |()| 200)
    }

    #[test]
    fn only_this_port_this_origin_and_this_token_pass() {
        let (host, origin, token) = (header::HOST, header::ORIGIN, header::AUTHORIZATION);
        let ours = (host.clone(), "127.0.0.1:4000");
        let bearer = (token.clone(), "Bearer secret");
        assert_eq!(verdict(&[ours.clone(), bearer.clone()]), 200);
        assert_eq!(verdict(&[(host.clone(), "LocalHost:4000"), bearer.clone()]), 200);
        assert_eq!(verdict(&[ours.clone(), bearer.clone(), (origin.clone(), "http://127.0.0.1:4000")]), 200);
        for foreign in ["http://evil.example", "null", "https://127.0.0.1:4000", "http://127.0.0.1:4001", ""] {
            assert_eq!(verdict(&[ours.clone(), bearer.clone(), (origin.clone(), foreign)]), 403, "{foreign}");
        }
        for other in ["evil.example:4000", "127.0.0.1:4001", "127.0.0.1", "127.0.0.1:4000.evil.example"] {
            assert_eq!(verdict(&[(host.clone(), other), bearer.clone()]), 403, "{other}");
        }
        assert_eq!(verdict(&[bearer]), 403);
        for wrong in ["Bearer secre", "Bearer secrett", "Bearer ", "secret", "Basic secret"] {
            assert_eq!(verdict(&[ours.clone(), (token.clone(), wrong)]), 401, "{wrong}");
        }
        assert_eq!(verdict(&[ours]), 401);
    }
}

//! Who asks: the token of a login, exchanged for a transaction by the trust domain's service (contracts/gateway.md section 1).
//!
//! ```text
//!   authorization ─► one bearer token ─► the service: for this scope ─► Transaction, of this request alone
//! ```

use axum::http::{HeaderMap, StatusCode, header};
use nuncio::{Agent, Error, Scope, Subject, Transaction};
use nuncio_contracts::registry::limit;
use tokio::sync::Semaphore;

use super::config::SubjectKind;
use super::login::Login;
use super::refusal::Refusal;

/// The exchange of people's tokens.
pub(crate) struct People {
    agent: Agent,
    subject: SubjectKind,
    login: Option<Login>,
    places: Semaphore,
}

impl People {
    pub(crate) fn new(agent: Agent, subject: SubjectKind, login: Option<Login>) -> Self {
        Self { agent, subject, login, places: Semaphore::new(limit::GATEWAY_EXCHANGES_MAX) }
    }

    /// Where they log in.
    pub(crate) const fn login(&self) -> Option<&Login> {
        self.login.as_ref()
    }

    /// The transaction of one request.
    // contracts/gateway.md W2, W4: the service decides, and nothing is kept.
    pub(crate) async fn begin(&self, headers: &HeaderMap, scope: &Scope) -> Result<Transaction, Refusal> {
        let begun = self.exchange(headers, scope).await;
        begun.map_err(|refusal| match &self.login {
            Some(login) => refusal.challenged(&login.challenge()),
            None => refusal,
        })
    }

    async fn exchange(&self, headers: &HeaderMap, scope: &Scope) -> Result<Transaction, Refusal> {
        let token = bearer(headers)?.to_owned();
        let subject = match self.subject {
            SubjectKind::AccessToken => Subject::AccessToken(token),
            SubjectKind::Jwt => Subject::Jwt(token),
            SubjectKind::IdToken => Subject::IdToken(token),
        };
        let busy = |_| Refusal::unavailable("busy", "more at once than is taken: ask again");
        let _place = self.places.try_acquire().map_err(busy)?;
        let begun = self.agent.begin(subject, scope, None).await.map_err(|error| refused(&error, scope))?;
        if !begun.scope().covers(scope) || begun.expires() <= Agent::now() {
            return Err(insufficient(scope));
        }
        Ok(begun)
    }
}

/// The one token of a head.
// contracts/gateway.md W1, W5.
fn bearer(headers: &HeaderMap) -> Result<&str, Refusal> {
    if headers.contains_key(header::ORIGIN) {
        return Err(Refusal::new(StatusCode::FORBIDDEN, "origin", "no page of a browser may ask here"));
    }
    let mut fields = headers.get_all(header::AUTHORIZATION).iter();
    let field = match (fields.next(), fields.next()) {
        (Some(field), None) => field.to_str().unwrap_or_default(),
        _ => return Err(nobody("send one `Authorization: Bearer` with the token of your login")),
    };
    let (scheme, token) = field.split_once(' ').unwrap_or((field, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(nobody("send `Authorization: Bearer` with the token of your login"));
    }
    let may = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=');
    if token.is_empty() || token.len() > limit::GATEWAY_BEARER_MAX || !token.bytes().all(may) {
        return Err(invalid());
    }
    Ok(token)
}

fn nobody(message: &str) -> Refusal {
    Refusal::new(StatusCode::UNAUTHORIZED, "no_token", message).with(header::WWW_AUTHENTICATE, "Bearer")
}

fn invalid() -> Refusal {
    let refusal = Refusal::new(StatusCode::UNAUTHORIZED, "invalid_token", "the token is not taken: log in again");
    refusal.with(header::WWW_AUTHENTICATE, "Bearer error=\"invalid_token\"")
}

fn insufficient(scope: &Scope) -> Refusal {
    let message = format!("the token does not allow this: it needs {scope}");
    let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{scope}\"");
    Refusal::new(StatusCode::FORBIDDEN, "insufficient_scope", message).with(header::WWW_AUTHENTICATE, challenge)
}

/// What the service's answer is to a person; its own words are for the log.
// contracts/gateway.md W3.
fn refused(error: &Error, scope: &Scope) -> Refusal {
    let Error::TokenRefused { code, .. } = error else {
        tracing::warn!(%error, "a person's token cannot be exchanged now");
        let message = "the token service cannot be asked now: ask again";
        return Refusal::unavailable("token_service", message).with(header::RETRY_AFTER, "1");
    };
    tracing::info!(%error, "a person's token is not exchanged");
    match code.as_str() {
        "invalid_request" | "invalid_grant" => invalid(),
        "invalid_scope" => insufficient(scope),
        _ => Refusal::denied("the trust domain's policy does not allow you this"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::response::IntoResponse as _;

    fn read(fields: &[(&'static str, &str)]) -> Result<String, u16> {
        let headers: HeaderMap = fields
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .fold(HeaderMap::new(), |mut all, (name, value): (header::HeaderName, _)| {
                all.append(name, value);
                all
            });
        bearer(&headers).map(str::to_owned).map_err(|refusal| refusal.into_response().status().as_u16())
    }

    /// contracts/gateway.md W5.
    #[tokio::test(flavor = "multi_thread")]
    async fn more_at_once_than_are_exchanged_are_told_to_ask_again() {
        let dir = tempfile::tempdir().unwrap();
        let agent = Agent::open(nuncio::Config::new(dir.path())).await.unwrap();
        let people = People::new(agent.clone(), SubjectKind::AccessToken, None);
        let headers: HeaderMap = [(header::AUTHORIZATION, "Bearer a.b.c".parse().unwrap())].into_iter().collect();
        let scope = Scope::parse("travel.plan").unwrap();
        let code = async || people.begin(&headers, &scope).await.unwrap_err().json()["error"]["code"].clone();
        assert_eq!(code().await, "token_service", "it has no trust domain");
        let all = people.places.acquire_many(u32::try_from(limit::GATEWAY_EXCHANGES_MAX).unwrap()).await.unwrap();
        assert_eq!(code().await, "busy");
        drop(all);
        assert_eq!(code().await, "token_service");
        agent.shutdown().await.unwrap();
    }

    #[test]
    fn one_bearer_token_and_no_page_of_a_browser() {
        assert_eq!(read(&[("authorization", "Bearer a.b.c")]).unwrap(), "a.b.c");
        assert_eq!(read(&[("authorization", "bearer a.b.c")]).unwrap(), "a.b.c");
        let long = format!("Bearer {}", "a".repeat(limit::GATEWAY_BEARER_MAX + 1));
        let twice = [("authorization", "Bearer a"), ("authorization", "Bearer b")];
        for (fields, status) in [
            (&[][..], 401),
            (&twice, 401),
            (&[("authorization", "Basic a")], 401),
            (&[("authorization", "Bearer ")], 401),
            (&[("authorization", "Bearer a b")], 401),
            (&[("authorization", "Bearer a\"b")], 401),
            (&[("authorization", &*long)], 401),
            (&[("authorization", "Bearer a"), ("origin", "http://127.0.0.1:7480")], 403),
        ] {
            assert_eq!(read(fields), Err(status), "{fields:?}");
        }
    }
}

//! Who asks: the token of a login, exchanged for a transaction by the trust domain's service (contracts/gateway.md section 1).
//!
//! ```text
//!   authorization ─► one bearer token ─► can it be one? ─► the service: for this scope ─► Person: transaction, share
//! ```

use std::collections::BTreeSet;
use std::ops::Deref;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use bytes::Bytes;
use nuncio::{Agent, Error, Scope, Subject, Transaction};
use nuncio_contracts::registry::{limit, time};
use serde::Deserialize;
use tokio::sync::Semaphore;

use super::config::SubjectKind;
use super::login::Login;
use super::refusal::Refusal;
use super::share::{Share, Shares};
use super::strangers::Strangers;
use crate::front::Address;

/// The exchange of people's tokens.
pub(crate) struct People {
    agent: Agent,
    subject: SubjectKind,
    login: Option<Login>,
    places: Semaphore,
    strangers: Strangers,
    shares: Arc<Shares>,
}

/// Who asks, in one request.
pub(crate) struct Person {
    transaction: Transaction,
    /// What the request holds.
    pub(super) share: Arc<Share>,
}

impl Person {
    /// For what goes on when the request is over: the transaction alone.
    pub(super) fn into_parts(self) -> (Transaction, Arc<Share>) {
        (self.transaction, self.share)
    }
}

impl Deref for Person {
    type Target = Transaction;

    fn deref(&self) -> &Transaction {
        &self.transaction
    }
}

impl People {
    pub(crate) fn new(agent: Agent, subject: SubjectKind, login: Option<Login>) -> Self {
        let places = Semaphore::new(limit::GATEWAY_EXCHANGES_MAX);
        Self { agent, subject, login, places, strangers: Strangers::new(), shares: Shares::new() }
    }

    /// Where they log in.
    pub(crate) const fn login(&self) -> Option<&Login> {
        self.login.as_ref()
    }

    /// The transaction of one request, and the request's share of what its principal may have.
    // contracts/gateway.md W2, W4: the service decides, and nothing is kept.
    pub(crate) async fn begin(&self, from: Address, headers: &HeaderMap, scope: &Scope) -> Result<Person, Refusal> {
        let begun = self.exchange(from, headers, scope).await;
        let transaction = begun.map_err(|refusal| match &self.login {
            Some(login) => refusal.challenged(&login.challenge()),
            None => refusal,
        })?;
        let share = Arc::new(self.shares.take(transaction.principal())?);
        Ok(Person { transaction, share })
    }

    /// [`People::begin`], and the request's body, of at most so many bytes: nobody is read before it is known who that is.
    pub(crate) async fn hear(
        &self,
        from: Address,
        (headers, body): (&HeaderMap, Body),
        scope: &Scope,
        max: usize,
    ) -> Result<(Person, Bytes), Refusal> {
        let person = self.begin(from, headers, scope).await?;
        let body = person.share.gather(body, max).await?;
        Ok((person, body))
    }

    async fn exchange(&self, from: Address, headers: &HeaderMap, scope: &Scope) -> Result<Transaction, Refusal> {
        let token = bearer(headers)?.to_owned();
        if !may_be_one(&token, self.login.as_ref().map(Login::issuers), Agent::now().0 / 1_000) {
            return Err(invalid());
        }
        // contracts/gateway.md W5.
        if !self.strangers.admits(from) {
            let message = "more tokens from this address than are looked at: ask again";
            let refusal = Refusal::new(StatusCode::TOO_MANY_REQUESTS, "too_many", message);
            return Err(refusal.with(header::RETRY_AFTER, "1"));
        }
        let subject = match self.subject {
            SubjectKind::AccessToken => Subject::AccessToken(token),
            SubjectKind::Jwt => Subject::Jwt(token),
            SubjectKind::IdToken => Subject::IdToken(token),
        };
        let busy = |_| Refusal::unavailable("busy", "more at once than is taken: ask again");
        let _place = self.places.try_acquire().map_err(busy)?;
        let begun = self.agent.begin(subject, scope, None).await;
        match &begun {
            Ok(_) => self.strangers.note(from, true),
            Err(Error::TokenRefused { .. }) => self.strangers.note(from, false),
            Err(_) => {}
        }
        let begun = begun.map_err(|error| refused(&error, scope))?;
        if !begun.scope().covers(scope) || begun.expires() <= Agent::now() {
            return Err(insufficient(scope));
        }
        Ok(begun)
    }
}

/// What of a token's claims is read before anybody is asked about it.
#[derive(Deserialize)]
struct Claims {
    iss: Option<String>,
    exp: Option<f64>,
}

/// Whether the service could take it: no login gives another one. That it is good, the service alone says.
// contracts/gateway.md W5.
fn may_be_one(token: &str, issuers: Option<&BTreeSet<String>>, now_s: u64) -> bool {
    let parts: Vec<&str> = token.split('.').collect();
    let [_, claims, _] = parts.as_slice() else { return false };
    let claims = data_encoding::BASE64URL_NOPAD.decode(claims.as_bytes()).ok();
    let Some(claims) = claims.and_then(|text| serde_json::from_slice::<Claims>(&text).ok()) else { return false };
    let same = |one: &str, other: &str| one.trim_end_matches('/') == other.trim_end_matches('/');
    let is_named = |issuers: &BTreeSet<String>| {
        claims.iss.as_deref().is_some_and(|own| issuers.iter().any(|issuer| same(own, issuer)))
    };
    let skew_s = std::time::Duration::from_millis(time::TOKEN_SKEW).as_secs_f64();
    let now_s = std::time::Duration::from_secs(now_s).as_secs_f64();
    issuers.is_none_or(is_named) && claims.exp.is_some_and(|exp| exp + skew_s > now_s)
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
        "unauthorized_client" | "invalid_target" => {
            Refusal::denied("the trust domain's policy does not allow you this")
        }
        // It is about this gateway, and not about who asks.
        _ => Refusal::unavailable("token_service", "the token service does not take this gateway's requests"),
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

    fn claims(claims: &str) -> String {
        format!("e30.{}.AAAA", data_encoding::BASE64URL_NOPAD.encode(claims.as_bytes()))
    }

    async fn people(home: &std::path::Path) -> (Agent, People) {
        let agent = Agent::open(nuncio::Config::new(home)).await.unwrap();
        (agent.clone(), People::new(agent, SubjectKind::AccessToken, None))
    }

    fn shown() -> HeaderMap {
        let field = format!("Bearer {}", claims("{\"exp\":9999999999}"));
        [(header::AUTHORIZATION, field.parse().unwrap())].into_iter().collect()
    }

    async fn code(people: &People, from: Address) -> String {
        let scope = Scope::parse("travel.plan").unwrap();
        let refusal = people.begin(from, &shown(), &scope).await.err().unwrap();
        refusal.json()["error"]["code"].as_str().unwrap().to_owned()
    }

    /// contracts/gateway.md W5.
    #[tokio::test(flavor = "multi_thread")]
    async fn more_at_once_than_are_exchanged_are_told_to_ask_again() {
        let dir = tempfile::tempdir().unwrap();
        let (agent, people) = people(dir.path()).await;
        let from = Address::of([127, 0, 0, 1].into());
        assert_eq!(code(&people, from).await, "token_service", "it has no trust domain");
        let all = people.places.acquire_many(u32::try_from(limit::GATEWAY_EXCHANGES_MAX).unwrap()).await.unwrap();
        assert_eq!(code(&people, from).await, "busy");
        drop(all);
        assert_eq!(code(&people, from).await, "token_service");
        // So many of an address that nobody knows, and no more.
        for _ in 0..limit::FAILURES_PER_SOURCE * 10 {
            people.strangers.admits(from);
        }
        assert_eq!(code(&people, from).await, "too_many");
        assert_eq!(code(&people, Address::of([127, 0, 0, 2].into())).await, "token_service");
        agent.shutdown().await.unwrap();
    }

    /// contracts/gateway.md W5.
    #[test]
    fn what_no_login_gives_is_shown_to_nobody() {
        let issuers = BTreeSet::from(["https://login.example/".to_owned()]);
        let may = |text: &str| may_be_one(&claims(text), Some(&issuers), 1_000);
        assert!(may(r#"{"iss":"https://login.example","exp":1001,"sub":{"any":1}}"#));
        assert!(may(r#"{"iss":"https://login.example/","exp":1000.5}"#));
        for bad in [
            r#"{"iss":"https://other.example","exp":1001}"#,
            r#"{"exp":1001}"#,
            r#"{"iss":"https://login.example"}"#,
            r#"{"iss":"https://login.example","exp":1}"#,
            r#"{"iss":"https://login.example","exp":"1001"}"#,
            "[]",
            "",
        ] {
            assert!(!may(bad), "{bad}");
        }
        assert!(may_be_one(&claims(r#"{"exp":1001}"#), None, 1_000), "nobody has said who issues them");
        for bad in ["a.b.c", "a", "..", &format!("{}.e30", claims(r#"{"exp":1001}"#))] {
            assert!(!may_be_one(bad, None, 1_000), "{bad}");
        }
    }

    /// contracts/gateway.md W3.
    #[test]
    fn what_is_about_the_gateway_is_not_told_as_if_it_were_about_the_person() {
        let scope = Scope::parse("travel.plan").unwrap();
        for (code, told) in [
            ("invalid_grant", "invalid_token"),
            ("invalid_request", "invalid_token"),
            ("invalid_scope", "insufficient_scope"),
            ("unauthorized_client", "denied"),
            ("invalid_target", "denied"),
            ("invalid_client", "token_service"),
            ("access_denied", "token_service"),
        ] {
            let error = Error::TokenRefused { code: code.to_owned(), reason: String::new() };
            assert_eq!(refused(&error, &scope).json()["error"]["code"], told, "{code}");
        }
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

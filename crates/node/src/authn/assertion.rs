//! `private_key_jwt` (RFC 7523 section 2.2; contracts/txts.md N2).

use std::sync::Arc;

use nuncio_contracts::registry::time;

use super::{Attempt, Request, take, within_rate};
use crate::jose::{Jws, SKEW_S};
use crate::once::{Once, Unusable, UsedId};
use crate::policy::{Client, Policy};
use crate::refusal::Refusal;

const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The client that an assertion is of. Neither its rate nor an id is used up before the assertion is genuine.
pub(super) fn client<'p>(
    request: &Request<'_>,
    policy: &'p Policy,
    once: &Once,
    attempt: &mut Attempt,
) -> Result<&'p Arc<Client>, Refusal> {
    let text =
        request.form.get("client_assertion").ok_or_else(|| Refusal::client("who asks does not say who it is"))?;
    if request.form.get("client_assertion_type") != Some(TYPE) {
        return Err(Refusal::client("client_assertion_type is another than jwt-bearer"));
    }
    let jws = Jws::parse(text).map_err(Refusal::client)?;
    // A transaction token, or any other JWT that says what it is, is no assertion (contracts/txts.md N5).
    if !jws.is_of_type(&["jwt", "client-authentication+jwt"]) {
        return Err(Refusal::client("the JWT says that it is something else than an assertion"));
    }
    let client = jws.text("sub").filter(|sub| jws.text("iss") == Some(*sub)).and_then(|sub| policy.client(sub));
    let client = client.filter(|client| client.keys.verifies(&jws));
    let client = client.ok_or_else(|| Refusal::client("no client has signed this assertion"))?;
    let service = &policy.service;
    if !jws.is_for(&[&service.issuer, &service.token_endpoint]) {
        return Err(Refusal::client("the assertion is for another audience"));
    }
    let exp = jws.lives_until(request.now_s).map_err(Refusal::client)?;
    if exp > request.now_s + time::ASSERTION_LIFE_MAX / 1_000 + SKEW_S {
        return Err(Refusal::client("the assertion lives too long"));
    }
    let jti = jws.text("jti").ok_or_else(|| Refusal::client("the assertion has no jti"))?;
    within_rate(client)?;
    match take(once, client, UsedId::new(&client.name, jti, exp), request.now_s, attempt) {
        Ok(()) => Ok(client),
        Err(Unusable::Used) => Err(Refusal::client("the assertion was used before")),
        Err(Unusable::Full) => Err(Refusal::unavailable("too many assertions are remembered")),
    }
}

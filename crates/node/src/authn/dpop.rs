//! DPoP proofs (RFC 9449 section 4.3; contracts/txts.md N3).

use nuncio_contracts::registry::time;
use nuncio_proto::token::{Json, VerifyingKey};

use super::{Attempt, Request, take};
use crate::holder::Holder;
use crate::jose::{Flaw, Jws};
use crate::once::{Once, Unusable, UsedId};
use crate::policy::{Client, Policy};
use crate::refusal::{Code, Refusal};

/// Members of a JWK that only its owner may know (RFC 7518 section 6, RFC 8037 section 2).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// The holder of the key that a proof is by, if there is a proof.
pub(super) fn holder(
    request: &Request<'_>,
    policy: &Policy,
    client: &Client,
    once: &Once,
    attempt: &mut Attempt,
) -> Result<Option<Holder>, Refusal> {
    let failed = |why: Flaw| Refusal::new(Code::InvalidDpopProof, why);
    let mut headers = request.headers.get_all("dpop").iter();
    let (proof, None) = (headers.next(), headers.next()) else { return Err(failed("more than one DPoP proof")) };
    let Some(proof) = proof else { return Ok(None) };
    let proof = proof.to_str().map_err(|_| failed("the proof is no JWT"))?;
    let htu = format!("{}{}", policy.service.issuer, request.path);
    let jws = Jws::parse(proof).map_err(failed)?;
    let (key, iat) = check(&jws, &htu, request.now_s).map_err(failed)?;
    let jti = jws.text("jti").ok_or_else(|| failed("the proof has no jti"))?;
    // Its own name for whose ids these are: no client is called so, for a space is in it.
    let used = UsedId::new(&format!("dpop {}", key.thumbprint()), jti, iat + time::DPOP_AGE_MAX / 1_000);
    match take(once, client, used, request.now_s, attempt) {
        Ok(()) => Ok(Some(Holder::key(&key))),
        Err(Unusable::Used) => Err(failed("the proof was used before")),
        Err(Unusable::Full) => Err(Refusal::unavailable("too many proofs are remembered")),
    }
}

fn check(jws: &Jws<'_>, htu: &str, now_s: u64) -> Result<(VerifyingKey, u64), Flaw> {
    if !jws.must_be_of_type(&["dpop+jwt"]) {
        return Err("the proof's typ is another than dpop+jwt");
    }
    let jwk = jws.header.get("jwk").ok_or("the proof names no key")?;
    if jwk.as_object().is_some_and(|members| PRIVATE.iter().any(|name| members.contains_key(*name))) {
        return Err("the proof tells a private key");
    }
    let key =
        VerifyingKey::parse(jwk).filter(|key| jws.is_signed_by(key)).ok_or("the proof is not signed by its key")?;
    if jws.body.get("htm").and_then(Json::as_text) != Some("POST") {
        return Err("the proof is for another method");
    }
    // RFC 9449 section 4.3: without query and fragment.
    let named = jws.text("htu").map(|named| named.split(['?', '#']).next().unwrap_or_default());
    if named != Some(htu) {
        return Err("the proof is for another endpoint");
    }
    let iat = jws.seconds("iat").ok_or("the proof has no iat")?;
    if iat.abs_diff(now_s) > time::DPOP_AGE_MAX / 1_000 {
        return Err("the proof is too old, or of the future");
    }
    Ok((key, iat))
}

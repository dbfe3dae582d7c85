//! For whom a transaction is: subject tokens of others (contracts/txts.md section 3). Tokens of our own are replaced: `service/replace.rs`.

use nuncio_contracts::registry::{limit, time};
use nuncio_proto::ids::AgentId;
use nuncio_proto::token::{Json, Scope};

use crate::jose::{Jws, Members};
use crate::policy::{Client, Issuer, Policy, SubjectType};
use crate::refusal::{Code, Refusal};

/// A subject that was believed.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) sub: String,
    /// What its token may do; `None` leaves it to the client's grant.
    pub(crate) scope: Option<Scope>,
    pub(crate) claims: Members,
    /// When its authority ends, where another than the client gave it.
    pub(crate) ends: Option<u64>,
}

/// Opens a subject token of one of the types that begin a transaction, at this node.
pub(crate) async fn open(
    policy: &Policy,
    node: &AgentId,
    client: &Client,
    kind: SubjectType,
    token: &str,
    now_s: u64,
) -> Result<Subject, Refusal> {
    let subject = match kind {
        SubjectType::AccessToken | SubjectType::Jwt | SubjectType::IdToken => {
            of_issuer(policy, kind, token, now_s).await
        }
        SubjectType::SelfSigned => self_signed(policy, node, client, token, now_s),
        SubjectType::UnsignedJson => unsigned(token),
        SubjectType::TxnToken => Err(Refusal::request("a transaction token is replaced, it begins none")),
    }?;
    // contracts/txts.md N11
    if subject.sub.len() > limit::PRINCIPAL_LEN_MAX {
        return Err(Refusal::request("the principal is longer than 2,048 bytes"));
    }
    Ok(subject)
}

async fn of_issuer(policy: &Policy, kind: SubjectType, token: &str, now_s: u64) -> Result<Subject, Refusal> {
    let jws = Jws::parse(token).map_err(Refusal::request)?;
    let issuer = jws.text("iss").and_then(|iss| policy.issuers.get(iss)).filter(|issuer| issuer.types.contains(&kind));
    let issuer = issuer.ok_or_else(|| Refusal::request("the subject token's issuer is none for this type"))?;
    // contracts/txts.md N5: a transaction token says what it is, and so do proofs and assertions.
    if !has_right_type(&jws, kind, issuer) {
        return Err(Refusal::request("the subject token says that it is something else, or does not say what it is"));
    }
    if !issuer.has_signed(&jws).await? {
        return Err(Refusal::request("the subject token is not signed by its issuer"));
    }
    let audience: Vec<&str> = issuer.audience.iter().map(String::as_str).collect();
    if !jws.is_for(&audience) {
        return Err(Refusal::request("the subject token is for another audience"));
    }
    let exp = jws.lives_until(now_s).map_err(Refusal::request)?;
    let sub = jws.text("sub").ok_or_else(|| Refusal::request("the subject token has no sub"))?;
    let (sub, scope) = (format!("{}{sub}", issuer.subject_prefix), granted(&jws, issuer)?);
    Ok(Subject { sub, scope: Some(scope), claims: jws.body, ends: Some(exp) })
}

/// Of an issuer whose ID tokens are taken too, one that does not say which it is could be either (contracts/txts.md N9).
fn has_right_type(jws: &Jws<'_>, kind: SubjectType, issuer: &Issuer) -> bool {
    match kind {
        SubjectType::AccessToken if issuer.types.contains(&SubjectType::IdToken) => jws.must_be_of_type(&["at+jwt"]),
        SubjectType::IdToken => jws.is_of_type(&["jwt"]),
        _ => jws.is_of_type(&["jwt", "at+jwt"]),
    }
}

/// contracts/txts.md N10: what cannot be determined is refused.
fn granted(jws: &Jws<'_>, issuer: &Issuer) -> Result<Scope, Refusal> {
    let unknown = || Refusal::new(Code::InvalidScope, "what the subject token may do cannot be determined");
    claimed(&jws.body).map_err(|()| unknown())?.or_else(|| issuer.scope.clone()).ok_or_else(unknown)
}

/// `scope`, a text, or `scp`, a text or a list.
fn claimed(body: &Members) -> Result<Option<Scope>, ()> {
    let text = match (body.get("scope"), body.get("scp")) {
        (None, None) => return Ok(None),
        (Some(Json::Text(scope)), None) | (None, Some(Json::Text(scope))) => scope.clone(),
        (None, Some(Json::Array(listed))) => {
            let listed: Option<Vec<&str>> = listed.iter().map(Json::as_text).collect();
            listed.ok_or(())?.join(" ")
        }
        _ => return Err(()),
    };
    Scope::parse(&text).map(Some).ok_or(())
}

fn self_signed(policy: &Policy, node: &AgentId, client: &Client, token: &str, now_s: u64) -> Result<Subject, Refusal> {
    let jws = Jws::parse(token).map_err(Refusal::request)?;
    if !jws.is_of_type(&["jwt"]) {
        return Err(Refusal::request("the subject token says that it is something else"));
    }
    let did = client.did.map(|did| did.to_string());
    let is_own = jws.text("iss").is_some_and(|iss| iss == client.name || Some(iss) == did.as_deref());
    if !is_own || !client.keys.verifies(&jws) {
        return Err(Refusal::request("the subject token is not signed by the client"));
    }
    if !jws.is_for(&[&policy.service.issuer, &node.to_string()]) {
        return Err(Refusal::request("the subject token is for another audience"));
    }
    jws.lives_until(now_s).map_err(Refusal::request)?;
    let iat = jws.seconds("iat").ok_or_else(|| Refusal::request("the subject token has no iat"))?;
    if now_s.saturating_sub(iat) > (time::ASSERTION_LIFE_MAX + time::TOKEN_SKEW) / 1_000 {
        return Err(Refusal::request("the subject token was made too long ago"));
    }
    subject(jws.body)
}

fn unsigned(token: &str) -> Result<Subject, Refusal> {
    let members = Json::parse_object(token.as_bytes());
    subject(members.map_err(|_| Refusal::request("the subject token is no JSON object that means one thing"))?)
}

/// A subject that the client vouches for.
fn subject(claims: Members) -> Result<Subject, Refusal> {
    let sub = claims.get("sub").and_then(Json::as_text).filter(|sub| !sub.is_empty()).map(str::to_owned);
    let sub = sub.ok_or_else(|| Refusal::request("the subject token has no sub"))?;
    let scope = claimed(&claims).map_err(|()| Refusal::new(Code::InvalidScope, "the subject token's scope is none"))?;
    Ok(Subject { sub, scope, claims, ends: None })
}

//! A token request, read (contracts/txts.md section 2).

use data_encoding::BASE64URL_NOPAD;
use nuncio_contracts::registry::limit;
use nuncio_proto::token::{Json, Receiver, Scope};
use serde::Serialize;

use crate::exact::is_exact;
use crate::form::Form;
use crate::jose::Members;
use crate::policy::{Service, SubjectType};
use crate::refusal::{Code, Refusal};

const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:";
/// The type of what is issued, as the answer says it too.
pub(crate) const TXN_TOKEN: &str = "urn:ietf:params:oauth:token-type:txn_token";

/// What is asked for.
#[derive(Debug)]
pub(crate) struct TokenRequest<'a> {
    pub(crate) scope: Scope,
    pub(crate) subject_type: SubjectType,
    pub(crate) subject_token: &'a str,
    pub(crate) details: Members,
    pub(crate) context: Members,
    pub(crate) receiver: Option<Receiver>,
    pub(crate) pay: Option<Pay>,
    pub(crate) hops_max: Option<u8>,
}

/// `hop.pay`, as it stands in a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Pay {
    salt: String,
    hash: String,
}

impl<'a> TokenRequest<'a> {
    pub(crate) fn read(form: &'a Form, service: &Service) -> Result<Self, Refusal> {
        if form.need("grant_type")? != GRANT_TYPE {
            return Err(Refusal::new(Code::UnsupportedGrantType, "only token exchange"));
        }
        if form.need("requested_token_type")? != TXN_TOKEN {
            return Err(Refusal::request("only transaction tokens are issued"));
        }
        if form.need("audience")? != service.domain {
            return Err(Refusal::new(Code::InvalidTarget, "the audience is another trust domain"));
        }
        if form.get("actor_token").is_some() || form.get("actor_token_type").is_some() {
            return Err(Refusal::request("actor tokens are not taken"));
        }
        let subject_type = form.need("subject_token_type")?;
        let known = subject_type.strip_prefix(TOKEN_TYPE).and_then(SubjectType::parse);
        Ok(Self {
            scope: scope(form.need("scope")?)?,
            subject_type: known.ok_or_else(|| Refusal::request("a subject_token_type that is not taken"))?,
            subject_token: form.need("subject_token")?,
            details: members(form, "request_details")?,
            context: members(form, "request_context")?,
            receiver: form.get("resource").map(receiver).transpose()?,
            pay: form.get("payload_hash").map(Pay::read).transpose()?,
            hops_max: form.get("hops_max").map(hops).transpose()?,
        })
    }
}

fn scope(text: &str) -> Result<Scope, Refusal> {
    Scope::parse(text)
        .ok_or_else(|| Refusal::new(Code::InvalidScope, "the scope is no list of scope tokens, each once"))
}

fn members(form: &Form, name: &'static str) -> Result<Members, Refusal> {
    let Some(text) = form.get(name) else { return Ok(Members::new()) };
    let members = Json::parse_object(text.as_bytes())
        .map_err(|_| Refusal::request(format!("{name} is no JSON object that means one thing")))?;
    if !is_exact(text) {
        return Err(Refusal::request(format!("{name} has a number that would become another")));
    }
    Ok(members)
}

fn receiver(text: &str) -> Result<Receiver, Refusal> {
    text.parse()
        .map_err(|_| Refusal::new(Code::InvalidTarget, "the resource is no did:key of an agent and no id of a channel"))
}

fn hops(text: &str) -> Result<u8, Refusal> {
    let digits = (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let hops = if digits { text.parse().ok() } else { None };
    hops.filter(|hops| *hops <= limit::HOPS_MAX)
        .ok_or_else(|| Refusal::request("hops_max is no number that is allowed"))
}

impl Pay {
    fn read(text: &str) -> Result<Self, Refusal> {
        let parts = text.split_once('.').filter(|(salt, hash)| is_bytes(salt, 16) && is_bytes(hash, 32));
        let (salt, hash) = parts.ok_or_else(|| Refusal::request("payload_hash is no salt and hash"))?;
        Ok(Self { salt: salt.to_owned(), hash: hash.to_owned() })
    }
}

fn is_bytes(text: &str, len: usize) -> bool {
    BASE64URL_NOPAD.decode(text.as_bytes()).is_ok_and(|bytes| bytes.len() == len)
}

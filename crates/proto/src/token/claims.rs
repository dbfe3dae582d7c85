//! What a token claims, in the names of its JSON.

use std::collections::BTreeMap;

use data_encoding::BASE64URL_NOPAD;
use nuncio_contracts::registry::{label, limit};

use super::{Denial, Json, Receiver, Scope, Thumbprint, TokenHash};
use crate::crypto;

/// The claims of a token (contracts/token.md section 1). Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// Issued at.
    pub iat: u64,
    /// Expires at.
    pub exp: u64,
    /// The trust domain.
    pub aud: String,
    /// The transaction.
    pub txn: String,
    /// The principal: for whom.
    pub sub: String,
    /// For what.
    pub scope: Scope,
    /// Every workload that asked for a token of this transaction, the first first.
    pub req_wl_chain: Vec<String>,
    /// The token's own name.
    pub jti: String,
    /// Who issued it.
    pub iss: Option<String>,
    /// Actors (RFC 8693 section 4.1).
    pub act: Option<Json>,
    /// What the agents draft says of the agent.
    pub agentic_ctx: Option<Json>,
    /// Details that stay as they are through the whole transaction.
    pub tctx: Option<Json>,
    /// The environment of the request that began it.
    pub rctx: Option<Json>,
    /// Thumbprint of the agent that may use it: `cnf.jkt`.
    pub cnf: Thumbprint,
    /// This hop.
    pub hop: Hop,
}

/// One hop of a transaction (contracts/token.md K8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// Which, from 0.
    pub n: u8,
    /// The last that there may be.
    pub max: u8,
    /// The receiver: an agent, or the members of a channel.
    pub to: Receiver,
    /// The token that this one replaces.
    pub prev: Option<TokenHash>,
    /// The letter that it is bound to.
    pub pay: Option<PayloadHash>,
}

/// Salted hash of a letter's content (contracts/token.md K8, K28).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayloadHash {
    salt: [u8; 16],
    hash: [u8; 32],
}

impl PayloadHash {
    /// Of a content, under a salt that is drawn for it.
    #[must_use]
    pub fn new(salt: [u8; 16], content: &[u8]) -> Self {
        Self { salt, hash: crypto::sha256(&[label::PAYLOAD_HASH, &[0], &salt, content]) }
    }

    /// Reads `salt.hash`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (salt, hash) = text.split_once('.')?;
        let decode = |text: &str| BASE64URL_NOPAD.decode(text.as_bytes()).ok();
        Some(Self { salt: decode(salt)?.try_into().ok()?, hash: decode(hash)?.try_into().ok()? })
    }

    /// Whether it is this content's.
    #[must_use]
    pub fn is_of(&self, content: &[u8]) -> bool {
        *self == Self::new(self.salt, content)
    }
}

/// `salt.hash`, as a token service is asked for it (contracts/txts.md N8).
impl core::fmt::Display for PayloadHash {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}.{}", BASE64URL_NOPAD.encode(&self.salt), BASE64URL_NOPAD.encode(&self.hash))
    }
}

type Members = BTreeMap<String, Json>;

impl Claims {
    /// Reads the body of a token: every claim of its type, the required ones there.
    ///
    /// # Errors
    /// The first claim that is not as contracts/token.md K3 to K8 want it.
    pub fn parse(body: &[u8]) -> Result<Self, Denial> {
        let mut body = Json::parse_object(body)?;
        let claims = Self {
            iat: integer(&body, "iat")?,
            exp: integer(&body, "exp")?,
            aud: text(&mut body, "aud")?,
            txn: text(&mut body, "txn")?,
            sub: text(&mut body, "sub")?,
            scope: Scope::parse(&text(&mut body, "scope")?).ok_or(Denial::Malformed("scope"))?,
            req_wl_chain: chain(&mut body)?,
            jti: text(&mut body, "jti")?,
            iss: body.contains_key("iss").then(|| text(&mut body, "iss")).transpose()?,
            act: object(&mut body, "act")?,
            agentic_ctx: object(&mut body, "agentic_ctx")?,
            tctx: object(&mut body, "tctx")?,
            rctx: object(&mut body, "rctx")?,
            cnf: holder(&body)?,
            hop: Hop::parse(&body)?,
        };
        // contracts/token.md K6
        let hops = claims.req_wl_chain.len();
        if hops == usize::from(claims.hop.n) + 1 { Ok(claims) } else { Err(Denial::Malformed("req_wl_chain")) }
    }
}

fn integer(body: &Members, name: &'static str) -> Result<u64, Denial> {
    body.get(name).and_then(Json::as_integer).ok_or(Denial::Malformed(name))
}

fn text(body: &mut Members, name: &'static str) -> Result<String, Denial> {
    match body.remove(name) {
        Some(Json::Text(text)) if !text.is_empty() => Ok(text),
        _ => Err(Denial::Malformed(name)),
    }
}

fn object(body: &mut Members, name: &'static str) -> Result<Option<Json>, Denial> {
    match body.remove(name) {
        None => Ok(None),
        Some(object @ Json::Object(_)) => Ok(Some(object)),
        Some(_) => Err(Denial::Malformed(name)),
    }
}

/// `req_wl_chain`, held against `req_wl`.
fn chain(body: &mut Members) -> Result<Vec<String>, Denial> {
    let joined = text(body, "req_wl")?;
    let Some(Json::Array(listed)) = body.remove("req_wl_chain") else { return Err(Denial::Malformed("req_wl_chain")) };
    let named = |name: &Json| name.as_text().filter(|name| !name.is_empty() && !name.contains(',')).map(str::to_owned);
    let chain: Vec<String> =
        listed.iter().map(named).collect::<Option<_>>().ok_or(Denial::Malformed("req_wl_chain"))?;
    if chain.join(",") == joined { Ok(chain) } else { Err(Denial::Malformed("req_wl")) }
}

fn holder(body: &Members) -> Result<Thumbprint, Denial> {
    let jkt = body.get("cnf").and_then(Json::as_object).and_then(|cnf| cnf.get("jkt")).and_then(Json::as_text);
    jkt.and_then(Thumbprint::parse).ok_or(Denial::Malformed("cnf"))
}

fn bytes<const N: usize>(json: &Json) -> Option<[u8; N]> {
    BASE64URL_NOPAD.decode(json.as_text()?.as_bytes()).ok()?.try_into().ok()
}

impl Hop {
    fn parse(body: &Members) -> Result<Self, Denial> {
        let hop = body.get("hop").and_then(Json::as_object).ok_or(Denial::Malformed("hop"))?;
        Self::read(hop).ok_or(Denial::Malformed("hop"))
    }

    fn read(hop: &Members) -> Option<Self> {
        let number = |name: &str| u8::try_from(hop.get(name)?.as_integer()?).ok();
        let (n, max) = (number("n")?, number("max").filter(|max| *max <= limit::HOPS_MAX)?);
        let prev = hop.get("prev").map(|prev| bytes(prev).ok_or(())).transpose().ok()?;
        let pay = hop.get("pay").map(|pay| payload_hash(pay).ok_or(())).transpose().ok()?;
        // The first hop replaces nothing, every other one does.
        let to = hop.get("to")?.as_text()?.parse().ok()?;
        ((n == 0) == prev.is_none()).then_some(Self { n, max, to, prev, pay })
    }
}

fn payload_hash(pay: &Json) -> Option<PayloadHash> {
    let pay = pay.as_object()?;
    Some(PayloadHash { salt: bytes(pay.get("salt")?)?, hash: bytes(pay.get("hash")?)? })
}

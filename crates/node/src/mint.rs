//! From what was decided to a token (contracts/txts.md section 5).

use std::collections::BTreeMap;

use data_encoding::BASE64URL_NOPAD;
use nuncio_contracts::registry::limit;
use nuncio_proto::token::{Json, Receiver, Scope, Thumbprint, TokenHash};
use serde::Serialize;

use crate::entropy;
use crate::keys::TokenKey;
use crate::policy::Service;
use crate::refusal::Refusal;
use crate::request::Pay;

/// A token that is not signed yet.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) txn: String,
    pub(crate) sub: String,
    pub(crate) scope: Scope,
    pub(crate) chain: Vec<String>,
    pub(crate) act: Option<Json>,
    pub(crate) agentic_ctx: Option<Json>,
    pub(crate) tctx: Option<Json>,
    pub(crate) rctx: Option<Json>,
    pub(crate) cnf: Thumbprint,
    pub(crate) n: u8,
    pub(crate) max: u8,
    pub(crate) to: Receiver,
    pub(crate) prev: Option<TokenHash>,
    pub(crate) pay: Option<Pay>,
    /// The end of the transaction.
    pub(crate) txn_exp: u64,
}

/// A token, and how long it lives.
#[derive(Clone, Debug)]
pub(crate) struct Minted {
    pub(crate) token: String,
    pub(crate) expires_in: u64,
}

/// The claims, in the order of contracts/token.md.
#[derive(Serialize)]
struct Body<'a> {
    iat: u64,
    exp: u64,
    aud: &'a str,
    txn: &'a str,
    sub: &'a str,
    scope: String,
    req_wl: String,
    req_wl_chain: &'a [String],
    jti: String,
    iss: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    act: Option<&'a Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agentic_ctx: Option<&'a Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tctx: Option<&'a Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rctx: Option<&'a Json>,
    cnf: BTreeMap<&'static str, String>,
    hop: Hop<'a>,
    txn_exp: u64,
}

#[derive(Serialize)]
struct Hop<'a> {
    n: u8,
    max: u8,
    to: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    prev: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pay: Option<&'a Pay>,
}

impl Draft {
    /// Whether what the client said of the transaction has this text somewhere in it, a name or a part of a text.
    pub(crate) fn tells(&self, text: &str) -> bool {
        [&self.tctx, &self.rctx].into_iter().flatten().any(|said| holds(said, text))
    }

    /// Signs it.
    pub(crate) fn mint(&self, service: &Service, key: &TokenKey, iat: u64) -> Result<Minted, Refusal> {
        // contracts/txts.md N18
        let exp = iat.saturating_add(service.token_life_s).min(self.txn_exp);
        if exp <= iat {
            return Err(Refusal::grant("the transaction is over"));
        }
        let failed = |_| Refusal::unavailable("the service cannot sign");
        let body = serde_json::to_vec(&self.body(service, iat, exp)?).map_err(|_| Refusal::request("no JSON"))?;
        let token = key.token(&body).map_err(failed)?;
        // contracts/txts.md N22
        if token.len() > limit::TOKEN_LEN_MAX {
            return Err(Refusal::request("the token would be longer than 8 KiB"));
        }
        Ok(Minted { token, expires_in: exp - iat })
    }

    fn body<'a>(&'a self, service: &'a Service, iat: u64, exp: u64) -> Result<Body<'a>, Refusal> {
        let jti: [u8; 16] = entropy::random().map_err(|_| Refusal::unavailable("no randomness"))?;
        Ok(Body {
            iat,
            exp,
            aud: &service.domain,
            txn: &self.txn,
            sub: &self.sub,
            scope: self.scope.to_string(),
            req_wl: self.chain.join(","),
            req_wl_chain: &self.chain,
            jti: BASE64URL_NOPAD.encode(&jti),
            iss: &service.issuer,
            act: self.act.as_ref(),
            agentic_ctx: self.agentic_ctx.as_ref(),
            tctx: self.tctx.as_ref(),
            rctx: self.rctx.as_ref(),
            cnf: BTreeMap::from([("jkt", self.cnf.to_string())]),
            hop: Hop {
                n: self.n,
                max: self.max,
                to: self.to.to_string(),
                prev: self.prev.map(|prev| BASE64URL_NOPAD.encode(&prev)),
                pay: self.pay.as_ref(),
            },
            txn_exp: self.txn_exp,
        })
    }
}

fn holds(said: &Json, text: &str) -> bool {
    match said {
        Json::Text(said) => said.contains(text),
        Json::Array(listed) => listed.iter().any(|said| holds(said, text)),
        Json::Object(members) => members.iter().any(|(name, said)| name.contains(text) || holds(said, text)),
        _ => false,
    }
}

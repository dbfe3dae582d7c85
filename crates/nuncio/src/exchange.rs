//! Tokens from the trust domain's token service: begun, handed on, renewed (contracts/txts.md).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use nuncio_proto::crypto::SigningKey;
use nuncio_proto::ids::AgentId;
use nuncio_proto::time::UnixMillis;
use nuncio_proto::token::{self, Genuine, PayloadHash, Receiver, Scope, TokenHash};
use serde::Deserialize;
use tokio::sync::Notify;

use crate::entropy;
use crate::error::Error;
use crate::node::{Answered, Node, Unreachable};
use crate::transaction::{Subject, Transaction};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const TYPE: &str = "urn:ietf:params:oauth:token-type:";
/// A token that lives shorter than this is not sent any more: another is asked for.
const LEFT_MIN_MS: u64 = 20_000;
/// Of tokens that were handed on, so many are used again.
const KEPT_MAX: usize = 4_096;
/// How long this agent's own word about its principal holds.
const WORD_LIFE_S: u64 = 60;

/// The token service, as this agent asks it.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) node: Node,
    pub(crate) domain: String,
    me: AgentId,
    signing: SigningKey,
    /// Tokens that were handed on, by the one that they replace, receiver and scope.
    handed_on: Mutex<BTreeMap<(TokenHash, Receiver, String), Arc<Genuine>>>,
    /// Our own transactions' tokens, by the one that they renew.
    renewed: Mutex<BTreeMap<TokenHash, Arc<Genuine>>>,
    /// The list of revoked transactions has grown.
    pub(crate) revoked: Notify,
}

/// How a token is wanted for one letter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) to: Receiver,
    /// Less than the transaction's.
    pub(crate) scope: Option<&'a Scope>,
    /// The content of the letter that it is bound to.
    pub(crate) content: Option<&'a [u8]>,
}

#[derive(Deserialize)]
struct Issued {
    access_token: String,
}

#[derive(Deserialize)]
struct Refused {
    error: String,
    #[serde(default)]
    error_description: String,
}

impl Exchange {
    pub(crate) fn new(node: Node, domain: String, me: AgentId, signing: SigningKey) -> Self {
        Self {
            node,
            domain,
            me,
            signing,
            handed_on: Mutex::default(),
            renewed: Mutex::default(),
            revoked: Notify::new(),
        }
    }

    /// Begins a transaction.
    pub(crate) async fn begin(
        &self,
        subject: Subject,
        scope: &Scope,
        details: Option<&serde_json::Value>,
        context: Option<&serde_json::Value>,
    ) -> Result<Transaction, Error> {
        let (kind, subject) = match subject {
            Subject::AccessToken(token) => ("access_token", token),
            Subject::Jwt(token) => ("jwt", token),
            Subject::IdToken(token) => ("id_token", token),
            Subject::SelfSigned(principal) => ("self_signed", self.word(&principal)?),
        };
        let (details, context) = (details.map(ToString::to_string), context.map(ToString::to_string));
        let more = [("request_details", details), ("request_context", context)];
        let token = self.ask(kind, &subject, &scope.to_string(), more).await?;
        Ok(Transaction { token })
    }

    /// The token for one letter under a transaction.
    pub(crate) async fn hand_on(&self, transaction: &Transaction, wanted: &Wanted<'_>) -> Result<Arc<Genuine>, Error> {
        let scope = wanted.scope.unwrap_or(transaction.scope()).to_string();
        let name = (*transaction.token.hash(), wanted.to, scope.clone());
        let kept = lock(&self.handed_on).get(&name).filter(|token| lives(token, LEFT_MIN_MS)).cloned();
        if let Some(kept) = kept.filter(|_| wanted.content.is_none()) {
            return Ok(kept);
        }
        let input = self.live(transaction).await?;
        let pay = wanted.content.map(bind).transpose()?;
        let more = [("resource", Some(wanted.to.to_string())), ("payload_hash", pay)];
        let token = self.ask("txn_token", input.text(), &scope, more).await?;
        if wanted.content.is_none() {
            let mut kept = lock(&self.handed_on);
            if kept.len() >= KEPT_MAX {
                kept.retain(|_, token| lives(token, LEFT_MIN_MS));
            }
            if kept.len() < KEPT_MAX {
                kept.insert(name, Arc::clone(&token));
            }
        }
        Ok(token)
    }

    /// The transaction's token, renewed if it is ours and about to expire.
    async fn live(&self, transaction: &Transaction) -> Result<Arc<Genuine>, Error> {
        let first = *transaction.token.hash();
        let token = lock(&self.renewed).get(&first).cloned().unwrap_or_else(|| Arc::clone(&transaction.token));
        let ours = token.claims().cnf == token::Thumbprint::of_agent(&self.me);
        if !ours || lives(&token, LEFT_MIN_MS) || !lives(&token, 0) {
            return Ok(token);
        }
        let fresh = self.renew(&token).await?;
        let mut renewed = lock(&self.renewed);
        renewed.retain(|_, token| lives(token, 0));
        renewed.insert(first, Arc::clone(&fresh));
        Ok(fresh)
    }

    /// The transaction with a fresh token, if it is ours.
    pub(crate) async fn renewed(&self, transaction: &Transaction) -> Result<Transaction, Error> {
        if transaction.token.claims().cnf != token::Thumbprint::of_agent(&self.me) {
            return Ok(transaction.clone());
        }
        Ok(Transaction { token: self.renew(&transaction.token).await? })
    }

    /// A fresh token of the same hop, for a letter that has not arrived.
    pub(crate) async fn renew(&self, token: &Genuine) -> Result<Arc<Genuine>, Error> {
        let hop = &token.claims().hop;
        let more =
            [("resource", Some(hop.to.to_string())), ("payload_hash", hop.pay.as_ref().map(ToString::to_string))];
        self.ask("txn_token", token.text(), &token.claims().scope.to_string(), more).await
    }

    /// Ends a transaction (RFC 7009).
    pub(crate) async fn revoke(&self, transaction: &Transaction) -> Result<(), Error> {
        let form = form_urlencoded::Serializer::new(String::new()).append_pair("token", transaction.token()).finish();
        refused(&self.node.post("/revoke", form).await?)?;
        self.revoked.notify_one();
        Ok(())
    }

    async fn ask<const N: usize>(
        &self,
        kind: &str,
        subject: &str,
        scope: &str,
        more: [(&str, Option<String>); N],
    ) -> Result<Arc<Genuine>, Error> {
        let answered = self.node.post("/token", self.form(kind, subject, scope, &more)).await?;
        refused(&answered)?;
        let issued: Option<Issued> = serde_json::from_slice(&answered.body).ok();
        let token = issued.and_then(|issued| Genuine::kept(issued.access_token.as_bytes()));
        token.map(Arc::new).ok_or_else(|| Error::Node("what it issued is no transaction token".to_owned()))
    }

    /// RFC 8693 section 2.1
    fn form(&self, kind: &str, subject: &str, scope: &str, more: &[(&str, Option<String>)]) -> String {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", GRANT)
            .append_pair("requested_token_type", &format!("{TYPE}txn_token"))
            .append_pair("audience", &self.domain)
            .append_pair("scope", scope)
            .append_pair("subject_token_type", &format!("{TYPE}{kind}"))
            .append_pair("subject_token", subject);
        for (name, value) in more {
            if let Some(value) = value {
                form.append_pair(name, value);
            }
        }
        form.finish()
    }

    /// This agent's word that it acts for a principal (contracts/txts.md N9, `self_signed`).
    fn word(&self, principal: &str) -> Result<String, Error> {
        let (now, jti) = (entropy::now().0 / 1_000, data_encoding::HEXLOWER.encode(&entropy::random::<16>()?));
        let members = serde_json::json!({
            "iss": self.me.to_string(), "sub": principal, "aud": self.node.id().to_string(), "iat": now, "exp": now + WORD_LIFE_S, "jti": jti,
        });
        Ok(token::sign(&self.signing, "JWT", &members.to_string()))
    }
}

/// What the token service says against it (RFC 6749 section 5.2).
fn refused(answered: &Answered) -> Result<(), Error> {
    if answered.status.is_success() {
        return Ok(());
    }
    let Refused { error, error_description } = serde_json::from_slice(&answered.body)
        .map_err(|_| Error::Node(format!("the token service answers {}", answered.status)))?;
    let again = answered.status.is_server_error() || answered.status == hyper::StatusCode::TOO_MANY_REQUESTS;
    Err(if again {
        Error::Node(format!("{error}: {error_description}"))
    } else {
        Error::TokenRefused { code: error, reason: error_description }
    })
}

impl From<Unreachable> for Error {
    fn from(Unreachable { reason, stranger }: Unreachable) -> Self {
        if !stranger {
            return Self::Node(reason);
        }
        let reason = "its policy names no client with this agent's key: whoever runs the node adds it to policy.toml, then `nuncio node reload`";
        Self::TokenRefused { code: "unauthorized_client".to_owned(), reason: reason.to_owned() }
    }
}

fn bind(content: &[u8]) -> Result<String, Error> {
    Ok(PayloadHash::new(entropy::random()?, content).to_string())
}

fn lives(token: &Genuine, least_ms: u64) -> bool {
    UnixMillis(token.claims().exp.saturating_mul(1_000)) > entropy::now().plus(least_ms)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // What it guards stays whole even if a holder panicked.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

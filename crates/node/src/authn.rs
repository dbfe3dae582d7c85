//! Who asks (contracts/txts.md section 1).

mod assertion;
mod dpop;

use std::net::IpAddr;
use std::sync::Arc;

use axum::http::{HeaderMap, header};
use nuncio_proto::ids::AgentId;

use crate::form::Form;
use crate::holder::Holder;
use crate::once::{Once, Unusable, UsedId};
use crate::policy::{Client, Policy};
use crate::refusal::{Code, Refusal};

/// By which door a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// TCP: nobody is known yet.
    Tcp { from: IpAddr },
    /// QUIC: the peer has proved its key.
    Quic { peer: AgentId, from: IpAddr },
    /// The owner's socket in the home.
    Owner,
}

impl Door {
    /// The address, where there is one.
    pub(crate) const fn source(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp { from } | Self::Quic { from, .. } => Some(*from),
            Self::Owner => None,
        }
    }
}

/// One who is known.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// By which it is known. What it asks for is decided by the same.
    pub(crate) policy: Arc<Policy>,
    pub(crate) client: Arc<Client>,
    /// `None` for a client that has neither an agent nor proved a key: it gets no token.
    pub(crate) holder: Option<Holder>,
}

/// How far it came, for the record of a request that is refused.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attempt {
    pub(crate) client: Option<String>,
    /// Ids that were used up, whatever came of it.
    pub(crate) used: Vec<UsedId>,
}

/// A request, as far as it says who asks.
pub(crate) struct Request<'a> {
    pub(crate) door: Door,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) form: &'a Form,
    /// The endpoint's path.
    pub(crate) path: &'a str,
    pub(crate) now_s: u64,
}

impl Request<'_> {
    /// Who it is, by one way and no second one (contracts/txts.md N1).
    pub(crate) fn authenticate(
        &self,
        policy: &Arc<Policy>,
        once: &Once,
        attempt: &mut Attempt,
    ) -> Result<Caller, Refusal> {
        if self.headers.contains_key(header::AUTHORIZATION) || self.form.get("client_secret").is_some() {
            return Err(Refusal::client("clients are known by their QUIC identity or by private_key_jwt alone"));
        }
        let asserts = self.form.get("client_assertion").is_some() || self.form.get("client_assertion_type").is_some();
        let client = match self.door {
            Door::Quic { .. } if asserts => return Err(Refusal::request("more than one way to authenticate")),
            Door::Quic { peer, .. } => {
                within_rate(policy.client_of(&peer).ok_or_else(|| Refusal::client("no client has this key"))?)?
            }
            _ => assertion::client(self, policy, once, attempt)?,
        };
        attempt.client = Some(client.name.clone());
        if self.form.get("client_id").is_some_and(|id| id != client.name) {
            return Err(Refusal::client("client_id names another client"));
        }
        let holder = self.holder(policy, client, once, attempt)?;
        Ok(Caller { policy: Arc::clone(policy), client: Arc::clone(client), holder })
    }

    // contracts/txts.md N3, N4
    fn holder(
        &self,
        policy: &Policy,
        client: &Client,
        once: &Once,
        attempt: &mut Attempt,
    ) -> Result<Option<Holder>, Refusal> {
        // Over QUIC its agent is the peer: by that it is known.
        let proved = dpop::holder(self, policy, client, once, attempt)?;
        match (client.holder, proved) {
            (Some(own), Some(proved)) if own != proved => {
                Err(Refusal::request("the DPoP proof is by another key than the client's agent"))
            }
            (own, proved) => Ok(own.or(proved)),
        }
    }
}

/// A client that is known, if it is within its rate. Looked at before anything is used up: what is refused here may come again
/// (contracts/txts.md N2).
pub(crate) fn within_rate(client: &Arc<Client>) -> Result<&Arc<Client>, Refusal> {
    if client.rate.allows() { Ok(client) } else { Err(Refusal::new(Code::TooMany, "the client is over its rate")) }
}

/// Uses an id up, and writes down that it was.
fn take(once: &Once, client: &Client, used: UsedId, now_s: u64, attempt: &mut Attempt) -> Result<(), Unusable> {
    once.take(&client.name, used, now_s)?;
    attempt.used.push(used);
    Ok(())
}

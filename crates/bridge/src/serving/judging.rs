//! Whether a message may go to its service, and as what (contracts/call.md X5 to X8).

use std::sync::Arc;
use std::time::Duration;

use nuncio::{Called, Payload, PeerInfo};
use nuncio_contracts::registry::limit;
use nuncio_proto::call::What;
use nuncio_proto::ids::AgentId;
use tokio::time::timeout;

use super::Serving;
use super::offered::{Offered, envelope};
use crate::a2a;
use crate::caller::message_of;
use crate::jsonrpc::{Envelope, Id, NotRead, Reason};
use crate::mcp;
use crate::message::Message;
use crate::policy::{self, Asker, Decision};

/// How long the payload of a message may take to come.
const PAYLOAD_PATIENCE: Duration = Duration::from_mins(1);

/// A message that may go to its service.
pub(super) struct Admitted {
    pub(super) envelope: Envelope,
    pub(super) message: Message,
    pub(super) offered: Arc<Offered>,
    /// It names callbacks, which are not put in yet.
    pub(super) calls_back: bool,
}

/// Why a message does not go to its service.
pub(super) struct Refused {
    pub(super) id: Id,
    pub(super) reason: Reason,
    pub(super) why: String,
    pub(super) needs: Option<String>,
}

impl Refused {
    fn new(id: &Id, reason: Reason, why: &str) -> Self {
        Self { id: id.clone(), reason, why: why.to_owned(), needs: None }
    }

    /// The same of what is not offered at all.
    fn denied(id: &Id, needs: String, called: &Called) -> Self {
        Self { needs: Some(needs.clone()), ..Self::new(id, Reason::Denied, &not_allowed(&needs, called)) }
    }
}

impl Serving {
    /// Whether a message may go to its service, and as what.
    pub(super) async fn admit(self: &Arc<Self>, called: &Called) -> Result<(Envelope, Message, Arc<Offered>), Refused> {
        let Admitted { envelope, message, offered, calls_back } = self.judge(called).await?;
        if !calls_back {
            return Ok((envelope, message, offered));
        }
        match self.with_callbacks(called, &offered, &envelope, message).await {
            Ok(message) => Ok((envelope, message, offered)),
            Err(why) => Err(Refused { id: envelope.id.unwrap_or(Id::NULL), reason: Reason::Failed, why, needs: None }),
        }
    }

    /// Whether a message may go to its service, and what it says.
    // contracts/call.md X7.
    pub(super) async fn judge(&self, called: &Called) -> Result<Admitted, Refused> {
        let (envelope, message) = self.read(called).await?;
        let id = envelope.id.clone().unwrap_or(Id::NULL);
        let refused = |reason, why: &str| Refused::new(&id, reason, why);
        let denied = |needs: String| Refused::denied(&id, needs, called);
        let Some(offered) = self.offered(&called.place.service) else {
            if self.stopping.is_cancelled() {
                return Err(refused(Reason::Gone, "the agent is being stopped; it was not done"));
            }
            // What is not offered is not told apart from what is not allowed.
            return Err(denied(policy::USE.to_owned()));
        };
        let Some(name) = self.asker_name(called).await else {
            // It was removed while its message waited.
            return Err(denied(policy::USE.to_owned()));
        };
        let token = called.letter.grant.as_ref().map(nuncio::Grant::scope);
        let asker = Asker { agent: &called.letter.from, name: name.as_deref(), token, permit: None };
        match self.decide(&offered, asker, called, &envelope).await {
            Decision::Denied { needs } => Err(denied(needs)),
            Decision::Allowed if called.place.what == What::Request && self.open.is_full(&called.letter.from) => {
                let why = format!("{} requests of this agent are open here", limit::CALLS_BEGUN_MAX);
                Err(refused(Reason::Busy, &why))
            }
            Decision::Allowed => match offered.fits(&envelope, &message).await {
                Ok(calls_back) => Ok(Admitted { envelope, message, offered, calls_back }),
                Err((reason, why)) => Err(refused(reason, &why)),
            },
        }
    }

    /// What a message says, where it is whole and in the form that its letter says.
    async fn read(&self, called: &Called) -> Result<(Envelope, Message), Refused> {
        let unread = |reason, why: &str| Refused::new(&Id::NULL, reason, why);
        if called.letter.payload.len() > limit::CALL_REQUEST_MAX {
            let why = format!("a message to a service has at most {} bytes", limit::CALL_REQUEST_MAX);
            return Err(unread(Reason::TooLarge, &why));
        }
        // One who may nothing is not waited for.
        if matches!(called.letter.payload, Payload::Large(_)) && !self.is_heard(called).await {
            return Err(Refused::denied(&Id::NULL, policy::USE.to_owned(), called));
        }
        let message = in_time(called.clone()).await.map_err(|why| unread(Reason::Failed, &why))?;
        let asks_card = called.letter.payload.is_empty() && a2a::asks_card(&called.place.head).is_some();
        let envelope = if asks_card { Ok(Envelope::card()) } else { envelope(&message).await };
        let envelope = envelope.map_err(|why| {
            let reason = match why {
                NotRead::Io(_) => Reason::Failed,
                NotRead::Json(_) => Reason::NotJson,
                NotRead::Malformed(_) | NotRead::Batch => Reason::Malformed,
            };
            unread(reason, &why.to_string())
        })?;
        let id = envelope.id.clone().unwrap_or(Id::NULL);
        let malformed = |why| Err(Refused::new(&id, Reason::Malformed, why));
        // contracts/call.md X5: in another charset the same bytes are another message.
        if !asks_card && !message.is_json() {
            return malformed("a message is application/json, in UTF-8");
        }
        if (called.place.what == What::Request) != envelope.is_request() {
            return malformed("the letter and its message differ in what they want");
        }
        // contracts/call.md X8: what does anything is a request, which is begun once and seen.
        if !envelope.is_request() && !envelope.is_response() && !envelope.method.starts_with("notifications/") {
            return malformed("a notice is a response or a notification");
        }
        mcp::agree(&called.place.head, &envelope, false).map_err(|why| Refused::new(&id, Reason::Mismatch, why))?;
        Ok((envelope, message))
    }

    /// What an agent that is added here is called; `None` of one that is not.
    pub(super) async fn peer_name(&self, agent: &AgentId) -> Option<Option<String>> {
        self.peer(agent).await.map(|peer| peer.name)
    }

    /// What is known of an agent that is added here.
    pub(super) async fn peer(&self, agent: &AgentId) -> Option<PeerInfo> {
        let peers = self.agent.peers().await.ok()?;
        peers.into_iter().find(|peer| peer.agent == *agent && peer.allowed)
    }

    /// [`Serving::peer_name`] of whom a message came from: the agent has said it, where the message came just now and nothing has changed since.
    async fn asker_name(&self, called: &Called) -> Option<Option<String>> {
        match &called.by {
            Some(by) if by.still_holds() => Some(by.name.clone()),
            _ => self.peer_name(&called.letter.from).await,
        }
    }

    async fn is_heard(&self, called: &Called) -> bool {
        let Some(offered) = self.offered(&called.place.service) else { return false };
        let Some(name) = self.asker_name(called).await else { return false };
        let token = called.letter.grant.as_ref().map(nuncio::Grant::scope);
        let asker = Asker { agent: &called.letter.from, name: name.as_deref(), token, permit: None };
        self.hears(&offered, asker, called).await
    }
}

fn not_allowed(needs: &str, called: &Called) -> String {
    if called.letter.grant.is_some() {
        return format!(
            "not allowed: under a transaction it needs the scope {needs} in the token, and from the owner of this service, who says in services.toml what tokens may ([services.NAME.tokens])"
        );
    }
    format!("not allowed: it needs the scope {needs}, from the owner of this service or from a token")
}

/// The message that a letter brought, if it comes in its time: others of its session wait behind it.
pub(super) async fn in_time(called: Called) -> Result<Message, String> {
    let message = timeout(PAYLOAD_PATIENCE, message_of(called)).await;
    message.unwrap_or_else(|_| Err("its payload did not come in time".to_owned()))
}

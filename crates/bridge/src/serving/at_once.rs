//! Requests that are begun in the commit in which they come (contracts/call.md X10).

use std::sync::{Arc, Weak};

use bytes::Bytes;
use nuncio::{Admission, Coming};
use nuncio_proto::call::What;

use super::{Serving, lock};
use crate::a2a;
use crate::jsonrpc::Envelope;
use crate::mcp;
use crate::message::{Body, Message};
use crate::policy::{self, Asker, Decision};
use crate::service::Of;

impl Serving {
    /// What the agent asks of each request that comes.
    pub(crate) fn admission(serving: &Arc<Self>) -> Admission {
        let serving = Arc::downgrade(serving);
        Admission::new(move |coming| Weak::upgrade(&serving)?.begins_at_once(coming))
    }

    /// The method of a request that is handed over as soon as it is on disk: it is allowed, and nothing of its session stands before it. Whoever hands it over
    /// asks the policy itself.
    fn begins_at_once(&self, coming: &Coming<'_>) -> Option<String> {
        let place = coming.place;
        let of = Of { from: coming.from, session: place.session };
        if self.stopping.is_cancelled() || place.what != What::Request {
            return None;
        }
        if of.session.is_some() && lock(&self.lanes).contains_key(&(place.service.clone(), of)) {
            return None;
        }
        let message = Message {
            head: place.head.clone(),
            content_type: coming.letter.content_type.clone(),
            body: Body::Bytes(Bytes::copy_from_slice(&coming.letter.payload)),
        };
        let asks_card = coming.letter.payload.is_empty() && a2a::asks_card(&place.head).is_some();
        let envelope = if asks_card { Envelope::card() } else { Envelope::of(&message).ok()? };
        let agrees = envelope.is_request() && (asks_card || message.is_json());
        if !agrees || mcp::agree(&place.head, &envelope, false).is_err() {
            return None;
        }
        let offered = self.offered(&place.service)?;
        let asker = Asker { agent: &coming.from, name: coming.name, token: coming.token, permit: None };
        let allowed = policy::decide(&offered.config, &asker, &envelope) == Decision::Allowed
            && !self.open.is_full(&coming.from)
            && offered.fits_at_once(&envelope, &message);
        allowed.then_some(envelope.method)
    }
}

#[cfg(test)]
mod tests;

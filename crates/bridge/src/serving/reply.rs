//! What goes back, as letters; and what goes to a service beside a message.

use nuncio::Called;
use nuncio_proto::call::{CallPlace, ServiceName, What};

use crate::jsonrpc::{self, Id, Reason};
use crate::message::Message;
use crate::service::Of;

/// The token with which a message came, verified.
pub(super) fn token(called: &Called) -> Option<String> {
    called.letter.grant.as_ref().map(|grant| grant.token().to_owned())
}

/// An agent's own error in a service's stead.
pub(super) fn failure(id: &Id, reason: Reason, why: &str) -> Message {
    jsonrpc::error(id, reason, why, None)
}

/// Where a message to a request belongs.
pub(super) fn place(called: &Called, what: What, message: &Message) -> CallPlace {
    CallPlace { what, head: message.head.clone(), ..called.place.clone() }
}

/// Where a message to no request belongs; without a session, nowhere.
pub(super) fn aside(service: &ServiceName, of: &Of, message: &Message) -> Option<CallPlace> {
    of.session?;
    Some(CallPlace { what: What::Aside, service: service.clone(), session: of.session, head: message.head.clone() })
}

/// A service's message as a letter's content. A file is read when the letter is written: the message is held until then.
pub(super) fn letter(message: &Message) -> nuncio::Message {
    crate::caller::letter(message).unwrap_or_else(|| nuncio::Message::bytes(message.content_type.clone(), Vec::new()))
}

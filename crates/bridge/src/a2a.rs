//! What of A2A decides on the way: what a method does, and what is the agent's card (contracts/call.md section 8).

mod card;
mod webhooks;

use nuncio_proto::call::Head;

pub(crate) use card::{paths, rewritten};
pub(crate) use webhooks::{origin, webhooks};

/// What of a message's fields is A2A's own. They travel both ways.
// contracts/call.md X36.
pub(crate) const FIELDS: [&str; 3] = ["a2a-version", "a2a-extensions", "x-a2a-extensions"];
/// What travels beside them, from a client.
pub(crate) const TRACE: [&str; 2] = ["traceparent", "tracestate"];
/// Where an agent's card stands: since 0.3, and before.
pub(crate) const CARDS: [&str; 2] = ["/.well-known/agent-card.json", "/.well-known/agent.json"];
/// A longer card is none.
pub(crate) const CARD_LEN_MAX: usize = 1 << 20;

/// The fields of a message that travel with it.
pub(crate) fn fields<'a>(all: impl Iterator<Item = (&'a str, &'a str)>) -> Head {
    Head::of(all.filter(|(name, _)| FIELDS.contains(name) || TRACE.contains(name)))
}

/// Where the card stands that a message without bytes asks for; `None` of one that asks for none.
// contracts/call.md X32.
pub(crate) fn asks_card(head: &Head) -> Option<&'static str> {
    let path = head.get(":path").filter(|_| head.get(":method") == Some("GET"))?;
    CARDS.into_iter().find(|card| *card == path)
}

/// Whether a method only reads.
pub(crate) fn reads(method: &str) -> bool {
    matches!(
        method,
        "GetTask"
            | "ListTasks"
            | "SubscribeToTask"
            | "GetTaskPushNotificationConfig"
            | "ListTaskPushNotificationConfigs"
            | "GetExtendedAgentCard"
            | "tasks/get"
            | "tasks/list"
            | "tasks/resubscribe"
            | "tasks/pushNotificationConfig/get"
            | "tasks/pushNotificationConfig/list"
            | "agent/getAuthenticatedExtendedCard"
    )
}

/// Whether a method is answered with a stream.
pub(crate) fn streams(method: &str) -> bool {
    matches!(method, "SendStreamingMessage" | "SubscribeToTask" | "message/stream" | "tasks/resubscribe")
}

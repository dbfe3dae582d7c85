//! Who may: one decision, asked for every message before the service sees a byte of it.
//!
//! ```text
//!   what it needs  ◄─ method, tool, kind                    what is held  ◄─ open, peers, token ∩ tokens, permit
//!                                                         with a token: open, token ∩ tokens alone
//!   service.use       what a protocol needs to be spoken     whoever holds anything at all
//!   tools.read        what only reads                        tools.read,  or tools.read:NAME
//!   tools.write       everything else, known or not          tools.write, or tools.write:NAME
//! ```

use nuncio_proto::ids::AgentId;
use nuncio_proto::token::Scope;

use crate::a2a;
use crate::config::{Runs, ServiceConfig, Speaks};
use crate::jsonrpc::{Envelope, Kind};

/// What the protocol needs to be spoken.
pub(crate) const USE: &str = "service.use";
const READ: &str = "tools.read";
const WRITE: &str = "tools.write";

/// Who asks, and what it brings. Token and permit were verified: they count for this peer and this letter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker<'a> {
    /// Its identity.
    pub(crate) agent: &'a AgentId,
    /// The name under which this agent knows it.
    pub(crate) name: Option<&'a str>,
    /// The scope of its letter's token.
    pub(crate) token: Option<&'a Scope>,
    /// The scope of a permit that this agent gave it.
    pub(crate) permit: Option<&'a Scope>,
}

/// What was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It may.
    Allowed,
    /// It may not.
    Denied {
        /// The scope that would allow it.
        needs: String,
    },
}

/// Whether a scope is one that a service's file may name.
#[must_use]
pub fn is_known(scope: &str) -> bool {
    let narrow = scope.strip_prefix(READ).or_else(|| scope.strip_prefix(WRITE)).and_then(|rest| rest.strip_prefix(':'));
    match narrow {
        Some(name) => !name.is_empty() && one(scope).is_some(),
        None => matches!(scope, USE | READ | WRITE),
    }
}

/// Whether a peer may send this message to this service.
// contracts/call.md X7: what is not named is not allowed.
pub(crate) fn decide(service: &ServiceConfig, asker: &Asker<'_>, message: &Envelope) -> Decision {
    let need = need(service, message);
    if is_met(service, asker, &need) { Decision::Allowed } else { Decision::Denied { needs: need.wide().to_owned() } }
}

/// Whether a message's token would do, and the service's owner lets tokens do less.
pub(crate) fn tokens_lack(service: &ServiceConfig, asker: &Asker<'_>, message: &Envelope) -> bool {
    let need = need(service, message);
    asker.token.is_some_and(|token| need.is_met_by(token)) && !need.is_met_by(&service.tokens)
}

/// Whether a peer may send this service anything at all: asked before its message is waited for.
pub(crate) fn is_heard(service: &ServiceConfig, asker: &Asker<'_>) -> bool {
    is_met(service, asker, &Need::Use)
}

fn is_met(service: &ServiceConfig, asker: &Asker<'_>, need: &Need) -> bool {
    let held = [
        Some(&service.open),
        asker.name.and_then(|name| service.peers.get(name)),
        service.agents.get(asker.agent),
        asker.permit,
    ];
    // contracts/call.md X7: who asks in somebody's name is held to what that one may.
    let held = held.into_iter().take(if asker.token.is_some() { 1 } else { 4 });
    let own = held.flatten().any(|held| need.is_met_by(held));
    // A token allows what it says and the file says: each of the two has to.
    let token = asker.token.is_some_and(|token| match need {
        Need::Use => {
            any(token).any(|scope| Need::of_scope(scope).is_met_by(&service.tokens))
                || any(&service.tokens).any(|scope| Need::of_scope(scope).is_met_by(token))
        }
        need => need.is_met_by(token) && need.is_met_by(&service.tokens),
    });
    own || token
}

/// What a message needs: a scope, or the narrower one of its tool.
enum Need {
    Use,
    Wide(&'static str),
    Tool(&'static str, Scope),
}

impl Need {
    fn tool(wide: &'static str, tool: Option<&str>) -> Self {
        // A name that no scope can hold is met by the wide scope alone: in a list of scopes it could be two.
        match tool.filter(|tool| !tool.is_empty()).and_then(|tool| one(&format!("{wide}:{tool}"))) {
            Some(narrow) => Self::Tool(wide, narrow),
            None => Self::Wide(wide),
        }
    }

    /// What holds of a known scope alone: used where anything that is held counts.
    fn of_scope(scope: &str) -> Self {
        let narrow = |wide| scope.strip_prefix(wide).and_then(|rest: &str| rest.strip_prefix(':'));
        match scope {
            READ => Self::Wide(READ),
            WRITE => Self::Wide(WRITE),
            _ if narrow(READ).is_some() => Self::tool(READ, narrow(READ)),
            _ if narrow(WRITE).is_some() => Self::tool(WRITE, narrow(WRITE)),
            _ => Self::Wide(USE),
        }
    }

    const fn wide(&self) -> &'static str {
        match self {
            Self::Use => USE,
            Self::Wide(wide) | Self::Tool(wide, _) => wide,
        }
    }

    fn is_met_by(&self, held: &Scope) -> bool {
        let wide = |wide| one(wide).is_some_and(|wide| held.covers(&wide));
        match self {
            Self::Use => any(held).next().is_some(),
            Self::Wide(name) => wide(name),
            Self::Tool(name, narrow) => wide(name) || held.covers(narrow),
        }
    }
}

/// The scopes of a service in a set that may hold others.
fn any(scope: &Scope) -> impl Iterator<Item = &str> {
    scope.iter().filter(|scope| is_known(scope))
}

/// One scope, and not two or none.
fn one(scope: &str) -> Option<Scope> {
    Scope::parse(scope).filter(|set| set.iter().eq([scope]))
}

/// What a method needs. What is not in here is not known, and needs the most.
fn need(service: &ServiceConfig, message: &Envelope) -> Need {
    if matches!(&service.runs, Runs::Url(upstream) if upstream.speaks != Speaks::Mcp) {
        return need_a2a(message);
    }
    if message.is_response() {
        return Need::Use;
    }
    let tool = message.params.name.as_deref();
    match message.method.as_str() {
        "tools/call" => match tool {
            Some(name) if service.read.has(name) => Need::tool(READ, tool),
            _ => Need::tool(WRITE, tool),
        },
        "initialize"
        | "ping"
        | "server/discover"
        | "logging/setLevel"
        | "completion/complete"
        | "tools/list"
        | "prompts/list"
        | "resources/list"
        | "resources/templates/list" => Need::Use,
        "resources/read"
        | "resources/subscribe"
        | "resources/unsubscribe"
        | "subscriptions/listen"
        | "prompts/get"
        | "tasks/get"
        | "tasks/list"
        | "tasks/result" => Need::Wide(READ),
        method if method.starts_with("notifications/") && message.kind == Kind::Notification => Need::Use,
        _ => Need::Wide(WRITE),
    }
}

/// The same, of an agent that speaks A2A. Of what wants no answer there is but that an asker has gone.
// contracts/call.md section 8.
fn need_a2a(message: &Envelope) -> Need {
    let gone = message.kind == Kind::Notification && message.method == "notifications/cancelled";
    match message.method.as_str() {
        _ if message.is_card() || gone => Need::Use,
        method if message.is_request() && a2a::reads(method) => Need::Wide(READ),
        _ => Need::Wide(WRITE),
    }
}

#[cfg(test)]
mod tests;

//! One that knocks, and its row.

use nuncio_contracts::registry::limit;
use nuncio_proto::codec;
use nuncio_proto::ids::AgentId;
use nuncio_proto::knock::Knock;
use nuncio_proto::rows;
use nuncio_proto::time::UnixMillis;
use nuncio_proto::token::Scope;
use nuncio_store::Op;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::{Meant, key};

/// Who knocks: behind it the agent.
pub(super) const KNOCKED: [u8; 2] = [rows::RUNTIME, b'K'];

#[derive(Serialize, Deserialize)]
struct KnockedRow(u8, u64, ByteBuf, u8, Option<(Option<String>, String)>);

/// What becomes of a knock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Waits,
    /// By an invitation.
    LetIn,
    Declined,
    /// By a person, or taken note of: the same knock may come again, in the session that was begun.
    Settled,
}

const STATES: [State; 4] = [State::Waits, State::LetIn, State::Declined, State::Settled];

pub(super) struct Held {
    pub(super) at: UnixMillis,
    pub(super) knock: Knock,
    pub(super) state: State,
    pub(super) meant: Option<Meant>,
}

impl Held {
    pub(super) fn asks_as(&self, knock: &Knock) -> bool {
        (&self.knock.service, &self.knock.scope) == (&knock.service, &knock.scope)
    }
}

pub(super) fn put_held(by: &AgentId, held: &Held) -> Op {
    let state = match held.state {
        State::Waits => 0,
        State::LetIn => 1,
        State::Declined => 2,
        State::Settled => 3,
    };
    // What an invitation held is of no use any more.
    let knock = Knock { secret: None, ..held.knock.clone() }.to_bytes();
    let meant =
        held.meant.as_ref().map(|meant| (meant.service.as_ref().map(ToString::to_string), meant.scope.to_string()));
    let row = KnockedRow(2, held.at.0, ByteBuf::from(knock), state, meant);
    Op::Put { key: key(KNOCKED, by.as_bytes()), value: codec::encode(&row) }
}

pub(super) fn read_held(agent: &[u8], value: &[u8]) -> Option<(AgentId, Held)> {
    let by = AgentId::from_bytes(agent.try_into().ok()?).ok()?;
    let KnockedRow(_, at, knock, state, meant) = codec::decode(value, 2 * limit::KNOCK_LEN_MAX).ok()?;
    let state = STATES.into_iter().nth(state.into())?;
    let meant = meant.and_then(|(service, scope)| {
        let service = service.map(|service| service.parse().ok()).map_or(Some(None), |service| service.map(Some))?;
        Some(Meant { service, scope: Scope::parse(&scope)? })
    });
    Some((by, Held { at: UnixMillis(at), knock: Knock::parse(&knock)?, state, meant }))
}

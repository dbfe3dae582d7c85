//! HTTP inside the agents' own connections (contracts/transport.md T20): the peer is its key, and that is who asks.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use nuncio_contracts::registry::limit;
use nuncio_proto::ids::AgentId;
use nuncio_transport::{CloseCode, Connection, Link, StreamKind};

use super::Hall;
use crate::authn::Door;
use crate::service::Service;

/// Takes connections of agents that the policy names, and closes others (contracts/txts.md N32).
pub(crate) async fn serve_quic(link: Arc<Link>, service: Arc<Service>, hall: Hall) {
    let mut peers = BTreeMap::new();
    loop {
        let connection = tokio::select! {
            () = hall.closing.cancelled() => return,
            accepted = link.accept() => match accepted {
                Some(connection) => connection,
                None => return,
            },
        };
        if service.policy().client_of(&connection.peer()).is_none() {
            tracing::debug!(peer = %connection.peer(), "a stranger was turned away");
            connection.close(CloseCode::STRANGER, "the policy names no client with this key");
            continue;
        }
        connection.welcome();
        make_room(&mut peers, &connection);
        let own = hall.clone();
        hall.tasks.spawn(async move { serve_streams(&connection, &own).await });
    }
}

/// One agent has so many connections: one more ends its oldest (contracts/txts.md N34).
fn make_room(peers: &mut BTreeMap<AgentId, VecDeque<Connection>>, newest: &Connection) {
    peers.retain(|_, held| {
        held.retain(|connection| connection.close_reason().is_none());
        !held.is_empty()
    });
    let held = peers.entry(newest.peer()).or_default();
    held.push_back(newest.clone());
    if held.len() > limit::NODE_CONNECTIONS_PER_PEER
        && let Some(oldest) = held.pop_front()
    {
        oldest.close(CloseCode::REPLACED, "newer connections of this agent are kept");
    }
}

async fn serve_streams(connection: &Connection, hall: &Hall) {
    loop {
        let opened = tokio::select! {
            () = hall.closing.cancelled() => return,
            opened = connection.accept_stream() => opened,
        };
        // The link serves this kind alone; anything else it has refused already.
        let Ok((StreamKind::Http, send, recv)) = opened else { return };
        let door = Door::Quic { peer: connection.peer(), from: connection.remote_address().ip().to_canonical() };
        let own = hall.clone();
        hall.tasks.spawn(async move { own.serve(tokio::io::join(recv, send), door).await });
    }
}

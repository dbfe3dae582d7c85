//! HTTP inside the agents' own connections (contracts/transport.md T20): the peer is its key, and that is who asks.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use nuncio_contracts::registry::limit;
use nuncio_proto::ids::AgentId;
use nuncio_transport::{CloseCode, Connection, Link, StreamKind};

use super::deposits::Asked;
use super::{Hall, guests};
use crate::authn::Door;
use crate::limits::Places;
use crate::service::Service;

/// Takes connections of agents that the policy names, and of guests (contracts/txts.md N32, mailbox.md M7).
pub(crate) async fn serve_quic(link: Arc<Link>, service: Arc<Service>, hall: Hall) {
    let (mut peers, places) = (BTreeMap::new(), Places::new(limit::GUESTS_MAX));
    loop {
        let connection = tokio::select! {
            () = hall.closing.cancelled() => return,
            accepted = link.accept() => match accepted {
                Some(connection) => connection,
                None => return,
            },
        };
        let (own, known) = (hall.clone(), Arc::clone(&service));
        if service.policy().client_of(&connection.peer()).is_none() {
            let source = connection.remote_address().ip().to_canonical();
            let Some(place) = places.take(source, limit::GUESTS_PER_SOURCE) else {
                connection.close(CloseCode::BUSY, "there are too many guests");
                continue;
            };
            hall.tasks.spawn(async move {
                guests::serve_guest(&connection, &own, &known).await;
                drop(place);
            });
            continue;
        }
        connection.welcome_client();
        make_room(&mut peers, &connection);
        hall.tasks.spawn(async move { serve_streams(&connection, &own, &known).await });
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

async fn serve_streams(connection: &Connection, hall: &Hall, service: &Arc<Service>) {
    let asked = Arc::new(Asked::now());
    loop {
        let opened = tokio::select! {
            () = hall.closing.cancelled() => return,
            opened = connection.accept_stream() => opened,
        };
        // The link serves these kinds alone; anything else it has refused already.
        let (send, recv) = match opened {
            Ok((StreamKind::Http, send, recv)) => (send, recv),
            Ok((StreamKind::Deposit, send, recv)) => {
                guests::take(connection, hall, service, &asked, (send, recv));
                continue;
            }
            _ => return,
        };
        let door = Door::Quic { peer: connection.peer(), from: connection.remote_address().ip().to_canonical() };
        let own = hall.clone();
        hall.tasks.spawn(async move { own.serve(tokio::io::join(recv, send), door).await });
    }
}

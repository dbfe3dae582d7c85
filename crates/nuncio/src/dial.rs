//! Reaching a peer: each of its addresses in turn, with jittered backoff between rounds.

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use nuncio_contracts::registry::time;
use nuncio_proto::ids::AgentId;
use nuncio_transport::{Connection, Link, TransportError};

use crate::links::{self, LinkId, Tasks};
use crate::wake::Wake;

/// First pause after a round of failures.
const PAUSE_MIN: Duration = Duration::from_millis(time::DIAL_PAUSE_MIN);
/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_millis(time::DIAL_PAUSE_MAX);
/// A connection that ended sooner than this counts as a failure: the peer turned it away.
const LASTING: Duration = Duration::from_secs(5);
/// Rounds until the task ends; whoever still has something to send begins another.
const ROUNDS: usize = 1_000;

/// Dials until the peer answers, then serves the connection until it ends.
pub(crate) async fn dial(link: Arc<Link>, id: LinkId, peer: AgentId, endpoints: Vec<String>, tasks: Tasks) {
    let pauses = ExponentialBuilder::default()
        .with_min_delay(PAUSE_MIN)
        .with_max_delay(PAUSE_MAX)
        .with_jitter()
        .with_max_times(ROUNDS);
    for pause in pauses.build() {
        match round(&link, peer, &endpoints).await {
            Ok(connection) => {
                let since = tokio::time::Instant::now();
                links::serve_dialled(id, connection, tasks.clone()).await;
                if since.elapsed() >= LASTING {
                    break;
                }
            }
            Err(reason) => drop(tasks.urgent.send(Wake::DialFailed { peer, reason })),
        }
        tokio::time::sleep(pause).await;
    }
    let _ = tasks.urgent.send(Wake::DialEnded { peer });
}

pub(crate) async fn round(link: &Link, peer: AgentId, endpoints: &[String]) -> Result<Connection, String> {
    let mut last = "no address is known for it".to_owned();
    for endpoint in endpoints {
        let addresses = match tokio::net::lookup_host(endpoint.as_str()).await {
            Ok(addresses) => addresses,
            Err(error) => {
                last = format!("{endpoint}: {error}");
                continue;
            }
        };
        for address in addresses {
            match link.dial(peer, address).await {
                Ok(connection) => return Ok(connection),
                Err(error @ TransportError::WrongPeer { .. }) => return Err(format!("{address}: {error}")),
                Err(error) => last = format!("{address}: {error}"),
            }
        }
    }
    Err(last)
}

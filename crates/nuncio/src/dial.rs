//! Reaching a peer: each of its addresses in turn, with jittered backoff between rounds.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use nuncio_contracts::registry::time;
use nuncio_proto::ids::AgentId;
use nuncio_transport::{Connection, Link, TransportError};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};

use crate::links::{self, LinkId, Tasks};
use crate::wake::Wake;

/// First pause after a round of failures.
const PAUSE_MIN: Duration = Duration::from_millis(time::DIAL_PAUSE_MIN);
/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_millis(time::DIAL_PAUSE_MAX);
/// A connection that ended sooner than this counts as a failure: the peer turned it away.
const LASTING: Duration = Duration::from_secs(5);
/// Rounds at once: what a new cause begins does not end what may be about to succeed.
const AT_ONCE: usize = 3;
/// Rounds until the task ends; whoever still has something to send begins another.
const ROUNDS: usize = 1_000;

/// The pauses between rounds. They double, and begin anew when there is a new cause to reach the peer.
struct Pauses {
    next: ExponentialBackoff,
    hurry: Arc<Notify>,
}

impl Pauses {
    fn new(hurry: Arc<Notify>) -> Self {
        Self { next: Self::from_the_first(), hurry }
    }

    fn from_the_first() -> ExponentialBackoff {
        let pauses = ExponentialBuilder::default().with_min_delay(PAUSE_MIN).with_max_delay(PAUSE_MAX);
        pauses.with_jitter().with_max_times(ROUNDS).build()
    }

    async fn rest(&mut self) {
        let pause = self.next.next().unwrap_or(PAUSE_MAX);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = self.hurry.notified() => self.next = Self::from_the_first(),
        }
    }
}

/// Dials until the peer answers, then serves the connection until it ends. Told to hurry, it dials at once.
pub(crate) async fn dial(
    link: Arc<Link>,
    id: LinkId,
    (peer, endpoints): (AgentId, Vec<String>),
    hurry: Arc<Notify>,
    tasks: Tasks,
) {
    let mut pauses = Pauses::new(Arc::clone(&hurry));
    let way = Way { link, peer, endpoints: endpoints.into() };
    for _ in 0..ROUNDS {
        match way.reach(&hurry).await {
            Ok(connection) => {
                let since = tokio::time::Instant::now();
                let ended = links::serve_dialled(id, connection, tasks.clone()).await;
                // contracts/transport.md, `stranger`: who was shown out after a while was turned away too.
                if since.elapsed() >= LASTING && !ended.is_by_stranger() {
                    break;
                }
            }
            Err(reason) => drop(tasks.urgent.send(Wake::DialFailed { peer, reason })),
        }
        pauses.rest().await;
    }
    let _ = tasks.urgent.send(Wake::DialEnded { peer });
}

/// To whom, and where that one is.
#[derive(Clone)]
struct Way {
    link: Arc<Link>,
    peer: AgentId,
    endpoints: Arc<[String]>,
}

impl Way {
    /// A round, and beside it another for each new cause: to an address where nobody was, the first packets go at growing intervals too.
    async fn reach(&self, hurry: &Notify) -> Result<Connection, String> {
        let (mut tries, mut begun) = (JoinSet::new(), VecDeque::<AbortHandle>::new());
        let begin = |tries: &mut JoinSet<_>| {
            let way = self.clone();
            tries.spawn(async move { round(&way.link, way.peer, &way.endpoints).await })
        };
        begun.push_back(begin(&mut tries));
        let mut last = String::new();
        loop {
            tokio::select! {
                ended = tries.join_next() => match ended {
                    Some(Ok(Ok(connection))) => return Ok(connection),
                    Some(Ok(Err(reason))) => last = reason,
                    // It made place for another.
                    Some(Err(_)) => {}
                    None => return Err(last),
                },
                () = hurry.notified() => {
                    begun.retain(|one| !one.is_finished());
                    if begun.len() >= AT_ONCE && let Some(oldest) = begun.pop_front() {
                        oldest.abort();
                    }
                    begun.push_back(begin(&mut tries));
                }
            }
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Without it a peer that has come back is reached when a pause is over that grew while it was away.
    #[tokio::test]
    async fn a_new_cause_ends_a_pause_and_the_next_ones_are_short() {
        let hurry = Arc::new(Notify::new());
        let mut pauses = Pauses::new(Arc::clone(&hurry));
        let grown = (0..12).filter_map(|_| pauses.next.next()).last().unwrap();
        assert!(grown >= PAUSE_MAX, "{grown:?}");
        hurry.notify_one();
        let rested = tokio::time::timeout(PAUSE_MAX / 3, pauses.rest()).await;
        assert!(rested.is_ok(), "it waited on");
        let next = pauses.next.next().unwrap();
        assert!(next < 4 * PAUSE_MIN, "{next:?}");
    }
}

//! The local API: HTTP and JSON for programs of this machine, in any language (contracts/openapi/local.yaml).
//!
//! ```text
//!   <home>/api.sock (0600) ─────────────────────────────▶ router ─▶ Agent
//!   127.0.0.1:PORT ─▶ guard: Host, Origin, bearer token ─▶
//! ```

mod calls;
mod channels;
mod guard;
mod handover;
mod inbox;
mod knocks;
mod letters;
mod names;
mod peers;
mod permits;
mod read;
mod refused;
mod serve;
mod state;
mod transactions;
mod upkeep;

use std::path::Path;
use std::sync::Arc;

use axum::Router;

use axum::routing::{MethodRouter, delete, get, post};
use nuncio::Agent;
use nuncio_bridge::{Bridge, Room};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(crate) use refused::code;
pub(crate) use serve::{LocalApi, SOCKET, TOKEN};
pub(crate) use upkeep::{RETIRED_ROWS, told};

/// Longest body of a request: a letter in base64 with room to spare. What is longer is a file.
const BODY_LEN_MAX: usize = 16 << 20;

/// What every request is about.
#[derive(Clone)]
pub(crate) struct Served {
    agent: Agent,
    home: Arc<Path>,
    /// None where a command holds the store: it takes no calls.
    bridge: Option<Arc<Bridge>>,
    /// For long messages of calls.
    room: Room,
    /// Whoever waits, stops waiting: the agent stops.
    closing: CancellationToken,
    /// Peers get and lose their names one after the other.
    naming: Arc<tokio::sync::Mutex<()>>,
}

impl Served {
    /// Waits for a bell: whether it rang before the time was over, or the agent stopped.
    async fn rings<T>(&self, bell: &mut watch::Receiver<T>, until: Instant) -> bool {
        tokio::select! {
            Ok(()) = bell.changed() => true,
            () = tokio::time::sleep_until(until) => false,
            () = self.closing.cancelled() => false,
        }
    }
}

/// By which door a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    /// The Unix socket, or a command that has opened the store itself: the same user, with the same files.
    Own,
    /// Loopback TCP with a token: may use the agent, not its user's files.
    Tcp,
}

/// One endpoint. The table is held against the contract by a test.
struct Route {
    #[cfg_attr(not(test), expect(dead_code, reason = "`to` says it to axum; the table says it to the test"))]
    method: &'static str,
    path: &'static str,
    to: fn() -> MethodRouter<Served>,
}

const fn route(method: &'static str, path: &'static str, to: fn() -> MethodRouter<Served>) -> Route {
    Route { method, path, to }
}

const ROUTES: &[Route] = &[
    route("get", "/v1/id", || get(state::id)),
    route("get", "/v1/status", || get(state::status)),
    route("get", "/v1/sessions", || get(state::sessions)),
    route("get", "/v1/peers", || get(peers::list)),
    route("post", "/v1/peers", || post(peers::add)),
    route("delete", "/v1/peers/{peer}", || delete(peers::remove)),
    route("post", "/v1/invitations", || post(knocks::invite)),
    route("get", "/v1/invitations", || get(knocks::lines)),
    route("delete", "/v1/invitations/{line}", || delete(knocks::revoke)),
    route("get", "/v1/knocks", || get(knocks::list)),
    route("post", "/v1/knocks/{agent}/let-in", || post(knocks::let_in)),
    route("delete", "/v1/knocks/{agent}", || delete(knocks::decline)),
    route("get", "/v1/permits", || get(permits::list)),
    route("post", "/v1/permits", || post(permits::give)),
    route("post", "/v1/permits/kept", || post(permits::keep)),
    route("post", "/v1/permits/{id}/narrower", || post(permits::narrow)),
    route("delete", "/v1/permits/{id}", || delete(permits::revoke)),
    route("get", "/v1/letters", || get(letters::outbox)),
    route("post", "/v1/letters", || post(letters::send)),
    route("get", "/v1/letters/{to}/{id}", || get(letters::state)),
    route("delete", "/v1/letters/{to}/{id}", || delete(letters::cancel)),
    route("post", "/v1/openings", || post(letters::open)),
    route("post", "/v1/requests", || post(letters::request)),
    route("get", "/v1/channels", || get(channels::list)),
    route("post", "/v1/channels", || post(channels::create)),
    route("get", "/v1/channels/{channel}", || get(channels::one)),
    route("post", "/v1/channels/{channel}/invitations", || post(channels::invite)),
    route("post", "/v1/channels/{channel}/join", || post(channels::join)),
    route("post", "/v1/channels/{channel}/decline", || post(channels::decline)),
    route("post", "/v1/channels/{channel}/leave", || post(channels::leave)),
    route("post", "/v1/channels/{channel}/take-over", || post(channels::take_over)),
    route("post", "/v1/channels/{channel}/succession", || post(channels::succeed)),
    route("post", "/v1/channels/{channel}/supports", || post(channels::support)),
    route("post", "/v1/channels/{channel}/forget", || post(channels::forget)),
    route("post", "/v1/channels/{channel}/history", || post(channels::history)),
    route("post", "/v1/channels/{channel}/changes", || post(channels::change)),
    route("get", "/v1/channels/{channel}/letters", || get(channels::letters)),
    route("post", "/v1/channels/{channel}/letters", || post(channels::send)),
    route("get", "/v1/channels/{channel}/letters/{id}", || get(channels::tally)),
    route("delete", "/v1/channels/{channel}/letters/{id}", || delete(channels::cancel)),
    route("get", "/v1/channels/{channel}/said", || get(channels::said)),
    route("get", "/v1/calls/{peer}/{service}/messages", || get(calls::listen)),
    route("post", "/v1/calls/{peer}/{service}/messages", || post(calls::say)),
    route("post", "/v1/calls/{peer}/{service}/taken", || post(calls::taken)),
    route("get", "/v1/services", || get(calls::services)),
    route("post", "/v1/services/reload", || post(calls::reload)),
    route("get", "/v1/connections", || get(calls::connections)),
    route("post", "/v1/connections", || post(calls::connect)),
    route("delete", "/v1/connections/{name}", || delete(calls::disconnect)),
    route("post", "/v1/transactions", || post(transactions::begin)),
    route("get", "/v1/inbox", || get(inbox::page)),
    route("get", "/v1/inbox/events", || get(inbox::events)),
    route("post", "/v1/inbox/{no}/done", || post(inbox::done)),
    route("get", "/v1/inbox/{no}/payload", || get(inbox::payload)),
    route("post", "/v1/mailbox/renewal", || post(upkeep::renew_mailbox)),
    route("post", "/v1/retirements", || post(upkeep::retire)),
    route("post", "/v1/backups", || post(upkeep::backup)),
    route("post", "/v1/checkups", || post(upkeep::check)),
];

/// The router, before anything stands in front of it.
fn router(served: Served) -> Router {
    let table = ROUTES.iter().fold(Router::new(), |router, route| router.route(route.path, (route.to)()));
    table.fallback(refused::no_such_endpoint).method_not_allowed_fallback(refused::no_such_method).with_state(served)
}

/// The router for a command that has opened the store itself.
pub(crate) fn own(agent: Agent, home: &Path) -> Router {
    let (home, closing) = (home.into(), CancellationToken::new());
    let served = Served { agent, home, bridge: None, room: Room::default(), closing, naming: Arc::default() };
    router(served).layer(axum::Extension(Door::Own))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use nuncio_contracts::openapi::{LOCAL, operations};

    use super::ROUTES;

    #[test]
    fn the_routes_are_those_of_the_contract() {
        let served: BTreeSet<_> = ROUTES.iter().map(|route| (route.path, route.method)).collect();
        assert_eq!(served.len(), ROUTES.len(), "a route is listed twice");
        assert_eq!(served, operations(LOCAL).map(|one| (one.path, one.method)).collect());
    }
}

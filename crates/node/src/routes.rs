//! What is answered where, and to whom: one table (contracts/openapi/node.yaml; contracts/txts.md N33).

mod answers;
mod directory;
mod log;
mod mailbox;
pub(crate) mod page;

use std::sync::Arc;

use axum::routing::{MethodRouter, get, post, put};
use axum::{Router, middleware};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::gate;
use crate::page::Page;
use crate::refusal::{Code, Refusal};
use crate::service::Service;

/// Who may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    Anyone,
    /// A program of this machine, or the owner.
    Machine,
    /// A client of the policy.
    Client,
    /// An agent of the policy, over QUIC.
    Agent,
    /// An agent of the policy, a program of this machine, a session, or the owner.
    Reader,
    /// A browser that has signed in, or the owner.
    Session,
    /// A client that may revoke.
    Operator,
    /// The owner, over the socket in the home alone.
    Owner,
}

/// A route and the permission that it needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) needs: Needs,
}

const fn row(method: &'static str, path: &'static str, needs: Needs) -> Row {
    Row { method, path, needs }
}

/// The one table of permissions. A route that is served and not here is answered with 403.
pub(crate) const TABLE: &[Row] = &[
    row("POST", "/token", Needs::Client),
    row("POST", "/revoke", Needs::Operator),
    row("GET", "/jwks", Needs::Anyone),
    row("GET", "/keys", Needs::Anyone),
    row("GET", "/revoked", Needs::Anyone),
    row("GET", METADATA, Needs::Anyone),
    row("POST", "/events", Needs::Agent),
    row("POST", "/checkpoint", Needs::Agent),
    row("GET", "/directory", Needs::Agent),
    row("PUT", "/directory/bundle", Needs::Agent),
    row("PUT", "/directory/prekeys", Needs::Agent),
    row("POST", "/directory/claim/{agent}", Needs::Agent),
    row("GET", "/mailbox", Needs::Agent),
    row("PUT", "/mailbox/secret", Needs::Agent),
    row("DELETE", "/mailbox/secret", Needs::Agent),
    row("POST", "/mailbox/taken", Needs::Agent),
    row("GET", "/log/checkpoint", Needs::Reader),
    row("GET", "/log/tile/{*tile}", Needs::Reader),
    row("GET", "/log/anchor/{file}", Needs::Reader),
    row("GET", "/log/stream", Needs::Reader),
    row("GET", "/log/names", Needs::Reader),
    row("GET", page::PATH, Needs::Session),
    row("GET", "/page/{file}", Needs::Anyone),
    row("GET", "/sign-in", Needs::Anyone),
    row("POST", "/sign-in", Needs::Anyone),
    row("POST", "/sign-out", Needs::Session),
    row("GET", "/health/live", Needs::Anyone),
    row("GET", "/health/ready", Needs::Anyone),
    row("GET", "/metrics", Needs::Machine),
    row("POST", "/owner/keys/rotate", Needs::Owner),
    row("POST", "/owner/page", Needs::Owner),
    row("POST", "/owner/reload", Needs::Owner),
    row("POST", "/owner/revoke", Needs::Owner),
];

/// RFC 8414 section 3.
const METADATA: &str = "/.well-known/oauth-authorization-server";

/// What every request is about.
#[derive(Clone)]
pub(crate) struct Served {
    pub(crate) service: Arc<Service>,
    pub(crate) page: Arc<Page>,
    pub(crate) table: &'static [Row],
    /// The node stops.
    pub(crate) closing: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

fn handlers() -> [(&'static str, MethodRouter<Served>); 31] {
    [
        ("/token", post(answers::token)),
        ("/revoke", post(answers::revoke)),
        ("/jwks", get(answers::jwks)),
        ("/keys", get(answers::keys)),
        ("/revoked", get(answers::revoked)),
        (METADATA, get(answers::metadata)),
        ("/events", post(log::give)),
        ("/checkpoint", post(log::show)),
        ("/directory", get(directory::left)),
        ("/directory/bundle", put(directory::list_bundle)),
        ("/directory/prekeys", put(directory::list_batch)),
        ("/directory/claim/{agent}", post(directory::claim)),
        ("/mailbox", get(mailbox::fetch)),
        ("/mailbox/secret", put(mailbox::open).delete(mailbox::close)),
        ("/mailbox/taken", post(mailbox::taken)),
        ("/log/checkpoint", get(log::checkpoint)),
        ("/log/tile/{*tile}", get(log::tile)),
        ("/log/anchor/{file}", get(log::anchor)),
        ("/log/stream", get(log::stream)),
        ("/log/names", get(log::names)),
        (page::PATH, get(page::show)),
        ("/page/{file}", get(page::file)),
        ("/sign-in", get(page::sign_in_page).post(page::sign_in)),
        ("/sign-out", post(page::sign_out)),
        ("/health/live", get(answers::live)),
        ("/health/ready", get(answers::ready)),
        ("/metrics", get(answers::metrics)),
        ("/owner/keys/rotate", post(answers::rotate)),
        ("/owner/page", post(page::link)),
        ("/owner/reload", post(answers::reload)),
        ("/owner/revoke", post(answers::revoke_as_owner)),
    ]
}

/// The router, the gate in front of every route of it.
pub(crate) fn router(served: Served) -> Router {
    let routes = handlers().into_iter().fold(Router::new(), |router, (path, to)| router.route(path, to));
    routes
        .route_layer(middleware::from_fn_with_state(served.clone(), gate::stand))
        .fallback(async || Refusal::new(Code::NotFound, "there is nothing here"))
        .with_state(served)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use nuncio_contracts::openapi::{NODE, operations};

    use super::*;

    #[test]
    fn table_and_contract_name_the_same_routes_with_the_same_permissions() {
        let named = |row: &Row| (row.path.to_owned(), row.method.to_owned(), format!("{:?}", row.needs).to_lowercase());
        let table: BTreeSet<_> = TABLE.iter().map(named).collect();
        assert_eq!(table.len(), TABLE.len(), "a route is listed twice");
        let listed = operations(NODE).map(|one| {
            (one.path.to_owned(), one.method.to_uppercase(), one.needs.unwrap_or("nothing is said").to_owned())
        });
        assert_eq!(table, listed.collect());
    }

    #[test]
    fn what_is_served_and_what_is_listed_are_the_same_paths() {
        let served: BTreeSet<_> = handlers().into_iter().map(|(path, _)| path).collect();
        assert_eq!(served, TABLE.iter().map(|row| row.path).collect());
    }
}

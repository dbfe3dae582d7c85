//! What only reads, so that it may go without a letter and be done twice (contracts/query.md section 1).

use std::collections::HashMap;
use std::time::Duration;

use nuncio_proto::call::ServiceName;
use nuncio_proto::ids::AgentId;
use tokio::time::Instant;

use crate::config::{Runs, ServiceConfig, Speaks};
use crate::jsonrpc::Envelope;
use crate::line::Asks;

/// What wanted a letter is said as one for so long at first, and at most.
const PAUSE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_mins(10));
/// Of so many requests it is remembered.
const REMEMBERED_MAX: usize = 1_024;

const CALL: &str = "tools/call";

/// Methods of MCP that only read. Of a tool, its service's owner says it.
// contracts/query.md Q1.
fn reads_mcp(method: &str) -> bool {
    matches!(
        method,
        "ping"
            | "server/discover"
            | "tools/list"
            | "prompts/list"
            | "resources/list"
            | "resources/templates/list"
            | "resources/read"
            | "prompts/get"
            | "completion/complete"
            | "tasks/get"
            | "tasks/list"
    )
}

fn reads_a2a(method: &str) -> bool {
    matches!(method, "GetTask" | "ListTasks" | "tasks/get" | "tasks/list")
}

/// Whether a request may be asked without a letter, as far as its asker can know.
pub(crate) fn may(method: &str) -> bool {
    method == CALL || reads_mcp(method) || reads_a2a(method)
}

/// Whether a request to this service only reads: what is not named does not.
pub(crate) fn only_reads(service: &ServiceConfig, request: &Envelope) -> bool {
    if !request.is_request() || request.is_card() {
        return false;
    }
    match &service.runs {
        Runs::Url(upstream) if upstream.speaks != Speaks::Mcp => reads_a2a(&request.method),
        // One that makes a task makes two where it is done twice.
        _ if request.method == CALL => {
            !request.params.task && request.params.name.as_deref().is_some_and(|name| service.read.has(name))
        }
        _ => reads_mcp(&request.method),
    }
}

/// What wanted a letter of late.
#[derive(Debug, Default)]
pub(crate) struct Wanted(HashMap<(AgentId, ServiceName, Asks), (u32, Instant)>);

impl Wanted {
    /// Whether this is to be said as a letter at once.
    pub(crate) fn has(&self, of: &(AgentId, ServiceName, Asks)) -> bool {
        self.0.get(of).is_some_and(|(_, until)| *until > Instant::now())
    }

    /// It wanted one: each time for twice as long.
    pub(crate) fn note(&mut self, of: (AgentId, ServiceName, Asks)) {
        let now = Instant::now();
        if self.0.len() >= REMEMBERED_MAX && !self.0.contains_key(&of) {
            self.0.retain(|_, (_, until)| *until > now);
        }
        if self.0.len() >= REMEMBERED_MAX && !self.0.contains_key(&of) {
            return;
        }
        let (times, until) = self.0.entry(of).or_insert((0, now));
        *until = now + PAUSE.0.saturating_mul(1 << (*times).min(16)).min(PAUSE.1);
        *times = times.saturating_add(1);
    }

    /// It was answered without one.
    pub(crate) fn forget(&mut self, of: &(AgentId, ServiceName, Asks)) {
        self.0.remove(of);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str) -> (AgentId, ServiceName, Asks) {
        let agent = "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp".parse().unwrap();
        (agent, "files".parse().unwrap(), Asks { method: CALL.to_owned(), name: Some(name.to_owned()) })
    }

    #[tokio::test(start_paused = true)]
    async fn what_wants_letters_is_asked_less_and_less() {
        let mut wanted = Wanted::default();
        for pause in [5, 10, 20, 40] {
            wanted.note(of("a"));
            tokio::time::advance(Duration::from_secs(pause) - Duration::from_millis(1)).await;
            assert!(wanted.has(&of("a")) && !wanted.has(&of("b")));
            tokio::time::advance(Duration::from_millis(2)).await;
            assert!(!wanted.has(&of("a")), "{pause}");
        }
        for _ in 0..100 {
            wanted.note(of("a"));
        }
        tokio::time::advance(PAUSE.1).await;
        assert!(!wanted.has(&of("a")));
        wanted.note(of("a"));
        wanted.forget(&of("a"));
        assert!(!wanted.has(&of("a")));
        (0..REMEMBERED_MAX * 2).for_each(|name| wanted.note(of(&name.to_string())));
        assert_eq!(wanted.0.len(), REMEMBERED_MAX);
    }

    // What changes a session, waits, or is not known is said as a letter.
    #[test]
    fn what_is_not_named_does_not_only_read() {
        let others = ["initialize", "logging/setLevel", "resources/subscribe", "subscriptions/listen", "tasks/result"];
        let unknown = ["tasks/cancel", "notifications/initialized", "SendMessage", "message/send", "Tools/list", ""];
        for method in others.into_iter().chain(unknown) {
            assert!(!may(method), "{method}");
        }
        assert!(may("tools/list") && may("tools/call") && may("GetTask"));
    }
}

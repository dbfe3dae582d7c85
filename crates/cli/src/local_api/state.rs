//! Who the agent is and how it fares.

use axum::Json;
use axum::extract::State;

use super::Served;
use super::refused::Refused;
use crate::wire::{Commits, Counters, Gap, Id, Mailbox, Session, Sessions, Status, Wire};

pub(super) async fn id(State(served): State<Served>) -> Result<Json<Id>, Refused> {
    let invitation = served.agent.invitation().await?;
    Ok(Json(Id { agent: invitation.agent.to_string(), invitation: invitation.to_string() }))
}

pub(super) async fn sessions(State(served): State<Served>) -> Result<Json<Sessions>, Refused> {
    let sessions = served.agent.sessions().await?.into_iter().map(|session| Session {
        id: session.id.to_string(),
        with: session.with.to_string(),
        current: session.current,
        confirmed: session.confirmed,
        sealed: session.sealed,
        received: session.received,
        under_way: wide(session.under_way),
        gap: session.gap.map(|gap| Gap { seq: gap.seq, since_ms: gap.since.0 }),
    });
    Ok(Json(Sessions { sessions: sessions.collect() }))
}

pub(super) async fn status(State(served): State<Served>) -> Result<Json<Status>, Refused> {
    let status = served.agent.status().await?;
    let (groups, steps, took_us) = status.commits;
    let counters = status.counters;
    Ok(Json(Status {
        agent: status.agent.to_string(),
        retired: status.retired,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        listening: status.listening,
        inbox: wide(status.inbox),
        outbox: wide(status.outbox),
        letters_failed: status.letters_failed,
        events_waiting: status.events_waiting,
        events_wait: status.events_wait,
        peers: wide(status.peers),
        sessions: wide(status.sessions),
        connections: wide(status.connections),
        one_time_prekeys: wide(status.one_time_prekeys),
        mailbox: status.mailbox.map(|mailbox| Mailbox {
            at: mailbox.at.to_string(),
            open: mailbox.open,
            problem: mailbox.problem,
            listed_prekeys: mailbox.listed_prekeys,
        }),
        gaps: wide(status.gaps),
        counters: Counters {
            sealed: counters.sealed,
            opened: counters.opened,
            duplicates: counters.duplicates,
            resent: counters.resent,
            acks_alone: counters.acks_alone,
            turns: counters.turns,
            handshakes: counters.handshakes,
            rekeys: counters.rekeys,
            sealed_again: counters.sealed_again,
        },
        refused: status.refused.into_iter().map(|(reason, count)| (reason.to_owned(), count)).collect(),
        commits: Commits { groups, steps, took_us },
        wire: Wire {
            frames_sent: status.frames_sent,
            frame_bytes_sent: status.frame_bytes_sent,
            frames_received: status.frames_received,
            frame_bytes_received: status.frame_bytes_received,
        },
    }))
}

/// A count as JSON has it.
pub(super) fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

//! `nuncio status`

use clap::Args;

use crate::cli::Options;
use crate::failure::Failure;
use crate::output;
use crate::wire::Status as Fares;

/// Says how the agent fares. Counters begin with its start.
#[derive(Args)]
pub(crate) struct Status {}

impl Status {
    pub(crate) async fn run(&self, options: &Options) -> Result<(), Failure> {
        let (status, is_daemon) =
            options.with(async |api| Ok((api.get::<Fares>("/v1/status").await?, api.is_daemon()))).await?;
        if options.json {
            return output::json(&status);
        }
        let runs = if is_daemon { format!("runs as process {}", status.pid) } else { "does not run".to_owned() };
        let listening =
            status.listening.clone().map(|address| format!(", listens on {address} (UDP)")).unwrap_or_default();
        output::line(format_args!("{} {runs}{listening}", status.agent))?;
        lines(&status).into_iter().try_for_each(|(what, said)| output::line(format_args!("{what:<12} {said}")))
    }
}

fn lines(status: &Fares) -> Vec<(&'static str, String)> {
    let (counters, wire, commits) = (status.counters, status.wire, status.commits);
    let mean_us = commits.took_us.checked_div(commits.groups).unwrap_or(0);
    let mut lines = Vec::new();
    if status.retired {
        lines.push((
            "RETIRED",
            "its peers take no letters of it; `nuncio init` in another home makes a new identity".to_owned(),
        ));
    }
    let failed = match status.letters_failed {
        0 => String::new(),
        count => format!(", {count} failed: `nuncio outbox` says why"),
    };
    lines.extend([
        ("letters", format!("{} in the inbox, {} on their way{failed}", status.inbox, status.outbox)),
        ("peers", format!("{} known, {} connections, {} sessions", status.peers, status.connections, status.sessions)),
        ("sealed", format!("{}, of them again in another session {}", counters.sealed, counters.sealed_again)),
        ("opened", format!("{}, came again and were refused {}", counters.opened, counters.duplicates)),
        (
            "ratchet",
            format!("{} turns, {} handshakes, {} re-keys", counters.turns, counters.handshakes, counters.rekeys),
        ),
        (
            "wire",
            format!(
                "{} frames ({}) sent, {} ({}) received, {} resent",
                wire.frames_sent,
                output::size(wire.frame_bytes_sent),
                wire.frames_received,
                output::size(wire.frame_bytes_received),
                counters.resent
            ),
        ),
        ("commits", format!("{} with {} steps, {mean_us} µs each", commits.groups, commits.steps)),
        ("prekeys", format!("{} one-time prekeys left", status.one_time_prekeys)),
    ]);
    if let Some(mailbox) = &status.mailbox {
        lines.push(("mailbox", super::mailbox::said(mailbox)));
    }
    if status.gaps > 0 {
        let hint = "`nuncio sessions` says which; somebody may withhold them";
        lines.push(("MISSING", format!("letters of {} sessions are missing for long: {hint}", status.gaps)));
    }
    if status.events_waiting > 0 || status.events_wait.is_some() {
        let why =
            status.events_wait.as_ref().map(|why| format!(": {}", output::harmless_line(why))).unwrap_or_default();
        lines.push(("audit", format!("{} events wait for the log{why}", status.events_waiting)));
    }
    if !status.refused.is_empty() {
        let refused: Vec<String> = status.refused.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        lines.push(("refused", refused.join(", ")));
    }
    lines
}

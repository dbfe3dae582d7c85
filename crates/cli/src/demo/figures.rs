//! The numbers at the end, all of them measured here or counted by the agents.

use std::time::Duration;

use serde::Serialize;

use crate::failure::Failure;
use crate::output;
use crate::wire::Counters;

/// What the demo has shown.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    /// Letters delivered, each looked at.
    pub(crate) letters: u64,
    /// Bytes of their payloads.
    pub(crate) payload_bytes: u64,
    /// From before `send` to after `delivered`, in microseconds, one letter at a time, through the local API.
    pub(crate) delivered_p50_us: u64,
    /// The slowest of a hundred.
    pub(crate) delivered_p99_us: u64,
    /// Bytes of a frame beyond the 35 of its letter.
    pub(crate) overhead_bytes_per_letter: u64,
    /// Bytes that came back to acknowledge a letter that had no answer to ride on.
    pub(crate) ack_bytes_per_letter: u64,
    /// Bytes by which the first letter of a transaction was longer than one without a token.
    pub(crate) token_bytes_first_letter: u64,
    /// The same of a later letter, which names the token by its hash.
    pub(crate) token_bytes_later_letter: u64,
    /// DH turns of both ratchets.
    pub(crate) ratchet_turns: u64,
    /// Handshakes begun or answered.
    pub(crate) handshakes: u64,
    /// Frames sent again.
    pub(crate) resent: u64,
    /// Letters that came again and were not delivered again.
    pub(crate) duplicates_refused: u64,
    /// Letters that the killed agent had in its inbox when it was killed.
    pub(crate) arrived_before_kill: u64,
    /// From the start of the killed agent's new process until it answered, in milliseconds.
    pub(crate) recovery_ms: u64,
    /// What was claimed and found true.
    pub(crate) shown: Vec<String>,
}

impl Summary {
    pub(crate) fn print(&self) -> Result<(), Failure> {
        let ms = |us: u64| format!("{}.{:02} ms", us / 1_000, us % 1_000 / 10);
        let rows = [
            ("letters", self.letters.to_string()),
            ("payload", output::size(self.payload_bytes)),
            ("send to delivered, p50", ms(self.delivered_p50_us)),
            ("send to delivered, p99", ms(self.delivered_p99_us)),
            ("overhead of a 35-byte letter", format!("{} bytes on the wire", self.overhead_bytes_per_letter)),
            ("its acknowledgement", format!("{} bytes", self.ack_bytes_per_letter)),
            (
                "a transaction's token",
                format!("{} bytes, then {}", self.token_bytes_first_letter, self.token_bytes_later_letter),
            ),
            ("ratchet turns", self.ratchet_turns.to_string()),
            ("handshakes, both sides", self.handshakes.to_string()),
            ("frames resent", self.resent.to_string()),
            ("duplicates refused", self.duplicates_refused.to_string()),
            ("back after SIGKILL in", format!("{} ms", self.recovery_ms)),
        ];
        output::line("")?;
        rows.iter().try_for_each(|(what, figure)| output::line(format_args!("  {what:<30} {figure}")))?;
        output::line("")?;
        output::line("Shown:")?;
        self.shown.iter().try_for_each(|claim| output::line(format_args!("  ✓ {claim}")))
    }
}

/// The value below which so many of a hundred lie, in microseconds.
pub(super) fn percentile_us(times: &mut [Duration], percent: usize) -> u64 {
    times.sort_unstable();
    let rank = (times.len() * percent).div_ceil(100).saturating_sub(1);
    times.get(rank).map_or(0, |time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
}

/// Counters of several agents, or of several lives of one.
pub(super) fn total(of: &[Counters], count: impl Fn(&Counters) -> u64) -> u64 {
    of.iter().map(count).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let mut times: Vec<Duration> = (1..=100).rev().map(Duration::from_micros).collect();
        assert_eq!((percentile_us(&mut times, 50), percentile_us(&mut times, 99)), (50, 99));
        assert_eq!(percentile_us(&mut [Duration::from_micros(7)], 99), 7);
        assert_eq!(percentile_us(&mut [], 50), 0);
    }
}

//! Who may begin a handshake: bounds before anything is known of the other side. A function of its arguments; no clock.
//!
//! ```text
//!   first packet ─▶ all connections taken? ── yes ─▶ Refuse
//!                      │ no
//!                   address shown to receive? ── no ─▶ Retry ─▶ comes again with the token that was sent there
//!                      │ yes
//!                   all handshakes taken, or too many lately from this address? ── yes ─▶ Refuse
//!                      │ no ─▶ Accept
//! ```
//!
//! Nothing is kept for an address that has not shown that it receives, nor counted against it: it may be anybody's, and a
//! forger must not use up another's share. The round trip that this costs is paid once in a connection's long life. QUIC
//! asks for it only under load, but then an answer to a forged address may be three times what came (RFC 9000 section
//! 8.1), and quinn was measured to send 3.4 times; a Retry is a tenth.

use core::net::{IpAddr, Ipv6Addr};
use core::time::Duration;
use std::collections::HashMap;
use std::time::Instant;

use crate::tuning::Tuning;

/// Sources remembered. One is forgotten as soon as its rate is unused, so this many are active within the same second.
const SOURCES_MAX: usize = 8192;

/// Least time between two looks for sources to forget, so that a crowd does not make every packet dear.
const SWEEP_EVERY: Duration = Duration::from_millis(50);

/// A source may come twice its rate at once, then at its rate: all agents of a host after the host restarts.
const BURST_SECONDS: u32 = 2;

/// What to do with a first packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Begin the handshake, and call [`Admission::release`] when it is over.
    Accept,
    /// Answer statelessly: show that your address receives.
    Retry,
    /// Answer that no connection is taken now.
    Refuse,
}

/// Verdicts given since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) accepted: u64,
    pub(crate) retried: u64,
    pub(crate) refused: u64,
}

/// The listener's memory of handshakes.
pub(crate) struct Admission {
    tuning: Tuning,
    under_way: usize,
    sources: HashMap<IpAddr, Rate>,
    swept: Instant,
    tally: Tally,
}

impl Admission {
    pub(crate) fn new(tuning: Tuning, now: Instant) -> Self {
        Self { tuning, under_way: 0, sources: HashMap::new(), swept: now, tally: Tally::default() }
    }

    pub(crate) fn tally(&self) -> Tally {
        self.tally
    }

    pub(crate) fn under_way(&self) -> usize {
        self.under_way
    }

    /// Decides about a first packet from `address`; `open` counts all connections of the endpoint.
    // contracts/transport.md T14: an address first shows that it receives.
    pub(crate) fn judge(&mut self, now: Instant, address: IpAddr, validated: bool, open: usize) -> Verdict {
        let verdict = if open >= self.tuning.connections_max {
            Verdict::Refuse
        } else if !validated {
            Verdict::Retry
        } else if self.under_way < self.tuning.handshakes_max && self.within_rate(now, source(address)) {
            Verdict::Accept
        } else {
            Verdict::Refuse
        };
        match verdict {
            Verdict::Accept => {
                self.under_way = self.under_way.saturating_add(1);
                self.tally.accepted = self.tally.accepted.saturating_add(1);
            }
            Verdict::Retry => self.tally.retried = self.tally.retried.saturating_add(1),
            Verdict::Refuse => self.tally.refused = self.tally.refused.saturating_add(1),
        }
        verdict
    }

    /// A handshake that was accepted is over, well or not.
    pub(crate) fn release(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    fn within_rate(&mut self, now: Instant, source: IpAddr) -> bool {
        if !self.remembers(now, source) {
            return false;
        }
        self.sources.entry(source).or_insert(Rate(now)).take(now, self.tuning.per_source_per_s)
    }

    /// Whether there is room to count this source.
    fn remembers(&mut self, now: Instant, source: IpAddr) -> bool {
        if self.sources.len() >= SOURCES_MAX && now.duration_since(self.swept) >= SWEEP_EVERY {
            self.sources.retain(|_, rate| rate.0 > now);
            self.swept = now;
        }
        self.sources.len() < SOURCES_MAX || self.sources.contains_key(&source)
    }
}

/// One host: an IPv4 address, or an IPv6 /64, which is the least that a network gives one.
fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// A token bucket as one time: when it will be full again (the generic cell rate algorithm).
struct Rate(Instant);

impl Rate {
    fn take(&mut self, now: Instant, per_second: u32) -> bool {
        let each = Duration::from_secs(1).checked_div(per_second).unwrap_or(Duration::MAX);
        let full = self.0.max(now);
        let Some(next) = full.checked_add(each) else { return false };
        if next.duration_since(now) > Duration::from_secs(BURST_SECONDS.into()) {
            return false;
        }
        self.0 = next;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(core::net::Ipv4Addr::LOCALHOST);

    fn admission(tuning: Tuning) -> (Admission, Instant) {
        let now = Instant::now();
        (Admission::new(tuning, now), now)
    }

    #[test]
    fn one_source_cannot_use_anothers_share() {
        let (mut admission, now) = admission(Tuning { per_source_per_s: 4, ..Tuning::default() });
        let taken = (0..100).filter(|_| admission.judge(now, HERE, true, 0) == Verdict::Accept).count();
        assert_eq!(taken, 8, "twice the rate at once");
        let other = IpAddr::from([127, 0, 0, 2]);
        assert_eq!(admission.judge(now, other, true, 0), Verdict::Accept);
        assert_eq!(admission.judge(now + Duration::from_millis(300), HERE, true, 0), Verdict::Accept);
    }

    #[test]
    fn a_forger_holds_nothing_and_takes_nothing_from_the_address_it_forges() {
        let (mut admission, now) = admission(Tuning::default());
        for _ in 0..10_000 {
            assert_eq!(admission.judge(now, HERE, false, 0), Verdict::Retry);
        }
        assert_eq!((admission.under_way(), admission.sources.len()), (0, 0));
        assert_eq!(admission.judge(now, HERE, true, 0), Verdict::Accept);
    }

    #[test]
    fn handshakes_and_connections_have_a_wall() {
        let (mut admission, now) = admission(Tuning { handshakes_max: 2, connections_max: 7, ..Tuning::default() });
        let addresses = [1, 2, 3].map(|last| IpAddr::from([10, 0, 0, last]));
        assert_eq!(
            addresses.map(|a| admission.judge(now, a, true, 0)),
            [Verdict::Accept, Verdict::Accept, Verdict::Refuse]
        );
        admission.release();
        assert_eq!(admission.judge(now, HERE, true, 7), Verdict::Refuse);
        assert_eq!(admission.judge(now, HERE, true, 6), Verdict::Accept);
        assert_eq!(admission.tally(), Tally { accepted: 3, retried: 0, refused: 2 });
    }

    #[test]
    fn an_ipv6_network_is_one_source_and_memory_is_bounded() {
        let (mut admission, now) = admission(Tuning { per_source_per_s: 1, ..Tuning::default() });
        let in_net = |net: u16, host: u16| IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, net, 0, 0, 0, host));
        let taken = (0..50).filter(|&host| admission.judge(now, in_net(0, host), true, 0) == Verdict::Accept).count();
        assert_eq!(taken, 2);
        for net in 0..10_000 {
            if admission.judge(now, in_net(net, 1), true, 0) == Verdict::Accept {
                admission.release();
            }
        }
        assert!(admission.sources.len() <= SOURCES_MAX);
        let later = now + Duration::from_secs(3);
        assert_eq!(admission.judge(later, in_net(u16::MAX, 1), true, 0), Verdict::Accept, "the idle are forgotten");
    }
}

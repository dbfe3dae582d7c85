//! How often: per client, and per address of those who are not known yet (contracts/txts.md N34).

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};
use nuncio_contracts::registry::{limit, time};
use nuncio_proto::ids::AgentId;

/// A rate of one client.
#[derive(Debug)]
pub(crate) struct Rate(DefaultDirectRateLimiter);

impl Rate {
    /// So many a second, twice as many at once.
    pub(crate) fn per_second(rate: u32) -> Self {
        Self(RateLimiter::direct(quota(rate, rate.saturating_mul(2))))
    }

    /// Whether one more is within it.
    pub(crate) fn allows(&self) -> bool {
        self.0.check().is_ok()
    }
}

/// Rates of addresses.
#[derive(Debug)]
pub(crate) struct Sources {
    requests: DefaultKeyedRateLimiter<IpAddr>,
    failures: DefaultKeyedRateLimiter<IpAddr>,
}

impl Sources {
    pub(crate) fn new() -> Self {
        let requests = quota(limit::REQUESTS_PER_SOURCE, limit::REQUESTS_PER_SOURCE);
        let failures = quota(limit::FAILURES_PER_SOURCE, limit::FAILURES_PER_SOURCE.saturating_mul(10));
        Self { requests: RateLimiter::keyed(requests), failures: RateLimiter::keyed(failures) }
    }

    /// Whether an address may ask once more.
    pub(crate) fn allow(&self, address: IpAddr) -> bool {
        self.requests.check_key(&network(address)).is_ok()
    }

    /// Whether an address may once more fail to authenticate and be remembered for it.
    pub(crate) fn allow_failure(&self, address: IpAddr) -> bool {
        self.failures.check_key(&network(address)).is_ok()
    }

    /// Forgets addresses that are quiet.
    pub(crate) fn forget(&self) {
        self.requests.retain_recent();
        self.failures.retain_recent();
    }
}

/// How fast one-time prekeys of each agent are given away, to all and to each (contracts/directory.md D9).
#[derive(Debug)]
pub(crate) struct Claims {
    of: DefaultKeyedRateLimiter<AgentId>,
    by: DefaultKeyedRateLimiter<(AgentId, AgentId)>,
}

impl Claims {
    pub(crate) fn new() -> Self {
        let of = RateLimiter::keyed(every(time::DIRECTORY_CLAIM_EVERY, limit::DIRECTORY_CLAIMS_BURST));
        let by = every(time::DIRECTORY_CLAIM_AGAIN, limit::DIRECTORY_CLAIMS_PER_AGENT);
        Self { of, by: RateLimiter::keyed(by) }
    }

    /// Whether one more of an agent's is given to this one now.
    pub(crate) fn allow(&self, by: &AgentId, of: &AgentId) -> bool {
        self.by.check_key(&(*by, *of)).is_ok() && self.of.check_key(of).is_ok()
    }

    /// Forgets agents of whom nobody asks.
    pub(crate) fn forget(&self) {
        self.of.retain_recent();
        self.by.retain_recent();
    }
}

/// How fast frames come with each deposit key of each agent (contracts/mailbox.md M7). An agent makes keys of any id for itself alone.
#[derive(Debug)]
pub(crate) struct Deposits(DefaultKeyedRateLimiter<(AgentId, [u8; 16])>);

impl Deposits {
    pub(crate) fn new() -> Self {
        Self(RateLimiter::keyed(every(time::DEPOSIT_EVERY, limit::DEPOSITS_BURST)))
    }

    /// Whether one more comes for an agent now with its key of this id.
    pub(crate) fn allow(&self, agent: &AgentId, id: [u8; 16]) -> bool {
        self.0.check_key(&(*agent, id)).is_ok()
    }

    /// Forgets keys with which nothing comes.
    pub(crate) fn forget(&self) {
        self.0.retain_recent();
    }
}

/// Places of connections: so many in all, so many for one address.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    taken: Arc<Mutex<BTreeMap<IpAddr, usize>>>,
    max: usize,
}

/// A place that was taken, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Places,
    source: IpAddr,
}

impl Places {
    /// So many in all.
    pub(crate) fn new(max: usize) -> Self {
        Self { taken: Arc::default(), max }
    }

    /// A place for an address, if there is one.
    pub(crate) fn take(&self, address: IpAddr, per_source: usize) -> Option<Place> {
        let (mut taken, source) = (self.taken(), network(address));
        if taken.values().sum::<usize>() >= self.max {
            return None;
        }
        let own = taken.get(&source).copied().unwrap_or_default();
        if own >= per_source {
            return None;
        }
        taken.insert(source, own + 1);
        Some(Place { places: self.clone(), source })
    }

    fn taken(&self) -> MutexGuard<'_, BTreeMap<IpAddr, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        match taken.get_mut(&self.source) {
            Some(own) if *own > 1 => *own -= 1,
            _ => drop(taken.remove(&self.source)),
        }
    }
}

fn quota(rate: u32, burst: u32) -> Quota {
    let some = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
    Quota::per_second(some(rate)).allow_burst(some(burst))
}

/// One in so many milliseconds, behind a burst.
fn every(ms: u64, burst: u32) -> Quota {
    let quota = Quota::with_period(Duration::from_millis(ms)).unwrap_or_else(|| quota(1, 1));
    quota.allow_burst(NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN))
}

/// One household has a /64 of IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => Ipv6Addr::from(u128::from(v6) & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use nuncio_proto::crypto::SigningKey;

    use super::*;

    #[test]
    fn a_rate_has_an_end_and_a_network_is_one_source() {
        let rate = Rate::per_second(2);
        assert_eq!((0..10).filter(|_| rate.allows()).count(), 4);
        let sources = Sources::new();
        let address = |last: u16| IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last));
        let failures = (0..200).filter(|last| sources.allow_failure(address(*last))).count();
        assert_eq!(failures, usize::try_from(limit::FAILURES_PER_SOURCE * 10).unwrap());
        assert!(sources.allow_failure("2001:db8:1::1".parse().unwrap()));
    }

    /// contracts/mailbox.md M7.
    #[test]
    fn a_key_has_its_rate_whatever_other_agents_call_theirs() {
        let agent = |seed| AgentId::from_bytes(SigningKey::from_seed(&[seed; 32]).public()).unwrap();
        let (deposits, id) = (Deposits::new(), [7; 16]);
        let burst = usize::try_from(limit::DEPOSITS_BURST).unwrap();
        assert!((0..burst).all(|_| deposits.allow(&agent(1), id)));
        assert!((0..10).any(|_| !deposits.allow(&agent(1), id)));
        assert!(deposits.allow(&agent(2), id) && deposits.allow(&agent(1), [8; 16]));
    }

    /// contracts/txts.md N34.
    #[test]
    fn one_address_takes_so_many_places_and_what_is_left_is_for_others() {
        let (places, address) = (Places::new(limit::NODE_CONNECTIONS_MAX), |last: u8| IpAddr::from([192, 0, 2, last]));
        let mut held: Vec<Place> = (0..10).filter_map(|_| places.take(address(1), 3)).collect();
        assert_eq!(held.len(), 3);
        assert!(places.take("2001:db8::1".parse().unwrap(), 1).is_some(), "given back at once");
        held.extend((0..limit::NODE_CONNECTIONS_MAX).filter_map(|_| places.take(address(2), usize::MAX)));
        assert_eq!(held.len(), limit::NODE_CONNECTIONS_MAX);
        assert!(places.take(address(3), 3).is_none());
        held.swap_remove(0);
        assert!(places.take(address(1), 3).is_some());
        drop(held);
        assert!(places.taken().is_empty());
    }
}

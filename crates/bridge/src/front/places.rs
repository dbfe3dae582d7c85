//! Places of connections: so many in all, so many of one address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// From where a request comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Address(IpAddr);

impl Address {
    /// One household has a /64 of IPv6: it is one.
    pub(crate) fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(v6) => Ipv6Addr::from(u128::from(v6) & !u128::from(u64::MAX)).into(),
            v4 => v4,
        })
    }
}

/// All places.
#[derive(Clone, Debug)]
pub(super) struct Places {
    taken: Arc<Mutex<Taken>>,
    max: usize,
    per_source: usize,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    of: HashMap<Address, usize>,
}

/// A place that was taken, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Places,
    source: Address,
}

impl Places {
    pub(super) fn new(max: usize, per_source: usize) -> Self {
        Self { taken: Arc::default(), max, per_source }
    }

    /// A place, if there is one.
    pub(super) fn take(&self, source: Address) -> Option<Place> {
        let mut taken = self.taken();
        let own = taken.of.get(&source).copied().unwrap_or_default();
        if taken.all >= self.max || own >= self.per_source {
            return None;
        }
        taken.all += 1;
        taken.of.insert(source, own + 1);
        Some(Place { places: self.clone(), source })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        // What it guards stays whole even if a holder panicked.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.all = taken.all.saturating_sub(1);
        match taken.of.get_mut(&self.source) {
            Some(own) if *own > 1 => *own -= 1,
            _ => drop(taken.of.remove(&self.source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// contracts/gateway.md W40.
    #[test]
    fn one_address_takes_so_many_places_and_what_is_left_is_for_others() {
        let (places, of) = (Places::new(5, 3), |text: &str| Address::of(text.parse().unwrap()));
        let mut held: Vec<Place> = (0..9).filter_map(|_| places.take(of("192.0.2.1"))).collect();
        assert_eq!(held.len(), 3);
        assert!(places.take(of("::ffff:192.0.2.1")).is_none(), "it is the same address");
        held.extend(["2001:db8::1", "2001:db8::2"].map(|text| places.take(of(text)).unwrap()));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff"));
        assert!(places.take(of("192.0.2.9")).is_none(), "there are no more");
        drop(held.pop());
        assert!(places.take(of("192.0.2.9")).is_some());
        drop(held);
        assert!(places.taken().of.is_empty() && places.taken().all == 0);
    }
}

//! Room for what is read whole: so many at once, and of each peer one, so that whose service reads nothing holds up no other peer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

use nuncio_proto::ids::AgentId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use super::lock;

pub(super) struct Room {
    all: Semaphore,
    of: Mutex<HashMap<AgentId, Weak<Semaphore>>>,
}

/// What is held by one.
pub(super) struct Held<'a> {
    _of_peer: OwnedSemaphorePermit,
    _of_all: SemaphorePermit<'a>,
}

impl Room {
    pub(super) fn new(at_once: usize) -> Self {
        Self { all: Semaphore::new(at_once), of: Mutex::default() }
    }

    /// Waits for it; first among what is the peer's own.
    pub(super) async fn acquire(&self, peer: &AgentId) -> Option<Held<'_>> {
        let of_peer = self.of_peer(peer).acquire_owned().await.ok()?;
        Some(Held { _of_peer: of_peer, _of_all: self.all.acquire().await.ok()? })
    }

    fn of_peer(&self, peer: &AgentId) -> Arc<Semaphore> {
        let mut of = lock(&self.of);
        if let Some(known) = of.get(peer).and_then(Weak::upgrade) {
            return known;
        }
        of.retain(|_, room| room.strong_count() > 0);
        let room = Arc::new(Semaphore::new(1));
        of.insert(*peer, Arc::downgrade(&room));
        room
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future as _;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    fn agent(seed: u8) -> AgentId {
        AgentId::from_bytes(nuncio_proto::crypto::SigningKey::from_seed(&[seed; 32]).public()).unwrap()
    }

    #[tokio::test]
    async fn one_peer_has_one_place_and_the_others_have_the_rest() {
        let room = Room::new(2);
        let first = room.acquire(&agent(1)).await;
        let mut context = Context::from_waker(Waker::noop());
        let one = agent(1);
        let mut second = pin!(room.acquire(&one));
        assert!(second.as_mut().poll(&mut context).is_pending());
        let other = room.acquire(&agent(2)).await;
        drop(first);
        assert!(second.as_mut().poll(&mut context).is_ready());
        drop(other);
    }
}

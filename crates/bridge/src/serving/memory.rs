//! What is kept of sessions: with it a service brings one back after a start.

use std::collections::HashMap;
use std::sync::Mutex;

use nuncio_contracts::registry::limit;
use nuncio_proto::call::ServiceName;
use nuncio_proto::ids::AgentId;

use super::{Serving, lock};
use crate::service::Of;

/// What is kept of sessions, of one service each: of each agent's newest. The rest is in the agent's store, as far as it is kept at all.
#[derive(Default)]
pub(super) struct Memory(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    of: HashMap<(ServiceName, Of), (u64, Vec<u8>)>,
    /// How many there have been.
    count: u64,
}

impl Memory {
    pub(super) fn get(&self, service: &ServiceName, of: &Of) -> Option<Vec<u8>> {
        lock(&self.0).of.get(&(service.clone(), *of)).map(|(_, memory)| memory.clone())
    }

    /// In the stead of what was. Of more than an agent may have sessions the oldest goes.
    // contracts/call.md X12.
    pub(super) fn keep(&self, service: &ServiceName, of: &Of, memory: Vec<u8>) {
        let mut kept = lock(&self.0);
        kept.count += 1;
        let count = kept.count;
        kept.of.insert((service.clone(), *of), (count, memory));
        let theirs = || kept.of.iter().filter(|((_, known), _)| known.from == of.from);
        if theirs().count() > limit::CALL_SESSIONS_MAX {
            let oldest = theirs().min_by_key(|(_, (count, _))| *count).map(|(key, _)| key.clone());
            oldest.and_then(|oldest| kept.of.remove(&oldest));
        }
    }

    pub(super) fn forget(&self, service: &ServiceName, of: &Of) {
        lock(&self.0).of.remove(&(service.clone(), *of));
    }

    /// All of a peer.
    pub(super) fn forget_all(&self, from: &AgentId) {
        lock(&self.0).of.retain(|(_, of), _| of.from != *from);
    }
}

impl Serving {
    /// Brings what is kept of a session into memory, once.
    pub(super) async fn recall(&self, service: &ServiceName, of: &Of, removals: u64) -> Result<(), nuncio::Error> {
        let Some(session) = of.session.filter(|_| self.memory.get(service, of).is_none()) else { return Ok(()) };
        let kept = self.agent.call_memory(of.from, session).await?;
        let kept = kept.and_then(|kept| memory_of(service, &kept));
        // What was kept of a peer goes with it.
        if let Some(kept) = kept.filter(|_| self.removals(&of.from) == removals) {
            self.memory.keep(service, of, kept);
        }
        Ok(())
    }
}

/// What is kept of a session says of which service it is: no other is given it.
pub(super) fn named_memory(service: &ServiceName, memory: &[u8]) -> Vec<u8> {
    [service.as_str().as_bytes(), &[0], memory].concat()
}

fn memory_of(service: &ServiceName, kept: &[u8]) -> Option<Vec<u8>> {
    let rest = kept.strip_prefix(service.as_str().as_bytes())?;
    rest.strip_prefix(&[0]).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use nuncio_proto::crypto::SigningKey;
    use nuncio_proto::ids::CallSessionId;

    use super::*;

    // contracts/call.md X12.
    #[test]
    fn of_each_agent_the_newest_sessions_are_in_memory_and_no_more() {
        let (memory, files) = (Memory::default(), "files".parse().unwrap());
        let agent = |seed| AgentId::from_bytes(SigningKey::from_seed(&[seed; 32]).public()).unwrap();
        let of = |seed, no: usize| {
            let mut session = [0; 16];
            session[..8].copy_from_slice(&no.to_be_bytes());
            Of { from: agent(seed), session: Some(CallSessionId::from_bytes(session)) }
        };
        memory.keep(&files, &of(2, 0), vec![2]);
        for no in 0..=limit::CALL_SESSIONS_MAX {
            memory.keep(&files, &of(1, no), vec![1]);
        }
        assert_eq!(memory.get(&files, &of(1, 0)), None, "the oldest");
        assert!((1..=limit::CALL_SESSIONS_MAX).all(|no| memory.get(&files, &of(1, no)).is_some()));
        assert_eq!(memory.get(&files, &of(2, 0)), Some(vec![2]), "another's");
        memory.forget_all(&agent(1));
        assert_eq!((memory.get(&files, &of(1, 9)), memory.get(&files, &of(2, 0))), (None, Some(vec![2])));
    }
}

//! What is kept of sessions: with it a service brings one back after a start.

use std::collections::HashMap;
use std::sync::Mutex;

use nuncio_proto::call::ServiceName;

use super::{Serving, lock};
use crate::service::Of;

/// What is kept of sessions, of one service each.
#[derive(Default)]
pub(super) struct Memory(pub(super) Mutex<HashMap<(ServiceName, Of), Vec<u8>>>);

impl Serving {
    /// Brings what is kept of a session into memory, once.
    pub(super) async fn recall(&self, service: &ServiceName, of: &Of) -> Result<(), nuncio::Error> {
        let key = (service.clone(), *of);
        let Some(session) = of.session.filter(|_| !lock(&self.memory.0).contains_key(&key)) else { return Ok(()) };
        let kept = self.agent.call_memory(of.from, session).await?;
        let kept = kept.and_then(|kept| memory_of(service, &kept));
        if let Some(kept) = kept {
            lock(&self.memory.0).insert(key, kept);
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

//! What is in force of one peer, when that peer goes or is called otherwise: whatever the file says, and without a look at it
//! (contracts/local-api.md A26).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use nuncio_proto::call::ServiceName;
use nuncio_proto::ids::AgentId;

use super::{Offered, Serving, lock};
use crate::config::ServiceConfig;

impl Serving {
    /// What may be done under a name from now on may nobody, until the file is followed.
    // contracts/local-api.md A26.
    pub(crate) fn forget_name(&self, name: &str) {
        self.change(|_, config| config.peers.remove(name).is_some());
    }

    /// The same of an identity.
    // contracts/local-api.md A26.
    pub(crate) fn forget_agent(&self, agent: &AgentId) {
        self.change(|_, config| config.agents.remove(agent).is_some());
    }

    /// What may be done under the former name may be done under the other too, where nothing is said of that one; of which services that is.
    // contracts/local-api.md A26.
    pub(crate) fn copy_name(&self, former: &str, name: &str) -> Vec<ServiceName> {
        self.change(|_, config| match config.peers.get(former).cloned() {
            Some(scope) if !config.peers.contains_key(name) => config.peers.insert(name.to_owned(), scope).is_none(),
            _ => false,
        })
    }

    /// [`Serving::copy_name`] is undone.
    pub(crate) fn uncopy_name(&self, name: &str, of: &[ServiceName]) {
        self.change(|service, config| of.contains(service) && config.peers.remove(name).is_some());
    }

    /// Puts what is changed in force; which services were. Nothing that runs ends.
    fn change(&self, by: impl Fn(&ServiceName, &mut ServiceConfig) -> bool) -> Vec<ServiceName> {
        // A file that is being followed was read before this, and must not be in force behind it.
        let _turn = lock(&self.loading);
        let mut offered = lock(&self.offered);
        let changed: HashMap<ServiceName, Arc<Offered>> = offered
            .iter()
            .filter_map(|(name, old)| {
                let mut config = old.config.clone();
                let service = Arc::clone(&old.service);
                by(name, &mut config)
                    .then(|| (name.clone(), Arc::new(Offered { config, service, told: AtomicBool::new(false) })))
            })
            .collect();
        let names = changed.keys().cloned().collect();
        offered.extend(changed);
        names
    }
}

//! What a permit of this agent's allows where nothing else does (contracts/permit.md P8).

use std::sync::atomic::Ordering;

use nuncio::{Called, Scope};

use super::{Offered, Serving};
use crate::jsonrpc::Envelope;
use crate::policy::{self, Asker, Decision};

impl Serving {
    /// Whether a message may go to its service. A permit is looked for for every message that needs one: what was revoked counts for none.
    pub(super) async fn decide(
        &self,
        offered: &Offered,
        asker: Asker<'_>,
        called: &Called,
        message: &Envelope,
    ) -> Decision {
        let decided = policy::decide(&offered.config, &asker, message);
        if decided == Decision::Allowed {
            return decided;
        }
        let permit = self.permit(called).await;
        let decided = policy::decide(&offered.config, &Asker { permit: permit.as_ref(), ..asker }, message);
        if let Decision::Denied { needs } = &decided
            && policy::tokens_lack(&offered.config, &asker, message)
            && !offered.told.swap(true, Ordering::Relaxed)
        {
            // Who asks cannot mend it, and whoever can is here: once, however often it is asked.
            let (service, peer) = (&called.place.service, &called.letter.from);
            tracing::warn!(%service, %peer, needs, "a token would allow it, and services.toml does not: [services.{service}.tokens] says what tokens may");
        }
        decided
    }

    /// Whether a peer may send a service anything at all.
    pub(super) async fn hears(&self, offered: &Offered, asker: Asker<'_>, called: &Called) -> bool {
        if policy::is_heard(&offered.config, &asker) {
            return true;
        }
        let permit = self.permit(called).await;
        policy::is_heard(&offered.config, &Asker { permit: permit.as_ref(), ..asker })
    }

    async fn permit(&self, called: &Called) -> Option<Scope> {
        // Without an answer of the agent there is none.
        self.agent.permitted(called.letter.from, called.place.service.clone()).await.ok().flatten()
    }
}

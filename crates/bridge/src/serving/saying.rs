//! What services say, in its order. A long message is sealed beside the rest: it holds up what follows in its own session or, without one, to its own
//! request, and nobody else.

use std::collections::HashMap;
use std::sync::Arc;

use nuncio_proto::call::ServiceName;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{SAID, Serving};
use crate::service::{Of, Said};

/// What is in order among itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Whose {
    Session(Of),
    Request(u64),
}

/// What follows a long message, and who sends it on.
struct Lane {
    behind: mpsc::Sender<Said>,
    sends: JoinHandle<()>,
}

impl Serving {
    /// Sends what a service says.
    pub(super) async fn hear(self: Arc<Self>, service: ServiceName, mut heard: mpsc::Receiver<Said>) {
        let mut lanes = HashMap::new();
        while let Some(said) = heard.recv().await {
            self.say(&service, said, &mut lanes).await;
        }
    }

    async fn say(self: &Arc<Self>, service: &ServiceName, said: Said, lanes: &mut HashMap<Whose, Lane>) {
        let Some(whose) = self.whose(&said) else { return self.send(service, said).await };
        let said = match lanes.remove(&whose) {
            None => said,
            Some(lane) => match lane.behind.send(said).await {
                Ok(()) => return drop(lanes.insert(whose, lane)),
                // Nothing stood there any more: what it has in hand goes first.
                Err(mpsc::error::SendError(said)) => {
                    let _ = lane.sends.await;
                    said
                }
            },
        };
        if !said.is_long() {
            return self.send(service, said).await;
        }
        lanes.retain(|_, lane| !lane.sends.is_finished());
        let (behind, follows) = mpsc::channel(SAID);
        let sends = tokio::spawn(Arc::clone(self).send_all(service.clone(), said, follows));
        lanes.insert(whose, Lane { behind, sends });
    }

    /// Sends a long message, and what came behind it meanwhile.
    async fn send_all(self: Arc<Self>, service: ServiceName, first: Said, mut follows: mpsc::Receiver<Said>) {
        let mut next = Some(first);
        while let Some(said) = next {
            let _turn = if said.is_long() { self.seals.acquire().await.ok() } else { None };
            self.send(&service, said).await;
            next = match follows.try_recv() {
                Ok(said) => Some(said),
                Err(_) => {
                    follows.close();
                    follows.recv().await
                }
            };
        }
    }

    async fn send(self: &Arc<Self>, service: &ServiceName, said: Said) {
        if let Err(error) = self.pass_on(service, said).await {
            tracing::warn!(%service, %error, "what a service said was not sent");
        }
    }

    /// `None`: of a request that is not open, or of none.
    fn whose(&self, said: &Said) -> Option<Whose> {
        let of_request =
            |key| self.open.of(key).map(|of| of.session.map_or(Whose::Request(key), |_| Whose::Session(of)));
        match said {
            Said::Part { key, .. } | Said::Answer { key, .. } | Said::Refused { key, .. } | Said::Lost { key, .. } => {
                of_request(*key)
            }
            Said::Aside { of, .. } | Said::Gone { of, .. } => of.session.map(|_| Whose::Session(*of)),
        }
    }
}

impl Said {
    /// It is not in memory.
    fn is_long(&self) -> bool {
        match self {
            Self::Part { message, .. }
            | Self::Answer { message, .. }
            | Self::Refused { message, .. }
            | Self::Aside { message, .. } => !message.body.is_in_memory(),
            Self::Lost { .. } | Self::Gone { .. } => false,
        }
    }
}

//! Who vouches for the log's head from outside: witnesses with lines under it, calendars with files beside it.
//!
//! ```text
//!   a head is published ─► Anchor::vouch ─┬─► lines ─► Scribe: under the checkpoint
//!         ▲   or a while is over          ├─► files ─► below `anchor/`
//!         └───────────────────────────────┴─► behind ─► the log ends
//! ```
//!
//! Nothing of the log waits for any of them.

use std::sync::Arc;
use std::time::Duration;

use nuncio_proto::tlog::NoteSignature;
use tokio_util::sync::CancellationToken;

use crate::log::{AnchorFile, LogError, View};
use crate::policy::Policy;
use crate::service::Service;

/// Between two times that it is asked about one head.
const AGAIN: Duration = Duration::from_secs(10);

/// Something outside of the node that vouches for a published head.
pub(crate) trait Anchor {
    /// Asks it about a head, under the policy in force. It is asked again and again: what it has vouched for already it passes over.
    fn vouch(&mut self, view: &View, policy: &Policy) -> impl Future<Output = Vouched> + Send;
}

/// What comes of asking.
#[derive(Debug)]
pub(crate) enum Vouched {
    /// Nothing new.
    Nothing,
    /// Lines to stand under this head.
    Lines(Vec<NoteSignature>),
    /// Files to lie beside it: each is durable before the next.
    Files(Vec<(AnchorFile, Vec<u8>)>),
    /// It has seen more of the log than there is.
    Behind { witness: String, signed: u64 },
}

/// Has each new head vouched for until the node stops.
pub(crate) async fn keep(mut anchor: impl Anchor, service: Arc<Service>, closing: CancellationToken) {
    let mut views = service.scribe.published();
    loop {
        let view = Arc::clone(&views.borrow_and_update());
        let policy = service.policy();
        let vouched = tokio::select! {
            () = closing.cancelled() => return,
            vouched = anchor.vouch(&view, &policy) => vouched,
        };
        match vouched {
            Vouched::Nothing => {}
            Vouched::Lines(lines) => service.scribe.cosigned(view.size(), lines),
            Vouched::Files(files) => {
                // The same is due again then.
                if let Err(error) = lay(view, files).await {
                    tracing::error!(%error, "an anchor cannot be kept");
                }
            }
            Vouched::Behind { witness, signed } => {
                tracing::error!(witness, size = signed, "a witness has seen more of the log than there is");
                service.scribe.behind(&witness, signed);
                return;
            }
        }
        tokio::select! {
            () = closing.cancelled() => return,
            changed = tokio::time::timeout(AGAIN, views.changed()) => if matches!(changed, Ok(Err(_))) { return },
        }
    }
}

async fn lay(view: Arc<View>, files: Vec<(AnchorFile, Vec<u8>)>) -> Result<(), LogError> {
    let laying = tokio::task::spawn_blocking(move || {
        files.into_iter().try_for_each(|(file, bytes)| view.put_anchor(file, &bytes))
    });
    laying.await.unwrap_or(Ok(()))
}

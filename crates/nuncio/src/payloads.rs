//! What the actor knows of each large payload on its way.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use nuncio_proto::ids::{AgentId, LetterId};
use nuncio_proto::time::UnixMillis;
use tokio::sync::watch;

use crate::chunks::{Handle, Progress};

/// A large payload that we send.
#[derive(Debug)]
pub(crate) struct PayloadOut {
    pub(crate) to: AgentId,
    pub(crate) letter: LetterId,
    pub(crate) expires: UnixMillis,
    /// Sealed bytes handed to the network.
    pub(crate) sent: Arc<AtomicU64>,
}

/// A large payload that comes.
#[derive(Debug)]
pub(crate) struct PayloadIn {
    pub(crate) letter: LetterId,
    pub(crate) no: u64,
    pub(crate) handle: Handle,
    pub(crate) progress: watch::Sender<Progress>,
    pub(crate) fetching: bool,
}

//! MCP in this very program: a stream of bytes stands where a process or an address would.
//!
//! ```text
//!   an SDK's client ═ stream ═ Bridge::mcp ─► letters ─► serving ─► policy ─► Natives ═ stream ═ an SDK's server
//! ```
//!
//! Each line of a stream is a message, as on the pipes of a program. Whatever reads and writes such lines speaks to it: `rmcp` takes the stream as its
//! transport.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::{fmt, io};

use nuncio_proto::call::ServiceName;
use nuncio_proto::ids::AgentId;
use tokio::io::DuplexStream;
use tokio_util::sync::CancellationToken;

use crate::line::Line;
use crate::local;
use crate::shim::{self, Remote};

/// Bytes that wait in a stream, each way.
const WAITING: usize = 64 * 1024;

/// Begins a session with an agent.
pub(crate) type Begin = Arc<dyn Fn(AgentId, DuplexStream) + Send + Sync>;

/// What the embedding program serves itself: each has `native = true` in `services.toml`, where it also says who may.
#[derive(Clone, Default)]
pub struct Natives(HashMap<ServiceName, Begin>);

impl Natives {
    /// Serves this too. `begin` is told of each session with whom it is, and gets its stream; it spawns what speaks there, and returns at once; if it
    /// panics, that session has not begun. The end of the stream is the end of the session, from either side.
    #[must_use]
    pub fn serve(mut self, name: ServiceName, begin: impl Fn(AgentId, DuplexStream) + Send + Sync + 'static) -> Self {
        self.0.insert(name, Arc::new(begin));
        self
    }

    pub(crate) fn get(&self, name: &ServiceName) -> Option<Begin> {
        self.0.get(name).cloned()
    }
}

impl fmt::Debug for Natives {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// The near end of a session that has begun.
///
/// # Errors
/// Whose it is panics over it: the session has not begun, and nothing else ends with it.
pub(crate) fn begin(with: AgentId, by: &Begin) -> io::Result<DuplexStream> {
    let (near, far) = tokio::io::duplex(WAITING);
    // What it holds is its own: nothing of it is looked at here.
    let begun = catch_unwind(AssertUnwindSafe(|| by(with, far)));
    begun.map(|()| near).map_err(|_| io::Error::other("what begins its sessions panicked"))
}

/// A session of a service of another agent, as a stream. It ends with the stream, and with `stopping`.
pub(crate) fn call<L: Line>(line: L, stopping: CancellationToken) -> DuplexStream {
    let (near, far) = tokio::io::duplex(WAITING);
    tokio::spawn(async move {
        let (input, output) = tokio::io::split(far);
        let remote = Remote::within(local::router(line));
        if let Err(error) = shim::run(remote, input, output, stopping).await {
            tracing::warn!(%error, "a session of this program's own has ended");
        }
    });
    near
}

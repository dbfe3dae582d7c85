//! What ends a program that runs until it is told to stop.

use tokio::io::AsyncReadExt as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::Failure;

/// SIGTERM and SIGINT.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From here on a signal ends nothing by itself.
    pub(crate) fn new() -> Result<Self, Failure> {
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    /// The next one, by name.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Listens for one kind of signal.
pub(crate) fn listen(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(Failure::io("listen for", "signals"))
}

/// Returns when standard input has ended, if that is wanted; else never.
pub(crate) async fn stdin_ended(wanted: bool) {
    if !wanted {
        return std::future::pending().await;
    }
    let mut ignored = [0; 256];
    let mut stdin = tokio::io::stdin();
    while stdin.read(&mut ignored).await.is_ok_and(|len| len > 0) {}
}

//! The body of a request, which knows when its first byte was asked for: from then on nobody knows what the server has.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::mpsc;

use super::super::{NotHanded, Reply, lock};
use crate::message::Body;

/// Who waits for a message to be handed over; told once.
#[derive(Clone)]
pub(super) struct Handed(Arc<Mutex<Option<Reply>>>);

impl Handed {
    pub(super) fn new(reply: Reply) -> Self {
        Self(Arc::new(Mutex::new(Some(reply))))
    }

    /// `false` where something was told before.
    pub(super) fn tell(&self, how: Result<(), NotHanded>) -> bool {
        let reply = lock(&self.0).take();
        reply.map(|reply| reply.send(how)).is_some()
    }
}

/// A message on its way out, in pieces.
pub(super) struct Outgoing {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    left: u64,
    handed: Handed,
}

impl Outgoing {
    pub(super) fn of(body: &Body, handed: Handed) -> io::Result<Self> {
        Ok(Self { pieces: body.pieces(), left: body.len()?, handed })
    }
}

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        // A connection is there, and the head of the request on its way.
        self.handed.tell(Ok(()));
        self.pieces.poll_recv(context).map(|piece| {
            piece.map(|piece| {
                let piece = piece?;
                self.left = self.left.saturating_sub(u64::try_from(piece.len()).unwrap_or(u64::MAX));
                Ok(Frame::data(piece))
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

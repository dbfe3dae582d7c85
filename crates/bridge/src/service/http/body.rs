//! The body of a request, which knows when its first byte was asked for: from then on nobody knows what the server has.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc;

use super::super::{NotHanded, Reply, lock};
use crate::message::Body;

const PIECE: usize = 64 * 1024;

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
    pub(super) async fn of(body: &Body, handed: Handed) -> io::Result<Self> {
        let (to, pieces) = mpsc::channel(1);
        let left = match body {
            Body::Bytes(bytes) => {
                // There is room for one.
                let _ = to.try_send(Ok(bytes.clone()));
                u64::try_from(bytes.len()).unwrap_or(u64::MAX)
            }
            Body::File(path) => {
                let file = tokio::fs::File::open(&***path).await?;
                let len = file.metadata().await?.len();
                let path = Arc::clone(path);
                tokio::spawn(async move {
                    read(file.take(len), to).await;
                    drop(path);
                });
                len
            }
        };
        Ok(Self { pieces, left, handed })
    }
}

async fn read(mut file: tokio::io::Take<tokio::fs::File>, to: mpsc::Sender<io::Result<Bytes>>) {
    loop {
        let mut piece = Vec::with_capacity(PIECE);
        let read = (&mut file).take(u64::try_from(PIECE).unwrap_or(1)).read_to_end(&mut piece).await;
        let ends = !matches!(read, Ok(1..));
        let sent = match read {
            Ok(0) => return,
            Ok(_) => to.send(Ok(piece.into())).await,
            Err(error) => to.send(Err(error)).await,
        };
        if ends || sent.is_err() {
            return;
        }
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

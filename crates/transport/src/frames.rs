//! Frames on a stream: `length ‖ bytes`, many to a write, many to a read. Deposits travel as frames do, and may be longer.

use bytes::{Buf, Bytes, BytesMut};
use nuncio_contracts::registry::limit;
use quinn::{RecvStream, SendStream};

use crate::close::CloseCode;
use crate::error::TransportError;
use crate::tuning::FRAME_LEN_MAX;
use crate::varint::{self, Prefix};

/// A frame of this length or more is handed to QUIC as it is; shorter ones are copied side by side, because QUIC keeps
/// each piece apart until it is acknowledged and small pieces cost more than the copy.
const COPY_BELOW: usize = 8 * 1024;

/// Pieces taken from QUIC in one call; each is at most one datagram's.
const PIECES_MAX: usize = 32;

/// Writes frames to a stream of kind `Frames`, or deposits to one of kind `Deposit`.
#[derive(Debug)]
pub struct FrameSender {
    stream: SendStream,
    len_max: usize,
    /// What QUIC has not taken yet, in order: whole frames, but for the first piece.
    unsent: Vec<Bytes>,
}

impl FrameSender {
    /// Takes the sending half that [`Connection::open`](crate::Connection::open) or
    /// [`Connection::accept_stream`](crate::Connection::accept_stream) gave.
    #[must_use]
    pub fn new(stream: SendStream) -> Self {
        Self { stream, len_max: FRAME_LEN_MAX, unsent: Vec::new() }
    }

    /// [`FrameSender::new`], of deposits.
    // contracts/mailbox.md section 2.
    #[must_use]
    pub fn deposits(stream: SendStream) -> Self {
        Self { len_max: limit::DEPOSIT_LEN_MAX, ..Self::new(stream) }
    }

    /// Hands the frames to QUIC in order; waits while flow control holds them back. If the future is dropped, what was
    /// not sent is sent before the frames of the next call.
    ///
    /// # Errors
    ///
    /// [`TransportError::FrameLen`] if a frame is empty or over the limit: then none of this call's frames is sent.
    /// [`TransportError::StreamStopped`] or [`TransportError::Closed`] if the peer or the connection is gone.
    pub async fn send_many(&mut self, frames: &[Bytes]) -> Result<(), TransportError> {
        append(&mut self.unsent, frames, self.len_max)?;
        while !self.unsent.is_empty() {
            let written = self.stream.write_chunks(&mut self.unsent).await?;
            self.unsent.drain(..written.chunks);
        }
        Ok(())
    }

    /// Tells the peer that no more frames come, after those sent. What a dropped call left unsent is lost.
    ///
    /// # Errors
    ///
    /// [`TransportError::StreamEnded`] if the stream was ended before.
    pub fn finish(mut self) -> Result<(), TransportError> {
        self.end()
    }

    /// [`FrameSender::finish`], and waits until the peer's machine has all of them, or is gone.
    ///
    /// # Errors
    ///
    /// As [`FrameSender::finish`].
    pub async fn drain(mut self) -> Result<(), TransportError> {
        self.end()?;
        // It fails only if they cannot arrive any more.
        let _ = self.stream.stopped().await;
        Ok(())
    }

    fn end(&mut self) -> Result<(), TransportError> {
        self.stream.finish().map_err(|_| TransportError::StreamEnded)
    }
}

/// Queues frames with their prefixes, small ones side by side.
fn append(pieces: &mut Vec<Bytes>, frames: &[Bytes], len_max: usize) -> Result<(), TransportError> {
    let mut copied_len: usize = 0;
    for frame in frames {
        prefix_len(frame.len(), len_max)?;
        copied_len =
            copied_len.saturating_add(4).saturating_add(if frame.len() < COPY_BELOW { frame.len() } else { 0 });
    }
    let mut copied = BytesMut::with_capacity(copied_len);
    for frame in frames {
        varint::put(&mut copied, prefix_len(frame.len(), len_max)?);
        if frame.len() < COPY_BELOW {
            copied.extend_from_slice(frame);
        } else {
            pieces.push(copied.split().freeze());
            pieces.push(frame.clone());
        }
    }
    if !copied.is_empty() {
        pieces.push(copied.freeze());
    }
    Ok(())
}

/// The length as it travels.
// contracts/transport.md T12: a frame has 1 to `frame_len_max` bytes.
fn prefix_len(len: usize, max: usize) -> Result<u32, TransportError> {
    let fits = (1..=max).contains(&len).then(|| u32::try_from(len).ok()).flatten();
    fits.ok_or_else(|| TransportError::FrameLen { len: u64::try_from(len).unwrap_or(u64::MAX), max })
}

/// Reads frames from a stream of kind `Frames`, or deposits from one of kind `Deposit`. Holds at most one unfinished frame and what came with it.
#[derive(Debug)]
pub struct FrameReceiver {
    stream: RecvStream,
    len_max: usize,
    arrived: BytesMut,
}

impl FrameReceiver {
    /// Takes the receiving half of a stream after its first byte.
    #[must_use]
    pub fn new(stream: RecvStream) -> Self {
        Self { stream, len_max: FRAME_LEN_MAX, arrived: BytesMut::new() }
    }

    /// [`FrameReceiver::new`], of deposits.
    // contracts/mailbox.md section 2.
    #[must_use]
    pub fn deposits(stream: RecvStream) -> Self {
        Self { len_max: limit::DEPOSIT_LEN_MAX, ..Self::new(stream) }
    }

    /// Whether some of a frame has come, and all of it was not given yet.
    #[must_use]
    pub fn holds_some(&self) -> bool {
        !self.arrived.is_empty()
    }

    /// Appends frames that have arrived to `out`, at least one and at most `max`, and says how many; waits only for the
    /// first. 0 means that the peer finished the stream. Safe to drop and call again: no byte is lost.
    ///
    /// # Errors
    ///
    /// [`TransportError::FrameLen`] if the peer breaks the framing; the stream is then stopped with
    /// [`CloseCode::PROTOCOL`], after the frames before it were given. [`TransportError::FrameTruncated`] if it ends in
    /// the middle of a frame, [`TransportError::StreamReset`] or [`TransportError::Closed`] if it is torn down.
    pub async fn recv_many(&mut self, out: &mut Vec<Bytes>, max: usize) -> Result<usize, TransportError> {
        loop {
            let taken = self.take_arrived(out, max.max(1))?;
            if taken > 0 {
                return Ok(taken);
            }
            if !self.read().await? {
                return if self.arrived.is_empty() { Ok(0) } else { Err(TransportError::FrameTruncated) };
            }
        }
    }

    /// Tells the peer that nothing more is read.
    pub fn stop(&mut self, code: CloseCode) {
        // It fails only if the stream is over already.
        let _ = self.stream.stop(code.into());
    }

    /// Moves whole frames out. An error waits until the frames before it were given.
    fn take_arrived(&mut self, out: &mut Vec<Bytes>, max: usize) -> Result<usize, TransportError> {
        let mut taken = 0;
        while taken < max {
            match next(&mut self.arrived, self.len_max) {
                Ok(Some(frame)) => out.push(frame),
                Ok(None) => break,
                Err(_) if taken > 0 => break,
                Err(error) => {
                    self.stop(CloseCode::PROTOCOL);
                    return Err(error);
                }
            }
            taken = taken.saturating_add(1);
        }
        Ok(taken)
    }

    /// Takes what QUIC has, waiting for the first piece; false at the end of the stream.
    async fn read(&mut self) -> Result<bool, TransportError> {
        if self.arrived.is_empty() {
            // An idle connection keeps no buffer, and frames given out do not keep each other's.
            self.arrived = BytesMut::new();
        }
        let mut pieces = [const { Bytes::new() }; PIECES_MAX];
        let Some(count) = self.stream.read_chunks(&mut pieces).await? else { return Ok(false) };
        let pieces = pieces.iter().take(count);
        self.arrived.reserve(pieces.clone().map(Bytes::len).sum());
        pieces.for_each(|piece| self.arrived.extend_from_slice(piece));
        Ok(true)
    }
}

/// Splits the first frame off, if it is whole.
// contracts/transport.md T13: the length is checked before anything is waited for or kept.
fn next(arrived: &mut BytesMut, max: usize) -> Result<Option<Bytes>, TransportError> {
    let bad_len = |len| TransportError::FrameLen { len, max };
    let (len, width) = match varint::read(arrived) {
        Prefix::Partial => return Ok(None),
        Prefix::NotShortest => return Err(bad_len(0)),
        Prefix::Whole { len, width } => (len, width),
    };
    let frame_len = usize::try_from(len).ok().filter(|len| (1..=max).contains(len));
    let Some(frame_len) = frame_len else { return Err(bad_len(len.into())) };
    if arrived.len().saturating_sub(width) < frame_len {
        return Ok(None);
    }
    arrived.advance(width);
    Ok(Some(arrived.split_to(frame_len).freeze()))
}

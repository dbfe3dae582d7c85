//! How a message stands in an event stream (HTML, "Server-sent events").

use bytes::{BufMut as _, Bytes, BytesMut};

/// Puts a message's bytes into `data` lines, piece by piece.
#[derive(Debug, Default)]
pub(super) struct Framing {
    /// The last byte was a carriage return: a line feed that follows belongs to it.
    returned: bool,
}

/// What stands in front of a message's first byte. Without `id` the stream cannot be resumed behind it.
pub(super) fn head(id: Option<&str>) -> Bytes {
    id.map_or_else(
        || Bytes::from_static(b"event: message\ndata: "),
        |id| format!("event: message\nid: {id}\ndata: ").into(),
    )
}

/// What stands behind its last.
pub(super) const TAIL: &[u8] = b"\n\n";

/// An event that says nothing, from which on a stream can be resumed.
pub(super) fn priming(id: &str, retry_ms: u64) -> Bytes {
    format!("id: {id}\nretry: {retry_ms}\ndata: \n\n").into()
}

/// A line that nobody reads: the connection lives.
pub(super) const COMMENT: &[u8] = b":\n\n";

impl Framing {
    /// The next piece: each end of a line begins another `data`, which the reader puts together with a line feed.
    pub(super) fn put(&mut self, piece: &Bytes) -> Bytes {
        if !self.returned && !piece.iter().any(|byte| is_end(*byte)) {
            return piece.clone();
        }
        let mut out = BytesMut::with_capacity(piece.len().saturating_add(64));
        for byte in piece {
            let follows = std::mem::replace(&mut self.returned, *byte == b'\r');
            match byte {
                b'\n' if follows => {}
                b'\n' | b'\r' => out.put_slice(b"\ndata: "),
                byte => out.put_u8(*byte),
            }
        }
        out.freeze()
    }
}

const fn is_end(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_data_wherever_they_are_cut() {
        let text = b"{\r\n\"a\":\n1\r,2}";
        for cut in 0..=text.len() {
            let (first, second) = text.split_at(cut);
            let mut framing = Framing::default();
            let whole = [framing.put(&Bytes::from_static(first)), framing.put(&Bytes::from_static(second))].concat();
            assert_eq!(whole, b"{\ndata: \"a\":\ndata: 1\ndata: ,2}", "{cut}");
        }
    }
}

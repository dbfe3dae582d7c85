//! Lines of a program's output, each at most as long as a message may be.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Bytes that are read at once.
const PIECE_LEN: usize = 64 << 10;

/// The lines of a source.
pub(super) struct Lines<R> {
    source: R,
    seen: BytesMut,
    /// Bytes of `seen` in which no line ends.
    looked: usize,
    max: usize,
    /// The line is longer than it may be: it is thrown away to its end.
    skips: bool,
    ended: bool,
}

/// A line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Without its end.
    Whole(Bytes),
    /// Longer than it may be; it is not kept.
    TooLong,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(super) fn new(source: R, max: usize) -> Self {
        Self { source, seen: BytesMut::new(), looked: 0, max, skips: false, ended: false }
    }

    /// The next one; `None` behind the last. May be given up while it waits.
    pub(super) async fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            let fresh = self.seen.get(self.looked..).unwrap_or_default();
            if let Some(at) = fresh.iter().position(|byte| *byte == b'\n') {
                let mut line = self.seen.split_to(self.looked.saturating_add(at).saturating_add(1));
                self.looked = 0;
                line.truncate(line.len().saturating_sub(1));
                return Ok(Some(self.line(line)));
            }
            self.looked = self.seen.len();
            if self.looked > self.max.saturating_add(1) {
                self.skips = true;
            }
            if self.skips {
                self.seen.clear();
                self.looked = 0;
            }
            if self.ended {
                let rest = self.seen.split();
                self.looked = 0;
                return Ok((self.skips || !rest.is_empty()).then(|| self.line(rest)));
            }
            self.seen.reserve(PIECE_LEN);
            self.ended = self.source.read_buf(&mut self.seen).await? == 0;
        }
    }

    fn line(&mut self, mut line: BytesMut) -> Line {
        if line.last() == Some(&b'\r') {
            line.truncate(line.len().saturating_sub(1));
        }
        if std::mem::take(&mut self.skips) || line.len() > self.max {
            return Line::TooLong;
        }
        Line::Whole(line.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_end_where_they_end_and_long_ones_are_passed_over() {
        let text = format!("ab\r\n\n{}\n{}\ncd\n{}", "x".repeat(10), "y".repeat(1_000_000), "z".repeat(11));
        for room in [1, 7, 100_000] {
            let (mut there, here) = tokio::io::duplex(room);
            let text = text.clone();
            let writes = tokio::spawn(async move {
                tokio::io::AsyncWriteExt::write_all(&mut there, text.as_bytes()).await.unwrap();
            });
            let mut lines = Lines::new(here, 10);
            let mut all = Vec::new();
            while let Some(line) = lines.next().await.unwrap() {
                assert!(lines.seen.capacity() < 1 << 20);
                all.push(line);
            }
            writes.await.unwrap();
            let whole = |text: &str| Line::Whole(Bytes::copy_from_slice(text.as_bytes()));
            assert_eq!(all, [whole("ab"), whole(""), whole("xxxxxxxxxx"), Line::TooLong, whole("cd"), Line::TooLong]);
        }
    }
}

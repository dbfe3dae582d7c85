//! A message of a program or a service, as it travels.

use std::io::{Cursor, Read};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use nuncio_contracts::registry::limit;
use nuncio_proto::call::Head;
use nuncio_proto::content_type::ContentType;
use tokio::sync::mpsc;

/// A message, its bytes untouched.
#[derive(Clone, Debug)]
pub struct Message {
    /// What of HTTP travels with it.
    pub head: Head,
    /// What the bytes are, by their writer's word.
    pub content_type: ContentType,
    /// The bytes.
    pub body: Body,
}

/// The bytes of a message: short ones in memory, longer ones in a file that goes with the last handle.
#[derive(Clone, Debug)]
pub enum Body {
    /// In memory.
    Bytes(Bytes),
    /// In a file.
    File(Arc<tempfile::TempPath>),
    /// A letter's large payload, all of it here: sealed on disk, opened as it is read.
    Large(nuncio::LargePayload),
}

/// What a message to a service may have, where it is gathered in memory.
pub(crate) fn request_len_max() -> usize {
    usize::try_from(limit::CALL_REQUEST_MAX).unwrap_or(usize::MAX)
}

impl Message {
    /// JSON, without fields.
    #[must_use]
    pub fn json(bytes: impl Into<Bytes>) -> Self {
        Self { head: Head::default(), content_type: ContentType::JSON, body: Body::Bytes(bytes.into()) }
    }

    /// The same message, its bytes in memory: what they were read from may go.
    ///
    /// # Errors
    /// They cannot be read.
    pub(crate) async fn into_memory(self) -> std::io::Result<Self> {
        if self.body.is_in_memory() {
            return Ok(self);
        }
        let (mut bytes, mut pieces) = (bytes::BytesMut::new(), self.body.pieces());
        while let Some(piece) = pieces.recv().await {
            bytes.extend_from_slice(&piece?);
        }
        Ok(Self { body: Body::Bytes(bytes.freeze()), ..self })
    }

    /// Whether its bytes are JSON as RFC 8259 has it: in UTF-8, whatever reads them.
    pub(crate) fn is_json(&self) -> bool {
        let text = self.content_type.as_str();
        let (kind, parameters) = text.split_once(';').map_or((text, None), |(kind, rest)| (kind, Some(rest)));
        let utf8 = |parameters: &str| parameters.trim().eq_ignore_ascii_case("charset=utf-8");
        kind.trim().eq_ignore_ascii_case("application/json") && parameters.is_none_or(utf8)
    }
}

/// Of what is not in memory so much at a time.
const PIECE_LEN: usize = 64 << 10;

impl Body {
    /// Its length in bytes.
    ///
    /// # Errors
    /// The file cannot be looked at.
    pub(crate) fn len(&self) -> std::io::Result<u64> {
        Ok(match self {
            Self::Bytes(bytes) => u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            Self::File(path) => std::fs::metadata::<&Path>(path)?.len(),
            Self::Large(payload) => payload.len(),
        })
    }

    /// Whether reading it never blocks.
    pub(crate) const fn is_in_memory(&self) -> bool {
        matches!(self, Self::Bytes(_))
    }

    /// All of it, in pieces that are read as they are taken; behind an error there is none.
    pub(crate) fn pieces(&self) -> mpsc::Receiver<std::io::Result<Bytes>> {
        let (to, pieces) = mpsc::channel(1);
        match self {
            // There is room for one.
            Self::Bytes(bytes) => drop(to.try_send(Ok(bytes.clone()))),
            body => {
                let body = body.clone();
                drop(tokio::task::spawn_blocking(move || body.read_to(&to)));
            }
        }
        pieces
    }

    fn read_to(&self, to: &mpsc::Sender<std::io::Result<Bytes>>) {
        let mut reader = match self.reader() {
            Ok(reader) => reader,
            Err(error) => return drop(to.blocking_send(Err(error))),
        };
        loop {
            let mut piece = Vec::with_capacity(PIECE_LEN);
            let read = (&mut reader).take(u64::try_from(PIECE_LEN).unwrap_or(1)).read_to_end(&mut piece);
            let goes_on = match read {
                Ok(0) => return,
                Ok(_) => to.blocking_send(Ok(piece.into())).is_ok(),
                Err(error) => {
                    // Whoever took them may have gone.
                    let _ = to.blocking_send(Err(error));
                    false
                }
            };
            if !goes_on {
                return;
            }
        }
    }

    /// Reads it; of a file, blocks.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn reader(&self) -> std::io::Result<Box<dyn Read + Send>> {
        Ok(match self {
            Self::Bytes(bytes) => Box::new(Cursor::new(bytes.clone())),
            Self::File(path) => Box::new(std::fs::File::open::<&Path>(path)?),
            Self::Large(payload) => nuncio::Payload::Large(payload.clone()).reader().map_err(std::io::Error::other)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_utf_8() {
        let is = |kind: &str| Message { content_type: kind.parse().unwrap(), ..Message::json("") }.is_json();
        assert!(is("application/json") && is("Application/JSON") && is("application/json; charset=UTF-8"));
        for other in ["application/json; charset=utf-7", "application/json;charset=utf-16;charset=utf-8", "text/json"] {
            assert!(!is(other), "{other}");
        }
    }
}

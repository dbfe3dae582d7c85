//! A message of a program or a service, as it travels.

use std::io::{Cursor, Read};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use nuncio_proto::call::Head;
use nuncio_proto::content_type::ContentType;

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

impl Message {
    /// JSON, without fields.
    #[must_use]
    pub fn json(bytes: impl Into<Bytes>) -> Self {
        Self { head: Head::default(), content_type: ContentType::JSON, body: Body::Bytes(bytes.into()) }
    }
}

impl Body {
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

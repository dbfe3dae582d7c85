//! What a payload is: a media type, written as its CoAP Content-Format number where the table below has one (RFC 7252 section 12.3).

use core::fmt;
use core::str::FromStr;

use nuncio_contracts::registry::limit;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Content-Format numbers of the types that most letters have; one byte on the wire instead of a dozen.
const NUMBERED: [(u16, &str); 4] = [
    (0, "text/plain;charset=utf-8"),
    (42, "application/octet-stream"),
    (50, "application/json"),
    (60, "application/cbor"),
];

/// A media type of 1 to 127 visible ASCII bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct ContentType(Form);

#[derive(Clone, PartialEq, Eq)]
enum Form {
    Number(u16),
    Text(Box<str>),
}

/// A text that is no media type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a content type is 1 to 127 visible ASCII characters such as text/plain")]
pub struct NotContentType;

impl ContentType {
    /// `text/plain;charset=utf-8`
    pub const TEXT: Self = Self(Form::Number(0));
    /// `application/octet-stream`
    pub const BYTES: Self = Self(Form::Number(42));
    /// `application/json`
    pub const JSON: Self = Self(Form::Number(50));
    /// `application/cbor`
    pub const CBOR: Self = Self(Form::Number(60));

    /// The media type as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Form::Number(number) => NUMBERED.iter().find(|(n, _)| n == number).map_or("", |(_, text)| text),
            Form::Text(text) => text,
        }
    }
}

impl FromStr for ContentType {
    type Err = NotContentType;

    fn from_str(text: &str) -> Result<Self, NotContentType> {
        if let Some((number, _)) = NUMBERED.iter().find(|(_, name)| *name == text) {
            return Ok(Self(Form::Number(*number)));
        }
        let visible = text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
        if text.is_empty() || text.len() > limit::CONTENT_TYPE_LEN_MAX || !visible {
            return Err(NotContentType);
        }
        Ok(Self(Form::Text(text.into())))
    }
}

impl fmt::Display for ContentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for ContentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentType({})", self.as_str())
    }
}

impl Serialize for ContentType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Form::Number(number) => serializer.serialize_u16(*number),
            Form::Text(text) => serializer.serialize_str(text),
        }
    }
}

impl<'de> Deserialize<'de> for ContentType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberOrText;
        impl Visitor<'_> for NumberOrText {
            type Value = ContentType;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a content format number or a media type")
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<ContentType, E> {
                let known = NUMBERED.iter().find(|(n, _)| u64::from(*n) == number);
                known.map(|(n, _)| ContentType(Form::Number(*n))).ok_or_else(|| E::custom("unknown content format"))
            }

            // A numbered type spelled as text parses to its number and then fails the codec's comparison: one type, one spelling.
            fn visit_str<E: Error>(self, text: &str) -> Result<ContentType, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(NumberOrText)
    }
}

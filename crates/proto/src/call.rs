//! What a letter says of the call that it is part of (contracts/call.md section 1): the value of an extension.

use core::fmt;
use core::str::FromStr;

use nuncio_contracts::registry::{extension, limit};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use crate::codec;
use crate::ids::CallSessionId;
use crate::letter::{Extension, Letter, LetterKind};

/// What a message is in its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum What {
    /// The caller's message that wants an answer.
    Request,
    /// The caller's message that wants none.
    Notice,
    /// The service's message that belongs to a request, which goes on.
    Part,
    /// The service's last message to a request.
    Answer,
    /// The service's message that belongs to no request.
    Aside,
    /// The session is over.
    End,
}

const WHATS: [What; 6] = [What::Request, What::Notice, What::Part, What::Answer, What::Aside, What::End];

impl What {
    const fn number(self) -> u8 {
        match self {
            Self::Request => 1,
            Self::Notice => 2,
            Self::Part => 3,
            Self::Answer => 4,
            Self::Aside => 5,
            Self::End => 6,
        }
    }

    /// Whether it is the caller's to say: `None` of what either may.
    #[must_use]
    pub const fn is_callers(self) -> Option<bool> {
        match self {
            Self::Request | Self::Notice => Some(true),
            Self::Part | Self::Answer | Self::Aside => Some(false),
            Self::End => None,
        }
    }
}

/// The name under which an agent offers a service to others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceName(String);

/// Why a text names no service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a service's name is 1 to {} of a-z, 0-9, '-', '_' and '.', the first a letter or digit",
    limit::CALL_SERVICE_LEN_MAX
)]
pub struct NotServiceName;

impl ServiceName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ServiceName {
    type Err = NotServiceName;

    // contracts/call.md X2.
    fn from_str(text: &str) -> Result<Self, NotServiceName> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let whole = text.bytes().all(|byte| plain(byte) || matches!(byte, b'-' | b'_' | b'.'));
        let good = whole && text.bytes().next().is_some_and(plain) && text.len() <= limit::CALL_SERVICE_LEN_MAX;
        if good { Ok(Self(text.to_owned())) } else { Err(NotServiceName) }
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Fields of HTTP that travel with a message, ascending by name, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head(Vec<(String, String)>);

impl Head {
    /// Takes fields, in any order; those of a name that is there already, and those that may not travel, are left out. Names are put in lower case.
    #[must_use]
    pub fn of<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut head = Self::default();
        for (name, value) in fields {
            head.set(name, value);
        }
        head
    }

    /// Puts a field in the stead of the one of its name. `false`, and nothing is put, where it may not travel.
    // contracts/call.md X4.
    pub fn set(&mut self, name: &str, value: &str) -> bool {
        let name = name.to_ascii_lowercase();
        if !is_field(&name, value) {
            return false;
        }
        match self.0.binary_search_by(|(known, _)| known.as_str().cmp(&name)) {
            Ok(at) => self.0.get_mut(at).into_iter().for_each(|field| value.clone_into(&mut field.1)),
            Err(_) if self.0.len() >= limit::CALL_FIELDS_MAX => return false,
            Err(at) => self.0.insert(at, (name, value.to_owned())),
        }
        true
    }

    /// The value of a field; its name in lower case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// All fields.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    fn read(fields: Vec<(String, String)>) -> Option<Self> {
        let ascending = fields.windows(2).all(|pair| matches!(pair, [a, b] if a.0 < b.0));
        let good = fields.len() <= limit::CALL_FIELDS_MAX && fields.iter().all(|(name, value)| is_field(name, value));
        (ascending && good).then_some(Self(fields))
    }
}

fn is_field(name: &str, value: &str) -> bool {
    let special = matches!(name, ":method" | ":path" | ":status");
    // RFC 9110 section 5.6.2's token, without upper case.
    let token = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let named = special || (1..=limit::CALL_FIELD_NAME_MAX).contains(&name.len()) && name.bytes().all(token);
    let printable = value.bytes().all(|byte| (0x20..=0x7e).contains(&byte));
    named && printable && value.len() <= limit::CALL_FIELD_LEN_MAX && value.trim_matches(' ') == value
}

/// Of which call a letter is, and what it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallPlace {
    /// What it is.
    pub what: What,
    /// Of which service.
    pub service: ServiceName,
    /// In which session, where there is one.
    pub session: Option<CallSessionId>,
    /// What of HTTP travels with it.
    pub head: Head,
}

#[derive(Serialize, Deserialize)]
struct Wire(u8, String, Option<ByteArray<16>>, Vec<(String, String)>);

impl CallPlace {
    /// The call of which a letter is part: `None` of one that is of none, an error where it cannot be read or does not fit its letter.
    ///
    /// # Errors
    /// The extension has another form, or stands in a letter in which it must not.
    // contracts/call.md X1 to X4.
    #[expect(clippy::result_unit_err, reason = "there is one way to be wrong, and its caller names it")]
    pub fn of(letter: &Letter) -> Result<Option<Self>, ()> {
        let Some(value) = letter.extension(extension::CALL) else { return Ok(None) };
        Self::parse(value).filter(|place| place.fits(letter)).map(Some).ok_or(())
    }

    /// Reads the extension's value; `None` for any other form. What of its letter it does not fit is not seen.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let Wire(what, service, session, head) = codec::decode(value, limit::CALL_LEN_MAX).ok()?;
        let what = WHATS.into_iter().find(|known| known.number() == what)?;
        let session = session.map(|id| CallSessionId::from_bytes(id.into_array()));
        Some(Self { what, service: service.parse().ok()?, session, head: Head::read(head)? })
    }

    fn fits(&self, letter: &Letter) -> bool {
        let others = [extension::CHANNEL, extension::HISTORY].iter().any(|number| letter.extension(*number).is_some());
        let answers = match self.what {
            What::Request | What::Aside | What::End => letter.reply_to.is_none(),
            What::Part | What::Answer => letter.reply_to.is_some(),
            What::Notice => true,
        };
        let placed = !matches!(self.what, What::Aside | What::End) || self.session.is_some();
        let empty =
            self.what != What::End || letter.payload.is_empty() && letter.extension(extension::LARGE_PAYLOAD).is_none();
        letter.kind == LetterKind::Plain && !others && answers && placed && empty
    }

    /// The extension; `None` where its fields together are longer than they may be.
    #[must_use]
    pub fn extension(&self) -> Option<Extension> {
        self.value().map(|value| Extension { number: extension::CALL, critical: true, value })
    }

    /// The extension's value; `None` as [`CallPlace::extension`].
    #[must_use]
    pub fn value(&self) -> Option<Vec<u8>> {
        let session = self.session.map(|id| ByteArray::new(*id.as_bytes()));
        let value = codec::encode(&Wire(self.what.number(), self.service.0.clone(), session, self.head.0.clone()));
        (value.len() <= limit::CALL_LEN_MAX).then_some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::{Head, ServiceName};

    #[test]
    fn names_of_services_are_short_and_plain() {
        for good in ["files", "a", "0x", "a.b-c_d", &"a".repeat(64)] {
            assert!(good.parse::<ServiceName>().is_ok(), "{good}");
        }
        for bad in ["", "-a", ".a", "_", "Files", "a/b", "a b", "ä", &"a".repeat(65)] {
            assert!(bad.parse::<ServiceName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_cannot_travel_is_left_out() {
        let mut head = Head::of([("B", "2"), ("a", "1"), ("b", "3"), ("bad name", "x"), ("c", "line\n")]);
        assert_eq!(head.iter().collect::<Vec<_>>(), [("a", "1"), ("b", "3")]);
        assert!(head.set(":status", "404") && !head.set(":other", "1") && !head.set("d", " 1"));
        assert_eq!((head.get(":status"), head.get("c")), (Some("404"), None));
        for no in 0..40 {
            head.set(&format!("x-{no}"), "");
        }
        assert_eq!(head.iter().count(), 24);
    }
}

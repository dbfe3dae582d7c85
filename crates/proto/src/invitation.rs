//! One line to paste to the other side: who, where, and the hash of its bundle.
//!
//! `nuncio:did:key:z6Mk…?at=198.51.100.7:4433&bundle=…`

use core::fmt;
use core::str::FromStr;

use crate::ids::{AgentId, IdError};
use crate::knock::KnockSecret;
use crate::mailbox::Mailbox;
use data_encoding::BASE64URL_NOPAD;
use nuncio_contracts::registry::limit;

const SCHEME: &str = "nuncio:";
/// Longest line that is looked at.
const LINE_LEN_MAX: usize = 4_096;

/// What of a line is no invitation's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotInvitation {
    /// Its length or its characters.
    #[error("not an invitation: it is one line of at most 4,096 visible ASCII characters")]
    Line,
    /// What it begins with.
    #[error("not an invitation: it does not begin with nuncio:")]
    Scheme,
    /// Who is invited to.
    #[error("not an invitation: the DID behind nuncio: is wrong: {0}")]
    Did(IdError),
    /// Where.
    #[error("not an invitation: an address (at=) is not HOST:PORT, or there are too many")]
    Address,
    /// The hash of the bundle.
    #[error("not an invitation: the bundle hash (bundle=) is not 43 characters of base64url, or is there twice")]
    Bundle,
    /// Where its mailbox is.
    #[error("not an invitation: the mailbox (mailbox=) is not did:key:…@HOST:PORT, or is there twice")]
    Mailbox,
    /// What lets its bearer in.
    #[error("not an invitation: what lets you in (knock=) is not 22 characters of base64url, or is there twice")]
    Knock,
    /// A part that is no `name=value`.
    #[error("not an invitation: a part behind the ? has no =")]
    Part,
}

/// Who an agent is and where it is reached. It holds no secret, but where it lets its bearer in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// Who.
    pub agent: AgentId,
    /// `host:port` to dial; may be empty.
    pub endpoints: Vec<String>,
    /// Where frames wait for it while it is away, and where its bundle is claimed.
    pub mailbox: Option<Mailbox>,
    /// Hash of its bundle when the invitation was made.
    pub bundle_hash: Option<[u8; 32]>,
    /// What lets its bearer in.
    pub knock: Option<KnockSecret>,
}

impl fmt::Display for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.agent)?;
        let at = self.endpoints.iter().map(|endpoint| format!("at={endpoint}"));
        let bundle = self.bundle_hash.iter().map(|hash| format!("bundle={}", BASE64URL_NOPAD.encode(hash)));
        let mailbox = self.mailbox.iter().map(|mailbox| format!("mailbox={mailbox}"));
        let knock = self.knock.iter().map(|secret| format!("knock={}", BASE64URL_NOPAD.encode(secret.expose())));
        for (i, part) in at.chain(mailbox).chain(bundle).chain(knock).enumerate() {
            write!(f, "{}{part}", if i == 0 { '?' } else { '&' })?;
        }
        Ok(())
    }
}

impl FromStr for Invitation {
    type Err = NotInvitation;

    fn from_str(line: &str) -> Result<Self, NotInvitation> {
        // contracts/identity.md I11: of white space only what a terminal or a file puts there.
        let line = line.trim_matches([' ', '\t', '\r', '\n']);
        if line.len() > LINE_LEN_MAX || !line.bytes().all(|byte| (0x21..0x7f).contains(&byte)) {
            return Err(NotInvitation::Line);
        }
        let rest = line.strip_prefix(SCHEME).ok_or(NotInvitation::Scheme)?;
        let (did, query) = rest.split_once('?').unwrap_or((rest, ""));
        let agent = did.parse().map_err(NotInvitation::Did)?;
        let mut invitation = Self { agent, endpoints: Vec::new(), mailbox: None, bundle_hash: None, knock: None };
        query.split('&').filter(|part| !part.is_empty()).try_for_each(|part| invitation.take(part))?;
        Ok(invitation)
    }
}

impl Invitation {
    /// Takes one `name=value`. Names of later versions are passed over.
    fn take(&mut self, part: &str) -> Result<(), NotInvitation> {
        match part.split_once('=').ok_or(NotInvitation::Part)? {
            ("at", endpoint) => {
                if !is_endpoint(endpoint) || self.endpoints.len() >= limit::ENDPOINTS_MAX {
                    return Err(NotInvitation::Address);
                }
                self.endpoints.push(endpoint.to_owned());
            }
            ("bundle", hash) => {
                let hash = BASE64URL_NOPAD.decode(hash.as_bytes()).ok().and_then(|hash| hash.try_into().ok());
                let hash = hash.filter(|_| self.bundle_hash.is_none());
                self.bundle_hash = Some(hash.ok_or(NotInvitation::Bundle)?);
            }
            // contracts/identity.md I17.
            ("mailbox", mailbox) => {
                let mailbox = mailbox.parse().ok().filter(|_| self.mailbox.is_none());
                self.mailbox = Some(mailbox.ok_or(NotInvitation::Mailbox)?);
            }
            // contracts/identity.md I18.
            ("knock", secret) => {
                let secret = BASE64URL_NOPAD.decode(secret.as_bytes()).ok().and_then(|secret| secret.try_into().ok());
                let secret = secret.filter(|_| self.knock.is_none()).ok_or(NotInvitation::Knock)?;
                self.knock = Some(KnockSecret::new(secret));
            }
            _ => {}
        }
        Ok(())
    }
}

/// `host:port`, with a port as numbers are written: no sign and no zero in front.
pub(crate) fn is_endpoint(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let plain = port.bytes().all(|byte| byte.is_ascii_digit()) && !port.starts_with('0');
    !host.is_empty() && plain && port.parse::<u16>().is_ok() && text.len() <= limit::ENDPOINT_LEN_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    const DID: &str = "did:key:z6MkehRgf7yJbgaGfYsdoAsKdBPE3dj2CYhowQdcjqSJgvVd";

    #[test]
    fn a_line_comes_back_as_it_was_printed() {
        let line = format!(
            "nuncio:{DID}?at=127.0.0.1:4433&at=[::1]:4433&mailbox={DID}@h:1&bundle={}",
            BASE64URL_NOPAD.encode(&[7; 32])
        );
        assert_eq!(line.parse::<Invitation>().unwrap().to_string(), line);
        let bare: Invitation = format!("nuncio:{DID}").parse().unwrap();
        assert_eq!((bare.endpoints.len(), bare.bundle_hash), (0, None));
    }

    #[test]
    fn a_damaged_line_is_refused_by_its_part() {
        use NotInvitation::{Address, Bundle, Did, Line, Mailbox, Part, Scheme};
        let hash = BASE64URL_NOPAD.encode(&[7; 32]);
        for (line, why) in [
            (DID.to_owned(), Scheme),
            (format!("nuncio:{DID}?at=nowhere"), Address),
            (format!("nuncio:{DID}?at=host:70000"), Address),
            (format!("nuncio:{DID}?at=a b:1"), Line),
            (format!("nuncio:{DID}?bundle=short"), Bundle),
            (format!("nuncio:{DID}?bundle={hash}&bundle={hash}"), Bundle),
            (format!("nuncio:{DID}?mailbox=h:1"), Mailbox),
            (format!("nuncio:{DID}?mailbox={DID}@h:1&mailbox={DID}@h:1"), Mailbox),
            (format!("nuncio:{DID}?at"), Part),
            (format!("nuncio:{DID}x"), Did(IdError::NotEd25519)),
            ("nuncio:did:web:x".to_owned(), Did(IdError::NotDidKey)),
            (format!("nuncio:{DID}?{}", "at=h:1&".repeat(9)), Address),
            ("x".repeat(5_000), Line),
        ] {
            assert_eq!(line.parse::<Invitation>(), Err(why), "{line}");
        }
    }
}

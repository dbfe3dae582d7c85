//! A lasting permission to use a service, which its holder may narrow and hand on (contracts/permit.md).
//!
//! ```text
//!   giver ─ signs ─► link ─ its holder signs ─► link ─ its holder signs ─► link
//!                    scope ⊇                    scope ⊇                    scope     what counts
//!                    until ≥                    until ≥                    until
//!                    further >                  further >                  further
//! ```

use core::fmt;
use core::str::FromStr;

use data_encoding::BASE64URL_NOPAD;
use nuncio_contracts::registry::{label, limit};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use crate::call::ServiceName;
use crate::codec::{self, CodecError};
use crate::crypto::{self, CryptoError};
use crate::identity::Identity;
use crate::ids::{AgentId, IdError, PermitId};
use crate::time::UnixMillis;
use crate::token::Scope;

const SCHEME: &str = "nuncio-permit:";
/// Longest line that is looked at: all bytes in base64, and room for white space.
const LINE_LEN_MAX: usize = 2 * limit::PERMIT_LEN_MAX;

/// Why bytes or a line are no permit, or none can be made so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotPermit {
    /// Not canonical, or too long.
    #[error("not a permit: {0}")]
    Codec(#[from] CodecError),
    /// Not `nuncio-permit:` and base64url.
    #[error("not a permit: it is one line that begins with nuncio-permit:")]
    Line,
    /// The giver or a holder is no agent.
    #[error("not a permit: {0}")]
    Id(#[from] IdError),
    /// The name of the service.
    #[error("not a permit: it is for no service")]
    Service,
    /// None, or too many.
    #[error("a permit has 1 to {} links, the first as far to be handed on as there is room", limit::PERMIT_LINKS_MAX)]
    Links,
    /// No list of scopes, or one in another order, or none at all.
    #[error("a permit has at least one scope")]
    Scope,
    /// More than the link above allows.
    #[error("a link of a permit allows no more than the one above: its scopes, not longer, and handed on less often")]
    Wider,
    /// A link that its giver has not signed.
    #[error("not a permit: {0}")]
    Crypto(#[from] CryptoError),
}

/// Why a permit allows nothing to who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotAllowed {
    /// Another agent gave it than who is asked.
    #[error("the permit is another agent's")]
    Giver,
    /// It is for another holder than who asks.
    #[error("the permit is for another holder")]
    Holder,
    /// It is for another service.
    #[error("the permit is for another service")]
    Service,
    /// Its time is over.
    #[error("the permit's time is over")]
    Over,
    /// A link of it was revoked.
    #[error("a link of the permit was revoked")]
    Revoked,
}

/// What one link says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Who may.
    pub holder: AgentId,
    /// What; never empty.
    pub scope: Scope,
    /// From when on no more.
    pub until: UnixMillis,
    /// How many links may follow.
    pub further: u8,
}

/// A link whose signature is verified, and that is narrower than the one above it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// What it says.
    pub terms: Terms,
    signature: [u8; 64],
    digest: [u8; 32],
}

impl Link {
    /// By what it is revoked.
    #[must_use]
    pub fn id(&self) -> PermitId {
        PermitId::from_bytes(self.digest.first_chunk().copied().unwrap_or_default())
    }
}

/// A permit whose links are all verified: one that is not has no type. When it is over, or for whom it is, is asked each time ([`Permit::allows`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permit {
    giver: AgentId,
    service: ServiceName,
    first: Vec<Link>,
    last: Link,
}

/// Who asks whom for what.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The agent that serves.
    pub giver: &'a AgentId,
    /// The session's peer.
    pub holder: &'a AgentId,
    /// The service.
    pub service: &'a ServiceName,
    /// When.
    pub now: UnixMillis,
}

#[derive(Serialize, Deserialize)]
struct Wire(ByteArray<32>, String, Vec<LinkWire>);
#[derive(Serialize, Deserialize)]
struct LinkWire(ByteArray<32>, String, u64, u8, ByteArray<64>);
#[derive(Serialize)]
struct Body<'a>(ByteArray<32>, &'a str, Option<ByteArray<32>>, ByteArray<32>, String, u64, u8);

impl Permit {
    /// Gives a permit.
    ///
    /// # Errors
    /// [`NotPermit::Scope`], [`NotPermit::Links`], [`NotPermit::Codec`]: nobody would take it.
    pub fn give(giver: &Identity, service: ServiceName, terms: Terms) -> Result<Self, NotPermit> {
        let head = Head { giver: giver.id(), service: &service };
        let last = head.sign(giver, None, terms)?;
        Self { giver: giver.id(), service, first: Vec::new(), last }.bounded()
    }

    /// Hands it on, narrower. `holder` is the holder of its last link.
    ///
    /// # Errors
    /// [`NotPermit::Wider`], also where it is not to be handed on; [`NotPermit::Crypto`] of another than its holder; as [`Permit::give`].
    pub fn narrow(&self, holder: &Identity, terms: Terms) -> Result<Self, NotPermit> {
        if holder.id() != *self.holder() {
            return Err(CryptoError::BadSignature.into());
        }
        let head = Head { giver: self.giver, service: &self.service };
        let last = head.sign(holder, Some(&self.last), terms)?;
        let first = self.links().cloned().collect();
        Self { first, last, service: self.service.clone(), ..*self }.bounded()
    }

    /// Reads a permit and verifies all of its links.
    ///
    /// # Errors
    /// The first rule that it breaks.
    // contracts/permit.md P1 to P5.
    pub fn parse(bytes: &[u8]) -> Result<Self, NotPermit> {
        let Wire(giver, service, wires) = codec::decode(bytes, limit::PERMIT_LEN_MAX)?;
        let giver = AgentId::from_bytes(giver.into_array())?;
        let service: ServiceName = service.parse().map_err(|_| NotPermit::Service)?;
        if wires.len() > limit::PERMIT_LINKS_MAX {
            return Err(NotPermit::Links);
        }
        let mut first: Vec<Link> = Vec::with_capacity(wires.len());
        for wire in wires {
            let link = Head { giver, service: &service }.read(first.last(), wire)?;
            first.push(link);
        }
        let last = first.pop().ok_or(NotPermit::Links)?;
        Ok(Self { giver, service, first, last })
    }

    /// The bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let wire = |link: &Link| {
            let Terms { holder, scope, until, further } = &link.terms;
            let (holder, signature) = (ByteArray::new(*holder.as_bytes()), ByteArray::new(link.signature));
            LinkWire(holder, scope.to_string(), until.0, *further, signature)
        };
        let links = self.links().map(wire).collect();
        codec::encode(&Wire(ByteArray::new(*self.giver.as_bytes()), self.service.to_string(), links))
    }

    /// What it allows to who asks. `is_over` says of a link, by who signed it and its id, whether it counts no more.
    ///
    /// # Errors
    /// Why it allows nothing.
    // contracts/permit.md P7.
    pub fn allows(&self, asked: &Asked<'_>, is_over: impl Fn(&AgentId, &Link) -> bool) -> Result<&Scope, NotAllowed> {
        if self.giver != *asked.giver {
            return Err(NotAllowed::Giver);
        }
        if self.holder() != asked.holder {
            return Err(NotAllowed::Holder);
        }
        if self.service != *asked.service {
            return Err(NotAllowed::Service);
        }
        if self.last.terms.until <= asked.now {
            return Err(NotAllowed::Over);
        }
        if self.signed_links().any(|(by, link)| is_over(by, link)) {
            return Err(NotAllowed::Revoked);
        }
        Ok(&self.last.terms.scope)
    }

    /// Who gave it first: the agent at which it counts.
    #[must_use]
    pub const fn giver(&self) -> &AgentId {
        &self.giver
    }

    /// Whose it is.
    #[must_use]
    pub const fn holder(&self) -> &AgentId {
        &self.last.terms.holder
    }

    /// For which service of the giver's.
    #[must_use]
    pub const fn service(&self) -> &ServiceName {
        &self.service
    }

    /// Its last link: what it allows.
    #[must_use]
    pub const fn last(&self) -> &Link {
        &self.last
    }

    /// Its id: the last link's.
    #[must_use]
    pub fn id(&self) -> PermitId {
        self.last.id()
    }

    /// Its links, the giver's first.
    pub fn links(&self) -> impl DoubleEndedIterator<Item = &Link> {
        self.first.iter().chain([&self.last])
    }

    /// Each link with who signed it.
    pub fn signed_links(&self) -> impl Iterator<Item = (&AgentId, &Link)> {
        [&self.giver].into_iter().chain(self.links().map(|link| &link.terms.holder)).zip(self.links())
    }

    /// Who signed its last link.
    #[must_use]
    pub fn signer(&self) -> &AgentId {
        self.first.last().map_or(&self.giver, |above| &above.terms.holder)
    }

    /// The link above the last.
    #[must_use]
    pub fn above(&self) -> Option<&Link> {
        self.first.last()
    }

    fn bounded(self) -> Result<Self, NotPermit> {
        match self.to_bytes().len() {
            len if len > limit::PERMIT_LEN_MAX => Err(CodecError::TooLong { max: limit::PERMIT_LEN_MAX }.into()),
            _ => Ok(self),
        }
    }
}

/// What all links of a permit stand under.
struct Head<'a> {
    giver: AgentId,
    service: &'a ServiceName,
}

impl Head<'_> {
    fn sign(&self, by: &Identity, above: Option<&Link>, terms: Terms) -> Result<Link, NotPermit> {
        check(above, &terms)?;
        let body = self.body(above, &terms);
        let (signature, digest) = (by.signing().sign(label::PERMIT, &body), digest(&body));
        Ok(Link { terms, signature, digest })
    }

    fn read(&self, above: Option<&Link>, wire: LinkWire) -> Result<Link, NotPermit> {
        let LinkWire(holder, text, until, further, signature) = wire;
        let holder = AgentId::from_bytes(holder.into_array())?;
        // One spelling: ascending.
        let scope = Scope::parse(&text).filter(|scope| scope.to_string() == text).ok_or(NotPermit::Scope)?;
        let terms = Terms { holder, scope, until: UnixMillis(until), further };
        check(above, &terms)?;
        let (body, signature) = (self.body(above, &terms), signature.into_array());
        // contracts/permit.md P4.
        let signer = above.map_or(&self.giver, |above| &above.terms.holder);
        crypto::verify(signer.as_bytes(), label::PERMIT, &body, &signature)?;
        let digest = digest(&body);
        Ok(Link { terms, signature, digest })
    }

    fn body(&self, above: Option<&Link>, terms: &Terms) -> Vec<u8> {
        let agent = |agent: &AgentId| ByteArray::new(*agent.as_bytes());
        let above = above.map(|above| ByteArray::new(above.digest));
        let Terms { holder, scope, until, further } = terms;
        let service = self.service.as_str();
        codec::encode(&Body(agent(&self.giver), service, above, agent(holder), scope.to_string(), until.0, *further))
    }
}

/// Whether a link may stand under the one above it.
// contracts/permit.md P2, P3.
fn check(above: Option<&Link>, terms: &Terms) -> Result<(), NotPermit> {
    if terms.scope.is_empty() {
        return Err(NotPermit::Scope);
    }
    let Some(Link { terms: above, .. }) = above else {
        let fits = usize::from(terms.further) < limit::PERMIT_LINKS_MAX;
        return fits.then_some(()).ok_or(NotPermit::Links);
    };
    let narrower = above.scope.covers(&terms.scope) && terms.until <= above.until && terms.further < above.further;
    narrower.then_some(()).ok_or(NotPermit::Wider)
}

fn digest(body: &[u8]) -> [u8; 32] {
    crypto::sha256(&[label::PERMIT, &[0], body])
}

impl fmt::Display for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", BASE64URL_NOPAD.encode(&self.to_bytes()))
    }
}

impl FromStr for Permit {
    type Err = NotPermit;

    // contracts/permit.md P6.
    fn from_str(line: &str) -> Result<Self, NotPermit> {
        if line.len() > LINE_LEN_MAX {
            return Err(NotPermit::Line);
        }
        let bytes = line.trim_matches([' ', '\t', '\r', '\n']).strip_prefix(SCHEME).ok_or(NotPermit::Line)?;
        Self::parse(&BASE64URL_NOPAD.decode(bytes.as_bytes()).map_err(|_| NotPermit::Line)?)
    }
}

#[cfg(test)]
mod tests;

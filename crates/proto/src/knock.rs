//! What an agent says that nobody has added, to be let in (contracts/call.md section 7).

use core::fmt;

use nuncio_contracts::registry::{label, limit};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use crate::call::ServiceName;
use crate::codec;
use crate::crypto;
use crate::invitation::Invitation;
use crate::token::Scope;

/// What an invitation holds that lets its bearer in: whoever has the line may knock with it.
#[derive(Clone)]
pub struct KnockSecret([u8; 16]);

impl KnockSecret {
    /// Takes the bytes as they are.
    #[must_use]
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes, for the line.
    #[must_use]
    pub const fn expose(&self) -> &[u8; 16] {
        &self.0
    }

    /// By what its maker knows it again, without keeping it.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        crypto::sha256(&[label::KNOCK, &[0], &self.0])
    }
}

impl Drop for KnockSecret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl PartialEq for KnockSecret {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for KnockSecret {}

impl fmt::Debug for KnockSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KnockSecret(..)")
    }
}

/// Who would be let in, and for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Knock {
    /// Who and where: the knocking agent's own invitation.
    pub from: Invitation,
    /// Which service it would use.
    pub service: Option<ServiceName>,
    /// What it would do there.
    pub scope: Scope,
    /// What it has from an invitation.
    pub secret: Option<KnockSecret>,
    /// In which transaction, by its own word.
    pub transaction: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Wire(String, Option<String>, String, Option<ByteArray<16>>, Option<String>);

impl Knock {
    /// The bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let secret = self.secret.as_ref().map(|secret| ByteArray::new(secret.0));
        let (service, scope) = (self.service.as_ref().map(ToString::to_string), self.scope.to_string());
        codec::encode(&Wire(self.from.to_string(), service, scope, secret, self.transaction.clone()))
    }

    /// Reads the bytes; `None` of any other form.
    // contracts/call.md X28.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let Wire(from, service, scope, secret, transaction) = codec::decode(bytes, limit::KNOCK_LEN_MAX).ok()?;
        let invitation: Invitation = from.parse().ok()?;
        let is_plain =
            |text: &str| !text.is_empty() && text.len() <= limit::EVENT_TEXT_MAX && !text.contains(char::is_control);
        let asked = Scope::parse(&scope)?;
        let same = invitation.to_string() == from && invitation.knock.is_none() && asked.to_string() == scope;
        let good = same && transaction.as_deref().is_none_or(is_plain);
        good.then_some(())?;
        Some(Self {
            from: invitation,
            service: service.map(|service| service.parse().ok()).map_or(Some(None), |service| service.map(Some))?,
            scope: asked,
            secret: secret.map(|secret| KnockSecret(secret.into_array())),
            transaction,
        })
    }
}

//! Where frames wait for an agent, and what it gives its peers so that they can leave some (contracts/mailbox.md section 1).

use core::fmt;
use core::str::FromStr;

use nuncio_contracts::registry::limit;

use crate::deposit::DepositKey;
use crate::ids::AgentId;
use crate::invitation::is_endpoint;

/// Where an agent's mailbox is: `did:key:…@host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mailbox {
    /// The node that keeps it.
    pub node: AgentId,
    /// `host:port` at which the node is reached over QUIC.
    pub endpoint: String,
}

/// The text names no mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a mailbox: it is did:key:…@HOST:PORT, of a node")]
pub struct NotMailbox;

/// What an agent gives one peer: where its mailbox is, and by what this peer leaves frames there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// Where.
    pub at: Mailbox,
    /// Of this peer alone.
    pub key: DepositKey,
}

impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.node, self.endpoint)
    }
}

impl FromStr for Mailbox {
    type Err = NotMailbox;

    // contracts/bundle.md B6, identity.md I17.
    fn from_str(text: &str) -> Result<Self, NotMailbox> {
        let plain = text.len() <= limit::ENDPOINT_LEN_MAX && text.bytes().all(|byte| (0x21..0x7f).contains(&byte));
        let (node, endpoint) = text.split_once('@').filter(|_| plain).ok_or(NotMailbox)?;
        let node = node.parse().map_err(|_| NotMailbox)?;
        is_endpoint(endpoint).then(|| Self { node, endpoint: endpoint.to_owned() }).ok_or(NotMailbox)
    }
}

impl Given {
    /// Its bytes: the key, then where.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        [self.key.expose().as_slice(), self.at.to_string().as_bytes()].concat()
    }

    /// Reads them; `None` where they are none.
    // contracts/letter.md L21.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (key, at) = bytes.split_first_chunk::<32>()?;
        let at = core::str::from_utf8(at).ok()?.parse().ok()?;
        Some(Self { at, key: DepositKey::new(*key) })
    }
}

//! What two members tell each other of a channel, in control letters of their session (contracts/channel.md section 10).

use nuncio_contracts::registry::{limit, word};
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};

use crate::codec;
use crate::ids::{AgentId, ChannelId, Seq};
use crate::invitation::is_endpoint;
use crate::mailbox::Mailbox;

/// One word of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// Of which channel.
    pub channel: ChannelId,
    /// What is said.
    pub says: Says,
}

/// What a word says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Says {
    /// An invitation, and what the channel is called now.
    Invited {
        /// [`super::Invite`], as bytes.
        invite: Vec<u8>,
        /// For whoever is to answer it; the record says it later.
        name: String,
    },
    /// A consent, with the invitation that it answers.
    Joined {
        /// [`super::Join`], as bytes.
        join: Vec<u8>,
        /// As it came.
        invite: Vec<u8>,
        /// Where the newcomer is.
        reach: Reach,
    },
    /// Entries of the record, in their order.
    Entries {
        /// As bytes.
        entries: Vec<Vec<u8>>,
        /// Where members are, as far as it is known: a hint, which each of them proves by its key.
        reach: Vec<(AgentId, Reach)>,
    },
    /// Entries are wanted.
    Wanted {
        /// From this number on.
        from: u32,
    },
    /// [`super::Leave`], for the owner.
    Left(Vec<u8>),
    /// [`super::Proposal`], for the owner.
    Proposed(Vec<u8>),
    /// An entry by which its author would be owner, signed by nobody yet: an admin is asked for its support.
    Drafted(Vec<u8>),
    /// [`super::Support`] for it.
    Supported(Vec<u8>),
    /// [`super::SenderKey`], as bytes: secret.
    Key(zeroize::Zeroizing<Vec<u8>>),
    /// Everything of the other's letters below this number is here, or will never be.
    Acked(Seq),
    /// The owner asks a member to be the next.
    Offered,
    /// [`super::Heir`], for the owner.
    Accepted(Vec<u8>),
    /// Nothing of this agent's own letters below this number is sent any more.
    Floor(Seq),
}

/// Where an agent is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// `host:port` to dial.
    pub endpoints: Vec<String>,
    /// Where frames wait for it.
    pub mailbox: Option<Mailbox>,
}

type ReachWire = (Vec<String>, Option<String>);
/// `[word, channel, parts, reach, number, name]`
#[derive(Serialize, Deserialize)]
struct Wire(u8, ByteArray<32>, Vec<ByteBuf>, Vec<(Option<ByteArray<32>>, ReachWire)>, Option<u64>, Option<String>);

impl Reach {
    /// Bytes that it takes in a word, at most.
    pub(crate) fn len(&self) -> usize {
        let texts = self.endpoints.iter().map(String::len);
        let mailbox = self.mailbox.as_ref().map_or(0, |at| at.to_string().len());
        texts.chain([mailbox]).map(|len| len + 3).sum::<usize>() + 40
    }

    fn to_wire(&self) -> ReachWire {
        (self.endpoints.clone(), self.mailbox.as_ref().map(ToString::to_string))
    }

    // contracts/bundle.md B6.
    fn from_wire((endpoints, mailbox): ReachWire) -> Option<Self> {
        let is_bounded = endpoints.len() <= limit::ENDPOINTS_MAX && endpoints.iter().all(|at| is_endpoint(at));
        let mailbox = match mailbox {
            Some(text) => Some(text.parse().ok()?),
            None => None,
        };
        is_bounded.then_some(Self { endpoints, mailbox })
    }
}

impl Word {
    /// The bytes of a control letter.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let one = |bytes: &[u8]| vec![ByteBuf::from(bytes)];
        let none = Vec::new;
        let (what, parts, reach, number, name) = match &self.says {
            Says::Invited { invite, name } => (word::INVITED, one(invite), none(), None, Some(name.clone())),
            Says::Joined { join, invite, reach } => {
                let parts = vec![ByteBuf::from(join.as_slice()), ByteBuf::from(invite.as_slice())];
                (word::JOINED, parts, vec![(None, reach.to_wire())], None, None)
            }
            Says::Entries { entries, reach } => {
                let parts = entries.iter().map(|entry| ByteBuf::from(entry.as_slice())).collect();
                let of = |(agent, reach): &(AgentId, Reach)| (Some(ByteArray::new(*agent.as_bytes())), reach.to_wire());
                (word::ENTRIES, parts, reach.iter().map(of).collect(), None, None)
            }
            Says::Wanted { from } => (word::WANTED, Vec::new(), none(), Some(u64::from(*from)), None),
            Says::Left(bytes) => (word::LEFT, one(bytes), none(), None, None),
            Says::Proposed(bytes) => (word::PROPOSED, one(bytes), none(), None, None),
            Says::Drafted(bytes) => (word::DRAFTED, one(bytes), none(), None, None),
            Says::Supported(bytes) => (word::SUPPORTED, one(bytes), none(), None, None),
            Says::Key(bytes) => (word::SENDER_KEY, one(bytes), none(), None, None),
            Says::Acked(next) => (word::ACKED, Vec::new(), none(), Some(*next), None),
            Says::Offered => (word::OFFERED, Vec::new(), none(), None, None),
            Says::Accepted(bytes) => (word::ACCEPTED, one(bytes), none(), None, None),
            Says::Floor(next) => (word::FLOOR, Vec::new(), none(), Some(*next), None),
        };
        codec::encode(&Wire(what, ByteArray::new(*self.channel.as_bytes()), parts, reach, number, name))
    }

    /// Reads a word; `None` where it is none. What is in it is not looked at.
    // contracts/channel.md C47.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let Wire(what, channel, parts, reach, number, name) = codec::decode(bytes, limit::PAYLOAD_INLINE_MAX).ok()?;
        let parts: Vec<Vec<u8>> = parts.into_iter().map(ByteBuf::into_vec).collect();
        let mut hints = Vec::new();
        let mut own = None;
        for (agent, at) in reach {
            match agent {
                Some(agent) => hints.push((AgentId::from_bytes(agent.into_array()).ok()?, Reach::from_wire(at)?)),
                None if own.is_none() => own = Some(Reach::from_wire(at)?),
                None => return None,
            }
        }
        let says = match (what, number, name, own, hints.is_empty()) {
            (word::ENTRIES, None, None, None, _) if !parts.is_empty() => Says::Entries { entries: parts, reach: hints },
            (word::WANTED, Some(from), None, None, true) if parts.is_empty() => {
                Says::Wanted { from: from.try_into().ok()? }
            }
            (word::ACKED, Some(next), None, None, true) if parts.is_empty() => Says::Acked(next),
            (word::FLOOR, Some(next), None, None, true) if parts.is_empty() => Says::Floor(next),
            (word::OFFERED, None, None, None, true) if parts.is_empty() => Says::Offered,
            (word::JOINED, None, None, Some(reach), true) => {
                let [join, invite] = <[Vec<u8>; 2]>::try_from(parts).ok()?;
                Says::Joined { join, invite, reach }
            }
            (_, None, name, None, true) => {
                let [bytes] = <[Vec<u8>; 1]>::try_from(parts).ok()?;
                match (what, name) {
                    (word::INVITED, Some(name)) if super::change::is_name(&name) => {
                        Says::Invited { invite: bytes, name }
                    }
                    (word::LEFT, None) => Says::Left(bytes),
                    (word::PROPOSED, None) => Says::Proposed(bytes),
                    (word::DRAFTED, None) => Says::Drafted(bytes),
                    (word::SUPPORTED, None) => Says::Supported(bytes),
                    (word::ACCEPTED, None) => Says::Accepted(bytes),
                    (word::SENDER_KEY, None) => Says::Key(zeroize::Zeroizing::new(bytes)),
                    _ => return None,
                }
            }
            _ => return None,
        };
        Some(Self { channel: ChannelId::from_bytes(channel.into_array()), says })
    }
}

//! The local API's JSON, the same for both ends (contracts/openapi/local.yaml).

mod calls;
mod channels;
mod knocks;
mod letters;
mod peers;
mod permits;
mod sessions;
mod status;
mod transactions;

use std::fmt;

pub use calls::{Connection, Connections, NewConnection, Services};
pub use channels::{
    Channel, ChannelAccepted, ChannelCancelled, ChannelChange, ChannelInvitation, ChannelMember, ChannelNamed,
    ChannelTally, Channels, HandedHistory, HandedOver, MemberTold, NewChannel, NewChannelLetter, NewHistory, NewMember,
    NewSuccession, Role, SaidLetter, SaidPage,
};
pub use knocks::{Invited, KnockTold, Knocks, LetIn, LineNamed, LineTold, Lines, NewInvitation, Purpose};
pub use letters::{
    Accepted, Cancelled, Delivery, InboxLetter, InboxPage, LetterState, NewLetter, Outbox, WantedOpening, Way,
};
pub use peers::{Id, Named, NewPeer, Peer, Peers, Retirement};
pub use permits::{KeepPermit, NewNarrower, NewPermit, PermitLink, PermitTold, Permits, Revoked};
use serde::{Deserialize, Serialize};
pub use sessions::{Gap, Missing, Session, Sessions};
pub use status::{Checkup, Commits, Counters, Mailbox, NewBackup, Status, Wire};
pub use transactions::{Grant, NewTransaction, SubjectType, Transaction, Under};

/// Why a request was refused: the body of every answer that is not 2xx.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// A fixed word for programs; `error` where a node answers, as OAuth has it.
    #[serde(alias = "error")]
    pub code: String,
    /// A sentence for people: what is wrong and what to do.
    #[serde(alias = "error_description")]
    pub message: String,
    /// Of a letter that was not delivered: why, as the registry's codes are named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub letter_code: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

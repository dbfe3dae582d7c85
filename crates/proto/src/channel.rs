//! Groups of agents that share letters (contracts/channel.md): sender keys over the pairwise sessions, and a signed, hash-chained record of who is in.
//!
//! ```text
//!   record    entry 0 ◄─ entry 1 ◄─ entry 2 …      each signed by the owner; its hash is an epoch
//!   chains    one for each sender and epoch: ck ─► ck ─► …, handed over whole in pairwise letters, with a MAC key for each recipient
//!   out       letter → padding → body under mk → header → (signature) → a MAC for each      ─► one frame for all, 16 bytes apart
//!   in        tag → MAC → (signature) → header → window (→ Fresh) → mk → body → letter      ─► transcript, order
//! ```
//!
//! No session, store or clock: what travels between two members travels in letters of their session, which the caller sends and opens. Everything that
//! judges borrows the state and gives back what would move; a second call moves it, once the caller has committed.

mod chain;
mod change;
mod entry;
mod frame;
mod header;
mod history;
mod incoming;
mod order;
mod outgoing;
mod place;
mod record;
mod roster;
mod sender_key;
mod statement;
mod transcript;
mod word;

pub use change::{Change, ChangeError};
pub use entry::{Entry, EntryError, Signer};
pub use frame::{ChannelFrame, MAC_LEN, Mac, nonce_of};
pub use header::{Attestation, CHANNEL_HEADER_LEN, ChannelHeader};
pub use history::History;
pub use incoming::{Incoming, KeyError, Moved, Opened, ReceiveError, SenderRows, TakenKey};
pub use order::{Handed, Order, Waiting};
pub use outgoing::{NewChain, Outgoing, SealError, Sealed};
pub use place::ChannelPlace;
pub use record::{Fork, Judged, Next, Record, RecordError};
pub use roster::{Member, Roster};
pub(crate) use sender_key::forge;
pub use sender_key::{SenderKey, SenderKeyError};
pub use statement::{Heir, Invite, Join, Leave, Proposal, StatementError, Support};
pub use transcript::{Equivocation, Transcript};
pub use word::{Reach, Says, Word};

//! Sealed letters between agents: the embeddable runtime.
//!
//! An [`Agent`] owns a home directory with its identity, sessions and letters. Letters are sealed end to end, on disk before they are sent, and
//! delivered once and in order through crashes of either side.
//!
//! Two agents in one process:
//!
//! ```
//! # async fn run(dir: &std::path::Path) -> Result<(), Box<dyn std::error::Error>> {
//! use nuncio::{Agent, Config, Message};
//!
//! let home = |name| Config::new(dir.join(name)).listen(([127, 0, 0, 1], 0).into()).letters_without_token();
//! let alice = Agent::open(home("alice")).await?;
//! let bob = Agent::open(home("bob")).await?;
//! alice.add_peer(&bob.invitation().await?, Some("bob")).await?;
//! bob.add_peer(&alice.invitation().await?, Some("alice")).await?;
//!
//! let id = alice.send(bob.id(), Message::text("hello")).await?;
//! let letter = bob.inbox().await?.next().await?;
//! assert_eq!(letter.payload.text()?, "hello");
//! bob.done(letter.no).await?;
//! alice.delivered(bob.id(), id).await?;
//! # alice.shutdown().await?; bob.shutdown().await?; Ok(())
//! # }
//! # let dir = tempfile::tempdir().unwrap();
//! # tokio::runtime::Runtime::new().unwrap().block_on(run(dir.path())).unwrap();
//! ```
//!
//! The protocol is in `nuncio-proto`, which can be used alone; this crate adds the store (sled), the transport (QUIC) and one actor between them.

mod actor;
mod admission;
mod agent;
mod answer;
mod aside;
mod backlog;
mod behind;
mod calling;
mod calls;
mod channels;
mod chunks;
mod command;
mod config;
mod connections;
mod depositing;
mod dial;
mod effects;
mod entropy;
mod error;
mod exchange;
mod fetching;
mod history;
mod home;
mod inbox;
mod kept;
mod knocks;
mod lines;
mod links;
mod mailbox;
mod message;
mod missing;
mod node;
mod payloads;
mod peers;
mod permits;
mod queries;
mod said;
mod sharing;
mod spool;
mod status;
mod tally;
mod transaction;
mod trust;
mod upkeep;
mod wake;

pub use admission::{Admission, Coming};
pub use agent::Agent;
pub use answer::HeldAnswer;
pub use calls::{Added, Asked, CALL_MEMORY_MAX, CALL_NOTE_MAX, CallNews, CallWatch, Called, Outcome};
pub use channels::{ChannelInfo, ChannelInvitation, ChannelMember, ChannelNews, ChannelWatch, Happened, Role};
#[doc(hidden)]
pub use config::Trace;
pub use config::{Config, TrustDomain, Unlock};
pub use error::Error;
pub use history::{HandedHistory, HandedOver};
pub use home::{init, init_with, retirement_of};
pub use inbox::Inbox;
pub use kept::Kept;
pub use knocks::{Knocked, Meant};
pub use lines::{Line, LineId};
pub use message::{Incoming, LargePayload, Message, Payload};
pub use missing::{Among, Missing, MissingWatch};
pub use nuncio_proto::audit::Opening;
pub use nuncio_proto::peer::{AuditPolicy, Auditing, ChannelError, Mistake, PeerNames, PermitError, Way, WhenFull};
pub use permits::NewPermit;
pub use queries::{Answered, Queried, Queries, Query};
pub use said::Said;
pub use status::{Gap, MailboxStatus, PeerInfo, SessionInfo, Status, Undelivered};
pub use tally::{Tally, Told};
pub use transaction::{Grant, Subject, Transaction};

pub use nuncio_proto::call::{CallPlace, Head, NotServiceName, ServiceName, What};
pub use nuncio_proto::content_type::ContentType;
pub use nuncio_proto::ids::{AgentId, CallSessionId, ChannelId, LetterId, PermitId, SessionId};
pub use nuncio_proto::invitation::{Invitation, NotInvitation};
pub use nuncio_proto::mailbox::Mailbox;
pub use nuncio_proto::permit::{NotPermit, Permit};
pub use nuncio_proto::time::UnixMillis;
pub use nuncio_proto::token::{Receiver, Rule, Scope};
pub use nuncio_transport::AwsLc;

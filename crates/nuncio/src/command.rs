//! What a handle asks of the actor.

use std::convert::Infallible;

use nuncio_proto::audit::PairKey;
use nuncio_proto::ids::{AgentId, LetterId};
use nuncio_proto::letter::Letter;
use nuncio_proto::mailbox::Mailbox;
use nuncio_proto::peer::{ContactInfo, Way};
use tokio::sync::{mpsc, oneshot, watch};

use crate::answer::HeldAnswer;
use crate::calls::CallCommand;
use crate::channels::Asked;
use crate::chunks::Unsent;
use crate::error::Error;
use crate::kept::Kept;
use crate::knocks::KnockCommand;
use crate::message::Incoming;
use crate::missing::Missing;
use crate::permits::PermitCommand;
use crate::status::{PeerInfo, SessionInfo, Status};
use nuncio_proto::invitation::Invitation;

/// Where the answer goes. A caller that no longer waits is not an error.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, Error>>;

#[derive(Debug)]
pub(crate) enum Command {
    Send {
        to: AgentId,
        letter: Box<Letter>,
        payload: Option<Unsent>,
        reply: Reply<LetterId>,
    },
    UnderWay {
        reply: Reply<Vec<(AgentId, LetterId, Option<Way>)>>,
    },
    Cancel {
        to: AgentId,
        id: LetterId,
        reply: Reply<bool>,
    },
    PayloadSent {
        to: AgentId,
        id: LetterId,
        reply: Reply<Option<(u64, u64)>>,
    },
    PairKey {
        with: AgentId,
        reply: Reply<Option<PairKey>>,
    },
    AwaitDelivery {
        to: AgentId,
        id: LetterId,
        reply: Reply<()>,
    },
    /// `gone` ends when nobody waits for the answer any more.
    Request {
        to: AgentId,
        letter: Box<Letter>,
        payload: Option<Unsent>,
        reply: Reply<HeldAnswer>,
        gone: oneshot::Receiver<Infallible>,
    },
    Subscribe {
        reply: Reply<mpsc::UnboundedReceiver<Incoming>>,
    },
    Letters {
        after: Option<u64>,
        max: usize,
        reply: Reply<Vec<Incoming>>,
    },
    Arrivals {
        reply: Reply<watch::Receiver<u64>>,
    },
    Done {
        no: u64,
        reply: Reply<bool>,
    },
    Invite {
        reply: Reply<Invitation>,
    },
    AddPeer {
        agent: AgentId,
        info: ContactInfo,
        mailbox: Option<Mailbox>,
        reply: Reply<()>,
    },
    RenewMailbox {
        reply: Reply<()>,
    },
    RemovePeer {
        agent: AgentId,
        reply: Reply<bool>,
    },
    Retire {
        statement: Vec<u8>,
        reply: Reply<AgentId>,
    },
    Peers {
        reply: Reply<Vec<PeerInfo>>,
    },
    Sessions {
        reply: Reply<Vec<SessionInfo>>,
    },
    Status {
        reply: Reply<Status>,
    },
    Channel(Asked),
    Call(CallCommand),
    Knock(KnockCommand),
    Permit(PermitCommand),
    Keep {
        rows: Vec<Kept>,
        reply: Reply<()>,
    },
    Missing {
        reply: Reply<mpsc::UnboundedReceiver<Missing>>,
    },
    Shutdown {
        reply: Reply<()>,
    },
}

//! Frames left at a peer's node, by a key that is made for it and that nobody knows (contracts/mailbox.md section 2).

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use nuncio_contracts::registry::{code, time};
use nuncio_proto::crypto::SigningKey;
use nuncio_proto::deposit::{Deposit, DepositKey};
use nuncio_proto::ids::AgentId;
use nuncio_proto::peer::{Mail, Mailed};
use nuncio_transport::{CloseCode, Connection, Link, LinkConfig, StreamKind};

use crate::dial;
use crate::entropy;

/// How long a node may take to answer one deposit.
const PATIENCE: Duration = Duration::from_millis(time::REQUEST_PATIENCE);

/// How a try to leave frames ended.
#[derive(Debug)]
pub(crate) struct Deposited {
    /// Those that the node keeps.
    pub(crate) kept: Vec<Mailed>,
    /// All of them were acknowledgements alone.
    pub(crate) acks_alone: bool,
    /// Why the others are not there.
    pub(crate) failed: Option<NotKept>,
}

/// Why a node does not keep a frame.
#[derive(Debug)]
pub(crate) enum NotKept {
    /// The key, where there was one, is none of the recipient's any more.
    Denied(Option<DepositKey>),
    /// It may be kept later: there is no room, or nobody to ask.
    Later(String),
}

/// Leaves frames, one after the other, until one is not kept.
pub(crate) async fn deposit(to: AgentId, mail: Mail) -> Deposited {
    let (mut kept, acks_alone) = (Vec::new(), mail.acks_alone);
    let failed = leave(to, mail, &mut kept).await.err();
    Deposited { kept, acks_alone, failed }
}

async fn leave(to: AgentId, mail: Mail, kept: &mut Vec<Mailed>) -> Result<(), NotKept> {
    let (link, connection) = connect(&mail).await.map_err(NotKept::Later)?;
    let mut left = Ok(());
    for (frame, mailed) in mail.frames {
        left = match one(&connection, to, mail.key.clone(), frame).await {
            Ok(0) => {
                kept.push(mailed);
                Ok(())
            }
            Ok(code::DEPOSIT_DENIED) => Err(NotKept::Denied(mail.key.clone())),
            Ok(code) => Err(NotKept::Later(format!("its mailbox answers {}", code::name(code)))),
            Err(reason) => Err(NotKept::Later(reason)),
        };
        if left.is_err() {
            break;
        }
    }
    link.close(CloseCode::CLOSED, "done").await;
    left
}

/// A connection under a key of its own, on a socket of its own.
// contracts/mailbox.md section 2.
async fn connect(mail: &Mail) -> Result<(Link, Connection), String> {
    let key = SigningKey::from_seed(&entropy::random().map_err(|error| error.to_string())?);
    let endpoint = &mail.at.endpoint;
    let addresses = tokio::net::lookup_host(endpoint.as_str()).await.map_err(|error| format!("{endpoint}: {error}"))?;
    let mut last = format!("{endpoint}: no address");
    for address in addresses {
        let any: SocketAddr =
            if address.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
        let link = Link::bind(LinkConfig::new(any), &key).map_err(|error| error.to_string())?;
        match dial::round(&link, mail.at.node, &[address.to_string()]).await {
            Ok(connection) => return Ok((link, connection)),
            Err(reason) => last = reason,
        }
    }
    Err(last)
}

async fn one(connection: &Connection, to: AgentId, key: Option<DepositKey>, frame: Vec<u8>) -> Result<u16, String> {
    let deposit = Deposit::new(vec![(to, key)], frame).map_err(|error| error.to_string())?;
    let asked = async {
        let (mut send, mut recv) = connection.open(StreamKind::Deposit).await.map_err(|error| error.to_string())?;
        send.write_all(&deposit.to_bytes()).await.map_err(|error| error.to_string())?;
        send.finish().map_err(|error| error.to_string())?;
        recv.read_to_end(2).await.map_err(|error| error.to_string())
    };
    let answer = tokio::time::timeout(PATIENCE, asked).await.map_err(|_| "its node did not answer in time")?;
    let closed = |error| connection.close_reason().map_or(error, |reason| reason.to_string());
    let code = answer.map_err(closed)?.try_into().map_err(|_| "its node answers something else than a code")?;
    Ok(u16::from_be_bytes(code))
}

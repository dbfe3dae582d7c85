//! Frames left at a peer's node, by a key that is made for it and that nobody knows (contracts/mailbox.md section 2).

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use nuncio_contracts::registry::{code, limit, time};
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

/// Leaves frames, one after the other, until one is not kept; tells how it ended, then closes the connection, which may take a while.
pub(crate) async fn deposit(to: AgentId, mail: Mail, tell: impl FnOnce(Deposited)) {
    let (mut kept, acks_alone) = (Vec::new(), mail.acks_alone);
    match connect(&mail).await {
        Ok((link, connection)) => {
            let failed = leave(to, mail, &connection, &mut kept).await.err();
            tell(Deposited { kept, acks_alone, failed });
            link.close(CloseCode::CLOSED, "done").await;
        }
        Err(reason) => tell(Deposited { kept, acks_alone, failed: Some(NotKept::Later(reason)) }),
    }
}

async fn leave(to: AgentId, mail: Mail, connection: &Connection, kept: &mut Vec<Mailed>) -> Result<(), NotKept> {
    for (frame, mailed) in mail.frames {
        match one(connection, to, mail.key.clone(), frame).await.map_err(NotKept::Later)? {
            0 => kept.push(mailed),
            code::DEPOSIT_DENIED => return Err(NotKept::Denied(mail.key)),
            code => return Err(NotKept::Later(format!("its mailbox answers {}", code::name(code)))),
        }
    }
    Ok(())
}

/// A connection under a key of its own, on a socket of its own.
// contracts/mailbox.md section 2.
async fn connect(mail: &Mail) -> Result<(Link, Connection), String> {
    let key = SigningKey::from_seed(&entropy::random().map_err(|error| error.to_string())?);
    let endpoint = &mail.at.endpoint;
    let addresses = tokio::net::lookup_host(endpoint.as_str()).await.map_err(|error| format!("{endpoint}: {error}"))?;
    let mut last = format!("{endpoint}: no address");
    for address in addresses.take(limit::ENDPOINTS_MAX) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use nuncio_proto::mailbox::Mailbox;
    use nuncio_transport::SERVED_BY_NODES;

    /// contracts/mailbox.md section 2: what a node sees of a sender is another key each time, and in what it is given nobody but the receiver.
    #[tokio::test]
    async fn a_deposit_names_nobody_but_its_receiver() {
        let [node, bob] = [1, 2].map(|seed| SigningKey::from_seed(&[seed; 32]));
        let mut config = LinkConfig::new("127.0.0.1:0".parse().unwrap());
        config.served = SERVED_BY_NODES;
        let link = Link::bind(config, &node).unwrap();
        let [node, bob] = [node, bob].map(|key| AgentId::from_bytes(key.public()).unwrap());
        let at = Mailbox { node, endpoint: link.local_addr().unwrap().to_string() };
        let key = DepositKey::new([5; 32]);
        let mut keys = std::collections::BTreeSet::new();
        for answer in [0, code::MAILBOX_FULL, code::DEPOSIT_DENIED] {
            let frames = vec![(b"frame".to_vec(), Mailed::default())];
            let mail = Mail { at: at.clone(), key: Some(key.clone()), frames, acks_alone: false };
            let mut told = None;
            let serve = async {
                let connection = link.accept().await.unwrap();
                let (kind, mut send, mut recv) = connection.accept_stream().await.unwrap();
                let bytes = recv.read_to_end(1_000).await.unwrap();
                send.write_all(&answer.to_be_bytes()).await.unwrap();
                send.finish().unwrap();
                let _ = send.stopped().await;
                (connection.peer(), kind, bytes)
            };
            let ((peer, kind, bytes), ()) = tokio::join!(serve, deposit(bob, mail, |deposited| told = Some(deposited)));
            assert_eq!(kind, StreamKind::Deposit);
            assert!(keys.insert(peer), "a key of its own for each");
            let expected = Deposit::new(vec![(bob, Some(key.clone()))], b"frame".to_vec()).unwrap();
            assert_eq!(Deposit::parse(&bytes).unwrap(), expected);
            let Deposited { kept, failed, .. } = told.unwrap();
            match answer {
                0 => assert!(kept.len() == 1 && failed.is_none()),
                code::DEPOSIT_DENIED => assert!(matches!(failed, Some(NotKept::Denied(Some(denied))) if denied == key)),
                _ => assert!(kept.is_empty() && matches!(failed, Some(NotKept::Later(_)))),
            }
        }
    }
}

//! Frames left at a peer's node, by a key that is made for it and that nobody knows (contracts/mailbox.md section 2).

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use nuncio_contracts::registry::{code, limit, time};
use nuncio_proto::crypto::SigningKey;
use nuncio_proto::deposit::{Deposit, DepositKey};
use nuncio_proto::ids::AgentId;
use nuncio_proto::mailbox::Mailbox;
use nuncio_proto::peer::{Mail, Mailed, SharedMail};
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

/// How a try to leave letters for several ended.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// Which of them the node keeps, for whom.
    pub(crate) kept: BTreeMap<AgentId, Vec<Mailed>>,
    /// For whom it keeps one no more, and why: what is behind that one was not tried.
    pub(crate) refused: BTreeMap<AgentId, NotKept>,
    /// Why the rest was not asked about, or not answered.
    pub(crate) failed: Option<String>,
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
    match connect(&mail.at).await {
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
        let code = one(connection, to, mail.key.clone(), frame).await.map_err(NotKept::Later)?;
        match refusal(code, mail.key.as_ref()) {
            None => kept.push(mailed),
            Some(why) => return Err(why),
        }
    }
    Ok(())
}

/// Leaves letters that were sealed once, each for all of its recipients, one after the other; tells how it ended, then closes the connection.
// contracts/mailbox.md M18.
pub(crate) async fn share(at: Mailbox, mail: Vec<SharedMail>, tell: impl FnOnce(Shared)) {
    let mut shared = Shared::default();
    match connect(&at).await {
        Ok((link, connection)) => {
            for letter in mail {
                if let Err(reason) = share_one(&connection, letter, &mut shared).await {
                    shared.failed = Some(reason);
                    break;
                }
            }
            tell(shared);
            link.close(CloseCode::CLOSED, "done").await;
        }
        Err(reason) => {
            shared.failed = Some(reason);
            tell(shared);
        }
    }
}

async fn share_one(connection: &Connection, letter: SharedMail, shared: &mut Shared) -> Result<(), String> {
    let SharedMail { which, common, mut to } = letter;
    // Whoever was refused has its letters in their order later.
    to.retain(|(agent, ..)| !shared.refused.contains_key(agent));
    if to.is_empty() {
        return Ok(());
    }
    let deposit = Deposit::shared(to, common).map_err(|error| error.to_string())?;
    let answer = ask(connection, &deposit).await?;
    let (codes, rest) = answer.as_chunks::<2>();
    if codes.len() != deposit.to().len() || !rest.is_empty() {
        return Err("its node answers something else than a code for each".to_owned());
    }
    for ((agent, key), code) in deposit.to().iter().zip(codes) {
        match refusal(u16::from_be_bytes(*code), key.as_ref()) {
            None => shared.kept.entry(*agent).or_default().push(which),
            Some(why) => drop(shared.refused.insert(*agent, why)),
        }
    }
    Ok(())
}

/// What a node's code says; `None` where it keeps the frame.
fn refusal(code: u16, key: Option<&DepositKey>) -> Option<NotKept> {
    match code {
        0 => None,
        code::DEPOSIT_DENIED => Some(NotKept::Denied(key.cloned())),
        code => Some(NotKept::Later(format!("its mailbox answers {}", code::name(code)))),
    }
}

/// A connection under a key of its own, on a socket of its own.
// contracts/mailbox.md section 2.
async fn connect(at: &Mailbox) -> Result<(Link, Connection), String> {
    let key = SigningKey::from_seed(&entropy::random().map_err(|error| error.to_string())?);
    let endpoint = &at.endpoint;
    let addresses = tokio::net::lookup_host(endpoint.as_str()).await.map_err(|error| format!("{endpoint}: {error}"))?;
    let mut last = format!("{endpoint}: no address");
    for address in addresses.take(limit::ENDPOINTS_MAX) {
        let any: SocketAddr =
            if address.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
        let link = Link::bind(LinkConfig::new(any), &key).map_err(|error| error.to_string())?;
        match dial::round(&link, at.node, &[address.to_string()]).await {
            Ok(connection) => return Ok((link, connection)),
            Err(reason) => last = reason,
        }
    }
    Err(last)
}

async fn one(connection: &Connection, to: AgentId, key: Option<DepositKey>, frame: Vec<u8>) -> Result<u16, String> {
    let deposit = Deposit::new(vec![(to, key)], frame).map_err(|error| error.to_string())?;
    let answer = ask(connection, &deposit).await?;
    let code = answer.try_into().map_err(|_| "its node answers something else than a code")?;
    Ok(u16::from_be_bytes(code))
}

/// Leaves a deposit: the node's answer, as long as it may be.
async fn ask(connection: &Connection, deposit: &Deposit) -> Result<Vec<u8>, String> {
    let asked = async {
        let (mut send, mut recv) = connection.open(StreamKind::Deposit).await.map_err(|error| error.to_string())?;
        send.write_all(&deposit.to_bytes()).await.map_err(|error| error.to_string())?;
        send.finish().map_err(|error| error.to_string())?;
        recv.read_to_end(2 * deposit.to().len()).await.map_err(|error| error.to_string())
    };
    let answer = tokio::time::timeout(PATIENCE, asked).await.map_err(|_| "its node did not answer in time")?;
    answer.map_err(|error| connection.close_reason().map_or(error, |reason| reason.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
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

    /// contracts/mailbox.md M18, M19: what one recipient is refused is its own, and nothing behind it is left for it; the letter goes once for all.
    #[tokio::test]
    async fn a_letter_is_left_once_for_all_and_one_refusal_is_no_others() {
        let node = SigningKey::from_seed(&[1; 32]);
        let mut config = LinkConfig::new("127.0.0.1:0".parse().unwrap());
        config.served = SERVED_BY_NODES;
        let link = Link::bind(config, &node).unwrap();
        let mut agents =
            [2, 3, 4].map(|seed| AgentId::from_bytes(SigningKey::from_seed(&[seed; 32]).public()).unwrap());
        agents.sort_unstable();
        let [full, wrong, good] = agents;
        let at = Mailbox {
            node: AgentId::from_bytes(node.public()).unwrap(),
            endpoint: link.local_addr().unwrap().to_string(),
        };
        let to: Vec<_> = agents.iter().zip(1..).map(|(agent, n)| (*agent, DepositKey::new([n; 32]), [n; 16])).collect();
        let letter = |common: &[u8]| SharedMail { which: Mailed::default(), common: common.to_vec(), to: to.clone() };
        let mut told = None;
        let answers = [vec![code::MAILBOX_FULL, code::DEPOSIT_DENIED, 0], vec![0], vec![]];
        let serve = async {
            let connection = link.accept().await.unwrap();
            let mut deposits = Vec::new();
            for answer in answers {
                let (_, mut send, mut recv) = connection.accept_stream().await.unwrap();
                deposits.push(Deposit::parse(&recv.read_to_end(1_000).await.unwrap()).unwrap());
                let answer: Vec<u8> = answer.iter().flat_map(|code: &u16| code.to_be_bytes()).collect();
                send.write_all(&answer).await.unwrap();
                send.finish().unwrap();
                let _ = send.stopped().await;
            }
            deposits
        };
        let letters = vec![letter(b"first"), letter(b"second"), letter(b"third"), letter(b"fourth")];
        let (deposits, ()) = tokio::join!(serve, share(at, letters, |shared| told = Some(shared)));
        assert_eq!(deposits[0], Deposit::shared(to.clone(), b"first".to_vec()).unwrap());
        assert_eq!(deposits[1], Deposit::shared(vec![to[2].clone()], b"second".to_vec()).unwrap());
        let Shared { kept, refused, failed } = told.unwrap();
        assert_eq!(kept.into_iter().map(|(to, letters)| (to, letters.len())).collect::<Vec<_>>(), [(good, 2)]);
        assert!(matches!(refused[&full], NotKept::Later(_)));
        assert!(matches!(&refused[&wrong], NotKept::Denied(Some(key)) if *key == DepositKey::new([2; 32])));
        assert!(failed.unwrap().contains("something else"), "no code for a recipient is no answer");
    }
}

//! Frames left at a peer's node, by a key that is made for it and that nobody knows (contracts/mailbox.md section 2).
//!
//! All over one stream, without waiting for answers: the node keeps a recipient's frames in their order, up to the first that it refuses.

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use nuncio_contracts::registry::{code, limit, time};
use nuncio_proto::crypto::SigningKey;
use nuncio_proto::deposit::{Deposit, DepositKey};
use nuncio_proto::ids::AgentId;
use nuncio_proto::mailbox::Mailbox;
use nuncio_proto::peer::{Mail, Mailed, SharedMail};
use nuncio_transport::{CloseCode, Connection, FrameSender, Link, LinkConfig, ReadExactError, RecvStream, StreamKind};

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

/// Leaves frames for one peer, up to the first that is not kept; tells how it ended, then closes the connection, which may take a while.
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
    let (mut deposits, mut refused) = (VecDeque::new(), None);
    for (frame, mailed) in mail.frames {
        let deposit = Deposit::new(vec![(to, mail.key.clone())], frame);
        deposits.push_back((deposit.map_err(|error| NotKept::Later(error.to_string()))?, mailed));
    }
    let left = ask(connection, deposits, |mailed, deposit, codes| {
        // What was refused once is refused behind that (M21): it is not to be asked about again.
        let why = deposit.to().first().zip(codes.first()).and_then(|((_, key), code)| refusal(*code, key.as_ref()));
        match why {
            _ if refused.is_some() => {}
            None => kept.push(mailed),
            why => refused = why,
        }
    });
    let left = left.await;
    refused.map_or(left.map_err(NotKept::Later), Err)
}

/// Leaves letters that were sealed once, each for all of its recipients; tells how it ended, then closes the connection.
// contracts/mailbox.md M18, M19.
pub(crate) async fn share(at: Mailbox, mail: Vec<SharedMail>, tell: impl FnOnce(Shared)) {
    let mut shared = Shared::default();
    match connect(&at).await {
        Ok((link, connection)) => {
            shared.failed = share_all(&connection, mail, &mut shared).await.err();
            tell(shared);
            link.close(CloseCode::CLOSED, "done").await;
        }
        Err(reason) => {
            shared.failed = Some(reason);
            tell(shared);
        }
    }
}

async fn share_all(connection: &Connection, mail: Vec<SharedMail>, shared: &mut Shared) -> Result<(), String> {
    let mut deposits = VecDeque::new();
    for SharedMail { which, common, to } in mail {
        deposits.push_back((Deposit::shared(to, common).map_err(|error| error.to_string())?, which));
    }
    let each = |which, deposit: &Deposit, codes: &[u16]| {
        for ((agent, key), code) in deposit.to().iter().zip(codes) {
            match refusal(*code, key.as_ref()) {
                // Whoever was refused has its letters in their order later.
                _ if shared.refused.contains_key(agent) => {}
                None => shared.kept.entry(*agent).or_default().push(which),
                Some(why) => drop(shared.refused.insert(*agent, why)),
            }
        }
    };
    ask(connection, deposits, each).await
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

/// Leaves deposits over one stream: what the node answers to each, in their order.
// contracts/mailbox.md M20.
async fn ask<T>(
    connection: &Connection,
    deposits: VecDeque<(Deposit, T)>,
    mut each: impl FnMut(T, &Deposit, &[u16]),
) -> Result<(), String> {
    let asked = async {
        let opened = tokio::time::timeout(PATIENCE, connection.open(StreamKind::Deposit)).await;
        let opened = opened.map_err(|_| "its node takes no deposits in time")?;
        let (send, mut answers) = opened.map_err(|error| error.to_string())?;
        let bytes: Vec<Bytes> = deposits.iter().map(|(deposit, _)| deposit.to_bytes().into()).collect();
        // A node that takes no more of them says so by its answers, which end.
        let write = async {
            let mut send = FrameSender::deposits(send);
            let _ = send.send_many(&bytes).await;
            let _ = send.finish();
        };
        let read = async {
            for (deposit, which) in deposits {
                let codes = answer(&mut answers, deposit.to().len()).await?;
                each(which, &deposit, &codes);
            }
            Ok(())
        };
        tokio::select! {
            read = read => read,
            // What was written has an answer, or none comes.
            () = async { write.await; core::future::pending().await } => Ok(()),
        }
    };
    asked.await.map_err(|error: String| connection.close_reason().map_or(error, |reason| reason.to_string()))
}

/// The codes of the next answer.
async fn answer(answers: &mut RecvStream, recipients: usize) -> Result<Vec<u16>, String> {
    let mut bytes = vec![0; 2 * recipients];
    match tokio::time::timeout(PATIENCE, answers.read_exact(&mut bytes)).await {
        Ok(Ok(())) => Ok(bytes.as_chunks::<2>().0.iter().map(|code| u16::from_be_bytes(*code)).collect()),
        Ok(Err(ReadExactError::FinishedEarly(_))) => Err("its node takes no more now".to_owned()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("its node did not answer in time".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nuncio_transport::{FrameReceiver, SERVED_BY_NODES};

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
            let frames = [b"frame", b"other"].map(|frame| (frame.to_vec(), Mailed::default())).to_vec();
            let mail = Mail { at: at.clone(), key: Some(key.clone()), frames, acks_alone: false };
            let mut told = None;
            let serve = answer_each(&link, vec![vec![0], vec![answer]]);
            let ((peer, deposits), ()) = tokio::join!(serve, deposit(bob, mail, |deposited| told = Some(deposited)));
            assert!(keys.insert(peer), "a key of its own for each");
            let expected = |frame: &[u8]| Deposit::new(vec![(bob, Some(key.clone()))], frame.to_vec()).unwrap();
            assert_eq!(deposits, [expected(b"frame"), expected(b"other")], "none waits for an answer");
            let Deposited { kept, failed, .. } = told.unwrap();
            match answer {
                0 => assert!(kept.len() == 2 && failed.is_none()),
                code::DEPOSIT_DENIED => assert!(matches!(failed, Some(NotKept::Denied(Some(denied))) if denied == key)),
                _ => assert!(kept.len() == 1 && matches!(failed, Some(NotKept::Later(_)))),
            }
        }
    }

    /// A node that takes as many deposits as it has answers, then answers them all, and ends: who came, and with what.
    async fn answer_each(link: &Link, answers: Vec<Vec<u16>>) -> (AgentId, Vec<Deposit>) {
        let connection = link.accept().await.unwrap();
        let (kind, mut send, recv) = connection.accept_stream().await.unwrap();
        assert_eq!(kind, StreamKind::Deposit);
        let (mut recv, mut came) = (FrameReceiver::deposits(recv), Vec::new());
        while came.len() < answers.len() {
            assert!(recv.recv_many(&mut came, answers.len()).await.unwrap() > 0);
        }
        let answers: Vec<u8> = answers.concat().iter().flat_map(|code| code.to_be_bytes()).collect();
        send.write_all(&answers).await.unwrap();
        send.finish().unwrap();
        let _ = send.stopped().await;
        (connection.peer(), came.iter().map(|bytes| Deposit::parse(bytes).unwrap()).collect())
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
        let [first, behind] = [[code::MAILBOX_FULL, code::DEPOSIT_DENIED, 0], [code::MAILBOX_FULL, code::BUSY, 0]];
        let letters = vec![letter(b"first"), letter(b"second"), letter(b"third")];
        let serve = answer_each(&link, vec![first.to_vec(), behind.to_vec()]);
        let ((_, deposits), ()) = tokio::join!(serve, share(at, letters, |shared| told = Some(shared)));
        assert_eq!(deposits[0], Deposit::shared(to.clone(), b"first".to_vec()).unwrap());
        assert_eq!(deposits[1], Deposit::shared(to.clone(), b"second".to_vec()).unwrap());
        let Shared { kept, refused, failed } = told.unwrap();
        assert_eq!(kept.into_iter().map(|(to, letters)| (to, letters.len())).collect::<Vec<_>>(), [(good, 2)]);
        assert!(matches!(refused[&full], NotKept::Later(_)));
        assert!(matches!(&refused[&wrong], NotKept::Denied(Some(key)) if *key == DepositKey::new([2; 32])));
        assert!(failed.unwrap().contains("takes no more"), "of the third nothing is known");
    }
}

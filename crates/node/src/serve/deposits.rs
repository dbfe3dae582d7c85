//! One stream of deposits (contracts/mailbox.md section 2).
//!
//! ```text
//!   read ─► taken, all that have come at once ─► on disk ─► answered, in their order
//!     ▲                                                        │
//!     └── so many under way, and no more ──────────────────────┘
//! ```

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use nuncio_contracts::registry::{limit, time};
use nuncio_proto::deposit::Deposit;
use nuncio_transport::{CloseCode, FrameReceiver, RecvStream, SendStream, TransportError};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::mailbox::{Begun, Refused};
use crate::service::Service;

/// How long a deposit that has begun may take to come, and its answer to be taken.
const PATIENCE: Duration = Duration::from_millis(time::REQUEST_PATIENCE);

/// When something was asked last over a connection.
#[derive(Debug)]
pub(super) struct Asked(Mutex<Instant>);

impl Asked {
    pub(super) fn now() -> Self {
        Self(Mutex::new(Instant::now()))
    }

    pub(super) fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

/// Why nothing more is read of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    /// Its opener has ended it, or the node ends.
    Ended,
    /// It is not read further, and what was before is answered.
    // contracts/mailbox.md M22.
    Stopped(CloseCode),
    /// It is gone, or is given up at once.
    Reset,
}

/// Deposits of one stream that are not answered.
struct UnderWay<'a> {
    service: &'a Service,
    from: IpAddr,
    refused: Refused,
    /// In their order.
    begun: VecDeque<Begun>,
    deposits: usize,
    bytes: usize,
}

/// Takes what comes over a stream, until it or the node ends. What was begun is taken to its end.
pub(super) async fn serve(
    (service, from, asked): (&Service, IpAddr, &Asked),
    closing: &CancellationToken,
    (mut send, recv): (SendStream, RecvStream),
) {
    let mut recv = FrameReceiver::deposits(recv);
    let mut under_way = UnderWay::new(service, from);
    let (mut came, mut over) = (VecDeque::new(), None);
    let mut closed = std::pin::pin!(closing.cancelled());
    loop {
        if let Err(code) = under_way.take(&mut came) {
            came.clear();
            over = Some(Over::Stopped(code));
            recv.stop(code);
        }
        tokio::select! {
            biased;
            () = under_way.written(), if !under_way.begun.is_empty() => {
                let answers = under_way.answers();
                if over != Some(Over::Reset) && !answer(&mut send, &answers).await {
                    came.clear();
                    over = Some(Over::Reset);
                }
            }
            // What has come already is taken to its end.
            () = closed.as_mut(), if over.is_none() => over = Some(Over::Ended),
            read = read(&mut recv, &mut came), if over.is_none() && came.is_empty() => match read {
                Ok(()) => asked.note(),
                Err(why) => over = Some(why),
            },
            else => break,
        }
    }
    finish(send, recv, over).await;
}

impl<'a> UnderWay<'a> {
    fn new(service: &'a Service, from: IpAddr) -> Self {
        Self { service, from, refused: Refused::default(), begun: VecDeque::new(), deposits: 0, bytes: 0 }
    }

    /// Takes of what has come as much as may be under way.
    ///
    /// # Errors
    /// With which code the stream is stopped, behind what was before.
    // contracts/mailbox.md M3, M20.
    fn take(&mut self, came: &mut VecDeque<Bytes>) -> Result<(), CloseCode> {
        let (mut deposits, mut bytes, mut ended) = (Vec::new(), self.bytes, Ok(()));
        while self.deposits + deposits.len() < limit::DEPOSITS_UNDER_WAY && bytes < limit::DEPOSITS_UNDER_WAY_BYTES {
            let Some(next) = came.pop_front() else { break };
            if !self.service.sources.allow(self.from) {
                ended = Err(CloseCode::BUSY);
                break;
            }
            let Ok(deposit) = Deposit::parse(&next) else {
                ended = Err(CloseCode::PROTOCOL);
                break;
            };
            bytes += deposit.frames_len();
            deposits.push(deposit);
        }
        if !deposits.is_empty() {
            let begun = self.service.deposit(&deposits, &mut self.refused);
            self.count(&begun, usize::saturating_add);
            self.begun.push_back(begun);
        }
        ended
    }

    /// Waits until the first of them is on disk. Safe to drop and call again.
    async fn written(&mut self) {
        if let Some(first) = self.begun.front_mut() {
            first.written().await;
        }
    }

    /// The answers to those that are on disk, up to the first that is not.
    fn answers(&mut self) -> Vec<u8> {
        let mut answers = Vec::new();
        while let Some(begun) = self.begun.pop_front_if(Begun::is_written) {
            self.count(&begun, usize::saturating_sub);
            answers.extend(self.service.deposited(begun).into_iter().flat_map(u16::to_be_bytes));
        }
        answers
    }

    fn count(&mut self, begun: &Begun, by: impl Fn(usize, usize) -> usize) {
        let (deposits, bytes) = begun.size();
        (self.deposits, self.bytes) = (by(self.deposits, deposits), by(self.bytes, bytes));
    }
}

/// Waits for a whole deposit, or more. Safe to drop and call again.
// contracts/mailbox.md M22.
async fn read(recv: &mut FrameReceiver, came: &mut VecDeque<Bytes>) -> Result<(), Over> {
    let (mut read, mut has_begun) = (Vec::new(), false);
    loop {
        match timeout(PATIENCE, recv.recv_many(&mut read, limit::DEPOSITS_UNDER_WAY)).await {
            Ok(Ok(0)) => return Err(Over::Ended),
            Ok(Ok(_)) => {
                came.extend(read);
                return Ok(());
            }
            Ok(Err(TransportError::FrameLen { .. } | TransportError::FrameTruncated)) => {
                return Err(Over::Stopped(CloseCode::PROTOCOL));
            }
            Ok(Err(_)) => return Err(Over::Reset),
            Err(_) if has_begun => return Err(Over::Reset),
            // One that began just now has its time.
            Err(_) => has_begun = recv.holds_some(),
        }
    }
}

/// Whether answers were taken.
async fn answer(send: &mut SendStream, answers: &[u8]) -> bool {
    matches!(timeout(PATIENCE, send.write_all(answers)).await, Ok(Ok(())))
}

async fn finish(mut send: SendStream, mut recv: FrameReceiver, over: Option<Over>) {
    if over == Some(Over::Reset) {
        // A stream that is over already needs no refusal.
        let _ = send.reset(CloseCode::BUSY.into());
        return recv.stop(CloseCode::BUSY);
    }
    // Whoever does not take the answers deposits again, and its recipient takes a frame as once.
    let taken = async { send.finish().is_ok() && send.stopped().await.is_ok() };
    let _ = timeout(PATIENCE, taken).await;
}

#[cfg(test)]
mod tests {
    use nuncio_proto::deposit::MailboxSecret;
    use nuncio_proto::ids::AgentId;

    use super::*;
    use crate::tests::support::{Fixture, PLANNER, agent};

    /// contracts/mailbox.md M20: nothing of it is on disk as nobody looks, and no more is taken than may be under way.
    #[tokio::test]
    async fn so_many_are_under_way_and_no_more() {
        let at = Fixture::new().await;
        let (service, own) = (at.node().service(), MailboxSecret::new([1; 32]));
        service.mailboxes.set_secret(&service.ledger, agent(PLANNER), Some(own.clone())).await.unwrap();
        let from = IpAddr::from([127, 0, 0, 1]);
        let to = || vec![(agent(PLANNER), Some(own.deposit_key([1; 16])))];
        let deposit = |len| Bytes::from(Deposit::new(to(), vec![7; len]).unwrap().to_bytes());
        let shared = |len| {
            let nobody = |seed| nuncio_proto::crypto::SigningKey::from_seed(&[seed; 32]);
            let nobody = |seed| AgentId::from_bytes(nobody(seed).public()).unwrap();
            let to = (100..104).map(|seed| (nobody(seed), own.deposit_key([1; 16]), [0; 16])).collect();
            Bytes::from(Deposit::shared(to, vec![7; len - 16]).unwrap().to_bytes())
        };
        let large = limit::DEPOSITS_UNDER_WAY_BYTES / 8;
        // Of each: how many are taken of a hundred.
        let cases =
            [(deposit(1), limit::DEPOSITS_UNDER_WAY), (deposit(large), 8), (shared(large), 2), (shared(60_000), 1)];
        for (one, expected) in cases {
            let mut under_way = UnderWay::new(service, from);
            let mut came: VecDeque<Bytes> = core::iter::repeat_n(one, 100).collect();
            for _ in 0..3 {
                under_way.take(&mut came).unwrap();
                assert_eq!((came.len(), under_way.deposits), (100 - expected, expected));
            }
            while !under_way.begun.is_empty() {
                under_way.written().await;
                under_way.answers();
            }
            assert_eq!((under_way.deposits, under_way.bytes), (0, 0));
            under_way.take(&mut came).unwrap();
            assert_eq!(came.len(), 100 - 2 * expected.min(50), "there is room again");
        }
    }
}

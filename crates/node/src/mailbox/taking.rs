//! Deposits are taken, as many at once as have come (contracts/mailbox.md section 2).
//!
//! ```text
//!   Mailboxes::begin ─► Begun ── written ──► Mailboxes::end ─► a code for each recipient of each, in their order
//!   judged, numbered,           on disk      who fetches is woken
//!   with the store's writer
//! ```

use std::collections::BTreeMap;

use nuncio_contracts::registry::{code, limit};
use nuncio_proto::deposit::{Deposit, DepositKey};
use nuncio_proto::ids::AgentId;
use nuncio_proto::time::UnixMillis;
use nuncio_store::Op;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use super::{Mailbox, Mailboxes, Waiting, forget, len_of, put_frame};
use crate::ledger::Ledger;

/// Whom one stream of deposits was refused, and why. Bounded, whoever is named.
// contracts/mailbox.md M21.
#[derive(Debug, Default)]
pub(crate) struct Refused(BTreeMap<AgentId, u16>);

/// Deposits that are judged, and of whose frames those that are taken are with the store's writer.
#[derive(Debug)]
#[must_use = "what was taken is on disk, and nobody is told"]
pub(crate) struct Begun {
    codes: Vec<u16>,
    taken: Vec<(AgentId, u64)>,
    /// None once it is known how it ended.
    durable: Option<oneshot::Receiver<()>>,
    lost: bool,
    deposits: usize,
    bytes: usize,
}

impl Refused {
    fn of(&self, agent: &AgentId) -> Option<u16> {
        let all = (self.0.len() >= limit::DEPOSIT_RECIPIENTS_MAX).then_some(code::BUSY);
        self.0.get(agent).copied().or(all)
    }

    fn note(&mut self, agent: AgentId, code: u16) {
        if self.of(&agent).is_none() {
            self.0.insert(agent, code);
        }
    }
}

impl Begun {
    /// How many they are, and the bytes of their frames, for each recipient.
    // contracts/mailbox.md M20.
    pub(crate) const fn size(&self) -> (usize, usize) {
        (self.deposits, self.bytes)
    }

    /// Waits until what was taken is on disk, or never will be. Safe to drop and call again.
    pub(crate) async fn written(&mut self) {
        if let Some(durable) = &mut self.durable {
            self.lost = durable.await.is_err();
            self.durable = None;
        }
    }

    /// Whether [`Begun::written`] would return at once.
    pub(crate) fn is_written(&mut self) -> bool {
        let Some(durable) = &mut self.durable else { return true };
        let told = durable.try_recv();
        if told != Err(TryRecvError::Empty) {
            (self.lost, self.durable) = (told.is_err(), None);
        }
        self.durable.is_none()
    }

    /// Nothing of it is kept: who was to have a frame is refused it.
    fn give_up(&mut self) {
        self.taken.clear();
        self.codes.iter_mut().filter(|code| **code == 0).for_each(|code| *code = code::BUSY);
    }
}

impl Mailboxes {
    /// Takes a frame for each recipient of each deposit that wants it. What is taken is durable in one commit, or not at all.
    // contracts/mailbox.md M18, M20, M21.
    pub(crate) fn begin(
        &self,
        ledger: &Ledger,
        deposits: &[Deposit],
        refused: &mut Refused,
        has_mailbox: impl Fn(&AgentId) -> bool,
        now: UnixMillis,
    ) -> Begun {
        let mut begun = Begun {
            codes: Vec::new(),
            taken: Vec::new(),
            durable: None,
            lost: false,
            deposits: deposits.len(),
            bytes: 0,
        };
        let (mut boxes, mut ops) = (self.boxes(), Vec::with_capacity(deposits.len()));
        for (agent, key, frame) in deposits.iter().flat_map(Deposit::frames) {
            begun.bytes += frame.len();
            let mailbox = boxes.get_mut(&agent).filter(|_| has_mailbox(&agent));
            let taken = match (refused.of(&agent), mailbox) {
                (Some(code), _) => Err(code),
                (None, None) => Err(code::DEPOSIT_DENIED),
                (None, Some(mailbox)) => self.take(mailbox, &agent, key, &frame, now),
            };
            begun.codes.push(taken.as_ref().err().copied().unwrap_or_default());
            match taken {
                Ok((number, op)) => {
                    begun.taken.push((agent, number));
                    ops.push(op);
                }
                Err(code) => refused.note(agent, code),
            }
        }
        if ops.is_empty() {
            return begun;
        }
        begun.durable = ledger.begin(ops).ok();
        if begun.durable.is_none() {
            forget(&mut boxes, &begun.taken);
            begun.taken.iter().for_each(|(agent, _)| refused.note(*agent, code::BUSY));
            begun.give_up();
        }
        begun
    }

    /// Judges a frame and numbers it: its row.
    fn take(
        &self,
        mailbox: &mut Mailbox,
        agent: &AgentId,
        key: Option<&DepositKey>,
        frame: &[u8],
        now: UnixMillis,
    ) -> Result<(u64, Op), u16> {
        let code = mailbox.judge(agent, key, frame, &self.deposits);
        if code != 0 {
            return Err(code);
        }
        let (len, key) = (len_of(frame), key.map(DepositKey::id));
        let waiting = Waiting { len, came: now, is_stranger: key.is_none(), key };
        let number = mailbox.last + 1;
        mailbox.insert(number, waiting);
        Ok((number, put_frame(agent, number, &waiting, frame)))
    }

    /// The answers to deposits of which it is known whether they are on disk. Who fetches what is, is woken.
    pub(crate) fn end(&self, mut begun: Begun) -> Vec<u16> {
        let mut boxes = self.boxes();
        if begun.lost {
            // Nothing is written any more.
            forget(&mut boxes, &begun.taken);
            begun.give_up();
        }
        for (agent, number) in &begun.taken {
            let raise = |durable: &mut u64| {
                let is_higher = *number > *durable;
                *durable = (*durable).max(*number);
                is_higher
            };
            if let Some(mailbox) = boxes.get(agent) {
                mailbox.durable.send_if_modified(raise);
            }
        }
        begun.codes
    }
}

//! Where frames wait for agents that are away (contracts/mailbox.md).
//!
//! ```text
//!   deposits ─► judged, numbered, handed to the store's writer, all at once ─► durable ─► the answers, and who fetches is woken
//!   taken   ─► rows deleted, and in the same commit the highest number that was ever given
//! ```
//!
//! The writer keeps its order, so what is durable has nothing before it that is not.

mod taking;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use data_encoding::HEXLOWER;
use nuncio_contracts::registry::{code, limit, time};
use nuncio_proto::codec;
use nuncio_proto::deposit::{DepositKey, MailboxSecret};
use nuncio_proto::ids::AgentId;
use nuncio_proto::time::UnixMillis;
use nuncio_store::{Engine as _, Op, RowFault, Store, StoreError};
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf, Bytes};
use tokio::sync::watch;

use crate::ledger::{Ledger, Unwritten};
use crate::limits::Deposits;
use crate::rows;

pub(crate) use taking::{Begun, Refused};

const VERSION: u8 = 1;
/// What a frame's row is longer than the frame, at the most.
const ROW_MORE: usize = 64;
/// A frame as it stands in its row.
const ROW_LEN_MAX: usize = limit::FRAME_LEN_MAX + ROW_MORE;
/// Version 1 of an array of seven, and its kind (contracts/frame.md).
const START: [u8; 3] = [0x87, 1, 1];

/// Every agent's mailbox.
#[derive(Debug)]
pub(crate) struct Mailboxes {
    boxes: Mutex<BTreeMap<AgentId, Mailbox>>,
    deposits: Deposits,
}

#[derive(Debug)]
struct Mailbox {
    /// Where there is none, nothing is taken.
    secret: Option<MailboxSecret>,
    waiting: BTreeMap<u64, Waiting>,
    bytes: u64,
    strangers: usize,
    /// Of what waits, by deposit key; in memory alone (M2).
    shares: BTreeMap<KeyId, Share>,
    /// The highest number that was given.
    last: u64,
    /// The highest number of a frame that is durable: what is below it is too.
    durable: watch::Sender<u64>,
    /// How many have begun to fetch: the newest does, the others end.
    readers: watch::Sender<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    len: u64,
    came: UnixMillis,
    is_stranger: bool,
    /// None by a stranger, and where it waited before the node was started.
    key: Option<KeyId>,
}

/// Tells deposit keys of one agent apart.
type KeyId = [u8; 16];

/// What waits by one deposit key.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    frames: usize,
    bytes: u64,
}

#[derive(Serialize, Deserialize)]
struct MailboxRow(u8, Option<ByteArray<32>>, u64);

#[derive(Serialize, Deserialize)]
struct FrameRow(u8, u64, bool, ByteBuf);

/// [`FrameRow`], as it is written.
#[derive(Serialize)]
struct FrameRowOf<'a>(u8, u64, bool, &'a Bytes);

/// Frames, each behind its number.
type Frames = Vec<(u64, Vec<u8>)>;

/// One who fetches, until another does for the same agent.
#[derive(Debug)]
pub(crate) struct Reader {
    agent: AgentId,
    sent: u64,
    own: u64,
    durable: watch::Receiver<u64>,
    readers: watch::Receiver<u64>,
}

impl Mailbox {
    fn new(secret: Option<MailboxSecret>, last: u64) -> Self {
        let (durable, readers) = (watch::Sender::new(last), watch::Sender::new(0));
        Self {
            secret,
            waiting: BTreeMap::new(),
            bytes: 0,
            strangers: 0,
            shares: BTreeMap::new(),
            last,
            durable,
            readers,
        }
    }

    fn put(&self, agent: &AgentId) -> Op {
        let secret = self.secret.as_ref().map(|secret| ByteArray::new(*secret.expose()));
        Op::Put { key: rows::mailbox(agent), value: codec::encode(&MailboxRow(VERSION, secret, self.last)) }
    }

    fn insert(&mut self, number: u64, waiting: Waiting) {
        self.last = self.last.max(number);
        self.bytes += waiting.len;
        self.strangers += usize::from(waiting.is_stranger);
        if let Some(key) = waiting.key {
            let share = self.shares.entry(key).or_default();
            *share = Share { frames: share.frames + 1, bytes: share.bytes + waiting.len };
        }
        self.waiting.insert(number, waiting);
    }

    fn remove(&mut self, number: u64) {
        let Some(waiting) = self.waiting.remove(&number) else { return };
        self.bytes -= waiting.len;
        self.strangers -= usize::from(waiting.is_stranger);
        if let Some((key, share)) = waiting.key.and_then(|key| Some((key, self.shares.get_mut(&key)?))) {
            *share = Share { frames: share.frames - 1, bytes: share.bytes - waiting.len };
            if share.frames == 0 {
                self.shares.remove(&key);
            }
        }
    }

    /// Whether a frame still fits, beside what waits and beside what waits by its key.
    // contracts/mailbox.md M6.
    fn has_room(&self, key: Option<&DepositKey>, len: u64) -> bool {
        let own = key.and_then(|key| self.shares.get(&key.id())).copied().unwrap_or_default();
        let all = Share { frames: self.waiting.len(), bytes: self.bytes };
        all.fits(len, limit::MAILBOX_FRAMES_MAX, limit::MAILBOX_BYTES_MAX)
            && own.fits(len, limit::MAILBOX_KEY_FRAMES_MAX, limit::MAILBOX_KEY_BYTES_MAX)
    }

    /// Why a frame is not taken; 0 where it is.
    // contracts/mailbox.md M4 to M7.
    fn judge(&self, agent: &AgentId, key: Option<&DepositKey>, frame: &[u8], deposits: &Deposits) -> u16 {
        let Some(secret) = &self.secret else { return code::DEPOSIT_DENIED };
        match key {
            Some(key) if !secret.has(key) => return code::DEPOSIT_DENIED,
            None if !frame.starts_with(&START) => return code::DEPOSIT_DENIED,
            Some(key) if !deposits.allow(agent, key.id()) => return code::BUSY,
            None if self.strangers >= limit::MAILBOX_STRANGERS_MAX => return code::MAILBOX_FULL,
            _ => {}
        }
        if self.has_room(key, len_of(frame)) { 0 } else { code::MAILBOX_FULL }
    }
}

impl Share {
    const fn fits(self, len: u64, frames_max: usize, bytes_max: u64) -> bool {
        self.frames < frames_max && self.bytes.saturating_add(len) <= bytes_max
    }
}

fn len_of(frame: &[u8]) -> u64 {
    u64::try_from(frame.len()).unwrap_or(u64::MAX)
}

impl Mailboxes {
    /// Every mailbox, and what waits in it.
    pub(crate) fn load(store: &Store) -> Result<Self, StoreError> {
        let unreadable = |key: &[u8]| StoreError::Row { key: HEXLOWER.encode(key), fault: RowFault::Malformed };
        let mut boxes = BTreeMap::<AgentId, Mailbox>::new();
        store.scan(&[rows::MAILBOX], &mut |key, value| {
            let (agent, mailbox) = read_mailbox(key, value).ok_or_else(|| unreadable(key))?;
            boxes.insert(agent, mailbox);
            Ok(())
        })?;
        store.scan(&[rows::FRAME], &mut |key, value| {
            let ((agent, number), (waiting, _)) =
                rows::split_frame(key).zip(read_frame(value)).ok_or_else(|| unreadable(key))?;
            let mailbox = boxes.get_mut(&agent).ok_or_else(|| unreadable(key))?;
            mailbox.insert(number, waiting);
            mailbox.durable.send_replace(mailbox.last);
            Ok(())
        })?;
        Ok(Self { boxes: Mutex::new(boxes), deposits: Deposits::new() })
    }

    /// Opens an agent's mailbox, or closes it.
    // contracts/mailbox.md M1.
    pub(crate) async fn set_secret(
        &self,
        ledger: &Ledger,
        agent: AgentId,
        secret: Option<MailboxSecret>,
    ) -> Result<(), Unwritten> {
        let durable = {
            let mut boxes = self.boxes();
            let mailbox = boxes.entry(agent).or_insert_with(|| Mailbox::new(None, 0));
            let former = core::mem::replace(&mut mailbox.secret, secret);
            let begun = ledger.begin(vec![mailbox.put(&agent)]);
            if begun.is_err() {
                mailbox.secret = former;
            }
            begun?
        };
        durable.await.map_err(|_| Unwritten)
    }

    /// Begins to fetch for an agent, of the frames above a number; whoever fetched for it ends.
    // contracts/mailbox.md M9.
    pub(crate) fn reader(&self, agent: AgentId) -> Reader {
        let mut boxes = self.boxes();
        let mailbox = boxes.entry(agent).or_insert_with(|| Mailbox::new(None, 0));
        let mut own = 0;
        mailbox.readers.send_modify(|readers| {
            *readers += 1;
            own = *readers;
        });
        Reader { agent, sent: 0, own, durable: mailbox.durable.subscribe(), readers: mailbox.readers.subscribe() }
    }

    /// Frames are on their recipient's disk, up to a number.
    // contracts/mailbox.md M10.
    pub(crate) async fn taken(&self, ledger: &Ledger, agent: AgentId, up_to: u64) -> Result<(), Unwritten> {
        let durable = {
            let mut boxes = self.boxes();
            let Some(mailbox) = boxes.get_mut(&agent) else { return Ok(()) };
            // One that is not durable yet was not fetched.
            let up_to = up_to.min(*mailbox.durable.borrow());
            let gone: Vec<u64> = mailbox.waiting.range(..=up_to).map(|(number, _)| *number).collect();
            let Some(begun) = delete(mailbox, &agent, &gone, ledger) else { return Ok(()) };
            begun?
        };
        durable.await.map_err(|_| Unwritten)
    }

    /// Deletes what has waited too long (contracts/mailbox.md M8).
    pub(crate) fn expire(&self, ledger: &Ledger, now: UnixMillis) {
        for (agent, mailbox) in self.boxes().iter_mut() {
            let durable = *mailbox.durable.borrow();
            let is_over = |waiting: &Waiting| now.since(waiting.came) > time::MAILBOX_LIFE;
            let over = mailbox.waiting.range(..=durable).filter(|(_, waiting)| is_over(waiting));
            let over: Vec<u64> = over.map(|(number, _)| *number).collect();
            if let Some(Err(_)) = delete(mailbox, agent, &over, ledger) {
                tracing::warn!("frames that have waited too long are deleted later: the disk does not keep up");
            }
        }
        self.deposits.forget();
    }

    /// The next frames for who fetches, at most some, and the last number that was looked at; none where there are none now. Reads the disk.
    fn next(&self, store: &Store, agent: &AgentId, above: u64) -> Result<(Option<u64>, Frames), StoreError> {
        const AT_ONCE: usize = 16;
        let numbers: Vec<u64> = {
            let boxes = self.boxes();
            let Some(mailbox) = boxes.get(agent) else { return Ok((None, Vec::new())) };
            let durable = *mailbox.durable.borrow();
            let waiting = mailbox.waiting.range((Bound::Excluded(above), Bound::Unbounded));
            waiting.map(|(number, _)| *number).take_while(|number| *number <= durable).take(AT_ONCE).collect()
        };
        let mut frames = Vec::new();
        for number in &numbers {
            // It may have been taken meanwhile.
            let Some(row) = store.get(&rows::frame(agent, *number))? else { continue };
            match read_frame(&row) {
                Some((_, frame)) => frames.push((*number, frame)),
                // Its sender has the letter still, and no other frame waits for it.
                None => tracing::error!(%agent, number, "a frame in a mailbox cannot be read: it is passed over"),
            }
        }
        Ok((numbers.last().copied(), frames))
    }

    fn boxes(&self) -> MutexGuard<'_, BTreeMap<AgentId, Mailbox>> {
        self.boxes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reader {
    /// The frames that come next, in their order; `None` once another fetches.
    pub(crate) async fn next(
        &mut self,
        mailboxes: &Arc<Mailboxes>,
        store: &Arc<Store>,
    ) -> Result<Option<Frames>, StoreError> {
        loop {
            self.durable.borrow_and_update();
            let (boxes, store, agent, sent) = (Arc::clone(mailboxes), Arc::clone(store), self.agent, self.sent);
            let read = tokio::task::spawn_blocking(move || boxes.next(&store, &agent, sent)).await;
            let (last, frames) = read.unwrap_or_else(|_| Ok((None, Vec::new())))?;
            if *self.readers.borrow_and_update() != self.own {
                return Ok(None);
            }
            self.sent = last.unwrap_or(self.sent);
            if !frames.is_empty() {
                return Ok(Some(frames));
            }
            if last.is_some() {
                continue;
            }
            tokio::select! {
                changed = self.durable.changed() => if changed.is_err() { return Ok(None) },
                changed = self.readers.changed() => if changed.is_err() { return Ok(None) },
            }
        }
    }
}

/// Deletes frames; `None` where there are none. What cannot be handed over stays.
fn delete(
    mailbox: &mut Mailbox,
    agent: &AgentId,
    gone: &[u64],
    ledger: &Ledger,
) -> Option<Result<tokio::sync::oneshot::Receiver<()>, Unwritten>> {
    if gone.is_empty() {
        return None;
    }
    let mut ops: Vec<Op> = gone.iter().map(|number| Op::Delete { key: rows::frame(agent, *number) }).collect();
    // No number is given twice, also where nothing waits when the node is started again.
    ops.push(mailbox.put(agent));
    let begun = ledger.begin(ops);
    if begun.is_ok() {
        gone.iter().for_each(|number| mailbox.remove(*number));
    }
    Some(begun)
}

fn forget(boxes: &mut BTreeMap<AgentId, Mailbox>, taken: &[(AgentId, u64)]) {
    for (agent, number) in taken {
        boxes.get_mut(agent).into_iter().for_each(|mailbox| mailbox.remove(*number));
    }
}

fn read_mailbox(key: &[u8], value: &[u8]) -> Option<(AgentId, Mailbox)> {
    let agent = AgentId::from_bytes(key.get(1..)?.try_into().ok()?).ok()?;
    let MailboxRow(version, secret, last) = codec::decode(value, 64).ok()?;
    let secret = secret.map(|secret| MailboxSecret::new(secret.into_array()));
    (version == VERSION).then(|| (agent, Mailbox::new(secret, last)))
}

fn put_frame(agent: &AgentId, number: u64, waiting: &Waiting, frame: &[u8]) -> Op {
    let row = FrameRowOf(VERSION, waiting.came.0, waiting.is_stranger, Bytes::new(frame));
    Op::Put { key: rows::frame(agent, number), value: codec::encode_sized(&row, ROW_MORE + frame.len()) }
}

fn read_frame(value: &[u8]) -> Option<(Waiting, Vec<u8>)> {
    let FrameRow(version, came, is_stranger, frame) = codec::decode(value, ROW_LEN_MAX).ok()?;
    let waiting = Waiting { len: len_of(&frame), came: UnixMillis(came), is_stranger, key: None };
    (version == VERSION).then_some((waiting, frame.into_vec()))
}

#[cfg(test)]
mod tests {
    use nuncio_proto::crypto::SigningKey;

    use super::*;

    fn bob() -> AgentId {
        AgentId::from_bytes(SigningKey::from_seed(&[2; 32]).public()).unwrap()
    }

    fn secret() -> MailboxSecret {
        MailboxSecret::new([1; 32])
    }

    /// The deposit key of a peer.
    fn key(peer: u64) -> DepositKey {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&peer.to_be_bytes());
        secret().deposit_key(id)
    }

    fn waits(key: Option<KeyId>, len: u64) -> Waiting {
        Waiting { len, came: UnixMillis(0), is_stranger: false, key }
    }

    /// contracts/mailbox.md M6.
    #[test]
    fn there_is_an_end_to_what_waits_for_one_agent() {
        let (deposits, frame, bob) = (Deposits::new(), [7; 1_000], bob());
        let mut many = Mailbox::new(Some(secret()), 0);
        for number in 1..=u64::try_from(limit::MAILBOX_FRAMES_MAX).unwrap() {
            let by = key(number);
            assert_eq!(many.judge(&bob, Some(&by), &frame, &deposits), 0);
            many.insert(number, waits(Some(by.id()), 1));
        }
        assert_eq!(many.judge(&bob, Some(&key(0)), &frame, &deposits), code::MAILBOX_FULL);
        many.remove(1);
        assert_eq!(many.judge(&bob, Some(&key(0)), &frame, &deposits), 0);
        let mut large = Mailbox::new(Some(secret()), 0);
        large.insert(1, waits(None, limit::MAILBOX_BYTES_MAX - 1_000));
        assert_eq!(large.judge(&bob, Some(&key(0)), &frame, &deposits), 0);
        large.insert(2, waits(None, 1));
        assert_eq!(large.judge(&bob, Some(&key(0)), &frame, &deposits), code::MAILBOX_FULL);
        large.remove(2);
        large.remove(2);
        assert_eq!((large.bytes, large.waiting.len()), (limit::MAILBOX_BYTES_MAX - 1_000, 1));
    }

    /// contracts/mailbox.md M6.
    #[test]
    fn what_one_key_fills_is_its_share_and_another_has_room() {
        let (deposits, frame, bob) = (Deposits::new(), [7; 1_000], bob());
        let (one, other) = (key(1), key(2));
        let judge = |mailbox: &Mailbox, by| mailbox.judge(&bob, Some(by), &frame, &deposits);
        let mut many = Mailbox::new(Some(secret()), 0);
        let share = u64::try_from(limit::MAILBOX_KEY_FRAMES_MAX).unwrap();
        (1..share).for_each(|number| many.insert(number, waits(Some(one.id()), 1)));
        assert_eq!(judge(&many, &one), 0);
        many.insert(share, waits(Some(one.id()), 1));
        assert_eq!((judge(&many, &one), judge(&many, &other)), (code::MAILBOX_FULL, 0));
        many.remove(1);
        assert_eq!(judge(&many, &one), 0, "what was taken leaves room");

        let mut large = Mailbox::new(Some(secret()), 0);
        large.insert(1, waits(Some(one.id()), limit::MAILBOX_KEY_BYTES_MAX - 1_000));
        assert_eq!(judge(&large, &one), 0);
        large.insert(2, waits(Some(one.id()), 1));
        assert_eq!((judge(&large, &one), judge(&large, &other)), (code::MAILBOX_FULL, 0));
        let start = [&START[..], &[0; 100]].concat();
        assert_eq!(large.judge(&bob, None, &start, &deposits), 0, "a stranger's room is another");
        (1..=2).for_each(|number| large.remove(number));
        assert!(large.shares.is_empty() && judge(&large, &one) == 0, "nothing is kept of a key by which nothing waits");
    }

    /// contracts/mailbox.md M2, M6: rows do not name keys.
    #[test]
    fn by_which_key_a_frame_came_is_not_on_disk() {
        let waiting = Waiting { came: UnixMillis(5), ..waits(Some([9; 16]), 3) };
        let Op::Put { value, .. } = put_frame(&bob(), 1, &waiting, b"abc") else { panic!("a row is put") };
        assert!(!value.windows(16).any(|window| window == [9; 16]));
        assert_eq!(read_frame(&value).unwrap().0.key, None);
    }
}

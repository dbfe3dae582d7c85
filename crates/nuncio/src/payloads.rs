//! What the actor knows of each large payload on its way.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nuncio_contracts::registry::{code, extension, limit, time};
use nuncio_proto::control::Control;
use nuncio_proto::error::PeerError;
use nuncio_proto::ids::{AgentId, LetterId};
use nuncio_proto::rows;
use nuncio_proto::step::{Arrival, Step};
use nuncio_proto::time::UnixMillis;
use nuncio_transport::{CloseCode, SendStream};
use tokio::sync::watch;

use crate::actor::Actor;
use crate::chunks::{self, Fetched, Handle, PayloadFrom, PayloadId, Progress, Unsent};
use crate::message::{Incoming, LargePayload};
use crate::wake::{Answer, Wake};

/// Between two tries to fetch a large payload, as long as each brings some of it.
const FETCH_PAUSE: Duration = Duration::from_secs(1);
/// The longest, when they bring nothing: the pause doubles up to it.
const FETCH_PAUSE_MAX: Duration = Duration::from_millis(time::RESEND_MAX);

/// Between two looks at a payload that is over and whose letter is still settled elsewhere.
const EXPIRY_PAUSE_MS: u64 = 1_000;

/// Rows of the runtime's own: large payloads that we send.
pub(crate) const PAYLOAD_OUT: u8 = b'o';

/// A large payload that we send.
#[derive(Debug)]
pub(crate) struct PayloadOut {
    pub(crate) to: AgentId,
    pub(crate) letter: LetterId,
    pub(crate) expires: UnixMillis,
    /// Sealed bytes handed to the network.
    pub(crate) sent: Arc<AtomicU64>,
}

/// A large payload that comes.
#[derive(Debug)]
pub(crate) struct PayloadIn {
    pub(crate) letter: LetterId,
    pub(crate) no: u64,
    pub(crate) handle: Handle,
    pub(crate) progress: watch::Sender<Progress>,
    pub(crate) stage: Stage,
    /// Chunks that are verified and on disk; `None` until the file was looked through once.
    pub(crate) verified: Option<u64>,
    /// How long the next try waits if this one brings nothing.
    pub(crate) pause: Duration,
}

/// What happens to a payload that comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It may be fetched.
    Waits,
    /// It is being fetched, and has a place for that.
    Comes,
    /// A try has ended; the next one waits a little, without a place.
    Rests,
}

impl PayloadIn {
    fn new(arrival: &Arrival, handle: Handle, progress: Progress) -> Self {
        Self {
            letter: arrival.letter.id,
            no: arrival.no,
            handle,
            progress: watch::Sender::new(progress),
            stage: Stage::Waits,
            verified: None,
            pause: FETCH_PAUSE,
        }
    }

    fn is_missing(&self) -> bool {
        self.stage == Stage::Waits && matches!(*self.progress.borrow(), Progress::Arrived(_))
    }

    /// A try has ended with so many chunks on disk, where that is known: how long until the next.
    fn rest(&mut self, verified: Option<u64>) -> Duration {
        self.stage = Stage::Rests;
        let brought = verified.zip(self.verified).is_some_and(|(now, before)| now > before);
        let pause = if brought { FETCH_PAUSE } else { self.pause };
        self.pause = if brought { FETCH_PAUSE } else { pause.saturating_mul(2).min(FETCH_PAUSE_MAX) };
        self.verified = verified;
        pause
    }
}

impl Actor {
    /// A letter as the application sees it. A large payload is looked up, or begun.
    pub(crate) fn incoming(&mut self, arrival: Arrival) -> Incoming {
        let handle = arrival.letter.extension(extension::LARGE_PAYLOAD).and_then(Handle::decode);
        let large = handle.map(|handle| {
            let named = PayloadFrom { from: arrival.from, id: PayloadId(handle.id) };
            let path = chunks::in_path(self.store.home(), named);
            let payload = self.payloads_in.entry(named).or_insert_with(|| {
                let progress = if path.exists() { Progress::Whole } else { Progress::Arrived(0) };
                PayloadIn::new(&arrival, handle.clone(), progress)
            });
            LargePayload { handle, path, progress: payload.progress.subscribe(), lent: None }
        });
        Incoming::new(arrival, large)
    }

    /// Fetches what is missing of this peer's payloads, a few at a time, and no more than it may fill the disk with.
    pub(crate) fn fetch_payloads(&mut self, from: AgentId) {
        let of_peer = || self.payloads_in.iter().filter(|(named, _)| named.from == from).map(|(_, payload)| payload);
        let Some(connection) = self.connection_of(&from) else {
            if of_peer().any(PayloadIn::is_missing) {
                self.dial(from);
            }
            return;
        };
        let comes = |payload: &&PayloadIn| payload.stage == Stage::Comes;
        let places = limit::FETCHES_PER_PEER.saturating_sub(of_peer().filter(comes).count());
        let places = places.min(limit::FETCHES_MAX.saturating_sub(self.payloads_in.values().filter(comes).count()));
        let room = self.room_for_payloads(from);
        let mut next: Vec<_> = of_peer().filter(|payload| payload.is_missing() && room.contains(&payload.no)).collect();
        next.sort_unstable_by_key(|payload| payload.no);
        let next: Vec<u64> = next.into_iter().map(|payload| payload.no).take(places).collect();
        for (named, payload) in self.payloads_in.iter_mut().filter(|(_, payload)| next.contains(&payload.no)) {
            payload.stage = Stage::Comes;
            let (handle, verified, progress) = (payload.handle.clone(), payload.verified, payload.progress.clone());
            let payload = *named;
            let (connection, path) = (connection.clone(), chunks::in_path(self.store.home(), payload));
            let urgent = self.tasks.urgent.clone();
            self.tasks.tracker.spawn(async move {
                let (fetched, verified) = chunks::fetch(connection, handle, path, verified, progress).await;
                // The actor may have stopped.
                let _ = urgent.send(Wake::PayloadEnded { payload, fetched, verified });
            });
        }
    }

    /// Numbers of this peer's letters whose payloads the disk has room for: within its own bound, and within that of all whom the owner did not add.
    fn room_for_payloads(&self, from: AgentId) -> BTreeSet<u64> {
        let own = within(self.payloads_in.iter().filter(|(named, _)| named.from == from), limit::LARGE_BYTES_PER_PEER);
        if self.is_added(&from) {
            return own;
        }
        let strangers = self.payloads_in.iter().filter(|(named, _)| !self.is_added(&named.from));
        &own & &within(strangers, limit::LARGE_BYTES_STRANGERS)
    }

    /// A place is free: peers whose payloads wait take turns.
    fn fetch_next(&mut self, after: AgentId) {
        let missing = self.payloads_in.iter().filter(|(_, payload)| payload.is_missing());
        let mut first: BTreeSet<AgentId> =
            missing.map(|(named, _)| named.from).filter(|from| self.links.contains_key(from)).collect();
        let then = first.split_off(&after);
        let (later, same): (Vec<_>, Vec<_>) = then.into_iter().partition(|from| *from != after);
        later.into_iter().chain(first).chain(same).for_each(|from| self.fetch_payloads(from));
    }

    pub(crate) fn payload_ended(&mut self, named: PayloadFrom, fetched: Fetched, verified: Option<u64>) {
        let Some(payload) = self.payloads_in.get_mut(&named) else {
            // Nobody wanted it any more while it came.
            chunks::delete(&chunks::in_path(self.store.home(), named));
            return self.fetch_next(named.from);
        };
        let letter = payload.letter;
        let pause = payload.rest(verified);
        match fetched {
            Fetched::Whole => {
                payload.progress.send_replace(Progress::Whole);
                self.send_control(named.from, &Control::PayloadTaken(letter));
            }
            Fetched::Lost => drop(payload.progress.send_replace(Progress::Lost)),
            Fetched::Again => {
                let urgent = self.tasks.urgent.clone();
                self.tasks.tracker.spawn(async move {
                    tokio::time::sleep(pause).await;
                    // The actor may have stopped.
                    let _ = urgent.send(Wake::PayloadRested(named));
                });
            }
        }
        self.fetch_next(named.from);
    }

    pub(crate) fn payload_rested(&mut self, named: PayloadFrom) {
        if let Some(payload) = self.payloads_in.get_mut(&named).filter(|payload| payload.stage == Stage::Rests) {
            payload.stage = Stage::Waits;
            self.fetch_payloads(named.from);
        }
    }

    /// Whoever was answered with a large payload has dropped it. That its letter left the inbox was committed before.
    pub(crate) fn payload_dropped(&mut self, named: PayloadFrom) {
        let no = self.payloads_in.get(&named).map(|payload| payload.no);
        if let Some(no) = no.filter(|no| self.peer.done(*no).is_none()) {
            let step = self.peer.forget_seen(Vec::new());
            self.remove_payload(no, step, Vec::new());
        }
    }

    pub(crate) fn payload_asked(&mut self, by: AgentId, id: PayloadId, from_chunk: u64, mut stream: SendStream) {
        let welcome = self.is_welcome(&by);
        let Some(out) = self.payloads_out.get(&id).filter(|out| out.to == by && welcome) else {
            return drop(stream.reset(CloseCode::CANCELLED.into()));
        };
        let of_peer = self.giving.get(&by).copied().unwrap_or(0);
        if of_peer >= limit::FETCHES_PER_PEER || self.giving.values().sum::<usize>() >= limit::FETCHES_MAX {
            return drop(stream.reset(CloseCode::BUSY.into()));
        }
        self.giving.insert(by, of_peer + 1);
        let (path, sent) = (chunks::out_path(self.store.home(), id), Arc::clone(&out.sent));
        let urgent = self.tasks.urgent.clone();
        self.tasks.tracker.spawn(async move {
            chunks::give(path, from_chunk, stream, sent).await;
            // The actor may have stopped.
            let _ = urgent.send(Wake::PayloadGiven { to: by });
        });
    }

    pub(crate) fn payload_given(&mut self, to: AgentId) {
        let left = self.giving.remove(&to).map_or(0, |places| places.saturating_sub(1));
        if left > 0 {
            self.giving.insert(to, left);
        }
    }

    pub(crate) fn payload_sent(&self, to: AgentId, letter: LetterId) -> Option<(u64, u64)> {
        let (id, out) = self.payloads_out.iter().find(|(_, out)| out.to == to && out.letter == letter)?;
        let len = std::fs::metadata(chunks::out_path(self.store.home(), *id)).ok()?.len();
        Some((out.sent.load(Ordering::Relaxed).min(len), len))
    }

    /// Whether a message of a call may leave one more large payload here for an agent, which has those that wait for it not fetched yet.
    ///
    /// # Errors
    /// [`PeerError::TooManyCalls`].
    // contracts/call.md X42.
    pub(crate) fn check_payload_room(&self, to: AgentId, payload: Option<&Unsent>) -> Result<(), PeerError> {
        let Some(payload) = payload else { return Ok(()) };
        let waiting = self.payloads_out.iter().filter(|(_, out)| out.to == to);
        let len =
            |id: &PayloadId| std::fs::metadata(chunks::out_path(self.store.home(), *id)).map_or(0, |file| file.len());
        let waits = waiting.fold(payload.handle().len, |sum, (id, _)| sum.saturating_add(len(id)));
        if waits > limit::CALLS_OUT_LARGE_MAX { Err(PeerError::TooManyCalls(to)) } else { Ok(()) }
    }

    pub(crate) fn payload_taken(&mut self, by: AgentId, letter: LetterId) {
        self.drop_payload_out(by, letter);
        if !self.peer.is_under_way(by, letter) && !self.failing.contains(&(by, letter)) {
            self.settle(by, letter, None);
        }
    }

    pub(crate) fn drop_payload_out(&mut self, to: AgentId, letter: LetterId) {
        let found = self.payloads_out.iter().find(|(_, out)| out.to == to && out.letter == letter).map(|(id, _)| *id);
        if let Some(id) = found {
            self.payloads_out.remove(&id);
            chunks::delete(&chunks::out_path(self.store.home(), id));
            let step = self.peer.forget_seen(vec![payload_row(id)]);
            self.commit(step);
        }
    }

    /// Fails letters whose payload nobody took in their time; their files and rows go with them (contracts/letter.md L18). What is still under way
    /// expires by itself.
    pub(crate) fn expire_payloads(&mut self, now: UnixMillis) {
        if now < self.payloads_due {
            return;
        }
        let waits = |out: &PayloadOut| {
            self.peer.is_under_way(out.to, out.letter) || self.failing.contains(&(out.to, out.letter))
        };
        let over = self.payloads_out.values().filter(|out| out.expires < now && !waits(out));
        let over: Vec<_> = over.map(|out| (out.to, out.letter)).collect();
        for (to, letter) in over {
            let step = self.peer.fail(to, letter, code::EXPIRED);
            self.commit(step);
        }
        let next = self.payloads_out.values().map(|out| out.expires.plus(1)).min();
        self.payloads_due = next.map_or(UnixMillis::NEVER, |at| at.max(now.plus(EXPIRY_PAUSE_MS)));
    }

    /// Commits a step, and deletes the large payload of a letter once that is durable.
    pub(crate) fn remove_payload(&mut self, no: u64, step: Step, mut answers: Vec<Answer>) {
        answers.splice(0..0, self.forget_payload(no));
        self.commit_with(step, answers);
    }

    /// Lets go of a letter's large payload. What deletes it, once it is durable that the letter is gone.
    pub(crate) fn forget_payload(&mut self, no: u64) -> Option<Answer> {
        let named = self.payloads_in.iter().find(|(_, payload)| payload.no == no).map(|(named, _)| *named)?;
        self.payloads_in.remove(&named);
        let path = chunks::in_path(self.store.home(), named);
        self.fetch_payloads(named.from);
        Some(Answer(Box::new(move || chunks::delete(&path))))
    }
}

pub(crate) fn payload_row(id: PayloadId) -> Vec<u8> {
    [[rows::RUNTIME, PAYLOAD_OUT].as_slice(), &id.0].concat()
}

/// Numbers of the letters whose payloads fit within so many bytes, the earliest first.
fn within<'a>(payloads: impl Iterator<Item = (&'a PayloadFrom, &'a PayloadIn)>, most: u64) -> BTreeSet<u64> {
    let mut held: Vec<_> = payloads.map(|(_, payload)| (payload.no, payload.handle.len)).collect();
    held.sort_unstable();
    let mut kept = 0_u64;
    let fits = held.into_iter().filter(|(_, len)| {
        kept = kept.saturating_add(*len);
        kept <= most
    });
    fits.map(|(no, _)| no).collect()
}

pub(crate) fn payload_out(key: &[u8], value: &[u8]) -> Option<(PayloadId, PayloadOut)> {
    let id = PayloadId(key.get(2..)?.try_into().ok()?);
    let (to, value) = value.split_first_chunk::<32>()?;
    let (letter, expires) = value.split_first_chunk::<16>()?;
    let out = PayloadOut {
        to: AgentId::from_bytes(*to).ok()?,
        letter: LetterId::parse(*letter)?,
        expires: UnixMillis(u64::from_be_bytes(expires.try_into().ok()?)),
        sent: Arc::default(),
    };
    Some((id, out))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nuncio_proto::content_type::ContentType;
    use nuncio_proto::crypto::SigningKey;
    use nuncio_proto::letter::Letter;
    use nuncio_proto::secret::Key;

    fn payload(no: u64, len: u64) -> (PayloadFrom, PayloadIn) {
        let from = AgentId::from_bytes(SigningKey::from_seed(&[7; 32]).public()).unwrap();
        let letter = Letter::plain(LetterId::new(UnixMillis(1), [1; 10]), ContentType::TEXT, Vec::new());
        let arrival = Arrival { no, from, received: UnixMillis(1), letter, token: None };
        let handle = Handle { id: [5; 16], key: Key::new([9; 32]), len };
        (PayloadFrom { from, id: PayloadId([5; 16]) }, PayloadIn::new(&arrival, handle, Progress::Arrived(0)))
    }

    #[test]
    fn a_payload_whose_tries_bring_nothing_is_asked_for_less_and_less_and_looked_through_once() {
        let (_, mut payload) = payload(1, 1_000_000);
        let mut rest = |verified| (payload.rest(verified).as_secs(), payload.verified);
        assert_eq!([rest(Some(3)), rest(Some(3)), rest(Some(3))], [(1, Some(3)), (2, Some(3)), (4, Some(3))]);
        assert_eq!([rest(Some(4)), rest(Some(5))], [(1, Some(4)), (1, Some(5))], "these brought something");
        for _ in 0..10 {
            rest(Some(5));
        }
        assert_eq!(rest(Some(5)).0, FETCH_PAUSE_MAX.as_secs());
        assert_eq!(rest(None).1, None, "what the disk refused is looked through again");
    }

    #[test]
    fn a_payload_that_rests_has_no_place_and_is_not_fetched() {
        let (_, mut payload) = payload(1, 1_000_000);
        assert!(payload.is_missing());
        payload.rest(Some(0));
        assert_eq!((payload.stage, payload.is_missing()), (Stage::Rests, false));
    }

    #[test]
    fn what_is_kept_is_bounded_in_the_order_of_arrival() {
        let all = [payload(3, 40), payload(1, 50), payload(2, 30)];
        let room = |most| within(all.iter().map(|(named, payload)| (named, payload)), most);
        assert_eq!(room(120), BTreeSet::from([1, 2, 3]));
        assert_eq!(room(100), BTreeSet::from([1, 2]));
        assert_eq!(room(79), BTreeSet::from([1]));
    }
}

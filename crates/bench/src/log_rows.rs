//! The audit log: events that are verified, logged and durable, beside the check of their signatures alone.

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use nuncio_contracts::registry::event;
use nuncio_node::log::{Answer, Events, Log, verify};
use nuncio_proto::audit::{Chain, Event, EventPeer, Head, SignedEvent, What};
use nuncio_proto::crypto::{self, SigningKey};
use nuncio_proto::ids::AgentId;
use nuncio_proto::secret::Key;
use nuncio_proto::time::UnixMillis;
use nuncio_proto::tlog::{KeyKind, NoteKey};
use nuncio_store::{Kek, Store};

use crate::measure::{ROUNDS, Row, Rows, in_turn, time_us, timed};
use crate::pair::NOW;

/// Events of one commit.
const BATCH: u32 = 512;
const AGENTS: u8 = 64;
const FEW: u64 = 1_000;
pub(crate) const MANY: u64 = 1_000_000;
/// Events on disk, of which the bytes are counted.
const COUNTED: u64 = 500_000;

/// Events of a log that is verified whole, and how often.
const VERIFIED: u32 = 20_000;
const VERIFIED_ROUNDS: usize = 5;

/// Agents that tell of letters, in turn.
pub(crate) struct Tellers(Vec<(SigningKey, AgentId, Chain)>);

impl Tellers {
    pub(crate) fn new() -> Result<Self> {
        let teller = |seed| {
            let signer = SigningKey::from_seed(&[seed; 32]);
            let agent = AgentId::from_bytes(signer.public())?;
            anyhow::Ok((signer, agent, Chain::default()))
        };
        Ok(Self((1..=AGENTS).map(teller).collect::<Result<_>>()?))
    }

    fn tell(&mut self, count: usize) -> Result<Vec<SignedEvent>> {
        (0..count).map(|_| self.tell_one()).collect()
    }

    fn tell_one(&mut self) -> Result<SignedEvent> {
        self.0.rotate_left(1);
        let peer = self.0.get(1).context("a peer")?.1;
        let (signer, agent, chain) = self.0.first_mut().context("a teller")?;
        sent(signer, *agent, peer, chain, NOW)
    }
}

/// What an agent tells of a letter, next in its chain, with all that an event can hold.
pub(crate) fn sent(
    signer: &SigningKey,
    agent: AgentId,
    peer: AgentId,
    chain: &mut Chain,
    now: UnixMillis,
) -> Result<SignedEvent> {
    let mut event = Event {
        peer: Some(EventPeer::Agent(peer)),
        transaction: Some("97053963-771d-49cc-a4e3-20aad399c312".to_owned()),
        token: Some([7; 32]),
        commitment: Some([8; 32]),
        kind: Some("application/json".to_owned()),
        size: Some(9),
        head: Some(Head { epoch: now.0, seq: 41, hash: [9; 32] }),
        ..Event::new(agent, now, What::of(event::LETTER_SENT).context("a kind")?)
    };
    chain.number(&mut event, now.0);
    let signed = SignedEvent::sign(event, signer).context("an event")?;
    chain.follow(&signed);
    Ok(signed)
}

fn log(folder: &Path) -> Result<Events> {
    let store = Arc::new(Store::create(&folder.join("home"), &Kek::from_key(Key::new([7; 32])))?);
    let signer = SigningKey::from_seed(&[200; 32]);
    let key = NoteKey::new("log.example", KeyKind::Ed25519, signer.public()).context("a name")?;
    Ok(Events::open(Log::open(store, &folder.join("log"), key, signer)?)?)
}

/// Logs events as they come from afar: bytes, of which nobody has checked anything.
fn take(events: &mut Events, come: &[Vec<u8>]) -> Result<()> {
    let parsed = come.iter().map(|bytes| SignedEvent::parse(bytes)).collect::<Result<Vec<_>, _>>()?;
    let answers = events.take(&parsed, NOW)?;
    ensure!(answers.iter().all(|answer| matches!(answer, Answer::Logged(_))), "an event was not taken");
    Ok(())
}

pub(crate) fn grow(events: &mut Events, tellers: &mut Tellers, size: u64) -> Result<()> {
    while events.log().size() < size {
        let left = usize::try_from(size - events.log().size())?;
        events.take(&tellers.tell(left.min(usize::try_from(BATCH)?))?, NOW)?;
    }
    Ok(())
}

/// Batches that are made before they are timed.
fn batch(tellers: &mut Tellers) -> Result<Vec<Vec<u8>>> {
    Ok(tellers.tell(usize::try_from(BATCH)?)?.iter().map(|event| event.as_bytes().to_vec()).collect())
}

/// A log that grows, its tellers, and a signature to check beside it.
pub(crate) struct Growing {
    events: Events,
    tellers: Tellers,
    message: Vec<u8>,
    public: [u8; 32],
    signature: [u8; 64],
}

impl Growing {
    pub(crate) fn begin(folder: &Path, size: u64) -> Result<Self> {
        let (mut events, mut tellers) = (log(folder)?, Tellers::new()?);
        grow(&mut events, &mut tellers, size)?;
        let signer = SigningKey::from_seed(&[1; 32]);
        let message = tellers.tell_one()?.as_bytes().to_vec();
        let (public, signature) = (signer.public(), signer.sign_raw(&message));
        // That one was told and goes first: a chain has no gaps.
        take(&mut events, core::slice::from_ref(&message))?;
        Ok(Self { events, tellers, message, public, signature })
    }

    pub(crate) fn to(&mut self, size: u64) -> Result<()> {
        grow(&mut self.events, &mut self.tellers, size)
    }

    /// Microseconds for an event that is verified, chained and durable.
    pub(crate) fn append_us(&mut self) -> Result<f64> {
        let come = batch(&mut self.tellers)?;
        let ((), us) = timed(|| take(&mut self.events, &come))?;
        Ok(us / f64::from(BATCH))
    }

    /// Microseconds for the strict verification of as long a message alone.
    pub(crate) fn verify_us(&self) -> f64 {
        let check = || crypto::verify_raw(&self.public, std::hint::black_box(&self.message), &self.signature).is_ok();
        time_us(|| (0..BATCH).for_each(|_| assert!(check()))) / f64::from(BATCH)
    }
}

/// Events a second that are verified, chained and durable, beside strict verification of as long messages alone.
pub(crate) fn append() -> Result<Row> {
    let folder = tempfile::tempdir()?;
    let log = RefCell::new(Growing::begin(folder.path(), FEW)?);
    let (ours, its) = in_turn(ROUNDS, || log.borrow_mut().append_us(), || Ok(log.borrow().verify_us()))?;
    let beside = Some(("strict verification alone", 1e6 / its));
    Ok(Row { unit: "1/s", ours: 1e6 / ours, beside, less_is_better: false })
}

/// Events a second in a log of a million, beside one of a thousand.
pub(crate) fn growth() -> Result<Row> {
    let folder = tempfile::tempdir()?;
    let mut large = Growing::begin(&folder.path().join("large"), MANY)?;
    let mut small = Growing::begin(&folder.path().join("small"), FEW)?;
    let (ours, its) = in_turn(ROUNDS, || large.append_us(), || small.append_us())?;
    let beside = Some(("a log of a thousand", 1e6 / its));
    Ok(Row { unit: "1/s", ours: 1e6 / ours, beside, less_is_better: false })
}

/// An event that is verified, chained and durable, in a log of so many; beside strict verification of as long a message alone.
pub(crate) fn curve() -> Result<Rows> {
    let folder = tempfile::tempdir()?;
    let log = RefCell::new(Growing::begin(folder.path(), 0)?);
    let at = |size: u64| {
        log.borrow_mut().to(size)?;
        let (ours, its) = in_turn(ROUNDS, || log.borrow_mut().append_us(), || Ok(log.borrow().verify_us()))?;
        Ok((size.to_string(), Row::time_us(ours, "strict verification alone", its)))
    };
    [FEW, 10_000, 100_000, MANY].into_iter().map(at).collect()
}

/// Bytes on disk for one event, beside the event and its hash.
pub(crate) fn bytes() -> Result<Row> {
    let folder = tempfile::tempdir()?;
    let (mut events, mut tellers) = (log(folder.path())?, Tellers::new()?);
    grow(&mut events, &mut tellers, COUNTED)?;
    let one = tellers.tell_one()?.as_bytes().len();
    events.log_mut().publish()?;
    drop(events);
    #[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "counts far below 2^52")]
    let (all, count, floor) = (on_disk(folder.path())? as f64, COUNTED as f64, one as f64 + 32.0);
    Ok(Row { unit: "bytes", ours: all / count, beside: Some(("the event and a hash", floor)), less_is_better: true })
}

/// Events a second of a published log that is verified whole, beside strict verification of as long messages alone.
pub(crate) fn verified() -> Result<Row> {
    let folder = tempfile::tempdir()?;
    let (mut events, mut tellers) = (log(folder.path())?, Tellers::new()?);
    grow(&mut events, &mut tellers, VERIFIED.into())?;
    events.log_mut().publish()?;
    let (key, files) = (events.log().view().key().clone(), folder.path().join("log"));
    let signer = SigningKey::from_seed(&[1; 32]);
    let message = tellers.tell_one()?.as_bytes().to_vec();
    let (public, signature) = (signer.public(), signer.sign_raw(&message));
    let (mut ours, mut its) = (Vec::new(), Vec::new());
    for _ in 0..VERIFIED_ROUNDS {
        let mut verdict = None;
        ours.push(time_us(|| verdict = verify(&files, &key, |_| {}).ok()) / f64::from(VERIFIED));
        ensure!(verdict.is_some_and(|verdict| verdict.head.size == u64::from(VERIFIED)), "the log was not verified");
        let alone = || {
            (0..VERIFIED)
                .for_each(|_| assert!(crypto::verify_raw(&public, std::hint::black_box(&message), &signature).is_ok()))
        };
        its.push(time_us(alone) / f64::from(VERIFIED));
    }
    let (ours, its) = (crate::measure::decile(&mut ours), crate::measure::decile(&mut its));
    Ok(Row {
        unit: "1/s",
        ours: 1e6 / ours,
        beside: Some(("strict verification alone", 1e6 / its)),
        less_is_better: false,
    })
}

/// Bytes that the files of a folder take on disk.
fn on_disk(folder: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    let mut sum = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let about = entry.metadata()?;
        sum += if about.is_dir() { on_disk(&entry.path())? } else { about.blocks() * 512 };
    }
    Ok(sum)
}

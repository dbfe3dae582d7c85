//! How cost grows: one operation at several sizes, each a row whose name ends with its size, so that a table of them is a curve.

use anyhow::{Context, Result, ensure};
use nuncio_contracts::registry::limit;
use nuncio_proto::channel::{ChannelFrame, Incoming, Outgoing, Record, SenderKey};
use nuncio_proto::crypto;
use nuncio_proto::identity::Identity;
use nuncio_proto::ids::AgentId;
use nuncio_proto::payload::PayloadKey;
use nuncio_proto::secret::Key;
use nuncio_proto::session::Session;
use rand_core::Rng;

use crate::channel_rows::record_of;
use crate::measure::{ROUNDS, Row, Rows, in_turn, time_us, timed};
use crate::mls::Group;
use crate::owner::{Owner, Stranger};
use crate::pair::{self, BlockRng, NOW};

/// Letters of one round.
const BATCH: u32 = 50;

/// A letter sealed and opened, of more and more bytes, and behind the longest letter a large payload in its chunks; beside its AEAD alone.
pub(crate) fn payload() -> Result<Rows> {
    let mut rows = Vec::new();
    for len in [32, 256, 1 << 10, 4 << 10, 16 << 10, limit::PAYLOAD_INLINE_MAX] {
        rows.push((len.to_string(), in_a_letter(len)?));
    }
    for (len, rounds) in [(1_u64 << 20, 20), (16 << 20, 8), (128 << 20, 3), (limit::PAYLOAD_LARGE_MAX, 1)] {
        rows.push((len.to_string(), in_chunks(len, rounds)?));
    }
    Ok(rows)
}

fn in_a_letter(len: usize) -> Result<Row> {
    let mut rng = BlockRng::new();
    let (mut a, mut b) = pair::confirmed(&mut rng)?;
    let letter = pair::letter(len);
    let mut bare = letter.payload.clone();
    let (ours, its) = in_turn(
        ROUNDS,
        || {
            let ((), us) = timed(|| {
                (0..BATCH).try_for_each(|_| {
                    let frame = pair::seal(&mut a, &letter, &mut rng)?;
                    pair::open(&mut b, &frame, &mut rng).map(drop)
                })
            })?;
            pair::acknowledge(&mut b, &mut a, &mut rng)?;
            Ok(us / f64::from(BATCH))
        },
        || Ok(time_us(|| (0..BATCH).for_each(|_| sealed_and_opened(&mut bare))) / f64::from(BATCH)),
    )?;
    Ok(Row::time_us(ours, "its AEAD alone, sealed and opened", its))
}

fn sealed_and_opened(bytes: &mut [u8]) {
    let tag = crypto::seal_in_place(&[4; 32], &[0; 12], &[], bytes);
    assert!(crypto::open_in_place(&[4; 32], &[0; 12], &[], bytes, &tag).is_ok());
}

fn in_chunks(len: u64, rounds: usize) -> Result<Row> {
    let payload = PayloadKey { id: [1; 16], key: Key::new([2; 32]), len };
    let (mut chunk, mut bare) = (vec![b'x'; limit::CHUNK_LEN], vec![b'x'; limit::CHUNK_LEN]);
    let (ours, its) = in_turn(
        rounds,
        || {
            let ((), us) = timed(|| {
                (0..payload.chunks()).try_for_each(|index| {
                    payload.seal_chunk(index, &mut chunk);
                    let opened = payload.open_chunk(index, &mut chunk)?.len();
                    chunk.truncate(opened);
                    Ok(())
                })
            })?;
            Ok(us)
        },
        || Ok(time_us(|| (0..payload.chunks()).for_each(|_| sealed_and_opened(&mut bare)))),
    )?;
    Ok(Row::time_us(ours, "its AEAD alone, sealed and opened", its))
}

/// A letter that comes first of a chain, so many frames ahead of those that have not come, whose keys are kept; beside what this cannot do without.
pub(crate) fn skipped() -> Result<Rows> {
    let (frames, b) = chain()?;
    let mut rng = BlockRng::new();
    let mut row = |ahead: usize| {
        let frame = frames.get(ahead).context("a frame")?;
        let (ours, its) = in_turn(
            ROUNDS,
            || {
                let ((), us) = timed(|| opened_only(&b, frame, &mut rng))?;
                Ok(us)
            },
            || Ok(time_us(|| primitives_of(ahead, frame.len()))),
        )?;
        Ok((ahead.to_string(), Row::time_us(ours, "the chain steps and two AEADs", its)))
    };
    [0, 1, 4, 16, 64, 256, 1_023].into_iter().map(&mut row).collect()
}

fn opened_only(session: &Session, frame: &[u8], rng: &mut BlockRng) -> Result<()> {
    let _ = std::hint::black_box(session.open(&pair::sealed(frame)?, 1_024, rng)?);
    Ok(())
}

/// A chain step is two HMACs; a frame is a header and a body.
fn primitives_of(ahead: usize, len: usize) {
    for _ in 0..=ahead {
        for constant in [[1], [2]] {
            std::hint::black_box(crypto::hmac_sha256(&[3; 32], &[&constant]));
        }
    }
    for len in [len.min(74), len.saturating_sub(150)] {
        std::hint::black_box(crypto::open_in_place(&[4; 32], &[0; 12], &[], &mut vec![0; len], &[0; 16]).is_ok());
    }
}

/// A letter that comes late, while the keys of so many others that have not come are kept; beside one that comes in its turn, of which none are.
pub(crate) fn kept() -> Result<Rows> {
    let row = |count: usize| {
        let (frames, mut b) = chain()?;
        let (fresh, in_turn_of) = chain()?;
        let mut rng = BlockRng::new();
        let last = frames.get(count).context("a frame")?;
        pair::open(&mut b, last, &mut rng)?;
        let late = frames.get(count / 2).context("a frame")?;
        let next = fresh.first().context("a frame")?;
        let mut other = BlockRng::new();
        let (ours, its) = in_turn(
            ROUNDS,
            || Ok(timed(|| opened_only(&b, late, &mut rng))?.1),
            || Ok(timed(|| opened_only(&in_turn_of, next, &mut other))?.1),
        )?;
        Ok((count.to_string(), Row::time_us(ours, "one in its turn", its)))
    };
    [1, 4, 16, 64, 256, 1_023].into_iter().map(row).collect()
}

/// A window of frames, sealed one after the other, none of which has come.
fn chain() -> Result<(Vec<Vec<u8>>, Session)> {
    let mut rng = BlockRng::new();
    let (mut a, b) = pair::confirmed(&mut rng)?;
    let letter = pair::letter(32);
    let frames = (0..limit::WINDOW).map(|_| pair::seal(&mut a, &letter, &mut rng)).collect::<Result<_>>()?;
    Ok((frames, b))
}

/// A letter that comes to an agent which has so many sessions, from its bytes to what is to be written; beside an agent that has one.
pub(crate) fn sessions() -> Result<Rows> {
    let mut many = Crowd { owner: Owner::create()?, met: Vec::new() };
    let mut one = Crowd { owner: Owner::create()?, met: Vec::new() };
    one.grow(1)?;
    let mut rows = Vec::new();
    for size in [1, 10, 100, 1_000, 10_000] {
        many.grow(size)?;
        let (ours, its) = in_turn(ROUNDS, || many.hear_one(), || one.hear_one())?;
        rows.push((size.to_string(), Row::time_us(ours, "an agent with one session", its)));
    }
    Ok(rows)
}

struct Crowd {
    owner: Owner,
    met: Vec<Stranger>,
}

impl Crowd {
    fn grow(&mut self, size: usize) -> Result<()> {
        while self.met.len() < size {
            self.met.push(self.owner.meet(u64::try_from(self.met.len())?)?);
            drop(self.owner.take_writes());
        }
        Ok(())
    }

    /// Some letters of the next in turn: microseconds for one.
    fn hear_one(&mut self) -> Result<f64> {
        self.met.rotate_left(1);
        let next = self.met.first_mut().context("a stranger")?;
        Ok(self.owner.hear(next, BATCH)? / f64::from(BATCH))
    }
}

/// A channel's letter of 1 KiB sealed for so many members, a frame for each; beside a message of an MLS group, which is one for all.
pub(crate) fn members_seal() -> Result<Rows> {
    members(
        |two, group| {
            let payload = vec![7; 1_024];
            in_turn(
                ROUNDS / 2,
                || {
                    two.begin_if_due()?;
                    Ok(timed(|| two.seal(&payload))?.1)
                },
                || Ok(timed(|| group.say(0, &payload))?.1),
            )
        },
        "openmls, the message",
    )
}

/// The same, opened by one of them.
pub(crate) fn members_open() -> Result<Rows> {
    members(
        |two, group| {
            let payload = vec![7; 1_024];
            let group = core::cell::RefCell::new(group);
            in_turn(
                ROUNDS / 2,
                || {
                    two.begin_if_due()?;
                    let frame = two.seal(&payload)?;
                    Ok(timed(|| two.open(&frame))?.1)
                },
                || {
                    let message = group.borrow_mut().say(0, &payload)?;
                    Ok(timed(|| group.borrow_mut().hear(1, &message, payload.len()))?.1)
                },
            )
        },
        "openmls, the message opened",
    )
}

fn members(measure: impl Fn(&mut Two, &mut Group) -> Result<(f64, f64)>, beside: &'static str) -> Result<Rows> {
    let row = |count: u32| {
        let (mut two, mut group) = (Two::of(count)?, Group::new(count, count - 1)?);
        let (ours, its) = measure(&mut two, &mut group)?;
        Ok((count.to_string(), Row::time_us(ours, beside, its)))
    };
    [2, 8, 32, 128, 1_000].into_iter().map(row).collect()
}

/// Two members of a channel of many: one who writes and one who reads.
struct Two {
    record: Record,
    sender: Identity,
    out: Outgoing,
    reader: AgentId,
    /// All but these two.
    others: Vec<AgentId>,
    incoming: Incoming,
    rng: BlockRng,
}

impl Two {
    fn of(count: u32) -> Result<Self> {
        let mut rng = BlockRng::new();
        let mut identities = (0..count).map(|_| Ok(Identity::generate(&mut rng)?)).collect::<Result<Vec<_>>>()?;
        identities.sort_by_key(Identity::id);
        let record = record_of(&identities)?;
        let reader = identities.last().context("a reader")?.id();
        let others = identities.iter().map(Identity::id).skip(1).filter(|other| *other != reader).collect();
        let sender = identities.into_iter().next().context("a sender")?;
        let (out, incoming) = (Outgoing::new(&record, sender.id()), Incoming::new(&record, reader));
        Ok(Self { record, sender, out, reader, others, incoming, rng })
    }

    /// Hands the next chain over where one is due.
    fn begin_if_due(&mut self) -> Result<()> {
        if !self.out.needs_chain(&self.record.epoch(), NOW) {
            return Ok(());
        }
        let new = self.out.begin(&self.record, NOW, &mut self.rng)?;
        let key = new.keys().iter().find(|(agent, _)| *agent == self.reader).context("a key")?.1.encode();
        self.out.apply_chain(new);
        let key = SenderKey::parse(&key, &self.sender.id())?;
        let taken = self.incoming.take_key(self.sender.id(), key, &self.record, NOW)?;
        ensure!(self.incoming.apply_key(taken).is_none(), "an honest sender tells one story");
        Ok(())
    }

    /// A frame for each of the others: the reader's.
    fn seal(&mut self, payload: &[u8]) -> Result<Vec<u8>> {
        let mut nonce = [0; 12];
        self.rng.fill_bytes(&mut nonce);
        let epoch = self.record.epoch();
        let sealed = self.out.seal(&epoch, payload.to_vec(), None, &nonce, self.sender.signing(), NOW)?;
        self.out.apply(&sealed);
        for other in &self.others {
            std::hint::black_box(sealed.frame_for(other).context("a recipient")?);
        }
        sealed.frame_for(&self.reader).context("a recipient")
    }

    fn open(&mut self, frame: &[u8]) -> Result<()> {
        let opened = self.incoming.receive(&ChannelFrame::decode(frame)?, 64)?;
        ensure!(opened.equivocation.is_none(), "an honest sender tells one story");
        let _ = self.incoming.apply(opened, NOW);
        Ok(())
    }
}

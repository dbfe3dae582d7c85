//! What a channel's changes cost, beside an MLS group of the same size: one member in, one out, in one process and without sockets.
//!
//! An entry of ours is sealed for each member in the session with it, which is counted; MLS seals its commit once. A commit renews the group's
//! keys; behind an entry each of our members says its next chain to all others before its next letter, which is counted apart (`chain`,
//! `chained`): nothing of MLS stands beside it. openmls writes to its provider's memory at each step, and our core to nothing.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use nuncio_proto::channel::{Change, Incoming, Invite, Join, Judged, Outgoing, Record, Says, SenderKey, Word};
use nuncio_proto::content_type::ContentType;
use nuncio_proto::control::Control;
use nuncio_proto::identity::Identity;
use nuncio_proto::ids::{AgentId, ChannelId, LetterId};
use nuncio_proto::letter::{Letter, LetterKind};
use nuncio_proto::session::Session;

use crate::channel_rows::record_of;
use crate::measure::{Row, Rows, decile, timed};
use crate::mls::{Group, Newcomer};
use crate::pair::{self, BlockRng, NOW};

struct Size {
    members: u32,
    /// Every so-manieth member is run and measured, of ours and of theirs; of the others there are keys alone.
    every: u32,
    rounds: usize,
    /// How many are measured, in words.
    measured: &'static str,
}

pub(crate) fn of_8() -> Result<Rows> {
    table(&Size { members: 8, every: 1, rounds: 30, measured: "openmls, the mean of all 7 others" })
}

pub(crate) fn of_32() -> Result<Rows> {
    table(&Size { members: 32, every: 1, rounds: 20, measured: "openmls, the mean of all 31 others" })
}

pub(crate) fn of_128() -> Result<Rows> {
    table(&Size { members: 128, every: 4, rounds: 10, measured: "openmls, the mean of 31 of 127 others" })
}

/// All 1,000 in one process are too many for openmls, each of which keeps the tree: 15 others are run.
pub(crate) fn of_1000() -> Result<Rows> {
    table(&Size { members: 1_000, every: 64, rounds: 6, measured: "openmls, the mean of 15 of 999 others" })
}

/// Microseconds of each round.
#[derive(Default)]
struct Times {
    add: Vec<f64>,
    added: Vec<f64>,
    join: Vec<f64>,
    remove: Vec<f64>,
    removed: Vec<f64>,
    chain: Vec<f64>,
    chained: Vec<f64>,
}

/// `add` and `remove` are what the owner works, `added` and `removed` what a member, `join` what the newcomer: of ours it verifies the record from
/// its first entry, here of a channel in which nothing was changed yet; every change since costs it what it costs a member. `chain` is what a member works to
/// hand its next chain to all others, `chained` what each of these works to take it.
fn table(size: &Size) -> Result<Rows> {
    let (mut crew, mut group) = (Crew::new(size)?, Group::new(size.members, size.every)?);
    group.warm()?;
    let (mut ours, mut its) = (Times::default(), Times::default());
    for round in 0..size.rounds {
        crew.round(&mut ours)?;
        mls_round(&mut group, size.members + u32::try_from(round)?, &mut its)?;
    }
    let beside = |mut ours: Vec<f64>, what, mut its: Vec<f64>| Row::time_us(decile(&mut ours), what, decile(&mut its));
    let alone = |mut ours: Vec<f64>| Row { unit: "us", ours: decile(&mut ours), beside: None, less_is_better: true };
    Ok(vec![
        ("add".to_owned(), beside(ours.add, "openmls, who commits", its.add)),
        ("added".to_owned(), beside(ours.added, size.measured, its.added)),
        ("join".to_owned(), beside(ours.join, "openmls, the newcomer", its.join)),
        ("remove".to_owned(), beside(ours.remove, "openmls, who commits", its.remove)),
        ("removed".to_owned(), beside(ours.removed, size.measured, its.removed)),
        ("chain".to_owned(), alone(ours.chain)),
        ("chained".to_owned(), alone(ours.chained)),
    ])
}

fn mls_round(group: &mut Group, number: u32, times: &mut Times) -> Result<()> {
    let newcomer = Newcomer::new(number)?;
    let ((commit, welcome), us) = timed(|| group.add(&newcomer))?;
    times.add.push(us);
    let (others, us) = timed(|| group.follow(&commit))?;
    times.added.push(us / f64::from(others));
    let (leaf, us) = timed(|| newcomer.enter(&welcome))?;
    times.join.push(us);
    let (commit, us) = timed(|| group.remove(leaf))?;
    times.remove.push(us);
    let (others, us) = timed(|| group.follow(&commit))?;
    times.removed.push(us / f64::from(others));
    Ok(())
}

/// An owner with a session for each other member, and the members that are measured.
struct Crew {
    owner: Identity,
    /// As the channel was founded.
    first: Record,
    record: Record,
    incoming: Incoming,
    out: Outgoing,
    links: BTreeMap<AgentId, Session>,
    members: Vec<Member>,
    rng: BlockRng,
}

struct Member {
    id: AgentId,
    session: Session,
    record: Record,
    incoming: Incoming,
}

type Frames = BTreeMap<AgentId, Vec<u8>>;

impl Crew {
    fn new(size: &Size) -> Result<Self> {
        let mut rng = BlockRng::new();
        let mut identities =
            (0..size.members).map(|_| Ok(Identity::generate(&mut rng)?)).collect::<Result<Vec<_>>>()?;
        identities.sort_by_key(Identity::id);
        let record = record_of(&identities)?;
        let (mut links, mut members) = (BTreeMap::new(), Vec::new());
        for (identity, number) in identities.iter().zip(0..).skip(1) {
            let (id, (link, session)) = (identity.id(), pair::confirmed(&mut rng)?);
            links.insert(id, link);
            if number % size.every == 0 {
                members.push(Member { id, session, record: record.clone(), incoming: Incoming::new(&record, id) });
            }
        }
        let ids: Vec<_> = identities.iter().map(Identity::id).collect();
        let owner = identities.into_iter().next().context("an owner")?;
        let (incoming, out) = (Incoming::new(&record, owner.id()), Outgoing::new(&record, owner.id()));
        let mut crew = Self { owner, first: record.clone(), record, incoming, out, links, members, rng };
        ids.into_iter().try_for_each(|id| crew.begin(id))?;
        Ok(crew)
    }

    /// A member's first chain, to all that are measured.
    fn begin(&mut self, from: AgentId) -> Result<()> {
        let chain = Outgoing::new(&self.record, from).begin(&self.record, NOW, &mut self.rng)?;
        let keys: BTreeMap<_, _> = chain.keys().iter().map(|(agent, key)| (*agent, key)).collect();
        let owner = (self.owner.id(), &mut self.incoming);
        let members = self.members.iter_mut().map(|member| (member.id, &mut member.incoming));
        for (id, incoming) in members.chain([owner]).filter(|(id, _)| *id != from) {
            let key = SenderKey::clone(keys.get(&id).context("a key")?);
            let taken = incoming.take_key(from, key, &self.record, NOW)?;
            ensure!(incoming.apply_key(taken).is_none(), "an honest sender tells one story");
        }
        Ok(())
    }

    /// One in, one out, and the owner's next chain.
    fn round(&mut self, times: &mut Times) -> Result<()> {
        let newcomer = Identity::generate(&mut self.rng)?;
        let (channel, epoch, by, agent) = (self.record.channel(), self.record.epoch(), self.owner.id(), newcomer.id());
        let invite = Invite { channel, epoch, by, agent, expires: NOW, id: [1; 16] };
        let (invite, invited) = timed(|| Ok(invite.sign(self.owner.signing())))?;
        let join = Join { channel, agent, invite: Invite::hash(&invite) }.sign(newcomer.signing());
        let [add, added] = self.change(&Change::Add(vec![agent]), vec![join, invite])?;
        let (_, joined) = timed(|| Ok(Record::verify(self.first.entries(), NOW)?))?;
        let [remove, removed] = self.change(&Change::Remove(vec![agent]), Vec::new())?;
        let [chain, chained] = self.chain()?;
        times.add.push(invited + add);
        times.added.push(added);
        times.join.push(joined);
        times.remove.push(remove);
        times.removed.push(removed);
        times.chain.push(chain);
        times.chained.push(chained);
        Ok(())
    }

    /// The owner appends an entry and says it to all; each that is measured verifies and applies it: the owner's time, and a member's.
    fn change(&mut self, change: &Change, consents: Vec<Vec<u8>>) -> Result<[f64; 2]> {
        let (frames, owner) = timed(|| self.append(change, consents))?;
        let member = self.each(&frames, |member, _, says| {
            let Says::Entries { entries, .. } = says else { bail!("no entries") };
            for entry in entries {
                let Judged::Next(next) = member.record.check(&entry, NOW)? else { bail!("no next entry") };
                member.record.apply(*next)?;
            }
            member.incoming.follow(&member.record);
            Ok(())
        })?;
        Ok([owner, member])
    }

    fn append(&mut self, change: &Change, consents: Vec<Vec<u8>>) -> Result<Frames> {
        let (entry, next) = self.record.append(change.clone(), consents, NOW, self.owner.signing())?;
        self.record.apply(next)?;
        self.incoming.follow(&self.record);
        let channel = self.record.channel();
        let frames = self.links.iter_mut().map(|(agent, link)| {
            let says = Says::Entries { entries: vec![entry.clone()], reach: Vec::new() };
            Ok((*agent, say(link, channel, says, &mut self.rng)?))
        });
        frames.collect()
    }

    /// The owner's next chain: its time for all, and a member's.
    fn chain(&mut self) -> Result<[f64; 2]> {
        let (frames, owner) = timed(|| self.begin_chain())?;
        let member = self.each(&frames, |member, from, says| {
            let Says::Key(bytes) = says else { bail!("no sender key") };
            let taken = member.incoming.take_key(from, SenderKey::parse(&bytes, &from)?, &member.record, NOW)?;
            ensure!(member.incoming.apply_key(taken).is_none(), "an honest sender tells one story");
            Ok(())
        })?;
        Ok([owner, member])
    }

    fn begin_chain(&mut self) -> Result<Frames> {
        let chain = self.out.begin(&self.record, NOW, &mut self.rng)?;
        let channel = self.record.channel();
        let frames = chain.keys().iter().map(|(agent, key)| {
            let link = self.links.get_mut(agent).context("a session")?;
            Ok((*agent, say(link, channel, Says::Key(key.encode()), &mut self.rng)?))
        });
        let frames = frames.collect();
        self.out.apply_chain(chain);
        frames
    }

    /// Every member that is measured opens its frame and does something with it: the mean of their times. Each answers then, so that the ratchet of
    /// its session turns with the next.
    fn each(&mut self, frames: &Frames, mut does: impl FnMut(&mut Member, AgentId, Says) -> Result<()>) -> Result<f64> {
        let mut sum = 0.0;
        for member in &mut self.members {
            let frame = frames.get(&member.id).context("a frame")?;
            let ((), us) = timed(|| {
                let says = hear(&mut member.session, frame, &mut self.rng)?;
                does(member, self.owner.id(), says)
            })?;
            sum += us;
            let answer = pair::seal(&mut member.session, &pair::letter(32), &mut self.rng)?;
            pair::open(self.links.get_mut(&member.id).context("a session")?, &answer, &mut self.rng)?;
        }
        Ok(sum / f64::from(u32::try_from(self.members.len())?))
    }
}

fn say(link: &mut Session, channel: ChannelId, says: Says, rng: &mut BlockRng) -> Result<Vec<u8>> {
    let control = Control::Channel(Box::new(Word { channel, says })).encode();
    let mut letter = Letter::plain(LetterId::new(NOW, [7; 10]), ContentType::CBOR, control);
    letter.kind = LetterKind::Control;
    pair::seal(link, &letter, rng)
}

fn hear(session: &mut Session, frame: &[u8], rng: &mut BlockRng) -> Result<Says> {
    let letter = pair::opened(session, frame, rng)?.pop().context("a letter")?;
    match Control::decode(&letter.payload) {
        Some(Control::Channel(word)) => Ok(word.says),
        _ => bail!("no word of a channel"),
    }
}

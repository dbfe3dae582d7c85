//! Channels, beside the application messages of an MLS group of the same size: all members in one process, every one opening.

use anyhow::{Context, Result, ensure};
use nuncio_proto::channel::{Change, ChannelFrame, Incoming, Invite, Join, Outgoing, Record, SenderKey};
use nuncio_proto::identity::Identity;
use rand_core::Rng;

use crate::measure::{Row, interleaved, time_us};
use crate::mls::Group;
use crate::pair::{BlockRng, NOW};

/// Letters of one round.
const LETTERS: u32 = 8;
const MEMBERS: u32 = 32;

/// Deliveries a second: a letter of 1 KiB is sealed by one of 32 members in turn and opened by every other; state moves at both ends.
pub(crate) fn channel_32() -> Result<Row> {
    let (mut ours, mut its) = (Channel::new(MEMBERS)?, Group::new(MEMBERS, 1)?);
    let payload = vec![7; 1024];
    let round = |deliver: &mut dyn FnMut() -> Result<()>| {
        let mut result = Ok(());
        let us = time_us(|| result = (0..LETTERS).try_for_each(|_| deliver()));
        result.map_or(f64::NAN, |()| us)
    };
    // Once each, so that a failure is told and not timed.
    ours.deliver(&payload)?;
    its.deliver(&payload)?;
    let (ours, its) = interleaved(
        LETTERS * (MEMBERS - 1),
        || round(&mut || ours.deliver(&payload)),
        || round(&mut || its.deliver(&payload)),
    );
    ensure!(ours.is_finite() && its.is_finite(), "a letter was not delivered");
    let beside = Some(("openmls 0.7, application messages", 1e6 / its));
    Ok(Row { unit: "/s", ours: 1e6 / ours, beside, less_is_better: false })
}

/// Members of ours, each with the chains of all others.
struct Channel {
    members: Vec<Member>,
    record: Record,
    turn: usize,
    rng: BlockRng,
}

struct Member {
    identity: Identity,
    out: Outgoing,
    incoming: Incoming,
}

impl Channel {
    fn new(count: u32) -> Result<Self> {
        let mut rng = BlockRng::new();
        let mut identities = (0..count).map(|_| Ok(Identity::generate(&mut rng)?)).collect::<Result<Vec<_>>>()?;
        identities.sort_by_key(Identity::id);
        let record = record_of(&identities)?;
        let member = |identity: Identity| {
            let id = identity.id();
            Member { out: Outgoing::new(&record, id), incoming: Incoming::new(&record, id), identity }
        };
        let members = identities.into_iter().map(member).collect();
        let mut channel = Self { members, record, turn: 0, rng };
        (0..channel.members.len()).try_for_each(|of| channel.hand_over(of))?;
        Ok(channel)
    }

    fn hand_over(&mut self, of: usize) -> Result<()> {
        let sender = self.members.get_mut(of).context("a member")?;
        let (from, new) = (sender.identity.id(), sender.out.begin(&self.record, NOW, &mut self.rng)?);
        let keys: Vec<_> = new.keys().iter().map(|(agent, key)| (*agent, key.encode())).collect();
        sender.out.apply_chain(new);
        for (agent, bytes) in keys {
            let to = self.members.iter_mut().find(|member| member.identity.id() == agent).context("a member")?;
            let taken = to.incoming.take_key(from, SenderKey::parse(&bytes, &from)?, &self.record, NOW)?;
            ensure!(to.incoming.apply_key(taken).is_none(), "an honest sender tells one story");
        }
        Ok(())
    }

    /// The next member's letter, to all.
    fn deliver(&mut self, payload: &[u8]) -> Result<()> {
        let (of, epoch) = (self.turn % self.members.len(), self.record.epoch());
        self.turn += 1;
        if self.members.get(of).is_some_and(|sender| sender.out.needs_chain(&epoch, NOW)) {
            self.hand_over(of)?;
        }
        let mut nonce = [0; 12];
        self.rng.fill_bytes(&mut nonce);
        let sender = self.members.get_mut(of).context("a member")?;
        let said = sender.incoming.attest(None, None);
        let sealed = sender.out.seal(&epoch, payload.to_vec(), said, &nonce, sender.identity.signing(), NOW)?;
        sender.out.apply(&sealed);
        for (at, member) in self.members.iter_mut().enumerate().filter(|(at, _)| *at != of) {
            let frame = sealed.frame_for(&member.identity.id()).context("a recipient")?;
            let opened = member.incoming.receive(&ChannelFrame::decode(&frame)?, 64)?;
            ensure!(opened.letter.len() == payload.len() && opened.equivocation.is_none(), "member {at}");
            let _ = member.incoming.apply(opened, NOW);
        }
        Ok(())
    }
}

/// A record of the first, with all others.
pub(crate) fn record_of(identities: &[Identity]) -> Result<Record> {
    let (owner, others) = identities.split_first().context("an owner")?;
    let mut record = Record::create(owner.signing(), "bench", false, NOW, [7; 32])?;
    for some in others.chunks(64) {
        let consents = some.iter().flat_map(|agent| {
            let (channel, epoch) = (record.channel(), record.epoch());
            let invite = Invite { channel, epoch, by: owner.id(), agent: agent.id(), expires: NOW, id: [1; 16] };
            let invite = invite.sign(owner.signing());
            let join = Join { channel, agent: agent.id(), invite: Invite::hash(&invite) };
            [join.sign(agent.signing()), invite]
        });
        let (consents, change) = (consents.collect(), Change::Add(some.iter().map(Identity::id).collect()));
        let (_, next) = record.append(change, consents, NOW, owner.signing())?;
        record.apply(next)?;
    }
    Ok(record)
}

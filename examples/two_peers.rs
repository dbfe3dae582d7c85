//! The protocol by hand: two peers as plain values, no runtime, no store, no socket. Whoever embeds `nuncio-proto` writes this loop.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::collections::{BTreeMap, VecDeque};

use anyhow::{Context as _, Result, ensure};
use nuncio_proto::bundle::Bundle;
use nuncio_proto::content_type::ContentType;
use nuncio_proto::identity::Identity;
use nuncio_proto::ids::{AgentId, LetterId};
use nuncio_proto::letter::Letter;
use nuncio_proto::peer::{ContactInfo, Peer, Seen};
use nuncio_proto::rows;
use nuncio_proto::step::{Effect, Op, Staged, Step};
use nuncio_proto::testing::{TestRng, rng};
use nuncio_proto::time::UnixMillis;
use nuncio_proto::token::Policy;

/// A disk: what is here survives, what is only in the peer does not.
#[derive(Default)]
struct Disk(BTreeMap<Vec<u8>, Vec<u8>>);

impl Seen for Disk {
    fn seen(&self, from: &AgentId, letter: &LetterId) -> Option<bool> {
        Some(self.0.contains_key(&rows::seen(from, letter)))
    }
}

/// An agent: its state, its disk, and what it may put on the wire.
struct Agent {
    name: &'static str,
    peer: Peer,
    disk: Disk,
    wire: VecDeque<Vec<u8>>,
    // A program takes the system's randomness and clock; an example that ends the same way each time does not.
    rng: TestRng,
    now: UnixMillis,
}

impl Agent {
    fn new(name: &'static str, seed: u64) -> Result<Self> {
        let now = UnixMillis(1_800_000_000_000);
        let mut rng = rng(seed);
        let (mut peer, staged) = Peer::create(Identity::generate(&mut rng)?, now, &mut rng);
        // Letters without a transaction token are delivered only where that is said.
        peer.set_verifier(|verifier| verifier.set_policy(Policy::tokenless()));
        let mut agent = Self { name, peer, disk: Disk::default(), wire: VecDeque::new(), rng, now };
        agent.commit(staged);
        Ok(agent)
    }

    /// The order that everything rests on: memory moves, the disk follows, and only then is anything seen outside.
    fn take(&mut self, step: Step) -> Result<()> {
        let staged = self.peer.stage(step)?;
        self.commit(staged);
        Ok(())
    }

    fn commit(&mut self, staged: Staged) {
        for op in staged.ops {
            match op {
                Op::Put { key, value } => drop(self.disk.0.insert(key, value)),
                Op::Delete { key } => drop(self.disk.0.remove(&key)),
            }
        }
        for effect in staged.effects.after_commit() {
            match effect {
                Effect::Send { frame, .. } => self.wire.push_back(frame),
                Effect::Deliver(arrival) => {
                    println!("{} reads: {}", self.name, String::from_utf8_lossy(&arrival.letter.payload))
                }
                Effect::Delivered { .. } => println!("{} knows that it was delivered", self.name),
                _ => {}
            }
        }
    }

    fn write(&mut self, to: AgentId, text: &str) -> Result<()> {
        let id = LetterId::new(self.now, [u8::try_from(text.len())?; 10]);
        let letter = Letter::plain(id, ContentType::TEXT, text.as_bytes().to_vec());
        let step = self.peer.send(to, &letter, self.now)?;
        self.take(step)
    }

    /// Everything that the protocol wants to do by itself: sealing, acknowledging, sending again.
    fn run(&mut self) -> Result<()> {
        while let Some(step) = self.peer.next(self.now, true, &mut self.rng) {
            self.take(step)?;
        }
        Ok(())
    }

    fn receive(&mut self, from: AgentId, frame: &[u8]) -> Result<()> {
        let step = self.peer.receive(Some(from), frame, self.now, &mut self.rng, &self.disk)?;
        self.take(step)
    }
}

fn main() -> Result<()> {
    let (mut anna, mut ben) = (Agent::new("anna", 1)?, Agent::new("ben", 2)?);
    let (a, b) = (anna.peer.id(), ben.peer.id());
    let friend = ContactInfo { allowed: true, ..ContactInfo::default() };
    let (knows_ben, knows_anna) = (anna.peer.set_contact(b, friend.clone()), ben.peer.set_contact(a, friend));
    anna.take(knows_ben.context("ben is another agent")?)?;
    ben.take(knows_anna.context("anna is another agent")?)?;

    // The letter is a draft on disk; a bundle of ben's turns it into the first frame.
    anna.write(b, "good morning")?;
    let bundle = Bundle::parse(&ben.peer.bundle(&[], ben.now)?, anna.now)?;
    let step = anna.peer.begin(&bundle, anna.now, &mut anna.rng)?;
    anna.take(step)?;
    ben.write(a, "good morning, anna")?;

    for _ in 0..10 {
        for (one, other) in [(a, b), (b, a)] {
            let (from, to) = if one == a { (&mut anna, &mut ben) } else { (&mut ben, &mut anna) };
            from.run()?;
            while let Some(frame) = from.wire.pop_front() {
                println!("  {} → {}: {} bytes", from.name, to.name, frame.len());
                to.receive(one, &frame)?;
            }
            ensure!(one != other);
        }
        // Acknowledgements wait a little for a letter to ride on.
        (anna.now, ben.now) = (anna.now.plus(50), ben.now.plus(50));
    }
    ensure!(anna.peer.outbox().next().is_none() && ben.peer.outbox().next().is_none(), "everything is acknowledged");
    Ok(())
}

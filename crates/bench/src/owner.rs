//! An agent's core that talks to one stranger after the other, without disk or socket.

use anyhow::{Context, Result, ensure};
use nuncio_proto::bundle::Bundle;
use nuncio_proto::handshake::{self, Initiation};
use nuncio_proto::identity::Identity;
use nuncio_proto::ids::{AgentId, LetterId};
use nuncio_proto::peer::{ContactInfo, Peer, Seen};
use nuncio_proto::session::{Parties, Session};
use nuncio_proto::step::{Effect, Op, Step};
use nuncio_proto::time::UnixMillis;
use nuncio_proto::token::Policy;

use crate::measure::timed;
use crate::pair::{self, BlockRng, NOW};

/// A core, and what it wants written and done.
pub(crate) struct Owner {
    peer: Peer,
    rng: BlockRng,
    ops: Vec<Op>,
    effects: Vec<Effect>,
    /// Letters that were heard: their ids.
    heard: u64,
}

/// Whom it has met: its name, and its end of the session.
pub(crate) struct Stranger {
    id: AgentId,
    session: Session,
}

/// No letter of this run comes twice.
struct Unseen;

impl Seen for Unseen {
    fn seen(&self, _: &AgentId, _: &LetterId) -> Option<bool> {
        Some(false)
    }
}

impl Owner {
    /// Who takes letters without a token.
    pub(crate) fn new(mut peer: Peer) -> Self {
        peer.set_verifier(|verifier| verifier.set_policy(Policy::tokenless()));
        Self { peer, rng: BlockRng::new(), ops: Vec::new(), effects: Vec::new(), heard: 0 }
    }

    /// A new agent.
    pub(crate) fn create() -> Result<Self> {
        let mut rng = BlockRng::new();
        let (peer, _) = Peer::create(Identity::generate(&mut rng)?, NOW, &mut rng);
        Ok(Self::new(peer))
    }

    /// What is to be written since this was last asked.
    pub(crate) fn take_writes(&mut self) -> Vec<Op> {
        core::mem::take(&mut self.ops)
    }

    fn take(&mut self, step: Step) -> Result<()> {
        let staged = self.peer.stage(step)?;
        self.ops.extend(staged.ops);
        self.effects.extend(staged.effects.after_commit());
        Ok(())
    }

    fn receive(&mut self, from: AgentId, frame: &[u8]) -> Result<()> {
        let step = self.peer.receive(Some(from), frame, NOW, &mut self.rng, &Unseen)?;
        self.take(step)
    }

    /// A stranger is added, asks for a bundle, begins a session, writes twice, and hears that it was heard.
    pub(crate) fn meet(&mut self, number: u64) -> Result<Stranger> {
        let stranger = Identity::generate(&mut self.rng)?;
        let with = stranger.id();
        let info = ContactInfo { allowed: true, name: Some(format!("agent-{number}")), ..ContactInfo::default() };
        let added = self.peer.set_contact(with, info).context("somebody else")?;
        self.take(added)?;
        let claimed = self.peer.claim(with, number, &[], NOW)?;
        self.take(claimed)?;
        let bundle = self.effects.drain(..).find_map(|effect| match effect {
            Effect::Bundle { bundle, .. } => Some(bundle),
            _ => None,
        });
        let bundle = Bundle::parse(&bundle.context("a bundle")?, NOW)?;
        let Initiation { handshake, secrets } = handshake::initiate(&stranger, &bundle, 0, &mut self.rng)?;
        let parties = Parties { initiator: with, responder: self.peer.id(), initiated: true };
        let prekey = &bundle.prekeys.agreement_prekey;
        let mut theirs = Session::initiate(secrets, parties, 0, prekey, Some(handshake), NOW, &mut self.rng)?;
        for second in 0..2 {
            let frame = pair::seal(&mut theirs, &letter(NOW.plus(second), number), &mut self.rng)?;
            self.receive(with, &frame)?;
            self.answer(&mut theirs)?;
        }
        self.read(2)?;
        Ok(Stranger { id: with, session: theirs })
    }

    /// Microseconds in which so many letters of a stranger's come in: from each one's bytes to what is to be written.
    pub(crate) fn hear(&mut self, from: &mut Stranger, letters: u32) -> Result<f64> {
        let mut frames = Vec::new();
        for number in 0..letters {
            frames.push(pair::seal(&mut from.session, &letter(NOW, self.heard + u64::from(number)), &mut self.rng)?);
        }
        self.heard += u64::from(letters);
        let ((), us) = timed(|| frames.iter().try_for_each(|frame| self.receive(from.id, frame)))?;
        self.answer(&mut from.session)?;
        self.read(letters)?;
        self.ops.clear();
        Ok(us)
    }

    /// All that came was so many, and is read.
    fn read(&mut self, letters: u32) -> Result<()> {
        let unread: Vec<u64> = self.peer.inbox_numbers(None).collect();
        ensure!(unread.len() == usize::try_from(letters)?, "{} letters of {letters} were delivered", unread.len());
        for no in unread {
            let done = self.peer.done(no).context("a letter")?;
            self.take(done)?;
        }
        Ok(())
    }

    fn answer(&mut self, theirs: &mut Session) -> Result<()> {
        while let Some(step) = self.peer.next(NOW, true, &mut self.rng) {
            self.take(step)?;
        }
        for effect in core::mem::take(&mut self.effects) {
            if let Effect::Send { frame, .. } = effect {
                pair::open(theirs, &frame, &mut self.rng)?;
            }
        }
        Ok(())
    }
}

fn letter(now: UnixMillis, number: u64) -> nuncio_proto::letter::Letter {
    let mut random = [0; 10];
    random.iter_mut().zip(number.to_be_bytes()).for_each(|(to, from)| *to = from);
    let text = nuncio_proto::content_type::ContentType::TEXT;
    nuncio_proto::letter::Letter::plain(LetterId::new(now, random), text, b"good morning".to_vec())
}

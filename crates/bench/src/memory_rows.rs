//! `nuncio agent` with 10,000 sessions: what it keeps in memory.

use anyhow::{Context, Result};
use nuncio_cli::process::Program;
use nuncio_cli::wire::Status;
use nuncio_proto::bundle::Bundle;
use nuncio_proto::handshake::{self, Initiation};
use nuncio_proto::identity::Identity;
use nuncio_proto::ids::{AgentId, LetterId};
use nuncio_proto::peer::{ContactInfo, Peer, Record, Seen};
use nuncio_proto::session::{Parties, Session};
use nuncio_proto::step::{Effect, Op, Step};
use nuncio_proto::time::UnixMillis;
use nuncio_proto::token::Policy;
use nuncio_store::{Engine, Kek, Store};

use crate::measure::Row;
use crate::pair::{self, BlockRng, NOW};

/// By this word the program becomes `nuncio`.
pub(crate) const BECOME: &str = "become-nuncio";

const SESSIONS: u64 = 10_000;

/// MiB resident of an agent that has just started with 10,000 sessions, each confirmed and idle.
pub(crate) fn sessions() -> Result<Row> {
    let dir = tempfile::tempdir()?;
    let resident = tokio::runtime::Runtime::new()?.block_on(async {
        let home = dir.path().join("home");
        let program = Program::this(&[BECOME])?;
        program.init(&home).await?;
        tokio::task::block_in_place(|| fill(&home))?;
        let agent = program.start(&home, "127.0.0.1:0".parse()?).await?;
        let resident = resident_kib(agent.pid().context("its process")?)?;
        let status: Status = agent.api().get("/v1/status").await?;
        anyhow::ensure!(status.sessions == SESSIONS, "it has {} sessions", status.sessions);
        anyhow::ensure!(status.outbox == 0 && status.inbox == 0, "its sessions are not idle");
        agent.stop().await?;
        anyhow::Ok(resident)
    })?;
    Ok(Row { unit: "MiB", ours: resident / 1024.0, beside: None, less_is_better: true })
}

pub(crate) fn resident_kib(pid: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).context("the process's status (Linux only)")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// The owner of a home, talking to one stranger after the other.
struct Owner {
    peer: Peer,
    store: Store,
    rng: BlockRng,
    /// Writes that are not in the store yet.
    ops: Vec<Op>,
    effects: Vec<Effect>,
}

/// No letter of this run comes twice.
struct Unseen;

impl Seen for Unseen {
    fn seen(&self, _: &AgentId, _: &LetterId) -> Option<bool> {
        Some(false)
    }
}

fn fill(home: &std::path::Path) -> Result<()> {
    let store = Store::open(home, &Kek::read_key_file(&home.join("key"))?)?;
    let mut records: Vec<Record> = Vec::new();
    store.scan(&[], &mut |key, value| {
        records.push((key.to_vec(), value.to_vec()));
        Ok(())
    })?;
    let mut peer = Peer::load(&records, NOW)?;
    peer.set_verifier(|verifier| verifier.set_policy(Policy::tokenless()));
    let mut owner = Owner { peer, store, rng: BlockRng::new(), ops: Vec::new(), effects: Vec::new() };
    for number in 0..SESSIONS {
        owner.meet(number)?;
        if number.is_multiple_of(100) {
            owner.save()?;
        }
    }
    owner.save()
}

impl Owner {
    fn save(&mut self) -> Result<()> {
        Ok(self.store.commit(&core::mem::take(&mut self.ops))?)
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
    fn meet(&mut self, number: u64) -> Result<()> {
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
        let unread: Vec<u64> = self.peer.inbox_numbers(None).collect();
        anyhow::ensure!(unread.len() == 2, "{} letters of two were delivered", unread.len());
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

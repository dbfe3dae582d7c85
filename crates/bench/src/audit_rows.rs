//! What auditing costs an agent, and what a large log costs a node.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use nuncio_node::LOG_FOLDER;
use nuncio_node::log::{Events, Log};
use nuncio_proto::bundle::Bundle;
use nuncio_proto::content_type::ContentType;
use nuncio_proto::crypto::SigningKey;
use nuncio_proto::identity::Identity;
use nuncio_proto::ids::{AgentId, LetterId};
use nuncio_proto::letter::Letter;
use nuncio_proto::peer::{AuditPolicy, Auditing, ContactInfo, Peer, Seen};
use nuncio_proto::rows;
use nuncio_proto::step::{Effect, Op, Step};
use nuncio_proto::tlog::{KeyKind, NoteKey};
use nuncio_proto::token::Policy;
use nuncio_store::{Engine as _, Kek, Store};

use crate::log_rows::{MANY, Tellers, grow};
use crate::measure::{Row, interleaved, time_us};
use crate::memory_rows::{BECOME, resident_kib};
use crate::pair::{BlockRng, NOW};

/// Letters of one round.
const LETTERS: u32 = 256;
/// Bytes of an event, about.
const EVENT: [u8; 384] = [7; 384];

/// Two agents without disk or network.
struct Talk {
    one: Talker,
    two: Talker,
    sent: u64,
}

struct Talker {
    peer: Peer,
    rng: BlockRng,
    /// Frames for the other.
    frames: Vec<Vec<u8>>,
    wants: bool,
    bundle: Option<Vec<u8>>,
    /// Events that were written down.
    events: u64,
    delivered: u64,
}

/// No letter of this run comes twice.
struct Unseen;

impl Seen for Unseen {
    fn seen(&self, _: &AgentId, _: &LetterId) -> Option<bool> {
        Some(false)
    }
}

impl Talker {
    fn new(auditing: Auditing) -> Result<Self> {
        let mut rng = BlockRng::new();
        let (mut peer, _) = Peer::create(Identity::generate(&mut rng)?, NOW, &mut rng);
        peer.set_verifier(|verifier| verifier.set_policy(Policy::tokenless()));
        peer.set_audit(AuditPolicy { auditing, room: u64::MAX, ..AuditPolicy::default() }, 0..0);
        Ok(Self { peer, rng, frames: Vec::new(), wants: false, bundle: None, events: 0, delivered: 0 })
    }

    fn take(&mut self, step: Step) -> Result<()> {
        let staged = self.peer.stage(step)?;
        let told = |op: &&Op| matches!(op, Op::Put { key, .. } if key.first() == Some(&rows::SPOOL));
        self.events += u64::try_from(staged.ops.iter().filter(told).count())?;
        for effect in staged.effects.after_commit() {
            match effect {
                Effect::Send { frame, .. } => self.frames.push(frame),
                Effect::WantBundle { .. } => self.wants = true,
                Effect::Bundle { bundle, .. } => self.bundle = Some(bundle),
                Effect::Deliver(arrival) => {
                    self.delivered += 1;
                    let done = self.peer.done(arrival.no).context("a letter")?;
                    self.take(done)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn run(&mut self) -> Result<()> {
        while let Some(step) = self.peer.next(NOW, true, &mut self.rng) {
            self.take(step)?;
        }
        Ok(())
    }

    fn know(&mut self, other: AgentId) -> Result<()> {
        let info = ContactInfo { allowed: true, ..ContactInfo::default() };
        let step = self.peer.set_contact(other, info).context("somebody else")?;
        self.take(step)
    }

    fn receive(&mut self, from: AgentId, frames: Vec<Vec<u8>>) -> Result<()> {
        for frame in frames {
            let step = self.peer.receive(Some(from), &frame, NOW, &mut self.rng, &Unseen)?;
            self.take(step)?;
        }
        Ok(())
    }
}

impl Talk {
    fn new(auditing: Auditing) -> Result<Self> {
        let (mut one, mut two) = (Talker::new(auditing)?, Talker::new(auditing)?);
        one.know(two.peer.id())?;
        two.know(one.peer.id())?;
        let mut talk = Self { one, two, sent: 0 };
        // Both ends have told of the session then.
        talk.letters(1)?;
        talk.letters(1)?;
        ensure!((talk.one.events > 0) == (auditing != Auditing::Off), "{} events", talk.one.events);
        Ok(talk)
    }

    /// Letters from one to two, delivered and acknowledged.
    fn letters(&mut self, count: u32) -> Result<()> {
        let to = self.two.peer.id();
        for _ in 0..count {
            self.sent += 1;
            let mut random = [0; 10];
            random.iter_mut().zip(self.sent.to_be_bytes()).for_each(|(to, from)| *to = from);
            let letter = Letter::plain(LetterId::new(NOW, random), ContentType::TEXT, vec![b'x'; 256]);
            let step = self.one.peer.send(to, &letter, NOW)?;
            self.one.take(step)?;
        }
        while self.two.delivered < self.sent {
            self.one.run()?;
            if core::mem::take(&mut self.one.wants) {
                let claimed = self.two.peer.claim(self.one.peer.id(), 1, &[], NOW)?;
                self.two.take(claimed)?;
                let bundle = Bundle::parse(&self.two.bundle.take().context("a bundle")?, NOW)?;
                let begun = self.one.peer.begin(&bundle, NOW, &mut self.one.rng)?;
                self.one.take(begun)?;
                self.one.run()?;
            }
            self.two.receive(self.one.peer.id(), core::mem::take(&mut self.one.frames))?;
            self.two.run()?;
            self.one.receive(to, core::mem::take(&mut self.two.frames))?;
        }
        Ok(())
    }
}

/// Microseconds of processor time that one event costs its agent, beside its signature alone: a letter in a session that audits less one in a session
/// that does not, half of it each end's.
pub(crate) fn agent_cpu() -> Result<Row> {
    let (mut audits, mut not) = (Talk::new(Auditing::Required)?, Talk::new(Auditing::Off)?);
    let (before, sent) = (audits.one.events + audits.two.events, audits.sent);
    let mut failed = Ok(());
    let mut timed = |talk: &mut Talk| {
        time_us(|| {
            if let Err(error) = talk.letters(LETTERS) {
                failed = Err(error);
            }
        })
    };
    let (with, without) = {
        let timed = core::cell::RefCell::new(&mut timed);
        interleaved(LETTERS, || (timed.borrow_mut())(&mut audits), || (timed.borrow_mut())(&mut not))
    };
    failed?;
    let told = audits.one.events + audits.two.events - before;
    ensure!(told == 2 * (audits.sent - sent), "{told} events of {} letters", audits.sent - sent);
    let signer = SigningKey::from_seed(&[1; 32]);
    let (signature, _) = interleaved(
        LETTERS,
        || {
            time_us(|| {
                (0..LETTERS).for_each(|_| {
                    std::hint::black_box(signer.sign_raw(&EVENT));
                })
            })
        },
        || 0.0,
    );
    Ok(Row::time_us((with - without) / 2.0, "its signature alone", signature))
}

/// MiB resident of a node that has just started with a log of a million events.
pub(crate) fn resident() -> Result<Row> {
    let folder = tempfile::tempdir()?;
    let home = folder.path().join("node");
    let made = become_nuncio(&home)
        .args(["node", "init", "--domain", "acme.example", "--issuer", "http://127.0.0.1:7430"])
        .stdout(Stdio::null())
        .status()?;
    ensure!(made.success(), "no node's home was made");
    fill(&home)?;
    let mut node = become_nuncio(&home)
        .args(["--json", "node", "run", "--listen", "127.0.0.1:0", "--quic", "127.0.0.1:0", "--stop-with-stdin"])
        .env("NUNCIO_LOG", "off")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let resident = ready_kib(&mut node);
    drop(node.stdin.take());
    let ended = node.wait()?;
    ensure!(ended.success(), "the node ended with {ended}");
    Ok(Row { unit: "MiB", ours: resident? / 1024.0, beside: None, less_is_better: true })
}

fn become_nuncio(home: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap_or_default());
    command.arg(BECOME).arg("--home").arg(home).env_remove("NUNCIO_HOME");
    command
}

fn ready_kib(node: &mut Child) -> Result<f64> {
    let mut line = String::new();
    BufReader::new(node.stdout.take().context("its output")?).read_line(&mut line)?;
    let ready: serde_json::Value = serde_json::from_str(&line).with_context(|| format!("it said {line:?}"))?;
    ensure!(ready.get("tcp").is_some_and(serde_json::Value::is_string), "it is not ready");
    resident_kib(node.id())
}

/// Writes a million events into the log of a node that does not run.
fn fill(home: &Path) -> Result<()> {
    let store = Arc::new(Store::open(home, &Kek::read_key_file(&home.join("key"))?)?);
    let identity = store.get(&[rows::NODE_IDENTITY])?.context("an identity")?;
    let signer = Identity::from_bytes(&identity)?.signing().clone();
    let key = NoteKey::new("acme.example/log", KeyKind::Ed25519, signer.public()).context("a name")?;
    let mut events = Events::open(Log::open(store, &home.join(LOG_FOLDER), key, signer)?)?;
    grow(&mut events, &mut Tellers::new()?, MANY)?;
    events.log_mut().publish()?;
    Ok(())
}

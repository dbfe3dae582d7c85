//! Two agents who talk, and note each secret that is drawn for them or made by them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::rc::Rc;

use nuncio_proto::bundle::Bundle;
use nuncio_proto::content_type::ContentType;
use nuncio_proto::identity::Identity;
use nuncio_proto::ids::{AgentId, LetterId};
use nuncio_proto::letter::Letter;
use nuncio_proto::peer::{ContactInfo, Peer, Seen};
use nuncio_proto::rows;
use nuncio_proto::step::{Effect, Op, Staged};
use nuncio_proto::time::UnixMillis;
use nuncio_proto::token::Policy;
use rand_core::{TryCryptoRng, TryRng};
use zeroize::{Zeroize as _, Zeroizing};

use crate::hunt::Hunt;

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
const KEY_LEN: usize = 32;
/// Of one without a handshake.
const SNAPSHOT_LEN_MAX: usize = 1_024;

/// Bytes that nobody has seen.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

/// The system's randomness; what is as long as a key is noted.
struct Noting(Rc<RefCell<Hunt>>);

impl TryRng for Noting {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::from_ne_bytes(random()))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from_ne_bytes(random()))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        getrandom::fill(out).unwrap();
        if out.len() >= KEY_LEN {
            self.0.borrow_mut().note("drawn", out);
        }
        Ok(())
    }
}

impl TryCryptoRng for Noting {}

struct NothingSeen;

impl Seen for NothingSeen {
    fn seen(&self, _: &AgentId, _: &LetterId) -> Option<bool> {
        Some(false)
    }
}

/// What is stored; overwritten when it is another, or gone.
type Disk = BTreeMap<Vec<u8>, Zeroizing<Vec<u8>>>;

/// Alice and Bob.
pub(crate) struct Talk {
    peers: [Peer; 2],
    disks: [Disk; 2],
    rng: Noting,
    hunt: Rc<RefCell<Hunt>>,
}

impl Talk {
    /// They know each other, and have written once each.
    pub(crate) fn begin() -> Self {
        let hunt = Rc::new(RefCell::new(Hunt::default()));
        let mut rng = Noting(Rc::clone(&hunt));
        let mut disks = [Disk::new(), Disk::new()];
        let peers = disks.each_mut().map(|disk| {
            let (peer, staged) = Peer::create(Identity::generate(&mut rng).unwrap(), NOW, &mut rng);
            drop(publish(staged, disk, &hunt));
            tokenless(peer)
        });
        let mut talk = Self { peers, disks, rng, hunt };
        for (one, other) in [(0, 1), (1, 0)] {
            let info = ContactInfo { allowed: true, ..ContactInfo::default() };
            let step = talk.peers[one].set_contact(talk.peers[other].id(), info).unwrap();
            talk.take(one, step);
        }
        let step = talk.peers[1].claim(talk.peers[0].id(), 0, &[], NOW).unwrap();
        let bundle = talk.take(1, step).into_iter().find_map(|effect| match effect {
            Effect::Bundle { bundle, .. } => Some(bundle),
            _ => None,
        });
        let bundle = Bundle::parse(&bundle.unwrap(), NOW).unwrap();
        let step = talk.peers[0].begin(&bundle, NOW, &mut talk.rng).unwrap();
        talk.take(0, step);
        talk
    }

    /// Letters each way, for many turns; of each turn some come late and out of order.
    pub(crate) fn go_on(&mut self) {
        let mut late = Vec::new();
        for turn in 0..24 {
            let from = turn % 2;
            let mut frames: Vec<_> = (0..4).flat_map(|_| self.say(from)).collect();
            late.extend(frames.pop().filter(|_| turn % 3 == 0).map(|frame| (1 - from, frame)));
            frames.reverse();
            frames.iter().for_each(|frame| self.hear(1 - from, frame));
            if turn % 6 == 5 {
                late.drain(..).for_each(|(to, frame)| self.hear(to, &frame));
            }
        }
    }

    /// Both start again from what they have stored.
    pub(crate) fn restart(&mut self) {
        for (peer, disk) in self.peers.iter_mut().zip(&self.disks) {
            let loaded = disk.iter().filter(|(key, _)| Peer::loads(key[0]));
            let mut records: Vec<_> = loaded.map(|(key, value)| (key.clone(), value.to_vec())).collect();
            *peer = tokenless(Peer::load(&records, NOW).unwrap());
            records.iter_mut().for_each(|(_, value)| value.zeroize());
        }
    }

    /// The agents are no more; what was noted of them.
    pub(crate) fn end(self) -> Hunt {
        let Self { peers, disks, rng, hunt } = self;
        drop((peers, disks, rng));
        Rc::into_inner(hunt).unwrap().into_inner()
    }

    fn take(&mut self, who: usize, step: nuncio_proto::step::Step) -> Vec<Effect> {
        let staged = self.peers[who].stage(step).unwrap();
        publish(staged, &mut self.disks[who], &self.hunt)
    }

    fn say(&mut self, from: usize) -> Vec<Vec<u8>> {
        let to = self.peers[1 - from].id();
        let letter = Letter::plain(LetterId::new(NOW, random()), ContentType::TEXT, b"a letter".to_vec());
        let step = self.peers[from].send(to, &letter, NOW).unwrap();
        self.take(from, step);
        let mut frames = Vec::new();
        while let Some(step) = self.peers[from].next(NOW, true, &mut self.rng) {
            frames.extend(self.take(from, step).into_iter().filter_map(|effect| match effect {
                Effect::Send { frame, .. } => Some(frame),
                _ => None,
            }));
        }
        frames
    }

    fn hear(&mut self, to: usize, frame: &[u8]) {
        let step = self.peers[to].receive(None, frame, NOW, &mut self.rng, &NothingSeen);
        drop(step.map(|step| self.take(to, step)));
    }
}

fn tokenless(mut peer: Peer) -> Peer {
    peer.set_verifier(|verifier| verifier.set_policy(Policy::tokenless()));
    peer
}

/// Notes the keys in what is to be stored, and stores it.
fn publish(staged: Staged, disk: &mut Disk, hunt: &RefCell<Hunt>) -> Vec<Effect> {
    for op in staged.ops {
        match op {
            Op::Put { key, value } => {
                match key[0] {
                    rows::SESSION => note_session(&value, &mut hunt.borrow_mut()),
                    rows::SKIPPED => hunt.borrow_mut().note("kept key", keys_in(&value)[0]),
                    _ => {}
                }
                disk.insert(key, Zeroizing::new(value));
            }
            Op::Delete { key } => drop(disk.remove(&key)),
        }
    }
    staged.effects.after_commit()
}

/// The strings of 32 bytes in a row, which are not copied.
fn keys_in(value: &[u8]) -> Vec<&[u8]> {
    let (mut keys, mut at) = (Vec::new(), 0);
    while let Some(rest) = value.get(at..).filter(|rest| !rest.is_empty()) {
        let key = rest.strip_prefix(&[0x58, 0x20]).and_then(|rest| rest.get(..KEY_LEN));
        keys.extend(key);
        at += if key.is_some() { 2 + KEY_LEN } else { 1 };
    }
    keys
}

/// Everything in a snapshot but who, which session, the public ratchet key and the running hashes. With a handshake in it, what has the look of a key may
/// be none.
fn note_session(snapshot: &[u8], hunt: &mut Hunt) {
    if snapshot.len() > SNAPSHOT_LEN_MAX {
        return;
    }
    let keys = keys_in(snapshot);
    let is_public = |at: usize| at < 3 || at == 6 || at + 2 >= keys.len();
    keys.iter().enumerate().filter(|(at, _)| !is_public(*at)).for_each(|(_, key)| hunt.note("ratchet", key));
}

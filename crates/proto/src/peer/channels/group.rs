//! Letters to a channel that are sealed once for all: chains handed over, frames sent until every member has them, frames that come
//! (contracts/channel.md sections 5 to 8, 11).
//!
//! ```text
//!   seal_for_all ─► a chain where one is due: its keys in letters ─► one frame, a MAC for each ─► again until acknowledged by each
//!   receive_group ─► opened ─► the sender's row, its letter to the order ─► acknowledged in a letter
//! ```

mod acking;
mod holes;
mod judging;
mod out_frame;
mod receiving;
mod sharing;

pub(super) use judging::{Decided, patience};

use std::collections::{BTreeMap, BTreeSet};

use nuncio_contracts::registry::{code, extension, limit, time};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use holes::Holes;
use out_frame::OutFrame;

pub use holes::ChannelGap;
pub use sharing::SharedMail;

use super::super::audit::Told;
use super::super::judge::Verdict;
use super::super::{Change, Out, Peer};
use super::aside::Aside;
use super::{ChannelChange, ChannelError};
use crate::channel::{ChannelPlace, Incoming, Opened, Outgoing, Record, Says, SealError, Sealed, Word};
use crate::error::PeerError;
use crate::ids::{AgentId, ChannelId, LetterId, Seq};
use crate::letter::Letter;
use crate::rows;
use crate::step::{Effect, Op, Reached, Step};
use crate::time::UnixMillis;

/// Chains and frames of one channel.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) outgoing: Outgoing,
    pub(super) incoming: Incoming,
    out: BTreeMap<Seq, OutFrame>,
    /// Of these frames.
    bytes: usize,
    expiries: BTreeSet<(UnixMillis, Seq)>,
    /// Below which number a member has all, as its row says.
    has: BTreeMap<AgentId, Seq>,
    /// Entries of the outbox that frames wait for: what hands the newest chain over, and letters in front of it.
    pub(super) keys: BTreeMap<AgentId, Vec<u64>>,
    /// The newest letter to each member in its session.
    pub(super) in_session: BTreeMap<AgentId, u64>,
    pub(super) resend: BTreeMap<AgentId, (UnixMillis, u64)>,
    /// Where the last burst of them ended.
    resent_to: BTreeMap<AgentId, Seq>,
    /// When a sender is told what is here.
    acks: BTreeMap<AgentId, UnixMillis>,
    /// The newest word that tells it.
    acking: BTreeMap<AgentId, (u64, Seq)>,
    /// The newest word that tells a member what it need not wait for.
    flooring: BTreeMap<AgentId, u64>,
    /// The number of the next letter at the start.
    began: Seq,
    /// Who has acknowledged a letter since the start, or was followed to a number ahead.
    heard: BTreeSet<AgentId>,
    /// The numbers ahead that others have told, and that were not gone on with yet.
    ahead: BTreeMap<AgentId, Seq>,
    /// Chains of epochs that are not known here.
    pub(super) aside: Aside,
    /// Whose letters were attested last.
    attested: Option<AgentId>,
    /// Letters with a row that says at whose node they were left.
    mailed: BTreeSet<Seq>,
    holes: Holes,
}

/// A chain that begins with a letter.
#[derive(Debug)]
pub(crate) struct Begun {
    outgoing: Outgoing,
    keys: Vec<(AgentId, Zeroizing<Vec<u8>>)>,
}

/// What moves of them.
#[derive(Debug)]
pub(crate) enum GroupChange {
    Sealed { letter: Box<Letter>, begun: Option<Box<Begun>>, sealed: Box<Sealed>, told: Option<Told> },
    Opened { opened: Box<Opened>, verdict: Verdict },
    Ack(AgentId),
    AckDue(AgentId),
    Resend(AgentId),
    KeyThere(AgentId),
    Expired(Seq),
    Cancelled { seq: Seq, to: AgentId },
}

/// Chains of who is no member yet that wait for the record.
const ASIDE_MAX: usize = 64;
impl Group {
    pub(super) fn new(record: &Record, me: AgentId) -> Self {
        Self {
            outgoing: Outgoing::new(record, me),
            incoming: Incoming::new(record, me),
            out: BTreeMap::new(),
            bytes: 0,
            expiries: BTreeSet::new(),
            has: BTreeMap::new(),
            keys: BTreeMap::new(),
            in_session: BTreeMap::new(),
            resend: BTreeMap::new(),
            resent_to: BTreeMap::new(),
            acks: BTreeMap::new(),
            acking: BTreeMap::new(),
            flooring: BTreeMap::new(),
            began: 0,
            heard: BTreeSet::new(),
            ahead: BTreeMap::new(),
            aside: Aside::default(),
            attested: None,
            mailed: BTreeSet::new(),
            holes: Holes::default(),
        }
    }

    pub(super) fn due(&self) -> Option<UnixMillis> {
        let resend = self.resend.values().map(|(at, _)| *at).min();
        let expiry = self.expiries.first().map(|(at, _)| at.plus(1));
        [resend, expiry, self.acks.values().copied().min()].into_iter().flatten().min()
    }

    /// The lowest number that a member lacks, as far as it is known.
    fn lowest(&self, agent: &AgentId) -> Seq {
        let left = self.out.iter().find(|(_, frame)| frame.left.contains_key(agent)).map(|(seq, _)| *seq);
        left.unwrap_or(self.outgoing.next())
    }

    /// Whether half a window is left over everything that somebody lacks, where the next letter has this number.
    fn leaves_room(&self, next: Seq) -> bool {
        self.out.first_key_value().is_none_or(|(lowest, _)| next.saturating_sub(*lowest) <= limit::WINDOW / 2)
    }

    fn insert(&mut self, seq: Seq, frame: OutFrame) {
        self.expiries.insert((frame.expires, seq));
        self.bytes += frame.len();
        self.out.insert(seq, frame);
    }

    /// A member needs a letter no more: its id, and whether nobody does.
    fn settle(&mut self, seq: Seq, agent: &AgentId) -> Option<(LetterId, bool)> {
        let frame = self.out.get_mut(&seq)?;
        frame.left.remove(agent)?;
        let (letter, expires, is_over) = (frame.letter, frame.expires, frame.left.is_empty());
        if is_over {
            self.expiries.remove(&(expires, seq));
            self.bytes -= self.out.remove(&seq).map_or(0, |frame| frame.len());
        }
        Some((letter, is_over))
    }

    /// A sender is told soon what is here.
    pub(super) fn ack_soon(&mut self, sender: AgentId, now: UnixMillis) {
        self.acks.entry(sender).or_insert(now.plus(time::ACK_DELAY));
    }

    /// A letter that is sent again where its token has expired.
    fn letter_of(&self, seq: Seq) -> Option<Box<Letter>> {
        self.out.get(&seq)?.again.clone()
    }

    /// Which frames a member lacks, the lowest first.
    fn frames_for<'a>(&'a self, agent: &'a AgentId) -> impl Iterator<Item = Vec<u8>> + 'a {
        self.out.values().filter_map(|frame| {
            let mac = frame.left.get(agent)?;
            Some([frame.common.as_slice(), mac].concat())
        })
    }
}

impl Peer {
    /// Members that have not acknowledged a letter to a channel.
    pub fn channel_left(&self, channel: &ChannelId, letter: &LetterId) -> Vec<AgentId> {
        let frames = self.channels.all.get(channel).into_iter().flat_map(|channel| channel.group.out.values());
        let sealed = frames.filter(|frame| frame.letter == *letter).flat_map(|frame| frame.left.keys().copied());
        let entries = self.outbox.values().filter(|entry| entry.id == *letter).map(|entry| entry.to);
        sealed.chain(entries).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Seals a letter once for all other members.
    // contracts/channel.md C24 to C27, C33.
    pub(super) fn seal_for_all<R: CryptoRng + ?Sized>(
        &self,
        id: ChannelId,
        letter: &Letter,
        now: UnixMillis,
        rng: &mut R,
    ) -> Result<Step, PeerError> {
        let channel = self.channels.all.get(&id).ok_or(ChannelError::NotMember)?;
        let (record, group, seq) = (&channel.record, &channel.group, channel.letters.next());
        if record.roster().audits() && self.is_log_full() {
            return Err(PeerError::LogFull);
        }
        let under_way: usize = self.channels.all.values().map(|channel| channel.group.bytes).sum();
        if self.outbox_bytes + under_way + letter.encode().len() > limit::OUTBOX_BYTES_MAX {
            return Err(PeerError::OutboxFull);
        }
        let epoch = record.epoch();
        let mut letter = Box::new(letter.clone());
        letter.set_extension(ChannelPlace { channel: id, epoch, seq }.extension());
        let is_new = group.outgoing.next() != seq || group.outgoing.needs_chain(&epoch, now);
        let begun = if is_new { Some(Box::new(begin(channel, seq, now, rng)?)) } else { None };
        let outgoing = begun.as_ref().map_or(&group.outgoing, |begun| &begun.outgoing);
        let mut nonce = [0; 12];
        rng.fill_bytes(&mut nonce);
        // contracts/channel.md C39.
        let answered = letter.reply_to.and_then(|id| channel.letters.author_of(&id));
        let attestation = group.incoming.attest(answered, group.attested.as_ref());
        let signing = self.identity.signing();
        self.prove_in_channel(id, outgoing, &mut letter);
        let told = self.commit_in_channel(id, outgoing, attestation, &mut letter, now);
        let sealed =
            outgoing.seal(&epoch, letter.encode(), attestation, &nonce, signing, now).map_err(PeerError::from)?;
        let change = GroupChange::Sealed { letter, begun, sealed: Box::new(sealed), told };
        Ok(self.step(Change::Channel(ChannelChange::Group { channel: id, change, now })))
    }

    pub(super) fn next_group(&self, now: UnixMillis) -> Option<Step> {
        let of = |(channel, found): (&ChannelId, &super::Channel)| {
            let group = &found.group;
            let there = group.keys.iter().find(|(_, nos)| !nos.iter().any(|no| self.outbox.contains_key(no)));
            let expired = group.expiries.first().filter(|(at, _)| *at < now);
            let ack = || group.acks.iter().find(|(_, at)| at.has_come(now, time::RESEND_MAX));
            let resend = || group.resend.iter().find(|(_, (at, _))| at.has_come(now, time::RESEND_MAX));
            let change = there
                .map(|(agent, _)| GroupChange::KeyThere(*agent))
                .or_else(|| expired.map(|(_, seq)| GroupChange::Expired(*seq)))
                .or_else(|| ack().map(|(agent, _)| GroupChange::Ack(*agent)))
                .or_else(|| resend().map(|(agent, _)| GroupChange::Resend(*agent)))?;
            Some(self.step(Change::Channel(ChannelChange::Group { channel: *channel, change, now })))
        };
        self.channels.all.iter().find_map(of)
    }

    pub(super) fn apply_group(&mut self, id: ChannelId, change: GroupChange, now: UnixMillis, out: &mut Out) {
        match change {
            GroupChange::Sealed { letter, begun, sealed, told } => {
                self.apply_group_sealed(id, &letter, begun, &sealed, now, out);
                told.into_iter().for_each(|told| self.apply_told(told, out));
            }
            GroupChange::Opened { opened, verdict } => self.apply_group_opened(id, *opened, verdict, now, out),
            GroupChange::Ack(to) => self.apply_group_ack(id, to, now, out),
            GroupChange::AckDue(to) => {
                if let Some(channel) = self.channels.all.get_mut(&id) {
                    channel.group.acks.insert(to, UnixMillis(0));
                }
            }
            GroupChange::Resend(to) => self.send_frames(id, to, limit::RESEND_BURST, now, out),
            GroupChange::KeyThere(to) => {
                if let Some(channel) = self.channels.all.get_mut(&id) {
                    channel.group.keys.remove(&to);
                }
                self.send_frames(id, to, 4 * limit::RESEND_BURST, now, out);
            }
            GroupChange::Cancelled { seq, to } => self.give_up_frame(id, seq, &to, code::CANCELLED, out),
            GroupChange::Expired(seq) => {
                let left = self.channels.all.get(&id).and_then(|channel| channel.group.out.get(&seq));
                let left: Vec<AgentId> = left.map(|frame| frame.left.keys().copied().collect()).unwrap_or_default();
                left.iter().for_each(|agent| self.give_up_frame(id, seq, agent, code::EXPIRED, out));
            }
        }
    }

    fn apply_group_sealed(
        &mut self,
        id: ChannelId,
        letter: &Letter,
        begun: Option<Box<Begun>>,
        sealed: &Sealed,
        now: UnixMillis,
        out: &mut Out,
    ) {
        if let Some(begun) = begun {
            let Begun { outgoing, keys } = *begun;
            if let Some(channel) = self.channels.all.get_mut(&id) {
                channel.group.outgoing = outgoing;
            }
            for (agent, key) in keys {
                if self.contact(&agent).is_some_and(|info| info.retired) {
                    continue;
                }
                // contracts/channel.md C49: whoever is handed a chain has its epoch, or hears of it first.
                self.tell_member(agent, id, now, out);
                let entry = self.next_entry;
                self.say(agent, Word { channel: id, says: Says::Key(key) }, now, out);
                if let Some(channel) = self.channels.all.get_mut(&id) {
                    let before = channel.group.in_session.remove(&agent);
                    channel.group.keys.entry(agent).or_default().extend(before.into_iter().chain([entry]));
                }
            }
        }
        let gone: BTreeSet<AgentId> =
            self.contacts.iter().filter(|(_, contact)| contact.info.retired).map(|(agent, _)| *agent).collect();
        let Some(channel) = self.channels.all.get_mut(&id) else { return };
        let group = &mut channel.group;
        group.outgoing.apply(sealed);
        group.attested = sealed.attested().or(group.attested);
        let left = sealed.macs().iter().filter(|(agent, _)| !gone.contains(agent)).copied().collect();
        let (expires, number, common) = (letter.expires(), channel.record.roster().number(), sealed.common().to_vec());
        let again = kept_again(letter, channel.record.roster().audits());
        let frame = OutFrame { letter: letter.id, expires, number, common, again, left, mailed: BTreeMap::new() };
        out.frames.insert((id, sealed.seq()));
        for (agent, mac) in frame.left.iter().filter(|(agent, _)| !group.keys.contains_key(*agent)) {
            out.effects.push(Effect::Send { to: *agent, frame: [frame.common.as_slice(), mac].concat() });
            let first = (now.plus(time::RESEND_FIRST), time::RESEND_FIRST * 2);
            group.resend.entry(*agent).or_insert(first);
        }
        if !frame.left.is_empty() {
            group.insert(sealed.seq(), frame);
        }
        self.counters.sealed += 1;
        self.leave_behind(id, out);
        self.passed_number(id, letter.id, now, out);
    }

    /// A channel waits for nobody: what somebody lacks for a window of letters, or beside too much else, is given up.
    // contracts/channel.md C38.
    fn leave_behind(&mut self, id: ChannelId, out: &mut Out) {
        loop {
            let Some(group) = self.channels.all.get(&id).map(|channel| &channel.group) else { return };
            let Some((lowest, frame)) = group.out.first_key_value() else { return };
            let is_far = group.outgoing.next().saturating_sub(*lowest) >= limit::WINDOW - 1;
            if !is_far && group.bytes <= limit::CHANNEL_OUT_BYTES_MAX {
                return;
            }
            let (seq, left) = (*lowest, frame.left.keys().copied().collect::<Vec<_>>());
            left.iter().for_each(|agent| self.give_up_frame(id, seq, agent, code::EXPIRED, out));
        }
    }

    /// The record has moved: what was sealed in an epoch that is heard by nobody any more is given up.
    // contracts/channel.md C53.
    pub(super) fn give_up_old(&mut self, id: ChannelId, out: &mut Out) {
        let Some(channel) = self.channels.all.get(&id) else { return };
        let oldest = channel.record.roster().number().saturating_sub(limit::CHANNEL_BEHIND_MAX);
        // Epochs ascend with the numbers of letters.
        let old = channel.group.out.iter().take_while(|(_, frame)| frame.number < oldest);
        let old = old.flat_map(|(seq, frame)| frame.left.keys().map(|agent| (*seq, *agent)));
        for (seq, agent) in old.collect::<Vec<_>>() {
            self.give_up_frame(id, seq, &agent, code::NOT_MEMBER, out);
        }
    }

    fn send_frames(&mut self, id: ChannelId, to: AgentId, most: usize, now: UnixMillis, out: &mut Out) {
        let Some(channel) = self.channels.all.get_mut(&id) else { return };
        let group = &mut channel.group;
        // The lowest, and behind it those that the last burst ended before.
        let after = group.resent_to.get(&to).copied().unwrap_or(0);
        let all: Vec<Seq> =
            group.out.iter().filter(|(_, frame)| frame.left.contains_key(&to)).map(|(seq, _)| *seq).collect();
        let Some((lowest, rest)) = all.split_first() else {
            group.resend.remove(&to);
            group.resent_to.remove(&to);
            return;
        };
        let (before, behind): (Vec<Seq>, Vec<Seq>) = rest.iter().partition(|seq| **seq <= after);
        let due: Vec<Seq> = core::iter::once(*lowest).chain(behind).chain(before).take(most).collect();
        group.resent_to.extend(due.last().map(|last| (to, *last)));
        let frame = |seq: &Seq| {
            let frame = group.out.get(seq)?;
            Some([frame.common.as_slice(), frame.left.get(&to)?].concat())
        };
        let mut frames: Vec<(Seq, Vec<u8>)> = due.iter().filter_map(|seq| Some((*seq, frame(seq)?))).collect();
        frames.sort_unstable_by_key(|(seq, _)| *seq);
        let delay = group.resend.get(&to).map_or(time::RESEND_FIRST, |(_, delay)| *delay);
        group.resend.insert(to, (now.plus(delay), delay.saturating_mul(2).min(time::RESEND_MAX)));
        self.counters.resent += u64::try_from(frames.len()).unwrap_or(0);
        out.effects.extend(frames.into_iter().map(|(_, frame)| Effect::Send { to, frame }));
    }

    /// What a member lacks goes again soon: it is there.
    pub(in super::super) fn hurry_frames(&mut self, to: AgentId, now: UnixMillis) {
        for channel in self.channels.all.values_mut() {
            channel.group.resend.entry(to).and_modify(|due| *due = (now, time::RESEND_FIRST));
        }
    }

    fn give_up_frame(&mut self, id: ChannelId, seq: Seq, agent: &AgentId, code: u16, out: &mut Out) {
        if let Some(letter) = self.take_off(id, seq, agent, out) {
            Self::apply_failed(*agent, letter, code, Reached::Nowhere, out);
        }
    }

    /// A letter goes to a member no more.
    fn take_off(&mut self, id: ChannelId, seq: Seq, agent: &AgentId, out: &mut Out) -> Option<LetterId> {
        let group = &mut self.channels.all.get_mut(&id)?.group;
        let (letter, _) = group.settle(seq, agent)?;
        let lowest = group.lowest(agent);
        group.outgoing.acked(agent, lowest);
        out.frames.insert((id, seq));
        Some(letter)
    }

    /// Nothing more goes to an agent, which is no member any more.
    pub(super) fn give_up_frames(&mut self, id: ChannelId, agent: &AgentId, code: u16, out: &mut Out) {
        self.give_up_all(id, agent, code, out);
        let Some(group) = self.channels.all.get_mut(&id).map(|channel| &mut channel.group) else { return };
        group.ahead.remove(agent);
        out.ops.extend(group.has.remove(agent).map(|_| Op::Delete { key: rows::channel_acked(&id, agent) }));
    }

    /// All that is under way to a member is given up.
    fn give_up_all(&mut self, id: ChannelId, agent: &AgentId, code: u16, out: &mut Out) {
        let Some(group) = self.channels.all.get_mut(&id).map(|channel| &mut channel.group) else { return };
        for seq in group.out.keys().copied().collect::<Vec<_>>() {
            let Some((letter, _)) = group.settle(seq, agent) else { continue };
            out.frames.insert((id, seq));
            Self::apply_failed(*agent, letter, code, Reached::Nowhere, out);
        }
        group.outgoing.acked(agent, group.outgoing.next());
        group.resend.remove(agent);
        group.keys.remove(agent);
        group.in_session.remove(agent);
        self.forget_mailed(id, out);
    }

    /// Writes the row of every letter under way that moved, once, however many members it ended for.
    pub(in super::super) fn keep_frames(&mut self, out: &mut Out) {
        let frames = core::mem::take(&mut out.frames);
        let channels: BTreeSet<ChannelId> = frames.iter().map(|(id, _)| *id).collect();
        channels.into_iter().for_each(|id| self.forget_mailed(id, out));
        for (id, seq) in frames {
            let key = rows::channel_out(&id, seq);
            let frame = self.channels.all.get(&id).and_then(|channel| channel.group.out.get(&seq));
            out.ops.push(match frame {
                Some(frame) => Op::Put { key, value: frame.to_row() },
                None => Op::Delete { key },
            });
        }
    }
}

/// A letter with a token is kept, but where the channel audits: there it goes in no session.
// contracts/channel.md C73, C75.
fn kept_again(letter: &Letter, audits: bool) -> Option<Box<Letter>> {
    let is_kept = !audits && letter.extension(extension::TOKEN).is_some();
    is_kept.then(|| {
        let mut again = Box::new(letter.clone());
        if again.extension(extension::HOP_PROOF).is_some() {
            again.want_proof();
        }
        again
    })
}

fn begin<R: CryptoRng + ?Sized>(
    channel: &super::Channel,
    seq: Seq,
    now: UnixMillis,
    rng: &mut R,
) -> Result<Begun, PeerError> {
    let mut outgoing = channel.group.outgoing.clone();
    outgoing.skip_to(seq);
    // contracts/channel.md C38: what went to a member in its session is missing in no frame.
    for (agent, _) in channel.record.roster().members() {
        let left = channel.group.out.iter().find(|(_, frame)| frame.left.contains_key(agent));
        outgoing.acked(agent, left.map_or(seq, |(left, _)| *left));
    }
    let new = outgoing.begin(&channel.record, now, rng).map_err(PeerError::from)?;
    let keys = new.keys().iter().map(|(agent, key)| (*agent, key.encode())).collect();
    outgoing.apply_chain(new);
    Ok(Begun { outgoing, keys })
}

impl From<SealError> for PeerError {
    fn from(error: SealError) -> Self {
        match error {
            SealError::TooLong => Self::TooLarge,
            SealError::NotMember | SealError::NeedsChain => Self::Channel(ChannelError::NotMember),
            SealError::Exhausted => Self::OutboxFull,
        }
    }
}

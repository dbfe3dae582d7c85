//! Frames of letters that were sealed once, left for all at a node who are away and have their mailboxes there (contracts/mailbox.md M18, M19).

use nuncio_contracts::registry::{limit, time};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use super::super::{ChannelChange, ROW_VERSION};
use super::{Group, GroupChange, OutFrame};
use crate::channel::Mac;
use crate::codec;
use crate::deposit::DepositKey;
use crate::ids::{AgentId, ChannelId, LetterId, Seq};
use crate::mailbox::Mailbox;
use crate::peer::{Change, Mailed, Out, Peer, Way};
use crate::rows;
use crate::step::{Op, Step};
use crate::time::UnixMillis;

#[derive(Serialize, Deserialize)]
struct MailedRow(u8, Vec<(ByteArray<32>, u64)>);

/// A time for every member.
const MAILED_LEN_MAX: usize = 64 * limit::CHANNEL_MEMBERS_MAX;

/// One letter, to be left at one node for some of its members.
#[derive(Clone, Debug)]
pub struct SharedMail {
    /// Which: the caller gives it back to [`Peer::mailed`] for each for whom the node keeps it.
    pub which: Mailed,
    /// What the recipients' frames begin with.
    pub common: Vec<u8>,
    /// For whom, ascending and at most `deposit_recipients_max`: by which key, and what its frame ends with.
    pub to: Vec<(AgentId, DepositKey, Mac)>,
}

impl Peer {
    /// Letters that were sealed once, to be left now for those of `among` whose mailbox this is, at most so many deposits: what was never left before what
    /// is left again, the lowest number of each channel first. Of a member that has still to be left a letter that goes in front, there is nothing.
    // contracts/mailbox.md M14, M19.
    pub fn shared_mail(
        &self,
        at: &Mailbox,
        among: impl Fn(&AgentId) -> bool,
        now: UnixMillis,
        most: usize,
    ) -> Vec<SharedMail> {
        let here = self.contacts.keys().filter_map(|agent| Some((agent, self.key_at(agent, at)?)));
        let here: Vec<_> = here.filter(|(agent, _)| among(agent)).collect();
        let mut mail = Vec::new();
        for is_again in [false, true] {
            for (id, channel) in self.channels.all.iter().filter(|_| !here.is_empty()) {
                let group = &channel.group;
                let here = here.iter().filter(|(agent, _)| self.is_in_front(group, agent).is_none());
                let here: Vec<_> = here.copied().collect();
                for (seq, frame) in &group.out {
                    let due = here.iter().filter(|(agent, _)| frame.is_due(agent, now) == Some(is_again));
                    let to = due.filter_map(|(agent, key)| Some((**agent, (*key).clone(), *frame.left.get(*agent)?)));
                    for to in to.collect::<Vec<_>>().chunks(limit::DEPOSIT_RECIPIENTS_MAX) {
                        if mail.len() >= most {
                            return mail;
                        }
                        let (which, common) = (Mailed::group(*id, *seq), frame.common.clone());
                        mail.push(SharedMail { which, common, to: to.to_vec() });
                    }
                }
            }
        }
        mail
    }

    /// Whether a member lacks frames that were not left at its node, or long ago.
    #[must_use]
    pub fn owes_frames(&self, to: &AgentId, now: UnixMillis) -> bool {
        let mut frames = self.channels.all.values().flat_map(|channel| channel.group.out.values());
        frames.any(|frame| frame.left.contains_key(to) && frame.is_due(to, now).is_some())
    }

    /// Whether frames wait for one of `among` whose mailbox this is until a letter in front of them is left there.
    pub fn shared_mail_waits(&self, at: &Mailbox, among: impl Fn(&AgentId) -> bool) -> bool {
        self.channels.all.values().any(|channel| {
            let mut waiting =
                channel.group.keys.keys().filter(|agent| self.key_at(agent, at).is_some() && among(agent));
            waiting.any(|agent| self.is_in_front(&channel.group, agent).is_some())
        })
    }

    /// Letters that were sealed once and that somebody lacks: to whom, and by which way each has left.
    pub fn group_ways(&self) -> impl Iterator<Item = (AgentId, LetterId, Way)> {
        self.channels.all.values().flat_map(|channel| {
            let group = &channel.group;
            group.out.values().flat_map(move |frame| {
                let way = |agent: &AgentId| match frame.mailed.get(agent) {
                    Some(at) => Way::Mailbox(*at),
                    None if group.keys.contains_key(agent) => Way::Waiting,
                    None => Way::Sealed,
                };
                frame.left.keys().map(move |agent| (*agent, frame.letter, way(agent)))
            })
        })
    }

    /// A letter is at the node of one who lacks it: on disk, so that it is not left there again behind a start.
    // contracts/mailbox.md M14.
    pub(in crate::peer) fn group_mailed(
        &mut self,
        id: &ChannelId,
        seq: Seq,
        to: AgentId,
        now: UnixMillis,
        out: &mut Out,
    ) {
        let Some(group) = self.channels.all.get_mut(id).map(|channel| &mut channel.group) else { return };
        let Some(frame) = group.out.get_mut(&seq) else { return };
        frame.mailed.insert(to, now);
        group.mailed.insert(seq);
        let left = frame.mailed.iter().filter(|(agent, _)| frame.left.contains_key(*agent));
        let left = left.map(|(agent, at)| (ByteArray::new(*agent.as_bytes()), at.0)).collect();
        out.ops
            .push(Op::Put { key: rows::channel_mailed(id, seq), value: codec::encode(&MailedRow(ROW_VERSION, left)) });
    }

    /// Rows of letters that nobody lacks go.
    pub(super) fn forget_mailed(&mut self, id: ChannelId, out: &mut Out) {
        let Some(group) = self.channels.all.get_mut(&id).map(|channel| &mut channel.group) else { return };
        let is_over = |seq: &Seq| !group.out.contains_key(seq);
        out.ops
            .extend(group.mailed.extract_if(.., is_over).map(|seq| Op::Delete { key: rows::channel_mailed(&id, seq) }));
    }

    pub(in crate::peer::channels) fn load_channel_mailed(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let (id, seq) = rows::split_of_channel::<8>(key)?;
        let MailedRow(version, left) = codec::decode(value, MAILED_LEN_MAX).ok()?;
        let group = &mut self.channels.all.get_mut(&id).filter(|_| version == ROW_VERSION)?.group;
        let seq = u64::from_be_bytes(seq);
        group.mailed.insert(seq);
        // Of one that nobody lacks any more the row goes with the next that ends.
        let Some(frame) = group.out.get_mut(&seq) else { return Some(()) };
        for (agent, at) in left {
            frame.mailed.insert(AgentId::from_bytes(agent.into_array()).ok()?, UnixMillis(at));
        }
        Some(())
    }

    /// Takes back a letter that was sealed once from a member that lacks it: it is not sent to that one again, and no hole stays for it.
    pub(in crate::peer) fn cancel_in_group(&self, to: AgentId, letter: LetterId) -> Option<Step> {
        let (channel, seq) = self.channels.all.iter().find_map(|(id, channel)| {
            let mut frames = channel.group.out.iter();
            let found = frames.find(|(_, frame)| frame.letter == letter && frame.left.contains_key(&to));
            found.map(|(seq, _)| (*id, *seq))
        })?;
        let change = GroupChange::Cancelled { seq, to };
        // Nothing in it depends on the time.
        Some(self.step(Change::Channel(ChannelChange::Group { channel, change, now: letter.created() })))
    }

    /// The key by which frames are left for a contact in this mailbox, if it has given one.
    fn key_at(&self, agent: &AgentId, at: &Mailbox) -> Option<&DepositKey> {
        let (known, key) = self.contacts.get(agent)?.mail.at.as_ref()?;
        key.as_ref().filter(|_| known == at)
    }

    /// The entry of the outbox that goes in front of a member's frames and is neither acknowledged nor left at its node.
    fn is_in_front(&self, group: &Group, agent: &AgentId) -> Option<u64> {
        let mut entries = group.keys.get(agent)?.iter().copied();
        entries.find(|no| self.outbox.get(no).is_some_and(|entry| entry.deposited_at().is_none()))
    }
}

impl OutFrame {
    /// Whether it is to be left again for a member that lacks it; `None` where it is not to be left.
    fn is_due(&self, agent: &AgentId, now: UnixMillis) -> Option<bool> {
        self.mailed.get(agent).map_or(Some(false), |at| (now.since(*at) >= time::DEPOSIT_AGAIN).then_some(true))
    }
}

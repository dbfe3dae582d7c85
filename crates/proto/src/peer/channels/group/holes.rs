//! Numbers of channels' senders that did not come although higher ones did (contracts/mailbox.md M16).

use std::collections::BTreeMap;

use nuncio_contracts::registry::time;

use super::Group;
use crate::ids::{AgentId, ChannelId, Seq};
use crate::peer::Peer;
use crate::time::UnixMillis;

/// A number that did not come although a higher one did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelGap {
    /// In which channel.
    pub channel: ChannelId,
    /// Whose letter it is.
    pub from: AgentId,
    /// The lowest number that is missing.
    pub seq: Seq,
    /// Since when it was seen to be missing; a start begins anew.
    pub since: UnixMillis,
}

/// Of each sender the highest number that came, and what is missing below it; in memory alone.
#[derive(Debug, Default)]
pub(super) struct Holes(BTreeMap<AgentId, (Seq, Option<(Seq, UnixMillis)>)>);

impl Peer {
    /// Letters to channels, sealed once, that are missing for longer than their senders' resends explain.
    // contracts/mailbox.md M16.
    pub fn channel_gaps(&self, now: UnixMillis) -> impl Iterator<Item = ChannelGap> {
        let of = |(channel, found): (&ChannelId, &super::super::Channel)| {
            let (channel, group) = (*channel, &found.group);
            let gaps = group.holes.0.iter().filter_map(move |(from, (_, missing))| {
                let (seq, since) = missing.filter(|(seq, _)| group.incoming.next_of(from) == Some(*seq))?;
                Some(ChannelGap { channel, from: *from, seq, since })
            });
            gaps.collect::<Vec<_>>()
        };
        let lasting = move |gap: &ChannelGap| now.since(gap.since) >= time::GAP_PATIENCE;
        self.channels.all.iter().flat_map(of).filter(lasting)
    }
}

impl Holes {
    /// What a member said before it was taken out is no measure of what it says if it comes back.
    pub(super) fn forget(&mut self, is_gone: impl Fn(&AgentId) -> bool) {
        self.0.retain(|agent, _| !is_gone(agent));
    }
}

impl Group {
    /// A sender's frame was taken: what is missing in front of it, and since when.
    pub(super) fn note_holes(&mut self, sender: AgentId, came: Seq, now: UnixMillis) {
        let next = self.incoming.next_of(&sender);
        let (highest, missing) = self.holes.0.entry(sender).or_insert((came, None));
        *highest = came.max(*highest);
        let lowest = next.filter(|next| *next <= *highest);
        if missing.map(|(seq, _)| seq) != lowest {
            *missing = lowest.map(|seq| (seq, now));
        }
    }
}

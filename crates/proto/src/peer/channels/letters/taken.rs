//! Which letters that were sealed once were taken: their rows may not be on disk yet when the next frame is judged (contracts/letter.md L9).

use std::collections::{BTreeSet, VecDeque};

use nuncio_contracts::registry::limit;

use crate::ids::{AgentId, ChannelId, LetterId};
use crate::peer::{Out, Peer};
use crate::rows;
use crate::step::Op;
use crate::time::UnixMillis;

/// Authors and ids, the newest of them: many more than are ever taken before one commit is on disk.
#[derive(Debug, Default)]
pub(in crate::peer::channels) struct Taken {
    ids: BTreeSet<(AgentId, LetterId)>,
    order: VecDeque<(AgentId, LetterId)>,
}

impl Taken {
    pub(in crate::peer::channels) fn note(&mut self, from: AgentId, letter: LetterId) {
        if self.ids.insert((from, letter)) {
            self.order.push_back((from, letter));
        }
        if self.order.len() > limit::CHANNEL_HANDED_MAX {
            self.order.pop_front().map(|oldest| self.ids.remove(&oldest));
        }
    }

    /// It is refused after all, and may come again.
    pub(in crate::peer::channels) fn forget(&mut self, from: &AgentId, letter: &LetterId) {
        if self.ids.remove(&(*from, *letter)) {
            self.order.retain(|one| one != &(*from, *letter));
        }
    }
}

impl Peer {
    /// Whether a letter came already: sealed once, since the start, or in its author's session, where its frame may come again.
    pub(in crate::peer) fn was_taken(&self, from: &AgentId, letter: &LetterId) -> bool {
        let in_session = || self.contacts.get(from).is_some_and(|contact| contact.recent.contains_key(letter));
        self.channels.taken.ids.contains(&(*from, *letter)) || in_session()
    }

    /// A letter came in its author's session: one with its id that waits for the key of its token is not delivered beside it.
    pub(in crate::peer) fn drop_copies(&mut self, from: AgentId, letter: &LetterId, now: UnixMillis, out: &mut Out) {
        let copies = self.channels.all.iter().flat_map(|(id, channel)| {
            let waiting = channel.letters.set_aside.iter();
            let copies = waiting
                .filter(|(_, (sender, held))| *sender == from && held.letter.id == *letter && held.is_undecided());
            copies.map(|(row, _)| (*id, *row))
        });
        for (id, row) in copies.collect::<Vec<(ChannelId, u64)>>() {
            let Some(channel) = self.channels.all.get_mut(&id) else { continue };
            let Some((_, held)) = channel.letters.set_aside.remove(&row) else { continue };
            channel.group.ack_soon(from, now);
            out.ops.push(Op::Delete { key: rows::channel_held(&id, row) });
            self.counters.duplicates += 1;
            if let Some(place) = held.place() {
                self.pass_refused(id, from, place.seq, now, out);
            }
        }
    }
}

//! What members say of what they have: what is under way to them ends, and who says more than there is was told it by a state that was lost.

use nuncio_contracts::registry::{code, limit, time};
use serde::{Deserialize, Serialize};

use super::super::ROW_VERSION;
use super::Group;
use crate::channel::{Says, Word};
use crate::codec;
use crate::ids::{AgentId, ChannelId, Seq};
use crate::peer::{Out, Peer};
use crate::rows;
use crate::step::{Effect, Op};
use crate::time::UnixMillis;

#[derive(Serialize, Deserialize)]
struct AckedRow(u8, Seq);

const ACKED_LEN_MAX: usize = 16;

impl Peer {
    pub(super) fn apply_group_ack(&mut self, id: ChannelId, to: AgentId, now: UnixMillis, out: &mut Out) {
        let Some(channel) = self.channels.all.get_mut(&id) else { return };
        channel.group.acks.remove(&to);
        let Some(next) = channel.group.incoming.next_of(&to) else { return };
        let next = channel.letters.first_undecided_of(&to).map_or(next, |held| held.min(next));
        let before = channel.group.acking.get(&to).copied();
        let under_way = before.filter(|(no, _)| self.outbox.contains_key(no));
        // It is said already; one that has not left says less.
        if under_way.is_some_and(|(_, said)| said == next) {
            return;
        }
        channel.group.acking.insert(to, (self.next_entry, next));
        if let Some((no, _)) = under_way.filter(|(no, _)| self.outbox.get(no).is_some_and(|one| one.sealed.is_none())) {
            self.remove_entry(no, out);
            if let Some(channel) = self.channels.all.get_mut(&id) {
                channel.group.acking.insert(to, (self.next_entry, next));
            }
        }
        self.say(to, Word { channel: id, says: Says::Acked(next) }, now, out);
    }

    // contracts/channel.md C38.
    pub(in crate::peer::channels) fn take_acked(
        &mut self,
        from: AgentId,
        id: ChannelId,
        next: Seq,
        now: UnixMillis,
        out: &mut Out,
    ) {
        let Some(channel) = self.channels.all.get_mut(&id) else { return };
        if next > channel.letters.next() {
            return self.go_on_from(id, from, next, out);
        }
        let group = &mut channel.group;
        group.ahead.remove(&from);
        if next > group.began && channel.record.roster().has(&from) {
            group.heard.insert(from);
        }
        let below: Vec<Seq> = group.out.range(..next).map(|(seq, _)| *seq).collect();
        let mut has_settled = false;
        for seq in below {
            let Some((letter, is_over)) = group.settle(seq, &from) else { continue };
            has_settled = true;
            out.effects.push(Effect::Delivered { to: from, letter });
            if is_over {
                out.frames.insert((id, seq));
            }
        }
        if has_settled {
            group.keep_acked(id, from, next, out);
        }
        let lowest = group.lowest(&from);
        group.outgoing.acked(&from, lowest);
        if group.frames_for(&from).next().is_none() {
            group.resend.remove(&from);
        } else if has_settled {
            group.resend.insert(from, (now.plus(time::RESEND_FIRST), time::RESEND_FIRST * 2));
        }
        // A chain that is under way comes with its first number.
        let is_behind = next < lowest && group.out.contains_key(&lowest) && !group.keys.contains_key(&from);
        if is_behind {
            self.say_floor(id, from, lowest, now, out);
        }
    }

    /// A member waits for numbers that were given up; what it has behind them it cannot say.
    // contracts/channel.md C55.
    fn say_floor(&mut self, id: ChannelId, to: AgentId, floor: Seq, now: UnixMillis, out: &mut Out) {
        let Some(channel) = self.channels.all.get_mut(&id) else { return };
        let flooring = &mut channel.group.flooring;
        if flooring.get(&to).is_some_and(|no| self.outbox.contains_key(no)) {
            return;
        }
        flooring.insert(to, self.next_entry);
        self.say(to, Word { channel: id, says: Says::Floor(floor) }, now, out);
    }

    /// A member has more of this agent's letters than it has sent: it was restored from a copy. What is under way to that member was said under numbers
    /// that it knows, and the next letter goes on behind them. Only a start puts a copy back, so each member is followed once for each.
    // contracts/channel.md C56.
    fn go_on_from(&mut self, id: ChannelId, from: AgentId, next: Seq, out: &mut Out) {
        let Some(channel) = self.channels.all.get(&id) else { return };
        let is_known = !channel.record.roster().has(&from) || channel.group.heard.contains(&from);
        if is_known || next - channel.letters.next() > limit::CHANNEL_AHEAD_MAX {
            return;
        }
        self.give_up_all(id, &from, code::REFUSED, out);
        let Some(channel) = self.channels.all.get_mut(&id) else { return };
        let all = channel.letters.next();
        channel.group.keep_acked(id, from, all, out);
        channel.group.ahead.insert(from, next);
        let others = channel.record.roster().members().len().saturating_sub(1);
        let agreed = channel.group.ahead.values().filter(|said| **said > all).count();
        if channel.group.leaves_room(next) || agreed > others / 2 {
            channel.group.heard.insert(from);
            channel.group.ahead.retain(|_, said| *said > next);
            channel.group.outgoing.skip_to(next);
            channel.letters.skip_to(next);
            self.keep_own(id, out);
        }
    }

    pub(in crate::peer::channels) fn load_channel_acked(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let (id, agent) = rows::split_of_channel::<32>(key)?;
        let AckedRow(version, next) = codec::decode(value, ACKED_LEN_MAX).ok()?;
        let channel = self.channels.all.get_mut(&id).filter(|_| version == ROW_VERSION)?;
        channel.group.has.insert(AgentId::from_bytes(agent).ok()?, next);
        Some(())
    }
}

impl Group {
    /// A member has all below a number, also behind a start: the rows of letters name it still.
    // contracts/channel.md C55.
    fn keep_acked(&mut self, id: ChannelId, of: AgentId, next: Seq, out: &mut Out) {
        let known = self.has.entry(of).or_default();
        *known = next.max(*known);
        let value = codec::encode(&AckedRow(ROW_VERSION, *known));
        out.ops.push(Op::Put { key: rows::channel_acked(&id, &of), value });
    }

    /// Whether a member has a letter, as its row says.
    pub(super) fn has_letter(&self, of: &AgentId, seq: Seq) -> bool {
        self.has.get(of).is_some_and(|next| seq < *next)
    }
}

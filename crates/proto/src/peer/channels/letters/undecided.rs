//! Letters to a channel that wait for the keys of their tokens, and those that are not handed out any more (contracts/channel.md section 14).

use std::sync::Arc;

use nuncio_contracts::registry::{code, extension, time};

use super::super::group::{Decided, patience};
use super::{Held, Judged, Letters, Sealed, are_members, put_held};
use crate::channel::ChannelPlace;
use crate::ids::{AgentId, ChannelId, LetterId, Seq};
use crate::letter::Letter;
use crate::peer::tokens::Need;
use crate::peer::{Out, Peer};
use crate::rows;
use crate::step::{Effect, Op};
use crate::time::UnixMillis;
use crate::token::Verifier;

impl Letters {
    /// Letters that wait for the keys of their tokens.
    pub(super) fn undecided(&self) -> impl Iterator<Item = &(AgentId, Held)> {
        self.set_aside.values().filter(|(_, held)| held.is_undecided())
    }

    /// How many of them are of one sender.
    pub(in crate::peer::channels) fn undecided_of(&self, sender: &AgentId) -> usize {
        self.undecided().filter(|(from, _)| from == sender).count()
    }

    /// Those that wait for a key have their whole time from now on.
    pub(in crate::peer::channels) fn wait_anew(&mut self, now: UnixMillis) {
        let waiting = self.set_aside.values_mut().filter_map(|(_, held)| held.until.as_mut());
        waiting.for_each(|until| *until = patience(now));
    }

    pub(in crate::peer::channels) fn waits_for_keys(&self) -> bool {
        self.undecided().next().is_some()
    }

    /// The lowest number of a sender's letters that wait for a key: what is acknowledged ends in front of it.
    // contracts/channel.md C71.
    pub(in crate::peer::channels) fn first_undecided_of(&self, sender: &AgentId) -> Option<Seq> {
        let theirs = self.undecided().filter(|(from, _)| from == sender);
        theirs.filter_map(|(_, held)| Some(ChannelPlace::of(&held.letter).ok()??.seq)).min()
    }

    /// Whether a letter of this sender waits for the record, or for a key.
    pub(in crate::peer::channels) fn holds(&self, sender: &AgentId, letter: &LetterId) -> bool {
        self.set_aside.values().any(|(from, held)| from == sender && held.letter.id == *letter)
    }

    /// Keeps a letter that waits for the key of its token.
    pub(in crate::peer::channels) fn hold_back(&mut self, id: ChannelId, from: AgentId, held: Held, out: &mut Out) {
        let held = Held { row: self.next_row, ..held };
        self.next_row += 1;
        put_held(&id, &from, &held, out);
        self.set_aside.insert(held.row, (from, held));
    }
}

impl Held {
    pub(in crate::peer::channels) const fn new(
        received: UnixMillis,
        letter: Letter,
        bytes: Vec<u8>,
        sealed: Option<Sealed>,
    ) -> Self {
        Self { received, letter, bytes, token: None, sealed, until: None, row: 0 }
    }

    /// Where it stands among its author's letters.
    pub(super) fn place(&self) -> Option<ChannelPlace> {
        ChannelPlace::of(&self.letter).ok().flatten()
    }

    /// The key of its token was not there.
    pub(super) fn is_undecided(&self) -> bool {
        self.sealed.is_some() && self.token.is_none() && self.letter.extension(extension::TOKEN).is_some()
    }

    /// When it is decided at the latest: its key has not come, or its own time is over.
    pub(super) fn decided_at(&self) -> UnixMillis {
        let over = self.letter.expires().plus(time::CLOCK_SKEW + 1);
        self.until.unwrap_or(UnixMillis(0)).min(over)
    }

    /// Why it is not handed out any more.
    // contracts/channel.md C74.
    pub(super) fn over(&self, verifier: &Verifier, now: UnixMillis) -> Option<u16> {
        let claims = self.token.as_ref()?.claims();
        let expired = UnixMillis(claims.exp.saturating_mul(1_000)).plus(time::TOKEN_SKEW + time::CHANNEL_WAIT);
        match verifier.is_revoked(&claims.txn) {
            true => Some(code::TOKEN_REVOKED),
            false => (expired <= now).then_some(code::TOKEN_EXPIRED),
        }
    }
}

impl Peer {
    /// A letter of this number came and is refused: those behind it do not wait for it.
    pub(in crate::peer::channels) fn pass_refused(
        &mut self,
        id: ChannelId,
        sender: AgentId,
        seq: Seq,
        now: UnixMillis,
        out: &mut Out,
    ) {
        let Some(channel) = self.channels.all.get_mut(&id) else { return };
        let handed = channel.letters.order.never(sender, seq, now);
        self.show_letters(id, handed, None, now, out);
    }

    /// A letter of a session is refused that names a place, in which nobody else's is.
    pub(in crate::peer) fn pass_refused_letter(
        &mut self,
        from: AgentId,
        letter: &Letter,
        now: UnixMillis,
        out: &mut Out,
    ) {
        let Ok(Some(place)) = ChannelPlace::of(letter) else { return };
        if matches!(self.judge_channel(&from, letter), Ok(Judged::Welcome)) {
            self.came_in_session(place.channel, &from, place.seq, out);
            self.pass_refused(place.channel, from, place.seq, now, out);
        }
    }

    /// Letters whose tokens' keys were not there are looked at again.
    // contracts/channel.md C71.
    pub(super) fn decide_undecided(&mut self, id: ChannelId, now: UnixMillis, out: &mut Out) {
        let Some(channel) = self.channels.all.get(&id) else { return };
        // Whom the record has taken out meanwhile nobody hears.
        let (record, me) = (&channel.record, self.id());
        let is_heard = |from: &AgentId, held: &Held| {
            let place = ChannelPlace::of(&held.letter).ok().flatten();
            let number = place.and_then(|place| record.number_of(&place.epoch));
            number.is_none_or(|number| are_members(record, [from, &me], number))
        };
        let undecided = channel.letters.set_aside.iter();
        let undecided = undecided.filter(|(_, (from, held))| held.is_undecided() && is_heard(from, held));
        // They may be many, and most of them still wait: none is copied.
        for row in undecided.map(|(row, _)| *row).collect::<Vec<_>>() {
            let waiting = self.channels.all.get(&id).and_then(|channel| channel.letters.set_aside.get(&row));
            let Some(decided) = waiting.map(|(from, held)| self.decide_held(id, *from, held, now)) else { continue };
            self.settle_waiting(id, row, decided, now, out);
        }
    }

    fn settle_waiting(&mut self, id: ChannelId, row: u64, decided: Decided, now: UnixMillis, out: &mut Out) {
        let Some(channel) = self.channels.all.get_mut(&id) else { return };
        let Some((from, held)) = channel.letters.set_aside.get_mut(&row) else { return };
        let from = *from;
        match decided {
            Decided::Wait(Need::Key(kid)) if held.until.is_none() => {
                held.until = Some(patience(now));
                out.effects.push(Effect::WantKey { kid });
            }
            Decided::Wait(_) => {}
            Decided::Take(token) => {
                held.token = Some(Arc::clone(&token));
                put_held(&id, &from, held, out);
                let letter = held.letter.clone();
                channel.group.ack_soon(from, now);
                self.note_taken(from, &letter, Some(&token), now, out);
            }
            Decided::Refuse(code) => {
                channel.group.ack_soon(from, now);
                out.ops.push(Op::Delete { key: rows::channel_held(&id, row) });
                let Some((_, held)) = channel.letters.set_aside.remove(&row) else { return };
                self.refuse_waiting(id, from, &held, code, now, out);
                if let Some(place) = held.place() {
                    self.pass_refused(id, from, place.seq, now, out);
                }
            }
        }
    }
}

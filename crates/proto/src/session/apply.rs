//! How a session moves, once a frame was sealed or authenticated: nothing here can fail.

use std::sync::Arc;

use nuncio_contracts::registry::{limit, time};

use super::acks::{run_hole, run_received};
use super::{
    Accepted, AckedTo, Content, Held, Hold, InOrder, Moved, Moves, Opened, Outstanding, Sealing, Session, SkippedKey,
};
use crate::frame::Nonce;
use crate::ids::{LetterId, Seq, Tag};
use crate::letter::Letter;
use crate::ratchet::Advance;
use crate::replay::Window;
use crate::secret::Key;
use crate::time::UnixMillis;
use crate::token::Genuine;

impl Session {
    /// Moves the state past a sealed letter.
    pub(crate) fn apply_sealed(&mut self, sealing: Sealing, entry: u64) {
        let Sealing { seq, nonce, .. } = sealing;
        self.ratchet.sent();
        self.outstanding.insert(seq, Outstanding { nonce, entry: Some(entry), seen: false });
        self.next_seq = seq + 1;
    }

    /// Moves a session that stands alone past a sealed letter; `entry` is the caller's number for it. [`crate::peer::Peer`] does this itself.
    pub fn accept_sealed(&mut self, sealing: Sealing, entry: u64) {
        self.apply_sealed(sealing, entry);
    }

    /// Gives up the number of a frame under way: it is never sent again, and the floor steps over it. The frame's nonce, if there is such a frame.
    pub fn give_up(&mut self, seq: Seq) -> Option<Nonce> {
        let frame = self.outstanding.get_mut(&seq)?;
        frame.entry = None;
        Some(frame.nonce)
    }

    /// Moves a session that stands alone past an opened frame. [`crate::peer::Peer`] does this itself.
    pub fn accept_opened(&mut self, opened: Opened, now: UnixMillis) -> Accepted {
        let Opened { header, content, acked, answered } = opened;
        let moved = match content {
            Some(content) => self.apply_content(content, now),
            None => self.raise(header.floor().unwrap_or(0)),
        };
        if answered {
            self.confirmed = true;
            self.handshake = None;
        }
        let settled = self.apply_acked(acked);
        let delivered = moved.in_order.into_iter().filter(|next| !next.refused);
        Accepted {
            in_order: delivered.map(|next| (next.seq, next.letter)).collect(),
            settled: settled.into_iter().filter_map(|(_, entry)| entry).collect(),
        }
    }

    /// Moves the state past an acknowledgement: the numbers that are settled, with the outbox entries that are now delivered.
    pub(crate) fn apply_acked(&mut self, acked: AckedTo) -> Vec<(Seq, Option<u64>)> {
        let above = self.outstanding.split_off(&acked.next);
        let settled = core::mem::replace(&mut self.outstanding, above);
        (self.acked, self.acked_run) = (acked.next, acked.run);
        self.mark_seen(&acked);
        settled.into_iter().map(|(seq, frame)| (seq, frame.entry)).collect()
    }

    /// Notes which frames need not be sent again.
    pub(crate) fn mark_seen(&mut self, acked: &AckedTo) {
        for bit in (0..64).filter(|bit| acked.above >> bit & 1 == 1) {
            if let Some(frame) = self.outstanding.get_mut(&(acked.next + 1 + bit)) {
                frame.seen = true;
            }
        }
    }

    /// Moves the state past an opened letter: the letters that are now next in order.
    pub(crate) fn apply_content(&mut self, content: Content, now: UnixMillis) -> Moved {
        let Content { letter, fresh, state, expires, token, floor, nonce, moves, commitment_key: _ } = content;
        let mut moved = Moved::default();
        match moves {
            Moves::SkippedKey => {
                self.skipped.remove(&fresh.seq());
                moved.dropped.push(fresh.seq());
            }
            Moves::Ratchet { advance, skipped } => {
                moved.turned = matches!(advance, Advance::Turned { .. });
                self.old_chains.extend(self.ratchet.apply(advance));
                for key in skipped {
                    moved.skipped.push(key.seq);
                    self.skipped.insert(key.seq, SkippedKey { tag: key.tag, mk: key.mk, since: now });
                }
            }
        }
        // First up to the floor: a number and the one a window below it share a bit.
        self.settle(floor, &mut moved);
        self.window.accept(&fresh);
        let came = Held { nonce, letter, state, expires, token };
        if fresh.seq() == self.window.next() && state == Hold::Turn {
            self.window.advance(floor);
            self.pass(fresh.seq(), Some(came), false, &mut moved);
        } else {
            self.held.insert(fresh.seq(), came);
        }
        self.settle(floor, &mut moved);
        self.aged |= now.since(self.created) >= time::REKEY_AGE;
        moved
    }

    /// Steps the window over what is received or given up; keys and chains that nothing needs any more are deleted.
    fn settle(&mut self, floor: Seq, moved: &mut Moved) {
        loop {
            let seq = self.window.next();
            if seq >= floor && self.held.get(&seq).is_some_and(|held| held.state != Hold::Turn) {
                break;
            }
            match self.window.advance(floor) {
                None => break,
                Some(received) => {
                    let held = self.held.remove(&seq);
                    debug_assert_eq!(received, held.is_some(), "what was received waits here until it is passed");
                    self.pass(seq, held, seq < floor, moved);
                }
            }
        }
        if !self.skipped.is_empty() {
            let kept = self.skipped.split_off(&self.window.next());
            moved.dropped.extend(core::mem::replace(&mut self.skipped, kept).into_keys());
        }
        if !self.old_chains.is_empty() {
            self.forget_chains(floor);
        }
    }

    /// Forgets the old chains of which no frame comes again, as the peer has heard of all of them; and the oldest, if there are too many.
    fn forget_chains(&mut self, floor: Seq) {
        let heard = self.ratchet.recv.as_ref().is_some_and(|recv| floor >= recv.base);
        let chains = core::mem::take(&mut self.old_chains);
        let mut over = chains.len().saturating_sub(limit::OLD_CHAINS_MAX);
        let needed = chains.into_iter().filter(|old| {
            let forget = !self.lacks(old, 0) && (heard || over > 0);
            over = over.saturating_sub(usize::from(forget));
            !forget
        });
        self.old_chains = needed.collect();
    }

    /// Steps over one number. A letter that its sender gave up or was told of as refused is not delivered, and its number is a hole: a sender that is
    /// restored to a time before that must not take it for delivered.
    fn pass(&mut self, seq: Seq, held: Option<Held>, given_up: bool, moved: &mut Moved) {
        moved.passed = true;
        if let Some(told) = held.as_ref().filter(|held| held.state == Hold::Refused) {
            moved.heard.extend(Letter::id_in(&told.letter));
        }
        let hole = given_up || held.as_ref().is_none_or(|held| held.state != Hold::Turn);
        self.received_run = match &held {
            Some(held) if !hole => run_received(&self.received_run, seq, &held.nonce),
            _ => run_hole(&self.id, seq),
        };
        if let Some(Held { letter, token, .. }) = held {
            let letter = if hole { Vec::new() } else { letter };
            moved.in_order.push(InOrder { seq, letter, refused: hole, token });
        }
    }

    /// A letter that waited for its token waits for its turn only: the letters that are now next in order.
    pub(crate) fn release(&mut self, seq: Seq, token: Arc<Genuine>, expires: UnixMillis) -> Moved {
        let mut moved = Moved::default();
        if let Some(held) = self.held.get_mut(&seq) {
            (held.state, held.token, held.expires) = (Hold::Turn, Some(token), expires);
            self.settle(0, &mut moved);
        }
        moved
    }

    /// Steps over what the peer has given up, as an acknowledgement alone tells it: not beyond the chain, which only a letter steps.
    pub(crate) fn raise(&mut self, floor: Seq) -> Moved {
        let mut moved = Moved::default();
        let stepped = self.ratchet.recv.as_ref().map_or(0, |recv| recv.base.saturating_add(recv.chain.n.into()));
        let floor = floor.min(stepped);
        if floor > self.window.next() {
            self.settle(floor, &mut moved);
        }
        moved
    }

    /// Forgets letters whose frames the peer will not send again: their ids.
    pub(crate) fn forget_delivered(&mut self, floor: Seq) -> Vec<LetterId> {
        if self.delivered.first_key_value().is_none_or(|(seq, _)| *seq >= floor) {
            return Vec::new();
        }
        let kept = self.delivered.split_off(&floor);
        core::mem::replace(&mut self.delivered, kept).into_values().collect()
    }

    pub(crate) fn restore_held(&mut self, seq: Seq, held: Held) {
        self.held.insert(seq, held);
        self.window = Window::restore(self.window.next(), self.held.keys().copied());
    }

    pub(crate) fn restore_skipped(&mut self, seq: Seq, tag: Tag, mk: [u8; 32], since: UnixMillis) {
        self.skipped.insert(seq, SkippedKey { tag, mk: Key::new(mk), since });
    }
}

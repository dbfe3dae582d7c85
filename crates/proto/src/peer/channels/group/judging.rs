//! What becomes of a letter that was sealed once for all: taken, known, waiting for the key of its token, or refused, and then its sender is told
//! (contracts/channel.md section 14).

use nuncio_contracts::registry::{code, extension, limit, time};

use super::super::letters::{Held, Judged, Sealed as Carrier};
use crate::channel::{ChannelPlace, Opened, nonce_of};
use crate::control::Control;
use crate::error::Refusal;
use crate::frame::Nonce;
use crate::ids::{AgentId, ChannelId, LetterId, Seq};
use crate::letter::{Letter, LetterKind};
use crate::outbox::Entry;
use crate::peer::audit::keeps_commitment;
use crate::peer::judge::Verdict;
use crate::peer::tokens::{Need, Unauthorized};
use crate::peer::{Out, Peer, Seen};
use crate::rows;
use crate::step::{Effect, Op};
use crate::time::UnixMillis;
use crate::token::Denial;

impl Peer {
    /// The verdict over a letter that was opened. Its sender is the one whose MAC it carries.
    // contracts/channel.md C70, C72.
    pub(super) fn judge_group(
        &self,
        id: ChannelId,
        opened: &Opened,
        now: UnixMillis,
        seen: &dyn Seen,
    ) -> Result<Verdict, Refusal> {
        let verdict = match Letter::decode(&opened.letter) {
            Ok(letter) => self.judge_group_letter(id, opened, Box::new(letter), now, seen)?,
            // A refusal that names no letter cannot be told.
            Err((id, error)) => {
                Verdict::Refuse(id.map(|id| (self.refusal(id, &opened.nonce, error.code(), now), None)))
            }
        };
        // What waits for a key may be refused too, and is no less to be told.
        let on_their_way = self.contacts.get(&opened.sender).map_or(0, |contact| contact.controls);
        let may_be =
            || self.channels.all.values().map(|channel| channel.letters.undecided_of(&opened.sender)).sum::<usize>();
        let tells = matches!(verdict, Verdict::Refuse(Some(_)) | Verdict::Wait(..));
        if tells && on_their_way + may_be() >= limit::REFUSALS_MAX {
            return Err(Refusal::TooManyRefusals);
        }
        Ok(verdict)
    }

    fn judge_group_letter(
        &self,
        id: ChannelId,
        opened: &Opened,
        letter: Box<Letter>,
        now: UnixMillis,
        seen: &dyn Seen,
    ) -> Result<Verdict, Refusal> {
        let from = opened.sender;
        let Some(channel) = self.channels.all.get(&id) else { return Ok(Verdict::Refuse(None)) };
        let refuse = |letter: Box<Letter>, code| {
            let told = self.refusal(letter.id, &opened.nonce, code, now);
            Ok(Verdict::Refuse(Some((told, Some(letter)))))
        };
        // Its row may not be on disk yet.
        let is_known = channel.letters.holds(&from, &letter.id) || self.was_taken(&from, &letter.id);
        if is_known || seen.seen(&from, &letter.id).ok_or(Refusal::SeenUnreadable)? {
            return Ok(Verdict::Duplicate);
        }
        let place = ChannelPlace { channel: id, epoch: opened.epoch, seq: opened.header.seq };
        let is_its_place = ChannelPlace::of(&letter).is_ok_and(|said| said == Some(place));
        let is_unfit =
            [extension::LARGE_PAYLOAD, extension::HISTORY].iter().any(|one| letter.extension(*one).is_some());
        if letter.kind != LetterKind::Plain || !is_its_place || is_unfit {
            return refuse(letter, code::MALFORMED);
        }
        // contracts/audit.md V28.
        if let Err(code) = keeps_commitment(opened.commitment_key.as_ref(), &opened.header.to_bytes(), &letter) {
            return refuse(letter, code);
        }
        if let Err(error) = letter.check_time(now) {
            return refuse(letter, error.code());
        }
        if let Judged::Refused(code) = self.judge_place(&from, &place)? {
            return refuse(letter, code);
        }
        match self.authorize_in_channel(from, id, &opened.chain, &letter, now) {
            Ok(token) => Ok(Verdict::Take(letter, token)),
            Err(Unauthorized::Denied(denial)) => refuse(letter, denial.code()),
            Err(Unauthorized::Need(_)) if channel.letters.is_full(&from) => Err(Refusal::ChannelFull),
            Err(Unauthorized::Need(need)) => Ok(Verdict::Wait(need, UnixMillis::NEVER)),
        }
    }

    /// A letter waits for the key of its token.
    // contracts/channel.md C71.
    pub(super) fn wait_in_channel(&mut self, id: ChannelId, from: AgentId, held: Held, need: Need, out: &mut Out) {
        let held = Held { until: Some(patience(held.received)), ..held };
        if let Some(channel) = self.channels.all.get_mut(&id) {
            channel.letters.hold_back(id, from, held, out);
        }
        if let Need::Key(kid) = need {
            out.effects.push(Effect::WantKey { kid });
        }
    }

    /// Tells a member that a letter of its, which came in a frame, is not delivered.
    pub(in crate::peer::channels) fn tell_frame_refused(
        &mut self,
        id: ChannelId,
        from: AgentId,
        told: &Letter,
        letter: Option<&Letter>,
        now: UnixMillis,
        out: &mut Out,
    ) {
        if let Some(Control::Refused { code, .. }) = Control::decode(&told.payload) {
            self.tell_channel_refused(id, from, code, letter, now, out);
        }
        self.apply_queued(Entry::draft(from, told), out);
    }

    /// A letter that waited, of a member's frame or session, is not delivered: who sealed it once is told.
    pub(in crate::peer::channels) fn refuse_waiting(
        &mut self,
        id: ChannelId,
        from: AgentId,
        held: &Held,
        code: u16,
        now: UnixMillis,
        out: &mut Out,
    ) {
        let Some(Carrier { nonce, .. }) = held.sealed else {
            return self.tell_channel_refused(id, from, code, Some(&held.letter), now, out);
        };
        // contracts/letter.md L10: a refused id does not count as delivered. Its author may send it again with a fresh token.
        out.ops.push(Op::Delete { key: rows::seen(&from, &held.letter.id) });
        self.channels.taken.forget(&from, &held.letter.id);
        let told = self.refusal(held.letter.id, &nonce, code, now);
        self.tell_frame_refused(id, from, &told, Some(&held.letter), now, out);
    }

    /// Letters that wait for the keys of their tokens are looked at again.
    pub(in crate::peer) fn look_again_at_tokens(&mut self) {
        let waiting = self.channels.all.iter().filter(|(_, channel)| channel.letters.waits_for_keys());
        let waiting: Vec<ChannelId> = waiting.map(|(id, _)| *id).collect();
        self.channels.again.extend(waiting);
    }

    /// Letters that wait for the keys of their tokens have their whole time from now on.
    pub(in crate::peer) fn wait_anew_in_channels(&mut self, now: UnixMillis) {
        self.channels.all.values_mut().for_each(|channel| channel.letters.wait_anew(now));
    }

    /// What becomes of a letter whose token's key was not there.
    // contracts/channel.md C71.
    pub(in crate::peer::channels) fn decide_held(
        &self,
        id: ChannelId,
        from: AgentId,
        held: &Held,
        now: UnixMillis,
    ) -> Decided {
        let Some(Carrier { chain, .. }) = held.sealed else { return Decided::Refuse(code::TOKEN_KEY) };
        if let Err(error) = held.letter.check_time(now) {
            return Decided::Refuse(error.code());
        }
        match self.authorize_in_channel(from, id, &chain, &held.letter, now) {
            Ok(Some(token)) => Decided::Take(token),
            Ok(None) => Decided::Refuse(Denial::Missing.code()),
            Err(Unauthorized::Denied(denial)) => Decided::Refuse(denial.code()),
            Err(Unauthorized::Need(_)) if held.until.is_some_and(|until| until <= now) => {
                Decided::Refuse(code::TOKEN_KEY)
            }
            Err(Unauthorized::Need(need)) => Decided::Wait(need),
        }
    }

    /// A member has refused a letter of this agent in the frame that it names: it fails for that one, but is sent again in its session where its token had
    /// expired.
    // contracts/channel.md C72, C73.
    pub(in crate::peer) fn frame_is_refused(
        &mut self,
        from: AgentId,
        letter: LetterId,
        code: u16,
        frame: &Nonce,
        out: &mut Out,
    ) {
        let Some((id, seq)) = self.frame_of(&from, &letter, frame) else { return };
        // These two are for this side to say.
        let code = if matches!(code, code::CANCELLED | code::RETIRED) { code::REFUSED } else { code };
        let again = self.channels.all.get(&id).and_then(|channel| channel.group.letter_of(seq));
        match again.filter(|letter| code == code::TOKEN_EXPIRED && self.may_go_again(&id, &from, letter)) {
            Some(letter) => {
                self.take_off(id, seq, &from, out);
                let (no, renewed) = (self.next_entry, Effect::SealedAgain { to: from, letter: letter.id });
                if let Some(channel) = self.channels.all.get_mut(&id) {
                    channel.group.in_session.insert(from, no);
                }
                self.apply_queued(Entry::draft(from, &letter), out);
                out.effects.push(renewed);
            }
            None => self.give_up_frame(id, seq, &from, code, out),
        }
    }

    /// Whether there is room to send a letter to one member again: each has a share of what a channel may have under way, and all that is sent again leaves
    /// half of the outbox to others.
    // contracts/channel.md C73.
    fn may_go_again(&self, id: &ChannelId, to: &AgentId, letter: &Letter) -> bool {
        let len = letter.payload.len() + limit::TOKEN_LEN_MAX;
        let members = self.channel(id).map_or(1, |record| record.roster().members().len().max(1));
        let share = (limit::CHANNEL_OUT_BYTES_MAX / members).max(limit::FRAME_LEN_MAX);
        let theirs = self.outbox.values().filter(|entry| entry.to == *to && !entry.control);
        let under_way: usize = theirs.map(|entry| entry.letter.len()).sum();
        let letters = self.outbox.len() - self.outbox_controls;
        under_way + len <= share
            && self.outbox_bytes + len <= limit::OUTBOX_BYTES_MAX / 2
            && letters < limit::OUTBOX_LETTERS_MAX / 2
    }

    fn frame_of(&self, to: &AgentId, letter: &LetterId, frame: &Nonce) -> Option<(ChannelId, Seq)> {
        self.channels.all.iter().find_map(|(id, channel)| {
            let is_it = |(_, one): &(&Seq, &super::OutFrame)| {
                one.letter == *letter && one.left.contains_key(to) && nonce_of(&one.common) == Some(*frame)
            };
            channel.group.out.iter().find(is_it).map(|(seq, _)| (*id, *seq))
        })
    }
}

/// What becomes of a letter that waited for a key.
pub(in crate::peer::channels) enum Decided {
    Take(std::sync::Arc<crate::token::Genuine>),
    Wait(Need),
    Refuse(u16),
}

/// Until when a letter that came now waits for its token's key.
pub(in crate::peer::channels) fn patience(now: UnixMillis) -> UnixMillis {
    now.plus(time::TOKEN_WAIT)
}
